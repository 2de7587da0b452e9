/* SPDX-License-Identifier: Apache-2.0 */
typedef int cg_ledger_is_empty;
