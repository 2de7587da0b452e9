/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>

enum kind {
	TEXT,
	NUMBER,
	SECRET_TEXT,
	OPTIONAL_TEXT, /* empty unless given */
};

/* One setting; its environment name is CALLGATE_ and the flag in capitals. */
struct setting {
	const char *flag;
	enum kind kind;
	size_t offset;
	const char *text; /* TEXT: the default; NULL: must be given */
	int64_t number;   /* NUMBER: the default and its bounds */
	int64_t least;
	int64_t most;
	const char *help;
};

#define AT(field) offsetof(struct cg_config, field)

static const struct setting settings[] = {
    {"listen", TEXT, AT(listen), "unix:/run/callgate/callgated.sock", 0, 0, 0,
        "where to serve gRPC: unix:/path, loopback host:port or tls:host:port, each with =ROLES "
        "of callers without a credential; separated by commas"},
    {"peers", TEXT, AT(peers), "group", 0, 0, 0,
        "who may connect to a unix socket beside root and our own user: any, or of group, uid:N "
        "and gid:N"},
    {"credentials-file", OPTIONAL_TEXT, AT(credentials_file), NULL, 0, 0, 0,
        "tokens (as hashes) and names of client certificates, with roles and companies; read "
        "again on SIGHUP"},
    {"tls-cert-file", OPTIONAL_TEXT, AT(tls_cert_file), NULL, 0, 0, 0,
        "of tls: addresses: the certificate with its chain, PEM; read again when it changes"},
    {"tls-key-file", OPTIONAL_TEXT, AT(tls_key_file), NULL, 0, 0, 0, "its key"},
    {"tls-client-ca-file", OPTIONAL_TEXT, AT(tls_client_ca_file), NULL, 0, 0, 0,
        "the authorities that client certificates, which are required, come from"},
    {"connections-max", NUMBER, AT(connections_max), NULL, 4096, 1, 1000000,
        "connections at once; more are closed"},
    {"address-connections-max", NUMBER, AT(address_connections_max), NULL, 3072, 1, 1000000,
        "of these, at one address of --listen"},
    {"connection-age-ms", NUMBER, AT(connection_age_ms), NULL, 1800000, 100, 86400000,
        "a connection takes no new requests when it is so old, more or less a tenth"},
    {"connection-grace-ms", NUMBER, AT(connection_grace_ms), NULL, 30000, 100, 3600000,
        "and is closed so long after, with whatever is on it"},
    {"connection-idle-ms", NUMBER, AT(connection_idle_ms), NULL, 900000, 100, 86400000,
        "a connection without a request is closed after this"},
    {"authorizes-per-second", NUMBER, AT(authorizes_per_second), NULL, 0, 0, 1000000,
        "of one company; more are refused RESOURCE_EXHAUSTED with retry_after_ms; 0: no limit"},
    {"authorizes-burst", NUMBER, AT(authorizes_burst), NULL, 0, 0, 1000000,
        "at once, of a company that was quiet; 0: as many as per second"},
    {"redis-url", SECRET_TEXT, AT(redis_url), NULL, 0, 0, 0,
        "the store: unix:///path[?db=N&password=P] or redis://[user:password@]host:port[/db]"},
    {"database-url", SECRET_TEXT, AT(database_url), NULL, 0, 0, 0,
        "the ledger: a libpq connection URI"},
    {"log-level", TEXT, AT(log_level), "info", 0, 0, 0, "debug, info, warn or error"},
    {"grpc-wait", TEXT, AT(grpc_wait), "loop", 0, 0, 0,
        "loop: the loop watches gRPC's descriptor itself; thread: one of its own hands over to it; "
        "spin: as loop, which never sleeps (wants a core of its own)"},
    {"metrics-listen", OPTIONAL_TEXT, AT(metrics_listen), "", 0, 0, 0,
        "where to tell metrics, /healthz and /readyz over HTTP: unix:/path, or a loopback "
        "host:port; empty: nowhere"},
    {"partitions", NUMBER, AT(partitions), NULL, 16, 1, 4096,
        "partitions of the deployment; fixed when its ledger is first used"},
    {"calls-max", NUMBER, AT(calls_max), NULL, 4096, 16, 65536,
        "requests in flight; more are refused RESOURCE_EXHAUSTED"},
    {"message-bytes-max", NUMBER, AT(message_bytes_max), NULL, 65536, 16384, 1048576,
        "the largest request message"},
    {"metadata-bytes-max", NUMBER, AT(metadata_bytes_max), NULL, 8192, 1024, 65536,
        "the largest request headers"},
    {"streams-max", NUMBER, AT(streams_max), NULL, 1024, 1, 65536,
        "of these, and sessions, on one connection"},
    {"deadline-max-ms", NUMBER, AT(deadline_max_ms), NULL, 30000, 100, 600000,
        "deadline of requests that bring none, or a later one"},
    {"drain-ms", NUMBER, AT(drain_ms), NULL, 10000, 0, 600000,
        "on SIGTERM: time for accepted requests, then again for the flush"},
    {"store-timeout-ms", NUMBER, AT(store_timeout_ms), NULL, 250, 10, 10000,
        "while the store does not answer, requests of live calls are answered within this"},
    {"store-connect-ms", NUMBER, AT(store_connect_ms), NULL, 2000, 10, 60000,
        "longest wait for a connection to the store"},
    {"store-inflight-max", NUMBER, AT(store_inflight_max), NULL, 8192, 64, 131072,
        "operations of the store in flight"},
    {"outbox-max", NUMBER, AT(outbox_max), NULL, 1000000, 0, 1000000000,
        "entries of a partition waiting for the ledger, beyond which Authorize is refused; 0: no "
        "limit"},
    {"allow-volatile-store", NUMBER, AT(allow_volatile_store), NULL, 0, 0, 1,
        "1: serve although the store has no AOF or may evict (development only)"},
    {"ledger-timeout-ms", NUMBER, AT(ledger_timeout_ms), NULL, 5000, 100, 60000,
        "longest wait for an answer of the ledger"},
    {"ledger-connect-ms", NUMBER, AT(ledger_connect_ms), NULL, 5000, 100, 60000,
        "longest wait for a connection to the ledger"},
    {"ledger-connections", NUMBER, AT(ledger_connections), NULL, 4, 2, 16,
        "connections for reads, receipts and wallets, beside those of the flush"},
    {"ledger-requests-max", NUMBER, AT(ledger_requests_max), NULL, 8192, 64, 131072,
        "operations waiting for the ledger"},
    {"flush-interval-ms", NUMBER, AT(flush_interval_ms), NULL, 5, 1, 1000,
        "how long entries gather before they are flushed"},
    {"flush-batch-max", NUMBER, AT(flush_batch_max), NULL, 500, 1, 1000,
        "entries of one transaction of the flush"},
    {"trim-margin-ms", NUMBER, AT(trim_margin_ms), NULL, 600000, 0, 86400000,
        "how long flushed entries stay in the store, for a ledger that fails over to an older "
        "standby"},
    {"terms-poll-ms", NUMBER, AT(terms_poll_ms), NULL, 500, 50, 60000,
        "how often changed terms are looked for where no notification arrives"},
    {"clock-skew-max-ms", NUMBER, AT(clock_skew_max_ms), NULL, 2000, 0, 86400000,
        "nothing is served while the store's clock is farther off from this sidecar's and from "
        "the ledger's; 0: it may be"},
    {"receipt-after-ms", NUMBER, AT(receipt_after_ms), NULL, 3000, 100, 600000,
        "age at which a receipt without an entry is applied again"},
    {"receipts-max", NUMBER, AT(receipts_max), NULL, 64, 1, 1024, "receipts applied again at once"},
    {"wallets-max", NUMBER, AT(wallets_max), NULL, 100000, 16, 10000000,
        "companies whose terms are cached"},
    {"degraded-calls-max", NUMBER, AT(degraded_calls_max), NULL, 16384, 1, 1048576,
        "calls running by their plans' outage policy; beyond, Authorize is UNAVAILABLE while the "
        "store is away"},
    {"tick-ms", NUMBER, AT(tick_ms), NULL, 100, 1, 1000,
        "how long due work (cut-offs, leases) of a partition may wait unseen"},
    {"watchers-max", NUMBER, AT(watchers_max), NULL, 10000, 1, 100000,
        "watches at once; more are refused RESOURCE_EXHAUSTED"},
    {"sessions-max", NUMBER, AT(sessions_max), NULL, 1024, 1, 65536,
        "sessions at once; more are refused RESOURCE_EXHAUSTED"},
    {"session-window", NUMBER, AT(session_window), NULL, 256, 1, 65536,
        "unanswered requests of one session; beyond, its messages are not read"},
    {"watch-kept", NUMBER, AT(watch_kept), NULL, 8192, 64, 1048576,
        "latest events kept for watchers, of all partitions together"},
    {"watch-kept-bytes", NUMBER, AT(watch_kept_bytes), NULL, 16777216, 1048576, 1073741824,
        "and the bytes they may take"},
    {"watch-slow-ms", NUMBER, AT(watch_slow_ms), NULL, 30000, 100, 600000,
        "a watcher that takes longer over one message is ended"},
    {"heartbeat-ms", NUMBER, AT(heartbeat_ms), NULL, 5000, 100, 5000,
        "a watcher hears from us at least this often"},
    {"events-keep", NUMBER, AT(events_keep), NULL, 10000, 100, 10000000,
        "events of a partition kept in the store, for watchers that resume"},
    {"lifecycle-events", NUMBER, AT(lifecycle_events), NULL, 0, 0, 1,
        "1: also tell of calls authorized, started, stopped and cancelled; a write each on their "
        "path"},
    {"reflection", NUMBER, AT(reflection), NULL, 0, 0, 1,
        "1: tell tools such as grpcurl what is served, so that they need no proto file"},
    {"holds-look", NUMBER, AT(holds_look), NULL, 1, 0, 1,
        "1: with metrics, also what is held in all and how old the oldest hold is; asks the store "
        "some 200 times a second"},
    {"probe-interval-ms", NUMBER, AT(probe_interval_ms), NULL, 5000, 0, 600000,
        "how often to ask our own health through our own socket; two failures end the sidecar, "
        "exit status 1; 0: never"},
    {"probe-timeout-ms", NUMBER, AT(probe_timeout_ms), NULL, 2000, 100, 60000,
        "how long such a question may take"},
};

