/*
 * A file of comma-separated values whose first line names its columns.  A column is
 * described as a flag is, so that the same bounds and words hold.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLI_CSV_H
#define CG_CLI_CSV_H

#include <jansson.h>
#include <stddef.h>

#include "cli/cli.h"

/* Room for a thousand prefixes in a thousand plans, far from a mistaken path's gigabytes. */
#define CG_CSV_BYTES_MAX ((size_t)32 * 1024 * 1024)
#define CG_CSV_FIELD_MAX 256

/*
 * Reads `path` ("-": standard input) whole into *ret_rows: an array of objects, integers for
 * INT columns, each with "line".  The first line must name exactly these columns, in this
 * order; they end with CG_FLAGS_END.  Anything else is said, with line and column, and
 * CG_EXIT_USAGE; a file that is not there CG_EXIT_NOT_FOUND.
 */
enum cg_exit cg_csv_read(
    const struct cg_cli *cli, const char *path, const struct cg_flag *columns, json_t **ret_rows);

#endif /* CG_CLI_CSV_H */
