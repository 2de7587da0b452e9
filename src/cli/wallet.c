/*
 * wallet create|show|freeze|unfreeze|plan: a company's wallet and its terms.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/base.h"
#include "cli/answers.h"
#include "cli/client.h"
#include "cli/output.h"

static enum cg_exit wallet_create(struct cg_cli *cli)
{
	struct callgate_create_wallet_request request = {
	    .company_id = cg_args_text(&cli->args, "company", NULL),
	    .currency = cg_args_text(&cli->args, "currency", NULL),
	    .plan_id = cg_args_text(&cli->args, "plan", NULL),
	};
	const struct callgate_create_wallet_response *response;
	const struct callgate_error *error;
	json_t *answer;

	if (callgate_create_wallet_sync(cli->client, &request, &response, &error) !=
	    CALLGATE_STATUS_OK) {
		return cg_client_fail(cli, error);
	}
	answer = json_object();
	json_object_set_new(answer, "wallet", cg_answers_wallet(&response->wallet));
	cg_output_add_bool(answer, "replayed", response->replayed);
	cg_output_answer(cli,
	    response->replayed ? "The company has this wallet already; nothing was changed."
	                       : "The wallet is created.",
	    "", answer);
	return CG_EXIT_DONE;
}

static enum cg_exit wallet_show(struct cg_cli *cli)
{
	struct callgate_get_wallet_request request = {
	    .company_id = cg_args_text(&cli->args, "company", NULL)};
	const struct callgate_get_wallet_response *response;
	const struct callgate_error *error;
	json_t *answer;

	if (callgate_get_wallet_sync(cli->client, &request, &response, &error) !=
	    CALLGATE_STATUS_OK) {
		return cg_client_fail(cli, error);
	}
	answer = json_object();
	json_object_set_new(answer, "wallet", cg_answers_wallet(&response->wallet));
	cg_output_answer(cli, NULL, "", answer);
	return CG_EXIT_DONE;
}

static enum cg_exit update(
    struct cg_cli *cli, const struct callgate_update_wallet_request *request, const char *headline)
{
	const struct callgate_update_wallet_response *response;
	const struct callgate_error *error;
	json_t *answer;

	if (callgate_update_wallet_sync(cli->client, request, &response, &error) !=
	    CALLGATE_STATUS_OK) {
		return cg_client_fail(cli, error);
	}
	answer = json_object();
	json_object_set_new(answer, "wallet", cg_answers_wallet(&response->wallet));
	cg_output_answer(cli, headline, "", answer);
	return CG_EXIT_DONE;
}

static enum cg_exit wallet_freeze(struct cg_cli *cli)
{
	struct callgate_update_wallet_request request = {
	    .company_id = cg_args_text(&cli->args, "company", NULL),
	    .sets_frozen = true,
	    .frozen = true,
	};

	return update(cli, &request,
	    "The wallet is frozen: new calls are denied, running ones go on and are charged.");
}

static enum cg_exit wallet_unfreeze(struct cg_cli *cli)
{
	struct callgate_update_wallet_request request = {
	    .company_id = cg_args_text(&cli->args, "company", NULL),
	    .sets_frozen = true,
	    .frozen = false,
	};

	return update(cli, &request, "The wallet is no longer frozen.");
}

static enum cg_exit wallet_plan(struct cg_cli *cli)
{
	struct callgate_update_wallet_request request = {
	    .company_id = cg_args_text(&cli->args, "company", NULL),
	    .sets_plan = true,
	    .plan_id = cg_args_text(&cli->args, "PLAN", NULL),
	};

	return update(cli, &request,
	    "The wallet's plan is set; running calls keep the price they began with.");
}

static enum cg_exit wallet_threshold(struct cg_cli *cli)
{
	bool by_amount = cg_args_has(&cli->args, "low-balance-micros");
	struct callgate_update_wallet_request request = {
	    .company_id = cg_args_text(&cli->args, "company", NULL),
	    .low_balance =
	        by_amount ? CALLGATE_LOW_BALANCE_MICROS : CALLGATE_LOW_BALANCE_REMAINING_MS,
	    .low_balance_micros = cg_args_int(&cli->args, "low-balance-micros", 0),
	    .low_balance_remaining_ms = cg_args_int(&cli->args, "low-balance-remaining-ms", 0),
	};

	if (by_amount == cg_args_has(&cli->args, "low-balance-remaining-ms")) {
		return cg_output_fail(cli, CG_EXIT_USAGE, "--low-balance-micros", NULL,
		    "give one of --low-balance-micros and --low-balance-remaining-ms");
	}
	return update(cli, &request, "BALANCE_LOW is announced below this.");
}

static const struct cg_flag create_flags[] = {
    CG_FLAG_COMPANY,
    {.name = "currency",
        .kind = CG_FLAG_CURRENCY,
        .help = "usd unless given; not to be changed later"},
    {.name = "plan", .kind = CG_FLAG_PLAN, .help = "starter unless given"},
    CG_FLAGS_END,
};

static const struct cg_flag company_flags[] = {CG_FLAG_COMPANY, CG_FLAGS_END};

static const struct cg_flag plan_flags[] = {
    CG_FLAG_COMPANY,
    {.name = "PLAN", .kind = CG_FLAG_PLAN, .required = true, .operand = true, .help = "its id"},
    CG_FLAGS_END,
};

static const struct cg_flag threshold_flags[] = {
    CG_FLAG_COMPANY,
    {.name = "low-balance-micros",
        .kind = CG_FLAG_INT,
        .min = -CG_MONEY_REQUEST_MAX_MICROS,
        .max = CG_MONEY_REQUEST_MAX_MICROS,
        .help = "when less than this is available"},
    {.name = "low-balance-remaining-ms",
        .kind = CG_FLAG_INT,
        .min = 1,
        .max = 604800000,
        .help = "when it lasts less than this at the present burn"},
    CG_FLAGS_END,
};

const struct cg_command cg_commands_wallet[] = {
    {.name = "wallet create",
        .summary = "a wallet for a company",
        .details = "Safe to repeat with the same currency.",
        .flags = create_flags,
        .uses_gate = true,
        .run = wallet_create},
    {.name = "wallet show",
        .summary = "a wallet and its terms",
        .flags = company_flags,
        .uses_gate = true,
        .run = wallet_show},
    {.name = "wallet freeze",
        .summary = "deny new calls",
        .details = "Running calls go on and are charged.",
        .flags = company_flags,
        .uses_gate = true,
        .run = wallet_freeze},
    {.name = "wallet unfreeze",
        .summary = "admit new calls again",
        .flags = company_flags,
        .uses_gate = true,
        .run = wallet_unfreeze},
    {.name = "wallet plan",
        .summary = "put a wallet on another plan",
        .flags = plan_flags,
        .uses_gate = true,
        .run = wallet_plan},
    {.name = "wallet threshold",
        .summary = "when BALANCE_LOW is announced",
        .flags = threshold_flags,
        .uses_gate = true,
        .run = wallet_threshold},
    {.name = NULL},
};
