/*
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/event.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/base.h"
#include "cli/money.h"

const char *const cg_event_types[] = {"CALL_AUTHORIZED", "CALL_STARTED", "CALL_SETTLED",
    "CALL_CANCELLED", "CALL_EXPIRED", "CALL_ABANDONED", "CUT_OFF", "BALANCE_LOW", "CREDITED",
    "CUT_WARNING", "CALL_CORRECTED", "CALL_DENIED", "CALL_ADOPTED", "CHARGED", "WALLET_UPDATED",
    "CALL_STOPPED", "CALL_OVERDUE", NULL};

#define TYPE_WIDTH 15

struct line {
	const struct callgate_event *event;
	const char *currency;
	struct cg_buffer out;
};

static void say_money(struct line *line, const char *before, int64_t micros, const char *after)
{
	char text[CG_MONEY_TEXT_BYTES];

	cg_money_format(micros, line->currency, text);
	cg_buffer_printf(&line->out, "%s%s%s", before, text, after);
}

static void say_time(struct line *line, const char *before, int64_t at_ms)
{
	char text[CG_TIME_TEXT_BYTES];

	cg_time_format(at_ms, text);
	cg_buffer_printf(&line->out, "%s%s", before, text);
}

static void say_duration(struct line *line, const char *before, int64_t ms, const char *after)
{
	char text[CG_DURATION_TEXT_BYTES];

	cg_duration_format(ms, text);
	cg_buffer_printf(&line->out, "%s%s%s", before, text, after);
}

static void say_available(struct line *line)
{
	say_money(line, "; ", line->event->available_micros, " available");
}

/* Nothing where the wallet lasts for ever. */
static void say_end(struct line *line)
{
	if (line->event->exhausts_at_ms != 0) {
		say_time(line, ", lasts until ", line->event->exhausts_at_ms);
	}
}

static void say_authorized(struct line *line)
{
	cg_buffer_printf(&line->out, "held");
	say_available(line);
	if (line->event->shadow_decision > CALLGATE_DECISION_ALLOWED) {
		cg_buffer_printf(&line->out, "; without shadow mode: %s",
		    callgate_decision_name(line->event->shadow_decision));
	}
}

static void say_settled(struct line *line, const char *what)
{
	say_duration(line, what, line->event->billed_ms, "");
	cg_buffer_printf(&line->out, ", %s", callgate_duration_basis_name(line->event->basis));
	say_available(line);
}

static void say_cut_off(struct line *line)
{
	cg_buffer_printf(&line->out, "%s",
	    line->event->shadow ? "shadow mode, to record and not to obey: nothing is left"
	                        : "end this call now: nothing is left");
	if (line->event->exhausts_at_ms != 0) {
		say_time(line, " since ", line->event->exhausts_at_ms);
	}
	if (line->event->repeat > 0) {
		cg_buffer_printf(&line->out, "; repeated, number %" PRId32, line->event->repeat);
	}
}

static void say_cut_warning(struct line *line)
{
	cg_buffer_printf(
	    &line->out, "%s", line->event->shadow ? "shadow mode, to record only: " : "");
	say_duration(line, "cut-off follows in ", line->event->remaining_ms, "");
	say_time(line, ", at ", line->event->exhausts_at_ms);
}

static void say_balance_low(struct line *line)
{
	say_money(line, "below the threshold: ", line->event->available_micros, " available");
	if (line->event->exhausts_at_ms != 0) {
		say_duration(line, ", enough for ", line->event->remaining_ms, " at this burn");
	}
}

static void say_denied(struct line *line)
{
	cg_buffer_printf(&line->out, "%s", callgate_decision_name(line->event->decision));
	say_available(line);
	if (line->event->repeat > 0) {
		cg_buffer_printf(
		    &line->out, "; %" PRId32 " more are not told", line->event->repeat);
	}
}

static void say_credited(struct line *line)
{
	cg_buffer_printf(&line->out, "%s, reference %s",
	    callgate_entry_type_name(line->event->entry_type), line->event->reference_id);
	say_available(line);
	say_end(line);
}

static void say_charged(struct line *line)
{
	cg_buffer_printf(&line->out, "reference %s", line->event->reference_id);
	say_available(line);
}

