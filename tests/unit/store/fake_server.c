/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "store/wire.h"

#define WORDS_MAX 256

struct command {
	struct cg_view words[WORDS_MAX];
	size_t count;
};

static void say_bulk(struct fake_server *s, struct cg_view content)
{
	char head[32];

	(void)snprintf(head, sizeof head, "$%zu\r\n", content.len);
	fake_server_say(s, head);
	fake_server_say_bytes(s, content.data, content.len);
	fake_server_say(s, "\r\n");
}

/* A number and the line's end; false where it is not whole. */
static bool take_number(struct cg_view *rest, char mark, size_t *ret_number)
{
	const char *end = rest->len == 0 ? NULL : memchr(rest->data, '\n', rest->len);

	if (end == NULL || rest->data[0] != mark) {
		return false;
	}
	*ret_number = strtoul(rest->data + 1, NULL, 10);
	size_t taken = (size_t)(end - rest->data) + 1;
	rest->data += taken;
	rest->len -= taken;
	return true;
}

static bool take_command(struct cg_view *rest, struct command *ret_command)
{
	struct cg_view at = *rest;
	struct command command = {0};

	if (!take_number(&at, '*', &command.count) || command.count > WORDS_MAX) {
		return false;
	}
	for (size_t i = 0; i < command.count; i++) {
		size_t len = 0;
		if (!take_number(&at, '$', &len) || at.len < len + 2) {
			return false;
		}
		command.words[i] = (struct cg_view){at.data, len};
		at.data += len + 2;
		at.len -= len + 2;
	}
	*rest = at;
	*ret_command = command;
	return true;
}

static bool is_word(struct cg_view word, const char *text)
{
	return cg_view_equal(word, cg_view_of(text));
}

static void answer_auth(struct fake_server *s, const struct command *c)
{
	if (s->password != NULL && is_word(c->words[c->count - 1], s->password)) {
		fake_server_say(s, "+OK\r\n");
	} else {
		fake_server_say(s, "-WRONGPASS invalid username-password pair\r\n");
	}
}

static void answer_list(struct fake_server *s)
{
	struct cg_view text = s->library == NULL ? (struct cg_view){0} : cg_view_of(s->library);

	if (s->library == NULL) {
		fake_server_say(s, "*0\r\n");
		return;
	}
	if (is_word(text, "same")) {
		text = cg_wire_library();
	}
	fake_server_say(s, "*1\r\n*4\r\n$9\r\nfunctions\r\n*0\r\n$12\r\nlibrary_code\r\n");
	say_bulk(s, text);
}

static void answer_load(struct fake_server *s, const struct command *c)
{
	s->loads++;
	s->replaced = is_word(c->words[2], "REPLACE");
	if (s->load_error != NULL) {
		fake_server_say(s, s->load_error);
		s->load_error = NULL;
		s->library = "same";
		return;
	}
	say_bulk(s, cg_view_of(cg_wire_library_name()));
}

static void answer_greeting(struct fake_server *s, const struct command *c)
{
	s->greetings++;
	if (is_word(c->words[0], "AUTH")) {
		answer_auth(s, c);
	} else if (is_word(c->words[0], "ROLE")) {
		fake_server_say(s, s->role);
	} else if (is_word(c->words[0], "TIME")) {
		fake_server_say(s, s->time);
	} else if (is_word(c->words[0], "INFO")) {
		say_bulk(s, cg_view_of(s->info));
	} else if (is_word(c->words[0], "BGREWRITEAOF")) {
		s->rewrites++;
		fake_server_say(s,
		    s->rewrite_error == NULL ? "+Background append only file rewriting started\r\n"
		                             : s->rewrite_error);
	} else if (is_word(c->words[0], "FUNCTION") && is_word(c->words[1], "LIST")) {
		answer_list(s);
	} else if (is_word(c->words[0], "FUNCTION")) {
		answer_load(s, c);
	} else {
		fake_server_say(s, "+OK\r\n"); /* SELECT, CLIENT SETNAME */
	}
}

