/* SPDX-License-Identifier: Apache-2.0 */
#include "turn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "loop/address.h"
#include "loop/stream.h"

#define LARGE_BYTES ((size_t)8 << 20)

/* The stream's owner, and the other end: plain descriptors of this same thread. */
struct fixture {
	struct cg_loop *loop;
	struct cg_stream *stream;
	char dir[64];
	char address[96];
	int listener;
	int peer;
	unsigned opened;
	unsigned ended;
	unsigned written_ok;
	unsigned written_failed;
	unsigned wrong_order;
	size_t wrong_bytes;
	size_t received;
	char why[96];
	bool close_on_open, close_on_bytes, close_on_end, close_on_written;
	bool done;
};

static void close_if(struct fixture *f, bool wanted)
{
	if (wanted && f->stream != NULL) {
		cg_stream_close(f->stream);
		f->stream = NULL;
	}
}

static void on_open(void *owner)
{
	struct fixture *f = owner;

	f->opened++;
	f->done = true;
	close_if(f, f->close_on_open);
}

static void on_bytes(void *owner, struct cg_view bytes)
{
	struct fixture *f = owner;

	f->received += bytes.len;
	f->done = true;
	close_if(f, f->close_on_bytes);
}

static void on_end(void *owner, const char *why)
{
	struct fixture *f = owner;

	f->ended++;
	f->done = true;
	(void)snprintf(f->why, sizeof f->why, "%s", why);
	close_if(f, f->close_on_end);
}

