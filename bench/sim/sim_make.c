/*
 * A simulation before and after its traffic: made, its wallets created and watched, destroyed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sim/sim_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	IN_FLIGHT_MAX = 512, /* of each sidecar: more would pile up in it where it is full */
	DEADLINE_MS = 2000,
	WATCH_WITHIN_MS = 15000,
};

static bool open_clients(struct sim *sim)
{
	for (unsigned i = 0; i < sim->options.address_count; i++) {
		struct callgate_options client;
		char why[128];

		callgate_options_init(&client);
		client.address = sim->options.addresses[i];
		client.token = sim->options.token;
		client.in_flight_max = IN_FLIGHT_MAX;
		client.deadline_ms = DEADLINE_MS;
		client.retries_max = 0; /* tried again at another sidecar instead */
		sim->clients[i] = callgate_client_create(&client, why, sizeof(why));
		if (sim->clients[i] == NULL) {
			(void)fprintf(stderr, "callgate-sim: %s: %s\n", client.address, why);
			return false;
		}
	}
	return true;
}

/*
 * The ids are this run's alone, so that a seed can be replayed on a stack that has seen it:
 * everything else about a company comes from the seed.
 */
static void name_all(struct sim *sim)
{
	struct cg_random random;

	cg_random_init(&random, (uint64_t)sim_now_ns() ^ (uint64_t)getpid() << 40);
	(void)snprintf(
	    sim->run, sizeof(sim->run), "s%012" PRIx64, cg_random_next(&random) & 0xffffffffffffu);
	for (uint32_t i = 0; i < sim->options.habits.companies; i++) {
		struct sim_wallet *wallet = &sim->wallets[i];
		struct cg_uuid id;

		for (size_t j = 0; j < sizeof(id.bytes); j++) {
			id.bytes[j] = (uint8_t)cg_random_next(&random);
		}
		cg_uuid_format(&id, wallet->company);
		wallet->sim = sim;
		wallet->number = i;
		cg_list_init(&wallet->live);
		sim_random_of(&wallet->arrivals, sim->options.habits.seed, i, SIM_ARRIVALS);
		sim_random_of(&wallet->topups, sim->options.habits.seed, i, SIM_TOPUPS);
	}
}

struct sim *sim_create(const struct sim_options *options)
{
	static struct sim_result nowhere; /* for what goes wrong before the run */
	struct sim *sim = calloc(1, sizeof(*sim));

	CG_ASSERT(sim != NULL);
	sim->options = *options;
	sim->result = &nowhere;
	cg_list_init(&sim->asks);
	sim->wallets = calloc(options->habits.companies, sizeof(*sim->wallets));
	CG_ASSERT(sim->wallets != NULL);
	name_all(sim);
	if (!open_clients(sim)) {
		sim_destroy(sim);
		return NULL;
	}
	return sim;
}

void sim_destroy(struct sim *sim)
{
	sim->closes = true;
	for (unsigned i = 0; i < sim->options.address_count; i++) {
		sim_watch_close(&sim->watches[i]);
		callgate_client_close(sim->clients[i]);
	}
	sim_ask_forget_all(sim);
	for (uint32_t i = 0; i < sim->call_count; i++) {
		free(sim->calls[i]);
	}
	free((void *)sim->calls);
	free(sim->wallets);
	sim_timers_deinit(&sim->timers);
	free(sim);
}

static bool went_well(const char *what, const struct callgate_error *error)
{
	if (error != NULL) {
		(void)fprintf(stderr, "callgate-sim: %s: %s: %s\n", what,
		    callgate_status_name(error->status), error->message);
	}
	return error == NULL;
}

/* Uniform, so that some are spent in seconds and some last. */
int64_t sim_topup_micros(struct sim_wallet *wallet)
{
	uint64_t most = 2 * (uint64_t)wallet->sim->options.habits.topup_mean_micros;

	return 1 + (int64_t)cg_random_below(&wallet->topups, most);
}

static bool make_wallet(struct sim_wallet *wallet)
{
	struct sim *sim = wallet->sim;
	struct callgate_client *client = sim->clients[0];
	const struct callgate_error *error;
	const struct callgate_create_wallet_response *created;
	const struct callgate_credit_response *credited;
	const struct callgate_get_balance_response *balance;
	struct callgate_create_wallet_request create = {
	    .company_id = wallet->company, .currency = "usd", .plan_id = sim->options.plan};
	struct callgate_credit_request credit = {.company_id = wallet->company,
	    .amount_micros = sim_topup_micros(wallet),
	    .type = CALLGATE_ENTRY_TYPE_TOP_UP,
	    .reference_id = wallet->company,
	    .description = "simulated"};
	int64_t sent_ns;

	(void)callgate_create_wallet_sync(client, &create, &created, &error);
	if (!went_well("create wallet", error)) {
		return false;
	}
	(void)callgate_credit_sync(client, &credit, &credited, &error);
	if (!went_well("credit", error)) {
		return false;
	}
	wallet->ledger.credited_micros = credit.amount_micros;
	sent_ns = sim_now_ns();
	(void)callgate_get_balance_sync(
	    client, &(struct callgate_get_balance_request){wallet->company}, &balance, &error);
	if (!went_well("balance", error)) {
		return false;
	}
	sim_clock_saw(&sim->clock, balance->as_of_ms, sent_ns, sim_now_ns());
	wallet->ledger.credit_limit_micros = balance->credit_limit_micros;
	if (balance->credit_unlimited) {
		(void)fprintf(stderr,
		    "callgate-sim: plan %s: credit is unlimited, nothing is cut off\n",
		    sim->options.plan);
	}
	return !balance->credit_unlimited;
}

static bool are_watches_live(const struct sim *sim)
{
	for (unsigned i = 0; i < sim->options.address_count; i++) {
		if (!sim->watches[i].is_live) {
			return false;
		}
	}
	return true;
}

bool sim_prepare(struct sim *sim)
{
	int64_t end_ns;

	for (uint32_t i = 0; i < sim->options.habits.companies; i++) {
		if (!make_wallet(&sim->wallets[i])) {
			return false;
		}
	}
	for (unsigned i = 0; i < sim->options.address_count; i++) {
		if (!sim_watch_open(sim, i)) {
			(void)fprintf(stderr, "callgate-sim: a watch is refused\n");
			return false;
		}
	}
	end_ns = sim_now_ns() + (int64_t)WATCH_WITHIN_MS * SIM_MILLISECOND_NS;
	while (!are_watches_live(sim) && sim_now_ns() < end_ns) {
		sim_turn(sim, end_ns);
	}
	if (!are_watches_live(sim)) {
		(void)fprintf(stderr, "callgate-sim: a watch does not begin\n");
	}
	return are_watches_live(sim);
}
