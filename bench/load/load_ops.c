/*
 * What each operation sends, and how it ends.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "load/load_internal.h"

#include <inttypes.h>

enum {
	SETTLED_MS = 61001,
};

/* What a wallet begins with: no bench comes to its end. */
#define CREDIT_MICROS INT64_C(900000000000000)

static void on_authorized(void *context, const struct callgate_error *error,
    const struct callgate_authorize_response *response)
{
	load_ended(
	    context, error, response != NULL && response->decision != CALLGATE_DECISION_ALLOWED);
}

static void on_settled(void *context, const struct callgate_error *error,
    const struct callgate_settle_response *response)
{
	(void)response;
	load_ended(context, error, false);
}

static void on_cancelled(void *context, const struct callgate_error *error,
    const struct callgate_cancel_response *response)
{
	(void)response;
	load_ended(context, error, false);
}

static void on_balance(void *context, const struct callgate_error *error,
    const struct callgate_get_balance_response *response)
{
	(void)response;
	load_ended(context, error, false);
}

static void on_created(void *context, const struct callgate_error *error,
    const struct callgate_create_wallet_response *response)
{
	(void)response;
	load_ended(context, error, false);
}

static void on_credited(void *context, const struct callgate_error *error,
    const struct callgate_credit_response *response)
{
	(void)response;
	load_ended(context, error, false);
}

void load_on_raw_end(struct cg_op *op)
{
	load_ended(op->context, op->response == NULL ? &op->error : NULL, false);
}

static enum callgate_submit send_raw(struct slot *slot)
{
	struct load *load = slot->load;
	struct cg_op *op;
	enum callgate_submit submitted = cg_client__submit(load->client, &load->raw_method,
	    load->raw_registered, grpc_slice_ref(load->raw_request), &op);

	if (submitted == CALLGATE_ACCEPTED) {
		op->context = slot;
		cg_call__start(op);
	}
	return submitted;
}

static enum callgate_submit send_authorize(
    struct slot *slot, const char *company, const char *call_id)
{
	static const struct callgate_meta meta[] = {{"agent", "bench"}};
	struct callgate_authorize_request request = {
	    .company_id = company,
	    .call_id = call_id,
	    .resource_type = "voice_outbound",
	    .destination = "+447700900123",
	    .reserve_ms = 60000,
	    .start = slot->load->op == LOAD_CYCLE || slot->load->options.keep,
	    .meta = meta,
	    .meta_count = CG_COUNT_OF(meta),
	};

	if (slot->load->session != NULL) {
		return callgate_session_authorize(
		    slot->load->session, &request, on_authorized, slot);
	}
	return callgate_authorize(slot->load->client, &request, on_authorized, slot);
}

static enum callgate_submit send_settle(struct slot *slot, const char *company, const char *call_id)
{
	struct callgate_settle_request request = {
	    .company_id = company,
	    .call_id = call_id,
	    .duration = CALLGATE_SETTLE_DURATION_MS,
	    .duration_ms = SETTLED_MS,
	    .durability = slot->load->options.committed ? CALLGATE_DURABILITY_COMMITTED
	                                                : CALLGATE_DURABILITY_ACCEPTED,
	};

	if (slot->load->session != NULL) {
		return callgate_session_settle(slot->load->session, &request, on_settled, slot);
	}
	return callgate_settle(slot->load->client, &request, on_settled, slot);
}

/* Of the wallet itself, before the load. */
static enum callgate_submit send_wallet(struct slot *slot, const char *company)
{
	struct load *load = slot->load;

	if (load->op == LOAD_CREATE) {
		struct callgate_create_wallet_request request = {
		    .company_id = company, .currency = "usd", .plan_id = load->options.plan};

		return callgate_create_wallet(load->client, &request, on_created, slot);
	}
	struct callgate_credit_request request = {.company_id = company,
	    .amount_micros = CREDIT_MICROS,
	    .type = CALLGATE_ENTRY_TYPE_TOP_UP,
	    .reference_id = company,
	    .description = "bench"};

	return callgate_credit(load->client, &request, on_credited, slot);
}

static enum callgate_submit send_named(struct slot *slot)
{
	struct load *load = slot->load;
	char company[CG_UUID_TEXT_LEN + 1];
	char call_id[48];

	cg_uuid_format(&load->companies[slot->serial % load->options.companies], company);
	(void)snprintf(call_id, sizeof(call_id), "%s-%" PRIu64, load->run, slot->serial);
	if (load->op == LOAD_AUTHORIZE || (load->op == LOAD_CYCLE && !slot->settles)) {
		return send_authorize(slot, company, call_id);
	}
	if (load->op == LOAD_CREATE || load->op == LOAD_CREDIT) {
		return send_wallet(slot, company);
	}
	if (load->op == LOAD_SETTLE || load->op == LOAD_CYCLE) {
		return send_settle(slot, company, call_id);
	}
	if (load->op == LOAD_CANCEL) {
		struct callgate_cancel_request request = {company, call_id};

		if (load->session != NULL) {
			return callgate_session_cancel(load->session, &request, on_cancelled, slot);
		}
		return callgate_cancel(load->client, &request, on_cancelled, slot);
	}
	return callgate_get_balance(
	    load->client, &(struct callgate_get_balance_request){company}, on_balance, slot);
}

/* There are as many slots as the client takes operations: it is never full. */
void load_begin(struct slot *slot)
{
	bool raw = slot->load->op == LOAD_HEALTH;

	CG_ASSERT((raw ? send_raw(slot) : send_named(slot)) == CALLGATE_ACCEPTED);
}
