/*
 * A cached wallet:
 *
 *   (none) --load--> BUSY --read--------------------> IDLE, known --evicted--> (none)
 *                    | ^ '--no wallet, or failed----> (none)         |
 *                    | '------changed, load---------------------------'
 *                    '--failed, known, changed---------> STALE --tick--> BUSY
 *
 * BUSY waits for the ledger: queued here first where all loads are taken.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "gate/terms_cache.h"

#include <stdlib.h>

#include "gate/gate_internal.h"

/* A reading, and where it brought news of a cached wallet, the telling of it to the store. */
struct load {
	struct cg_ledger_op op;
	struct cg_store_op tell;
	struct cg_gate *gate;
	struct cg_cached_wallet *cached;
	uint64_t epoch;
	bool was_changed; /* the reading is for a change that was announced */
};

static void on_wallet_read(struct cg_ledger_op *op);

void cg_terms_cache__init(struct cg_gate *gate)
{
	struct cg_terms_cache *cache = &gate->cache;
	uint32_t wallets_max = gate->config.wallets_max;
	uint32_t bucket_count = 1;

	CG_ASSERT(wallets_max > 0 && wallets_max <= UINT32_MAX / 2);
	while (bucket_count < wallets_max) {
		bucket_count *= 2;
	}
	CG_ASSERT(
	    cg_slab_init(&cache->wallets, sizeof(struct cg_cached_wallet), wallets_max) == CG_OK);
	CG_ASSERT(cg_slab_init(&cache->loads, sizeof(struct load), CG_TERMS_LOADS_MAX) == CG_OK);
	cache->buckets = calloc(bucket_count, sizeof(struct cg_cached_wallet *));
	CG_ASSERT(cache->buckets != NULL);
	cache->bucket_mask = bucket_count - 1;
	cg_list_init(&cache->idle);
	cg_list_init(&cache->busy);
	cg_list_init(&cache->queued);
	cg_list_init(&cache->stale);
}

/*
 * Company ids are random (UUID v4) but for a few bits, so any eight of their bytes would
 * nearly do; the multiplication spreads what else somebody may use for ids.
 */
static struct cg_cached_wallet **bucket_of(
    struct cg_terms_cache *cache, const struct cg_uuid *company)
{
	uint64_t low = 0;
	uint64_t high = 0;

	memcpy(&low, company->bytes, sizeof low);
	memcpy(&high, company->bytes + sizeof low, sizeof high);
	uint64_t mixed = (low ^ (high << 1 | high >> 63)) * UINT64_C(0x9E3779B97F4A7C15);
	return &cache->buckets[(uint32_t)(mixed >> 32) & cache->bucket_mask];
}

static struct cg_cached_wallet *find(struct cg_terms_cache *cache, const struct cg_uuid *company)
{
	struct cg_cached_wallet *cached = *bucket_of(cache, company);

	while (cached != NULL && !cg_uuid_equal(&cached->company, company)) {
		cached = cached->next;
	}
	return cached;
}

static void drop(struct cg_terms_cache *cache, struct cg_cached_wallet *cached)
{
	struct cg_cached_wallet **at = bucket_of(cache, &cached->company);

	CG_ASSERT(cg_list_is_empty(&cached->waiters));
	while (*at != cached) {
		at = &(*at)->next;
	}
	*at = cached->next;
	cg_list_remove(&cached->use);
	cg_list_remove(&cached->queue);
	cg_slab_give(&cache->wallets, cached);
}

/* A cell for a company that has none; the least recently used makes room.  Or NULL. */
static struct cg_cached_wallet *add(struct cg_terms_cache *cache, const struct cg_uuid *company)
{
	struct cg_cached_wallet *cached = cg_slab_take(&cache->wallets);

	if (cached == NULL) {
		if (cg_list_is_empty(&cache->idle)) {
			return NULL;
		}
		drop(cache, CG_CONTAINER_OF(cache->idle.next, struct cg_cached_wallet, use));
		cached = cg_slab_take(&cache->wallets);
	}

	struct cg_cached_wallet **bucket = bucket_of(cache, company);
	*cached = (struct cg_cached_wallet){.next = *bucket, .company = *company};
	*bucket = cached;
	cg_list_init(&cached->use);
	cg_list_init(&cached->queue);
	cg_list_init(&cached->waiters);
	return cached;
}

const struct cg_wallet *cg_terms_cache__find(struct cg_gate *gate, const struct cg_uuid *company)
{
	struct cg_cached_wallet *cached = find(&gate->cache, company);

	if (cached == NULL || !cached->is_known) {
		return NULL;
	}
	if (!cached->is_busy) {
		cg_list_remove(&cached->use);
		cg_list_append(&gate->cache.idle, &cached->use);
	}
	return &cached->wallet;
}

