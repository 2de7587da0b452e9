/*
 * The words of the contract (proto/callgate/v1/callgate.proto) as C types, shared by the
 * gate and by those who implement its ports.  Enum values equal the contract's numbers.
 *
 * True of everything here: `*_at_ms` is milliseconds since the Unix epoch on the store's
 * clock (0: not yet), `*_ms` a duration; a view lives as long as its holder says.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_GATE_PORTS_TYPES_H
#define CG_GATE_PORTS_TYPES_H

#include "base/base.h"

#define CG_CALL_ID_MAX_BYTES     128
#define CG_META_MAX_BYTES        4096 /* of keys and values */
#define CG_DESCRIPTION_MAX_BYTES 256
#define CG_DURATION_MAX_MS       INT64_C(604800000) /* 7 days */
#define CG_PLAN_ID_MAX_BYTES     64

enum cg_decision {
	CG_DECISION_NONE = 0,
	CG_DECISION_ALLOWED = 1,
	CG_DECISION_INSUFFICIENT_FUNDS = 2,
	CG_DECISION_CONCURRENCY_LIMIT = 3,
	CG_DECISION_SUSPENDED = 4,
	CG_DECISION_NO_PRICE = 5,
	CG_DECISION_BARRED = 6,
};

enum cg_call_state {
	CG_CALL_NONE = 0,
	CG_CALL_AUTHORIZED = 1,
	CG_CALL_METERING = 2,
	CG_CALL_SETTLED = 3,
	CG_CALL_CANCELLED = 4,
	CG_CALL_EXPIRED = 5,
	CG_CALL_ABANDONED = 6,
	CG_CALL_STOPPED = 7,
};

enum cg_durability {
	CG_DURABILITY_ACCEPTED = 1,
	CG_DURABILITY_COMMITTED = 2,
};

enum cg_basis {
	CG_BASIS_NONE = 0,
	CG_BASIS_REPORTED = 1,
	CG_BASIS_POLLED = 2,
	CG_BASIS_METERED = 3,
	CG_BASIS_ASSUMED = 4,
};

enum cg_entry_type {
	CG_ENTRY_NONE = 0,
	CG_ENTRY_TOP_UP = 1,
	CG_ENTRY_MONTHLY_GRANT = 2,
	CG_ENTRY_BONUS = 3,
	CG_ENTRY_REFUND = 4,
	CG_ENTRY_ADJUSTMENT = 5,
	CG_ENTRY_USAGE = 6,
};

/* cost(d) = 0 where d = 0, else connect_fee + ceil(rate * max(minimum, ceil(d / increment) * increment) / 60000) */
struct cg_price {
	struct cg_money rate_per_minute; /* 0 .. 10^11 - 1 */
	struct cg_money connect_fee;     /* 0 .. 10^11 - 1 */
	uint32_t minimum_ms;             /* 0 .. 3 600 000 */
	uint32_t increment_ms;           /* 1 .. 3 600 000 */
};

/* ISO 4217, lower case, terminated. */
struct cg_currency {
	char code[4];
};

/* A ledger entry's id; as text "<partition>-<epoch>-<n>".  epoch 0: none. */
struct cg_entry_id {
	uint32_t partition;
	uint64_t epoch;
	uint64_t n;
};

/* Room for the text of an entry's id, terminated. */
#define CG_ENTRY_ID_TEXT_BYTES 56

/*
 * Key-value pairs as they travel through the store: for each pair one byte of key length,
 * the key, two bytes of value length (little-endian), the value.  Where a key stands
 * twice, the later one holds: merging is appending.
 */
struct cg_meta {
	struct cg_view pairs;
};

/* One call, live or ended. */
struct cg_call {
	struct cg_uuid company;
	struct cg_view call_id;
	enum cg_call_state state;
	struct cg_price price;
	struct cg_currency currency;
	struct cg_view resource_type;
	struct cg_view destination;
	struct cg_meta meta;
	struct cg_money held;
	struct cg_money accrued; /* as of the answer, rounded up */
	int64_t authorized_at_ms;
	int64_t started_at_ms;
	int64_t expires_at_ms;
	enum cg_decision shadow_decision;
	/* Once it has ended. */
	int64_t ended_at_ms;
	struct cg_money cost;
	int64_t billed_ms;
	int64_t duration_ms;
	enum cg_basis basis;
	bool late;
	struct cg_entry_id entry_id;
};

/*
 * What a wallet's record in the store knows of its terms; `version` grows with every
 * change, and an older version never overwrites a newer one.
 */
struct cg_wallet_terms {
	uint64_t version;             /* 0: nothing is known here, the record's own hold */
	struct cg_money credit_limit; /* >= 0 */
	bool credit_unlimited;
	bool suspended; /* frozen, or its subscription no longer admits calls */
	bool frozen;
	bool shadow;        /* decided as usual, answered ALLOWED */
	uint32_t calls_max; /* concurrency limit */
	bool has_low_balance;
	struct cg_money low_balance; /* BALANCE_LOW below this */
	/* Or where it lasts less than this; 0: the amount holds. */
	uint32_t low_balance_remaining_ms;
	uint32_t cut_warning_ms; /* CUT_WARNING this long before T* */
	uint32_t cut_repeat_ms;  /* CUT_OFF again after this long; 0: never */
	struct cg_currency currency;
};

/* What the plan says of one call. */
struct cg_call_limits {
	uint32_t reserve_ms; /* R, resolved: never 0 */
	uint32_t longest_ms;
	uint32_t lease_ms; /* ring lease */
	uint32_t guard_ms; /* g */
};

/* The text of `id` in `text`, terminated. */
void cg_entry_id_format(const struct cg_entry_id *id, char text[CG_ENTRY_ID_TEXT_BYTES]);
bool cg_entry_id_parse(struct cg_view text, struct cg_entry_id *ret_id);

/* Takes the first pair off `rest`; false at the end, or where the bytes are not pairs. */
bool cg_meta_next(struct cg_view *rest, struct cg_view *ret_key, struct cg_view *ret_value);

/* How many pairs there are. */
size_t cg_meta_count(struct cg_view pairs);

/* "usage", "top_up", ...: as it stands in the ledger.  NULL for a number that is none. */
const char *cg_entry_type_name(enum cg_entry_type type);
enum cg_entry_type cg_entry_type_of(struct cg_view name); /* CG_ENTRY_NONE: none of them */

/* "reported", "polled", "metered", "assumed"; "" for NONE. */
const char *cg_basis_name(enum cg_basis basis);
enum cg_basis cg_basis_of(struct cg_view name);

#endif /* CG_GATE_PORTS_TYPES_H */
