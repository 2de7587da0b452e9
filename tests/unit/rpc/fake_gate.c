/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_gate.h"

#include <stdlib.h>

struct cg_gate {
	struct cg_loop *loop;
	struct cg_hook *hook;
	struct cg_timer *timer;
	struct cg_list waiting; /* by cg_request.work.link */
	uint64_t submitted;
	uint64_t answered;
};

static struct cg_request *request_of(struct cg_list *link)
{
	return CG_CONTAINER_OF(link, struct cg_request, work.link);
}

static struct cg_view call_id_of(const struct cg_request *req)
{
	/* The call_id comes first in every `in` that has one. */
	return req->method <= CG_METHOD_ADOPT || req->method == CG_METHOD_GET_CALL
	    ? req->in.authorize.call_id
	    : (struct cg_view){NULL, 0};
}

/* The number after `prefix`; -1 where the id begins otherwise. */
static int64_t number_after(struct cg_view id, const char *prefix)
{
	size_t len = strlen(prefix);
	int64_t number = 0;

	if (id.len <= len || memcmp(id.data, prefix, len) != 0) {
		return -1;
	}
	for (size_t i = len; i < id.len && id.data[i] >= '0' && id.data[i] <= '9'; i++) {
		number = number * 10 + (id.data[i] - '0');
	}
	return number;
}

static enum cg_reason reason_of(int64_t status)
{
	switch (status) {
	case CG_NOT_FOUND:
		return CG_REASON_NO_WALLET;
	case CG_WRONG_STATE:
		return CG_REASON_WRONG_STATE;
	case CG_KEY_REUSED:
		return CG_REASON_KEY_REUSED;
	case CG_FULL:
		return CG_REASON_OUTBOX_FULL;
	case CG_UNAVAILABLE:
	case CG_TIMEOUT:
		return CG_REASON_STORE_UNAVAILABLE;
	case CG_RECOVERING:
		return CG_REASON_RECOVERING;
	default:
		return CG_REASON_NONE;
	}
}

static const struct cg_price price = {{90000}, {0}, 0, 1000};

static void fill_list(struct cg_request *req)
{
	static const char pairs[] = "\x04"
	                            "city\x04\0Bern";

	for (uint32_t i = 0; i < req->in.list_calls.page_size; i++) {
		struct cg_call call = {
		    .company = req->company,
		    .call_id = CG_VIEW_LITERAL("call"),
		    .state = CG_CALL_METERING,
		    .price = price,
		    .currency = {"usd"},
		    .resource_type = CG_VIEW_LITERAL("voice_inbound"),
		    .meta = {{pairs, sizeof pairs - 1}},
		    .authorized_at_ms = (int64_t)i,
		};
		req->in.list_calls.on_call(req, &call);
	}
	req->out.list_calls.next_page_token = CG_VIEW_LITERAL("next");
}

static void fill(struct cg_request *req)
{
	int64_t status = number_after(call_id_of(req), "status-");

	req->status = status < 0 ? CG_OK : (enum cg_status)status;
	memset(&req->out, 0, sizeof req->out);
	if (status > 0) {
		req->reason = reason_of(status);
		req->state = CG_CALL_SETTLED;
		req->has_settled = req->method == CG_METHOD_SETTLE && req->status == CG_KEY_REUSED;
		req->out.settle.store.cost.micros = 1500;
		return;
	}
	if (req->method == CG_METHOD_AUTHORIZE) {
		req->out.authorize = (struct cg_authorize_out){
		    .store = {.decision = CG_DECISION_ALLOWED,
		        .state = CG_CALL_AUTHORIZED,
		        .has_price = true,
		        .price = price,
		        .held = {97501},
		        .available = {1902499},
		        .required = {97501},
		        .max_duration_ms = 600000,
		        .expires_at_ms = INT64_C(1790000120000)},
		    .as_of_ms = INT64_C(1790000000000),
		    .currency = {"usd"},
		};
	} else if (req->method == CG_METHOD_SETTLE) {
		req->out.settle.state = CG_CALL_SETTLED;
		req->out.settle.store.entry_id = (struct cg_entry_id){3, 1, 17};
		req->out.settle.store.price = price;
	} else if (req->method == CG_METHOD_GET_BALANCE) {
		req->out.balance.plan_id = "starter";
	} else if (req->method == CG_METHOD_LIST_CALLS) {
		fill_list(req);
	}
}

static void on_turn(void *owner)
{
	struct cg_gate *gate = owner;
	uint64_t now_ms = cg_loop_now_ms(gate->loop);
	struct cg_list *next;

	for (struct cg_list *link = gate->waiting.next; link != &gate->waiting; link = next) {
		struct cg_request *req = request_of(link);
		next = link->next;
		if (req->work.asked_epoch > now_ms) { /* when it is due */
			if (!cg_timer_is_running(gate->timer)) {
				cg_timer_start(gate->timer, 1);
			}
			continue;
		}
		cg_list_remove(link);
		gate->answered++;
		fill(req);
		req->done(req);
	}
}

static void on_timer(void *owner)
{
	(void)owner; /* The turn that this begins looks. */
}

void cg_gate_submit(struct cg_gate *gate, struct cg_request *req)
{
	int64_t slow_ms = number_after(call_id_of(req), "slow-");

	gate->submitted++;
	req->work.asked_epoch = cg_loop_now_ms(gate->loop) + (uint64_t)(slow_ms < 0 ? 0 : slow_ms);
	cg_list_append(&gate->waiting, &req->work.link);
	cg_hook_request(gate->hook);
}

struct cg_gate *fake_gate_create(struct cg_loop *loop)
{
	struct cg_gate *gate = calloc(1, sizeof *gate);

	CG_ASSERT(gate != NULL);
	gate->loop = loop;
	cg_list_init(&gate->waiting);
	gate->hook = cg_hook_create(loop, on_turn, gate);
	gate->timer = cg_timer_create(loop, on_timer, gate);
	return gate;
}

void fake_gate_destroy(struct cg_gate *gate)
{
	CG_ASSERT(cg_list_is_empty(&gate->waiting));
	cg_hook_close(gate->hook);
	cg_timer_close(gate->timer);
	free(gate);
}

uint64_t fake_gate_submitted(const struct cg_gate *gate)
{
	return gate->submitted;
}

uint64_t fake_gate_answered(const struct cg_gate *gate)
{
	return gate->answered;
}
