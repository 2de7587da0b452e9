/*
 * What can be set from outside, by flags and CALLGATE_* environment (a flag wins), with
 * bounds; an error names the setting.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_DAEMON_CONFIG_H
#define CG_DAEMON_CONFIG_H

#include <stdio.h>

#include "base/base.h"

#define CG_CONFIG_TEXT_BYTES 512

struct cg_config {
	/* As given. */
	char listen[CG_CONFIG_TEXT_BYTES];
	char redis_url[CG_CONFIG_TEXT_BYTES];
	char database_url[CG_CONFIG_TEXT_BYTES];
	char log_level[CG_CONFIG_TEXT_BYTES];
	char grpc_wait[CG_CONFIG_TEXT_BYTES];
	char peers[CG_CONFIG_TEXT_BYTES];
	char credentials_file[CG_CONFIG_TEXT_BYTES]; /* this and the next three: empty: none */
	char tls_cert_file[CG_CONFIG_TEXT_BYTES];
	char tls_key_file[CG_CONFIG_TEXT_BYTES];
	char tls_client_ca_file[CG_CONFIG_TEXT_BYTES];
	int64_t connections_max;
	int64_t address_connections_max;
	int64_t connection_age_ms;
	int64_t connection_grace_ms;
	int64_t connection_idle_ms;
	int64_t authorizes_per_second;
	int64_t authorizes_burst;
	char metrics_listen[CG_CONFIG_TEXT_BYTES]; /* empty: off */
	int64_t partitions;
	int64_t calls_max;
	int64_t message_bytes_max;
	int64_t metadata_bytes_max;
	int64_t streams_max;
	int64_t deadline_max_ms;
	int64_t drain_ms;
	int64_t store_timeout_ms;
	int64_t store_connect_ms;
	int64_t store_inflight_max;
	int64_t outbox_max;
	int64_t allow_volatile_store;
	int64_t ledger_timeout_ms;
	int64_t ledger_connect_ms;
	int64_t ledger_connections;
	int64_t ledger_requests_max;
	int64_t flush_interval_ms;
	int64_t flush_batch_max;
	int64_t trim_margin_ms;
	int64_t terms_poll_ms;
	int64_t clock_skew_max_ms;
	int64_t receipt_after_ms;
	int64_t receipts_max;
	int64_t wallets_max;
	int64_t degraded_calls_max;
	int64_t tick_ms;
	int64_t watchers_max;
	int64_t sessions_max;
	int64_t session_window;
	int64_t watch_kept;
	int64_t watch_kept_bytes;
	int64_t watch_slow_ms;
	int64_t heartbeat_ms;
	int64_t events_keep;
	int64_t lifecycle_events;
	int64_t reflection;
	int64_t holds_look;
	int64_t probe_interval_ms;
	int64_t probe_timeout_ms;

	/* Read out of redis_url. */
	struct cg_redis_url redis;
};

enum cg_config_action {
	CG_CONFIG_RUN,
	CG_CONFIG_CHECK, /* --check-config: say so and end */
	CG_CONFIG_HELP,
	CG_CONFIG_VERSION,
};

/*
 * Reads flags and environment into *ret_config.
 *   CG_OK       *ret_action says what to do
 *   CG_INVALID  `err` names the setting, what was given (never a secret) and the bound
 */
enum cg_status cg_config_read(int argc, char **argv, struct cg_config *ret_config,
    enum cg_config_action *ret_action, struct cg_error *err);

/* Every setting with its environment name, bounds and default. */
void cg_config_print_help(FILE *to);

#endif /* CG_DAEMON_CONFIG_H */
