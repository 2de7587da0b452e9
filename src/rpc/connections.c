/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/connections.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* At the limit each new connection would look at all others. */
#define SWEEP_PAUSE_MS 50

void cg_connections_init(struct cg_connections *connections, uint32_t count_max, uint32_t door_max)
{
	*connections = (struct cg_connections){.count_max = count_max, .door_max = door_max};
	connections->all = calloc(count_max, sizeof connections->all[0]);
	CG_ASSERT(connections->all != NULL);
}

void cg_connections_deinit(struct cg_connections *connections)
{
	free(connections->all);
}

/* Whether the descriptor is a socket, and which. */
static bool inode_of(int fd, ino_t *ret_inode)
{
	struct stat stat;

	if (fstat(fd, &stat) != 0 || !S_ISSOCK(stat.st_mode)) {
		return false;
	}
	*ret_inode = stat.st_ino;
	return true;
}

static bool is_there(const struct cg_connection *connection)
{
	ino_t inode = 0;

	return inode_of(connection->fd, &inode) && inode == connection->inode;
}

/* Forgets those that have ended. */
static void sweep(struct cg_connections *connections)
{
	for (uint32_t i = 0; i < connections->count;) {
		if (is_there(&connections->all[i])) {
			i++;
			continue;
		}
		connections->door_counts[connections->all[i].door]--;
		connections->all[i] = connections->all[--connections->count];
	}
}

static bool is_full(const struct cg_connections *connections, uint32_t door)
{
	return connections->count == connections->count_max ||
	    connections->door_counts[door] >= connections->door_max;
}

bool cg_connections_add(
    struct cg_connections *connections, int fd, uint32_t door, uint64_t peer, uint64_t now_ms)
{
	ino_t inode = 0;

	if (is_full(connections, door) && now_ms >= connections->swept_at_ms + SWEEP_PAUSE_MS) {
		connections->swept_at_ms = now_ms;
		sweep(connections);
	}
	if (is_full(connections, door) || !inode_of(fd, &inode)) {
		return false;
	}
	connections->all[connections->count++] =
	    (struct cg_connection){.fd = fd, .door = door, .inode = inode, .peer = peer};
	connections->door_counts[door]++;
	return true;
}

uint32_t cg_connections_count(struct cg_connections *connections)
{
	sweep(connections);
	return connections->count;
}

bool cg_connections_cut(const struct cg_connections *connections, uint64_t peer)
{
	/* The latest first: a number may have been used before. */
	for (uint32_t i = connections->count; i-- > 0;) {
		const struct cg_connection *connection = &connections->all[i];
		if (connection->peer == peer && is_there(connection)) {
			return shutdown(connection->fd, SHUT_RDWR) == 0;
		}
	}
	return false;
}

uint32_t cg_connections_cut_all(struct cg_connections *connections)
{
	uint32_t cut_count = 0;

	for (uint32_t i = 0; i < connections->count; i++) {
		if (is_there(&connections->all[i]) &&
		    shutdown(connections->all[i].fd, SHUT_RDWR) == 0) {
			cut_count++;
		}
	}
	return cut_count;
}

uint64_t cg_peer_hash(const char *text)
{
	uint64_t hash = UINT64_C(0xCBF29CE484222325);

	for (; *text != '\0'; text++) {
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x9E3779B97F4A7C15);
		hash ^= hash >> 29;
	}
	return hash;
}

uint64_t cg_peer_hash_of(int fd, bool as_fd)
{
	struct sockaddr_storage address = {0};
	socklen_t len = sizeof address;
	char host[INET6_ADDRSTRLEN] = "";
	char text[sizeof host + 32];

	if (as_fd || getpeername(fd, (struct sockaddr *)&address, &len) != 0) {
		(void)snprintf(text, sizeof text, "fd:%d", fd);
	} else if (address.ss_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;
		(void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
		/* gRPC shows those of an IPv4 caller at an IPv6 address as what they are. */
		bool mapped = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
		(void)snprintf(text, sizeof text, mapped ? "ipv4:%s:%u" : "ipv6:%%5B%s%%5D:%u",
		    mapped ? host + strlen("::ffff:") : host, (unsigned)ntohs(v6->sin6_port));
	} else {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
		(void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
		(void)snprintf(
		    text, sizeof text, "ipv4:%s:%u", host, (unsigned)ntohs(v4->sin_port));
	}
	return cg_peer_hash(text);
}
