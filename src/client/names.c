/*
 * Names of enum values, for output.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <callgate/client.h>

#include "base/base.h"

static const char *const statuses[] = {"ok", "cancelled", "unknown", "invalid_argument",
    "deadline_exceeded", "not_found", "already_exists", "permission_denied", "resource_exhausted",
    "failed_precondition", "aborted", "out_of_range", "unimplemented", "internal", "unavailable",
    "data_loss", "unauthenticated"};

static const char *const decisions[] = {"unspecified", "allowed", "denied_insufficient_funds",
    "denied_concurrency_limit", "denied_suspended", "denied_no_price", "denied_barred"};

static const char *const call_states[] = {"unspecified", "authorized", "metering", "settled",
    "cancelled", "expired", "abandoned", "stopped"};

static const char *const durabilities[] = {"unspecified", "accepted", "committed"};

static const char *const bases[] = {"unspecified", "reported", "polled", "metered", "assumed"};

static const char *const entry_types[] = {
    "unspecified", "top_up", "monthly_grant", "bonus", "refund", "adjustment", "usage"};

static const char *const reasons[] = {"unspecified", "invalid_field", "no_wallet", "unknown_call",
    "wrong_state", "key_reused", "no_price", "too_many_in_flight", "outbox_full",
    "store_unavailable", "ledger_unavailable", "recovering", "shutting_down", "token_too_old",
    "watcher_too_slow", "too_many_authorizes"};

static const char *const event_types[] = {"unspecified", "call_authorized", "call_started",
    "call_settled", "call_cancelled", "call_expired", "call_abandoned", "cut_off", "balance_low",
    "credited", "cut_warning", "call_corrected", "call_denied", "call_adopted", "charged",
    "wallet_updated", "call_stopped", "call_overdue"};

/* A value that is none of the enum's is the caller's slip, and named as such. */
#define NAME(names, value)                                                                         \
	((size_t)(value) < CG_COUNT_OF(names) ? (names)[(size_t)(value)] : "invalid")

const char *callgate_status_name(enum callgate_status status)
{
	return NAME(statuses, status);
}

const char *callgate_decision_name(enum callgate_decision decision)
{
	return NAME(decisions, decision);
}

const char *callgate_call_state_name(enum callgate_call_state state)
{
	return NAME(call_states, state);
}

const char *callgate_durability_name(enum callgate_durability durability)
{
	return NAME(durabilities, durability);
}

const char *callgate_duration_basis_name(enum callgate_duration_basis basis)
{
	return NAME(bases, basis);
}

const char *callgate_entry_type_name(enum callgate_entry_type type)
{
	return NAME(entry_types, type);
}

const char *callgate_error_reason_name(enum callgate_error_reason reason)
{
	return NAME(reasons, reason);
}

const char *callgate_event_type_name(enum callgate_event_type type)
{
	return NAME(event_types, type);
}

enum callgate_entry_type callgate_entry_type_of(const char *name)
{
	for (size_t i = 1; i < CG_COUNT_OF(entry_types); i++) {
		if (strcmp(name, entry_types[i]) == 0) {
			return (enum callgate_entry_type)i;
		}
	}
	return CALLGATE_ENTRY_TYPE_UNSPECIFIED;
}
