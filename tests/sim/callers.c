/*
 * The life of a deed:
 *
 *   credit, charge   ask --answered well--> over
 *                     ^ '--else, after a while--'
 *   call             Authorize --> rings --> Start --> talks --> Stop, sometimes --> Settle --> over
 *                        '--denied, given up--> over, or Settle(0) where it may have begun
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "callers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "asks.h"
#include "clock.h"
#include "faults.h"
#include "prices.h"
#include "profiles.h"
#include "redis.h"

#define CUT_OFF_WITHIN_MS 1500
#define TRIES_TO_CALL     4 /* of Authorize and Start, before the call is not made */

static struct deed deeds[CALLERS_DEEDS_MAX];
static uint32_t deed_count;
static struct sim_event *next_deed;
static bool is_repeating, are_gone;

static void settle(void *arg);

static void on_waited_for_settle(void *arg)
{
	struct deed *deed = arg;

	deed->wait = NULL;
	settle(deed);
}

static void wait(struct deed *deed, uint64_t ms, void (*then)(void *arg))
{
	CG_ASSERT(deed->wait == NULL);
	deed->wait = sim_after(ms, then, deed);
}

static uint64_t pause_ms(const struct deed *deed)
{
	uint64_t most_ms = 200 + 150 * (uint64_t)(deed->tries < 12 ? deed->tries : 12);

	return 50 + sim_below(most_ms);
}

static void end(struct deed *deed)
{
	deed->has_ended = true;
	deed->is_talking = false;
}

static void note_ack(struct deed_ack *ack, const struct cg_entry_id *entry)
{
	ack->is_acked = true;
	ack->at_ms = sim.now_ms;
	ack->entry = *entry;
}

/* Statuses that say "not now" or "nobody knows": the same again is right. */
static bool is_to_be_repeated(enum cg_status status)
{
	return cg_status_is_unknown(status) || status == CG_UNAVAILABLE ||
	    status == CG_RECOVERING || status == CG_FULL || status == CG_CLOSING;
}

/* Settle, Credit, Charge: the words that must not be lost. */

static enum cg_method final_method(const struct deed *deed)
{
	return deed->kind == DEED_CALL  ? CG_METHOD_SETTLE
	    : deed->kind == DEED_CREDIT ? CG_METHOD_CREDIT
	                                : CG_METHOD_CHARGE;
}

static void check_settled(const struct deed *deed, const struct cg_settle_out *out)
{
	if (out->store.cost.micros != prices_cost(deed->duration_ms)) {
		sim_violated("call %s of %" PRId64 " ms was answered as costing %" PRId64
		             ", and costs %" PRId64,
		    deed->id, deed->duration_ms, out->store.cost.micros,
		    prices_cost(deed->duration_ms));
	}
}

static void take_final_answer(struct deed *deed, const struct ask_answer *answer)
{
	const struct cg_request *request = answer->request;
	struct cg_entry_id entry;
	bool committed = false;

	if (answer->method == CG_METHOD_SETTLE) {
		check_settled(deed, &request->out.settle);
		entry = request->out.settle.store.entry_id;
		committed = request->in.settle.durability == CG_DURABILITY_COMMITTED;
	} else {
		entry = request->out.posted.entry_id;
		committed = answer->method == CG_METHOD_CREDIT
		    ? request->in.credit.durability == CG_DURABILITY_COMMITTED
		    : request->in.charge.durability == CG_DURABILITY_COMMITTED;
	}
	note_ack(committed ? &deed->committed : &deed->accepted, &entry);
}

static void say_final(void *arg);
static void live_again(void *arg);

static void on_final(struct deed *deed, const struct ask_answer *answer)
{
	if (answer->status == CG_OK) {
		take_final_answer(deed, answer);
	} else if (!is_to_be_repeated(answer->status)) {
		sim_violated("%s: refused with %s (%s)", deed->id, cg_status_name(answer->status),
		    answer->request->field == NULL ? "" : answer->request->field);
	}
	if (!answer->is_first || deed->wait != NULL) {
		return;
	}
	if (answer->status == CG_OK && deed->lives_again && !is_repeating) {
		deed->lives_again = false;
		wait(deed, 9000 + sim_below(14000), live_again);
	} else if (answer->status == CG_OK && deed->says_again && !is_repeating) {
		deed->says_again = false;
		wait(deed, 2000 + sim_below(14000), say_final);
	} else if (answer->status == CG_OK) {
		deed->repeated_well = deed->repeated_well || is_repeating;
		end(deed);
	} else if (deed->forgets && !is_repeating) {
		end(deed);
	} else {
		deed->tries++;
		wait(deed, pause_ms(deed), say_final);
	}
}

