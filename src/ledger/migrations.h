/*
 * The migrations inside the program; the table is made by the build from sql/migrations/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_LEDGER_MIGRATIONS_H
#define CG_LEDGER_MIGRATIONS_H

struct cg_migration {
	const char *version; /* NULL: the end */
	const char *name;
	const char *text;
};

extern const struct cg_migration cg_migrations[];

#endif /* CG_LEDGER_MIGRATIONS_H */
