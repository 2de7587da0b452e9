/*
 * A library to be preloaded into redis-server: its wall clock goes by as many milliseconds ahead
 * of the true one as the file named in CALLGATE_TEST_CLOCK says (8 bytes, signed, mapped, so that
 * a test moves the clock of a running server).  Everything monotonic stays as it is.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset_ms;

__attribute__((constructor)) static void map_offset(void)
{
	const char *path = getenv("CALLGATE_TEST_CLOCK");
	int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd >= 0) {
		void *page = mmap(NULL, sizeof *offset_ms, PROT_READ, MAP_SHARED, fd, 0);
		offset_ms = page != MAP_FAILED ? page : NULL;
		(void)close(fd);
	}
}

static void shift(struct timespec *at)
{
	int64_t ms = offset_ms != NULL ? *offset_ms : 0;
	int64_t ns = at->tv_nsec + ms % 1000 * 1000000;

	at->tv_sec += ms / 1000;
	if (ns < 0) {
		ns += 1000000000;
		at->tv_sec--;
	} else if (ns >= 1000000000) {
		ns -= 1000000000;
		at->tv_sec++;
	}
	at->tv_nsec = ns;
}

/* The parameters of libc's declarations have names that are reserved for it. */
/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

int clock_gettime(clockid_t clock, struct timespec *at)
{
	long result = syscall(SYS_clock_gettime, clock, at);

	if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
		shift(at);
	}
	return (int)result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	int result = clock_gettime(CLOCK_REALTIME, &now);
	at->tv_sec = now.tv_sec;
	at->tv_usec = now.tv_nsec / 1000;
	return result;
}

time_t time(time_t *ret)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (ret != NULL) {
		*ret = now.tv_sec;
	}
	return now.tv_sec;
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
