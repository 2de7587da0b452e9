/*
 * The probe before a listener that does as it is told.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "rpc/probe.h"

#define INTERVAL_MS 20
#define TIMEOUT_MS  200
#define LOOKS_MAX   64
#define CROWD_MAX   8192

/* A frame: its length, type, flags, stream, and content. */
#define SETTINGS     "\0\0\0\x04\0\0\0\0\0"
#define HEADERS_OF_1 "\0\0\x01\x01\x05\0\0\0\x01\x88"
#define HEADERS_OF_3 "\0\0\x01\x01\x05\0\0\0\x03\x88"
#define DATA_WITH_IT "\0\0\x0A\0\0\0\0\0\x05" HEADERS_OF_1

enum manner {
	SILENT,
	CLOSING,
	ANSWERING,
	ANSWERING_BY_BYTES,
	SAYING_ELSE, /* frames that are no answer */
	STALLING,    /* silent, and the whole loop with it, the first time; then answering */
};

struct fixture {
	struct cg_loop *loop;
	struct cg_rpc_probe *probe;
	struct cg_watch *watch;
	struct cg_timer *end;
	char folder[32];
	char path[64];
	int fd;
	int peers[LOOKS_MAX];
	size_t peer_count;
	uint64_t *accepted; /* the server's, which is gone before the probe is */
	enum manner manner;
	unsigned deaths;
};

static void say(int fd, const char *bytes, size_t len)
{
	assert_int_equal(write(fd, bytes, len), len);
}

static void stall(void)
{
	const struct timespec time = {.tv_sec = 2, .tv_nsec = 0};

	assert_int_equal(nanosleep(&time, NULL), 0);
}

static void behave(struct fixture *f, int fd)
{
	static const char answer[] = SETTINGS HEADERS_OF_1;
	static const char else_said[] = SETTINGS HEADERS_OF_3 DATA_WITH_IT;

	switch (f->manner) {
	case SILENT:
		return;
	case CLOSING:
		(void)shutdown(fd, SHUT_RDWR);
		return;
	case ANSWERING:
		say(fd, answer, sizeof answer - 1);
		return;
	case ANSWERING_BY_BYTES:
		for (size_t i = 0; i < sizeof answer - 1; i++) {
			say(fd, answer + i, 1);
		}
		return;
	case SAYING_ELSE:
		say(fd, else_said, sizeof else_said - 1);
		return;
	case STALLING:
		if (f->peer_count == 1) {
			stall();
			f->manner = ANSWERING;
		}
		return;
	}
}

static void on_connection(void *owner, unsigned events)
{
	struct fixture *f = owner;
	int fd = accept(f->fd, NULL, NULL);

	(void)events;
	assert_true(fd >= 0);
	assert_true(f->peer_count < LOOKS_MAX);
	f->peers[f->peer_count++] = fd;
	(*f->accepted)++;
	behave(f, fd);
}

static void on_dead(void *owner)
{
	struct fixture *f = owner;

	f->deaths++;
	cg_loop_stop(f->loop);
}

static void on_end(void *owner)
{
	struct fixture *f = owner;

	cg_loop_stop(f->loop);
}