static void say_corrected(struct line *line)
{
	say_duration(line, "a late bill changed what was assumed by that; billed ",
	    line->event->billed_ms, "");
	cg_buffer_printf(&line->out, ", %s", callgate_duration_basis_name(line->event->basis));
	say_available(line);
}

static void say(struct line *line, const char *words)
{
	cg_buffer_printf(&line->out, "%s", words);
}

static void say_what_matters(struct line *line)
{
	switch (line->event->type) {
	case CALLGATE_EVENT_TYPE_CALL_AUTHORIZED:
		say_authorized(line);
		return;
	case CALLGATE_EVENT_TYPE_CALL_STARTED:
		say(line, "connected, metering");
		say_available(line);
		return;
	case CALLGATE_EVENT_TYPE_CALL_SETTLED:
		say_settled(line, "charged for ");
		return;
	case CALLGATE_EVENT_TYPE_CALL_CANCELLED:
		say(line, "never connected, its hold was released");
		say_available(line);
		return;
	case CALLGATE_EVENT_TYPE_CALL_EXPIRED:
		say(line, "did not start in time, its hold was released");
		say_available(line);
		return;
	case CALLGATE_EVENT_TYPE_CALL_ABANDONED:
		say_settled(line, "nobody settled it: charged for ");
		return;
	case CALLGATE_EVENT_TYPE_CUT_OFF:
		say_cut_off(line);
		return;
	case CALLGATE_EVENT_TYPE_BALANCE_LOW:
		say_balance_low(line);
		return;
	case CALLGATE_EVENT_TYPE_CREDITED:
		say_credited(line);
		return;
	case CALLGATE_EVENT_TYPE_CUT_WARNING:
		say_cut_warning(line);
		return;
	case CALLGATE_EVENT_TYPE_CALL_CORRECTED:
		say_corrected(line);
		return;
	case CALLGATE_EVENT_TYPE_CALL_DENIED:
		say_denied(line);
		return;
	case CALLGATE_EVENT_TYPE_CALL_ADOPTED:
		say(line, "ran already, metered from its start");
		say_available(line);
		return;
	case CALLGATE_EVENT_TYPE_CHARGED:
		say_charged(line);
		return;
	case CALLGATE_EVENT_TYPE_WALLET_UPDATED:
		say(line, "created, frozen, unfrozen, or on another plan");
		return;
	case CALLGATE_EVENT_TYPE_CALL_STOPPED:
		say(line, "the talk is over, its bill is awaited");
		say_available(line);
		return;
	case CALLGATE_EVENT_TYPE_CALL_OVERDUE:
		say(line, "past its longest duration and not settled: ask the provider now");
		return;
	case CALLGATE_EVENT_TYPE_UNSPECIFIED:
		break;
	}
	say(line, "of a type that this version does not know");
}

/* An amount of 0 is said only where it is one: a call that cost nothing. */
static bool has_amount(const struct callgate_event *event)
{
	return event->amount_micros != 0 || event->type == CALLGATE_EVENT_TYPE_CALL_SETTLED ||
	    event->type == CALLGATE_EVENT_TYPE_CALL_ABANDONED ||
	    event->type == CALLGATE_EVENT_TYPE_CALL_CORRECTED;
}

static const char *or_dash(const char *text)
{
	return text[0] == '\0' ? "-" : text;
}

void cg_event_format(
    const struct callgate_event *event, const char *currency, char text[CG_EVENT_LINE_BYTES])
{
	struct line line = {.event = event, .currency = currency};
	bool known = event->type != CALLGATE_EVENT_TYPE_UNSPECIFIED;

	cg_buffer_init(&line.out, text, CG_EVENT_LINE_BYTES - 1);
	say_time(&line, "", event->at_ms);
	cg_buffer_printf(&line.out, "  %-*s  %s  %s  ", TYPE_WIDTH,
	    known ? cg_event_types[event->type - 1] : "-", or_dash(event->company_id),
	    or_dash(event->call_id));
	if (has_amount(event)) {
		say_money(&line, "", event->amount_micros, "  ");
	} else {
		cg_buffer_printf(&line.out, "-  ");
	}
	say_what_matters(&line);
	text[line.out.len] = '\0';
}
