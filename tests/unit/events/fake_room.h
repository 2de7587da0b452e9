/*
 * A room over a fake store on a loop of its own, which can be taken down and put up again
 * while the store remains.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef FAKE_ROOM_H
#define FAKE_ROOM_H

#include "fake_client.h"

struct fake_room {
	struct cg_loop *loop;
	struct fake_store store;
	struct cg_events *events;
	struct cg_events_config config;
};

void fake_room_init(struct fake_room *room);
void fake_room_up(struct fake_room *room);
void fake_room_down(struct fake_room *room);
void fake_room_deinit(struct fake_room *room);

/* Turns the loop until it holds, for 5 s at most. */
bool fake_room_until(struct fake_room *room, bool (*holds)(void *arg), void *arg);
void fake_room_for(struct fake_room *room, uint64_t ms);

#endif /* FAKE_ROOM_H */
