/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/pace.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* At once, so that a small request's worth of frames is not read far beyond the number. */
#define READ_BYTES_MAX 4096
#define IOVS_MAX       8

/* What one reading counts for where frames cannot be seen: some four of them in a turn. */
#define WORK_PER_ENCRYPTED_READ (CG_PACE_WORK / 4)

/* Held back at once; one more is not. */
#define HELD_MAX 1024

/* Of headers: a byte may stand for one of kilobytes that was sent before. */
#define BYTES_PER_WORK 64

#define PREFACE_BYTES      24
#define FRAME_HEADER_BYTES 9

#define FRAME_DATA 0

/*
 * gRPC reads a connection in one thread at a time; what others look at too is atomic or under the
 * lock, the loop's thread aside, in which a connection begins.
 */
struct pace {
	uint32_t skip_bytes; /* until the next frame's header */
	uint32_t header_len; /* of it that was read */
	uint32_t turn;       /* in which `work` was read */
	uint32_t work;
	int epoll_fd; /* where gRPC waits for it, and as what; -1: nowhere yet; under the lock */
	uint32_t vain_count; /* the loop's: how often it was held back since it was of use */
	atomic_bool is_paced;
	bool is_encrypted;
	bool is_held; /* under the lock */
	uint8_t header[FRAME_HEADER_BYTES];
	struct epoll_event event; /* as `epoll_fd` */
};

static struct pace paces[CG_PACE_FD_MAX];
static atomic_uint turns;
static atomic_uint_least64_t held_total;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int held[HELD_MAX];
static uint32_t held_count;

static void must(int error)
{
	CG_ASSERT(error == 0);
}

static struct pace *pace_of(int fd)
{
	return fd >= 0 && fd < CG_PACE_FD_MAX && atomic_load(&paces[fd].is_paced) ? &paces[fd]
	                                                                          : NULL;
}

void cg_pace_begin(int fd, bool is_encrypted)
{
	if (fd < 0 || fd >= CG_PACE_FD_MAX) {
		return;
	}
	struct pace *pace = &paces[fd];
	must(pthread_mutex_lock(&lock));
	pace->is_encrypted = is_encrypted;
	pace->skip_bytes = PREFACE_BYTES;
	pace->header_len = 0;
	pace->work = 0;
	pace->epoll_fd = -1;
	pace->vain_count = 0;
	atomic_store(&pace->is_paced, true);
	must(pthread_mutex_unlock(&lock));
}

uint64_t cg_pace_count(void)
{
	return atomic_load(&held_total);
}

/* What a frame makes of work before anybody knows what it is good for. */
static uint32_t work_of(uint8_t type, uint32_t len)
{
	/* Empty ones need no room in a window: there may be any number of them. */
	return type == FRAME_DATA && len > 0 ? 0 : 1 + len / BYTES_PER_WORK;
}

static void count_frames(struct pace *pace, const uint8_t *bytes, size_t len)
{
	while (len > 0) {
		if (pace->skip_bytes > 0) {
			size_t skipped = len < pace->skip_bytes ? len : pace->skip_bytes;
			pace->skip_bytes -= (uint32_t)skipped;
			bytes += skipped;
			len -= skipped;
			continue;
		}
		pace->header[pace->header_len++] = *bytes++;
		len--;
		if (pace->header_len == FRAME_HEADER_BYTES) {
			const uint8_t *header = pace->header;
			pace->header_len = 0;
			pace->skip_bytes =
			    (uint32_t)header[0] << 16 | (uint32_t)header[1] << 8 | header[2];
			pace->work += work_of(header[3], pace->skip_bytes);
		}
	}
}

static void count_read(struct pace *pace, const struct msghdr *message, size_t len)
{
	if (pace->is_encrypted) {
		pace->work += WORK_PER_ENCRYPTED_READ;
		return;
	}
	for (size_t i = 0; i < message->msg_iovlen && len > 0; i++) {
		const struct iovec *iov = &message->msg_iov[i];
		size_t piece = len < iov->iov_len ? len : iov->iov_len;
		count_frames(pace, iov->iov_base, piece);
		len -= piece;
	}
}

