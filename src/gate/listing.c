/*
 * ListCalls: the live calls of one company, or of all, in pages.
 *
 *  NEW --one company--> CALLS --answered--> DONE
 *   |                    | ^  '--the page has room, more companies--> CALLS
 *   |                    | '--ABSENT: WALLET, LOAD, CALLS (one company only)
 *   |                    '--no company left of those read--.
 *   '--all--> WALLETS <------------------------------------'
 *              |'--companies--> CALLS
 *              '--none: the next partition's WALLETS; the last one's: DONE
 *
 * (CALLS and WALLETS are both CG_STEP_STORE: the listing knows which it asked for.)
 *
 * Partitions are walked by number, companies by id, calls by (authorized_at_ms, call_id),
 * each strictly upwards, and a page goes on after the last call of the one before.  None
 * of the three changes while a call lives, so a call that lives throughout is met once.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "gate/gate_internal.h"
#include "gate/page_token.h"

/*
 * A page ends here even where it has room: a client takes 4 MiB in one message unless
 * told otherwise, and a call with all its meta is more than 4 KiB.
 */
#define PAGE_BYTES_MAX ((size_t)2 * 1024 * 1024)

/* What a call takes in a message beside its texts, generously. */
#define CALL_BYTES 256

/* Companies taken from a partition at once: the smallest ids of those still to come. */
#define COMPANIES_MAX 1000

struct listing {
	bool wants_wallets; /* what is under way, or comes next: WALLETS or CALLS */
	uint32_t partition;
	struct cg_uuid company; /* whose calls are under way, or were last */
	bool has_company;       /* else the partition's first company comes next */
	int64_t after_at_ms;    /* the last call given of `company`; 0 and empty: none yet */
	size_t after_len;
	char after_call_id[CG_CALL_ID_MAX_BYTES];
	uint32_t given_count;
	size_t given_bytes;
	uint64_t begun_at_ms;
	bool is_partition_read; /* no companies beyond those in `companies` */
	uint32_t company_count;
	uint32_t company_at; /* the next one of them */
	struct cg_uuid companies[2 * COMPANIES_MAX];
	struct cg_call calls[]; /* page_size */
};

static struct listing *listing_of(const struct cg_request *req)
{
	return req->work.listing;
}

uint32_t cg_listing__partition(const struct cg_request *req)
{
	return listing_of(req)->partition;
}

void cg_listing__release(struct cg_request *req)
{
	free(req->work.listing);
	req->work.listing = NULL;
	req->work.gate->listing_count--;
}

static int compare_companies(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct cg_uuid));
}

/* A listing of all companies may be one of those that somebody's credential is bound to. */
static bool is_bound_to(const struct cg_list_calls_in *in, const struct cg_uuid *company)
{
	return in->companies == NULL ||
	    bsearch(company, in->companies, in->company_count, sizeof in->companies[0],
	        compare_companies) != NULL;
}

/* Where a page's token says to go on.  False, and answered, where it is none of this listing's. */
static bool take_token(struct cg_request *req, struct listing *l)
{
	const struct cg_list_calls_in *in = &req->in.list_calls;
	struct cg_page_token token;

	if (!cg_page_token_parse(in->page_token, req->work.gate->store->partition_count, &token) ||
	    token.all_companies != in->all_companies || !is_bound_to(in, &token.company) ||
	    (!in->all_companies && !cg_uuid_equal(&token.company, &req->company))) {
		cg_answer__invalid(
		    req, "page_token", "empty, or as answered, with the same company_id");
		return false;
	}
	l->partition = token.partition;
	l->company = token.company;
	l->has_company = true;
	l->after_at_ms = token.at_ms;
	l->after_len = token.call_id.len;
	memcpy(l->after_call_id, token.call_id.data, token.call_id.len);
	return true;
}

static void begin(struct cg_request *req)
{
	const struct cg_list_calls_in *in = &req->in.list_calls;
	struct cg_gate *gate = req->work.gate;
	uint32_t page_size = in->page_size;

	CG_ASSERT(page_size >= 1 && page_size <= CG_LIST_CALLS_PAGE_MAX);
	struct listing *l = gate->listing_count < CG_LISTINGS_MAX
	    ? malloc(sizeof *l + page_size * sizeof l->calls[0])
	    : NULL;
	if (l == NULL) {
		cg_answer__store_failed(req, CG_FULL);
		return;
	}
	gate->listing_count++;
	/* Not the calls: that is hundreds of kilobytes which the store fills in. */
	memset(l, 0, sizeof *l);
	l->begun_at_ms = cg_round__now(gate);
	l->wants_wallets = in->all_companies;
	if (!in->all_companies) {
		l->company = req->company;
		l->has_company = true;
		l->partition = cg_store_partition_of(&req->company, gate->store->partition_count);
	}
	req->work.listing = l;
	if (in->page_token.len > 0) {
		if (!take_token(req, l)) {
			return;
		}
		l->wants_wallets = false;
	}
	cg_round__ask_store_anew(req);
}

static void fill(struct cg_request *req, struct cg_store_op *op)
{
	struct listing *l = listing_of(req);

	if (l->wants_wallets) {
		op->verb = CG_STORE_LIVE_WALLETS;
		op->in.live.partition = l->partition;
		return;
	}
	op->verb = CG_STORE_CALLS;
	op->company = l->company;
	op->in.calls = (struct cg_store_calls_in){
	    .after_at_ms = l->after_at_ms,
	    .after_call_id = {l->after_call_id, l->after_len},
	    .calls = l->calls,
	    .calls_max = req->in.list_calls.page_size - l->given_count,
	};
}

