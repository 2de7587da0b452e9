/*
 * The rpc room with a gate that decides nothing, as a program: what tests/rpc/ talks to.
 *
 *   fake_gate_server LISTEN CALLS_MAX GRACE_MS [thread]
 *
 * Prints "ready PORT" when it serves; SIGUSR1 drains, SIGTERM or the end of stdin closes.
 * Its last line says how many requests the gate was given and has answered.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fake_gate.h"
#include "rpc/server.h"

struct program {
	struct cg_loop *loop;
	struct cg_gate *gate;
	struct cg_rpc_server *server;
	struct cg_signal *drain;
	struct cg_signal *term;
	struct cg_watch *input;
	uint32_t grace_ms;
	bool closing;
};

static void on_closed(void *owner)
{
	struct program *p = owner;

	(void)printf("closed %" PRIu64 " %" PRIu64 "\n", fake_gate_submitted(p->gate),
	    fake_gate_answered(p->gate));
	(void)fflush(stdout);
	cg_loop_stop(p->loop);
}

static void on_drain(void *owner)
{
	struct program *p = owner;

	cg_rpc_server_drain(p->server);
	(void)printf("draining\n");
	(void)fflush(stdout);
}

static void close_server(void *owner)
{
	struct program *p = owner;

	if (!p->closing) {
		p->closing = true;
		cg_rpc_server_close(p->server, p->grace_ms, on_closed, p);
	}
}

static void on_input(void *owner, unsigned events)
{
	struct program *p = owner;
	char bytes[64];

	(void)events;
	if (read(STDIN_FILENO, bytes, sizeof bytes) <= 0) {
		cg_watch_set(p->input, 0);
		close_server(p);
	}
}

int main(int argc, char **argv)
{
	struct program p = {0};
	struct cg_error err;

	if (argc < 4) {
		(void)fprintf(stderr, "usage: %s LISTEN CALLS_MAX GRACE_MS [thread]\n", argv[0]);
		return 2;
	}
	struct cg_rpc_config config = {
	    .listen = argv[1],
	    .calls_max = (uint32_t)strtoul(argv[2], NULL, 10),
	    .message_bytes_max = 64 * 1024,
	    .metadata_bytes_max = 8 * 1024,
	    .streams_max = 1024,
	    .deadline_max_ms = 30000,
	    .waits_in_thread = argc > 4,
	};
	p.grace_ms = (uint32_t)strtoul(argv[3], NULL, 10);
	(void)signal(SIGPIPE, SIG_IGN);
	p.loop = cg_loop_create();
	p.gate = fake_gate_create(p.loop);
	if (cg_rpc_server_open(p.loop, &config, p.gate, &p.server, &err) != CG_OK) {
		(void)fprintf(stderr, "%s\n", err.text);
		fake_gate_destroy(p.gate);
		cg_loop_destroy(p.loop);
		return 1;
	}
	cg_rpc_server_set_serving(p.server, true);
	p.drain = cg_signal_create(p.loop, SIGUSR1, on_drain, &p);
	p.term = cg_signal_create(p.loop, SIGTERM, close_server, &p);
	p.input = cg_watch_create(p.loop, STDIN_FILENO, on_input, &p);
	cg_watch_set(p.input, CG_WATCH_READ);
	(void)printf("ready %u\n", (unsigned)cg_rpc_server_port(p.server));
	(void)fflush(stdout);

	cg_loop_run(p.loop);
	cg_signal_close(p.drain);
	cg_signal_close(p.term);
	cg_watch_close(p.input);
	fake_gate_destroy(p.gate);
	cg_loop_destroy(p.loop);
	return 0;
}
