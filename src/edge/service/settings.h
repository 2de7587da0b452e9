/*
 * What callgate-edge can be told: flags, CALLGATE_EDGE_* and VAPI_* in the environment.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_EDGE_SERVICE_SETTINGS_H
#define CG_EDGE_SERVICE_SETTINGS_H

#include "base/base.h"
#include "base/settings.h"
#include "edge/auth/auth.h"

struct cg_edge_settings {
	char listen[CG_SETTING_TEXT_BYTES];
	char gate_address[CG_SETTING_TEXT_BYTES];
	char gate_token[CG_SETTING_TEXT_BYTES];
	char gate_ca_file[CG_SETTING_TEXT_BYTES];
	char gate_cert_file[CG_SETTING_TEXT_BYTES];
	char gate_key_file[CG_SETTING_TEXT_BYTES];
	char gate_server_name[CG_SETTING_TEXT_BYTES];
	char database_url[CG_SETTING_TEXT_BYTES];
	char log_level[CG_SETTING_TEXT_BYTES];
	char webhook_auth[CG_SETTING_TEXT_BYTES];
	char signature_header[CG_SETTING_TEXT_BYTES];
	char timestamp_header[CG_SETTING_TEXT_BYTES];
	char signature_prefix[CG_SETTING_TEXT_BYTES];
	char vapi_url[CG_SETTING_TEXT_BYTES];
	char vapi_org_id[CG_SETTING_TEXT_BYTES];
	char control_hosts[CG_SETTING_TEXT_BYTES];
	char upstream_hosts[CG_SETTING_TEXT_BYTES];
	char ca_file[CG_SETTING_TEXT_BYTES];
	char fault_calls[CG_SETTING_TEXT_BYTES];
	char webhook_secret[CG_SETTING_TEXT_BYTES];
	char webhook_secret_next[CG_SETTING_TEXT_BYTES];
	char vapi_api_key[CG_SETTING_TEXT_BYTES];
	char api_token[CG_SETTING_TEXT_BYTES];
	int64_t allow_private;
	int64_t webhook_bytes_max;
	int64_t header_bytes_max;
	int64_t connections_max;
	int64_t connections_per_ip_max;
	int64_t request_ms;
	int64_t idle_ms;
	int64_t requests_max;
	int64_t tolerance_ms;
	int64_t hard_stop_ms;
	int64_t gate_ms;
	int64_t store_ms;
	int64_t store_connections;
	int64_t provider_ms;
	int64_t margin_ms;
	int64_t least_seconds;
	int64_t slack_ms;
	int64_t goodbye_ms;
	int64_t poll_ms;
	int64_t alarm_ms;
	int64_t look_after_ms;
	int64_t look_again_ms;
	int64_t sweep_ms;
	int64_t settings_ms;
	int64_t keep_days;
	int64_t drain_ms;
	int64_t token_seconds;

	/* Read out of what is above. */
	enum cg_auth_mode auth_mode;
	enum cg_log_level level;
	bool waives_faults;
};

/* As cg_settings_read(); also what no single bound says. */
enum cg_status cg_edge_settings_read(
    int argc, char **argv, struct cg_edge_settings *ret_settings, struct cg_error *err);

void cg_edge_settings_print(FILE *to);

#endif /* CG_EDGE_SERVICE_SETTINGS_H */