static void end_page(struct cg_request *req, bool has_more)
{
	struct listing *l = listing_of(req);
	struct cg_page_token token = {
	    .all_companies = req->in.list_calls.all_companies,
	    .partition = l->partition,
	    .company = l->company,
	    .at_ms = l->after_at_ms,
	    .call_id = {l->after_call_id, l->after_len},
	};
	struct cg_buffer text;

	cg_buffer_init(&text, req->work.page_token, sizeof req->work.page_token);
	if (has_more) {
		cg_page_token_format(&token, &text);
		CG_ASSERT(!text.overflow);
	}
	req->out.list_calls.next_page_token = cg_buffer_view(&text);
	cg_answer__ok(req);
}

/* Half of the request's time is over: what was found is a page too. */
static bool is_time_up(const struct cg_request *req, const struct listing *l)
{
	uint64_t now = cg_round__now(req->work.gate);

	return now - l->begun_at_ms >= (req->deadline_at_ms - l->begun_at_ms) / 2;
}

/* The calls of the present company are given: on to the next company, or partition. */
static void go_on(struct cg_request *req)
{
	struct listing *l = listing_of(req);

	if (l->company_at < l->company_count) {
		l->company = l->companies[l->company_at++];
		l->has_company = true;
		l->after_at_ms = 0;
		l->after_len = 0;
		l->wants_wallets = false;
	} else if (!l->is_partition_read) {
		l->wants_wallets = true;
	} else if (l->partition + 1 < req->work.gate->store->partition_count) {
		l->partition++;
		l->has_company = false;
		l->is_partition_read = false;
		l->wants_wallets = true;
	} else {
		end_page(req, false);
		return;
	}
	cg_round__ask_store_anew(req);
}

static bool is_last_company(const struct cg_request *req, const struct listing *l)
{
	return !req->in.list_calls.all_companies ||
	    (l->company_at == l->company_count && l->is_partition_read &&
	        l->partition + 1 == req->work.gate->store->partition_count);
}

static void give_call(struct cg_request *req, struct listing *l, struct cg_call *call)
{
	CG_ASSERT(call->call_id.len <= sizeof l->after_call_id);
	l->after_at_ms = call->authorized_at_ms;
	l->after_len = call->call_id.len;
	memcpy(l->after_call_id, call->call_id.data, call->call_id.len);
	l->given_count++;
	l->given_bytes += CALL_BYTES + call->call_id.len + call->resource_type.len +
	    call->destination.len + call->meta.pairs.len;
	call->company = l->company;
	req->in.list_calls.on_call(req, call);
}

static void on_calls(struct cg_request *req, const struct cg_store_calls_out *out)
{
	struct listing *l = listing_of(req);
	uint32_t given = 0;

	CG_ASSERT(out->count <= req->in.list_calls.page_size - l->given_count);
	while (given < out->count && l->given_bytes < PAGE_BYTES_MAX) {
		give_call(req, l, &l->calls[given++]);
	}

	/* A store that says "more" and gives none would be asked for ever. */
	bool has_more_calls = given < out->count || (out->more && out->count > 0);
	bool is_full = l->given_count == req->in.list_calls.page_size ||
	    l->given_bytes >= PAGE_BYTES_MAX || has_more_calls;

	if (!has_more_calls && is_last_company(req, l)) {
		end_page(req, false);
	} else if (is_full || (l->given_count > 0 && l->after_len > 0 && is_time_up(req, l))) {
		end_page(req, true);
	} else {
		go_on(req);
	}
}

/* The smallest ids stay. */
static void sort_and_cut(struct listing *l)
{
	qsort(l->companies, l->company_count, sizeof l->companies[0], compare_companies);
	if (l->company_count > COMPANIES_MAX) {
		l->company_count = COMPANIES_MAX;
		l->is_partition_read = false;
	}
}

static void on_wallets(struct cg_request *req, struct cg_view companies)
{
	struct listing *l = listing_of(req);

	l->company_count = 0;
	l->company_at = 0;
	l->is_partition_read = true;
	for (size_t at = 0; at + sizeof(struct cg_uuid) <= companies.len;
	     at += sizeof(struct cg_uuid)) {
		struct cg_uuid company;
		memcpy(company.bytes, companies.data + at, sizeof company.bytes);
		if ((l->has_company && compare_companies(&company, &l->company) <= 0) ||
		    !is_bound_to(&req->in.list_calls, &company)) {
			continue;
		}
		l->companies[l->company_count++] = company;
		if (l->company_count == CG_COUNT_OF(l->companies)) {
			sort_and_cut(l);
		}
	}
	sort_and_cut(l);
	go_on(req);
}

static void on_answer(struct cg_request *req, const struct cg_store_op *op)
{
	if (op->outcome != CG_STORE_DONE) {
		cg_answer__refused(req, op->outcome, op->state);
	} else if (op->verb == CG_STORE_LIVE_WALLETS) {
		on_wallets(req, op->out.live.companies);
	} else {
		on_calls(req, &op->out.calls);
	}
}

/* Of one company: it may have no wallet at all, which the caller wants to know. */
static void on_absent(struct cg_request *req)
{
	if (req->in.list_calls.all_companies) {
		go_on(req); /* The store forgot it in between: it has no live calls. */
	} else {
		cg_ask__wallet(req);
	}
}

const struct cg_machine cg_list_calls__machine = {
    .allowed =
        {
            [CG_STEP_NEW] = CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
            [CG_STEP_STORE] = CG_STEP_BIT(STORE) | CG_STEP_BIT(WALLET) | CG_STEP_BIT(DONE),
            [CG_STEP_WALLET] = CG_STEP_BIT(LOAD) | CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
            [CG_STEP_LOAD] = CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
        },
    .changes_nothing = true,
    .begin = begin,
    .resolve = cg_plans__resolve,
    .fill = fill,
    .on_answer = on_answer,
    .on_absent = on_absent,
};
