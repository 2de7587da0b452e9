/*
 * The rpc room with a gate that decides nothing and an events room in which happens what
 * stdin says, as a program: what tests/rpc/ talks to.
 *
 *   fake_gate_server LISTEN CALLS_MAX GRACE_MS WATCHERS_MAX [thread] [reflection]
 *       [NAME=VALUE ...]
 *
 * NAME is a setting of struct cg_rpc_config, see `settings`.
 *
 * Prints "ready PORT" when it serves; SIGUSR1 drains, SIGHUP reloads, SIGTERM or the end of stdin closes.
 * Its last line says how many requests the gate was given and has answered.  On stdin:
 *
 *   tell TYPE COMPANY META_BYTES COUNT   that many events (see fake_events.h)
 *   beat                                 a heartbeat to all
 *   end WHY                              every watcher, by the number of enum cg_watch_end
 *   counts                               prints "counts WATCHERS SENT"
 *   requests                             prints "requests SUBMITTED ANSWERED"
 *   doors                                prints "doors NAME=VALUE ...": rpc/counters.h
 *   serving 0|1                          what health says
 *   metrics                              prints what is counted, and a line "end"
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fake_events.h"
#include "fake_gate.h"
#include "rpc/counters.h"
#include "rpc/server.h"
#include "rpc/shutdown.h"

#define GRPC_SHUTDOWN_MS 1000

struct program {
	struct cg_loop *loop;
	struct cg_gate *gate;
	struct cg_events *events;
	struct cg_rpc_server *server;
	struct cg_metrics metrics;
	struct cg_signal *drain;
	struct cg_signal *term;
	struct cg_signal *hup;
	struct cg_watch *input;
	uint32_t grace_ms;
	bool closing;
	char line[256]; /* of stdin, as far as it has come */
	size_t line_len;
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

static void on_hup(void *owner)
{
	struct program *p = owner;

	cg_rpc_server_reload(p->server);
}

#define SHOW(name) (void)printf(" " #name "=%" PRIu64, counters->name)

