/*
 * libcurl's multi interface says which sockets to watch and when to be woken; the loop does both.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "edge/fetch/fetch.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define IDLE_CONNECTIONS 32

struct transfer {
	struct cg_list link;
	struct cg_fetch *fetch;
	CURL *easy;
	struct curl_slist *headers;
	char *body;
	size_t body_len;
	size_t body_room;
	size_t body_max;
	bool was_refused; /* an address inside */
	char why[CURL_ERROR_SIZE];
	void (*done)(void *owner, const struct cg_fetch_answer *answer);
	void *owner;
};

struct socket_watch {
	struct cg_list link;
	struct cg_fetch *fetch;
	struct cg_watch *watch;
	curl_socket_t fd;
};

struct cg_fetch {
	struct cg_fetch_config config;
	char *ca_file;
	struct cg_loop *loop;
	CURLM *multi;
	struct cg_timer *timer;
	struct cg_timer *soon; /* answers that need no network, and not to wait */
	struct cg_list transfers;
	struct cg_list refused; /* to be told CG_FULL */
	struct cg_list sockets;
	uint32_t count;
	bool is_closed;
};

/* What libcurl has of it; the rest is freed once its owner was told. */
static void let_go(struct transfer *t)
{
	if (t->easy != NULL) {
		(void)curl_multi_remove_handle(t->fetch->multi, t->easy);
		curl_easy_cleanup(t->easy);
		t->fetch->count--;
	}
	curl_slist_free_all(t->headers);
}

static void end(struct transfer *t, const struct cg_fetch_answer *answer)
{
	cg_list_remove(&t->link);
	let_go(t);
	t->done(t->owner, answer);
	free(t->body);
	free(t);
}

/* Every one of a list, without a word to its owner. */
static void drop_all(struct cg_list *transfers)
{
	for (struct cg_list *at = transfers->next, *next; at != transfers; at = next) {
		struct transfer *t = CG_CONTAINER_OF(at, struct transfer, link);
		next = at->next;
		let_go(t);
		free(t->body);
		free(t);
	}
	cg_list_init(transfers);
}

static enum cg_status status_of(const struct transfer *t, CURLcode code)
{
	/* Not all enumerators: what else went wrong happened after something was sent. */
	if (code == CURLE_OK) {
		return CG_OK;
	}
	if (code == CURLE_OPERATION_TIMEDOUT) {
		curl_off_t connected_us = 0;
		(void)curl_easy_getinfo(t->easy, CURLINFO_PRETRANSFER_TIME_T, &connected_us);
		return connected_us == 0 ? CG_UNAVAILABLE : CG_TIMEOUT;
	}
	if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
	    code == CURLE_SSL_CONNECT_ERROR || code == CURLE_PEER_FAILED_VERIFICATION ||
	    code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT) {
		return CG_UNAVAILABLE;
	}
	return CG_LOST;
}

static void on_message(CURLMsg *message)
{
	struct transfer *t = NULL;
	long code = 0;

	(void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
	(void)curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &code);
	CURLcode result = message->data.result;
	struct cg_fetch_answer answer = {.status = status_of(t, result), .why = ""};

	if (answer.status == CG_OK) {
		answer.code = (unsigned)code;
		answer.body = (struct cg_view){t->body, t->body_len};
	} else {
		answer.why = t->was_refused ? "the address is not public"
		    : t->why[0] != '\0'     ? t->why
		                            : curl_easy_strerror(result);
	}
	end(t, &answer);
}

static void read_messages(struct cg_fetch *fetch)
{
	int left = 0;
	CURLMsg *message;

	while ((message = curl_multi_info_read(fetch->multi, &left)) != NULL) {
		if (message->msg == CURLMSG_DONE) {
			on_message(message);
		}
	}
}

