/*
 * A batch of entries as the parameters of callgate.flush(), and its answer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "ledger/ledger_internal.h"

const char *cg_flush_batch__statement(void)
{
	return "select f.ret_outcome, f.ret_epoch, f.ret_last_epoch, f.ret_last_n,"
	       " f.ret_quarantined, f.ret_duplicates"
	       " from callgate.flush($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,"
	       " $15, $16, $17, $18, $19, $20, $21, $22, $23) f";
}

/* callgate.shadow_calls and its report know decisions by these names, the contract's. */
static struct cg_view decision_name(enum cg_decision decision)
{
	static const char *const names[] = {
	    [CG_DECISION_NONE] = "unspecified",
	    [CG_DECISION_ALLOWED] = "allowed",
	    [CG_DECISION_INSUFFICIENT_FUNDS] = "denied_insufficient_funds",
	    [CG_DECISION_CONCURRENCY_LIMIT] = "denied_concurrency_limit",
	    [CG_DECISION_SUSPENDED] = "denied_suspended",
	    [CG_DECISION_NO_PRICE] = "denied_no_price",
	    [CG_DECISION_BARRED] = "denied_barred",
	};

	return cg_view_of((size_t)decision < CG_COUNT_OF(names) ? names[decision] : names[0]);
}

/* The reference of a correction is made out of its call's. */
static struct cg_view call_id_of(const struct cg_ledger_entry_body *body)
{
	static const struct cg_view prefix = {"correction:", 11};
	struct cg_view id = body->reference_id;

	if (body->is_correction && id.len > prefix.len &&
	    memcmp(id.data, prefix.data, prefix.len) == 0) {
		id = (struct cg_view){id.data + prefix.len, id.len - prefix.len};
	}
	return id;
}

static void put_pairs(struct cg_json *json, const struct cg_meta *meta)
{
	if (meta != NULL && meta->pairs.len > 0) {
		cg_json__meta(json, "meta", meta);
	}
}

/*
 * Shorter names first, and those of one length by their bytes: jsonb keeps a pair's place by
 * that, and sorts nothing where they come in that order, which is a twentieth of a flush.
 * `meta`: the caller's own pairs; NULL: without them.
 */
static void put_usage(
    struct cg_json *json, const struct cg_entry *entry, const struct cg_meta *meta)
{
	const struct cg_ledger_entry_body *body = &entry->body;
	/* Of a correction the flush finds it out, from the call's own. */
	bool has_shadow = body->has_shadow && !body->is_correction;
	char entry_id[CG_ENTRY_ID_TEXT_BYTES];

	cg_entry_id_format(&entry->id, entry_id);
	if (body->is_charge) {
		put_pairs(json, meta);
		cg_json__text(json, "entry_id", cg_view_of(entry_id));
		cg_json__int(json, "quantity", body->quantity);
		cg_json__bool(json, "is_charge", true);
		cg_json__text(json, "reference_id", body->reference_id);
		return;
	}
	cg_json__bool(json, "late", body->late);
	put_pairs(json, meta);
	cg_json__text(json, "basis", cg_view_of(cg_basis_name(body->basis)));
	cg_json__text(json, "call_id", call_id_of(body));
	cg_json__text(json, "entry_id", cg_view_of(entry_id));
	cg_json__int(json, "billed_ms", body->billed_ms);
	if (body->is_correction) {
		cg_json__bool(json, "correction", true);
	}
	cg_json__int(json, "minimum_ms", body->price.minimum_ms);
	cg_json__text(json, "destination", body->destination);
	cg_json__int(json, "duration_ms", body->duration_ms);
	cg_json__int(json, "ended_at_ms", body->ended_at_ms);
	cg_json__int(json, "increment_ms", body->price.increment_ms);
	cg_json__int(json, "started_at_ms", body->started_at_ms);
	if (has_shadow) {
		cg_json__text(json, "shadow_decision", decision_name(body->shadow_decision));
	}
	cg_json__int(json, "authorized_at_ms", body->authorized_at_ms);
	if (has_shadow && body->shadow_cut_at_ms != 0) {
		cg_json__int(json, "shadow_cut_at_ms", body->shadow_cut_at_ms);
	}
	cg_json__int(json, "connect_fee_micros", body->price.connect_fee.micros);
	if (has_shadow) {
		cg_json__int(json, "shadow_saved_micros", body->shadow_saved.micros);
	}
	cg_json__int(json, "rate_micros_per_minute", body->price.rate_per_minute.micros);
}

static void put_json(
    struct cg_params *params, const struct cg_entry *entry, bool bare, struct cg_json *json)
{
	if (entry->body.resource_type.len == 0) {
		cg_params__element_null(params);
		return;
	}
	cg_json__begin(json);
	put_usage(json, entry, bare ? NULL : &entry->body.meta);
	cg_params__element_jsonb(params, cg_json__end(json));
}

/* The entry as it came, beside the numbers that have columns: what was taken away is in it. */
static void put_raw(struct cg_params *params, const struct cg_entry *entry, struct cg_json *json)
{
	const struct cg_ledger_entry_body *body = &entry->body;

	cg_json__begin(json);
	cg_json__text(json, "reference_id", body->reference_id);
	cg_json__text(json, "description", body->description);
	cg_json__text(json, "resource_type", body->resource_type);
	if (body->resource_type.len > 0) {
		put_usage(json, entry, NULL);
	}
	cg_json__meta(json, "meta", &body->meta);
	cg_params__bytes(params, cg_json__end(json));
}

#define INT8_ARRAY(expression)                                                                     \
	do {                                                                                       \
		cg_params__array(params, CG_OID_INT8, count);                                      \
		for (uint32_t i = 0; i < count; i++) {                                             \
			const struct cg_entry *e = &entries[i];                                    \
			cg_params__element_int8(params, (int64_t)(expression));                    \
		}                                                                                  \
	} while (0)