static void on_written(void *owner, bool ok)
{
	struct fixture *f = owner;

	f->wrong_order += f->ended;
	if (ok) {
		f->written_ok++;
	} else {
		f->written_failed++;
	}
	f->done = true;
	close_if(f, f->close_on_written);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->loop = cg_loop_create();
	f->listener = -1;
	f->peer = -1;
	(void)strcpy(f->dir, "/tmp/cg-stream-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->address, sizeof f->address, "unix:%s/s", f->dir);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	close_if(f, true);
	cg_loop_destroy(f->loop);
	if (f->peer >= 0) {
		(void)close(f->peer);
	}
	if (f->listener >= 0) {
		(void)close(f->listener);
	}
	(void)unlink(f->address + 5);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static void listen_unix(struct fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", f->address + 5);
	f->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(f->listener, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(f->listener, 8), 0);
}

static void listen_tcp(struct fixture *f, const char *host)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof address;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	f->listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(f->listener, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(f->listener, 8), 0);
	assert_int_equal(getsockname(f->listener, (struct sockaddr *)&address, &len), 0);
	(void)snprintf(f->address, sizeof f->address, "%s:%d", host, ntohs(address.sin_port));
}

static void connect_stream(struct fixture *f, uint64_t timeout_ms)
{
	const struct cg_stream_events events = {
	    .on_open = on_open, .on_bytes = on_bytes, .on_end = on_end, .owner = f};

	f->stream = cg_stream_connect(f->loop, f->address, timeout_ms, &events);
	assert_int_equal(f->opened + f->ended, 0);
}

static void wait_done(struct fixture *f)
{
	assert_true(turn_until(f->loop, turn_flag, &f->done, 5000));
	f->done = false;
}

static void open_stream(struct fixture *f)
{
	connect_stream(f, 2000);
	wait_done(f);
	assert_int_equal(f->opened, 1);
	f->peer = accept(f->listener, NULL, NULL);
	assert_true(f->peer >= 0);
}

static void reset_peer(struct fixture *f)
{
	const struct linger now = {.l_onoff = 1, .l_linger = 0};

	assert_int_equal(setsockopt(f->peer, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
	assert_int_equal(close(f->peer), 0);
	f->peer = -1;
}

static void expect_end_alone(struct fixture *f)
{
	wait_done(f);
	assert_int_equal(f->opened, 0);
	assert_int_equal(f->ended, 1);
	assert_true(f->why[0] != '\0');
	turn_for(f->loop, 20);
	assert_int_equal(f->ended, 1);
}

static void test_nobody_at_the_path_is_one_end(void **state)
{
	struct fixture *f = *state;

	connect_stream(f, 1000);
	expect_end_alone(f);
}

static void test_a_refused_path_is_one_end(void **state)
{
	struct fixture *f = *state;

	listen_unix(f);
	assert_int_equal(close(f->listener), 0);
	f->listener = -1;
	connect_stream(f, 1000);
	expect_end_alone(f);
}

static void test_a_refused_port_is_one_end(void **state)
{
	struct fixture *f = *state;

	listen_tcp(f, "127.0.0.1");
	assert_int_equal(close(f->listener), 0);
	f->listener = -1;
	connect_stream(f, 1000);
	expect_end_alone(f);
}

static void test_addresses_that_are_none_end_too(void **state)
{
	static const char *const bad[] = {"", "unix:", "host", "host:0", "host:65536", "host:-1",
	    "::1:80", ":80", "[]:80", "host:port", "host:080000"};
	char too_long[256] = "unix:/";
	struct fixture *f = *state;

	memset(too_long + 6, 'x', sizeof too_long - 7);
	for (size_t i = 0; i <= CG_COUNT_OF(bad); i++) {
		const char *address = i < CG_COUNT_OF(bad) ? bad[i] : too_long;
		const struct cg_stream_events events = {
		    .on_open = on_open, .on_bytes = on_bytes, .on_end = on_end, .owner = f};

		f->ended = 0;
		f->stream = cg_stream_connect(f->loop, address, 1000, &events);
		assert_int_equal(f->ended, 0);
		expect_end_alone(f);
		close_if(f, true);
	}
}

static void test_addresses_are_read(void **state)
{
	struct cg_address a;

	(void)state;
	assert_true(cg_address_parse("unix:/run/x.sock", &a));
	assert_true(a.is_unix);
	assert_string_equal(a.host, "/run/x.sock");
	assert_true(cg_address_parse("10.0.0.5:6379", &a));
	assert_false(a.is_unix);
	assert_string_equal(a.host, "10.0.0.5");
	assert_string_equal(a.port, "6379");
	assert_true(cg_address_parse("[::1]:80", &a));
	assert_string_equal(a.host, "::1");
	assert_string_equal(a.port, "80");
}

static void test_a_listener_that_does_not_answer_is_a_timeout(void **state)
{
	struct fixture *f = *state;

	/* An address that is nobody's (RFC 5737) either swallows us or is unreachable. */
	(void)strcpy(f->address, "192.0.2.1:9");
	connect_stream(f, 50);
	expect_end_alone(f);
}

static void round_trip(struct fixture *f)
{
	char bytes[8];

	open_stream(f);
	assert_true(cg_stream_write(f->stream, CG_VIEW_LITERAL("ping"), on_written));
	assert_int_equal(recv(f->peer, bytes, sizeof bytes, 0), 4);
	assert_int_equal(send(f->peer, "pong!", 5, 0), 5);
	wait_done(f);
	assert_int_equal(f->received, 5);
	turn_for(f->loop, 5);
	/* What left at once is not reported twice. */
	assert_int_equal(f->written_ok + f->written_failed, 0);
	assert_int_equal(f->ended, 0);
}

static void test_bytes_go_and_come_over_a_unix_socket(void **state)
{
	struct fixture *f = *state;

	listen_unix(f);
	round_trip(f);
}

static void test_bytes_go_and_come_over_tcp(void **state)
{
	struct fixture *f = *state;

	listen_tcp(f, "127.0.0.1");
	round_trip(f);
}

static void test_a_name_is_resolved(void **state)
{
	struct fixture *f = *state;

	listen_tcp(f, "localhost");
	connect_stream(f, 2000);
	wait_done(f);
	/* Where localhost is ::1 first it is refused: an answer either way. */
	assert_int_equal(f->opened + f->ended, 1);
}

static void test_a_stream_closed_while_its_name_is_looked_up_is_silent(void **state)
{
	struct fixture *f = *state;

	listen_tcp(f, "localhost");
	connect_stream(f, 2000);
	close_if(f, true);
	turn_for(f->loop, 50);
	assert_int_equal(f->opened + f->ended, 0);
}

static void test_eof_is_one_end(void **state)
{
	struct fixture *f = *state;

	listen_unix(f);
	open_stream(f);
	assert_int_equal(shutdown(f->peer, SHUT_WR), 0);
	wait_done(f);
	assert_int_equal(f->ended, 1);
	assert_string_equal(f->why, "closed by the peer");
	assert_false(cg_stream_write(f->stream, CG_VIEW_LITERAL("late"), on_written));
	turn_for(f->loop, 10);
	assert_int_equal(f->ended + f->written_failed + f->written_ok, 1);
}

static void test_a_reset_with_bytes_pending_is_one_end(void **state)
{
	struct fixture *f = *state;

	listen_tcp(f, "127.0.0.1");
	open_stream(f);
	assert_true(cg_stream_write(f->stream, CG_VIEW_LITERAL("never read"), on_written));
	reset_peer(f);
	wait_done(f);
	turn_for(f->loop, 10);
	assert_int_equal(f->ended, 1);
	assert_int_equal(f->written_ok + f->written_failed, 0);
}

static void test_writing_to_a_peer_that_is_gone_is_one_end(void **state)
{
	struct fixture *f = *state;

	listen_unix(f);
	open_stream(f);
	assert_int_equal(close(f->peer), 0);
	f->peer = -1;
	/* The loop has not seen it yet: the write does, and says so later. */
	assert_false(cg_stream_write(f->stream, CG_VIEW_LITERAL("gone"), on_written));
	assert_int_equal(f->ended + f->written_failed, 0);
	assert_true(turn_until(f->loop, turn_flag, &f->done, 2000));
	turn_for(f->loop, 10);
	assert_int_equal(f->written_failed, 1);
	assert_int_equal(f->ended, 1);
	assert_int_equal(f->wrong_order, 0);
}

/* Different at each place of the large write, as far as a byte can be. */
static char byte_at(size_t place)
{
	return (char)(place % 251);
}

static size_t read_some(struct fixture *f, size_t upto, size_t from)
{
	static char sink[65536];
	size_t total = 0;

	while (total < upto) {
		ssize_t n = recv(f->peer, sink, sizeof sink, MSG_DONTWAIT);
		if (n <= 0) {
			break;
		}
		for (size_t i = 0; i < (size_t)n; i++) {
			f->wrong_bytes += sink[i] != byte_at(from + total + i);
		}
		total += (size_t)n;
	}
	return total;
}

struct drain {
	struct fixture *f;
	size_t total;
};

static bool drained(void *arg)
{
	struct drain *d = arg;

	d->total += read_some(d->f, 100000, d->total);
	return d->total >= LARGE_BYTES;
}

static void on_tick(void *owner)
{
	cg_timer_start(*(struct cg_timer **)owner, 1);
}

static void test_a_large_write_outlasts_a_slow_reader(void **state)
{
	struct fixture *f = *state;
	char *large = malloc(LARGE_BYTES);
	struct drain d = {.f = f};
	struct cg_timer *tick = NULL;

	for (size_t i = 0; i < LARGE_BYTES; i++) {
		large[i] = byte_at(i);
	}
	listen_unix(f);
	open_stream(f);
	assert_false(cg_stream_write(f->stream, (struct cg_view){large, LARGE_BYTES}, on_written));
	assert_int_equal(f->written_ok, 0);
	turn_for(f->loop, 10);
	assert_int_equal(f->written_ok, 0);
	tick = cg_timer_create(f->loop, on_tick, &tick);
	cg_timer_start(tick, 1);
	assert_true(turn_until(f->loop, drained, &d, 10000));
	cg_timer_close(tick);
	wait_done(f);
	assert_int_equal(f->written_ok, 1);
	assert_int_equal(d.total, LARGE_BYTES);
	assert_int_equal(f->wrong_bytes, 0);
	assert_true(cg_stream_write(f->stream, CG_VIEW_LITERAL("more"), on_written));
	free(large);
}

static void test_a_reset_during_a_large_write_fails_it_before_the_end(void **state)
{
	struct fixture *f = *state;
	char *large = calloc(1, LARGE_BYTES);

	listen_tcp(f, "127.0.0.1");
	open_stream(f);
	assert_false(cg_stream_write(f->stream, (struct cg_view){large, LARGE_BYTES}, on_written));
	reset_peer(f);
	wait_done(f);
	turn_for(f->loop, 20);
	assert_int_equal(f->written_failed, 1);
	assert_int_equal(f->written_ok, 0);
	assert_int_equal(f->ended, 1);
	assert_int_equal(f->wrong_order, 0);
	free(large);
}

static void test_closing_inside_each_callback_is_the_last_word(void **state)
{
	struct fixture *f = *state;
	char *large = calloc(1, LARGE_BYTES);

	f->close_on_open = true;
	listen_unix(f);
	connect_stream(f, 1000);
	wait_done(f);
	turn_for(f->loop, 10);
	assert_int_equal(f->opened, 1);
	assert_int_equal(f->ended, 0);
	f->peer = accept(f->listener, NULL, NULL);
	assert_int_equal(close(f->peer), 0);

	f->close_on_open = false;
	f->close_on_bytes = true;
	f->opened = 0;
	open_stream(f);
	assert_int_equal(send(f->peer, "abc", 3, 0), 3);
	assert_int_equal(close(f->peer), 0);
	wait_done(f);
	turn_for(f->loop, 10);
	assert_int_equal(f->received, 3);
	assert_int_equal(f->ended, 0);

	f->close_on_bytes = false;
	f->close_on_end = true;
	f->opened = 0;
	open_stream(f);
	assert_int_equal(close(f->peer), 0);
	wait_done(f);
	turn_for(f->loop, 10);
	assert_int_equal(f->ended, 1);

	/* The failed write's callback closes: there is no end after it. */
	f->close_on_written = true;
	f->opened = 0;
	f->ended = 0;
	open_stream(f);
	assert_false(cg_stream_write(f->stream, (struct cg_view){large, LARGE_BYTES}, on_written));
	assert_int_equal(close(f->peer), 0);
	f->peer = -1;
	wait_done(f);
	turn_for(f->loop, 10);
	assert_int_equal(f->written_failed, 1);
	assert_int_equal(f->ended, 0);
	free(large);
}

static void test_closing_with_a_write_under_way_is_silent(void **state)
{
	struct fixture *f = *state;
	char *large = calloc(1, LARGE_BYTES);

	listen_unix(f);
	open_stream(f);
	assert_false(cg_stream_write(f->stream, (struct cg_view){large, LARGE_BYTES}, on_written));
	close_if(f, true);
	free(large);
	turn_for(f->loop, 10);
	assert_int_equal(f->written_ok + f->written_failed + f->ended, 0);
}

static void test_a_loop_destroyed_under_a_stream_frees_it(void **state)
{
	struct fixture *f = *state;

	listen_unix(f);
	open_stream(f);
	f->stream = NULL; /* The loop closes it in tear_down; the leak checker looks. */
}

#define STREAM_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    STREAM_TEST(test_nobody_at_the_path_is_one_end),
	    STREAM_TEST(test_a_refused_path_is_one_end),
	    STREAM_TEST(test_a_refused_port_is_one_end),
	    STREAM_TEST(test_addresses_that_are_none_end_too),
	    cmocka_unit_test(test_addresses_are_read),
	    STREAM_TEST(test_a_listener_that_does_not_answer_is_a_timeout),
	    STREAM_TEST(test_bytes_go_and_come_over_a_unix_socket),
	    STREAM_TEST(test_bytes_go_and_come_over_tcp),
	    STREAM_TEST(test_a_name_is_resolved),
	    STREAM_TEST(test_a_stream_closed_while_its_name_is_looked_up_is_silent),
	    STREAM_TEST(test_eof_is_one_end),
	    STREAM_TEST(test_a_reset_with_bytes_pending_is_one_end),
	    STREAM_TEST(test_writing_to_a_peer_that_is_gone_is_one_end),
	    STREAM_TEST(test_a_large_write_outlasts_a_slow_reader),
	    STREAM_TEST(test_a_reset_during_a_large_write_fails_it_before_the_end),
	    STREAM_TEST(test_closing_inside_each_callback_is_the_last_word),
	    STREAM_TEST(test_closing_with_a_write_under_way_is_silent),
	    STREAM_TEST(test_a_loop_destroyed_under_a_stream_frees_it),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
