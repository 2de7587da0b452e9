/*
 * watch: what happens to calls and balances, a line as soon as it has happened.
 *
 * The client opens the stream again by itself, for as long as it takes.  Only the first
 * answer has a deadline: who mistyped an address wants to know.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "cli/answers.h"
#include "cli/client.h"
#include "cli/event.h"
#include "cli/output.h"

#define FOR_MAX_S 604800

struct session {
	struct cg_cli *cli;
	struct callgate_watch *watch; /* NULL once it has ended or was closed */
	const char *currency;
	bool heartbeats;
	int64_t left_count; /* events until the end; -1: no limit */
	bool has_answered;
	bool is_over;
	enum cg_exit code;
	char *token; /* once it is over; NULL: none is known */
};

static int64_t monotonic_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The last token received, or else the one that it began with. */
static void keep_token(struct session *session)
{
	const char *token = callgate_watch_token(session->watch);

	if (token[0] == '\0') {
		token = cg_args_text(&session->cli->args, "resume", "");
	}
	session->token = token[0] == '\0' ? NULL : strdup(token);
}

static void end(struct session *session, enum cg_exit code)
{
	keep_token(session);
	callgate_watch_close(session->watch);
	session->watch = NULL;
	session->is_over = true;
	session->code = code;
}

static void print_json(const struct callgate_watch_response *message)
{
	json_t *answer = cg_answers_watch(message);

	(void)json_dumpf(answer, stdout, JSON_COMPACT);
	(void)putchar('\n');
	json_decref(answer);
}

static void print_line(const struct session *session, const struct callgate_event *event)
{
	char line[CG_EVENT_LINE_BYTES];

	cg_event_format(event, session->currency, line);
	cg_output_put(stdout, line);
	(void)putchar('\n');
}

static void on_message(void *context, const struct callgate_watch_response *message)
{
	struct session *session = context;
	bool is_event = message->event != NULL;

	session->has_answered = true;
	if (session->cli->args.json && (is_event || session->heartbeats)) {
		print_json(message);
	} else if (is_event) {
		print_line(session, message->event);
	}
	if (is_event && session->left_count > 0) {
		session->left_count--;
	}
	/* Nobody reads on: main() says that the output could not be written. */
	if (fflush(stdout) != 0 || session->left_count == 0) {
		end(session, CG_EXIT_DONE);
	}
}

static void on_end(void *context, const struct callgate_error *error)
{
	struct session *session = context;

	session->has_answered = true;
	session->code = cg_client_fail(session->cli, error);
	session->is_over = true;
	/* Where the token is too old, trying it again leads nowhere. */
	if (error->status != CALLGATE_STATUS_OUT_OF_RANGE &&
	    error->status != CALLGATE_STATUS_INVALID_ARGUMENT) {
		keep_token(session);
	}
	session->watch = NULL;
}