/* Gives queued readings to the ledger while there are loads. */
static void pump(struct cg_gate *gate)
{
	struct cg_terms_cache *cache = &gate->cache;

	while (!cg_list_is_empty(&cache->queued)) {
		struct load *load = cg_slab_take(&cache->loads);
		if (load == NULL) {
			return;
		}
		struct cg_cached_wallet *cached =
		    CG_CONTAINER_OF(cg_list_pop(&cache->queued), struct cg_cached_wallet, queue);
		uint32_t partition =
		    cg_store_partition_of(&cached->company, gate->store->partition_count);

		/* Changes announced from here on may or may not be in what will be read. */
		bool was_changed = cached->is_changed;
		cached->is_changed = false;
		*load = (struct load){
		    .op =
		        {
		            .verb = CG_LEDGER_WALLET_READ,
		            .company = cached->company,
		            .deadline_at_ms = cg_round__now(gate) + gate->config.ledger_timeout_ms,
		            .done = on_wallet_read,
		        },
		    .gate = gate,
		    .cached = cached,
		    .was_changed = was_changed,
		    /* Before the reading: what LOAD will prove with it. */
		    .epoch = gate->store->epoch(gate->store, partition),
		};
		gate->ledger->submit(gate->ledger, &load->op);
	}
}

static void make_busy(struct cg_terms_cache *cache, struct cg_cached_wallet *cached)
{
	CG_ASSERT(!cached->is_busy);
	cached->is_busy = true;
	cg_list_remove(&cached->use);
	cg_list_append(&cache->busy, &cached->use);
	cg_list_remove(&cached->queue);
	cg_list_append(&cache->queued, &cached->queue);
}

static void make_idle(struct cg_terms_cache *cache, struct cg_cached_wallet *cached)
{
	CG_ASSERT(cached->is_busy);
	cached->is_busy = false;
	cg_list_remove(&cached->use);
	cg_list_append(&cache->idle, &cached->use);
}

/* An update that overtook the reading has the greater version, and stays. */
static void take_over(struct cg_cached_wallet *cached, const struct cg_wallet *wallet)
{
	if (!cached->is_known || wallet->terms_version >= cached->wallet.terms_version) {
		cached->wallet = *wallet;
		cached->is_known = true;
	}
}

/* Tells those who waited.  They may call back into the cache: it is in order by now. */
static void tell(struct cg_list *waiters, const struct cg_loaded *loaded)
{
	for (struct cg_list *link = cg_list_pop(waiters); link != NULL;
	     link = cg_list_pop(waiters)) {
		struct cg_request *req = CG_CONTAINER_OF(link, struct cg_request, work.link);
		req->work.loaded(req, loaded);
	}
}

static void take_waiters(struct cg_cached_wallet *cached, struct cg_list *waiters)
{
	for (struct cg_list *link = cg_list_pop(&cached->waiters); link != NULL;
	     link = cg_list_pop(&cached->waiters)) {
		cg_list_append(waiters, link);
	}
}

/* The ledger is closing: what is queued would never be answered. */
static void close_cache(struct cg_terms_cache *cache)
{
	struct cg_list waiters;
	struct cg_loaded loaded = {.status = CG_CLOSING};

	cache->is_closed = true;
	cg_list_init(&waiters);
	for (struct cg_list *link = cg_list_pop(&cache->queued); link != NULL;
	     link = cg_list_pop(&cache->queued)) {
		struct cg_cached_wallet *cached =
		    CG_CONTAINER_OF(link, struct cg_cached_wallet, queue);
		take_waiters(cached, &waiters);
		make_idle(cache, cached);
	}
	tell(&waiters, &loaded);
}

/* Where the wallet's cell goes after a reading. */
static void put_back(
    struct cg_terms_cache *cache, struct cg_cached_wallet *cached, const struct cg_loaded *loaded)
{
	bool is_gone = loaded->status == CG_OK && loaded->outcome != CG_LEDGER_DONE;

	make_idle(cache, cached);
	if (loaded->status == CG_OK && !is_gone) {
		take_over(cached, &loaded->wallet);
		if (cached->is_changed && !cache->is_closed) {
			make_busy(cache, cached);
		}
	} else if (is_gone || !cached->is_known) {
		drop(cache, cached);
	} else if (cached->is_changed && loaded->status != CG_CLOSING) {
		/* The old terms go on meanwhile: a ledger that is away stops no call. */
		cg_list_append(&cache->stale, &cached->queue);
	}
}

static void on_told(struct cg_store_op *op)
{
	struct load *load = CG_CONTAINER_OF(op, struct load, tell);
	struct cg_gate *gate = load->gate;
	bool is_closing = op->status == CG_CLOSING;

	/* However it ended: the next operation of the wallet carries the same terms. */
	cg_slab_give(&gate->cache.loads, load);
	if (!is_closing) {
		pump(gate);
	}
}

/*
 * Running calls and balances go by the terms in the wallet's record: it learns of a change
 * now, and not only with the next call.  False where there is nothing to tell.
 */
static bool tell_store(
    struct load *load, const struct cg_cached_wallet *cached, const struct cg_loaded *loaded)
{
	struct cg_wallet_terms terms;

