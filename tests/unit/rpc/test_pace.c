/*
 * How much of a connection is read in a turn, and that the rest is read in later ones.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "rpc/pace.h"

#define HEADERS        1
#define DATA           0
#define WINDOW_UPDATE  8
#define PREFACE        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define PAYLOAD_BYTES  20
#define FRAME_BYTES    (9 + PAYLOAD_BYTES)
#define FRAMES_MAX     1000
#define READ_BYTES_MAX 4096

struct fixture {
	int ours;
	int theirs;
	int epoll_fd;
	int vain_fd; /* who was told of; -1: nobody */
};

static int set_up(void **state)
{
	static struct fixture fixture;
	int pair[2];
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = 42};

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	fixture = (struct fixture){.ours = pair[0], .theirs = pair[1], .vain_fd = -1};
	fixture.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	assert_true(fixture.epoll_fd >= 0);
	cg_pace_begin(fixture.ours, false);
	assert_int_equal(epoll_ctl(fixture.epoll_fd, EPOLL_CTL_ADD, fixture.ours, &event), 0);
	*state = &fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)close(f->ours);
	(void)close(f->theirs);
	(void)close(f->epoll_fd);
	return 0;
}

static void on_vain(void *owner, int fd)
{
	struct fixture *f = owner;

	f->vain_fd = fd;
}

/* At once: a socket holds few small writes. */
static size_t say_frames(struct fixture *f, uint8_t type, size_t count)
{
	static const char payload[PAYLOAD_BYTES];
	static char frames[FRAMES_MAX * FRAME_BYTES];
	char header[] = {0, 0, PAYLOAD_BYTES, (char)type, 4, 0, 0, 0, 1};
	size_t len = count * FRAME_BYTES;

	assert_true(count <= FRAMES_MAX);
	for (size_t i = 0; i < count; i++) {
		memcpy(frames + i * FRAME_BYTES, header, sizeof header);
		memcpy(frames + i * FRAME_BYTES + sizeof header, payload, sizeof payload);
	}
	assert_int_equal(write(f->theirs, frames, len), len);
	return len;
}

static size_t say_hello(struct fixture *f)
{
	assert_int_equal(write(f->theirs, PREFACE, sizeof PREFACE - 1), sizeof PREFACE - 1);
	return sizeof PREFACE - 1;
}

/* As gRPC does: until there is no more. */
static size_t read_all(struct fixture *f)
{
	char bytes[16384];
	size_t len = 0;

	for (;;) {
		struct iovec iov = {.iov_base = bytes, .iov_len = sizeof bytes};
		struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t piece = recvmsg(f->ours, &message, 0);
		if (piece < 0) {
			assert_int_equal(errno, EAGAIN);
			return len;
		}
		len += (size_t)piece;
	}
}

static bool is_told(struct fixture *f)
{
	struct epoll_event event;

	return epoll_wait(f->epoll_fd, &event, 1, 0) == 1 && event.data.u64 == 42;
}

static void test_a_flood_is_read_in_pieces_and_all_of_it(void **state)
{
	struct fixture *f = *state;
	size_t said = say_hello(f) + say_frames(f, HEADERS, 1000);
	size_t turn_max = CG_PACE_WORK * FRAME_BYTES + READ_BYTES_MAX;
	uint64_t before = cg_pace_count();
	size_t len = 0;

	assert_true(is_told(f));
	while (len < said) {
		size_t piece = read_all(f);
		assert_true(piece > 0 && piece <= turn_max);
		len += piece;
		assert_false(is_told(f)); /* An edge, and there was none. */
		cg_pace_on_turn(on_vain, f);
		assert_int_equal(is_told(f), len < said);
	}
	assert_int_equal(len, said);
	assert_true(cg_pace_count() >= before + 1000 / CG_PACE_WORK / 2);
	assert_int_equal(f->vain_fd, -1);
}

static void test_messages_are_not_held_back(void **state)
{
	struct fixture *f = *state;
	size_t said = say_hello(f) + say_frames(f, DATA, 1000);

	assert_int_equal(read_all(f), said);
}

