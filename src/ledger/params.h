/*
 * The parameters of one statement, in Postgres's binary format: no quoting, no text that
 * could be read as something else, and arrays of a batch at the cost of a copy.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_LEDGER_PARAMS_H
#define CG_LEDGER_PARAMS_H

#include "base/base.h"

#define CG_PARAMS_MAX 24

/* Element types of arrays: Postgres's fixed numbers. */
#define CG_OID_BOOL  16u
#define CG_OID_BYTEA 17u
#define CG_OID_INT8  20u
#define CG_OID_INT4  23u
#define CG_OID_TEXT  25u
#define CG_OID_UUID  2950u
#define CG_OID_JSONB 3802u

struct cg_params {
	int count;
	unsigned types[CG_PARAMS_MAX];
	int lengths[CG_PARAMS_MAX]; /* -1: null */
	int formats[CG_PARAMS_MAX];
	size_t offsets[CG_PARAMS_MAX];
	const char *values[CG_PARAMS_MAX]; /* by cg_params__seal() */
	char *memory;                      /* grows, and is kept for the next statement */
	size_t len;
	size_t capacity;
};

void cg_params__deinit(struct cg_params *params); /* all zero is a good beginning */
void cg_params__reset(struct cg_params *params);

void cg_params__int4(struct cg_params *params, int32_t value);
void cg_params__int8(struct cg_params *params, int64_t value);
void cg_params__bool(struct cg_params *params, bool value);
void cg_params__text(struct cg_params *params, struct cg_view value);
void cg_params__bytes(struct cg_params *params, struct cg_view value);
void cg_params__uuid(struct cg_params *params, const struct cg_uuid *value);
void cg_params__null(struct cg_params *params, unsigned type);

/* An array of exactly `count` elements; they follow with cg_params__element*(). */
void cg_params__array(struct cg_params *params, unsigned element_type, uint32_t count);
void cg_params__element(struct cg_params *params, struct cg_view value); /* text, bytea, uuid */
void cg_params__element_int8(struct cg_params *params, int64_t value);
void cg_params__element_bool(struct cg_params *params, bool value);
void cg_params__element_jsonb(struct cg_params *params, struct cg_view text);
void cg_params__element_null(struct cg_params *params);

/* Makes `values` point where they belong; after the last one. */
void cg_params__seal(struct cg_params *params);

#endif /* CG_LEDGER_PARAMS_H */
