/*
 * authorize, start, stop, settle, cancel, adopt: the life of a call by hand.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>

#include "base/base.h"
#include "cli/answers.h"
#include "cli/client.h"
#include "cli/money.h"
#include "cli/output.h"

#define AT_MAX_MS INT64_C(253402300799999) /* the end of the year 9999 */

static const char *company_of(const struct cg_cli *cli)
{
	return cg_args_text(&cli->args, "company", NULL);
}

static const char *call_of(const struct cg_cli *cli)
{
	return cg_args_text(&cli->args, "CALL_ID", NULL);
}

/* A denial is an answer, and its own exit code. */
static enum cg_exit exit_of(enum callgate_decision decision)
{
	return decision == CALLGATE_DECISION_ALLOWED ? CG_EXIT_DONE : CG_EXIT_REFUSED;
}

static const char *describe_denial(enum callgate_decision decision)
{
	switch (decision) {
	case CALLGATE_DECISION_ALLOWED:
		return "Allowed.";
	case CALLGATE_DECISION_DENIED_INSUFFICIENT_FUNDS:
		return "Denied: what is available does not cover what the call needs held.";
	case CALLGATE_DECISION_DENIED_CONCURRENCY_LIMIT:
		return "Denied: the company has as many calls at once as its plan admits.";
	case CALLGATE_DECISION_DENIED_SUSPENDED:
		return "Denied: the wallet is frozen, or its subscription admits no calls.";
	case CALLGATE_DECISION_DENIED_NO_PRICE:
		return "Denied: no rate covers this resource and destination.";
	case CALLGATE_DECISION_DENIED_BARRED:
		return "Denied: this call id was cancelled or settled before.";
	case CALLGATE_DECISION_UNSPECIFIED:
		break;
	}
	return "Denied, for a reason that this version does not know.";
}

static enum cg_exit authorize(struct cg_cli *cli)
{
	struct cg_client_meta meta;
	struct callgate_authorize_request request = {
	    .company_id = company_of(cli),
	    .call_id = call_of(cli),
	    .resource_type = cg_args_text(&cli->args, "resource", NULL),
	    .destination = cg_args_text(&cli->args, "destination", NULL),
	    .reserve_ms = cg_args_int(&cli->args, "reserve-ms", 0),
	    .start = cg_args_has(&cli->args, "start"),
	    .validate_only = cg_args_has(&cli->args, "validate-only"),
	};
	const struct callgate_authorize_response *response;
	const struct callgate_error *error;

	cg_client_read_meta(&cli->args, &meta);
	request.meta = meta.pairs;
	request.meta_count = meta.count;
	if (callgate_authorize_sync(cli->client, &request, &response, &error) !=
	    CALLGATE_STATUS_OK) {
		return cg_client_fail(cli, error);
	}
	enum callgate_decision decision = response->decision;
	json_t *answer = cg_answers_authorize(response);
	cg_output_answer(
	    cli, describe_denial(decision), cg_client_currency(cli, request.company_id), answer);
	return exit_of(decision);
}

static enum cg_exit start(struct cg_cli *cli)
{
	struct callgate_start_request request = {
	    .company_id = company_of(cli),
	    .call_id = call_of(cli),
	    .started_at_ms = cg_args_int(&cli->args, "started-at-ms", 0),
	};
	const struct callgate_start_response *response;
	const struct callgate_error *error;

	if (callgate_start_sync(cli->client, &request, &response, &error) != CALLGATE_STATUS_OK) {
		return cg_client_fail(cli, error);
	}
	enum callgate_decision decision = response->decision;
	json_t *answer = cg_answers_start(response);
	cg_output_answer(cli,
	    decision == CALLGATE_DECISION_ALLOWED ? "The call is metering."
	                                          : describe_denial(decision),
	    cg_client_currency(cli, request.company_id), answer);
	return exit_of(decision);
}

static enum cg_exit stop(struct cg_cli *cli)
{
	struct callgate_stop_request request = {
	    .company_id = company_of(cli),
	    .call_id = call_of(cli),
	    .ended_at_ms = cg_args_int(&cli->args, "ended-at-ms", 0),
	};
	const struct callgate_stop_response *response;
	const struct callgate_error *error;

	if (callgate_stop_sync(cli->client, &request, &response, &error) != CALLGATE_STATUS_OK) {
		return cg_client_fail(cli, error);
	}
	json_t *answer = cg_answers_stop(response);
	cg_output_answer(cli, "The talk is over; nothing accrues any more. Settle charges it.",
	    cg_client_currency(cli, request.company_id), answer);
	return CG_EXIT_DONE;
}

/* A forgotten duration is an error, not a free call. */
static enum cg_exit check_duration(const struct cg_cli *cli)
{
	bool as_metered = cg_args_has(&cli->args, "as-metered");

