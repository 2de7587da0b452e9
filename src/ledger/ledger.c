/*
 * The room's own wiring: what is made, what ticks, and in which order it ends.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "ledger/ledger_internal.h"

#define IDLE_TICK_MS 100
/* What ends does not wait for entries to gather. */
#define DRAIN_TICK_MS 5

void cg_ledger__tick_within(struct cg_ledger *ledger, uint64_t after_ms)
{
	uint64_t at_ms = cg_loop_now_ms(ledger->loop) + after_ms;

	/* Only ever nearer: kicks that come faster than the interval must not put it off. */
	if (!ledger->is_closed &&
	    (!cg_timer_is_running(ledger->tick) || at_ms < ledger->tick_at_ms)) {
		ledger->tick_at_ms = at_ms;
		cg_timer_start(ledger->tick, after_ms);
	}
}

bool cg_ledger__may_greet(const struct cg_ledger *ledger)
{
	return ledger->store_is_connected && !ledger->deployment_differs &&
	    (!cg_uuid_is_zero(&ledger->deployment.id) || cg_pool__is_away(ledger->pool));
}

void cg_ledger__distrust_all(struct cg_ledger *ledger)
{
	for (uint32_t i = 0; i < ledger->config.partition_count; i++) {
		cg_recovery__distrust(&ledger->parts[i]);
	}
}

static const char *prepare_deployment(struct cg_job *job, struct cg_params *params)
{
	struct cg_ledger *ledger = CG_CONTAINER_OF(job, struct cg_ledger, deployment_job);

	cg_params__int4(params, (int32_t)ledger->config.partition_count);
	return "select d.ret_id, d.ret_partitions from callgate.deployment_read($1) d";
}

static bool on_deployment(struct cg_job *job, enum cg_status status, const PGresult *result)
{
	struct cg_ledger *ledger = CG_CONTAINER_OF(job, struct cg_ledger, deployment_job);

	ledger->deployment_job_runs = false;
	if (status != CG_OK || ledger->is_closed) {
		return false;
	}
	/* What was greeted without knowing the deployment is greeted again. */
	cg_ledger__distrust_all(ledger);
	int64_t partitions = cg_result__int(result, 0, 1);
	if (partitions != (int64_t)ledger->config.partition_count) {
		ledger->deployment_differs = true;
		cg_log(CG_LOG_ERROR,
		    "partition count differs from the deployment's: nothing is served", "setting",
		    "partition_count", "configured", cg_log_int(ledger->config.partition_count),
		    "recorded", cg_log_int(partitions), NULL);
		return false;
	}
	ledger->deployment.id = cg_result__uuid(result, 0, 0);
	cg_ledger__tick_within(ledger, 0);
	return false;
}

static void ask_deployment(struct cg_ledger *ledger, uint64_t now_ms)
{
	if (ledger->deployment_job_runs || ledger->deployment_differs ||
	    !cg_uuid_is_zero(&ledger->deployment.id) || !cg_pool__is_connected(ledger->pool)) {
		return;
	}
	ledger->deployment_job_runs = true;
	ledger->deployment_job = (struct cg_job){.deadline_at_ms = now_ms + 5000,
	    .prepare = prepare_deployment,
	    .on_end = on_deployment};
	cg_pool__submit(ledger->pool, &ledger->deployment_job);
}

static void end_drain(struct cg_ledger *ledger, uint64_t now_ms)
{
	void (*on_drained)(void *) = ledger->on_drained;

	if (on_drained != NULL &&
	    (now_ms >= ledger->drain_deadline_at_ms ||
	        (cg_flush__is_clean(ledger) && !cg_await__has_waiters(ledger)))) {
		ledger->on_drained = NULL;
		on_drained(ledger->drained_owner);
	}
}