static void listen_at(struct fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", f->path);
	f->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_true(f->fd >= 0);
	assert_int_equal(bind(f->fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(f->fd, LOOKS_MAX), 0);
	f->watch = cg_watch_create(f->loop, f->fd, on_connection, f);
	cg_watch_set(f->watch, CG_WATCH_READ);
}

static void begin(struct fixture *f, bool listens)
{
	f->loop = cg_loop_create();
	(void)snprintf(f->folder, sizeof f->folder, "/tmp/cg-probe-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	(void)snprintf(f->path, sizeof f->path, "%s/s", f->folder);
	if (listens) {
		listen_at(f);
	}
}

/* Runs a probe for so long; whether the listener was found dead. */
static bool run(struct fixture *f, uint64_t for_ms)
{
	char address[80];

	(void)snprintf(address, sizeof address, "unix:%s", f->path);
	f->end = cg_timer_create(f->loop, on_end, f);
	cg_timer_start(f->end, for_ms);
	f->accepted = calloc(1, sizeof *f->accepted);
	assert_non_null(f->accepted);
	struct cg_rpc_probe_config config = {
	    .address = address,
	    .interval_ms = INTERVAL_MS,
	    .timeout_ms = TIMEOUT_MS,
	    .failures_max = 2,
	    .accepted = f->accepted,
	};
	f->probe = cg_rpc_probe_open(f->loop, &config, on_dead, f);
	cg_loop_run(f->loop);
	return f->deaths > 0;
}

static bool is_found_dead(struct fixture *f, enum manner manner, bool listens, uint64_t for_ms)
{
	memset(f, 0, sizeof *f);
	f->manner = manner;
	begin(f, listens);
	return run(f, for_ms);
}

static void tear_down(struct fixture *f)
{
	free(f->accepted);
	cg_rpc_probe_close(f->probe);
	cg_timer_close(f->end);
	if (f->watch != NULL) {
		cg_watch_close(f->watch);
		(void)close(f->fd);
		(void)unlink(f->path);
	}
	for (size_t i = 0; i < f->peer_count; i++) {
		(void)close(f->peers[i]);
	}
	(void)rmdir(f->folder);
	cg_loop_destroy(f->loop);
}

static void expect_alive(enum manner manner)
{
	struct fixture f;

	assert_false(is_found_dead(&f, manner, true, 1500));
	assert_true(*cg_rpc_probe_looks(f.probe) >= 3);
	assert_int_equal(*cg_rpc_probe_failures(f.probe), 0);
	tear_down(&f);
}

static void expect_dead(enum manner manner, bool listens)
{
	struct fixture f;

	assert_true(is_found_dead(&f, manner, listens, 20000));
	assert_int_equal(f.deaths, 1);
	assert_int_equal(*cg_rpc_probe_failures(f.probe), 2);
	tear_down(&f);
}

static void test_an_answer_is_life_however_it_comes(void **state)
{
	(void)state;
	expect_alive(ANSWERING);
	expect_alive(ANSWERING_BY_BYTES);
}

static void test_who_accepts_and_closes_is_alive(void **state)
{
	(void)state;
	expect_alive(CLOSING);
}

static void test_silence_is_death(void **state)
{
	(void)state;
	expect_dead(SILENT, true);
}

static void test_frames_that_are_no_answer_are_silence(void **state)
{
	(void)state;
	expect_dead(SAYING_ELSE, true);
}

static void test_a_socket_that_is_not_there_is_death(void **state)
{
	(void)state;
	expect_dead(SILENT, false);
}

struct crowd {
	struct fixture f;
	struct cg_timer *timer;
	int fds[CROWD_MAX];
	size_t count;
};

/* As many as can wait before the door. */
static void crowd_in(struct crowd *c)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", c->f.path);
	for (;;) {
		assert_true(c->count < CROWD_MAX);
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		assert_true(fd >= 0);
		if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
			assert_int_equal(errno, EAGAIN);
			(void)close(fd);
			return;
		}
		c->fds[c->count++] = fd;
	}
}

/* One is let in, and another one is there before anybody else. */
static void let_one_in(void *owner)
{
	struct crowd *c = owner;
	int fd = accept(c->f.fd, NULL, NULL);

	assert_true(fd >= 0);
	(void)close(fd);
	(*c->f.accepted)++;
	(void)close(c->fds[--c->count]);
	crowd_in(c);
	cg_timer_start(c->timer, 5);
}

/* Whether a listener is found dead before which no more can wait. */
static void look_behind_a_crowd(bool lets_in, bool expect_dead_listener)
{
	static struct crowd c;
	struct fixture *f = &c.f;

	c = (struct crowd){0};
	begin(f, true);
	cg_watch_set(f->watch, 0);
	crowd_in(&c);
	c.timer = cg_timer_create(f->loop, let_one_in, &c);
	if (lets_in) {
		cg_timer_start(c.timer, 5);
	}
	assert_int_equal(run(f, 1500), expect_dead_listener);
	assert_true(*cg_rpc_probe_looks(f->probe) >= 2);
	cg_timer_close(c.timer);
	for (size_t i = 0; i < c.count; i++) {
		(void)close(c.fds[i]);
	}
	tear_down(f);
}

static void test_who_lets_a_crowd_in_is_alive(void **state)
{
	(void)state;
	look_behind_a_crowd(true, false);
	look_behind_a_crowd(false, true);
}

static void test_time_that_passed_without_us_says_nothing(void **state)
{
	struct fixture f;

	(void)state;
	/* Ten times the timeout goes by while a look is under way, and nothing runs. */
	assert_false(is_found_dead(&f, STALLING, true, 4000));
	assert_int_equal(*cg_rpc_probe_failures(f.probe), 0);
	assert_true(f.peer_count >= 3);
	tear_down(&f);
}

static void test_a_stopped_probe_does_not_look(void **state)
{
	struct fixture f;

	(void)state;
	assert_false(is_found_dead(&f, ANSWERING, true, 300));
	uint64_t looks = *cg_rpc_probe_looks(f.probe);
	cg_rpc_probe_stop(f.probe);
	cg_timer_start(f.end, 500);
	cg_loop_run(f.loop);
	assert_int_equal(*cg_rpc_probe_looks(f.probe), looks);
	tear_down(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_an_answer_is_life_however_it_comes),
	    cmocka_unit_test(test_who_accepts_and_closes_is_alive),
	    cmocka_unit_test(test_silence_is_death),
	    cmocka_unit_test(test_frames_that_are_no_answer_are_silence),
	    cmocka_unit_test(test_a_socket_that_is_not_there_is_death),
	    cmocka_unit_test(test_who_lets_a_crowd_in_is_alive),
	    cmocka_unit_test(test_time_that_passed_without_us_says_nothing),
	    cmocka_unit_test(test_a_stopped_probe_does_not_look),
	};

	(void)signal(SIGPIPE, SIG_IGN); /* As the daemon does. */
	return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