static void say_final(void *arg)
{
	struct deed *deed = arg;

	deed->wait = NULL;
	ask_send(deed, final_method(deed), deed->commits || is_repeating, on_final);
}

/* The store may know nothing of it any more, and let it begin: it is settled as it was. */
static void on_alive_again(struct deed *deed, const struct ask_answer *answer)
{
	if (answer->is_first && deed->wait == NULL) {
		say_final(deed);
	}
}

/* A call that is long over is authorized once more, as by a queue that lost its place. */
static void live_again(void *arg)
{
	struct deed *deed = arg;

	deed->wait = NULL;
	deed->plan = CALL_USUAL;
	deed->tries = 0;
	ask_send(deed, CG_METHOD_AUTHORIZE, false, on_alive_again);
}

/* Calls. */

static void settle(void *arg)
{
	struct deed *deed = arg;

	if (deed->is_settling) {
		return;
	}
	deed->is_settling = true;
	deed->is_talking = false;
	if (deed->talk_began_ms > 0) {
		uint64_t ended_ms = deed->talk_ended_ms > 0 ? deed->talk_ended_ms : sim.now_ms;
		deed->duration_ms = (int64_t)(ended_ms - deed->talk_began_ms);
	}
	deed->tries = 0;
	if (deed->wait != NULL) {
		sim_cancel(deed->wait);
	}
	say_final(deed);
}

static void on_stopped(struct deed *deed, const struct ask_answer *answer)
{
	if (answer->is_first && !deed->is_settling && deed->wait == NULL) {
		wait(deed, sim_below(1500), on_waited_for_settle);
	}
}

/* Nobody talks any more: the report follows, now or in a while. */
static void hang_up(void *arg)
{
	struct deed *deed = arg;

	deed->wait = NULL;
	deed->is_talking = false;
	deed->talk_ended_ms = sim.now_ms;
	if (deed->plan == CALL_LEFT) {
		wait(deed, 18000 + sim_below(20000), on_waited_for_settle);
	} else if (sim_permille(300)) {
		ask_send(deed, CG_METHOD_STOP, false, on_stopped);
	} else {
		wait(deed, sim_below(1500), on_waited_for_settle);
	}
}

static void on_adopted_again(struct deed *deed, const struct ask_answer *answer)
{
	(void)deed;
	(void)answer;
}

static void look_again(void *arg);

/* Half-way, where the provider's list is compared with what the gate knows. */
static void talk(struct deed *deed)
{
	deed->is_talking = true;
	if (deed->is_cut_off) {
		wait(deed, sim_below(CUT_OFF_WITHIN_MS), hang_up);
	} else {
		wait(deed, deed->talk_ms / 2, look_again);
	}
}

static void look_again(void *arg)
{
	struct deed *deed = arg;

	deed->wait = NULL;
	if (sim_permille(250)) {
		ask_send(deed, CG_METHOD_ADOPT, false, on_adopted_again);
	}
	wait(deed, deed->talk_ms - deed->talk_ms / 2, hang_up);
}

static void begin_talk(struct deed *deed)
{
	if (deed->talk_began_ms == 0) {
		deed->talk_began_ms = sim.now_ms;
		deed->started_at_ms = redis_now_ms();
	}
}

static void start(void *arg);
static void adopt(void *arg);

static void on_started(struct deed *deed, const struct ask_answer *answer)
{
	if (!answer->is_first || deed->is_settling || deed->is_talking) {
		return;
	}
	bool is_allowed = answer->status == CG_OK &&
	    answer->request->out.start.store.decision == CG_DECISION_ALLOWED;
	if (is_allowed) {
		talk(deed);
	} else if (answer->status == CG_NOT_FOUND) {
		wait(deed, pause_ms(deed), adopt); /* it talks, and the store has forgotten it */
	} else if (is_to_be_repeated(answer->status) && deed->tries++ < TRIES_TO_CALL) {
		wait(deed, pause_ms(deed), start);
	} else {
		settle(deed); /* for as long as it talked */
	}
}

static void start(void *arg)
{
	struct deed *deed = arg;

	deed->wait = NULL;
	deed->may_be_running = true;
	begin_talk(deed);
	ask_send(deed, CG_METHOD_START, false, on_started);
}

static void on_adopted(struct deed *deed, const struct ask_answer *answer)
{
	if (!answer->is_first || deed->is_settling || deed->is_talking) {
		return;
	}
	if (answer->status == CG_OK) {
		talk(deed);
	} else if (is_to_be_repeated(answer->status) && deed->tries++ < TRIES_TO_CALL) {
		wait(deed, pause_ms(deed), adopt);
	} else {
		settle(deed);
	}
}

