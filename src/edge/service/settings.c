/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/service/settings.h"

#include <stdlib.h>

#define AT(field) offsetof(struct cg_edge_settings, field)
#define TEXT(flag, env, field, fallback, help)                                                     \
	{                                                                                          \
		flag, env, CG_SETTING_TEXT, AT(field), fallback, 0, 0, 0, help                     \
	}
#define NUMBER(flag, env, field, fallback, least, most, help)                                      \
	{                                                                                          \
		flag, env, CG_SETTING_NUMBER, AT(field), NULL, fallback, least, most, help         \
	}
#define SECRET(env, field, fallback, help)                                                         \
	{                                                                                          \
		NULL, env, CG_SETTING_SECRET, AT(field), fallback, 0, 0, 0, help                   \
	}

static const struct cg_setting table[] = {
    TEXT("listen", "CALLGATE_EDGE_LISTEN", listen, "127.0.0.1:8480",
        "where to serve HTTP: a numeric host:port; TLS ends before it"),
    TEXT("gate", "CALLGATE_EDGE_GATE", gate_address, "unix:/run/callgate/callgated.sock",
        "the sidecar: unix:/path or host:port"),
    SECRET("CALLGATE_EDGE_GATE_TOKEN", gate_token, "",
        "the edge's token at a sidecar that wants one; its roles: gate and billing"),
    TEXT("gate-ca-file", "CALLGATE_EDGE_GATE_CA_FILE", gate_ca_file, "",
        "TLS to the sidecar: authorities to trust (PEM); without it there is none"),
    TEXT("gate-cert-file", "CALLGATE_EDGE_GATE_CERT_FILE", gate_cert_file, "",
        "the edge's own certificate there (PEM)"),
    TEXT("gate-key-file", "CALLGATE_EDGE_GATE_KEY_FILE", gate_key_file, "", "and its key (PEM)"),
    TEXT("gate-server-name", "CALLGATE_EDGE_GATE_SERVER_NAME", gate_server_name, "",
        "the name in the sidecar's certificate, where it is not the address's"),
    TEXT("database-url", "CALLGATE_EDGE_DATABASE_URL", database_url, NULL,
        "Postgres: a libpq connection URI, of a role in callgate_edge"),
    TEXT("log-level", "CALLGATE_EDGE_LOG_LEVEL", log_level, "info", "debug, info, warn or error"),
    SECRET("VAPI_API_KEY", vapi_api_key, NULL, "the private key of the Vapi account"),
    SECRET("VAPI_WEBHOOK_SECRET", webhook_secret, NULL, "what Vapi signs or sends webhooks with"),
    SECRET("VAPI_WEBHOOK_SECRET_NEXT", webhook_secret_next, "",
        "a second one that holds as well, while it takes the other's place"),
    SECRET("CALLGATE_EDGE_API_TOKEN", api_token, "",
        "bearer of POST /api/calls and /api/web-tokens; absent: these are not served"),
    TEXT("vapi-url", "VAPI_API_URL", vapi_url, "https://api.vapi.ai", "Vapi's REST API"),
    TEXT("vapi-org-id", "VAPI_ORG_ID", vapi_org_id, "", "the account's id, for web call tokens"),
    TEXT("webhook-auth", "CALLGATE_EDGE_WEBHOOK_AUTH", webhook_auth, "hmac",
        "how Vapi's credential is: hmac, bearer or secret (X-Vapi-Secret)"),
    TEXT("signature-header", "CALLGATE_EDGE_SIGNATURE_HEADER", signature_header, "x-signature",
        "where the signature of an hmac credential is"),
    TEXT("timestamp-header", "CALLGATE_EDGE_TIMESTAMP_HEADER", timestamp_header, "x-timestamp",
        "where its timestamp is"),
    TEXT("signature-prefix", "CALLGATE_EDGE_SIGNATURE_PREFIX", signature_prefix, "",
        "what stands before the signature"),
    NUMBER("tolerance-ms", "CALLGATE_EDGE_TOLERANCE_MS", tolerance_ms, 300000, 1000, 3600000,
        "how far off a signed timestamp may be"),
    TEXT("control-hosts", "CALLGATE_EDGE_CONTROL_HOSTS", control_hosts, ".vapi.ai",
        "where control URLs may lead: hosts, or suffixes that begin with a dot, by commas"),
    TEXT("upstream-hosts", "CALLGATE_EDGE_UPSTREAM_HOSTS", upstream_hosts, "",
        "where companies' own handlers may be, likewise; none unless given"),
    NUMBER("allow-private", "CALLGATE_EDGE_ALLOW_PRIVATE", allow_private, 0, 0, 1,
        "1: requests may go to private addresses, and by plain http to loopback ones"),
    TEXT("ca-file", "CALLGATE_EDGE_CA_FILE", ca_file, "",
        "authorities to trust instead of the system's"),
    NUMBER("webhook-bytes-max", "CALLGATE_EDGE_WEBHOOK_BYTES_MAX", webhook_bytes_max, 8388608,
        65536, 67108864, "the largest webhook: a report carries the transcript"),
    NUMBER("header-bytes-max", "CALLGATE_EDGE_HEADER_BYTES_MAX", header_bytes_max, 16384, 4096,
        262144, "the largest request line with headers"),
    NUMBER("connections-max", "CALLGATE_EDGE_CONNECTIONS_MAX", connections_max, 1024, 1, 65536,
        "connections at once"),
    NUMBER("connections-per-ip-max", "CALLGATE_EDGE_CONNECTIONS_PER_IP_MAX", connections_per_ip_max,
        0, 0, 65536, "of one address; 0: no limit, as behind a proxy"),
    NUMBER("request-ms", "CALLGATE_EDGE_REQUEST_MS", request_ms, 10000, 100, 600000,
        "a request that is not here by then is cut off"),
    NUMBER("idle-ms", "CALLGATE_EDGE_IDLE_MS", idle_ms, 60000, 100, 600000,
        "and a connection without one"),
    NUMBER("requests-max", "CALLGATE_EDGE_REQUESTS_MAX", requests_max, 2048, 1, 65536,
        "requests being answered; more are answered 503"),
    NUMBER("hard-stop-ms", "CALLGATE_EDGE_HARD_STOP_MS", hard_stop_ms, 5000, 50, 7000,
        "an assistant-request is answered by then, whatever an upstream handler does"),
    NUMBER("gate-ms", "CALLGATE_EDGE_GATE_MS", gate_ms, 1500, 50, 7000,
        "longest wait for the gate's decision; then the number's outage policy"),
    NUMBER("store-ms", "CALLGATE_EDGE_STORE_MS", store_ms, 4000, 50, 60000,
        "longest wait for Postgres"),
    NUMBER("store-connections", "CALLGATE_EDGE_STORE_CONNECTIONS", store_connections, 4, 1, 64,
        "connections to Postgres"),
    NUMBER("provider-ms", "CALLGATE_EDGE_PROVIDER_MS", provider_ms, 8000, 50, 60000,
        "longest wait for an answer of Vapi"),
    NUMBER("margin-ms", "CALLGATE_EDGE_MARGIN_MS", margin_ms, 2000, 0, 600000,
        "taken off a grant before it becomes Vapi's limit, whose clock starts later"),
    NUMBER("least-seconds", "CALLGATE_EDGE_LEAST_SECONDS", least_seconds, 30, 10, 43200,
        "a call that could not last so long is refused"),
    NUMBER("slack-ms", "CALLGATE_EDGE_SLACK_MS", slack_ms, 15000, 0, 600000,
        "how much more than granted a report may say without being reviewed"),
    TEXT("fault-calls", "CALLGATE_EDGE_FAULT_CALLS", fault_calls, "bill",
        "calls that ended by a fault of Vapi's: bill or waive"),
    NUMBER("goodbye-ms", "CALLGATE_EDGE_GOODBYE_MS", goodbye_ms, 3000, 0, 60000,
        "for the last sentence of a call that is cut off; within the plan's guard; 0: none"),
    NUMBER("poll-ms", "CALLGATE_EDGE_POLL_MS", poll_ms, 2000, 50, 60000,
        "how often it is looked whether a call that is cut off has ended"),
    NUMBER("alarm-ms", "CALLGATE_EDGE_ALARM_MS", alarm_ms, 15000, 100, 600000,
        "a call that has not ended by then is an alarm"),
    NUMBER("look-after-ms", "CALLGATE_EDGE_LOOK_AFTER_MS", look_after_ms, 120000, 100, 3600000,
        "beyond its time, or its end, a call that nobody reported is asked for"),
    NUMBER("look-again-ms", "CALLGATE_EDGE_LOOK_AGAIN_MS", look_again_ms, 60000, 100, 3600000,
        "and again, where that did not settle it"),
    NUMBER("sweep-ms", "CALLGATE_EDGE_SWEEP_MS", sweep_ms, 300000, 0, 3600000,
        "how often the provider's calls are listed; 0: never"),
    NUMBER("settings-ms", "CALLGATE_EDGE_SETTINGS_MS", settings_ms, 1000, 50, 60000,
        "how often changed numbers and sentences are looked for"),
    NUMBER("keep-days", "CALLGATE_EDGE_KEEP_DAYS", keep_days, 30, 14, 3650,
        "how long webhooks and ended calls are kept"),
    NUMBER("token-seconds", "CALLGATE_EDGE_TOKEN_SECONDS", token_seconds, 60, 10, 3600,
        "how long a web call token is good for"),
    NUMBER("drain-ms", "CALLGATE_EDGE_DRAIN_MS", drain_ms, 10000, 0, 600000,
        "on SIGTERM: time for accepted requests"),
};