static void show_doors(struct program *p)
{
	const struct cg_rpc_counters *counters = cg_rpc_server_counters(p->server);

	(void)printf("doors");
	SHOW(connections_accepted);
	SHOW(connections_open);
	SHOW(connections_refused_full);
	SHOW(connections_refused_peer);
	SHOW(accept_pauses);
	SHOW(connections_refused_rubbish);
	SHOW(connections_cut);
	SHOW(connections_cut_flood);
	SHOW(connections_ended_old);
	SHOW(connections_ended_idle);
	SHOW(connections_ended_silent);
	SHOW(connections_ended_unused);
	SHOW(connections_refused_banned);
	SHOW(calls_stalled);
	SHOW(unauthenticated);
	SHOW(permission_denied);
	SHOW(refused_in_flight);
	SHOW(refused_connection_in_flight);
	SHOW(refused_rate);
	SHOW(refused_listings);
	SHOW(refused_watchers);
	SHOW(refused_sessions);
	SHOW(session_requests);
	SHOW(refused_compressed);
	SHOW(refused_closing);
	SHOW(refused_no_message);
	SHOW(watches_revoked);
	SHOW(sessions_revoked);
	SHOW(reloads);
	SHOW(reloads_failed);
	(void)printf("\n");
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

static void print_metrics(const struct program *p)
{
	struct cg_metrics_text text;

	CG_ASSERT(cg_metrics_write(&p->metrics, &text));
	(void)fwrite(text.data, 1, text.len, stdout);
	(void)printf("end\n");
	(void)fflush(stdout);
	cg_metrics_text_deinit(&text);
}

static void obey(struct program *p, const char *line)
{
	char company_text[64];
	struct cg_uuid company;
	unsigned type = 0;
	unsigned bytes = 0;
	unsigned count = 0;

	if (sscanf(line, "tell %u %63s %u %u", &type, company_text, &bytes, &count) == 4) {
		CG_ASSERT(cg_uuid_parse(cg_view_of(company_text), &company));
		fake_events_tell(p->events, (enum cg_event_type)type, &company, bytes, count);
	} else if (sscanf(line, "end %u", &type) == 1) {
		fake_events_end(p->events, (enum cg_watch_end)type);
	} else if (strcmp(line, "beat") == 0) {
		fake_events_beat(p->events);
	} else if (strcmp(line, "doors") == 0) {
		show_doors(p);
	} else if (sscanf(line, "serving %u", &type) == 1) {
		cg_rpc_server_set_serving(p->server, type != 0);
	} else if (strcmp(line, "metrics") == 0) {
		print_metrics(p);
	} else if (strcmp(line, "counts") == 0) {
		(void)printf("counts %" PRIu32 " %" PRIu64 "\n",
		    fake_events_watcher_count(p->events), fake_events_sent_count(p->events));
		(void)fflush(stdout);
	} else if (strcmp(line, "requests") == 0) {
		(void)printf("requests %" PRIu64 " %" PRIu64 "\n", fake_gate_submitted(p->gate),
		    fake_gate_answered(p->gate));
		(void)fflush(stdout);
	}
}

static void on_input(void *owner, unsigned events)
{
	struct program *p = owner;
	char bytes[64];

	(void)events;
	ssize_t len = read(STDIN_FILENO, bytes, sizeof bytes);
	if (len <= 0) {
		cg_watch_set(p->input, 0);
		close_server(p);
		return;
	}
	for (ssize_t i = 0; i < len; i++) {
		if (bytes[i] == '\n') {
			p->line[p->line_len] = '\0';
			p->line_len = 0;
			obey(p, p->line);
		} else if (p->line_len < sizeof p->line - 1) {
			p->line[p->line_len++] = bytes[i];
		}
	}
}

/* "name=value"; false: there is no such setting. */
static bool set(struct cg_rpc_config *config, const char *pair)
{
	const struct {
		const char *name;
		const char **text;
		uint32_t *number;
	} settings[] = {
	    {"peers", &config->peers, NULL},
	    {"credentials_file", &config->credentials_file, NULL},
	    {"tls_certificate", &config->tls_certificate, NULL},
	    {"tls_key", &config->tls_key, NULL},
	    {"tls_client_authorities", &config->tls_client_authorities, NULL},
	    {"connections_max", NULL, &config->connections_max},
	    {"door_connections_max", NULL, &config->door_connections_max},
	    {"connection_age_ms", NULL, &config->connection_age_ms},
	    {"connection_grace_ms", NULL, &config->connection_grace_ms},
	    {"connection_idle_ms", NULL, &config->connection_idle_ms},
	    {"streams_max", NULL, &config->streams_max},
	    {"authorizes_per_second", NULL, &config->authorizes_per_second},
	    {"authorizes_burst", NULL, &config->authorizes_burst},
	    {"session_window", NULL, &config->session_window},
	    {"sessions_max", NULL, &config->sessions_max},
	};
	const char *equals = strchr(pair, '=');

	for (size_t i = 0; equals != NULL && i < CG_COUNT_OF(settings); i++) {
		if (strlen(settings[i].name) != (size_t)(equals - pair) ||
		    strncmp(settings[i].name, pair, (size_t)(equals - pair)) != 0) {
			continue;
		}
		if (settings[i].text != NULL) {
			*settings[i].text = equals + 1;
		} else {
			*settings[i].number = (uint32_t)strtoul(equals + 1, NULL, 10);
		}
		return true;
	}
	return false;
}

/* The words and settings behind the four that are always there. */
static bool set_all(struct cg_rpc_config *config, int argc, char **argv)
{
	for (int i = 5; i < argc; i++) {
		if (strcmp(argv[i], "thread") == 0) {
			config->waits_in_thread = true;
		} else if (strcmp(argv[i], "reflection") == 0) {
			config->reflection = true;
		} else if (!set(config, argv[i])) {
			(void)fprintf(stderr, "%s: there is no such setting\n", argv[i]);
			return false;
		}
	}
	return true;
}

int main(int argc, char **argv)
{
	struct program p = {0};
	struct cg_error err;

	if (argc < 5) {
		(void)fprintf(stderr,
		    "usage: %s LISTEN CALLS_MAX GRACE_MS WATCHERS_MAX [thread] [reflection]\n",
		    argv[0]);
		return 2;
	}
	struct cg_rpc_config config = {
	    .listen = argv[1],
	    .calls_max = (uint32_t)strtoul(argv[2], NULL, 10),
	    .message_bytes_max = 64 * 1024,
	    .metadata_bytes_max = 8 * 1024,
	    .streams_max = 1024,
	    .deadline_max_ms = 30000,
	    .watchers_max = (uint32_t)strtoul(argv[4], NULL, 10),
	    .session_window = 256,
	    .sessions_max = 64,
	    .connections_max = 1024,
	    .door_connections_max = 1024,
	    .connection_age_ms = 30 * 60 * 1000,
	    .connection_grace_ms = 30 * 1000,
	    .connection_idle_ms = 15 * 60 * 1000,
	};
	if (!set_all(&config, argc, argv)) {
		return 2;
	}
	p.grace_ms = (uint32_t)strtoul(argv[3], NULL, 10);
	(void)signal(SIGPIPE, SIG_IGN);
	p.loop = cg_loop_create();
	p.gate = fake_gate_create(p.loop);
	p.events = fake_events_create(p.loop, config.watchers_max);
	if (cg_rpc_server_open(p.loop, &config, p.gate, p.events, &p.server, &err) != CG_OK) {
		(void)fprintf(stderr, "%s\n", err.text);
		fake_events_destroy(p.events);
		fake_gate_destroy(p.gate);
		cg_loop_destroy(p.loop);
		return 1;
	}
	cg_rpc_server_set_serving(p.server, true);
	cg_metrics_init(&p.metrics);
	cg_rpc_server_measure(p.server, &p.metrics);
	p.drain = cg_signal_create(p.loop, SIGUSR1, on_drain, &p);
	p.hup = cg_signal_create(p.loop, SIGHUP, on_hup, &p);
	p.term = cg_signal_create(p.loop, SIGTERM, close_server, &p);
	p.input = cg_watch_create(p.loop, STDIN_FILENO, on_input, &p);
	cg_watch_set(p.input, CG_WATCH_READ);
	(void)printf("ready %u\n", (unsigned)cg_rpc_server_port(p.server));
	(void)fflush(stdout);

	cg_loop_run(p.loop);
	cg_metrics_deinit(&p.metrics);
	cg_signal_close(p.drain);
	cg_signal_close(p.term);
	cg_signal_close(p.hup);
	cg_watch_close(p.input);
	fake_events_destroy(p.events);
	fake_gate_destroy(p.gate);
	cg_loop_destroy(p.loop);
	if (!cg_rpc_shutdown(GRPC_SHUTDOWN_MS)) {
		_exit(0);
	}
	return 0;
}
