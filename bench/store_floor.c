/*
 * callgate-bench-store: the authorize function alone, straight against a Redis of its own
 * over a blocking unix socket, with the store room's codec: what a decision costs where
 * nothing stands between.  Not against a store in use: it takes its partitions for itself.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "load/load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "store/wire.h"

enum {
	PARTITIONS = 16,
	WINDOW_MAX = 4096,
	COMPANIES_MAX = 4096,
	WARM_UP = 2000,
	OUT_BYTES = 4 * 1024 * 1024,
	IN_BYTES = 1024 * 1024,
	EPOCH = 1,
};

struct floor {
	struct load_options options;
	int socket;
	char run[17];
	struct cg_uuid companies[COMPANIES_MAX];
	uint64_t serial;
	struct load_result *result; /* NULL: untimed */

	char out_bytes[OUT_BYTES];
	struct cg_buffer out;
	char in_bytes[IN_BYTES];
	size_t in_begin;
	size_t in_end;

	/* Sent and not answered, oldest first: when each was sent. */
	uint64_t sent_ns[WINDOW_MAX];
	uint64_t sent_count;
	uint64_t answered_count;
};

static const struct cg_wire_config config = {
    .partition_count = PARTITIONS, .ended_max = 500000, .ended_keep_ms = INT64_C(172800000)};

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

_Noreturn static void give_up(const char *what, const char *why)
{
	(void)fprintf(stderr, "callgate-bench-store: %s: %s\n", what, why);
	exit(1);
}

static void flush(struct floor *f)
{
	size_t written = 0;

	CG_ASSERT(!f->out.overflow);
	while (written < f->out.len) {
		ssize_t n = write(f->socket, f->out.data + written, f->out.len - written);

		if (n < 0) {
			give_up("write", strerror(errno));
		}
		written += (size_t)n;
	}
	cg_buffer_init(&f->out, f->out_bytes, sizeof(f->out_bytes));
}

static void receive(struct floor *f)
{
	ssize_t n;

	if (f->in_begin > 0) {
		memmove(f->in_bytes, f->in_bytes + f->in_begin, f->in_end - f->in_begin);
		f->in_end -= f->in_begin;
		f->in_begin = 0;
	}
	n = read(f->socket, f->in_bytes + f->in_end, sizeof(f->in_bytes) - f->in_end);
	if (n <= 0) {
		give_up("read", n == 0 ? "the server closed the connection" : strerror(errno));
	}
	f->in_end += (size_t)n;
}

/* The next bulk reply's content if it has arrived whole. */
static bool take_reply(struct floor *f, struct cg_view *ret_reply)
{
	char *begin = f->in_bytes + f->in_begin;
	size_t left = f->in_end - f->in_begin;
	char *line_end = memchr(begin, '\n', left);
	size_t head;
	size_t len;

	if (line_end == NULL) {
		return false;
	}
	line_end[-1] = '\0';
	if (*begin != '$') {
		give_up("redis", begin);
	}
	head = (size_t)(line_end - begin) + 1;
	len = strtoul(begin + 1, NULL, 10);
	if (left < head + len + 2) {
		line_end[-1] = '\r';
		return false;
	}
	*ret_reply = (struct cg_view){begin + head, len};
	f->in_begin += head + len + 2;
	return true;
}

static struct cg_view wait_reply(struct floor *f)
{
	struct cg_view reply;

	flush(f);
	while (!take_reply(f, &reply)) {
		receive(f);
	}
	return reply;
}

/* --- Taking the partitions and loading the wallets. --- */

static void load_library(struct floor *f)
{
	struct cg_view library = cg_wire_library();

	cg_buffer_printf(&f->out, "*4\r\n$8\r\nFUNCTION\r\n$4\r\nLOAD\r\n$7\r\nREPLACE\r\n$%zu\r\n",
	    library.len);
	cg_buffer_bytes(&f->out, library.data, library.len);
	cg_buffer_bytes(&f->out, "\r\n", 2);
	(void)wait_reply(f);
}

static void run_partition(struct floor *f, struct cg_partition_op *op, const char *what)
{
	cg_wire_encode_partition(op, EPOCH, &config, &f->out);
	cg_wire_decode_partition(op, wait_reply(f));
	if (op->status != CG_OK) {
		give_up(what, cg_status_sentence(op->status));
	}
}

static void take_partition(struct floor *f, uint32_t partition)
{
	struct cg_partition_op op = {.verb = CG_PARTITION_FENCE, .partition = partition};

	op.in.fence.epoch = EPOCH;
	op.in.fence.deployment.id.bytes[0] = 1;
	op.in.fence.deployment.partition_count = PARTITIONS;
	run_partition(f, &op, "fence");
	if (op.out.fence.overtaken) {
		give_up("the store is in use", "give an empty one");
	}
	op = (struct cg_partition_op){.verb = CG_PARTITION_DROP, .partition = partition};
	op.in.drop.epoch = EPOCH;
	run_partition(f, &op, "drop");
	op = (struct cg_partition_op){.verb = CG_PARTITION_SERVE, .partition = partition};
	op.in.serve.epoch = EPOCH;
	run_partition(f, &op, "serve");
}

/* A prepaid wallet: every decision looks at its funds. */
static void set_terms(struct cg_store_op *op)
{
	op->terms = (struct cg_wallet_terms){
	    .version = 1, .calls_max = 1000000, .cut_warning_ms = 30000, .currency = {"usd"}};
}

static void encode(struct floor *f, const struct cg_store_op *op)
{
	cg_wire_encode(
	    op, cg_store_partition_of(&op->company, PARTITIONS), EPOCH, &config, &f->out);
}

