/*
 * doctor, callgate-edge: what its role may do, and what waits for a person.  A deployment without an edge
 * has nobody in that role, and that is as it should be.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "base/base.h"
#include "cli/doctor.h"

/*
 * Of the roles that log in as an edge, or of the group where there is none: what is lacking, and too
 * much.  What is wanted is all that src/edge/store says to Postgres; a test compares.
 */
static const char read_role[] =
    "with role as (select r.oid, r.rolname, r.rolcanlogin from pg_roles r where r.oid = "
    "to_regrole('callgate_edge') or (r.rolcanlogin and not r.rolsuper and "
    "pg_has_role(r.oid, to_regrole('callgate_edge'), 'member'))), "
    "wanted as (select w.name, p.oid from unnest(array['edge_settings_read', 'edge_call_row', "
    "'edge_call_note', 'edge_event_take', 'edge_event_done', 'edge_calls_due', "
    "'edge_calls_missed', 'edge_review_put', 'edge_trim']) w(name) left join pg_proc p on "
    "p.proname = w.name and p.pronamespace = to_regnamespace('callgate')), "
    "lacking as (select r.rolname, w.name from role r cross join wanted w where w.oid is null or "
    "not has_function_privilege(r.oid, w.oid, 'execute') or "
    "not has_schema_privilege(r.oid, to_regnamespace('callgate'), 'usage')), "
    "beyond as (select r.rolname from role r where exists (select from unnest(array["
    "'callgate_sidecar', 'callgate_operator']) g(name) where to_regrole(g.name) is not null and "
    "pg_has_role(r.oid, to_regrole(g.name), 'member')) or exists (select from pg_class c where "
    "c.oid = any (array[to_regclass('public.wallets'), to_regclass('public.wallet_transactions'), "
    "to_regclass('public.usage_logs'), to_regclass('callgate.receipts'), "
    "to_regclass('callgate.edge_numbers'), to_regclass('callgate.edge_controls')]::oid[]) and "
    "has_table_privilege(r.oid, c.oid, 'insert,update,delete,truncate')) "
    "union select r.rolname from pg_roles r join pg_auth_members m on m.member = r.oid and "
    "m.roleid = to_regrole('callgate_edge') where r.rolsuper or r.rolbypassrls or r.rolcreaterole) "
    "select json_build_object('group', to_regrole('callgate_edge') is not null, 'logins', "
    "(select count(*) from role r where r.rolcanlogin), 'lacking', (select string_agg(distinct "
    "l.rolname || ': ' || l.name, ', ') from lacking l), 'beyond', (select string_agg(b.rolname, "
    "' ' order by b.rolname) from beyond b))";

static const char read_reviews[] =
    "select json_build_object('open', count(*), 'oldest_s', coalesce(extract(epoch from now() - "
    "min(r.created_at))::bigint, 0)) from callgate.edge_reviews r where r.resolved_at is null";

static int64_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void check_role(struct cg_doctor *doctor)
{
	json_t *role = cg_doctor_sql(doctor, read_role, NULL, 0);
	const char *lacking = json_string_value(json_object_get(role, "lacking"));
	const char *beyond = json_string_value(json_object_get(role, "beyond"));
	bool has_group = json_is_true(json_object_get(role, "group"));
	int64_t logins = number(role, "logins");

	if (role == NULL) {
		cg_doctor_note(doctor, "edge-role", CG_DOCTOR_UNKNOWN, "ask as the schema's owner",
		    "%s", doctor->why.text);
		return;
	}
	if (!has_group) {
		cg_doctor_note(doctor, "edge-role", CG_DOCTOR_ERROR,
		    "run `callgate migrate` as the schema's owner", "there is no callgate_edge");
	} else if (lacking != NULL) {
		cg_doctor_note(doctor, "edge-role", CG_DOCTOR_ERROR,
		    "grant execute on them to callgate_edge, or run `callgate migrate`",
		    "the edge may not use %.300s", lacking);
	} else if (beyond != NULL) {
		cg_doctor_note(doctor, "edge-role", CG_DOCTOR_ERROR,
		    "give the edge a login of its own, in callgate_edge alone: it moves no money",
		    "too mighty: %.300s", beyond);
	} else {
		cg_doctor_note(doctor, "edge-role", CG_DOCTOR_OK, NULL,
		    "%" PRId64 " logins of edges, which may use what they need and nothing else",
		    logins);
	}
	json_decref(role);
}

static void check_reviews(struct cg_doctor *doctor)
{
	json_t *reviews = cg_doctor_sql(doctor, read_reviews, NULL, 0);

	if (reviews == NULL) {
		cg_doctor_note(doctor, "edge-reviews", CG_DOCTOR_UNKNOWN,
		    "ask as the schema's owner", "%s", doctor->why.text);
		return;
	}
	cg_doctor_note(doctor, "edge-reviews",
	    number(reviews, "open") > 0 ? CG_DOCTOR_WARNING : CG_DOCTOR_OK,
	    "see callgate.edge_reviews; select callgate.edge_review_resolve(id, 'note')",
	    "%" PRId64 " calls are to be reviewed, the oldest for %" PRId64 " s",
	    number(reviews, "open"), number(reviews, "oldest_s"));
	json_decref(reviews);
}

void cg_doctor_edge(struct cg_doctor *doctor)
{
	check_role(doctor);
	check_reviews(doctor);
}
