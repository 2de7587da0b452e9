/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/store/store_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define TRIM_AT_ONCE 500
#define ROWS_MAX     1000

#define COLUMNS                                                                                    \
	"event_id, event_done, call_id, company_id, kind, state, resource_type, destination,"      \
	" granted_ms, is_degraded, is_connected, started_at_ms, ended_at_ms, control_url, looks,"  \
	" name, phone_number_id, created_at_ms"

static const char *prepare(struct cg_job *job, struct cg_params *params)
{
	struct cg_edge_task *task = CG_CONTAINER_OF(job, struct cg_edge_task, job);
	struct cg_params lent = *params;

	*params = task->params;
	task->params = lent;
	return task->statement;
}

static void read_text(const PGresult *result, int row, int column, char *to, size_t size)
{
	struct cg_view text = cg_result__view(result, row, column);
	size_t len = text.len < size ? text.len : 0;

	if (len > 0) {
		memcpy(to, text.data, len);
	}
	to[len] = '\0';
}

static void read_row(const PGresult *result, int at, struct cg_edge_row *row)
{
	*row = (struct cg_edge_row){
	    .event_id = cg_result__int(result, at, 0),
	    .event_done = cg_result__bool(result, at, 1),
	    .granted_ms = cg_result__int(result, at, 8),
	    .is_degraded = cg_result__bool(result, at, 9),
	    .is_connected = cg_result__bool(result, at, 10),
	    .started_at_ms = cg_result__int(result, at, 11),
	    .ended_at_ms = cg_result__int(result, at, 12),
	    .looks = cg_result__int(result, at, 14),
	};
	read_text(result, at, 2, row->call_id, sizeof row->call_id);
	read_text(result, at, 3, row->company_id, sizeof row->company_id);
	read_text(result, at, 4, row->kind, sizeof row->kind);
	read_text(result, at, 5, row->state, sizeof row->state);
	read_text(result, at, 6, row->resource_type, sizeof row->resource_type);
	read_text(result, at, 7, row->destination, sizeof row->destination);
	read_text(result, at, 13, row->control_url, sizeof row->control_url);
	read_text(result, at, 15, row->name, sizeof row->name);
	read_text(result, at, 16, row->phone_number_id, sizeof row->phone_number_id);
	row->created_at_ms = cg_result__int(result, at, 17);
}

static void tell_rows(
    const struct cg_edge_task *task, enum cg_status status, const PGresult *result)
{
	int count = status == CG_OK && task->answer != CG_EDGE_TASK_NOTHING ? PQntuples(result) : 0;
	struct cg_edge_row *rows = NULL;

	if (count > 0) {
		count = count < ROWS_MAX ? count : ROWS_MAX;
		rows = calloc((size_t)count, sizeof *rows);
		CG_ASSERT(rows != NULL);
	}
	for (int i = 0; i < count; i++) {
		if (task->answer == CG_EDGE_TASK_CALLS) {
			read_row(result, i, &rows[i]);
		} else {
			read_text(result, i, 0, rows[i].call_id, sizeof rows[i].call_id);
			rows[i].is_known = cg_result__bool(result, i, 1);
		}
	}
	task->done(task->owner, status, rows, (size_t)count);
	free(rows);
}

static bool on_end(struct cg_job *job, enum cg_status status, const PGresult *result)
{
	struct cg_edge_task *task = CG_CONTAINER_OF(job, struct cg_edge_task, job);

	if (task->answer == CG_EDGE_TASK_SETTINGS) {
		bool ok = status == CG_OK && PQntuples(result) == 1;
		struct cg_view none = {NULL, 0};
		task->settings_done(task->owner,
		    ok                    ? CG_OK
		        : status == CG_OK ? CG_INTERNAL
		                          : status,
		    ok ? cg_result__int(result, 0, 0) : 0,
		    ok ? cg_result__view(result, 0, 1) : none,
		    ok ? cg_result__view(result, 0, 2) : none);
	} else if (task->done != NULL) {
		tell_rows(task, status, result);
	}
	task->store->task_count--;
	cg_params__deinit(&task->params);
	free(task);
	return false;
}

struct cg_edge_task *cg_edge_store__task(const char *statement, enum cg_edge_task_answer answer)
{
	struct cg_edge_task *task = calloc(1, sizeof *task);

	CG_ASSERT(task != NULL);
	task->statement = statement;
	task->answer = answer;
	cg_params__reset(&task->params);
	return task;
}

