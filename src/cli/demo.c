/*
 * demo: one call gated from end to end, on a company of its own, told as it happens.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "cli/answers.h"
#include "cli/client.h"
#include "cli/ledger.h"
#include "cli/money.h"
#include "cli/output.h"
#include "cli/sql.h"
#include "cli/story.h"

#define CREDIT_MICROS 1000000
#define RESOURCE      "voice_outbound"
#define DESTINATION   "+14155550100"
#define LOOKS         5
#define LOOK_EVERY_MS 400
#define TALK_MS       ((int64_t)LOOKS * LOOK_EVERY_MS)

struct demo {
	struct cg_cli *cli;
	struct cg_story story;
	json_t *answer;
	char company[CG_UUID_TEXT_LEN + 1];
	char call_id[64];
	char reference[64];
	char currency[4];
};

/* Random enough that no two demos meet: from the kernel. */
static bool make_names(struct demo *demo)
{
	struct cg_uuid uuid;
	FILE *random = fopen("/dev/urandom", "rbe");
	size_t got = random == NULL ? 0 : fread(uuid.bytes, 1, sizeof uuid.bytes, random);

	if (random != NULL) {
		(void)fclose(random);
	}
	if (got != sizeof uuid.bytes) {
		return false;
	}
	uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x40); /* version 4, RFC 4122 */
	uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
	cg_uuid_format(&uuid, demo->company);
	(void)snprintf(demo->call_id, sizeof demo->call_id, "demo-call-%.8s", demo->company);
	(void)snprintf(demo->reference, sizeof demo->reference, "demo-topup-%.8s", demo->company);
	return true;
}

static enum cg_exit create_wallet(struct demo *demo)
{
	struct callgate_create_wallet_request request = {
	    .company_id = demo->company,
	    .plan_id = cg_args_text(&demo->cli->args, "plan", NULL),
	};
	const struct callgate_create_wallet_response *response;
	const struct callgate_error *error;

	if (callgate_create_wallet_sync(demo->cli->client, &request, &response, &error) !=
	    CALLGATE_STATUS_OK) {
		return cg_client_fail(demo->cli, error);
	}
	(void)snprintf(demo->currency, sizeof demo->currency, "%s", response->wallet.currency);
	cg_story_tell(&demo->story, "1. Company %s gets a wallet on plan %s.", demo->company,
	    response->wallet.plan_id);
	json_object_set_new(demo->answer, "wallet", cg_answers_wallet(&response->wallet));
	return CG_EXIT_DONE;
}

static enum cg_exit credit(struct demo *demo)
{
	struct callgate_credit_request request = {
	    .company_id = demo->company,
	    .amount_micros = CREDIT_MICROS,
	    .type = CALLGATE_ENTRY_TYPE_TOP_UP,
	    .reference_id = demo->reference,
	    .description = "callgate demo",
	    .durability = CALLGATE_DURABILITY_COMMITTED,
	};
	const struct callgate_credit_response *response;
	const struct callgate_error *error;
	char text[CG_MONEY_TEXT_BYTES];

	if (callgate_credit_sync(demo->cli->client, &request, &response, &error) !=
	    CALLGATE_STATUS_OK) {
		return cg_client_fail(demo->cli, error);
	}
	cg_money_format(CREDIT_MICROS, demo->currency, text);
	cg_story_tell(&demo->story, "2. It pays in %s (%s), committed to the ledger as entry %s.",
	    text, demo->reference, response->ledger_id);
	json_object_set_new(demo->answer, "credit", cg_answers_credit(response));
	return CG_EXIT_DONE;
}

static enum cg_exit tell_denial(struct demo *demo, enum callgate_decision decision)
{
	cg_story_tell(&demo->story, "   The gate says %s: the demo ends here.",
	    cg_answers_decision(decision));
	return CG_EXIT_REFUSED;
}