static void answer(struct fake_server *s, const struct command *c)
{
	if (is_word(c->words[0], "FCALL") || is_word(c->words[0], "FCALL_RO")) {
		s->functions++;
	} else if (s->is_mute) {
		return;
	} else if (is_word(c->words[0], "PING")) {
		s->pings++;
		if (!s->ignores_pings) {
			fake_server_say(s, "+PONG\r\n");
		}
	} else {
		answer_greeting(s, c);
	}
}

static void on_readable(void *owner, unsigned events)
{
	struct fake_server *s = owner;
	struct cg_view rest;
	struct command command;

	(void)events;
	ssize_t n =
	    recv(s->fd, s->heard + s->heard_bytes, sizeof s->heard - s->heard_bytes, MSG_DONTWAIT);
	if (n <= 0) {
		fake_server_hang_up(s);
		return;
	}
	s->heard_bytes += (size_t)n;
	rest = (struct cg_view){s->heard, s->heard_bytes};
	while (s->fd >= 0 && take_command(&rest, &command)) {
		answer(s, &command);
	}
	memmove(s->heard, rest.data, rest.len);
	s->heard_bytes = rest.len;
}

static void on_connection(void *owner, unsigned events)
{
	struct fake_server *s = owner;

	(void)events;
	fake_server_hang_up(s);
	s->fd = accept(s->listener, NULL, NULL);
	CG_ASSERT(s->fd >= 0);
	s->connections++;
	s->reads = cg_watch_create(s->loop, s->fd, on_readable, s);
	cg_watch_set(s->reads, CG_WATCH_READ);
	if (s->first_words != NULL) {
		fake_server_say(s, s->first_words);
	}
}

void fake_server_listen(struct fake_server *s)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", s->address + 5);
	(void)unlink(address.sun_path);
	s->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	CG_ASSERT(bind(s->listener, (struct sockaddr *)&address, sizeof address) == 0);
	CG_ASSERT(listen(s->listener, 8) == 0);
	s->accepts = cg_watch_create(s->loop, s->listener, on_connection, s);
	cg_watch_set(s->accepts, CG_WATCH_READ);
}

void fake_server_stop_listening(struct fake_server *s)
{
	if (s->listener >= 0) {
		cg_watch_close(s->accepts);
		(void)close(s->listener);
		(void)unlink(s->address + 5);
		s->listener = -1;
	}
}

struct fake_server *fake_server_create(struct cg_loop *loop)
{
	struct fake_server *s = calloc(1, sizeof *s);

	CG_ASSERT(s != NULL);
	s->loop = loop;
	s->fd = -1;
	(void)strcpy(s->dir, "/tmp/cg-fake-XXXXXX");
	CG_ASSERT(mkdtemp(s->dir) != NULL);
	(void)snprintf(s->address, sizeof s->address, "unix:%s/s", s->dir);
	s->time = "*2\r\n$10\r\n1787300000\r\n$6\r\n250000\r\n";
	s->role = "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";
	s->info = "# Persistence\r\nloading:0\r\naof_enabled:1\r\n"
	          "maxmemory_policy:noeviction\r\n";
	s->library = "same";
	fake_server_listen(s);
	return s;
}

void fake_server_destroy(struct fake_server *s)
{
	fake_server_hang_up(s);
	fake_server_stop_listening(s);
	(void)rmdir(s->dir);
	free(s);
}

void fake_server_say_bytes(struct fake_server *s, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = send(s->fd, bytes, len, MSG_NOSIGNAL);
		if (n < 0) {
			return; /* Whoever hung up does not want to hear it. */
		}
		bytes += n;
		len -= (size_t)n;
	}
}

void fake_server_say(struct fake_server *s, const char *bytes)
{
	fake_server_say_bytes(s, bytes, strlen(bytes));
}

void fake_server_hang_up(struct fake_server *s)
{
	if (s->fd >= 0) {
		cg_watch_close(s->reads);
		(void)close(s->fd);
		s->fd = -1;
		s->heard_bytes = 0;
	}
}