static void env_name_of(const struct setting *s, char name[64])
{
	size_t len = (size_t)snprintf(name, 64, "CALLGATE_%s", s->flag);

	for (size_t i = 0; i < len && i < 63; i++) {
		if (name[i] == '-') {
			name[i] = '_';
		}
		name[i] = (char)toupper((unsigned char)name[i]);
	}
}

/* `from` is "--flag" or the environment's name: where the user should look. */
static enum cg_status put(const struct setting *s, const char *value, const char *from,
    struct cg_config *config, struct cg_error *err)
{
	char *at = (char *)config + s->offset;

	if (s->kind == NUMBER) {
		int64_t number = 0;
		if (!cg_view_parse_int(cg_view_of(value), &number) || number < s->least ||
		    number > s->most) {
			cg_error_set(err,
			    "%s: must be an integer from %" PRId64 " to %" PRId64 ", not \"%.40s\"",
			    from, s->least, s->most, value);
			return CG_INVALID;
		}
		memcpy(at, &number, sizeof number);
		return CG_OK;
	}
	size_t len = strlen(value);
	if ((len == 0 && s->kind != OPTIONAL_TEXT) || len >= CG_CONFIG_TEXT_BYTES) {
		cg_error_set(
		    err, "%s: must have 1 to %d characters", from, CG_CONFIG_TEXT_BYTES - 1);
		return CG_INVALID;
	}
	memcpy(at, value, len + 1);
	return CG_OK;
}