void cg_edge_store__submit(
    struct cg_edge_store *store, struct cg_edge_task *task, cg_edge_rows_done done, void *owner)
{
	store->task_count++;
	task->store = store;
	task->job = (struct cg_job){
	    .deadline_at_ms = cg_loop_now_ms(store->loop) + store->config.timeout_ms,
	    .prepare = prepare,
	    .on_end = on_end,
	};
	task->done = done;
	task->owner = owner;
	cg_pool__submit(store->pool, &task->job);
}

static void put_text(struct cg_edge_task *task, const char *text)
{
	if (text == NULL || text[0] == '\0') {
		cg_params__null(&task->params, CG_OID_TEXT);
	} else {
		cg_params__text(&task->params, cg_view_of(text));
	}
}

/* Never null. */
static void put_word(struct cg_edge_task *task, const char *text)
{
	cg_params__text(&task->params, cg_view_of(text == NULL ? "" : text));
}

static void put_int(struct cg_edge_task *task, int64_t value)
{
	if (value == 0) {
		cg_params__null(&task->params, CG_OID_INT8);
	} else {
		cg_params__int8(&task->params, value);
	}
}

static void put_company(struct cg_edge_task *task, const char *text)
{
	struct cg_uuid company;

	if (text != NULL && cg_uuid_parse(cg_view_of(text), &company)) {
		cg_params__uuid(&task->params, &company);
	} else {
		cg_params__null(&task->params, CG_OID_UUID);
	}
}

void cg_edge_store_take(struct cg_edge_store *store, const struct cg_edge_event *event,
    cg_edge_rows_done done, void *owner)
{
	struct cg_edge_task *task = cg_edge_store__task(
	    "select " COLUMNS " from callgate.edge_event_take($1, $2, $3, $4, $5,"
	    " $6::jsonb, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
	    CG_EDGE_TASK_CALLS);

	put_word(task, event->dedupe_key);
	put_word(task, event->call_id);
	put_word(task, event->type);
	put_word(task, event->status);
	put_int(task, event->sent_at_ms);
	cg_params__text(&task->params, event->content);
	put_text(task, event->state);
	put_company(task, event->company_id);
	put_text(task, event->kind);
	put_text(task, event->phone_number_id);
	put_text(task, event->resource_type);
	put_text(task, event->destination);
	put_text(task, event->control_url);
	put_text(task, event->ended_reason);
	put_int(task, event->look_in_ms);
	put_text(task, event->name);
	cg_edge_store__submit(store, task, done, owner);
}

void cg_edge_store_event_done(struct cg_edge_store *store, int64_t event_id, const char *outcome,
    cg_edge_rows_done done, void *owner)
{
	struct cg_edge_task *task =
	    cg_edge_store__task("select callgate.edge_event_done($1, $2)", CG_EDGE_TASK_NOTHING);

	cg_params__int8(&task->params, event_id);
	put_word(task, outcome);
	cg_edge_store__submit(store, task, done, owner);
}

void cg_edge_store_note(struct cg_edge_store *store, const struct cg_edge_note *note,
    cg_edge_rows_done done, void *owner)
{
	struct cg_edge_task *task =
	    cg_edge_store__task("select callgate.edge_call_note($1, $2, $3, $4, $5, $6, $7, $8,"
	                        " $9, $10, $11, $12, $13, $14, $15, $16, $17)",
	        CG_EDGE_TASK_NOTHING);

	put_word(task, note->call_id);
	put_word(task, note->state);
	put_company(task, note->company_id);
	put_text(task, note->kind);
	put_text(task, note->phone_number_id);
	put_text(task, note->name);
	put_text(task, note->resource_type);
	put_text(task, note->destination);
	put_int(task, note->granted_ms);
	cg_params__bool(&task->params, note->is_degraded);
	cg_params__bool(&task->params, note->is_connected);
	put_int(task, note->started_at_ms);
	put_int(task, note->ended_at_ms);
	put_text(task, note->ended_reason);
	put_text(task, note->control_url);
	put_text(task, note->outcome);
	put_int(task, note->look_in_ms);
	cg_edge_store__submit(store, task, done, owner);
}

void cg_edge_store_read(
    struct cg_edge_store *store, const char *call_id, cg_edge_rows_done done, void *owner)
{
	struct cg_edge_task *task = cg_edge_store__task(
	    "select " COLUMNS " from callgate.edge_call_row($1)", CG_EDGE_TASK_CALLS);

