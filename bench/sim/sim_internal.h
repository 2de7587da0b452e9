/*
 * What sim.h says, as its own files see it.
 *
 *   sim_make.c    made, its wallets created and watched, destroyed
 *   sim_run.c     traffic: arrivals, top-ups, a sidecar killed; the drain
 *   sim_call.c    one call from its arrival to its bill
 *   sim_ask.c     requests: sent, repeated, tried again at the next sidecar until answered
 *   sim_watch.c   what the streams tell
 *   sim_check.c   the reckoning: wallets, and who should have been cut off
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BENCH_SIM_INTERNAL_H
#define CG_BENCH_SIM_INTERNAL_H

#include "sim/sim.h"

#include "base/base.h"
#include "sim/sim_model.h"
#include "sim/sim_timers.h"

enum {
	SIM_MILLISECOND_NS = 1000000,
};

struct sim_wallet {
	struct sim *sim;
	uint32_t number;
	char company[CG_UUID_TEXT_LEN + 1];
	struct cg_random arrivals;
	struct cg_random topups;
	int64_t next_arrival_ns;
	int64_t next_topup_ns;
	uint32_t call_count;
	uint32_t credit_count;
	struct sim_ledger ledger;
	struct cg_list live;   /* of calls that the gate may hold */
	uint32_t asking_count; /* requests under way */
	bool is_excused;       /* an act dropped a premise */
	int64_t dry_since_ns;  /* by the model; 0: it has money */
	bool is_even;          /* reckoned: nothing is held any more */
};

/*
 *  AUTHORIZING --denied-------------------------------> ENDED
 *       | allowed
 *  RINGING --hung up--> CANCELLING -------------------> ENDED
 *       |  --nobody answers--> SILENT (the lease) ----> ENDED
 *       | connected
 *  TALKING --natural end, or reaction after CUT_OFF--> BILLING --settled--> ENDED
 *
 * AUTHORIZING and CANCELLING wait for an answer, RINGING and TALKING for a timer, BILLING for
 * its Settle's time and then its answer.
 */
enum sim_call_state {
	SIM_CALL_AUTHORIZING,
	SIM_CALL_RINGING,
	SIM_CALL_CANCELLING,
	SIM_CALL_SILENT,
	SIM_CALL_TALKING,
	SIM_CALL_BILLING,
	SIM_CALL_ENDED,
};

struct sim_call {
	struct cg_list link; /* in its wallet's `live` */
	struct sim_wallet *wallet;
	uint32_t serial; /* in `sim->calls` */
	enum sim_call_state state;
	struct sim_call_plan plan;

	/* As answered. */
	struct callgate_price price; /* its currency is not kept */
	int64_t held_micros;
	int64_t expires_at_ms;
	int64_t metered_from_ms; /* the Start's answer; 0: not metering as far as is known */
	int64_t start_as_of_ms;  /* when the gate learned of it */
	int64_t stopped_at_ms;
	int64_t cost_micros;
	bool is_settled;
	char ledger_id[64];

	/* On the store's clock. */
	int64_t talk_from_ms;
	int64_t talk_to_ms;

	bool start_is_sent;
	bool settle_is_sent;
	bool told_settled;
	bool is_missed;       /* counted as not cut */
	int64_t cut_at_ns;    /* when the first CUT_OFF came, on the store's clock; 0: none */
	int64_t exhausted_ms; /* its T* */
};

struct sim_watch {
	struct sim *sim;
	struct callgate_watch *watch;
	unsigned address;
	bool is_live; /* the first answer came */
	uint64_t repeats;
	uint64_t warnings;
	uint64_t lows;
	uint64_t expired;
};

struct sim {
	struct sim_options options;
	struct sim_result *result;
	struct callgate_client *clients[SIM_ADDRESSES_MAX];
	struct sim_watch watches[SIM_ADDRESSES_MAX];
	struct sim_timers timers;
	struct sim_clock clock;
	struct sim_wallet *wallets;
	struct sim_call **calls; /* by serial */
	uint32_t call_count;
	uint32_t call_room;
	uint32_t live_count; /* calls that have not ended, silent ones apart */
	struct cg_list asks; /* requests under way, or waiting to be sent again */
	bool closes;         /* what is answered from here on is of no interest */
	char run[17];        /* makes this run's call ids its own */
	int64_t begun_ns;
	int64_t end_ns;
	bool drains;             /* no new calls; late reports come now */
	uint32_t dead_addresses; /* bits: killed by us */
	uint64_t told_count;     /* faults told on stderr */
};

/* On the monotonic clock. */
int64_t sim_now_ns(void);

/* Now, on the store's clock. */
int64_t sim_store_ms(const struct sim *sim);

void sim_after(struct sim *sim, int64_t ms, void (*fire)(void *context), void *context);

/* Runs timers and callbacks once; waits for the next of them at most until `until_ns`. */
void sim_turn(struct sim *sim, int64_t until_ns);

__attribute__((format(printf, 3, 4))) void sim_fault(
    struct sim *sim, enum sim_fault fault, const char *format, ...);

/* A request of a call, or of a wallet's top-up; every copy is answered on its own. */
struct sim_ask {
	struct cg_list link; /* in `sim->asks` */
	struct sim *sim;
	struct sim_wallet *wallet;
	struct sim_call *call; /* NULL of SIM_CREDIT */
	enum sim_step step;
	unsigned address;
	uint32_t attempts;
	bool is_copy;
	int64_t begun_ns; /* its first attempt */
	int64_t sent_ns;
	int64_t amount_micros; /* of SIM_CREDIT */
	uint32_t number;       /* of SIM_CREDIT: makes its reference */
};

/* Sends it, and its copy where the plan has one. */
void sim_ask_call(struct sim_call *call, enum sim_step step);
void sim_ask_credit(struct sim_wallet *wallet, int64_t amount_micros, bool is_repeated);

/* Those that still wait to be sent again, once no client is left to send them. */
void sim_ask_forget_all(struct sim *sim);

/* The amount of a wallet's next top-up. */
int64_t sim_topup_micros(struct sim_wallet *wallet);

/* What the call id says; false where it is not one of this run's. */
bool sim_call_of_id(const struct sim *sim, const char *call_id, struct sim_call **ret_call);
void sim_call_id(const struct sim_call *call, char text[64]);

/* A call arrives. */
void sim_call_begin(struct sim_wallet *wallet);

/* What became of it: from the requests' answers and the streams. */
void sim_call_on_authorized(
    struct sim_call *call, const struct callgate_authorize_response *response);
void sim_call_on_started(struct sim_call *call, const struct callgate_start_response *response);
void sim_call_on_stopped(struct sim_call *call);
void sim_call_on_settled(struct sim_call *call, const struct callgate_settle_response *response);
void sim_call_on_cancelled(struct sim_call *call, const struct callgate_cancel_response *response);
void sim_call_on_cut_off(struct sim_call *call, int64_t exhausted_at_ms);
void sim_call_on_told_settled(struct sim_call *call, const char *ledger_id);

/* Ends what still rings, talks or waits for its report. */
void sim_call_drain(struct sim_call *call);

bool sim_watch_open(struct sim *sim, unsigned address);
void sim_watch_close(struct sim_watch *watch);

/* Who is metered on a dry wallet and has not been told, ten times a second; its context is the simulation. */
void sim_check_cuts(void *context);

/* At the end. */
void sim_check_wallets(struct sim *sim);

#endif /* CG_BENCH_SIM_INTERNAL_H */
