/*
 * doctor, the ledger: its server's settings, its schema, who may do what, and what waits in it.
 * The statements stand here and not in the schema, since a schema that lacks migrations is one
 * of the things to be found.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/base.h"
#include "cli/doctor.h"
#include "ledger/migrations.h"

#define VERSION_LEAST      150000
#define CONNECTIONS_MOST   80 /* percent of max_connections */
#define STANDBY_LAG_MOST_S 10
#define WAITING_WARN_S     30
#define WAITING_ERROR_S    600

static const char read_server[] =
    "select json_build_object('version', current_setting('server_version_num')::integer, "
    "'is_standby', pg_is_in_recovery(), 'is_read_only', "
    "current_setting('default_transaction_read_only') = 'on', "
    "'fsync', current_setting('fsync'), 'pages', current_setting('full_page_writes'), "
    "'commit', current_setting('synchronous_commit'), 'loose', (select string_agg(distinct "
    "coalesce(r.rolname, d.datname, 'all'), ' ') from pg_db_role_setting s left join pg_roles r "
    "on r.oid = s.setrole left join pg_database d on d.oid = s.setdatabase cross join "
    "unnest(s.setconfig) c where c in ('synchronous_commit=off', 'synchronous_commit=local') and "
    "(s.setdatabase = 0 or d.datname = current_database())), "
    "'most', current_setting('max_connections')::integer, 'used', "
    "(select count(*) from pg_stat_activity where backend_type = 'client backend'), "
    "'bytes', pg_database_size(current_database()), "
    "'sync_standbys', current_setting('synchronous_standby_names'), "
    "'standbys', (select count(*) from pg_stat_replication), 'late_standbys', "
    "(select count(*) from pg_stat_replication where replay_lag > $1::integer * interval '1 "
    "second'))";

static const char read_migrations[] =
    "select coalesce(json_object_agg(m.version, coalesce(m.name, '')), '{}'::json) "
    "from supabase_migrations.schema_migrations m";

/* Roles that log in as a sidecar, directly or through another role. */
static const char read_roles[] =
    "select json_build_object('groups', (select count(*) from pg_roles where rolname in "
    "('callgate_sidecar', 'callgate_operator', 'callgate_reader')), 'logins', "
    "(select coalesce(json_agg(r.rolname order by r.rolname), '[]'::json) from pg_roles r "
    "where r.rolcanlogin and not r.rolsuper and to_regrole('callgate_sidecar') is not null "
    "and pg_has_role(r.oid, to_regrole('callgate_sidecar'), 'member')), "
    "'mighty', (select string_agg(r.rolname, ' ' order by r.rolname) from pg_roles r "
    "join pg_auth_members m on m.member = r.oid and m.roleid = to_regrole('callgate_sidecar') "
    "where r.rolsuper or r.rolbypassrls or r.rolcreaterole or pg_has_role(r.oid, "
    "(select c.relowner from pg_class c where c.oid = to_regclass('public.wallets')), 'member')))";

/*
 * Of the roles that log in, or of the group where there is none: what is lacking, and too much.
 * What is wanted is all that src/ledger says to Postgres; a test compares.
 */
static const char read_grants[] =
    "with role as (select r.oid, r.rolname from pg_roles r where r.oid = "
    "to_regrole('callgate_sidecar') or (r.rolcanlogin and not r.rolsuper and "
    "pg_has_role(r.oid, to_regrole('callgate_sidecar'), 'member'))), "
    "wanted as (select w.name, p.oid from unnest(array['flush', 'wallet_read', 'wallet_create', "
    "'wallet_update', 'key_read', 'receipt_write', 'receipts_due', 'deployment_read', 'turn_take', "
    "'turn_keep', 'epoch_begin', 'epoch_served', 'is_beginning', 'tail_read', 'orphans_put', "
    "'cursor_read', 'cursors_read', 'cursors_look', 'keys_booked', 'terms_changes', "
    "'terms_latest']) w(name) left join pg_proc p on p.proname = w.name and p.pronamespace = "
    "to_regnamespace('callgate')), "
    "lacking as (select r.rolname, w.name from role r cross join wanted w where w.oid is null or "
    "not has_function_privilege(r.oid, w.oid, 'execute') or "
    "not has_schema_privilege(r.oid, to_regnamespace('callgate'), 'usage') "
    "union all select r.rolname, w.name from role r cross join unnest(array['plans', 'rates']) "
    "w(name) left join pg_class c on c.relname = w.name and c.relnamespace = "
    "to_regnamespace('callgate') where c.oid is null or "
    "not has_table_privilege(r.oid, c.oid, 'select')) "
    "select json_build_object('lacking', (select string_agg(distinct l.rolname || ': ' || l.name, "
    "', ') from lacking l), "
    "'beyond', (select string_agg(distinct r.rolname || ': ' || c.relname, ', ') from role r "
    "cross join pg_class c where c.oid = any (array[to_regclass('public.wallets'), "
    "to_regclass('public.wallet_transactions'), to_regclass('public.usage_logs'), "
    "to_regclass('callgate.keys'), to_regclass('callgate.receipts'), "
    "to_regclass('callgate.cursors'), to_regclass('callgate.quarantine')]::oid[]) and "
    "has_table_privilege(r.oid, c.oid, 'insert,update,delete,truncate')))";