static void load_wallet(struct floor *f, const struct cg_uuid *company)
{
	struct cg_store_op op = {.verb = CG_STORE_LOAD, .company = *company, .known_epoch = EPOCH};

	set_terms(&op);
	op.in.load.posted = (struct cg_money){INT64_C(900000000000000)};
	encode(f, &op);
	cg_wire_decode(&op, cg_store_partition_of(company, PARTITIONS), wait_reply(f));
	if (op.status != CG_OK || op.outcome != CG_STORE_DONE) {
		give_up("load", cg_status_sentence(op.status));
	}
}

/* --- Authorizing. --- */

static void send_one(struct floor *f)
{
	char call_id[48];
	int len = snprintf(call_id, sizeof(call_id), "%s-%" PRIu64, f->run, f->serial);
	struct cg_store_op op = {
	    .verb = CG_STORE_AUTHORIZE, .company = f->companies[f->serial % f->options.companies]};

	set_terms(&op);
	op.in.authorize = (struct cg_store_authorize_in){
	    .call_id = {call_id, (size_t)len},
	    .resource_type = CG_VIEW_LITERAL("voice_outbound"),
	    .destination = CG_VIEW_LITERAL("+447700900123"),
	    .meta = {CG_VIEW_LITERAL("\x05"
	                             "agent\x05\0bench")},
	    .has_price = true,
	    .price = {.rate_per_minute = {112000}, .increment_ms = 1000},
	    .limits = {.reserve_ms = 60000,
	        .longest_ms = 14400000,
	        .lease_ms = 120000,
	        .guard_ms = 5000},
	};
	encode(f, &op);
	f->sent_ns[f->sent_count % WINDOW_MAX] = now_ns();
	f->sent_count++;
	f->serial++;
}

static void take_answer(struct floor *f, struct cg_view reply)
{
	uint64_t begun_ns = f->sent_ns[f->answered_count % WINDOW_MAX];
	struct cg_store_op op = {.verb = CG_STORE_AUTHORIZE};

	f->answered_count++;
	cg_wire_decode(&op, 0, reply);
	if (op.status != CG_OK || op.outcome != CG_STORE_DONE) {
		give_up("authorize", cg_status_sentence(op.status));
	}
	if (f->result != NULL) {
		struct load_part *part = &f->result->parts[0];

		part->denied += op.out.authorize.decision != CG_DECISION_ALLOWED;
		cg_histogram_add(&part->durations, now_ns() - begun_ns);
	}
}

/* Keeps the window full; whatever one read brings is answered by one write. */
static void authorize(struct floor *f, uint64_t count, uint64_t end_ns)
{
	uint64_t end = f->sent_count + count;

	do {
		struct cg_view reply;

		while (f->sent_count - f->answered_count < f->options.in_flight &&
		    f->sent_count < end && now_ns() < end_ns) {
			send_one(f);
		}
		flush(f);
		if (f->sent_count == f->answered_count) {
			return;
		}
		receive(f);
		while (take_reply(f, &reply)) {
			take_answer(f, reply);
		}
	} while (true);
}

static double cpu_seconds(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage);
	return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
	    (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path)) {
		give_up(path, "not a socket's path");
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		give_up(path, strerror(errno));
	}
	return fd;
}

static void prepare(struct floor *f)
{
	struct cg_random random;

	cg_buffer_init(&f->out, f->out_bytes, sizeof(f->out_bytes));
	cg_random_init(&random, now_ns() ^ (uint64_t)getpid() << 40);
	(void)snprintf(
	    f->run, sizeof(f->run), "b%012" PRIx64, cg_random_next(&random) & 0xffffffffffffu);
	load_library(f);
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		take_partition(f, i);
	}
	for (uint32_t i = 0; i < f->options.companies; i++) {
		for (size_t j = 0; j < sizeof(f->companies[i].bytes); j++) {
			f->companies[i].bytes[j] = (uint8_t)cg_random_next(&random);
		}
		load_wallet(f, &f->companies[i]);
	}
}

static uint32_t number(const char *text, uint32_t most)
{
	unsigned long value = strtoul(text, NULL, 10);

	if (value < 1 || value > most) {
		give_up(text, "must be a number within its bounds");
	}
	return (uint32_t)value;
}

int main(int argc, char **argv)
{
	static struct floor f;
	static struct load_result result;
	double cpu_before;
	uint64_t begun_ns;

	if (argc != 5) {
		(void)fprintf(stderr,
		    "usage: callgate-bench-store SOCKET_PATH IN_FLIGHT(1..%d) "
		    "COMPANIES(1..%d) SECONDS\n"
		    "on a Redis that nobody else uses; prints one JSON object\n",
		    WINDOW_MAX, COMPANIES_MAX);
		return 2;
	}
	f.options = (struct load_options){.op = LOAD_AUTHORIZE,
	    .in_flight = number(argv[2], WINDOW_MAX),
	    .companies = number(argv[3], COMPANIES_MAX),
	    .seconds = strtod(argv[4], NULL),
	    .json = true};
	f.socket = connect_to(argv[1]);
	prepare(&f);
	authorize(&f, WARM_UP, UINT64_MAX);
	f.result = &result;
	result.part_count = 1;
	result.parts[0].name = "authorize";
	cpu_before = cpu_seconds();
	begun_ns = now_ns();
	authorize(&f, UINT64_MAX / 2, begun_ns + (uint64_t)(f.options.seconds * 1e9));
	result.seconds = (double)(now_ns() - begun_ns) / 1e9;
	result.cpu_seconds = cpu_seconds() - cpu_before;
	load_print(stdout, &f.options, &result);
	return 0;
}