static void adopt(void *arg)
{
	struct deed *deed = arg;

	deed->wait = NULL;
	deed->may_be_running = true;
	deed->is_adopted = true;
	begin_talk(deed);
	ask_send(deed, CG_METHOD_ADOPT, false, on_adopted);
}

static void cancel(void *arg);

static void on_cancelled(struct deed *deed, const struct ask_answer *answer)
{
	if (!answer->is_first || deed->wait != NULL) {
		return;
	}
	if (is_to_be_repeated(answer->status) && deed->tries++ < 2 * TRIES_TO_CALL) {
		wait(deed, pause_ms(deed), cancel);
	} else {
		end(deed);
	}
}

static void cancel(void *arg)
{
	struct deed *deed = arg;

	deed->wait = NULL;
	ask_send(deed, CG_METHOD_CANCEL, false, on_cancelled);
}

static void authorize(void *arg);

static void on_allowed(struct deed *deed)
{
	deed->tries = 0;
	if (deed->plan == CALL_AT_ONCE) {
		begin_talk(deed);
		talk(deed);
	} else if (deed->plan == CALL_CANCELLED) {
		wait(deed, sim_below(2000), cancel);
	} else if (deed->plan == CALL_RINGS_OUT) {
		end(deed);
	} else {
		/* Rarely for longer than its lease. */
		wait(deed, sim_permille(950) ? sim_below(2500) : 5000 + sim_below(3000), start);
	}
}

static void on_authorized(struct deed *deed, const struct ask_answer *answer)
{
	if (!answer->is_first || deed->wait != NULL || deed->is_settling || deed->is_talking) {
		return;
	}
	if (answer->status == CG_OK) {
		if (answer->request->out.authorize.store.decision == CG_DECISION_ALLOWED) {
			on_allowed(deed);
		} else if (deed->may_be_running) {
			settle(deed);
		} else {
			end(deed);
		}
	} else if (is_to_be_repeated(answer->status) && deed->tries++ < TRIES_TO_CALL &&
	    deed->number % 3 != 0) {
		wait(deed, pause_ms(deed), authorize);
	} else if (deed->may_be_running) {
		settle(deed); /* not made; but it may have been started here */
	} else {
		end(deed);
	}
}

static void authorize(void *arg)
{
	struct deed *deed = arg;

	deed->wait = NULL;
	deed->may_be_running = deed->may_be_running || deed->plan == CALL_AT_ONCE;
	ask_send(deed, CG_METHOD_AUTHORIZE, false, on_authorized);
}

/* New deeds. */

static void begin_call(struct deed *deed)
{
	static const enum call_plan plans[] = {CALL_USUAL, CALL_USUAL, CALL_USUAL, CALL_USUAL,
	    CALL_AT_ONCE, CALL_AT_ONCE, CALL_CANCELLED, CALL_RINGS_OUT, CALL_LATE, CALL_ADOPTED,
	    CALL_LEFT};

	deed->plan = plans[sim_below(CG_COUNT_OF(plans))];
	deed->talk_ms = 100 + sim_below(sim_permille(800) ? 6000 : 14000);
	deed->forgets = sim_permille(150);
	deed->lives_again = !deed->forgets && sim_permille(sim.profile->lives_again);
	if (deed->plan == CALL_LATE) {
		deed->duration_ms = (int64_t)sim_below(5000);
		settle(deed);
	} else if (deed->plan == CALL_ADOPTED) {
		deed->talk_began_ms = sim.now_ms - (sim.now_ms > 2000 ? sim_below(1500) : 0);
		adopt(deed);
	} else {
		authorize(deed);
	}
}

static struct deed *add_deed(enum deed_kind kind)
{
	struct deed *deed = &deeds[deed_count];

	*deed = (struct deed){.kind = kind, .number = deed_count};
	deed->company = (uint32_t)sim_below(SIM_COMPANIES);
	deed->commits = sim_permille(500);
	deed->says_again = sim_permille(250);
	(void)snprintf(deed->id, sizeof deed->id, "%s-%" PRIu32,
	    kind == DEED_CALL         ? "call"
	        : kind == DEED_CREDIT ? "credit"
	                              : "charge",
	    deed_count);
	deed_count++;
	return deed;
}

static void begin_credit(struct deed *deed)
{
	deed->type = sim_permille(600) ? CG_ENTRY_TOP_UP : CG_ENTRY_BONUS;
	deed->amount = 20000 + (int64_t)sim_below(sim.profile->credit_most);
	say_final(deed);
}

