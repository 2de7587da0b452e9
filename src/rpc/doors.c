/*
 * The doors as they are opened, lived in and closed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <grpc/grpc_posix.h>

#include "rpc/channel_args.h"
#include "rpc/pace.h"
#include "rpc/rpc_internal.h"

/* Data that the other end does not acknowledge for so long ends a TCP connection. */
#define UNACKNOWLEDGED_MAX_MS 20000

/* Above what the process itself has open from the beginning. */
#define FIRST_FD 64

static enum cg_status check_files(
    const struct cg_rpc_config *config, const struct cg_door_config *door, struct cg_error *err)
{
	bool has_files = config->tls_certificate != NULL && config->tls_key != NULL &&
	    config->tls_client_authorities != NULL;

	if (door->kind == CG_DOOR_TLS && !has_files) {
		cg_error_set(err,
		    "listen on tls:%s: needs a certificate, its key, and the authorities of client "
		    "certificates",
		    door->address);
		return CG_INVALID;
	}
	return CG_OK;
}

/* A door at which nobody has any role is a mistake: TCP needs no less than a word on who may. */
static enum cg_status check_roles(
    const struct cg_rpc_config *config, const struct cg_door_config *door, struct cg_error *err)
{
	if (door->roles == 0 && config->credentials_file == NULL) {
		cg_error_set(err,
		    "listen on %s: nobody could call: give a file of credentials, or the roles of "
		    "callers without one (%s=gate)",
		    door->address, door->address);
		return CG_INVALID;
	}
	return CG_OK;
}

static enum cg_status open_one(
    struct cg_rpc_door *door, const struct cg_rpc_config *config, struct cg_error *err)
{
	struct cg_rpc_server *server = door->server;
	enum cg_status status = check_files(config, &door->config, err);

	if (status == CG_OK && door->config.kind == CG_DOOR_TLS) {
		struct cg_rpc_tls_files files = {
		    .certificate = config->tls_certificate,
		    .key = config->tls_key,
		    .client_authorities = config->tls_client_authorities,
		};
		status = cg_rpc_tls_open(server->loop, &files, &server->counters, &door->tls, err);
	}
	if (status == CG_OK) {
		status = cg_rpc_listener_open(
		    door->config.address, door->tls != NULL, &door->listener, err);
	}
	return status == CG_OK ? check_roles(config, &door->config, err) : status;
}

enum cg_status cg_doors__open(
    struct cg_rpc_server *server, const struct cg_rpc_config *config, struct cg_error *err)
{
	struct cg_door_config configs[CG_DOORS_MAX];
	uint32_t count = 0;
	enum cg_status status = cg_doors_parse(
	    config->listen, config->credentials_file != NULL, configs, CG_DOORS_MAX, &count, err);

	for (uint32_t i = 0; i < count && status == CG_OK; i++) {
		struct cg_rpc_door *door = &server->doors[i];
		*door = (struct cg_rpc_door){.server = server, .index = i, .config = configs[i]};
		server->door_count++;
		status = open_one(door, config, err);
	}
	if (status != CG_OK) {
		cg_doors__close(server);
	}
	return status;
}

enum cg_status cg_doors__start_grpc(struct cg_rpc_door *door, struct cg_error *err)
{
	struct cg_rpc_server *server = door->server;
	struct cg_rpc_channel_args args;
	enum cg_status status = CG_OK;

	cg_rpc_channel_args_init(&args, &server->config);
	if (door->tls != NULL) {
		grpc_arg arg = cg_rpc_tls_arg(door->tls);
		cg_rpc_channel_args_add(&args, &arg);
	}
	door->grpc = grpc_server_create(&args.list, NULL);
	CG_ASSERT(door->grpc != NULL);
	cg_rpc_channel_args_deinit(&args);
	grpc_server_register_completion_queue(
	    door->grpc, cg_rpc_bridge_arrivals(server->bridge), NULL);
	for (size_t i = 0; i < CG_LINE_COUNT; i++) {
		struct cg_rpc_line *line = &door->lines[i];
		if (line->path != NULL) {
			line->registered = grpc_server_register_method(
			    door->grpc, line->path, NULL, GRPC_SRM_PAYLOAD_NONE, 0);
			CG_ASSERT(line->registered != NULL);
		}
	}
	if (door->tls != NULL) {
		status = cg_rpc_tls_attach(door->tls, door->grpc, err);
	}
	grpc_server_start(door->grpc);
	return status;
}