	if (cg_args_has(&cli->args, "duration-ms") == as_metered) {
		return cg_output_fail(cli, CG_EXIT_USAGE, "--duration-ms",
		    "exactly one of --duration-ms and --as-metered",
		    "give exactly one of --duration-ms and --as-metered");
	}
	if (!as_metered && cg_args_has(&cli->args, "ended-at-ms")) {
		return cg_output_fail(cli, CG_EXIT_USAGE, "--ended-at-ms", "with --as-metered only",
		    "--ended-at-ms: goes with --as-metered only");
	}
	return CG_EXIT_DONE;
}

static enum cg_exit ask_settle(struct cg_cli *cli, const struct callgate_settle_request *request)
{
	const struct callgate_settle_response *response;
	const struct callgate_error *error;

	if (callgate_settle_sync(cli->client, request, &response, &error) != CALLGATE_STATUS_OK) {
		return cg_client_fail(cli, error);
	}
	const char *headline = "The call is charged.";
	if (response->replayed) {
		headline = "The call had been charged before; nothing was changed.";
	} else if (response->corrected_micros != 0) {
		headline = "The call had been charged as assumed; the charge is corrected.";
	} else if (response->late) {
		headline = "The call was not held here; it is charged all the same.";
	}
	json_t *answer = cg_answers_settle(response);
	cg_output_answer(cli, headline, cg_client_currency(cli, request->company_id), answer);
	return CG_EXIT_DONE;
}

static enum cg_exit settle(struct cg_cli *cli)
{
	struct cg_client_meta meta;
	bool as_metered = cg_args_has(&cli->args, "as-metered");
	struct callgate_settle_request request = {
	    .company_id = company_of(cli),
	    .call_id = call_of(cli),
	    .duration =
	        as_metered ? CALLGATE_SETTLE_DURATION_AS_METERED : CALLGATE_SETTLE_DURATION_MS,
	    .duration_ms = cg_args_int(&cli->args, "duration-ms", 0),
	    .as_metered = as_metered,
	    .resource_type = cg_args_text(&cli->args, "resource", NULL),
	    .destination = cg_args_text(&cli->args, "destination", NULL),
	    .durability = cg_client_durability(&cli->args),
	    .started_at_ms = cg_args_int(&cli->args, "started-at-ms", 0),
	    .basis = cg_args_int(&cli->args, "basis", 0) == 0 ? CALLGATE_DURATION_BASIS_REPORTED
	                                                      : CALLGATE_DURATION_BASIS_POLLED,
	    .ended_at_ms = cg_args_int(&cli->args, "ended-at-ms", 0),
	};
	enum cg_exit code = check_duration(cli);

	if (code != CG_EXIT_DONE) {
		return code;
	}
	cg_client_read_meta(&cli->args, &meta);
	request.meta = meta.pairs;
	request.meta_count = meta.count;
	return ask_settle(cli, &request);
}

static enum cg_exit cancel(struct cg_cli *cli)
{
	struct callgate_cancel_request request = {
	    .company_id = company_of(cli), .call_id = call_of(cli)};
	const struct callgate_cancel_response *response;
	const struct callgate_error *error;

	if (callgate_cancel_sync(cli->client, &request, &response, &error) != CALLGATE_STATUS_OK) {
		return cg_client_fail(cli, error);
	}
	json_t *answer = cg_answers_cancel(response);
	cg_output_answer(cli, "The call is cancelled; nothing is charged, its id is barred.",
	    cg_client_currency(cli, request.company_id), answer);
	return CG_EXIT_DONE;
}

static enum cg_exit adopt(struct cg_cli *cli)
{
	struct cg_client_meta meta;
	struct callgate_adopt_request request = {
	    .company_id = company_of(cli),
	    .call_id = call_of(cli),
	    .resource_type = cg_args_text(&cli->args, "resource", NULL),
	    .destination = cg_args_text(&cli->args, "destination", NULL),
	    .started_at_ms = cg_args_int(&cli->args, "started-at-ms", 0),
	};
	const struct callgate_adopt_response *response;
	const struct callgate_error *error;

	cg_client_read_meta(&cli->args, &meta);
	request.meta = meta.pairs;
	request.meta_count = meta.count;
	if (callgate_adopt_sync(cli->client, &request, &response, &error) != CALLGATE_STATUS_OK) {
		return cg_client_fail(cli, error);
	}
	const char *headline = response->replayed
	    ? "The call was metering already; nothing was changed."
	    : "The call is metering from its true start.";
	json_t *answer = cg_answers_adopt(response);
	cg_output_answer(cli, headline, cg_client_currency(cli, request.company_id), answer);
	return CG_EXIT_DONE;
}

static const char *const bases[] = {"reported", "polled", NULL};