static enum cg_status put_defaults_and_environment(struct cg_config *config, struct cg_error *err)
{
	for (size_t i = 0; i < CG_COUNT_OF(settings); i++) {
		const struct setting *s = &settings[i];
		char name[64];
		env_name_of(s, name);
		const char *value = getenv(name);

		if (value != NULL) {
			enum cg_status status = put(s, value, name, config, err);
			if (status != CG_OK) {
				return status;
			}
		} else if (s->kind == NUMBER) {
			memcpy((char *)config + s->offset, &s->number, sizeof s->number);
		} else if (s->text != NULL) {
			memcpy((char *)config + s->offset, s->text, strlen(s->text) + 1);
		}
	}
	return CG_OK;
}

static const struct setting *find(struct cg_view flag)
{
	for (size_t i = 0; i < CG_COUNT_OF(settings); i++) {
		if (cg_view_equal(flag, cg_view_of(settings[i].flag))) {
			return &settings[i];
		}
	}
	return NULL;
}

/* Reads argv[*at], "--flag value" or "--flag=value", and moves *at behind it. */
static enum cg_status put_flag(
    int argc, char **argv, int *at, struct cg_config *config, struct cg_error *err)
{
	const char *word = argv[*at];
	const char *equals = strchr(word, '=');
	size_t len = equals != NULL ? (size_t)(equals - word) : strlen(word);
	const struct setting *s = len > 2 && word[0] == '-' && word[1] == '-'
	    ? find((struct cg_view){word + 2, len - 2})
	    : NULL;
	const char *value = equals != NULL ? equals + 1 : argv[*at + 1];
	char from[80];

	if (s == NULL) {
		cg_error_set(err, "%.80s: there is no such setting; see --help", word);
		return CG_INVALID;
	}
	(void)snprintf(from, sizeof from, "--%s", s->flag);
	if (equals == NULL && *at + 1 >= argc) {
		cg_error_set(err, "%s: needs a value", from);
		return CG_INVALID;
	}
	*at += equals != NULL ? 1 : 2;
	return put(s, value, from, config, err);
}