/* The longest until the next tick. */
static uint32_t rest_ms(const struct cg_ledger *ledger)
{
	if (ledger->on_drained != NULL) {
		return DRAIN_TICK_MS;
	}
	if (cg_await__has_waiters(ledger)) {
		return ledger->config.flush_interval_ms;
	}
	for (uint32_t i = 0; i < ledger->config.partition_count; i++) {
		if (ledger->parts[i].phase == CG_PART_SERVING && !ledger->parts[i].is_clean) {
			return ledger->config.flush_interval_ms;
		}
	}
	return IDLE_TICK_MS;
}

static void on_tick(void *owner)
{
	struct cg_ledger *ledger = owner;
	uint64_t now_ms = cg_loop_now_ms(ledger->loop);

	ledger->tick_at_ms = UINT64_MAX;
	ask_deployment(ledger, now_ms);
	cg_clocks__tick(ledger, now_ms);
	for (uint32_t i = 0; i < ledger->config.partition_count; i++) {
		cg_recovery__tick(&ledger->parts[i], now_ms);
	}
	cg_cursors__tick(ledger, now_ms);
	cg_flush__tick(ledger, now_ms);
	cg_await__tick(ledger, now_ms);
	cg_receipts__tick(ledger, now_ms);
	end_drain(ledger, now_ms);
	if (!ledger->is_closed) {
		cg_ledger__tick_within(ledger, rest_ms(ledger));
	}
}

static void on_ending(void *owner)
{
	struct cg_ledger *ledger = owner;
	struct cg_list ended;

	cg_list_init(&ended);
	for (struct cg_list *link; (link = cg_list_pop(&ledger->ending)) != NULL;) {
		cg_list_append(&ended, link);
	}
	for (struct cg_list *link; (link = cg_list_pop(&ended)) != NULL;) {
		struct cg_ledger_op *op = CG_CONTAINER_OF(link, struct cg_ledger_op, link);
		op->done(op);
	}
}

static void on_pool_open(void *owner)
{
	cg_ledger__tick_within(owner, 0);
}

static void on_store_connected(void *owner)
{
	struct cg_ledger *ledger = owner;

	ledger->store_is_connected = true;
	cg_clocks__connected(ledger);
	cg_ledger__distrust_all(ledger);
}

static void on_store_disconnected(void *owner)
{
	struct cg_ledger *ledger = owner;

	ledger->store_is_connected = false;
	cg_ledger__distrust_all(ledger);
}

static void on_refused(void *owner, uint32_t partition)
{
	struct cg_ledger *ledger = owner;

	CG_ASSERT(partition < ledger->config.partition_count);
	/* Many refusals may arrive at once; one hello that is asked after the first is enough. */
	if (ledger->parts[partition].phase == CG_PART_SERVING) {
		cg_recovery__distrust(&ledger->parts[partition]);
	}
}

static void check_config(const struct cg_ledger_config *config)
{
	CG_ASSERT(config->partition_count >= 1 && config->partition_count <= 4096);
	CG_ASSERT(config->connections >= 1 && config->connections <= 64);
	CG_ASSERT(config->flush_batch_max >= 1 && config->flush_batch_max <= 1000);
	CG_ASSERT(config->requests_max >= 1);
}

static void create_parts(struct cg_ledger *ledger)
{
	ledger->parts = calloc(ledger->config.partition_count, sizeof *ledger->parts);
	CG_ASSERT(ledger->parts != NULL);
	for (uint32_t i = 0; i < ledger->config.partition_count; i++) {
		ledger->parts[i].ledger = ledger;
		ledger->parts[i].index = i;
		cg_recovery__init(&ledger->parts[i]);
	}
}

struct cg_ledger *cg_ledger_create(struct cg_loop *loop, const struct cg_ledger_config *config,
    struct cg_partition_port *partitions)
{
	struct cg_ledger *ledger = calloc(1, sizeof *ledger);