/* Whether the one at the other end may connect at all. */
static bool is_admitted(struct cg_rpc_door *door, int fd)
{
	struct cg_rpc_server *server = door->server;
	int64_t uid = -1;

	if (door->config.kind != CG_DOOR_UNIX || cg_peers_admit(&server->peers, fd, &uid)) {
		return true;
	}
	cg_server__note_refusal(server, CG_REFUSAL_PEER);
	return false;
}

/*
 * gRPC calls a connection by its descriptor, and calls of one that has ended may come long after
 * its number could be somebody else's.  So numbers go round: one is used again after all others.
 */
static int number_anew(struct cg_rpc_server *server, int fd)
{
	int anew = fcntl(fd, F_DUPFD_CLOEXEC, server->next_fd);

	/* Beyond the last there is, or that has a pace, or there are none: round again. */
	if (anew < 0 || anew >= CG_PACE_FD_MAX) {
		if (anew >= 0) {
			(void)close(anew);
		}
		server->next_fd = FIRST_FD;
		return fd;
	}
	(void)close(fd);
	server->next_fd = anew + 1;
	return anew;
}

static void on_connection(void *owner, int accepted)
{
	struct cg_rpc_door *door = owner;
	struct cg_rpc_server *server = door->server;
	uint64_t now_ms = cg_loop_now_ms(server->loop);
	uint64_t source = cg_peers_source(accepted, door->config.kind == CG_DOOR_UNIX);
	unsigned wait_ms = UNACKNOWLEDGED_MAX_MS;

	door->accepted++;
	/* First of all: whoever is kept out may knock as fast as he can. */
	if (cg_bans_hold(&server->bans, source, now_ms)) {
		cg_server__note_refusal(server, CG_REFUSAL_BANNED);
		(void)close(accepted);
		return;
	}
	int fd = number_anew(server, accepted);
	if (!is_admitted(door, fd)) {
		(void)close(fd);
		return;
	}
	struct cg_newcomer newcomer = {.fd = fd,
	    .door = door->index,
	    .peer = cg_peer_hash_of(fd, door->index, door->tls == NULL),
	    .source = source};
	if (!cg_connections_add(&server->connections, &newcomer, now_ms)) {
		cg_server__note_refusal(server, CG_REFUSAL_CONNECTIONS);
		(void)close(fd);
		return;
	}
	server->counters.connections_accepted++;
	if (door->tls != NULL) {
		(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &wait_ms, sizeof wait_ms);
	}
	cg_greetings_wait(&server->greetings, door,
	    &(struct cg_guest){.fd = fd,
	        .is_encrypted = door->tls != NULL,
	        .is_ours = source == cg_peers_own_source()});
}

/* It has said what a client says first. */
static void on_greeted(struct cg_rpc_door *door, int fd)
{
	struct cg_rpc_server *server = door->server;

	cg_pace_begin(fd, door->tls != NULL);
	if (door->tls != NULL) {
		cg_rpc_tls_take(door->tls, fd);
	} else {
		grpc_server_add_channel_from_fd(door->grpc, fd, server->plaintext);
	}
	cg_rpc_bridge_connected(server->bridge);
}

static void on_rubbish(struct cg_rpc_door *door)
{
	cg_server__note_refusal(door->server, CG_REFUSAL_RUBBISH);
}

void cg_doors__start(struct cg_rpc_server *server)
{
	cg_greetings_init(&server->greetings, server->loop);
	server->greetings.on_greeted = on_greeted;
	server->greetings.on_rubbish = on_rubbish;
	for (uint32_t i = 0; i < server->door_count; i++) {
		struct cg_rpc_door *door = &server->doors[i];
		cg_rpc_listener_start(door->listener, server->loop, on_connection, door);
	}
}

void cg_doors__stop(struct cg_rpc_server *server)
{
	cg_greetings_close(&server->greetings);
	for (uint32_t i = 0; i < server->door_count; i++) {
		cg_rpc_listener_stop(server->doors[i].listener);
	}
}

uint64_t cg_doors__pauses(const struct cg_rpc_server *server)
{
	uint64_t pauses = 0;

	for (uint32_t i = 0; i < server->door_count; i++) {
		pauses += cg_rpc_listener_pauses(server->doors[i].listener);
	}
	return pauses;
}

void cg_doors__close(struct cg_rpc_server *server)
{
	for (uint32_t i = 0; i < server->door_count; i++) {
		struct cg_rpc_door *door = &server->doors[i];
		if (door->listener != NULL) {
			cg_rpc_listener_close(door->listener);
		}
		cg_rpc_tls_close(door->tls);
	}
	server->door_count = 0;
}