/* Whether it waits for the next turn now; where too many do, it goes on. */
static bool hold_back(int fd)
{
	struct pace *pace = &paces[fd];

	must(pthread_mutex_lock(&lock));
	/* More may have come meanwhile, of which a thread that waits for gRPC is told at once. */
	if (!pace->is_held && held_count < HELD_MAX) {
		pace->is_held = true;
		held[held_count++] = fd;
		atomic_fetch_add(&held_total, 1);
	}
	bool is_held = pace->is_held;
	must(pthread_mutex_unlock(&lock));
	return is_held;
}

static ssize_t read_some(int fd, struct msghdr *message, int flags)
{
	struct iovec iovs[IOVS_MAX];
	struct msghdr some = *message;
	size_t left = READ_BYTES_MAX;

	some.msg_iov = iovs;
	some.msg_iovlen = 0;
	for (size_t i = 0; i < message->msg_iovlen && i < IOVS_MAX && left > 0; i++) {
		iovs[i] = message->msg_iov[i];
		if (iovs[i].iov_len > left) {
			iovs[i].iov_len = left;
		}
		left -= iovs[i].iov_len;
		some.msg_iovlen++;
	}
	ssize_t len = syscall(SYS_recvmsg, fd, &some, flags);
	message->msg_namelen = some.msg_namelen;
	message->msg_controllen = some.msg_controllen;
	message->msg_flags = some.msg_flags;
	return len;
}

/* In place of libc's: how gRPC reads. */
__attribute__((visibility("default"))) ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	struct pace *pace = pace_of(fd);

	if (pace == NULL || (flags & (MSG_ERRQUEUE | MSG_PEEK)) != 0) {
		return syscall(SYS_recvmsg, fd, message, flags);
	}
	uint32_t turn = atomic_load(&turns);
	if (pace->turn != turn) {
		pace->turn = turn;
		pace->work = 0;
	}
	if (pace->work >= CG_PACE_WORK && pace->epoll_fd >= 0 && hold_back(fd)) {
		errno = EAGAIN;
		return -1;
	}
	ssize_t len = read_some(fd, message, flags);
	if (len > 0) {
		count_read(pace, message, (size_t)len);
	}
	return len;
}

/*
 * In place of libc's: as what gRPC waits for a connection.  It says so once, as soon as it has it;
 * whoever says so later has another one, of the same number.
 */
__attribute__((visibility("default"))) int epoll_ctl(
    int epfd, int op, int fd, struct epoll_event *event)
{
	struct pace *pace = pace_of(fd);

	if (pace == NULL || op != EPOLL_CTL_ADD) {
		return (int)syscall(SYS_epoll_ctl, epfd, op, fd, event);
	}
	must(pthread_mutex_lock(&lock));
	int result = (int)syscall(SYS_epoll_ctl, epfd, op, fd, event);
	if (result == 0 && pace->epoll_fd < 0) {
		pace->epoll_fd = epfd;
		pace->event = *event;
	} else if (result == 0) {
		pace->epoll_fd = -1;
		atomic_store(&pace->is_paced, false);
	}
	must(pthread_mutex_unlock(&lock));
	return result;
}

void cg_pace_note_use(int fd)
{
	if (fd >= 0 && fd < CG_PACE_FD_MAX) {
		paces[fd].vain_count = 0;
	}
}

void cg_pace_on_turn(void (*on_vain)(void *owner, int fd), void *owner)
{
	int fds[HELD_MAX];

	atomic_fetch_add(&turns, 1);
	must(pthread_mutex_lock(&lock));
	uint32_t count = held_count;
	memcpy(fds, held, count * sizeof fds[0]);
	held_count = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct pace *pace = &paces[fds[i]];
		pace->is_held = false;
		/*
		 * It is watched for edges, and there was none: being told the same once more
		 * makes epoll look.  One that is closed by now is not there, which is no trouble;
		 * another one of its number has said as what it is watched, under this lock.
		 */
		if (pace->epoll_fd >= 0) {
			(void)syscall(
			    SYS_epoll_ctl, pace->epoll_fd, EPOLL_CTL_MOD, fds[i], &pace->event);
		}
	}
	must(pthread_mutex_unlock(&lock));
	for (uint32_t i = 0; i < count; i++) {
		if (++paces[fds[i]].vain_count == CG_PACE_VAIN_MAX) {
			on_vain(owner, fds[i]);
		}
	}
}