	CG_ASSERT(ledger != NULL);
	check_config(config);
	ledger->port = cg_ops__port;
	ledger->loop = loop;
	ledger->config = *config;
	ledger->url = strdup(config->database_url);
	CG_ASSERT(ledger->url != NULL);
	ledger->config.database_url = ledger->url;
	ledger->partitions = partitions;
	ledger->deployment.partition_count = config->partition_count;
	cg_list_init(&ledger->ending);
	cg_list_init(&ledger->due);
	CG_ASSERT(cg_slab_init(&ledger->op_jobs, sizeof(struct cg_op_job), config->requests_max) ==
	    CG_OK);
	ledger->ending_timer = cg_timer_create(loop, on_ending, ledger);
	ledger->tick = cg_timer_create(loop, on_tick, ledger);
	ledger->pool = cg_pool__create(
	    loop, ledger->url, "operations", config->connections, config->connect_timeout_ms);
	ledger->flushers =
	    cg_pool__create(loop, ledger->url, "flush", CG_FLUSH_LANES, config->connect_timeout_ms);
	create_parts(ledger);
	cg_flush__create(ledger);
	cg_await__create(ledger);
	cg_receipts__create(ledger);
	cg_clocks__create(ledger);
	cg_terms__create(ledger);
	return ledger;
}

struct cg_ledger_port *cg_ledger_port(struct cg_ledger *ledger)
{
	return &ledger->port;
}

struct cg_partition_listener cg_ledger_partition_listener(struct cg_ledger *ledger)
{
	return (struct cg_partition_listener){.on_connected = on_store_connected,
	    .on_disconnected = on_store_disconnected,
	    .on_refused = on_refused,
	    .owner = ledger};
}

void cg_ledger_listen(struct cg_ledger *ledger, const struct cg_ledger_listener *listener)
{
	ledger->listener = *listener;
}

void cg_ledger_start(struct cg_ledger *ledger)
{
	cg_pool__start(ledger->pool, on_pool_open, ledger);
	cg_pool__start(ledger->flushers, on_pool_open, ledger);
	cg_terms__start(ledger);
	cg_ledger__tick_within(ledger, 0);
}

bool cg_ledger_is_connected(const struct cg_ledger *ledger)
{
	return cg_pool__is_connected(ledger->pool);
}

void cg_ledger_drain(
    struct cg_ledger *ledger, uint64_t deadline_at_ms, void (*on_drained)(void *owner), void *owner)
{
	ledger->is_stopping = true;
	ledger->on_drained = on_drained;
	ledger->drained_owner = owner;
	ledger->drain_deadline_at_ms = deadline_at_ms;
	for (uint32_t i = 0; i < ledger->config.partition_count; i++) {
		ledger->parts[i].is_clean = false; /* one more look at each */
		ledger->parts[i].look_at_ms = 0;
	}
	cg_ledger__tick_within(ledger, 0);
}

/* Statements end first, so that what they answer is heard; what still waits comes after. */
void cg_ledger_close(struct cg_ledger *ledger)
{
	ledger->is_stopping = true;
	ledger->is_closed = true;
	ledger->on_drained = NULL;
	cg_timer_close(ledger->tick);
	cg_terms__close(ledger);
	cg_pool__close(ledger->flushers);
	cg_pool__close(ledger->pool);
	cg_await__close(ledger);
	on_ending(ledger);
	cg_timer_close(ledger->ending_timer);
}

void cg_ledger_destroy(struct cg_ledger *ledger)
{
	cg_flush__destroy(ledger);
	cg_await__destroy(ledger);
	cg_receipts__destroy(ledger);
	cg_clocks__destroy(ledger);
	for (uint32_t i = 0; i < ledger->config.partition_count; i++) {
		cg_recovery__deinit(&ledger->parts[i]);
	}
	free(ledger->parts);
	cg_pool__destroy(ledger->flushers);
	cg_pool__destroy(ledger->pool);
	cg_slab_deinit(&ledger->op_jobs);
	free(ledger->url);
	free(ledger);
}
