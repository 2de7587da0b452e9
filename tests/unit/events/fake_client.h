/*
 * Somebody who watches, and checks what he is told: per company every number once and in
 * order; after a resumption from the token on.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef FAKE_CLIENT_H
#define FAKE_CLIENT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* wants the others first */

#include "events/events.h"
#include "fake_store.h"

#define CLIENT_COMPANIES 1024

struct fake_client {
	struct cg_events *events;
	struct cg_watcher *watcher; /* NULL: not open */
	struct cg_watch_in in;
	bool is_lazy; /* takes the next only when told to */
	bool is_waiting;
	bool closes_in_deliver;
	struct fake_client *closes_in_end;
	bool reopens_in_end;
	bool is_inside_watch;
	unsigned beats;
	unsigned told;
	unsigned disorder; /* told what does not follow on what was told before */
	unsigned ends;
	enum cg_watch_end why;
	uint64_t messages;
	uint32_t *numbers; /* the last one told, per company */
	uint32_t *saved;   /* as it was with the token that is kept */
	char token[1024];
	size_t token_len;
	bool first_was_beat;
	uint64_t opened_at_ms;
	uint64_t first_beat_at_ms;
	int64_t as_of_ms;
};

void fake_client_init(struct fake_client *client);
void fake_client_deinit(struct fake_client *client);
/* Company `n`, or all of them where it is UINT32_MAX; with the token kept, if there is one. */
enum cg_status fake_client_open(struct fake_client *client, struct cg_events *events, uint32_t n);
void fake_client_close(struct fake_client *client);
void fake_client_take(struct fake_client *client);
/* What has happened so far is what he does not expect to be told. */
void fake_client_begin_at(struct fake_client *client, const struct fake_store *store);

#endif /* FAKE_CLIENT_H */
