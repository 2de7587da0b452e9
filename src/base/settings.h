/*
 * What a program can be told from outside: flags and environment (a flag wins), with bounds,
 * from one table that parsing, error texts and --help share.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BASE_SETTINGS_H
#define CG_BASE_SETTINGS_H

#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/status.h"

#define CG_SETTING_TEXT_BYTES 512

enum cg_setting_kind {
	CG_SETTING_TEXT,
	CG_SETTING_NUMBER,
	/* From the environment, or from the file that <NAME>_FILE names; never from a flag, which
	 * everybody on the machine can read. */
	CG_SETTING_SECRET,
};

struct cg_setting {
	const char *flag; /* without dashes; NULL: the environment alone */
	const char *env;
	enum cg_setting_kind kind;
	size_t offset; /* of a char[CG_SETTING_TEXT_BYTES] or an int64_t */
	const char
	    *text; /* TEXT: the default; NULL: must be given; SECRET: NULL or "" (may be absent) */
	int64_t number; /* NUMBER: the default and its bounds */
	int64_t least;
	int64_t most;
	const char *help;
};

/*
 * Reads defaults, environment and flags into `values`; argv[0] is skipped.
 *   CG_OK
 *   CG_INVALID  `err` names the setting, what was given (never a secret) and the bound
 */
enum cg_status cg_settings_read(const struct cg_setting *table, size_t count, int argc, char **argv,
    void *values, struct cg_error *err);

/* Every setting with its environment name, bounds and default. */
void cg_settings_print(const struct cg_setting *table, size_t count, FILE *to);

#endif /* CG_BASE_SETTINGS_H */