static void on_ready(void *owner, unsigned events)
{
	struct socket_watch *s = owner;
	struct cg_fetch *fetch = s->fetch;
	int flags = 0;
	int running = 0;

	flags |= (events & CG_WATCH_READ) != 0 ? CURL_CSELECT_IN : 0;
	flags |= (events & CG_WATCH_WRITE) != 0 ? CURL_CSELECT_OUT : 0;
	(void)curl_multi_socket_action(fetch->multi, s->fd, flags, &running);
	read_messages(fetch);
}

static void forget_socket(struct socket_watch *s)
{
	cg_watch_close(s->watch);
	cg_list_remove(&s->link);
	free(s);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *owner, void *known)
{
	struct cg_fetch *fetch = owner;
	struct socket_watch *s = known;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (s != NULL) {
			(void)curl_multi_assign(fetch->multi, fd, NULL);
			forget_socket(s);
		}
		return 0;
	}
	if (s == NULL) {
		s = calloc(1, sizeof *s);
		CG_ASSERT(s != NULL);
		s->fetch = fetch;
		s->fd = fd;
		s->watch = cg_watch_create(fetch->loop, fd, on_ready, s);
		cg_list_append(&fetch->sockets, &s->link);
		(void)curl_multi_assign(fetch->multi, fd, s);
	}
	unsigned events = 0;
	events |= what != CURL_POLL_OUT ? CG_WATCH_READ : 0;
	events |= what != CURL_POLL_IN ? CG_WATCH_WRITE : 0;
	cg_watch_set(s->watch, events);
	return 0;
}

static int on_timeout(CURLM *multi, long after_ms, void *owner)
{
	struct cg_fetch *fetch = owner;

	(void)multi;
	if (fetch->is_closed) {
		return 0;
	}
	if (after_ms < 0) {
		cg_timer_cancel(fetch->timer);
	} else {
		cg_timer_start(fetch->timer, (uint64_t)after_ms);
	}
	return 0;
}

