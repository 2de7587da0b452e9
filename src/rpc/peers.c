/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/peers.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* More groups than this a peer may have; those beyond are not looked at. */
#define GROUPS_MAX 256

/* "uid:1000": its number; false where it is none. */
static bool read_id(struct cg_view word, const char *prefix, int64_t *ret_id)
{
	size_t len = strlen(prefix);

	return word.len > len && memcmp(word.data, prefix, len) == 0 &&
	    cg_view_parse_int((struct cg_view){word.data + len, word.len - len}, ret_id) &&
	    *ret_id >= 0 && *ret_id < UINT32_MAX;
}

static bool take_word(struct cg_peers *peers, struct cg_view word)
{
	int64_t id = 0;

	if (cg_view_equal(word, CG_VIEW_LITERAL("any"))) {
		peers->any = true;
	} else if (cg_view_equal(word, CG_VIEW_LITERAL("group"))) {
		peers->group = true;
	} else if (read_id(word, "uid:", &id) && peers->uid_count < CG_PEERS_MAX) {
		peers->uids[peers->uid_count++] = (uid_t)id;
	} else if (read_id(word, "gid:", &id) && peers->gid_count < CG_PEERS_MAX) {
		peers->gids[peers->gid_count++] = (gid_t)id;
	} else {
		return false;
	}
	return true;
}

enum cg_status cg_peers_parse(struct cg_view text, struct cg_peers *ret_peers, struct cg_error *err)
{
	struct cg_peers peers = {0};

	for (size_t at = 0; at <= text.len;) {
		size_t end = at;
		while (end < text.len && text.data[end] != ',') {
			end++;
		}
		if (!take_word(&peers, (struct cg_view){text.data + at, end - at})) {
			cg_error_set(err,
			    "peers: must be any, or of group, uid:N and gid:N, separated by "
			    "commas");
			return CG_INVALID;
		}
		at = end + 1;
	}
	*ret_peers = peers;
	return CG_OK;
}

static bool is_group_admitted(const struct cg_peers *peers, gid_t gid)
{
	if (peers->group && gid == getegid()) {
		return true;
	}
	for (uint32_t i = 0; i < peers->gid_count; i++) {
		if (peers->gids[i] == gid) {
			return true;
		}
	}
	return false;
}

/* Beside his group a peer has others, of which one may be the socket's. */
static bool is_one_group_admitted(const struct cg_peers *peers, int fd)
{
	gid_t groups[GROUPS_MAX];
	socklen_t bytes = sizeof groups;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes) != 0) {
		return false;
	}
	for (size_t i = 0; i < bytes / sizeof groups[0]; i++) {
		if (is_group_admitted(peers, groups[i])) {
			return true;
		}
	}
	return false;
}

bool cg_peers_admit(const struct cg_peers *peers, int fd, int64_t *ret_uid)
{
	struct ucred who = {0};
	socklen_t bytes = sizeof who;

	*ret_uid = -1;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &bytes) != 0) {
		return peers->any;
	}
	*ret_uid = (int64_t)who.uid;
	if (peers->any || who.uid == 0 || who.uid == geteuid()) {
		return true;
	}
	for (uint32_t i = 0; i < peers->uid_count; i++) {
		if (peers->uids[i] == who.uid) {
			return true;
		}
	}
	return is_group_admitted(peers, who.gid) || is_one_group_admitted(peers, fd);
}

static uint64_t mix(uint64_t kind, uint64_t value)
{
	uint64_t mixed = (value ^ kind << 56) * UINT64_C(0x9E3779B97F4A7C15);

	mixed ^= mixed >> 29;
	return mixed == 0 ? 1 : mixed;
}

static uint64_t source_of_v4(uint32_t host)
{
	return host >> 24 == IN_LOOPBACKNET ? 0 : mix(4, host);
}

static uint64_t source_of_v6(const struct in6_addr *host)
{
	uint64_t network = 0;
	uint32_t v4 = 0;

	if (IN6_IS_ADDR_V4MAPPED(host)) {
		memcpy(&v4, host->s6_addr + 12, sizeof v4);
		return source_of_v4(ntohl(v4));
	}
	if (IN6_IS_ADDR_LOOPBACK(host)) {
		return 0;
	}
	memcpy(&network, host->s6_addr, sizeof network);
	return mix(6, network);
}

uint64_t cg_peers_source(int fd, bool is_unix)
{
	struct sockaddr_storage address = {0};
	socklen_t len = sizeof address;
	struct ucred who = {0};
	socklen_t bytes = sizeof who;

	if (is_unix) {
		/* Of a process in another PID namespace the kernel says 0. */
		return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &bytes) != 0 || who.pid <= 0
		    ? 0
		    : mix(1, (uint64_t)who.pid);
	}
	if (getpeername(fd, (struct sockaddr *)&address, &len) != 0) {
		return 0;
	}
	if (address.ss_family == AF_INET6) {
		return source_of_v6(&((const struct sockaddr_in6 *)&address)->sin6_addr);
	}
	struct sockaddr_in v4 = {0};
	memcpy(&v4, &address, sizeof v4);
	return source_of_v4(ntohl(v4.sin_addr.s_addr));
}

uint64_t cg_peers_own_source(void)
{
	return mix(1, (uint64_t)getpid());
}
