/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CG_SIM_PG_LINKS_H
#define CG_SIM_PG_LINKS_H

/* Every connection to the ledger ends. */
void pg_links_cut(void);

#endif /* CG_SIM_PG_LINKS_H */