static const char read_triggers[] =
    "select json_build_object('missing', (select string_agg(t.name, ', ' order by t.name) from "
    "unnest(array['public.wallet_transactions', 'public.usage_logs', 'callgate.keys', "
    "'callgate.quarantine_log']) t(name) where to_regclass(t.name) is not null and not exists "
    "(select from pg_trigger g where g.tgrelid = to_regclass(t.name) and g.tgname = 'append_only' "
    "and g.tgenabled in ('O', 'A') and g.tgfoid = "
    "to_regprocedure('callgate.append_only()'))))";

static const char read_waiting[] =
    "select json_build_object('wallets', (select count(distinct q.company_id) from "
    "callgate.quarantine q where q.kind = 'wallet'), 'entries', (select count(*) from "
    "callgate.quarantine q where q.kind = 'wallet'), 'texts', (select count(*) from "
    "callgate.quarantine q where q.kind = 'payload'), 'receipts', (select count(*) from "
    "callgate.receipts r where r.entry_id is null and r.created_at < now() - $1::integer * "
    "interval '1 second'), 'receipts_age_s', (select coalesce(extract(epoch from now() - "
    "min(r.created_at))::bigint, 0) from callgate.receipts r where r.entry_id is null), "
    "'orphans', (select count(*) from callgate.orphans), 'orphans_new', (select count(*) from "
    "callgate.orphans o where o.created_at > now() - interval '7 days'))";

static int64_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* NULL: SQL's null, nothing to tell. */
static const char *text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void unknown(struct cg_doctor *doctor, const char *name)
{
	cg_doctor_note(
	    doctor, name, CG_DOCTOR_UNKNOWN, "ask as the schema's owner", "%s", doctor->why.text);
}

static void check_server(struct cg_doctor *doctor, const json_t *s)
{
	bool is_standby = json_is_true(json_object_get(s, "is_standby"));
	bool is_read_only = json_is_true(json_object_get(s, "is_read_only"));
	int64_t version = number(s, "version");

	cg_doctor_note(doctor, "ledger-version",
	    version >= VERSION_LEAST ? CG_DOCTOR_OK : CG_DOCTOR_ERROR,
	    "callgate is made for Postgres 15 or later", "Postgres %" PRId64 ".%" PRId64,
	    version / 10000, version % 10000);
	cg_doctor_note(doctor, "ledger-writable",
	    is_standby || is_read_only ? CG_DOCTOR_ERROR : CG_DOCTOR_OK,
	    is_standby ? "give the primary's address, with target_session_attrs=read-write"
	               : "default_transaction_read_only is on: nothing can be booked",
	    is_standby         ? "it is a standby"
	        : is_read_only ? "transactions are read-only"
	                       : "it is a primary, and writable");

	const char *commit = text(s, "commit");
	const char *loose = text(s, "loose");
	bool is_safe = strcmp(text(s, "fsync"), "on") == 0 && strcmp(text(s, "pages"), "on") == 0;
	bool commits = strcmp(commit, "off") != 0 && strcmp(commit, "local") != 0 && loose == NULL;
	cg_doctor_note(doctor, "ledger-durability",
	    is_safe && commits ? CG_DOCTOR_OK : CG_DOCTOR_ERROR,
	    "fsync, full_page_writes and synchronous_commit are to be on, for every role: what was "
	    "answered COMMITTED may be lost otherwise",
	    "fsync %s, full_page_writes %s, synchronous_commit %s%s%s", text(s, "fsync"),
	    text(s, "pages"), commit, loose != NULL ? ", off or local for: " : "",
	    loose != NULL ? loose : "");
}