#define FLAG_RESOURCE(must, words)                                                                 \
	{                                                                                          \
		.name = "resource", .kind = CG_FLAG_RESOURCE, .required = (must), .help = (words)  \
	}
#define FLAG_DESTINATION                                                                           \
	{                                                                                          \
		.name = "destination", .kind = CG_FLAG_DESTINATION,                                \
		.help = "E.164; selects the rate by longest prefix"                                \
	}
#define FLAG_AT(flag, words)                                                                       \
	{                                                                                          \
		.name = (flag), .kind = CG_FLAG_INT, .min = 1, .max = AT_MAX_MS, .help = (words)   \
	}

static const struct cg_flag authorize_flags[] = {
    CG_FLAG_COMPANY,
    CG_FLAG_CALL_ID,
    FLAG_RESOURCE(true, "voice_inbound, voice_outbound, ..."),
    FLAG_DESTINATION,
    {.name = "reserve-ms",
        .kind = CG_FLAG_INT,
        .min = 1,
        .max = 604800000,
        .help = "talk time to hold funds for; the plan's default unless given"},
    {.name = "start", .kind = CG_FLAG_SWITCH, .help = "also start it, in the same step"},
    {.name = "validate-only", .kind = CG_FLAG_SWITCH, .help = "decide, but hold and keep nothing"},
    CG_FLAG_META_PAIRS,
    CG_FLAGS_END,
};

static const struct cg_flag start_flags[] = {
    CG_FLAG_COMPANY,
    CG_FLAG_CALL_ID,
    FLAG_AT("started-at-ms", "milliseconds since 1970; now unless given"),
    CG_FLAGS_END,
};

static const struct cg_flag stop_flags[] = {
    CG_FLAG_COMPANY,
    CG_FLAG_CALL_ID,
    FLAG_AT("ended-at-ms", "milliseconds since 1970; now unless given"),
    CG_FLAGS_END,
};

static const struct cg_flag settle_flags[] = {
    CG_FLAG_COMPANY,
    CG_FLAG_CALL_ID,
    {.name = "duration-ms",
        .kind = CG_FLAG_INT,
        .max = 604800000,
        .help = "as the provider reports it; 0: never connected"},
    {.name = "as-metered",
        .kind = CG_FLAG_SWITCH,
        .help = "from its start to its stop, else to now"},
    FLAG_AT("ended-at-ms", "with --as-metered: when the talk ended"),
    FLAG_AT("started-at-ms", "as the provider reports it; dates the usage"),
    FLAG_RESOURCE(false, "prices a call that was never authorized here"),
    FLAG_DESTINATION,
    {.name = "basis",
        .kind = CG_FLAG_CHOICE,
        .choices = bases,
        .help = "how the duration is known; reported unless given"},
    CG_FLAG_META_PAIRS,
    CG_FLAG_DURABILITY,
    CG_FLAGS_END,
};

static const struct cg_flag cancel_flags[] = {CG_FLAG_COMPANY, CG_FLAG_CALL_ID, CG_FLAGS_END};

static const struct cg_flag adopt_flags[] = {
    CG_FLAG_COMPANY,
    CG_FLAG_CALL_ID,
    FLAG_RESOURCE(true, "voice_inbound, voice_outbound, ..."),
    FLAG_DESTINATION,
    {.name = "started-at-ms",
        .kind = CG_FLAG_INT,
        .required = true,
        .min = 1,
        .max = AT_MAX_MS,
        .help = "its true start, in milliseconds since 1970"},
    CG_FLAG_META_PAIRS,
    CG_FLAGS_END,
};

const struct cg_command cg_commands_gate[] = {
    {.name = "authorize",
        .summary = "decide whether a call may start, and hold funds for it",
        .details = "Exits 0 when allowed, 1 when denied.",
        .flags = authorize_flags,
        .uses_gate = true,
        .run = authorize},
    {.name = "start",
        .summary = "the call connected: debit it by the second",
        .flags = start_flags,
        .uses_gate = true,
        .run = start},
    {.name = "stop",
        .summary = "the talk is over, the bill follows",
        .flags = stop_flags,
        .uses_gate = true,
        .run = stop},
    {.name = "settle",
        .summary = "charge a call and release the rest of its hold",
        .details = "Give one of --duration-ms and --as-metered. Safe to repeat.",
        .flags = settle_flags,
        .uses_gate = true,
        .run = settle},
    {.name = "cancel",
        .summary = "the call never connected: release its hold",
        .flags = cancel_flags,
        .uses_gate = true,
        .run = cancel},
    {.name = "adopt",
        .summary = "meter a running call that the gate does not know",
        .flags = adopt_flags,
        .uses_gate = true,
        .run = adopt},
    {.name = NULL},
};
