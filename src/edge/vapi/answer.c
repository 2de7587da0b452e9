/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/vapi/answer.h"

#include "edge/json/doc.h"
#include "edge/json/out.h"

static const struct cg_view none = {NULL, 0};

static struct cg_view written(const struct cg_out *out)
{
	return out->buffer.overflow ? none : cg_out_view(out);
}

static void put_metadata(struct cg_out *out, const struct cg_vapi_grant *grant)
{
	cg_out_text(out, "company_id", grant->company_id);
	cg_out_text(out, "reservation_id", grant->reservation_id);
}

static void put_overrides(struct cg_out *out, const struct cg_vapi_grant *grant)
{
	cg_out_object(out, "assistantOverrides");
	cg_out_int(out, "maxDurationSeconds", grant->max_seconds);
	cg_out_object(out, "metadata");
	put_metadata(out, grant);
	cg_out_end(out, '}');
	cg_out_end(out, '}');
}

struct cg_view cg_vapi_admit(
    void *memory, size_t size, const char *assistant_id, const struct cg_vapi_grant *grant)
{
	struct cg_out out;

	CG_ASSERT(
	    grant->max_seconds >= CG_VAPI_SECONDS_MIN && grant->max_seconds <= CG_VAPI_SECONDS_MAX);
	cg_out_init(&out, memory, size);
	cg_out_object(&out, NULL);
	cg_out_text(&out, "assistantId", assistant_id);
	put_overrides(&out, grant);
	cg_out_end(&out, '}');
	return written(&out);
}

struct cg_view cg_vapi_refuse(void *memory, size_t size, const char *sentence)
{
	struct cg_out out;

	cg_out_init(&out, memory, size);
	cg_out_object(&out, NULL);
	cg_out_text(&out, "error", sentence);
	cg_out_end(&out, '}');
	return written(&out);
}

struct cg_view cg_vapi_transfer(void *memory, size_t size, const char *number, const char *sentence)
{
	struct cg_out out;

	cg_out_init(&out, memory, size);
	cg_out_object(&out, NULL);
	cg_out_object(&out, "destination");
	cg_out_text(&out, "type", "number");
	cg_out_text(&out, "number", number);
	cg_out_text(&out, "message", sentence);
	cg_out_end(&out, '}');
	cg_out_end(&out, '}');
	return written(&out);
}

/* Its limit is lowered where it is none or beyond the grant; below what Vapi takes it is its own affair. */
static int64_t limit_of(struct cg_view said, const struct cg_vapi_grant *grant)
{
	int64_t seconds = 0;

	return cg_doc_decimal(said, 0, &seconds) && seconds >= CG_VAPI_SECONDS_MIN &&
	        seconds < grant->max_seconds
	    ? seconds
	    : grant->max_seconds;
}

static void merge_metadata(
    struct cg_out *out, struct cg_view theirs, const struct cg_vapi_grant *grant)
{
	struct cg_doc_walk walk;
	struct cg_view key;
	struct cg_view value;

	cg_out_object(out, "metadata");
	cg_doc_walk(&walk, cg_doc_type(theirs) == CG_DOC_OBJECT ? theirs : none);
	while (cg_doc_next(&walk, &key, &value)) {
		if (!cg_doc_is(key, "company_id") && !cg_doc_is(key, "reservation_id")) {
			cg_out_member(out, key, value);
		}
	}
	put_metadata(out, grant);
	cg_out_end(out, '}');
}

static void merge_overrides(
    struct cg_out *out, struct cg_view theirs, const struct cg_vapi_grant *grant)
{
	static const char *const names[] = {"maxDurationSeconds", "metadata"};
	struct cg_view said[2];
	struct cg_doc_walk walk;
	struct cg_view key;
	struct cg_view value;

	cg_doc_members(theirs, names, CG_COUNT_OF(names), said);
	cg_out_object(out, "assistantOverrides");
	cg_doc_walk(&walk, cg_doc_type(theirs) == CG_DOC_OBJECT ? theirs : none);
	while (cg_doc_next(&walk, &key, &value)) {
		if (!cg_doc_is(key, names[0]) && !cg_doc_is(key, names[1])) {
			cg_out_member(out, key, value);
		}
	}
	cg_out_int(out, "maxDurationSeconds", limit_of(said[0], grant));
	merge_metadata(out, said[1], grant);
	cg_out_end(out, '}');
}

/*
 * A name written with escapes is read by Vapi as what it stands for, and by us as another: the
 * grant could be taken back by a second member of the same name.
 */
static bool has_hidden_names(struct cg_view object)
{
	struct cg_doc_walk walk;
	struct cg_view key;
	struct cg_view value;

	cg_doc_walk(&walk, cg_doc_type(object) == CG_DOC_OBJECT ? object : none);
	while (cg_doc_next(&walk, &key, &value)) {
		if (memchr(key.data, '\\', key.len) != NULL) {
			return true;
		}
	}
	return false;
}

