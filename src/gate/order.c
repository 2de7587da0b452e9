/*
 * Operations on one call take effect in the order of their arrival: the first goes on,
 * those behind it wait until its effect is certain.  Most calls have one operation at a
 * time and never meet another; what this costs them is one look into a bucket.
 *
 *   arrives --nobody before it--> in front --answered, or only the ledger's row or a
 *      '--somebody is--> behind --its turn--^       balance is awaited--> gone
 *                           '--its time--> answered: it certainly did not happen
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "gate/gate_internal.h"

/* As many as requests in flight by default: longer chains only cost time. */
#define BUCKETS 4096

void cg_order__init(struct cg_gate *gate)
{
	gate->fronts = calloc(BUCKETS, sizeof gate->fronts[0]);
	CG_ASSERT(gate->fronts != NULL);
	for (size_t i = 0; i < BUCKETS; i++) {
		cg_list_init(&gate->fronts[i]);
	}
}

void cg_order__deinit(struct cg_gate *gate)
{
	CG_ASSERT(gate->behind_count == 0);
	free(gate->fronts);
}

struct cg_view cg_order__call_of(const struct cg_request *req)
{
	switch (req->method) {
	case CG_METHOD_AUTHORIZE:
		return req->in.authorize.call_id;
	case CG_METHOD_START:
		return req->in.start.call_id;
	case CG_METHOD_STOP:
		return req->in.stop.call_id;
	case CG_METHOD_SETTLE:
		return req->in.settle.call_id;
	case CG_METHOD_CANCEL:
		return req->in.cancel.call_id;
	case CG_METHOD_ADOPT:
		return req->in.adopt.call_id;
	case CG_METHOD_CREATE_WALLET:
	case CG_METHOD_GET_WALLET:
	case CG_METHOD_UPDATE_WALLET:
	case CG_METHOD_GET_BALANCE:
	case CG_METHOD_GET_CALL:
	case CG_METHOD_LIST_CALLS:
	case CG_METHOD_CREDIT:
	case CG_METHOD_CHARGE:
	case CG_METHOD_COUNT:
		break;
	}
	return (struct cg_view){NULL, 0};
}

/* FNV-1a: ids are chosen by callers, and a chain that they make long slows only them. */
static struct cg_list *bucket_of(const struct cg_gate *gate, struct cg_view call_id)
{
	uint32_t hash = UINT32_C(2166136261);

	for (size_t i = 0; i < call_id.len; i++) {
		hash = (hash ^ (uint8_t)call_id.data[i]) * UINT32_C(16777619);
	}
	return &gate->fronts[hash % BUCKETS];
}

static struct cg_request *front_of(
    const struct cg_list *bucket, const struct cg_uuid *company, struct cg_view call_id)
{
	for (struct cg_list *link = bucket->next; link != bucket; link = link->next) {
		struct cg_request *front = CG_CONTAINER_OF(link, struct cg_request, work.front);
		if (cg_uuid_equal(&front->company, company) &&
		    cg_view_equal(cg_order__call_of(front), call_id)) {
			return front;
		}
	}
	return NULL;
}

bool cg_order__enter(struct cg_request *req)
{
	struct cg_gate *gate = req->work.gate;
	struct cg_view call_id = cg_order__call_of(req);

	cg_list_init(&req->work.front);
	cg_list_init(&req->work.behind);
	if (call_id.len == 0) {
		return true;
	}
	struct cg_list *bucket = bucket_of(gate, call_id);
	struct cg_request *front = front_of(bucket, &req->company, call_id);
	if (front == NULL) {
		cg_list_append(bucket, &req->work.front);
		return true;
	}
	cg_list_append(&front->work.behind, &req->work.link);
	gate->behind_count++;
	return false;
}

static struct cg_request *take_first_behind(struct cg_request *front)
{
	struct cg_list *link = cg_list_pop(&front->work.behind);

	if (link == NULL) {
		return NULL;
	}
	front->work.gate->behind_count--;
	return CG_CONTAINER_OF(link, struct cg_request, work.link);
}

void cg_order__pass_on(struct cg_request *req)
{
	bool is_front = !cg_list_is_empty(&req->work.front);
	struct cg_request *next = is_front ? take_first_behind(req) : NULL;

	cg_list_remove(&req->work.front);
	if (next == NULL) {
		return;
	}
	cg_list_append(bucket_of(req->work.gate, cg_order__call_of(next)), &next->work.front);
	for (struct cg_list *link = cg_list_pop(&req->work.behind); link != NULL;
	     link = cg_list_pop(&req->work.behind)) {
		cg_list_append(&next->work.behind, link);
	}
	/* An answer that it has at once is put off, so that a long queue is no deep stack. */
	next->work.is_submitting = true;
	cg_outage__see(next);
	next->work.machine->begin(next);
	next->work.is_submitting = false;
}

/*
 * Those whose time passed while they waited.  Their plan's outage policy has no say: it is not
 * the store that they waited for.
 */
static void end_late(struct cg_request *front, uint64_t now_ms)
{
	struct cg_list *link = front->work.behind.next;

	while (link != &front->work.behind) {
		struct cg_request *req = CG_CONTAINER_OF(link, struct cg_request, work.link);
		link = link->next;
		if (now_ms >= req->work.queues_until_ms) {
			cg_list_remove(&req->work.link);
			front->work.gate->behind_count--;
			/* Put off as well: nothing may change these lists under our feet. */
			req->work.is_submitting = true;
			cg_answer__end(req, CG_UNAVAILABLE, CG_REASON_STORE_UNAVAILABLE);
		}
	}
}

void cg_order__end_late(struct cg_gate *gate)
{
	uint64_t now_ms = cg_round__now(gate);

	for (size_t i = 0; gate->behind_count > 0 && i < BUCKETS; i++) {
		struct cg_list *bucket = &gate->fronts[i];
		for (struct cg_list *link = bucket->next; link != bucket; link = link->next) {
			end_late(CG_CONTAINER_OF(link, struct cg_request, work.front), now_ms);
		}
	}
}