static enum cg_status check(const struct cg_config *config, struct cg_error *err)
{
	static const char *const levels[] = {"debug", "info", "warn", "error"};
	bool known = false;

	for (size_t i = 0; i < CG_COUNT_OF(settings); i++) {
		const struct setting *s = &settings[i];
		if (s->kind != NUMBER && s->kind != OPTIONAL_TEXT &&
		    ((const char *)config + s->offset)[0] == '\0') {
			char name[64];
			env_name_of(s, name);
			cg_error_set(err, "--%s (or %s): must be set", s->flag, name);
			return CG_INVALID;
		}
	}
	for (size_t i = 0; i < CG_COUNT_OF(levels); i++) {
		known = known || strcmp(config->log_level, levels[i]) == 0;
	}
	if (!known) {
		cg_error_set(err, "--log-level: must be debug, info, warn or error");
		return CG_INVALID;
	}
	if (strcmp(config->grpc_wait, "thread") != 0 && strcmp(config->grpc_wait, "loop") != 0 &&
	    strcmp(config->grpc_wait, "spin") != 0) {
		cg_error_set(err, "--grpc-wait: must be loop, thread or spin");
		return CG_INVALID;
	}
	return CG_OK;
}

enum cg_status cg_config_read(int argc, char **argv, struct cg_config *ret_config,
    enum cg_config_action *ret_action, struct cg_error *err)
{
	struct cg_config config;
	enum cg_config_action action = CG_CONFIG_RUN;

	memset(&config, 0, sizeof config);
	/* Help and version come first: they must work with a broken environment. */
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			*ret_action = CG_CONFIG_HELP;
			return CG_OK;
		}
		if (strcmp(argv[i], "--version") == 0) {
			*ret_action = CG_CONFIG_VERSION;
			return CG_OK;
		}
	}

	enum cg_status status = put_defaults_and_environment(&config, err);
	for (int i = 1; status == CG_OK && i < argc;) {
		if (strcmp(argv[i], "--check-config") == 0) {
			action = CG_CONFIG_CHECK;
			i++;
			continue;
		}
		status = put_flag(argc, argv, &i, &config, err);
	}
	if (status == CG_OK) {
		status = check(&config, err);
	}
	if (status == CG_OK) {
		status = cg_redis_url_read(config.redis_url, &config.redis, err);
	}
	if (status == CG_OK) {
		*ret_config = config;
		*ret_action = action;
	}
	return status;
}

void cg_config_print_help(FILE *to)
{
	(void)fprintf(to,
	    "usage: callgated [--FLAG VALUE ...] [--check-config]\n\n"
	    "The sidecar: decides whether calls may start, meters and charges them.\n"
	    "Every flag can be given as CALLGATE_FLAG in the environment; a flag wins.\n\n");
	for (size_t i = 0; i < CG_COUNT_OF(settings); i++) {
		const struct setting *s = &settings[i];
		char name[64];
		env_name_of(s, name);
		(void)fprintf(to, "  --%-22s %s\n", s->flag, s->help);
		if (s->kind == NUMBER) {
			(void)fprintf(to,
			    "  %-24s %s, %" PRId64 "..%" PRId64 ", default %" PRId64 "\n", "", name,
			    s->least, s->most, s->number);
		} else {
			(void)fprintf(to, "  %-24s %s, %s%s\n", "", name,
			    s->kind == OPTIONAL_TEXT ? "default: none"
			        : s->text == NULL    ? "must be set"
			                             : "default ",
			    s->text == NULL ? "" : s->text);
		}
	}
	(void)fprintf(to,
	    "\n  --check-config           check the settings and end\n"
	    "  --version                print the version and end\n"
	    "  --help                   this text\n\n"
	    "SIGTERM and SIGINT end it in order: accepted requests are answered, entries flushed.\n"
	    "SIGHUP reads credentials and certificates anew.\n"
	    "Exit status: 0 after an orderly end, 1 where it could not start or its own "
	    "listener died, 2 for bad "
	    "settings.\n");
}
