/* SPDX-License-Identifier: Apache-2.0 */
typedef int cg_store_is_empty;
