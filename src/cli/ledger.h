/*
 * What the ledger holds of one reference: its rows in wallet_transactions and usage_logs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLI_LEDGER_H
#define CG_CLI_LEDGER_H

#include <jansson.h>

#include "cli/cli.h"

/*
 * Reads the usage entry of a call and its correction, if there was one, in their order.
 * *ret_entries: an array of objects, each with "usage_log" (an object, or null); the
 * caller's, empty where the ledger has none.
 */
enum cg_exit cg_ledger_read_call(
    struct cg_cli *cli, const char *company, const char *call_id, json_t **ret_entries);

#endif /* CG_CLI_LEDGER_H */