static void on_timer(void *owner)
{
	struct cg_fetch *fetch = owner;
	int running = 0;

	(void)curl_multi_socket_action(fetch->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	read_messages(fetch);
}

static void on_soon(void *owner)
{
	struct cg_fetch *fetch = owner;
	struct cg_fetch_answer answer = {.status = CG_FULL, .why = "too many requests under way"};

	struct cg_list refused;

	/* Only those that wait now: their ends may submit new ones. */
	cg_list_init(&refused);
	for (struct cg_list *link; (link = cg_list_pop(&fetch->refused)) != NULL;) {
		cg_list_append(&refused, link);
	}
	for (struct cg_list *at = refused.next, *next; at != &refused; at = next) {
		next = at->next;
		end(CG_CONTAINER_OF(at, struct transfer, link), &answer);
	}
}

static size_t on_body(char *data, size_t size, size_t count, void *owner)
{
	struct transfer *t = owner;
	size_t len = size * count;

	if (t->body_max - t->body_len < len) {
		return 0; /* Too large: ends it. */
	}
	if (t->body_room - t->body_len < len) {
		size_t room = t->body_room == 0 ? 4096 : t->body_room;
		while (room - t->body_len < len) {
			room *= 2;
		}
		char *body = realloc(t->body, room);
		if (body == NULL) {
			return 0;
		}
		t->body = body;
		t->body_room = room;
	}
	memcpy(t->body + t->body_len, data, len);
	t->body_len += len;
	return len;
}

static curl_socket_t on_open(void *owner, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct transfer *t = owner;

	(void)purpose;
	if (!t->fetch->config.allow_private && !cg_url_is_public(&address->addr)) {
		t->was_refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Of a fixed kind each: curl_easy_setopt() fails on what cannot be here, or for want of memory. */
static void set_up(struct transfer *t, const struct cg_fetch_ask *ask)
{
	CURL *easy = t->easy;

	(void)curl_easy_setopt(easy, CURLOPT_URL, ask->url);
	(void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, ask->method);
	(void)curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
	(void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->why);
	(void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(
	    easy, CURLOPT_PROTOCOLS_STR, t->fetch->config.allow_private ? "http,https" : "https");
	(void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)ask->timeout_ms);
	(void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)ask->timeout_ms);
	(void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
	(void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, t);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
	(void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "callgate-edge/" CG_VERSION);
	if (t->fetch->ca_file != NULL) {
		(void)curl_easy_setopt(easy, CURLOPT_CAINFO, t->fetch->ca_file);
	}
	for (size_t i = 0; i < CG_FETCH_HEADERS_MAX && ask->headers[i] != NULL; i++) {
		t->headers = curl_slist_append(t->headers, ask->headers[i]);
	}
	/* Else libcurl waits a second for leave to send a larger body. */
	t->headers = curl_slist_append(t->headers, "Expect:");
	(void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->headers);
	if (ask->body.len > 0) {
		(void)curl_easy_setopt(
		    easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)ask->body.len);
		(void)curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, ask->body.data);
	}
}

void cg_fetch_submit(struct cg_fetch *fetch, const struct cg_fetch_ask *ask)
{
	struct transfer *t = calloc(1, sizeof *t);

	CG_ASSERT(t != NULL && !fetch->is_closed);
	t->fetch = fetch;
	t->done = ask->done;
	t->owner = ask->owner;
	t->body_max = ask->answer_bytes_max;
	cg_list_init(&t->link);
	t->easy = fetch->count < fetch->config.in_flight_max ? curl_easy_init() : NULL;
	if (t->easy == NULL) {
		cg_list_append(&fetch->refused, &t->link);
		cg_timer_start(fetch->soon, 0);
		return;
	}
	fetch->count++;
	cg_list_append(&fetch->transfers, &t->link);
	set_up(t, ask);
	/* Starts it through on_timeout(), in a later turn. */
	CURLMcode code = curl_multi_add_handle(fetch->multi, t->easy);
	CG_ASSERT(code == CURLM_OK);
}

struct cg_fetch *cg_fetch_create(struct cg_loop *loop, const struct cg_fetch_config *config)
{
	struct cg_fetch *fetch = calloc(1, sizeof *fetch);

	CG_ASSERT(fetch != NULL && curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
	fetch->config = *config;
	fetch->loop = loop;
	if (config->ca_file != NULL && config->ca_file[0] != '\0') {
		fetch->ca_file = strdup(config->ca_file);
		CG_ASSERT(fetch->ca_file != NULL);
	}
	cg_list_init(&fetch->transfers);
	cg_list_init(&fetch->refused);
	cg_list_init(&fetch->sockets);
	fetch->timer = cg_timer_create(loop, on_timer, fetch);
	fetch->soon = cg_timer_create(loop, on_soon, fetch);
	fetch->multi = curl_multi_init();
	CG_ASSERT(fetch->multi != NULL);
	(void)curl_multi_setopt(fetch->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	(void)curl_multi_setopt(fetch->multi, CURLMOPT_SOCKETDATA, fetch);
	(void)curl_multi_setopt(fetch->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
	(void)curl_multi_setopt(fetch->multi, CURLMOPT_TIMERDATA, fetch);
	(void)curl_multi_setopt(fetch->multi, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS);
	return fetch;
}

uint32_t cg_fetch_count(const struct cg_fetch *fetch)
{
	return fetch->count;
}

void cg_fetch_close(struct cg_fetch *fetch)
{
	fetch->is_closed = true;
	cg_timer_close(fetch->timer);
	cg_timer_close(fetch->soon);
	drop_all(&fetch->refused);
	drop_all(&fetch->transfers);
	(void)curl_multi_cleanup(fetch->multi);
	for (struct cg_list *at = fetch->sockets.next, *next; at != &fetch->sockets; at = next) {
		struct socket_watch *s = CG_CONTAINER_OF(at, struct socket_watch, link);
		next = at->next;
		cg_watch_close(s->watch);
		free(s);
	}
	curl_global_cleanup();
	free(fetch->ca_file);
	free(fetch);
}