static void check_capacity(struct cg_doctor *doctor, const json_t *s)
{
	int64_t used = number(s, "used");
	int64_t most = number(s, "most");
	const char *sync = text(s, "sync_standbys");

	cg_doctor_note(doctor, "ledger-connections",
	    used * 100 > most * CONNECTIONS_MOST ? CG_DOCTOR_WARNING : CG_DOCTOR_OK,
	    "raise max_connections, or find who keeps so many",
	    "%" PRId64 " of %" PRId64 " connections are used", used, most);
	cg_doctor_note(doctor, "ledger-standbys",
	    number(s, "late_standbys") > 0 ? CG_DOCTOR_WARNING : CG_DOCTOR_OK,
	    "a standby lags: promoted, it would lack what was answered COMMITTED",
	    "%" PRId64 " standbys, %" PRId64 " of them more than %d s behind, %s",
	    number(s, "standbys"), number(s, "late_standbys"), STANDBY_LAG_MOST_S,
	    sync != NULL && sync[0] != '\0' ? "commits wait for one" : "commits wait for none");
	cg_doctor_note(doctor, "ledger-space", CG_DOCTOR_OK, NULL,
	    "the database has %" PRId64 " MB; how much its disk has left cannot be asked from here",
	    number(s, "bytes") >> 20);
}

static void check_migrations(struct cg_doctor *doctor)
{
	json_t *there = cg_doctor_sql(doctor, read_migrations, NULL, 0);
	const char *missing = NULL;
	const char *strange = NULL;
	const char *version;
	json_t *name;
	size_t known = 0;

	if (there == NULL) {
		unknown(doctor, "ledger-migrations");
		return;
	}
	for (const struct cg_migration *m = cg_migrations; m->version != NULL; m++) {
		bool is_there = json_object_get(there, m->version) != NULL;

		missing = is_there || missing != NULL ? missing : m->version;
		known += is_there ? 1 : 0;
		(void)json_object_del(there, m->version);
	}
	json_object_foreach(there, version, name)
	{
		if (strncmp(json_string_value(name), "callgate_", strlen("callgate_")) == 0) {
			strange = version;
		}
	}
	cg_doctor_note(doctor, "ledger-migrations",
	    missing != NULL       ? CG_DOCTOR_ERROR
	        : strange != NULL ? CG_DOCTOR_WARNING
	                          : CG_DOCTOR_OK,
	    missing != NULL ? "run `callgate migrate` as the schema's owner"
	                    : "the schema is newer than this command: use that version's",
	    "%zu are applied%s%s", known,
	    missing != NULL       ? ", the first that is missing is "
	        : strange != NULL ? ", unknown is "
	                          : "",
	    missing != NULL       ? missing
	        : strange != NULL ? strange
	                          : "");
	json_decref(there);
}

static void check_roles(struct cg_doctor *doctor)
{
	json_t *roles = cg_doctor_sql(doctor, read_roles, NULL, 0);
	const json_t *logins = json_object_get(roles, "logins");
	const char *mighty = text(roles, "mighty");

	if (roles == NULL) {
		unknown(doctor, "ledger-roles");
		return;
	}
	bool has_groups = number(roles, "groups") == 3;
	bool has_login = json_array_size(logins) > 0;
	cg_doctor_note(doctor, "ledger-roles",
	    !has_groups || mighty != NULL ? CG_DOCTOR_ERROR
	        : has_login               ? CG_DOCTOR_OK
	                                  : CG_DOCTOR_WARNING,
	    !has_groups ? "run `callgate migrate` as the schema's owner"
	        : mighty != NULL
	        ? "sidecars log in with a role that is no superuser, owns nothing and makes no "
	          "roles"
	        : "create role callgated login password '...' in role callgate_sidecar",
	    "%" PRId64 " of 3 groups, %zu logins of sidecars%s%s", number(roles, "groups"),
	    json_array_size(logins), mighty != NULL ? ", too mighty: " : "",
	    mighty != NULL ? mighty : "");
	json_decref(roles);
}

