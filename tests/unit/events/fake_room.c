/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_room.h"

#include "../loop/turn.h"

bool fake_room_until(struct fake_room *room, bool (*holds)(void *arg), void *arg)
{
	return turn_until(room->loop, holds, arg, 5000);
}

void fake_room_for(struct fake_room *room, uint64_t ms)
{
	turn_for(room->loop, ms);
}

void fake_room_up(struct fake_room *room)
{
	room->events = cg_events_create(room->loop, &room->config, &room->store.port);
	cg_events_start(room->events);
}

void fake_room_down(struct fake_room *room)
{
	cg_events_end_watchers(room->events);
	cg_events_close(room->events);
	fake_store_close(&room->store);
	cg_loop_destroy(room->loop);
	cg_events_destroy(room->events);
	room->loop = cg_loop_create();
	fake_store_move(&room->store, room->loop);
}

void fake_room_init(struct fake_room *room)
{
	*room = (struct fake_room){
	    .loop = cg_loop_create(),
	    .config = {.tick_ms = 20,
	        .kept_max = 8192,
	        .kept_bytes = 16u << 20,
	        .events_keep = 10000,
	        .watchers_max = 6000,
	        .heartbeat_ms = 60000,
	        .slow_ms = 60000},
	};
	fake_store_init(&room->store, room->loop);
}

void fake_room_deinit(struct fake_room *room)
{
	fake_room_down(room);
	fake_store_close(&room->store);
	cg_loop_destroy(room->loop);
	fake_store_deinit(&room->store);
}