static enum cg_status read_level(struct cg_edge_settings *s, struct cg_error *err)
{
	static const char *const names[] = {[CG_LOG_DEBUG] = "debug",
	    [CG_LOG_INFO] = "info",
	    [CG_LOG_WARN] = "warn",
	    [CG_LOG_ERROR] = "error"};

	for (size_t i = 0; i < CG_COUNT_OF(names); i++) {
		if (strcmp(s->log_level, names[i]) == 0) {
			s->level = (enum cg_log_level)i;
			return CG_OK;
		}
	}
	cg_error_set(err, "--log-level: must be debug, info, warn or error");
	return CG_INVALID;
}

static enum cg_status check(struct cg_edge_settings *s, struct cg_error *err)
{
	bool is_bill = strcmp(s->fault_calls, "bill") == 0;

	if (!cg_auth_mode_of(s->webhook_auth, &s->auth_mode)) {
		cg_error_set(err, "--webhook-auth: must be hmac, bearer or secret");
		return CG_INVALID;
	}
	if (!is_bill && strcmp(s->fault_calls, "waive") != 0) {
		cg_error_set(err, "--fault-calls: must be bill or waive");
		return CG_INVALID;
	}
	s->waives_faults = !is_bill;
	bool is_https = strncmp(s->vapi_url, "https://", 8) == 0;
	bool is_local = s->allow_private != 0 && strncmp(s->vapi_url, "http://", 7) == 0;
	if (!is_https && !is_local) {
		cg_error_set(err, "--vapi-url (or VAPI_API_URL): must begin with https://");
		return CG_INVALID;
	}
	/* Guessed in an afternoon, or left over from an example. */
	if (strlen(s->webhook_secret) < 12 ||
	    (s->webhook_secret_next[0] != '\0' && strlen(s->webhook_secret_next) < 12)) {
		cg_error_set(err, "VAPI_WEBHOOK_SECRET: must have at least 12 characters");
		return CG_INVALID;
	}
	if (s->hard_stop_ms < s->gate_ms) {
		cg_error_set(err, "--hard-stop-ms: must not be less than --gate-ms");
		return CG_INVALID;
	}
	size_t end = strlen(s->vapi_url);
	while (end > 0 && s->vapi_url[end - 1] == '/') {
		s->vapi_url[--end] = '\0';
	}
	return read_level(s, err);
}