static void test_frames_of_any_kind_count(void **state)
{
	struct fixture *f = *state;
	static const char empty[9 * FRAMES_MAX]; /* DATA of no length: no window ends them */
	size_t said = say_hello(f) + say_frames(f, WINDOW_UPDATE, 500);
	size_t len = read_all(f);

	assert_true(len < said);
	while (len < said) {
		cg_pace_on_turn(on_vain, f);
		len += read_all(f);
	}
	cg_pace_on_turn(on_vain, f);
	assert_int_equal(write(f->theirs, empty, sizeof empty), sizeof empty);
	assert_true(read_all(f) < sizeof empty);
}

/* A thread that waits for gRPC is told of what comes meanwhile. */
static void test_what_comes_while_it_is_held_back_changes_nothing(void **state)
{
	struct fixture *f = *state;

	(void)say_hello(f);
	(void)say_frames(f, HEADERS, 2 * READ_BYTES_MAX / FRAME_BYTES);
	(void)read_all(f);
	uint64_t before = cg_pace_count();
	for (uint32_t i = 0; i < CG_PACE_VAIN_MAX; i++) {
		(void)say_frames(f, HEADERS, 1);
		assert_int_equal(read_all(f), 0);
	}
	assert_int_equal(cg_pace_count(), before);
	cg_pace_on_turn(on_vain, f);
	assert_int_equal(f->vain_fd, -1);
	assert_true(is_told(f));
	assert_true(read_all(f) > 0);
}

/* The connection has ended, and somebody else watches a descriptor of the same number. */
static void test_a_number_that_is_somebody_elses_has_no_pace(void **state)
{
	struct fixture *f = *state;
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 43};
	struct epoll_event told;

	(void)say_hello(f);
	(void)say_frames(f, HEADERS, 1000);
	(void)read_all(f); /* It is held back when it ends. */
	(void)close(f->theirs);
	int fd = f->ours;
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(dup2(pair[0], fd), fd);
	(void)close(pair[0]);
	f->theirs = pair[1];
	assert_int_equal(epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, fd, &event), 0);
	size_t said = say_frames(f, HEADERS, 1000);
	cg_pace_on_turn(on_vain, f);
	assert_int_equal(epoll_wait(f->epoll_fd, &told, 1, 0), 1);
	assert_int_equal(told.data.u64, 43);
	assert_int_equal(read_all(f), said);
}

static void test_what_others_read_is_theirs(void **state)
{
	struct fixture *f = *state;
	int ours = f->ours;
	size_t said = say_hello(f) + say_frames(f, HEADERS, 1000);

	f->ours = dup(ours);
	assert_int_equal(read_all(f), said);
	(void)close(f->ours);
	f->ours = ours;
}

static void hold_back(struct fixture *f, uint32_t times)
{
	for (uint32_t i = 0; i < times; i++) {
		(void)say_frames(f, HEADERS, READ_BYTES_MAX / FRAME_BYTES + 1);
		(void)read_all(f);
		cg_pace_on_turn(on_vain, f);
	}
}

static void test_who_is_held_back_in_vain_is_told_of(void **state)
{
	struct fixture *f = *state;

	(void)say_hello(f);
	hold_back(f, CG_PACE_VAIN_MAX - 1);
	cg_pace_note_use(f->ours);
	hold_back(f, CG_PACE_VAIN_MAX - 1);
	assert_int_equal(f->vain_fd, -1);
	hold_back(f, 1);
	assert_int_equal(f->vain_fd, f->ours);
}

#define PACE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    PACE_TEST(test_a_flood_is_read_in_pieces_and_all_of_it),
	    PACE_TEST(test_messages_are_not_held_back),
	    PACE_TEST(test_frames_of_any_kind_count),
	    PACE_TEST(test_what_comes_while_it_is_held_back_changes_nothing),
	    PACE_TEST(test_a_number_that_is_somebody_elses_has_no_pace),
	    PACE_TEST(test_what_others_read_is_theirs),
	    PACE_TEST(test_who_is_held_back_in_vain_is_told_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
