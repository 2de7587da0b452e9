/* SPDX-License-Identifier: Apache-2.0 */
typedef int cg_loop_is_empty;