static void check_grants(struct cg_doctor *doctor)
{
	json_t *grants = cg_doctor_sql(doctor, read_grants, NULL, 0);
	const char *lacking = text(grants, "lacking");
	const char *beyond = text(grants, "beyond");

	if (grants == NULL) {
		unknown(doctor, "ledger-grants");
		return;
	}
	cg_doctor_note(doctor, "ledger-grants",
	    lacking != NULL || beyond != NULL ? CG_DOCTOR_ERROR : CG_DOCTOR_OK,
	    lacking != NULL
	        ? "grant execute, or select, on them to callgate_sidecar, or run `callgate migrate`"
	        : "revoke it: the functions alone may write these tables",
	    "%s%.300s",
	    lacking != NULL      ? "sidecars may not use "
	        : beyond != NULL ? "sidecars may write "
	                         : "sidecars may use what they need, and write no table",
	    lacking != NULL      ? lacking
	        : beyond != NULL ? beyond
	                         : "");
	json_decref(grants);
}

static void check_triggers(struct cg_doctor *doctor)
{
	json_t *triggers = cg_doctor_sql(doctor, read_triggers, NULL, 0);
	const char *missing = text(triggers, "missing");

	if (triggers == NULL) {
		unknown(doctor, "ledger-append-only");
		return;
	}
	cg_doctor_note(doctor, "ledger-append-only",
	    missing != NULL ? CG_DOCTOR_ERROR : CG_DOCTOR_OK,
	    "alter table ... enable trigger append_only; then `callgate audit`: rows may have "
	    "changed",
	    "%s%s", missing != NULL ? "rows can be changed in " : "no row can be changed",
	    missing != NULL ? missing : "");
	json_decref(triggers);
}

void cg_doctor_ledger(struct cg_doctor *doctor)
{
	char lag[12];
	const char *params[] = {lag};

	(void)snprintf(lag, sizeof lag, "%d", STANDBY_LAG_MOST_S);
	json_t *server = cg_doctor_sql(doctor, read_server, params, CG_COUNT_OF(params));
	if (server == NULL) {
		unknown(doctor, "ledger-version");
	} else {
		check_server(doctor, server);
		check_capacity(doctor, server);
	}
	json_decref(server);
	check_migrations(doctor);
	check_roles(doctor);
	check_grants(doctor);
	check_triggers(doctor);
}

void cg_doctor_books(struct cg_doctor *doctor)
{
	char age[12];
	const char *params[] = {age};

	(void)snprintf(age, sizeof age, "%d", WAITING_WARN_S);
	json_t *w = cg_doctor_sql(doctor, read_waiting, params, CG_COUNT_OF(params));
	if (w == NULL) {
		unknown(doctor, "quarantine");
		return;
	}
	cg_doctor_note(doctor, "quarantine",
	    number(w, "entries") > 0     ? CG_DOCTOR_ERROR
	        : number(w, "texts") > 0 ? CG_DOCTOR_WARNING
	                                 : CG_DOCTOR_OK,
	    "see `callgate quarantine list`",
	    "%" PRId64 " entries of %" PRId64 " wallets wait, %" PRId64 " texts were taken away",
	    number(w, "entries"), number(w, "wallets"), number(w, "texts"));
	cg_doctor_note(doctor, "receipts",
	    number(w, "receipts") == 0                          ? CG_DOCTOR_OK
	        : number(w, "receipts_age_s") > WAITING_ERROR_S ? CG_DOCTOR_ERROR
	                                                        : CG_DOCTOR_WARNING,
	    "money came in and is not in its wallet: sidecars apply receipts; see what they log",
	    "%" PRId64 " receipts wait for more than %d s, the oldest for %" PRId64 " s",
	    number(w, "receipts"), WAITING_WARN_S, number(w, "receipts_age_s"));
	cg_doctor_note(doctor, "orphans",
	    number(w, "orphans_new") > 0 ? CG_DOCTOR_WARNING : CG_DOCTOR_OK,
	    "a history of the store was given up: callgate.orphans has its entries, for "
	    "reconciliation with the provider's list of calls",
	    "%" PRId64 " entries of histories given up, %" PRId64 " of them within 7 days",
	    number(w, "orphans"), number(w, "orphans_new"));
	json_decref(w);
}
