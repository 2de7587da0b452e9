/* SPDX-License-Identifier: Apache-2.0 */
typedef int cg_gate_is_empty;