static enum cg_exit authorize(struct demo *demo)
{
	static const struct callgate_meta meta[] = {{"demo", "yes"}};
	struct callgate_authorize_request request = {
	    .company_id = demo->company,
	    .call_id = demo->call_id,
	    .resource_type = RESOURCE,
	    .destination = DESTINATION,
	    .meta = meta,
	    .meta_count = 1,
	};
	const struct callgate_authorize_response *response;
	const struct callgate_error *error;
	char held[CG_MONEY_TEXT_BYTES];
	char rate[CG_MONEY_TEXT_BYTES];
	char longest[CG_DURATION_TEXT_BYTES];

	if (callgate_authorize_sync(demo->cli->client, &request, &response, &error) !=
	    CALLGATE_STATUS_OK) {
		return cg_client_fail(demo->cli, error);
	}
	json_object_set_new(demo->answer, "authorize", cg_answers_authorize(response));
	cg_story_tell(&demo->story, "3. %s to %s asks to start: %s.", demo->call_id, DESTINATION,
	    cg_answers_decision(response->decision));
	if (response->decision != CALLGATE_DECISION_ALLOWED) {
		return tell_denial(demo, response->decision);
	}
	cg_money_format(response->held_micros, demo->currency, held);
	cg_money_format(response->price.rate_micros_per_minute, demo->currency, rate);
	cg_duration_format(response->max_duration_ms, longest);
	cg_story_tell(&demo->story,
	    "   %s a minute; %s are held; the balance would last %s at most.", rate, held, longest);
	return CG_EXIT_DONE;
}

static enum cg_exit start(struct demo *demo)
{
	struct callgate_start_request request = {
	    .company_id = demo->company, .call_id = demo->call_id};
	const struct callgate_start_response *response;
	const struct callgate_error *error;

	if (callgate_start_sync(demo->cli->client, &request, &response, &error) !=
	    CALLGATE_STATUS_OK) {
		return cg_client_fail(demo->cli, error);
	}
	json_object_set_new(demo->answer, "start", cg_answers_start(response));
	if (response->decision != CALLGATE_DECISION_ALLOWED) {
		return tell_denial(demo, response->decision);
	}
	cg_story_tell(&demo->story,
	    "4. It connects; the reserved talk time is given back, and from here "
	    "the balance falls");
	cg_story_tell(&demo->story, "   by the millisecond while nothing is written for it:");
	return CG_EXIT_DONE;
}

static void pause_ms(int64_t ms)
{
	struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	while (nanosleep(&left, &left) != 0) {
		/* A signal woke us; the rest is still to wait. */
	}
}

static enum cg_exit look(struct demo *demo, int64_t started_at_ms, json_t *looks)
{
	struct callgate_get_balance_request request = {.company_id = demo->company};
	const struct callgate_get_balance_response *response;
	const struct callgate_error *error;
	char available[CG_MONEY_TEXT_BYTES];
	char accrued[CG_MONEY_TEXT_BYTES];

	if (callgate_get_balance_sync(demo->cli->client, &request, &response, &error) !=
	    CALLGATE_STATUS_OK) {
		return cg_client_fail(demo->cli, error);
	}
	cg_money_format(response->available_micros, demo->currency, available);
	cg_money_format(response->accrued_micros, demo->currency, accrued);
	cg_story_tell(&demo->story, "   %5" PRId64 " ms  available %s   accrued %s",
	    response->as_of_ms - started_at_ms, available, accrued);
	json_array_append_new(looks, cg_answers_balance(response));
	return CG_EXIT_DONE;
}

static enum cg_exit watch(struct demo *demo)
{
	json_t *looks = json_array();
	json_t *started = json_object_get(json_object_get(demo->answer, "start"), "started_at_ms");
	enum cg_exit code = CG_EXIT_DONE;

	json_object_set_new(demo->answer, "balances", looks);
	for (int i = 0; i <= LOOKS && code == CG_EXIT_DONE; i++) {
		pause_ms(i == 0 ? 0 : LOOK_EVERY_MS);
		code = look(demo, json_integer_value(started), looks);
	}
	return code;
}

