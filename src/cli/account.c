/*
 * balance, credit, charge: what is in a wallet, what comes in, and what is charged that is
 * no call.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>

#include "base/base.h"
#include "cli/answers.h"
#include "cli/client.h"
#include "cli/money.h"
#include "cli/output.h"

static enum cg_exit balance(struct cg_cli *cli)
{
	struct callgate_get_balance_request request = {
	    .company_id = cg_args_text(&cli->args, "company", NULL)};
	const struct callgate_get_balance_response *response;
	const struct callgate_error *error;

	if (callgate_get_balance_sync(cli->client, &request, &response, &error) !=
	    CALLGATE_STATUS_OK) {
		return cg_client_fail(cli, error);
	}
	cg_output_answer(cli, NULL, "", cg_answers_balance(response));
	return CG_EXIT_DONE;
}

/* In the order of the contract's EntryType, from TOP_UP on. */
static const char *const entry_types[] = {
    "top_up", "monthly_grant", "bonus", "refund", "adjustment", NULL};

static enum callgate_entry_type entry_type_of(const struct cg_args *args)
{
	return (enum callgate_entry_type)(
	    CALLGATE_ENTRY_TYPE_TOP_UP + (int)cg_args_int(args, "type", 0));
}

/* What the server would refuse as well; here the flag is named. */
static enum cg_exit check_sign(const struct cg_cli *cli)
{
	int64_t amount = cg_args_int(&cli->args, "amount-micros", 0);
	enum callgate_entry_type type = entry_type_of(&cli->args);

	if (amount < 0 && type != CALLGATE_ENTRY_TYPE_REFUND &&
	    type != CALLGATE_ENTRY_TYPE_ADJUSTMENT) {
		return cg_output_fail(cli, CG_EXIT_USAGE, "--amount-micros",
		    "above 0 unless --type is refund or adjustment",
		    "--amount-micros: must be above 0 unless --type is refund or adjustment");
	}
	return CG_EXIT_DONE;
}

static void say_posted(
    struct cg_cli *cli, const char *company, const char *what, bool replayed, json_t *answer)
{
	const char *currency = cg_client_currency(cli, company);
	const char *reference = cg_args_text(&cli->args, "reference", "");
	char amount[CG_MONEY_TEXT_BYTES];
	char headline[320];

	cg_money_format(cg_args_int(&cli->args, "amount-micros", 0), currency, amount);
	(void)snprintf(headline, sizeof headline, "%s %s, reference %s.%s", what, amount, reference,
	    replayed ? " It had happened before; nothing was changed." : "");
	cg_output_answer(cli, headline, currency, answer);
}

static enum cg_exit credit(struct cg_cli *cli)
{
	struct callgate_credit_request request = {
	    .company_id = cg_args_text(&cli->args, "company", NULL),
	    .amount_micros = cg_args_int(&cli->args, "amount-micros", 0),
	    .type = entry_type_of(&cli->args),
	    .reference_id = cg_args_text(&cli->args, "reference", NULL),
	    .description = cg_args_text(&cli->args, "description", NULL),
	    .durability = cg_client_durability(&cli->args),
	};
	const struct callgate_credit_response *response;
	const struct callgate_error *error;
	enum cg_exit code = check_sign(cli);

	if (code != CG_EXIT_DONE) {
		return code;
	}
	if (callgate_credit_sync(cli->client, &request, &response, &error) != CALLGATE_STATUS_OK) {
		return cg_client_fail(cli, error);
	}
	say_posted(
	    cli, request.company_id, "Credited", response->replayed, cg_answers_credit(response));
	return CG_EXIT_DONE;
}

static enum cg_exit charge(struct cg_cli *cli)
{
	struct cg_client_meta meta;
	struct callgate_charge_request request = {
	    .company_id = cg_args_text(&cli->args, "company", NULL),
	    .resource_type = cg_args_text(&cli->args, "resource", NULL),
	    .amount_micros = cg_args_int(&cli->args, "amount-micros", 0),
	    .quantity = cg_args_int(&cli->args, "quantity", 1),
	    .reference_id = cg_args_text(&cli->args, "reference", NULL),
	    .description = cg_args_text(&cli->args, "description", NULL),
	    .durability = cg_client_durability(&cli->args),
	};
	const struct callgate_charge_response *response;
	const struct callgate_error *error;

	cg_client_read_meta(&cli->args, &meta);
	request.meta = meta.pairs;
	request.meta_count = meta.count;
	if (callgate_charge_sync(cli->client, &request, &response, &error) != CALLGATE_STATUS_OK) {
		return cg_client_fail(cli, error);
	}
	say_posted(
	    cli, request.company_id, "Charged", response->replayed, cg_answers_charge(response));
	return CG_EXIT_DONE;
}

static const struct cg_flag balance_flags[] = {CG_FLAG_COMPANY, CG_FLAGS_END};

static const struct cg_flag credit_flags[] = {
    CG_FLAG_COMPANY,
    {.name = "amount-micros",
        .kind = CG_FLAG_INT,
        .required = true,
        .not_zero = true,
        .min = -CG_MONEY_REQUEST_MAX_MICROS,
        .max = CG_MONEY_REQUEST_MAX_MICROS,
        .help = "below 0 only for a refund or an adjustment"},
    {.name = "type",
        .kind = CG_FLAG_CHOICE,
        .required = true,
        .choices = entry_types,
        .help = "what kind of money it is"},
    {.name = "reference",
        .kind = CG_FLAG_ID,
        .required = true,
        .help = "e.g. the payment's id: the idempotency key, with the type"},
    {.name = "description", .kind = CG_FLAG_TEXT, .help = "for people"},
    CG_FLAG_DURABILITY,
    CG_FLAGS_END,
};

static const struct cg_flag charge_flags[] = {
    CG_FLAG_COMPANY,
    {.name = "resource",
        .kind = CG_FLAG_RESOURCE,
        .required = true,
        .help = "phone_number_rental, ..."},
    {.name = "amount-micros",
        .kind = CG_FLAG_INT,
        .required = true,
        .min = 1,
        .max = CG_MONEY_REQUEST_MAX_MICROS,
        .help = "what to charge"},
    {.name = "quantity",
        .kind = CG_FLAG_INT,
        .min = 1,
        .max = CG_MONEY_REQUEST_MAX_MICROS,
        .help = "in the resource's unit; 1 unless given"},
    {.name = "reference",
        .kind = CG_FLAG_ID,
        .required = true,
        .help = "the idempotency key; shares its space with call ids"},
    {.name = "description", .kind = CG_FLAG_TEXT, .help = "for people"},
    CG_FLAG_META_PAIRS,
    CG_FLAG_DURABILITY,
    CG_FLAGS_END,
};

const struct cg_command cg_commands_account[] = {
    {.name = "balance",
        .summary = "what is left at this instant",
        .details = "available = posted + credit limit - held - accrued; running calls are debited\n"
                   "to the millisecond.",
        .flags = balance_flags,
        .uses_gate = true,
        .run = balance},
    {.name = "credit",
        .summary = "add money to a wallet, or take it back",
        .details = "Safe to repeat: the same type and reference count once.",
        .flags = credit_flags,
        .uses_gate = true,
        .run = credit},
    {.name = "charge",
        .summary = "charge usage that is not a call",
        .details = "Never refused for funds. Safe to repeat: the same reference counts once.",
        .flags = charge_flags,
        .uses_gate = true,
        .run = charge},
    {.name = NULL},
};
