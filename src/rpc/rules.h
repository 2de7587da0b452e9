/*
 * The contract's bounds as tables: one row per field of a request, each saying where the
 * field stands in the message, where it goes in struct cg_request, and what it must be.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_RULES_H
#define CG_RPC_RULES_H

#include "gate/request.h"
#include "rpc/decode.h"

#define CG_BOUND_COMPANY           "a UUID of 36 characters"
#define CG_BOUND_COMPANY_OR_EMPTY  "empty or a UUID of 36 characters"
#define CG_BOUND_KEY               "1..128 bytes of printable ASCII"
#define CG_BOUND_RESERVED          "free of the reserved prefixes correction:, dup: and undo:"
#define CG_BOUND_RESOURCE          "[a-z][a-z0-9_]{0,63}"
#define CG_BOUND_RESOURCE_OR_EMPTY "empty or [a-z][a-z0-9_]{0,63}"
#define CG_BOUND_DESTINATION       "empty or +[1-9][0-9]{1,14}"
#define CG_BOUND_DESCRIPTION       "0..256 bytes of UTF-8 without U+0000"
#define CG_BOUND_CURRENCY          "empty or [a-z]{3}"
#define CG_BOUND_PLAN              "1..64 bytes of [a-z0-9_-]"
#define CG_BOUND_PLAN_OR_EMPTY     "0..64 bytes of [a-z0-9_-]"
#define CG_BOUND_PAGE_TOKEN        "0..512 bytes, as it was answered"
#define CG_BOUND_DURATION_MS       "0..604800000"
#define CG_BOUND_AT_MS             "0..999999999999999"
#define CG_BOUND_META              "at most 4096 bytes of keys and values"
#define CG_BOUND_META_KEY          "a key of [A-Za-z0-9_.:-]{1,64}"
#define CG_BOUND_META_TWICE        "without a key that stands twice"
#define CG_BOUND_DURABILITY        "DURABILITY_ACCEPTED or DURABILITY_COMMITTED"

#define CG_BOUND_RESUME_TOKEN "0..65536 bytes of printable ASCII, as it was answered"
#define CG_BOUND_WATCH_TYPES  "at most 64 known types, none of them UNSPECIFIED"

/* A position per partition: a deployment of a hundred of them needs some 3000 bytes. */
#define CG_RESUME_TOKEN_MAX_BYTES 65536
#define CG_WATCH_TYPES_MAX        64

#define CG_AT_MAX_MS INT64_C(999999999999999)

enum cg_rule_kind {
	CG_RULE_COMPANY,
	CG_RULE_KEY,  /* call_id, reference_id */
	CG_RULE_TEXT, /* `fits` says whether */
	CG_RULE_INT,  /* least..most */
	CG_RULE_BOOL,
	CG_RULE_META,
	CG_RULE_DURABILITY,
};

struct cg_rule {
	const char *field;
	enum cg_rule_kind kind;
	size_t from; /* offset in the message's struct */
	size_t to;   /* offset in struct cg_request */
	const char *bound;
	bool (*fits)(struct cg_view text);
	int64_t least;
	int64_t most;
};

/* Everything that checks one request needs. */
struct cg_rule_work {
	struct cg_rpc_decoder *decoder;
	struct cg_buffer *text;
	struct cg_request *req;
	struct cg_rpc_fault *fault;
};

/* A row: the message, its field, the member of struct cg_request, and what it must be. */
#define CG_ROW(message, name, member, what, ...)                                                   \
	{                                                                                          \
		.field = #name, .kind = (what), .from = offsetof(Callgate__V1__##message, name),   \
		.to = offsetof(struct cg_request, member), __VA_ARGS__                             \
	}
#define CG_ROW_COMPANY(message)                                                                    \
	CG_ROW(message, company_id, company, CG_RULE_COMPANY, .bound = CG_BOUND_COMPANY)
#define CG_ROW_KEY(message, name, member)                                                          \
	CG_ROW(message, name, member, CG_RULE_KEY, .bound = CG_BOUND_KEY)
#define CG_ROW_TEXT(message, name, member, text_bound, is_right)                                   \
	CG_ROW(message, name, member, CG_RULE_TEXT, .bound = (text_bound), .fits = (is_right))
#define CG_ROW_INT(message, name, member, int_bound, lowest, highest)                              \
	CG_ROW(message, name, member, CG_RULE_INT, .bound = (int_bound), .least = (lowest),        \
	    .most = (highest))
#define CG_ROW_DURABILITY(message, member)                                                         \
	CG_ROW(message, durability, member, CG_RULE_DURABILITY, .bound = CG_BOUND_DURABILITY)
/* A map's field is two members: how many, and where. */
#define CG_ROW_META(message, member)                                                               \
	{                                                                                          \
		.field = "meta", .kind = CG_RULE_META,                                             \
		.from = offsetof(Callgate__V1__##message, n_meta),                                 \
		.to = offsetof(struct cg_request, member), .bound = CG_BOUND_META                  \
	}

struct cg_rule_set {
	const ProtobufCMessageDescriptor *message;
	const struct cg_rule *rules;
	size_t rule_count;
	/* What takes more than one field to judge; NULL: nothing does. */
	bool (*finish)(struct cg_rule_work *work, const void *message);
};

/* The sets of the two services, CG_RULE_SETS_GATE and _WALLETS methods long. */
#define CG_RULE_SETS_GATE    (CG_METHOD_ADOPT + 1)
#define CG_RULE_SETS_WALLETS (CG_METHOD_COUNT - CG_RULE_SETS_GATE)
extern const struct cg_rule_set cg_rules__gate[CG_RULE_SETS_GATE];
extern const struct cg_rule_set cg_rules__wallets[CG_RULE_SETS_WALLETS];

/* Checks and carries over what one row says. */
bool cg_rule_apply(struct cg_rule_work *work, const struct cg_rule *rule, const void *message);

/* Copies a map's pairs into the request's memory, after checking them. */
bool cg_rule_meta(struct cg_rule_work *work, const void *message, const struct cg_rule *rule,
    struct cg_meta *ret_meta);

bool cg_rule_refuse(struct cg_rule_work *work, const char *field, const char *bound);
bool cg_rule_int(struct cg_rule_work *work, const struct cg_rule *rule, int64_t value);

/* A copy that lives as long as the request; false where it does not fit, which is our bug. */
struct cg_view cg_rule_keep(struct cg_rule_work *work, struct cg_view text);

/* Patterns. */
bool cg_is_key(struct cg_view text);
bool cg_is_reserved(struct cg_view text);
bool cg_is_resource(struct cg_view text);
bool cg_is_resource_or_empty(struct cg_view text);
bool cg_is_destination(struct cg_view text);
bool cg_is_description(struct cg_view text);
bool cg_is_plan(struct cg_view text);
bool cg_is_plan_or_empty(struct cg_view text);
bool cg_is_page_token(struct cg_view text);
bool cg_is_resume_token(struct cg_view text);
bool cg_is_currency(struct cg_view text);
bool cg_is_meta_key(struct cg_view text);

#endif /* CG_RPC_RULES_H */