/* SIGINT and SIGTERM end the command between two lines, never within one. */
static int open_signals(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static enum cg_exit fail_unanswered(const struct cg_cli *cli)
{
	json_t *more = json_object();
	char text[160];

	cg_output_add_text(more, "status", cg_answers_status(CALLGATE_STATUS_UNAVAILABLE));
	(void)snprintf(text, sizeof text,
	    "the sidecar has not answered within %" PRId64 " ms (UNAVAILABLE)",
	    cli->args.timeout_ms);
	return cg_output_error(cli, CG_EXIT_UNAVAILABLE, more, text);
}

/* Until `end_at_ms` (INT64_MAX: none), a signal, the last event, or the stream's end. */
static void run(struct session *session, int signals, int64_t answer_by_ms, int64_t end_at_ms)
{
	struct pollfd fds[] = {
	    {.fd = callgate_client_descriptor(session->cli->client), .events = POLLIN},
	    {.fd = signals, .events = POLLIN},
	};

	while (!session->is_over) {
		int64_t now_ms = monotonic_ms();
		int64_t until_ms = end_at_ms;

		if (!session->has_answered && answer_by_ms < until_ms) {
			until_ms = answer_by_ms;
		}
		if (until_ms <= now_ms) {
			bool in_time = session->has_answered || now_ms < answer_by_ms;
			end(session, in_time ? CG_EXIT_DONE : fail_unanswered(session->cli));
			return;
		}
		int64_t wait_ms = until_ms - now_ms;
		(void)poll(fds, CG_COUNT_OF(fds), wait_ms > 3600000 ? 3600000 : (int)wait_ms);
		if ((fds[1].revents & POLLIN) != 0) {
			end(session, CG_EXIT_DONE);
			return;
		}
		(void)callgate_client_dispatch(session->cli->client);
	}
}

static void print_token(const struct session *session)
{
	if (session->token == NULL) {
		return;
	}
	if (!session->cli->args.json) {
		(void)fprintf(stderr, "resume with --resume ");
		cg_output_put(stderr, session->token);
		(void)fputc('\n', stderr);
	} else if (session->code == CG_EXIT_DONE) {
		json_t *last = json_object();
		cg_output_add_text(last, "resume_token", session->token);
		(void)json_dumpf(last, stderr, JSON_COMPACT);
		(void)fputc('\n', stderr);
		json_decref(last);
	}
}

static size_t read_types(const struct cg_args *args, enum callgate_event_type *types)
{
	int64_t set = cg_args_int(args, "type", 0);
	size_t count = 0;

	for (unsigned i = 0; cg_event_types[i] != NULL; i++) {
		if ((set & INT64_C(1) << i) != 0) {
			types[count++] = (enum callgate_event_type)(i + 1);
		}
	}
	return count;
}

static enum cg_exit watch(struct cg_cli *cli)
{
	enum callgate_event_type types[CALLGATE_EVENT_TYPE_CALL_OVERDUE];
	struct callgate_watch_request request = {
	    .company_id = cg_args_text(&cli->args, "company", NULL),
	    .resume_token = cg_args_text(&cli->args, "resume", NULL),
	    .types = types,
	    .type_count = read_types(&cli->args, types),
	};
	struct session session = {
	    .cli = cli,
	    .currency = "",
	    .heartbeats = cg_args_has(&cli->args, "heartbeats"),
	    .left_count = cg_args_int(&cli->args, "count", -1),
	};
	int64_t for_s = cg_args_int(&cli->args, "for", 0);
	int64_t begun_at_ms = monotonic_ms();
	int signals = open_signals();

	if (session.heartbeats && !cli->args.json) {
		(void)close(signals);
		return cg_output_fail(cli, CG_EXIT_USAGE, "--heartbeats", "given with --json",
		    "--heartbeats: only with --json");
	}
	if (request.company_id != NULL) {
		session.currency = cg_client_currency(cli, request.company_id);
	}
	if (callgate_watch_open(cli->client, &request, on_message, on_end, &session,
	        &session.watch) != CALLGATE_ACCEPTED) {
		(void)close(signals);
		return cg_output_fail(cli, CG_EXIT_INCOMPATIBLE, NULL, NULL, "out of memory");
	}
	run(&session, signals, begun_at_ms + cli->args.timeout_ms,
	    for_s == 0 ? INT64_MAX : begun_at_ms + for_s * 1000);
	print_token(&session);
	free(session.token);
	(void)close(signals);
	return session.code;
}

static const struct cg_flag flags[] = {
    {.name = "company", .kind = CG_FLAG_UUID, .help = "only this company's"},
    {.name = "type", .kind = CG_FLAG_EVENTS, .choices = cg_event_types, .help = "only these"},
    {.name = "resume", .kind = CG_FLAG_TOKEN, .help = "after what this token was given for"},
    {.name = "count",
        .kind = CG_FLAG_INT,
        .min = 1,
        .max = 1000000000,
        .help = "end after so many events"},
    {.name = "for", .kind = CG_FLAG_INT, .min = 1, .max = FOR_MAX_S, .help = "end after seconds"},
    {.name = "heartbeats", .kind = CG_FLAG_SWITCH, .help = "with --json: print these too"},
    CG_FLAGS_END,
};

const struct cg_command cg_commands_watch[] = {
    {.name = "watch",
        .summary = "what happens to calls and balances, live, a line each",
        .details =
            "Ends by Ctrl-C, and says how to resume. Types: CALL_AUTHORIZED, CALL_STARTED,\n"
            "CALL_SETTLED, CALL_CANCELLED, CALL_EXPIRED, CALL_ABANDONED, CUT_OFF, BALANCE_LOW,\n"
            "CREDITED, CUT_WARNING, CALL_CORRECTED, CALL_DENIED, CALL_ADOPTED, CHARGED,\n"
            "WALLET_UPDATED, CALL_STOPPED, CALL_OVERDUE.",
        .flags = flags,
        .uses_gate = true,
        .run = watch},
    {.name = NULL},
};