enum cg_status cg_edge_settings_read(
    int argc, char **argv, struct cg_edge_settings *ret_settings, struct cg_error *err)
{
	static struct cg_edge_settings settings; /* large */

	memset(&settings, 0, sizeof settings);
	enum cg_status status =
	    cg_settings_read(table, CG_COUNT_OF(table), argc, argv, &settings, err);
	if (status == CG_OK) {
		status = check(&settings, err);
	}
	if (status == CG_OK) {
		*ret_settings = settings;
	}
	return status;
}

void cg_edge_settings_print(FILE *to)
{
	(void)fprintf(to,
	    "usage: callgate-edge [--FLAG VALUE ...]\n"
	    "       callgate-edge check [--FLAG VALUE ...]\n"
	    "       callgate-edge --check-config [--FLAG VALUE ...]\n\n"
	    "The edge: Vapi's calls through the gate, over HTTP.  `check` reads the Vapi account "
	    "and\n"
	    "says what would pass by the gate.  A flag wins over its environment name.\n\n");
	cg_settings_print(table, CG_COUNT_OF(table), to);
	(void)fprintf(to,
	    "\n  --version                  print the version and end\n"
	    "  --help                     this text\n\n"
	    "SIGTERM and SIGINT end it in order: accepted requests are answered.\n"
	    "Exit status: 0 after an orderly end, 1 where it could not start, 2 for bad settings,\n"
	    "7 where `check` found something.\n");
}
