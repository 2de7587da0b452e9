/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/ports/events.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const names[CG_EVENT_TYPE_COUNT] = {
    [CG_EVENT_CALL_AUTHORIZED] = "CALL_AUTHORIZED",
    [CG_EVENT_CALL_STARTED] = "CALL_STARTED",
    [CG_EVENT_CALL_SETTLED] = "CALL_SETTLED",
    [CG_EVENT_CALL_CANCELLED] = "CALL_CANCELLED",
    [CG_EVENT_CALL_EXPIRED] = "CALL_EXPIRED",
    [CG_EVENT_CALL_ABANDONED] = "CALL_ABANDONED",
    [CG_EVENT_CUT_OFF] = "CUT_OFF",
    [CG_EVENT_BALANCE_LOW] = "BALANCE_LOW",
    [CG_EVENT_CREDITED] = "CREDITED",
    [CG_EVENT_CUT_WARNING] = "CUT_WARNING",
    [CG_EVENT_CALL_CORRECTED] = "CALL_CORRECTED",
    [CG_EVENT_CALL_DENIED] = "CALL_DENIED",
    [CG_EVENT_CALL_ADOPTED] = "CALL_ADOPTED",
    [CG_EVENT_CHARGED] = "CHARGED",
    [CG_EVENT_WALLET_UPDATED] = "WALLET_UPDATED",
    [CG_EVENT_CALL_STOPPED] = "CALL_STOPPED",
    [CG_EVENT_CALL_OVERDUE] = "CALL_OVERDUE",
};

const char *cg_event_type_name(enum cg_event_type type)
{
	return type > CG_EVENT_NONE && type < CG_EVENT_TYPE_COUNT ? names[type] : NULL;
}

void cg_event_id_format(const struct cg_event *event, char text[CG_EVENT_ID_TEXT_BYTES])
{
	const struct cg_stream_id *id =
	    event->is_entry ? &event->position.entry : &event->position.event;

	(void)snprintf(text, CG_EVENT_ID_TEXT_BYTES, "%s%" PRIu32 "-%" PRIu64 "-%" PRIu64,
	    event->is_entry ? "" : "e", event->partition, id->epoch, id->n);
}

static bool is_at_or_after(const struct cg_stream_id *a, const struct cg_stream_id *b)
{
	return a->epoch > b->epoch || (a->epoch == b->epoch && a->n >= b->n);
}

bool cg_position_equal(const struct cg_position *a, const struct cg_position *b)
{
	return cg_position_reaches(a, b) && cg_position_reaches(b, a);
}

bool cg_position_reaches(const struct cg_position *a, const struct cg_position *b)
{
	return is_at_or_after(&a->event, &b->event) && is_at_or_after(&a->entry, &b->entry);
}
