/*
 * cg_migrate() as a program: prints the versions it applied; with an argument, a dry run.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>

#include "ledger/migrate.h"

static void report(void *owner, const char *version, const char *name, bool applied)
{
	const bool *is_dry = owner;

	(void)name;
	CG_ASSERT(applied == !*is_dry);
	(void)printf("%s\n", version);
}

int main(int argc, char **argv)
{
	bool is_dry = argc > 1;
	struct cg_error err = {""};

	(void)argv;
	if (cg_migrate(getenv("CG_TEST_DATABASE_URL"), is_dry, report, &is_dry, &err) != CG_OK) {
		(void)fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	return 0;
}
