/*
 * explain CALL: what was decided and charged for one call, and why, in words.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/base.h"
#include "cli/answers.h"
#include "cli/client.h"
#include "cli/ledger.h"
#include "cli/money.h"
#include "cli/output.h"
#include "cli/sql.h"
#include "cli/story.h"

/* What each state means for the money, as the sentence after the call's name. */
static const char *describe_state(enum callgate_call_state state)
{
	switch (state) {
	case CALLGATE_CALL_STATE_UNSPECIFIED:
		break;
	case CALLGATE_CALL_STATE_AUTHORIZED:
		return "is authorized: funds are held, it has not connected yet";
	case CALLGATE_CALL_STATE_METERING:
		return "is metering: its price accrues every second";
	case CALLGATE_CALL_STATE_SETTLED:
		return "is settled: it ended and was charged";
	case CALLGATE_CALL_STATE_CANCELLED:
		return "is cancelled: it never connected, nothing was charged";
	case CALLGATE_CALL_STATE_EXPIRED:
		return "is expired: it never started in time, its hold was released";
	case CALLGATE_CALL_STATE_ABANDONED:
		return "is abandoned: it was not settled in time and is charged as assumed";
	case CALLGATE_CALL_STATE_STOPPED:
		return "is stopped: the talk is over, its bill is awaited";
	}
	return "is in a state that this version does not know";
}

static const char *describe_basis(enum callgate_duration_basis basis)
{
	switch (basis) {
	case CALLGATE_DURATION_BASIS_REPORTED:
		return "as the provider reported it";
	case CALLGATE_DURATION_BASIS_POLLED:
		return "as the provider answered when asked";
	case CALLGATE_DURATION_BASIS_METERED:
		return "from the store's own start and end";
	case CALLGATE_DURATION_BASIS_ASSUMED:
		return "assumed, since no report came";
	case CALLGATE_DURATION_BASIS_UNSPECIFIED:
		break;
	}
	return "on an unknown basis";
}

static bool has_ended(const struct callgate_call *call)
{
	return call->state == CALLGATE_CALL_STATE_SETTLED ||
	    call->state == CALLGATE_CALL_STATE_ABANDONED;
}

static bool is_live(const struct callgate_call *call)
{
	return call->state == CALLGATE_CALL_STATE_AUTHORIZED ||
	    call->state == CALLGATE_CALL_STATE_METERING ||
	    call->state == CALLGATE_CALL_STATE_STOPPED;
}

static void tell_decision(struct cg_story *story, const struct callgate_call *call)
{
	char at[CG_TIME_TEXT_BYTES];

	cg_time_format(call->authorized_at_ms, at);
	if (call->late) {
		cg_story_tell(story,
		    "Decision    It was not held here when it was settled: charged "
		    "all the same, late.");
	} else if (call->authorized_at_ms == 0) {
		cg_story_tell(story, "Decision    No decision of the gate is known.");
	} else if (call->started_at_ms != 0 && call->started_at_ms < call->authorized_at_ms) {
		/* A start before the authorization is only ever an adopted call's. */
		cg_story_tell(
		    story, "Decision    None: it ran already when it was adopted at %s.", at);
	} else {
		cg_story_tell(story, "Decision    It was allowed at %s.", at);
	}
	if (call->shadow_decision != CALLGATE_DECISION_UNSPECIFIED) {
		cg_story_tell(story, "            The plan was in shadow mode; without it: %s.",
		    cg_answers_decision(call->shadow_decision));
	}
}

static void tell_terms(struct cg_story *story, const struct callgate_call *call)
{
	const struct callgate_price *price = &call->price;
	char text[CG_MONEY_TEXT_BYTES];
	char fee[CG_MONEY_TEXT_BYTES];

	if (!call->has_price) {
		cg_story_tell(story, "Price       None is known.");
		return;
	}
	cg_money_format(price->rate_micros_per_minute, price->currency, text);
	cg_money_format(price->connect_fee_micros, price->currency, fee);
	cg_story_tell(story, "Price       %s a minute, %s to connect,", text, fee);
	cg_story_tell(story, "            at least %" PRId64 " ms, in steps of %" PRId64 " ms.",
	    price->minimum_ms, price->increment_ms);
}

static void tell_hold(struct cg_story *story, const struct callgate_call *call)
{
	const char *currency = call->has_price ? call->price.currency : "";
	char text[CG_MONEY_TEXT_BYTES];

	cg_money_format(call->held_micros, currency, text);
	if (is_live(call)) {
		cg_story_tell(
		    story, "Hold        %s is held (%" PRId64 " micros).", text, call->held_micros);
	} else if (call->held_micros != 0) {
		cg_story_tell(story, "Hold        %s was held until it ended (%" PRId64 " micros).",
		    text, call->held_micros);
	} else {
		cg_story_tell(story, "Hold        Nothing is held any more.");
	}
}

static void tell_time(struct cg_story *story, const char *label, const char *what, int64_t at_ms)
{
	char at[CG_TIME_TEXT_BYTES];

	if (at_ms != 0) {
		cg_time_format(at_ms, at);
		cg_story_tell(story, "%-11s %-11s %s", label, what, at);
	}
}

static void tell_times(struct cg_story *story, const struct callgate_call *call)
{
	const char *label = "Times";

	tell_time(story, label, "authorized", call->authorized_at_ms);
	label = call->authorized_at_ms == 0 ? label : "";
	tell_time(story, label, "started", call->started_at_ms);
	label = call->started_at_ms == 0 ? label : "";
	tell_time(story, label, "ended", call->ended_at_ms);
	if (is_live(call)) {
		tell_time(story, "",
		    call->state == CALLGATE_CALL_STATE_AUTHORIZED ? "lease until" : "longest until",
		    call->expires_at_ms);
	}
}