	put_word(task, call_id);
	cg_edge_store__submit(store, task, done, owner);
}

void cg_edge_store_due(struct cg_edge_store *store, uint32_t limit, int64_t turn_ms,
    cg_edge_rows_done done, void *owner)
{
	struct cg_edge_task *task = cg_edge_store__task(
	    "select " COLUMNS " from callgate.edge_calls_due($1, $2)", CG_EDGE_TASK_CALLS);

	cg_params__int4(&task->params, (int32_t)limit);
	cg_params__int8(&task->params, turn_ms);
	cg_edge_store__submit(store, task, done, owner);
}

void cg_edge_store_missed(struct cg_edge_store *store, const char *const *ids, const bool *ended,
    size_t count, cg_edge_rows_done done, void *owner)
{
	struct cg_edge_task *task = cg_edge_store__task(
	    "select ret_call, ret_known from callgate.edge_calls_missed($1, $2)", CG_EDGE_TASK_IDS);

	cg_params__array(&task->params, CG_OID_TEXT, (uint32_t)count);
	for (size_t i = 0; i < count; i++) {
		cg_params__element(&task->params, cg_view_of(ids[i]));
	}
	cg_params__array(&task->params, CG_OID_BOOL, (uint32_t)count);
	for (size_t i = 0; i < count; i++) {
		cg_params__element_bool(&task->params, ended[i]);
	}
	cg_edge_store__submit(store, task, done, owner);
}

void cg_edge_store_review(struct cg_edge_store *store, const struct cg_edge_review *review,
    cg_edge_rows_done done, void *owner)
{
	struct cg_edge_task *task = cg_edge_store__task(
	    "select callgate.edge_review_put($1, $2, $3, $4, $5, $6, $7)", CG_EDGE_TASK_NOTHING);

	put_word(task, review->call_id);
	put_word(task, review->what);
	put_company(task, review->company_id);
	cg_params__int8(&task->params, review->said_ms);
	cg_params__int8(&task->params, review->charged_ms);
	put_int(task, review->granted_ms);
	put_text(task, review->detail);
	cg_edge_store__submit(store, task, done, owner);
}

void cg_edge_store_trim(
    struct cg_edge_store *store, uint32_t days, cg_edge_rows_done done, void *owner)
{
	struct cg_edge_task *task =
	    cg_edge_store__task("select callgate.edge_trim($1, $2)", CG_EDGE_TASK_NOTHING);

	cg_params__int4(&task->params, (int32_t)days);
	cg_params__int4(&task->params, TRIM_AT_ONCE);
	cg_edge_store__submit(store, task, done, owner);
}

void cg_edge_store_settings(
    struct cg_edge_store *store, int64_t known_version, cg_edge_settings_done done, void *owner)
{
	struct cg_edge_task *task =
	    cg_edge_store__task("select ret_version, ret_numbers::text, ret_sentences::text"
	                        " from callgate.edge_settings_read($1)",
	        CG_EDGE_TASK_SETTINGS);

	cg_params__int8(&task->params, known_version);
	task->settings_done = done;
	cg_edge_store__submit(store, task, NULL, owner);
}

struct cg_edge_store *cg_edge_store_create(
    struct cg_loop *loop, const struct cg_edge_store_config *config)
{
	struct cg_edge_store *store = calloc(1, sizeof *store);

	CG_ASSERT(store != NULL);
	store->config = *config;
	store->loop = loop;
	store->pool = cg_pool__create(
	    loop, config->database_url, "edge", config->connections, config->connect_timeout_ms);
	cg_edge_store__admitted_init(store);
	return store;
}

void cg_edge_store_start(struct cg_edge_store *store)
{
	cg_pool__start(store->pool, NULL, NULL);
}

bool cg_edge_store_is_connected(const struct cg_edge_store *store)
{
	return cg_pool__is_connected(store->pool);
}

bool cg_edge_store_is_idle(const struct cg_edge_store *store)
{
	return store->task_count == 0 && store->admitted_count == 0;
}

void cg_edge_store_close(struct cg_edge_store *store)
{
	cg_edge_store__admitted_close(store);
	cg_pool__close(store->pool);
}

void cg_edge_store_destroy(struct cg_edge_store *store)
{
	cg_pool__destroy(store->pool);
	free(store);
}
