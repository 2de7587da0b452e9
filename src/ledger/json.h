/*
 * Writes a JSON object, for usage_logs.meta.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_LEDGER_JSON_H
#define CG_LEDGER_JSON_H

#include "gate/ports/types.h"

/* Text that grows; all zero is a good beginning. */
struct cg_json {
	char *text;
	size_t len;
	size_t capacity;
};

void cg_json__deinit(struct cg_json *json);
void cg_json__begin(struct cg_json *json); /* anew, an object */
void cg_json__text(struct cg_json *json, const char *key, struct cg_view value);
void cg_json__int(struct cg_json *json, const char *key, int64_t value);
void cg_json__bool(struct cg_json *json, const char *key, bool value);
void cg_json__meta(struct cg_json *json, const char *key, const struct cg_meta *meta);
struct cg_view cg_json__end(struct cg_json *json); /* good until the next begin */

#endif /* CG_LEDGER_JSON_H */
