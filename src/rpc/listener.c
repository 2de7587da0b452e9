/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 256

/* Accepted in one turn: a flood of connections must not keep calls waiting. */
#define ACCEPT_MAX 4

/* How long to wait for descriptors to come back. */
#define PAUSE_MS 100

struct cg_rpc_listener {
	int fd;
	int lock_fd;                                          /* -1 unless unix */
	char path[sizeof((struct sockaddr_un *)0)->sun_path]; /* empty unless unix */
	uint16_t port;
	struct cg_loop *loop;
	struct cg_watch *watch; /* NULL until started, and once stopped */
	struct cg_timer *pause;
	struct cg_log_limit log_limit;
	uint64_t pause_count;
	void (*on_connection)(void *owner, int fd);
	void *owner;
};

static enum cg_status fail(
    struct cg_error *err, enum cg_status status, const char *what, const char *address)
{
	cg_error_set(err, "listen on %s: %s: %s", address, what, strerror(errno));
	return status;
}

/* The lock says who owns the path: a socket that lies there with no owner is a dead one's. */
static enum cg_status take_lock(struct cg_rpc_listener *l, struct cg_error *err)
{
	char lock_path[sizeof l->path + sizeof ".lock"];

	(void)snprintf(lock_path, sizeof lock_path, "%s.lock", l->path);
	l->lock_fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (l->lock_fd < 0) {
		return fail(err, CG_INVALID, "open the lock beside it", l->path);
	}
	if (flock(l->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		cg_error_set(err, "listen on unix:%s: another server is serving it (it holds %s)",
		    l->path, lock_path);
		return CG_WRONG_STATE;
	}
	return CG_OK;
}

static enum cg_status remove_stale(const struct cg_rpc_listener *l, struct cg_error *err)
{
	struct stat stat;

	if (lstat(l->path, &stat) != 0) {
		return errno == ENOENT ? CG_OK : fail(err, CG_INVALID, "look at it", l->path);
	}
	if (!S_ISSOCK(stat.st_mode)) {
		cg_error_set(
		    err, "listen on unix:%s: something that is not a socket lies there", l->path);
		return CG_INVALID;
	}
	return unlink(l->path) == 0 ? CG_OK : fail(err, CG_INVALID, "remove a dead one", l->path);
}

static enum cg_status bind_unix(struct cg_rpc_listener *l, const char *path, struct cg_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof address.sun_path) {
		cg_error_set(err, "listen on unix:%s: a path has 1..%zu bytes", path,
		    sizeof address.sun_path - 1);
		return CG_INVALID;
	}
	memcpy(l->path, path, len + 1);
	memcpy(address.sun_path, path, len + 1);
	enum cg_status status = take_lock(l, err);
	if (status == CG_OK) {
		status = remove_stale(l, err);
	}
	if (status != CG_OK) {
		l->path[0] = '\0'; /* Not ours to remove. */
		return status;
	}

	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0) {
		return fail(err, CG_UNAVAILABLE, "socket", path);
	}
	/* The mode must be right from the first moment; bind makes the file. */
	mode_t before = umask(0117);
	int error = bind(l->fd, (struct sockaddr *)&address, sizeof address);
	(void)umask(before);
	return error == 0 ? CG_OK : fail(err, CG_INVALID, "bind", path);
}

/* "127.0.0.1:50051" or "[::1]:50051"; names are not looked up. */
static bool parse_tcp(const char *text, struct sockaddr_storage *ret_address, socklen_t *ret_len)
{
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN];
	int64_t port = 0;

	if (colon == NULL || !cg_view_parse_int(cg_view_of(colon + 1), &port) || port < 0 ||
	    port > UINT16_MAX) {
		return false;
	}
	bool bracketed = text[0] == '[' && colon > text && colon[-1] == ']';
	size_t host_len = (size_t)(colon - text) - (bracketed ? 2 : 0);
	if (host_len >= sizeof host) {
		return false;
	}
	memcpy(host, text + (bracketed ? 1 : 0), host_len);
	host[host_len] = '\0';

	struct sockaddr_in *v4 = (struct sockaddr_in *)ret_address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_address;
	*ret_address = (struct sockaddr_storage){0};
	if (!bracketed && inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		*ret_len = sizeof *v4;
		return true;
	}
	if (bracketed && inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		*ret_len = sizeof *v6;
		return true;
	}
	return false;
}