static void on_next_deed(void *arg)
{
	(void)arg;
	next_deed = NULL;
	if (deed_count < CALLERS_DEEDS_MAX) {
		unsigned which = (unsigned)sim_below(100);
		struct deed *deed = add_deed(which < 72 ? DEED_CALL
		        : which < 88                    ? DEED_CREDIT
		                                        : DEED_CHARGE);
		if (deed->kind == DEED_CALL) {
			begin_call(deed);
		} else if (deed->kind == DEED_CREDIT) {
			begin_credit(deed);
		} else {
			deed->amount = 1 + (int64_t)sim_below(20000);
			say_final(deed);
		}
	}
	next_deed = sim_after(1 + sim_below(2 * sim.profile->deeds_every_ms), on_next_deed, NULL);
}

void callers_begin(void)
{
	deed_count = 0;
	are_gone = false;
	for (uint32_t i = 0; i < SIM_COMPANIES; i++) {
		struct deed *deed = add_deed(DEED_CREDIT);
		deed->company = i;
		begin_credit(deed);
	}
	next_deed = sim_after(200, on_next_deed, NULL);
}

void callers_stop(void)
{
	if (next_deed != NULL) {
		sim_cancel(next_deed);
		next_deed = NULL;
	}
}

void callers_remind(void)
{
	for (uint32_t i = 0; i < deed_count; i++) {
		struct deed *deed = &deeds[i];
		bool is_forgotten = deed->has_ended && deed->forgets && deed->is_settling &&
		    !deed->accepted.is_acked && !deed->committed.is_acked;
		deed->forgets = false;
		if (is_forgotten) {
			deed->has_ended = false;
			say_final(deed);
		}
	}
}

bool callers_are_done(void)
{
	for (uint32_t i = 0; i < deed_count; i++) {
		if (!deeds[i].has_ended || deeds[i].pending > 0) {
			return false;
		}
	}
	return true;
}

void callers_repeat(void)
{
	is_repeating = true;
	for (uint32_t i = 0; i < deed_count; i++) {
		if (deed_leaves_entry(&deeds[i]) && deeds[i].wait == NULL &&
		    deeds[i].pending == 0) {
			deeds[i].has_ended = false;
			wait(&deeds[i], sim_below(2000), say_final);
		}
	}
}

void callers_end(void)
{
	callers_stop();
	for (uint32_t i = 0; i < deed_count; i++) {
		if (deeds[i].wait != NULL) {
			sim_cancel(deeds[i].wait);
		}
	}
	is_repeating = false;
	are_gone = true;
}

bool callers_are_gone(void)
{
	return are_gone;
}

uint32_t callers_count(void)
{
	return deed_count;
}

const struct deed *callers_deed(uint32_t number)
{
	return &deeds[number];
}

static struct deed *find(uint32_t company, struct cg_view id)
{
	for (uint32_t i = 0; i < deed_count; i++) {
		if (deeds[i].company == company && cg_view_equal(cg_view_of(deeds[i].id), id)) {
			return &deeds[i];
		}
	}
	return NULL;
}

const struct deed *callers_find(uint32_t company, struct cg_view id)
{
	return find(company, id);
}

bool deed_leaves_entry(const struct deed *deed)
{
	return deed->kind != DEED_CALL || deed->is_settling;
}

int64_t deed_amount(const struct deed *deed)
{
	return deed->kind == DEED_CALL  ? -prices_cost(deed->duration_ms)
	    : deed->kind == DEED_CREDIT ? deed->amount
	                                : -deed->amount;
}

const char *deed_entry_type(const struct deed *deed)
{
	return deed->kind == DEED_CREDIT ? cg_entry_type_name(deed->type) : "usage";
}

/* CUT_OFF: whoever talks is hung up on, well within the guard. */
void callers_on_event(int type, uint32_t company, struct cg_view call_id)
{
	struct deed *deed = find(company, call_id);

	if (deed == NULL) {
		return;
	}
	if (type == 1 && deed->authorizes_pending == 0 && !deed->is_unguarded &&
	    sim.now_ms > deed->authorize_answered_ms + 500 + faults_clock_slack_ms()) {
		sim_violated("%s begins %d ms after its last Authorize was answered", deed->id,
		    (int)(sim.now_ms - deed->authorize_answered_ms));
	}
	/* Also before the answer that it has begun. */
	deed->is_cut_off = deed->is_cut_off || type == 7;
	if (type == 7 && deed->is_talking && deed->wait != NULL) {
		sim_cancel(deed->wait);
		deed->wait = sim_after(sim_below(CUT_OFF_WITHIN_MS), hang_up, deed);
	}
}
