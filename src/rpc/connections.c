/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/connections.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "rpc/pace.h"

/* At the limit each new connection would look at all others. */
#define SWEEP_PAUSE_MS 50

/* All of them are looked at about once a second, without a turn of the loop noticing it. */
#define LOOK_PAUSE_MS 10
#define LOOKS_MAX     32

/* As much as a socket holds, and more. */
#define UNREAD_MAX_BYTES ((size_t)8 * 1024 * 1024)

#define WASTE_WITHIN_MS 1000

/* An end is seen so much later at the latest, unless there are very many. */
#define SEEN_WITHIN_MS 2000

void cg_connections_init(struct cg_connections *connections,
    const struct cg_connections_config *config, const struct cg_connections_ends *ends)
{
	uint32_t size = 1;

	/* Half of the places stay free: the walks are short. */
	while (size < 2 * config->count_max) {
		size *= 2;
	}
	*connections = (struct cg_connections){.config = *config, .ends = *ends, .mask = size - 1};
	connections->all = calloc(config->count_max, sizeof connections->all[0]);
	connections->places = calloc(size, sizeof connections->places[0]);
	CG_ASSERT(connections->all != NULL && connections->places != NULL);
}

void cg_connections_deinit(struct cg_connections *connections)
{
	free(connections->all);
	free(connections->places);
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

static uint32_t home_of(const struct cg_connections *connections, uint64_t peer)
{
	return (uint32_t)(peer >> 32) & connections->mask;
}

/* The place of a peer's connection, or the free one where it would be. */
static uint32_t find(const struct cg_connections *connections, uint64_t peer)
{
	uint32_t at = home_of(connections, peer);

	while (connections->places[at] != 0 &&
	    connections->all[connections->places[at] - 1].peer != peer) {
		at = (at + 1) & connections->mask;
	}
	return at;
}

/* Those behind a place that became free move up, unless their walk begins behind it. */
static void free_place(struct cg_connections *connections, uint32_t gap)
{
	uint32_t at = gap;

	connections->places[gap] = 0;
	for (;;) {
		at = (at + 1) & connections->mask;
		if (connections->places[at] == 0) {
			return;
		}
		uint32_t home =
		    home_of(connections, connections->all[connections->places[at] - 1].peer);
		if (((at - home) & connections->mask) >= ((at - gap) & connections->mask)) {
			connections->places[gap] = connections->places[at];
			connections->places[at] = 0;
			gap = at;
		}
	}
}

/* It has ended: whose doing was it? */
static void note_end(
    struct cg_connections *connections, const struct cg_connection *connection, uint64_t now_ms)
{
	const struct cg_connections_config *config = &connections->config;
	uint64_t age_ms = now_ms - connection->accepted_at_ms;
	bool was_used = connection->used_at_ms != 0;
	uint64_t idle_ms = was_used ? now_ms - connection->used_at_ms : age_ms;

	if (connection->is_cut) {
		return; /* Ours, and counted. */
	}
	if (age_ms >= config->age_ms - config->age_ms / 10) {
		++*connections->ends.old;
	} else if (idle_ms >= config->idle_ms) {
		++*connections->ends.idle;
	} else if (!was_used && age_ms >= CG_GREETING_MAX_MS &&
	    age_ms < CG_GREETING_MAX_MS + SEEN_WITHIN_MS) {
		++*connections->ends.silent;
	} else if (!was_used) {
		++*connections->ends.unused;
	}
}

static void forget(struct cg_connections *connections, uint32_t i)
{
	struct cg_connection *connection = &connections->all[i];
	uint32_t last = connections->count - 1;

	connections->door_counts[connection->door]--;
	free_place(connections, find(connections, connection->peer));
	if (i != last) {
		connections->places[find(connections, connections->all[last].peer)] = i + 1;
		*connection = connections->all[last];
	}
	connections->count--;
}

/* Forgets it if it has ended. */
static bool forget_if_ended(struct cg_connections *connections, uint32_t i, uint64_t now_ms)
{
	if (is_there(&connections->all[i])) {
		return false;
	}
	note_end(connections, &connections->all[i], now_ms);
	forget(connections, i);
	return true;
}

static void sweep(struct cg_connections *connections, uint64_t now_ms)
{
	for (uint32_t i = 0; i < connections->count;) {
		if (!forget_if_ended(connections, i, now_ms)) {
			i++;
		}
	}
}

void cg_connections_look(struct cg_connections *connections, uint64_t now_ms)
{
	if (now_ms < connections->looked_at_ms + LOOK_PAUSE_MS) {
		return;
	}
	connections->looked_at_ms = now_ms;
	for (uint32_t looks = 0; looks < LOOKS_MAX && looks < connections->count; looks++) {
		if (connections->look_at >= connections->count) {
			connections->look_at = 0;
		}
		if (!forget_if_ended(connections, connections->look_at, now_ms)) {
			connections->look_at++;
		}
	}
}

static bool is_full(const struct cg_connections *connections, uint32_t door)
{
	return connections->count == connections->config.count_max ||
	    connections->door_counts[door] >= connections->config.door_max;
}

bool cg_connections_add(
    struct cg_connections *connections, const struct cg_newcomer *newcomer, uint64_t now_ms)
{
	uint32_t door = newcomer->door;
	uint64_t peer = newcomer->peer;
	ino_t inode = 0;
	uint32_t place = find(connections, peer);

	if (connections->places[place] != 0) {
		/* Its name is used again, so the former one has ended. */
		uint32_t former = connections->places[place] - 1;
		note_end(connections, &connections->all[former], now_ms);
		forget(connections, former);
	}
	if (is_full(connections, door) && now_ms >= connections->swept_at_ms + SWEEP_PAUSE_MS) {
		connections->swept_at_ms = now_ms;
		sweep(connections, now_ms);
	}
	if (is_full(connections, door) || !inode_of(newcomer->fd, &inode)) {
		return false;
	}
	connections->all[connections->count] = (struct cg_connection){.fd = newcomer->fd,
	    .door = door,
	    .inode = inode,
	    .peer = peer,
	    .source = newcomer->source,
	    .accepted_at_ms = now_ms};
	place = find(connections, peer);
	connections->places[place] = ++connections->count;
	connections->door_counts[door]++;
	return true;
}

void cg_connections_use(struct cg_connections *connections, uint64_t peer, uint64_t now_ms)
{
	uint32_t place = connections->places[find(connections, peer)];

	if (place != 0) {
		connections->all[place - 1].used_at_ms = now_ms;
		cg_pace_note_use(connections->all[place - 1].fd);
	}
}

bool cg_connections_waste(struct cg_connections *connections, uint64_t peer, uint64_t now_ms)
{
	uint32_t place = connections->places[find(connections, peer)];

	if (place == 0) {
		return false;
	}
	struct cg_connection *connection = &connections->all[place - 1];
	if (now_ms >= connection->wasting_since_ms + WASTE_WITHIN_MS) {
		connection->wasting_since_ms = now_ms;
		connection->wasted = 0;
	}
	return ++connection->wasted > connections->config.waste_max;
}

/* Rare: there is no table by descriptor. */
bool cg_connections_peer_of(const struct cg_connections *connections, int fd, uint64_t *ret_peer)
{
	for (uint32_t i = 0; i < connections->count; i++) {
		if (connections->all[i].fd == fd) {
			*ret_peer = connections->all[i].peer;
			return true;
		}
	}
	return false;
}

uint32_t cg_connections_count(struct cg_connections *connections, uint64_t now_ms)
{
	sweep(connections, now_ms);
	return connections->count;
}

/*
 * Throws away what the peer has sent and nobody has read: gRPC would serve all of it before it
 * saw the end, and a socket holds more than a thousand requests.
 */
static void empty(int fd)
{
	char bytes[16384];

	for (size_t taken = 0; taken < UNREAD_MAX_BYTES;) {
		ssize_t len = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
		if (len <= 0) {
			return;
		}
		taken += (size_t)len;
	}
}

static bool cut(struct cg_connection *connection)
{
	if (connection->is_cut || !is_there(connection) ||
	    shutdown(connection->fd, SHUT_RDWR) != 0) {
		return false;
	}
	connection->is_cut = true;
	empty(connection->fd);
	return true;
}

bool cg_connections_cut(struct cg_connections *connections, uint64_t peer, uint64_t *ret_source)
{
	uint32_t place = connections->places[find(connections, peer)];

	if (place == 0 || !cut(&connections->all[place - 1])) {
		return false;
	}
	*ret_source = connections->all[place - 1].source;
	return true;
}

bool cg_connections_is_cut(const struct cg_connections *connections, uint64_t peer)
{
	uint32_t place = connections->places[find(connections, peer)];

	return place != 0 && connections->all[place - 1].is_cut;
}

uint32_t cg_connections_cut_all(struct cg_connections *connections)
{
	uint32_t cut_count = 0;

	for (uint32_t i = 0; i < connections->count; i++) {
		connections->all[i].is_cut = false; /* Once more: it has not ended of it. */
		cut_count += cut(&connections->all[i]) ? 1 : 0;
	}
	return cut_count;
}

uint64_t cg_peer_hash(const char *text, uint32_t door)
{
	uint64_t hash = UINT64_C(0xCBF29CE484222325) + door;

	for (; *text != '\0'; text++) {
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x9E3779B97F4A7C15);
		hash ^= hash >> 29;
	}
	return hash;
}

uint64_t cg_peer_hash_of(int fd, uint32_t door, bool as_fd)
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
	return cg_peer_hash(text, door);
}