static bool is_loopback(const struct sockaddr_storage *address)
{
	if (address->ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
		return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	}
	return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

static enum cg_status bind_tcp(
    struct cg_rpc_listener *l, const char *text, bool is_tls, struct cg_error *err)
{
	struct sockaddr_storage address;
	socklen_t len = 0;
	int one = 1;

	if (!parse_tcp(text, &address, &len)) {
		cg_error_set(
		    err, "listen on %s: must be unix:/path, 127.0.0.1:port or [::1]:port", text);
		return CG_INVALID;
	}
	if (!is_tls && !is_loopback(&address)) {
		cg_error_set(err,
		    "listen on %s: plaintext TCP is for loopback addresses only; tls:%s is for "
		    "others",
		    text, text);
		return CG_INVALID;
	}
	l->fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0) {
		return fail(err, CG_UNAVAILABLE, "socket", text);
	}
	/* A restart must not wait for the last server's connections to be forgotten. */
	if (setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
	    bind(l->fd, (struct sockaddr *)&address, len) != 0 ||
	    getsockname(l->fd, (struct sockaddr *)&address, &len) != 0) {
		return fail(err, CG_INVALID, "bind", text);
	}
	/* The port stands at the same place in both kinds of address. */
	l->port = ntohs(((struct sockaddr_in *)&address)->sin_port);
	return CG_OK;
}

enum cg_status cg_rpc_listener_open(
    const char *address, bool is_tls, struct cg_rpc_listener **ret_listener, struct cg_error *err)
{
	struct cg_rpc_listener *l = calloc(1, sizeof *l);
	enum cg_status status;

	CG_ASSERT(l != NULL);
	l->fd = -1;
	l->lock_fd = -1;
	if (!is_tls && strncmp(address, "unix:", 5) == 0) {
		status = bind_unix(l, address + 5, err);
	} else {
		status = bind_tcp(l, address, is_tls, err);
	}
	if (status == CG_OK && listen(l->fd, BACKLOG) != 0) {
		status = fail(err, CG_INVALID, "listen", address);
	}
	if (status != CG_OK) {
		cg_rpc_listener_close(l);
		return status;
	}
	*ret_listener = l;
	return CG_OK;
}

uint16_t cg_rpc_listener_port(const struct cg_rpc_listener *listener)
{
	return listener->port;
}

uint64_t cg_rpc_listener_pauses(const struct cg_rpc_listener *listener)
{
	return listener->pause_count;
}

/* Out of descriptors or memory: the connections wait in the backlog, and so do we. */
static void pause_accepting(struct cg_rpc_listener *l, int error)
{
	uint64_t held_back = 0;

	if (cg_log_limit_admits(&l->log_limit, cg_loop_now_ms(l->loop), 1000, &held_back)) {
		cg_log(CG_LOG_WARN, "connections are not accepted", "why", strerror(error),
		    "held_back", cg_log_int((int64_t)held_back), NULL);
	}
	l->pause_count++;
	cg_watch_set(l->watch, 0);
	cg_timer_start(l->pause, PAUSE_MS);
}

static void on_pause_over(void *owner)
{
	struct cg_rpc_listener *l = owner;

	cg_watch_set(l->watch, CG_WATCH_READ);
}

static void on_ready(void *owner, unsigned events)
{
	struct cg_rpc_listener *l = owner;
	int one = 1;

	(void)events;
	for (int i = 0; i < ACCEPT_MAX && l->watch != NULL; i++) {
		/* One that blocks nobody and that no child inherits. */
		int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			    errno == ENOMEM) {
				pause_accepting(l, errno);
				return;
			}
			if (errno == EAGAIN || errno == EWOULDBLOCK) {
				return;
			}
			continue; /* That one was gone before it was accepted. */
		}
		if (l->port != 0) {
			(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		}
		l->on_connection(l->owner, fd);
	}
}

void cg_rpc_listener_start(struct cg_rpc_listener *listener, struct cg_loop *loop,
    void (*on_connection)(void *owner, int fd), void *owner)
{
	listener->loop = loop;
	listener->on_connection = on_connection;
	listener->owner = owner;
	listener->watch = cg_watch_create(loop, listener->fd, on_ready, listener);
	listener->pause = cg_timer_create(loop, on_pause_over, listener);
	cg_watch_set(listener->watch, CG_WATCH_READ);
}

void cg_rpc_listener_stop(struct cg_rpc_listener *listener)
{
	if (listener->watch != NULL) {
		cg_watch_close(listener->watch);
		cg_timer_close(listener->pause);
		listener->watch = NULL;
		listener->pause = NULL;
	}
	if (listener->fd >= 0) {
		(void)close(listener->fd);
		listener->fd = -1;
		if (listener->path[0] != '\0') {
			(void)unlink(listener->path);
		}
	}
}

void cg_rpc_listener_close(struct cg_rpc_listener *listener)
{
	cg_rpc_listener_stop(listener);
	if (listener->lock_fd >= 0) {
		/* The file stays: whoever removes it takes it from under the next one's lock. */
		(void)close(listener->lock_fd);
	}
	free(listener);
}