	if (loaded->status != CG_OK || loaded->outcome != CG_LEDGER_DONE || loaded->epoch == 0 ||
	    !cached->is_known || loaded->wallet.terms_version <= cached->wallet.terms_version ||
	    !cg_plans__terms_of(load->gate, &loaded->wallet, &terms)) {
		return false;
	}
	load->tell = (struct cg_store_op){
	    .verb = CG_STORE_LOAD,
	    .company = loaded->wallet.company,
	    .deadline_at_ms = cg_round__now(load->gate) + load->gate->config.store_timeout_ms,
	    .known_epoch = loaded->epoch,
	    .terms = terms,
	    .in.load = {.posted = loaded->wallet.posted, .version = loaded->wallet.version},
	    .done = on_told,
	};
	load->gate->store->submit(load->gate->store, &load->tell);
	return true;
}

static void on_wallet_read(struct cg_ledger_op *op)
{
	struct load *load = CG_CONTAINER_OF(op, struct load, op);
	struct cg_gate *gate = load->gate;
	struct cg_cached_wallet *cached = load->cached;
	struct cg_list waiters;
	struct cg_loaded loaded = {
	    .status = op->status, .outcome = op->outcome, .epoch = load->epoch};

	if (op->status == CG_OK && op->outcome == CG_LEDGER_DONE) {
		loaded.wallet = op->out.wallet;
	}
	if (loaded.status != CG_OK) {
		cached->is_changed = cached->is_changed || load->was_changed;
	}
	if (!tell_store(load, cached, &loaded)) {
		cg_slab_give(&gate->cache.loads, load);
	}

	cg_list_init(&waiters);
	take_waiters(cached, &waiters);
	put_back(&gate->cache, cached, &loaded);
	if (loaded.status == CG_CLOSING) {
		close_cache(&gate->cache);
	}
	pump(gate);
	tell(&waiters, &loaded);
}

enum cg_status cg_terms_cache__load(struct cg_gate *gate, struct cg_request *req)
{
	struct cg_terms_cache *cache = &gate->cache;
	struct cg_cached_wallet *cached = find(cache, &req->company);

	if (cache->is_closed) {
		return CG_CLOSING;
	}
	if (cached == NULL) {
		cached = add(cache, &req->company);
		if (cached == NULL) {
			return CG_FULL;
		}
	}
	cg_list_append(&cached->waiters, &req->work.link);
	if (!cached->is_busy) {
		make_busy(cache, cached);
		pump(gate);
	}
	return CG_OK;
}

void cg_terms_cache__changed(struct cg_gate *gate, const struct cg_uuid *company)
{
	struct cg_cached_wallet *cached = find(&gate->cache, company);

	if (cached == NULL || gate->cache.is_closed) {
		return;
	}
	cached->is_changed = true;
	if (!cached->is_busy) {
		make_busy(&gate->cache, cached);
		pump(gate);
	}
}

void cg_terms_cache__learn(struct cg_gate *gate, const struct cg_wallet *wallet)
{
	struct cg_cached_wallet *cached = find(&gate->cache, &wallet->company);

	if (cached != NULL) {
		take_over(cached, wallet);
	}
}

/* A reading has its own deadline; a request that joined it may have less time. */
static void end_waiting(struct cg_terms_cache *cache, uint64_t now_ms, struct cg_list *late)
{
	for (struct cg_list *use = cache->busy.next; use != &cache->busy; use = use->next) {
		struct cg_cached_wallet *cached =
		    CG_CONTAINER_OF(use, struct cg_cached_wallet, use);
		struct cg_list *next = NULL;
		for (struct cg_list *link = cached->waiters.next; link != &cached->waiters;
		     link = next) {
			struct cg_request *req =
			    CG_CONTAINER_OF(link, struct cg_request, work.link);
			next = link->next;
			if (req->work.loaded_by_ms <= now_ms) {
				cg_list_remove(link);
				cg_list_append(late, link);
			}
		}
	}
}

void cg_terms_cache__end_late(struct cg_gate *gate)
{
	struct cg_list late;
	struct cg_loaded timed_out = {.status = CG_TIMEOUT};

	cg_list_init(&late);
	end_waiting(&gate->cache, cg_round__now(gate), &late);
	tell(&late, &timed_out);
}

void cg_terms_cache__tick(struct cg_gate *gate)
{
	struct cg_terms_cache *cache = &gate->cache;

	/* A bounded number per tick, so that a ledger that is away costs next to nothing. */
	for (uint32_t i = 0; i < CG_TERMS_LOADS_MAX && !cg_list_is_empty(&cache->stale); i++) {
		struct cg_cached_wallet *cached =
		    CG_CONTAINER_OF(cg_list_pop(&cache->stale), struct cg_cached_wallet, queue);
		if (!cache->is_closed) {
			make_busy(cache, cached);
		}
	}
	pump(gate);
}

void cg_terms_cache__deinit(struct cg_gate *gate)
{
	struct cg_terms_cache *cache = &gate->cache;

	CG_ASSERT(cg_list_is_empty(&cache->busy));
	while (!cg_list_is_empty(&cache->idle)) {
		drop(cache, CG_CONTAINER_OF(cache->idle.next, struct cg_cached_wallet, use));
	}
	cg_slab_deinit(&cache->wallets);
	cg_slab_deinit(&cache->loads);
	free(cache->buckets);
}
