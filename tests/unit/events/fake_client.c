/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fake_client_init(struct fake_client *client)
{
	*client = (struct fake_client){0};
	client->numbers = calloc(CLIENT_COMPANIES, sizeof client->numbers[0]);
	client->saved = calloc(CLIENT_COMPANIES, sizeof client->saved[0]);
}

void fake_client_deinit(struct fake_client *client)
{
	if (client->watcher != NULL) {
		fake_client_close(client);
	}
	free(client->numbers);
	free(client->saved);
}

static void note(struct fake_client *client, const struct cg_event *event)
{
	char text[16];
	uint32_t n = 0;

	memcpy(&n, event->company.bytes + 12, sizeof n);
	assert_true(n < CLIENT_COMPANIES);
	(void)snprintf(text, sizeof text, "call-%u", event->repeat);
	assert_true(cg_view_equal(event->call_id, cg_view_of(text)));
	client->told++;
	if (event->repeat != client->numbers[n] + 1 && client->in.types == 0) {
		client->disorder++;
	}
	if (event->repeat <= client->numbers[n]) {
		client->disorder++;
	}
	client->numbers[n] = event->repeat;
}

static void deliver(void *owner, const struct cg_watch_message *message)
{
	struct fake_client *client = owner;

	assert_false(client->is_inside_watch);
	assert_false(client->is_waiting); /* One at a time. */
	assert_int_equal(client->ends, 0);
	if (client->messages++ == 0) {
		client->first_was_beat = message->event == NULL;
	}
	client->as_of_ms = message->as_of_ms;
	if (message->event != NULL) {
		note(client, message->event);
	} else {
		client->beats++;
	}
	if (message->resume_token.len > 0) {
		assert_true(message->resume_token.len <= sizeof client->token);
		memcpy(client->token, message->resume_token.data, message->resume_token.len);
		client->token_len = message->resume_token.len;
		memcpy(
		    client->saved, client->numbers, CLIENT_COMPANIES * sizeof client->numbers[0]);
	}
	if (client->closes_in_deliver) {
		fake_client_close(client);
		return;
	}
	client->is_waiting = true;
	if (!client->is_lazy) {
		fake_client_take(client);
	}
}

static void end(void *owner, enum cg_watch_end why)
{
	struct fake_client *client = owner;
	struct cg_watcher *watcher = client->watcher;

	assert_false(client->is_inside_watch);
	client->ends++;
	client->why = why;
	cg_watcher_close(watcher); /* As one who does not look; harmless. */
	client->watcher = NULL;
	client->is_waiting = false;
	if (client->closes_in_end != NULL && client->closes_in_end->watcher != NULL) {
		fake_client_close(client->closes_in_end);
	}
	if (client->reopens_in_end) {
		client->reopens_in_end = false;
		client->ends = 0;
		client->token_len = 0;
		assert_int_equal(fake_client_open(client, client->events, UINT32_MAX), CG_OK);
	}
}

enum cg_status fake_client_open(struct fake_client *client, struct cg_events *events, uint32_t n)
{
	static const struct cg_watch_sink sink = {.deliver = deliver, .end = end};
	struct cg_error err = {0};

	CG_ASSERT(client->watcher == NULL);
	client->events = events;
	client->in.all_companies = n == UINT32_MAX;
	client->in.company = fake_company(n);
	client->in.resume_token = (struct cg_view){client->token, client->token_len};
	client->messages = 0;
	client->ends = 0;
	client->is_waiting = false;
	if (client->token_len > 0) {
		memcpy(
		    client->numbers, client->saved, CLIENT_COMPANIES * sizeof client->numbers[0]);
	}
	client->is_inside_watch = true;
	enum cg_status status =
	    cg_events_watch(events, &client->in, &sink, client, &client->watcher, &err);
	client->is_inside_watch = false;
	if (status != CG_OK) {
		assert_true(err.text[0] != '\0');
	}
	return status;
}

void fake_client_close(struct fake_client *client)
{
	struct cg_watcher *watcher = client->watcher;

	client->watcher = NULL;
	client->is_waiting = false;
	cg_watcher_close(watcher);
}

void fake_client_take(struct fake_client *client)
{
	client->is_waiting = false;
	cg_watcher_sent(client->watcher);
}

void fake_client_begin_at(struct fake_client *client, const struct fake_store *store)
{
	for (uint32_t i = 0; i < FAKE_PARTITIONS; i++) {
		for (uint32_t j = 0; j < store->parts[i].count; j++) {
			const struct fake_happened *happened = &store->parts[i].happened[j];
			uint32_t n = 0;
			memcpy(&n, happened->company.bytes + 12, sizeof n);
			client->numbers[n] = happened->number;
		}
	}
	memcpy(client->saved, client->numbers, CLIENT_COMPANIES * sizeof client->numbers[0]);
}
