/*
 * bench_store_room: the store room under load, without gate and gRPC.  Authorize, then settle,
 * with a fixed number in flight; percentiles, and what this process and the server spend.
 *
 *   bench_store_room unix:/path/to/redis.sock [operations] [in flight]
 *
 * Not against a store in use: it takes its partitions for itself.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "histogram.h"
#include "loop/loop.h"
#include "store/store.h"

enum {
	PARTITIONS = 16,
	COMPANIES = 256,
	WINDOW_MAX = 4096,
	DEADLINE_MS = 10000,
};

struct lane {
	struct cg_store_op op;
	struct bench *bench;
	char call_id[48];
	uint64_t begun_ns;
};

struct bench {
	struct cg_loop *loop;
	struct cg_store *store;
	struct cg_partition_op partition_op;
	struct lane lanes[WINDOW_MAX];
	struct cg_histogram times;
	enum cg_store_verb verb;
	uint64_t epoch;
	uint64_t total;
	uint64_t begun;
	uint64_t ended;
	uint64_t wrong;
	unsigned window;
};

static _Noreturn void give_up(const char *why)
{
	(void)fprintf(stderr, "bench_store_room: %s\n", why);
	exit(1);
}

static struct cg_uuid company_of(uint64_t n)
{
	struct cg_uuid company = {{0xBE}};

	company.bytes[1] = (uint8_t)(n % COMPANIES);
	return company;
}

static void fill_terms(struct cg_store_op *op)
{
	op->terms = (struct cg_wallet_terms){
	    .version = 1,
	    .credit_unlimited = true,
	    .calls_max = 100000000,
	    .cut_warning_ms = 30000,
	    .currency = {"usd"},
	};
}

static void fill(struct lane *lane, uint64_t n)
{
	const struct bench *b = lane->bench;
	struct cg_store_op *op = &lane->op;
	struct cg_view call_id = {lane->call_id, 0};

	call_id.len = (size_t)snprintf(lane->call_id, sizeof lane->call_id, "b%ld-%llu-%llu",
	    (long)getpid(), (unsigned long long)b->epoch, (unsigned long long)n);
	op->verb = b->verb;
	op->company = company_of(n);
	op->deadline_at_ms = cg_loop_now_ms(b->loop) + DEADLINE_MS;
	fill_terms(op);
	if (b->verb == CG_STORE_AUTHORIZE) {
		op->in.authorize = (struct cg_store_authorize_in){
		    .call_id = call_id,
		    .resource_type = CG_VIEW_LITERAL("voice_outbound"),
		    .destination = CG_VIEW_LITERAL("+4915112345678"),
		    .has_price = true,
		    .price = {.rate_per_minute = {90000}, .increment_ms = 1000},
		    .limits = {60000, 3600000, 120000, 5000},
		};
	} else if (b->verb == CG_STORE_SETTLE) {
		op->in.settle = (struct cg_store_settle_in){
		    .call_id = call_id, .duration_ms = 61001, .basis = CG_BASIS_REPORTED};
	}
}

static void begin(struct lane *lane)
{
	struct bench *b = lane->bench;
	struct cg_store_port *port = cg_store_port(b->store);

	fill(lane, b->begun++);
	lane->begun_ns = cg_loop_clock_ns();
	port->submit(port, &lane->op);
}

static void on_done(struct cg_store_op *op)
{
	struct lane *lane = CG_CONTAINER_OF(op, struct lane, op);
	struct bench *b = lane->bench;

	cg_histogram_add(&b->times, cg_loop_clock_ns() - lane->begun_ns);
	b->wrong += op->status != CG_OK || op->outcome != CG_STORE_DONE;
	if (++b->ended == b->total) {
		cg_loop_stop(b->loop);
	} else if (b->begun < b->total) {
		begin(lane);
	}
}

static double cpu_us(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
	    (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void run(
    struct bench *b, const char *name, enum cg_store_verb verb, uint64_t total, unsigned window)
{
	b->times = (struct cg_histogram){0};
	b->verb = verb;
	b->total = total;
	b->begun = b->ended = b->wrong = 0;
	b->window = window;

	double cpu = cpu_us();
	uint64_t begin_ns = cg_loop_clock_ns();
	for (unsigned i = 0; i < window && b->begun < total; i++) {
		begin(&b->lanes[i]);
	}
	cg_loop_run(b->loop);
	double seconds = (double)(cg_loop_clock_ns() - begin_ns) / 1e9;
	cpu = cpu_us() - cpu;
	(void)printf("%-10s %4u in flight %8.0f/s  p50 %6.1f us  p99 %6.1f us  p99.9 %7.1f us"
	             "  own cpu %5.2f us  wrong %llu\n",
	    name, window, (double)total / seconds,
	    (double)cg_histogram_percentile(&b->times, 0.5) / 1e3,
	    (double)cg_histogram_percentile(&b->times, 0.99) / 1e3,
	    (double)cg_histogram_percentile(&b->times, 0.999) / 1e3, cpu / (double)total,
	    (unsigned long long)b->wrong);
}

static void on_connected(void *owner)
{
	cg_loop_stop(((struct bench *)owner)->loop);
}

static void on_partition_done(struct cg_partition_op *op)
{
	cg_loop_stop(CG_CONTAINER_OF(op, struct bench, partition_op)->loop);
}

static void ask(struct bench *b, enum cg_partition_verb verb, uint32_t partition)
{
	struct cg_partition_port *port = cg_store_partition_port(b->store);
	struct cg_partition_op *op = &b->partition_op;

	op->verb = verb;
	op->partition = partition;
	op->deadline_at_ms = cg_loop_now_ms(b->loop) + DEADLINE_MS;
	op->done = on_partition_done;
	port->submit(port, op);
	cg_loop_run(b->loop);
	if (op->status != CG_OK) {
		give_up("the partitions could not be taken into use");
	}
}

static void take_into_use(struct bench *b)
{
	const struct cg_deployment deployment = {
	    .id = {{0xBE, 0xBE}}, .partition_count = PARTITIONS};
	struct cg_partition_port *port = cg_store_partition_port(b->store);

	for (uint32_t i = 0; i < PARTITIONS; i++) {
		b->partition_op.in.hello = deployment;
		ask(b, CG_PARTITION_HELLO, i);
		uint64_t epoch = b->partition_op.out.hello.epoch + 1;
		b->partition_op.in.fence.epoch = epoch;
		b->partition_op.in.fence.deployment = deployment;
		ask(b, CG_PARTITION_FENCE, i);
		b->partition_op.in.serve.epoch = epoch;
		ask(b, CG_PARTITION_SERVE, i);
		port->set_epoch(port, i, epoch);
		b->epoch = epoch;
	}
}

int main(int argc, char **argv)
{
	static struct bench b;
	const struct cg_store_config config = {
	    .address = argc > 1 ? argv[1] : "",
	    .partition_count = PARTITIONS,
	    .inflight_max = WINDOW_MAX,
	    .connect_timeout_ms = 2000,
	    .allow_volatile = true,
	};
	uint64_t total = argc > 2 ? strtoull(argv[2], NULL, 10) : 100000;
	unsigned long window = argc > 3 ? strtoul(argv[3], NULL, 10) : 64;

	if (argc < 2 || total == 0 || window == 0 || window > WINDOW_MAX) {
		give_up(
		    "usage: bench_store_room unix:/path/to/redis.sock [operations] [in flight]");
	}
	(void)signal(SIGPIPE, SIG_IGN);
	b.loop = cg_loop_create();
	for (size_t i = 0; i < WINDOW_MAX; i++) {
		b.lanes[i] = (struct lane){.bench = &b, .op.done = on_done};
	}
	b.store = cg_store_create(b.loop, &config);
	cg_store_listen(
	    b.store, &(struct cg_partition_listener){.on_connected = on_connected, .owner = &b});
	cg_store_start(b.store);
	cg_loop_run(b.loop);
	take_into_use(&b);
	run(&b, "load", CG_STORE_LOAD, COMPANIES, 1);
	run(&b, "balance", CG_STORE_BALANCE, total, (unsigned)window);
	run(&b, "authorize", CG_STORE_AUTHORIZE, total, (unsigned)window);
	run(&b, "settle", CG_STORE_SETTLE, total, (unsigned)window);
	cg_store_close(b.store);
	cg_loop_destroy(b.loop);
	cg_store_destroy(b.store);
	return 0;
}