static enum cg_exit settle(struct demo *demo)
{
	struct callgate_settle_request request = {
	    .company_id = demo->company,
	    .call_id = demo->call_id,
	    .duration = CALLGATE_SETTLE_DURATION_MS,
	    .duration_ms = TALK_MS,
	    .durability = CALLGATE_DURABILITY_COMMITTED,
	};
	const struct callgate_settle_response *response;
	const struct callgate_error *error;
	char text[CG_MONEY_TEXT_BYTES];

	if (callgate_settle_sync(demo->cli->client, &request, &response, &error) !=
	    CALLGATE_STATUS_OK) {
		return cg_client_fail(demo->cli, error);
	}
	json_object_set_new(demo->answer, "settle", cg_answers_settle(response));
	cg_money_format(response->balance_micros, demo->currency, text);
	cg_story_tell(&demo->story,
	    "5. It ends after %" PRId64
	    " ms, is settled, and the answer waits for the ledger (COMMITTED):",
	    TALK_MS);
	(void)cg_story_tell_price(&demo->story,
	    json_object_get(json_object_get(demo->answer, "settle"), "price"),
	    response->duration_ms);
	cg_story_tell(&demo->story, "   %" PRId64 " micros are charged; the balance is %s.",
	    response->cost_micros, text);
	return CG_EXIT_DONE;
}

static enum cg_exit show_rows(struct demo *demo)
{
	json_t *entries = NULL;
	enum cg_exit code = cg_ledger_read_call(demo->cli, demo->company, demo->call_id, &entries);

	if (code != CG_EXIT_DONE) {
		return code;
	}
	json_object_set_new(demo->answer, "ledger", entries);
	if (json_array_size(entries) == 0) {
		return cg_output_fail(demo->cli, CG_EXIT_INCOMPATIBLE, NULL, NULL,
		    "the settle was answered COMMITTED, and the ledger has no row of it: "
		    "is --database-url the sidecar's database?");
	}
	cg_story_tell(&demo->story, "6. Postgres has it:");
	cg_story_tell_entries(&demo->story, "", entries);
	cg_story_tell(&demo->story, "Look again: callgate explain --company %s %s", demo->company,
	    demo->call_id);
	return CG_EXIT_DONE;
}

static enum cg_exit play(struct demo *demo)
{
	static enum cg_exit (*const acts[])(struct demo *) = {
	    create_wallet, credit, authorize, start, watch, settle, show_rows};
	enum cg_exit code = CG_EXIT_DONE;

	for (size_t i = 0; i < CG_COUNT_OF(acts) && code == CG_EXIT_DONE; i++) {
		code = acts[i](demo);
	}
	return code;
}

static enum cg_exit run_demo(struct cg_cli *cli)
{
	struct demo demo = {.cli = cli};
	/* Asked first: a story that breaks off before its end is none. */
	enum cg_exit code = cg_sql_open(cli);

	if (code != CG_EXIT_DONE) {
		return code;
	}
	if (!make_names(&demo)) {
		return cg_output_fail(
		    cli, CG_EXIT_INCOMPATIBLE, NULL, NULL, "/dev/urandom cannot be read");
	}
	cg_story_init(&demo.story, cli);
	demo.answer = json_object();
	cg_output_add_text(demo.answer, "company_id", demo.company);
	cg_output_add_text(demo.answer, "call_id", demo.call_id);
	code = play(&demo);
	json_object_set_new(demo.answer, "story", demo.story.lines);
	if (cli->args.json && (code == CG_EXIT_DONE || code == CG_EXIT_REFUSED)) {
		cg_output_answer(cli, NULL, "", demo.answer);
	} else {
		json_decref(demo.answer);
	}
	return code;
}

static const struct cg_flag flags[] = {
    {.name = "plan", .kind = CG_FLAG_PLAN, .help = "starter unless given"},
    CG_FLAGS_END,
};

const struct cg_command cg_commands_demo[] = {
    {.name = "demo",
        .summary = "one call gated end to end, told as it happens",
        .details = "On a company of its own with a random id; takes about two seconds. Needs both\n"
                   "the sidecar and the ledger, and leaves its rows there.",
        .flags = flags,
        .uses_gate = true,
        .run = run_demo},
    {.name = NULL},
};
