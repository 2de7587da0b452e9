/*
 * A gRPC server of one thread on a unix socket, for what a client meets: answers, errors,
 * silence, death.  A script decides about each call, in the server's thread.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_TESTS_FAKE_SERVER_H
#define CG_TESTS_FAKE_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grpc/grpc.h>

struct fake_server;

struct fake_bytes {
	const void *data;
	size_t bytes;
};

struct fake_reply {
	grpc_status_code code;
	const char *message; /* NULL: none */
	const void *answer;  /* with code OK; NULL: a message of no bytes */
	size_t answer_bytes;
	const void *detail; /* grpc-status-details-bin; NULL: none */
	size_t detail_bytes;
	bool silent;    /* never answered: until the client gives up, or fake_server_stop() */
	bool no_answer; /* OK without any message */

	/* A stream: sent one after another before that end; kept by the script until the stop. */
	const struct fake_bytes *messages;
	size_t message_count;
};

struct fake_call {
	const char *path;
	const uint8_t *request;
	size_t request_bytes;
	const char *authorization; /* "" where there is none */
	unsigned number;           /* 1 for the first call that this server got */
};

typedef void (*fake_script)(
    void *context, const struct fake_call *call, struct fake_reply *ret_reply);

/* Listens at `address` ("unix:/path") until stopped. */
struct fake_server *fake_server_start(const char *address, fake_script script, void *context);

/* Ends every call and the thread. */
void fake_server_stop(struct fake_server *server);

/* Calls received so far. */
unsigned fake_server_count(struct fake_server *server);

/* Messages of streams that flow control has let pass so far. */
unsigned fake_server_sent(struct fake_server *server);

#endif /* CG_TESTS_FAKE_SERVER_H */