/* The arithmetic, and whether it comes to what was charged. */
static void tell_charge(struct cg_story *story, const struct callgate_call *call, json_t *answer)
{
	const char *currency = call->has_price ? call->price.currency : "";
	char text[CG_MONEY_TEXT_BYTES];
	char lasted[CG_DURATION_TEXT_BYTES];

	if (is_live(call)) {
		cg_money_format(call->accrued_micros, currency, text);
		cg_story_tell(story, "Charge      None yet; %s has accrued (%" PRId64 " micros).",
		    text, call->accrued_micros);
		return;
	}
	if (!has_ended(call)) {
		cg_story_tell(story, "Charge      None.");
		return;
	}
	cg_duration_format(call->duration_ms, lasted);
	cg_money_format(call->cost_micros, currency, text);
	cg_story_tell(story, "Charge      %s for %s (%" PRId64 " ms, %s).", text, lasted,
	    call->duration_ms, describe_basis(call->basis));
	if (call->state == CALLGATE_CALL_STATE_ABANDONED) {
		cg_story_tell(story, "            A late settle still corrects it, once.");
	}
	if (!call->has_price) {
		return;
	}
	int64_t cost = cg_story_tell_price(
	    story, json_object_get(json_object_get(answer, "call"), "price"), call->duration_ms);
	if (cost != call->cost_micros) {
		cg_story_tell(story, "    The charge of %" PRId64 " micros differs from that.",
		    call->cost_micros);
	}
	cg_output_add_int(answer, "computed_cost_micros", cost);
}

static enum cg_exit tell_ledger(
    struct cg_cli *cli, struct cg_story *story, const struct callgate_call *call, json_t *answer)
{
	json_t *entries = NULL;
	enum cg_exit code;

	if (!cg_sql_is_configured(cli)) {
		cg_story_tell(story,
		    "Ledger      Not read: give --database-url or set "
		    "CALLGATE_DATABASE_URL.");
		cg_output_add_text(answer, "ledger", NULL);
		return CG_EXIT_DONE;
	}
	code = cg_ledger_read_call(cli, call->company_id, call->call_id, &entries);
	if (code != CG_EXIT_DONE) {
		cg_story_tell(story, "Ledger      It could not be read.");
		cg_output_add_text(answer, "ledger", NULL);
		return code;
	}
	if (json_array_size(entries) == 0) {
		cg_story_tell(story,
		    has_ended(call)
		        ? "Ledger      Entry %s is on its way, or in quarantine; it has no row yet."
		        : "Ledger      It has no row%.0s.",
		    call->ledger_id);
	} else {
		cg_story_tell_entries(story, "Ledger", entries);
	}
	json_object_set_new(answer, "ledger", entries);
	return CG_EXIT_DONE;
}

static enum cg_exit explain_call(struct cg_cli *cli, const struct callgate_call *call)
{
	struct cg_story story;
	json_t *answer = json_object();
	enum cg_exit code;

	cg_story_init(&story, cli);
	json_object_set_new(answer, "call", cg_answers_call(call));
	cg_story_tell(&story, "Call %s %s.", call->call_id, describe_state(call->state));
	cg_story_tell(&story, "Company     %s", call->company_id);
	cg_story_tell(&story, "Resource    %s%s%s", call->resource_type,
	    call->destination[0] == '\0' ? "" : " to ", call->destination);
	for (size_t i = 0; i < call->meta_count; i++) {
		cg_story_tell(&story, "%-11s %s=%s", i == 0 ? "Meta" : "", call->meta[i].key,
		    call->meta[i].value);
	}
	tell_decision(&story, call);
	tell_terms(&story, call);
	tell_hold(&story, call);
	tell_times(&story, call);
	tell_charge(&story, call, answer);
	code = tell_ledger(cli, &story, call, answer);
	json_object_set_new(answer, "explanation", story.lines);
	if (cli->args.json) {
		cg_output_answer(cli, NULL, "", answer);
	} else {
		json_decref(answer);
	}
	return code;
}

static enum cg_exit explain(struct cg_cli *cli)
{
	struct callgate_get_call_request request = {
	    .company_id = cg_args_text(&cli->args, "company", NULL),
	    .call_id = cg_args_text(&cli->args, "CALL_ID", NULL),
	};
	const struct callgate_get_call_response *response;
	const struct callgate_error *error;

	if (callgate_get_call_sync(cli->client, &request, &response, &error) !=
	    CALLGATE_STATUS_OK) {
		return cg_client_fail(cli, error);
	}
	if (!response->has_call) {
		return cg_output_fail(
		    cli, CG_EXIT_INCOMPATIBLE, NULL, NULL, "the answer holds no call");
	}
	return explain_call(cli, &response->call);
}

static const struct cg_flag flags[] = {CG_FLAG_COMPANY, CG_FLAG_CALL_ID, CG_FLAGS_END};

const struct cg_command cg_commands_explain[] = {
    {.name = "explain",
        .summary = "one call in words: decision, price, hold, times, charge, ledger",
        .details = "Reads the ledger's rows too where CALLGATE_DATABASE_URL is set.",
        .flags = flags,
        .uses_gate = true,
        .run = explain},
    {.name = NULL},
};
