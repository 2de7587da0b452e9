/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/rules.h"

bool cg_rule_refuse(struct cg_rule_work *work, const char *field, const char *bound)
{
	return cg_rpc_fault_set(work->fault, field, bound);
}

struct cg_view cg_rule_keep(struct cg_rule_work *work, struct cg_view text)
{
	size_t start = work->text->len;

	/* The memory is as large as all bounds together, and they were checked. */
	cg_buffer_bytes(work->text, text.data, text.len);
	CG_ASSERT(!work->text->overflow);
	return (struct cg_view){work->text->data + start, text.len};
}

bool cg_rule_int(struct cg_rule_work *work, const struct cg_rule *rule, int64_t value)
{
	return (value >= rule->least && value <= rule->most) ||
	    cg_rule_refuse(work, rule->field, rule->bound);
}

static bool apply_company(struct cg_rule_work *work, const struct cg_rule *rule, const char *text)
{
	return cg_uuid_parse(cg_view_of(text), &work->req->company) ||
	    cg_rule_refuse(work, rule->field, rule->bound);
}

static bool apply_text(struct cg_rule_work *work, const struct cg_rule *rule, const char *text,
    struct cg_view *ret_view)
{
	struct cg_view view = cg_view_of(text);

	if (!rule->fits(view)) {
		return cg_rule_refuse(work, rule->field, rule->bound);
	}
	*ret_view = cg_rule_keep(work, view);
	return true;
}

static bool apply_key(struct cg_rule_work *work, const struct cg_rule *rule, const char *text,
    struct cg_view *ret_view)
{
	struct cg_view view = cg_view_of(text);

	if (!cg_is_key(view)) {
		return cg_rule_refuse(work, rule->field, rule->bound);
	}
	if (cg_is_reserved(view)) {
		return cg_rule_refuse(work, rule->field, CG_BOUND_RESERVED);
	}
	*ret_view = cg_rule_keep(work, view);
	return true;
}

static bool apply_durability(struct cg_rule_work *work, const struct cg_rule *rule, int value,
    enum cg_durability *ret_durability)
{
	if (value != 0 && value != CG_DURABILITY_ACCEPTED && value != CG_DURABILITY_COMMITTED) {
		return cg_rule_refuse(work, rule->field, rule->bound);
	}
	*ret_durability = value == 0 ? CG_DURABILITY_ACCEPTED : (enum cg_durability)value;
	return true;
}

bool cg_rule_apply(struct cg_rule_work *work, const struct cg_rule *rule, const void *message)
{
	const char *from = (const char *)message + rule->from;
	char *to = (char *)work->req + rule->to;

	switch (rule->kind) {
	case CG_RULE_COMPANY:
		return apply_company(work, rule, *(char *const *)from);
	case CG_RULE_KEY:
		return apply_key(work, rule, *(char *const *)from, (struct cg_view *)to);
	case CG_RULE_TEXT:
		return apply_text(work, rule, *(char *const *)from, (struct cg_view *)to);
	case CG_RULE_INT:
		*(int64_t *)to = *(const int64_t *)from;
		return cg_rule_int(work, rule, *(const int64_t *)from);
	case CG_RULE_BOOL:
		*(bool *)to = *(const protobuf_c_boolean *)from != 0;
		return true;
	case CG_RULE_META:
		return cg_rule_meta(work, message, rule, (struct cg_meta *)to);
	case CG_RULE_DURABILITY:
		return apply_durability(work, rule, *(const int *)from, (enum cg_durability *)to);
	}
	CG_UNREACHABLE();
}
