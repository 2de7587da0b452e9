/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "loop/address.h"

#define BACKLOG 16

_Static_assert(
    CG_ADMIN_PATH_BYTES == sizeof((struct sockaddr_un *)0)->sun_path, "room for any path");

union address {
	struct sockaddr any;
	struct sockaddr_un local;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static enum cg_status fail(struct cg_error *err, const char *what, const char *address)
{
	cg_error_set(err, "metrics-listen on %s: %s: %s", address, what, strerror(errno));
	return CG_INVALID;
}

static int new_socket(int family)
{
	return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* A socket that nobody answers at is a dead server's; anything else stays. */
static enum cg_status remove_dead(const union address *address, struct cg_error *err)
{
	const char *path = address->local.sun_path;
	struct stat stat;

	if (lstat(path, &stat) != 0) {
		return errno == ENOENT ? CG_OK : fail(err, "look at it", path);
	}
	if (!S_ISSOCK(stat.st_mode)) {
		cg_error_set(err, "metrics-listen on %s: something else lies there", path);
		return CG_INVALID;
	}
	int fd = new_socket(AF_UNIX);
	if (fd < 0) {
		return fail(err, "socket", path);
	}
	int result = connect(fd, &address->any, sizeof address->local);
	bool is_dead = result != 0 && errno == ECONNREFUSED;
	(void)close(fd);
	if (!is_dead) {
		cg_error_set(err, "metrics-listen on %s: another server is serving it", path);
		return CG_WRONG_STATE;
	}
	return unlink(path) == 0 ? CG_OK : fail(err, "remove a dead one", path);
}

static enum cg_status bind_unix(
    struct cg_admin_socket *s, const struct cg_address *where, struct cg_error *err)
{
	union address address = {.local = {.sun_family = AF_UNIX}};
	size_t len = strlen(where->host);

	if (len == 0 || len >= sizeof s->path) {
		cg_error_set(err, "metrics-listen on %s: a path has 1..%zu bytes", where->host,
		    sizeof s->path - 1);
		return CG_INVALID;
	}
	memcpy(address.local.sun_path, where->host, len + 1);
	enum cg_status status = remove_dead(&address, err);
	if (status != CG_OK) {
		return status;
	}
	s->fd = new_socket(AF_UNIX);
	if (s->fd < 0) {
		return fail(err, "socket", where->host);
	}
	/* The mode must be right from the first moment; bind makes the file. */
	mode_t before = umask(0117);
	int result = bind(s->fd, &address.any, sizeof address.local);
	(void)umask(before);
	if (result != 0) {
		return fail(err, "bind", where->host);
	}
	memcpy(s->path, where->host, len + 1);
	return CG_OK;
}

/* False: it is no loopback address; names are not looked up. */
static bool read_loopback(
    const struct cg_address *where, union address *ret_address, socklen_t *ret_len)
{
	union address address = {.v4 = {0}};
	in_port_t port = htons((uint16_t)strtoul(where->port, NULL, 10));

	if (inet_pton(AF_INET, where->host, &address.v4.sin_addr) == 1) {
		address.v4.sin_family = AF_INET;
		address.v4.sin_port = port;
		*ret_len = sizeof address.v4;
		*ret_address = address;
		return ntohl(address.v4.sin_addr.s_addr) >> 24 == 127;
	}
	address = (union address){.v6 = {.sin6_family = AF_INET6, .sin6_port = port}};
	if (inet_pton(AF_INET6, where->host, &address.v6.sin6_addr) == 1) {
		*ret_len = sizeof address.v6;
		*ret_address = address;
		return IN6_IS_ADDR_LOOPBACK(&address.v6.sin6_addr);
	}
	return false;
}

static enum cg_status bind_tcp(
    struct cg_admin_socket *s, const struct cg_address *where, struct cg_error *err)
{
	union address address;
	socklen_t len = 0;
	int one = 1;

	if (!read_loopback(where, &address, &len)) {
		cg_error_set(err,
		    "metrics-listen on %s: must be a loopback address: whoever reaches it reads it",
		    where->host);
		return CG_INVALID;
	}
	s->fd = new_socket(address.any.sa_family);
	if (s->fd < 0) {
		return fail(err, "socket", where->host);
	}
	/* A restart must not wait for the last server's connections to be forgotten. */
	if (setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
	    bind(s->fd, &address.any, len) != 0) {
		return fail(err, "bind", where->host);
	}
	return CG_OK;
}

enum cg_status cg_admin_socket_open(
    const char *address, struct cg_admin_socket *ret_socket, struct cg_error *err)
{
	struct cg_admin_socket s = {.fd = -1};
	struct cg_address where;

	if (!cg_address_parse(address, &where)) {
		cg_error_set(err,
		    "metrics-listen on %s: must be unix:/path or a loopback host:port", address);
		return CG_INVALID;
	}
	enum cg_status status =
	    where.is_unix ? bind_unix(&s, &where, err) : bind_tcp(&s, &where, err);
	if (status == CG_OK && listen(s.fd, BACKLOG) != 0) {
		status = fail(err, "listen", address);
	}
	if (status != CG_OK) {
		cg_admin_socket_forget(&s);
		if (s.fd >= 0) {
			(void)close(s.fd);
		}
		return status;
	}
	*ret_socket = s;
	return CG_OK;
}

void cg_admin_socket_forget(const struct cg_admin_socket *socket)
{
	if (socket->path[0] != '\0') {
		(void)unlink(socket->path);
	}
}
