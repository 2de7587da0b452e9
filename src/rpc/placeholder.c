/* SPDX-License-Identifier: Apache-2.0 */
typedef int cg_rpc_is_empty;