/* In the order in which Vapi looks: an error beats all, a destination all but that. */
static enum cg_vapi_upstream verdict_of(struct cg_view document, struct cg_view *ret_overrides)
{
	enum {
		ERROR,
		DESTINATION,
		ASSISTANT_ID,
		ASSISTANT,
		SQUAD_ID,
		SQUAD,
		WORKFLOW_ID,
		WORKFLOW,
		OVERRIDES,
		COUNT
	};
	static const char *const names[COUNT] = {"error", "destination", "assistantId", "assistant",
	    "squadId", "squad", "workflowId", "workflow", "assistantOverrides"};
	struct cg_view v[COUNT];

	cg_doc_members(document, names, COUNT, v);
	*ret_overrides = v[OVERRIDES];
	if (cg_doc_type(v[ERROR]) == CG_DOC_STRING && v[ERROR].len > 2) {
		return CG_VAPI_UPSTREAM_REFUSES;
	}
	if (cg_doc_type(v[DESTINATION]) == CG_DOC_OBJECT) {
		return CG_VAPI_UPSTREAM_FORWARDS;
	}
	if (cg_doc_type(v[ASSISTANT_ID]) == CG_DOC_STRING ||
	    cg_doc_type(v[ASSISTANT]) == CG_DOC_OBJECT) {
		return CG_VAPI_UPSTREAM_ADMITS;
	}
	/*
	 * A squad's or a workflow's limit is the greatest of its members', and no override of one
	 * assistant bounds it: it cannot be let in with a grant.
	 */
	return CG_VAPI_UPSTREAM_BROKEN;
}

enum cg_vapi_upstream cg_vapi_merge(void *memory, size_t size, struct cg_view body,
    const struct cg_vapi_grant *grant, struct cg_view *ret_answer)
{
	struct cg_view document;
	struct cg_view overrides;
	struct cg_view key;
	struct cg_view value;
	struct cg_doc_walk walk;
	struct cg_error err;
	struct cg_out out;

	*ret_answer = none;
	if (body.len > CG_VAPI_ANSWER_BYTES ||
	    cg_doc_check(body, CG_VAPI_ANSWER_BYTES, &document, &err) != CG_OK ||
	    cg_doc_type(document) != CG_DOC_OBJECT) {
		return CG_VAPI_UPSTREAM_BROKEN;
	}
	enum cg_vapi_upstream verdict = verdict_of(document, &overrides);
	if (verdict == CG_VAPI_UPSTREAM_REFUSES || verdict == CG_VAPI_UPSTREAM_FORWARDS) {
		*ret_answer = document;
		return verdict;
	}
	if (verdict == CG_VAPI_UPSTREAM_BROKEN || has_hidden_names(document) ||
	    has_hidden_names(overrides)) {
		return CG_VAPI_UPSTREAM_BROKEN;
	}
	cg_out_init(&out, memory, size);
	cg_out_object(&out, NULL);
	cg_doc_walk(&walk, document);
	while (cg_doc_next(&walk, &key, &value)) {
		if (!cg_doc_is(key, "assistantOverrides")) {
			cg_out_member(&out, key, value);
		}
	}
	merge_overrides(&out, overrides, grant);
	cg_out_end(&out, '}');
	*ret_answer = written(&out);
	return ret_answer->len > 0 ? CG_VAPI_UPSTREAM_ADMITS : CG_VAPI_UPSTREAM_BROKEN;
}

struct cg_view cg_vapi_say(void *memory, size_t size, const char *sentence, bool and_end)
{
	struct cg_out out;

	cg_out_init(&out, memory, size);
	cg_out_object(&out, NULL);
	cg_out_text(&out, "type", "say");
	cg_out_text(&out, "content", sentence);
	if (and_end) {
		cg_out_bool(&out, "endCallAfterSpoken", true);
		cg_out_bool(&out, "interruptAssistantEnabled", true);
		cg_out_bool(&out, "interruptionsEnabled", false);
	}
	cg_out_end(&out, '}');
	return written(&out);
}

struct cg_view cg_vapi_end_call(void)
{
	return CG_VIEW_LITERAL("{\"type\":\"end-call\"}");
}

struct cg_view cg_vapi_create(void *memory, size_t size, const struct cg_vapi_create *create)
{
	struct cg_out out;

	cg_out_init(&out, memory, size);
	cg_out_object(&out, NULL);
	cg_out_text(&out, "name", create->name);
	cg_out_text(&out, "assistantId", create->assistant_id);
	cg_out_text(&out, "phoneNumberId", create->phone_number_id);
	cg_out_object(&out, "customer");
	cg_out_text(&out, "number", create->customer_number);
	cg_out_text(&out, "externalId", create->external_id);
	cg_out_end(&out, '}');
	put_overrides(&out, &create->grant);
	cg_out_end(&out, '}');
	return written(&out);
}