#define TEXT_ARRAY(expression)                                                                     \
	do {                                                                                       \
		cg_params__array(params, CG_OID_TEXT, count);                                      \
		for (uint32_t i = 0; i < count; i++) {                                             \
			const struct cg_entry *e = &entries[i];                                    \
			cg_params__element(params, (expression));                                  \
		}                                                                                  \
	} while (0)

static void encode_head(struct cg_params *params, const struct cg_part *part)
{
	cg_params__int4(params, (int32_t)part->index);
	cg_params__int8(params, (int64_t)part->epoch);
	cg_params__int8(params, (int64_t)part->cursor.last_epoch);
	cg_params__int8(params, (int64_t)part->cursor.last_n);
	cg_params__int8(params, (int64_t)part->trimmed.epoch);
	cg_params__int8(params, (int64_t)part->trimmed.n);
	cg_params__int4(params, part->mode);
}

static void encode_companies(
    struct cg_params *params, const struct cg_entry *entries, uint32_t count)
{
	cg_params__array(params, CG_OID_UUID, count);
	for (uint32_t i = 0; i < count; i++) {
		const struct cg_uuid *company = &entries[i].company;

		cg_params__element(
		    params, (struct cg_view){(const char *)company->bytes, sizeof company->bytes});
	}
}

static void encode_texts(struct cg_params *params, const struct cg_part *part,
    const struct cg_entry *entries, uint32_t count)
{
	const struct cg_view nothing = {NULL, 0};
	int mode = part->mode;

	/* Set aside (2) every text is in `raw` alone: nothing else can be refused. */
	TEXT_ARRAY(mode == 2 ? nothing : e->body.reference_id);
	TEXT_ARRAY(mode > 0 ? nothing : e->body.description);
	TEXT_ARRAY(mode == 2 ? nothing : e->body.resource_type);
}

void cg_flush_batch__encode(struct cg_params *params, const struct cg_part *part,
    const struct cg_entry *entries, uint32_t count, struct cg_json *json)
{
	CG_ASSERT(part->mode == 0 || count == 1);
	cg_params__reset(params);
	encode_head(params, part);
	INT8_ARRAY(e->id.epoch);
	INT8_ARRAY(e->id.n);
	encode_companies(params, entries, count);
	INT8_ARRAY(e->version);
	TEXT_ARRAY(cg_view_of(cg_entry_type_name(e->body.type)));
	INT8_ARRAY(e->body.amount.micros);
	INT8_ARRAY(e->body.balance_after.micros);
	INT8_ARRAY(e->body.at_ms);
	encode_texts(params, part, entries, count);
	INT8_ARRAY(
	    e->body.is_charge || e->body.is_correction ? e->body.quantity : e->body.billed_ms);
	cg_params__array(params, CG_OID_BOOL, count);
	for (uint32_t i = 0; i < count; i++) {
		cg_params__element_bool(params, entries[i].body.is_charge);
	}
	cg_params__array(params, CG_OID_JSONB, count);
	for (uint32_t i = 0; i < count; i++) {
		if (part->mode == 2) {
			cg_params__element_null(params);
		} else {
			put_json(params, &entries[i], part->mode > 0, json);
		}
	}
	if (part->mode > 0) {
		put_raw(params, &entries[0], json);
		cg_params__text(params, CG_VIEW_LITERAL("refused by Postgres as it came"));
	} else {
		cg_params__null(params, CG_OID_BYTEA);
		cg_params__null(params, CG_OID_TEXT);
	}
}

void cg_flush_batch__encode_orphans(struct cg_params *params, const struct cg_part *part,
    const struct cg_entry *entries, uint32_t count)
{
	cg_params__reset(params);
	cg_params__int4(params, (int32_t)part->index);
	cg_params__int8(params, (int64_t)part->epoch);
	INT8_ARRAY(e->id.epoch);
	INT8_ARRAY(e->id.n);
	encode_companies(params, entries, count);
	INT8_ARRAY(e->version);
	TEXT_ARRAY(cg_view_of(cg_entry_type_name(e->body.type)));
	INT8_ARRAY(e->body.amount.micros);
	INT8_ARRAY(e->body.balance_after.micros);
	INT8_ARRAY(e->body.at_ms);
	cg_params__array(params, CG_OID_BYTEA, count);
	for (uint32_t i = 0; i < count; i++) {
		cg_params__element(params, entries[i].body.reference_id);
	}
}

bool cg_flush_batch__decode(const PGresult *result, struct cg_flush_answer *ret_answer)
{
	static const char *const names[] = {
	    [CG_FLUSH_DONE] = "done",
	    [CG_FLUSH_NO_CURSOR] = "no_cursor",
	    [CG_FLUSH_FENCED] = "fenced",
	    [CG_FLUSH_MOVED] = "moved",
	    [CG_FLUSH_TRIMMED] = "trimmed",
	};

	if (PQntuples(result) != 1) {
		return false;
	}
	for (unsigned i = 0; i < CG_COUNT_OF(names); i++) {
		if (cg_result__is(result, 0, 0, names[i])) {
			*ret_answer = (struct cg_flush_answer){
			    .outcome = i,
			    .epoch = (uint64_t)cg_result__int(result, 0, 1),
			    .last_epoch = (uint64_t)cg_result__int(result, 0, 2),
			    .last_n = (uint64_t)cg_result__int(result, 0, 3),
			    .quarantined = cg_result__int(result, 0, 4),
			    .duplicates = cg_result__int(result, 0, 5),
			};
			return true;
		}
	}
	return false;
}
