/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger/migrate.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#include "ledger/migrations.h"

/* The lock is a session's, so that it lasts over the transactions; any number will do. */
static const char lock_statement[] = "select pg_advisory_lock(4776400)";

/* The table is Supabase's runner's own, so that either may run what the other has not. */
static const char table_statement[] =
    "create schema if not exists supabase_migrations;"
    "create table if not exists supabase_migrations.schema_migrations"
    " (version text not null primary key);"
    "alter table supabase_migrations.schema_migrations"
    " add column if not exists statements text[];"
    "alter table supabase_migrations.schema_migrations add column if not exists name text";

static void ignore_notice(void *arg, const PGresult *result)
{
	(void)arg;
	(void)result;
}

static enum cg_status fail(PGconn *conn, const char *what, struct cg_error *err)
{
	const char *why = PQerrorMessage(conn);

	cg_error_set(err, "%s: %.*s", what, (int)strcspn(why, "\n"), why);
	return PQstatus(conn) == CONNECTION_OK ? CG_INTERNAL : CG_UNAVAILABLE;
}

static enum cg_status run(
    PGconn *conn, const char *statement, const char *what, struct cg_error *err)
{
	PGresult *result = PQexec(conn, statement);
	ExecStatusType ended = PQresultStatus(result);
	bool is_ok = ended == PGRES_COMMAND_OK || ended == PGRES_TUPLES_OK;

	PQclear(result);
	return is_ok ? CG_OK : fail(conn, what, err);
}

static enum cg_status has_table(PGconn *conn, bool *ret_has, struct cg_error *err)
{
	PGresult *result =
	    PQexec(conn, "select to_regclass('supabase_migrations.schema_migrations') is not null");

	if (PQresultStatus(result) != PGRES_TUPLES_OK) {
		PQclear(result);
		return fail(conn, "look for recorded migrations", err);
	}
	*ret_has = PQgetvalue(result, 0, 0)[0] == 't';
	PQclear(result);
	return CG_OK;
}

static enum cg_status is_recorded(
    PGconn *conn, const struct cg_migration *migration, bool *ret_recorded, struct cg_error *err)
{
	const char *values[] = {migration->version};
	PGresult *result = PQexecParams(conn,
	    "select 1 from supabase_migrations.schema_migrations where version = $1", 1, NULL,
	    values, NULL, NULL, 0);

	if (PQresultStatus(result) != PGRES_TUPLES_OK) {
		PQclear(result);
		return fail(conn, "look for recorded migrations", err);
	}
	*ret_recorded = PQntuples(result) > 0;
	PQclear(result);
	return CG_OK;
}

static enum cg_status record(
    PGconn *conn, const struct cg_migration *migration, struct cg_error *err)
{
	const char *values[] = {migration->version, migration->name, migration->text};
	PGresult *result = PQexecParams(conn,
	    "insert into supabase_migrations.schema_migrations (version, name, statements)"
	    " values ($1, $2, array[$3])",
	    3, NULL, values, NULL, NULL, 0);
	bool is_ok = PQresultStatus(result) == PGRES_COMMAND_OK;

	PQclear(result);
	return is_ok ? CG_OK : fail(conn, migration->name, err);
}

static enum cg_status apply(
    PGconn *conn, const struct cg_migration *migration, struct cg_error *err)
{
	enum cg_status status = run(conn, "begin", migration->name, err);

	if (status == CG_OK) {
		status = run(conn, migration->text, migration->name, err);
	}
	if (status == CG_OK) {
		status = record(conn, migration, err);
	}
	if (status != CG_OK) {
		PQclear(PQexec(conn, "rollback")); /* the first error is the one to tell */
		return status;
	}
	return run(conn, "commit", migration->name, err);
}

struct reporter {
	void (*report)(void *owner, const char *version, const char *name, bool applied);
	void *owner;
};

static enum cg_status apply_all(
    PGconn *conn, bool dry_run, const struct reporter *reporter, struct cg_error *err)
{
	bool has = false;
	enum cg_status status = has_table(conn, &has, err);

	if (status == CG_OK && !has && !dry_run) {
		status = run(conn, table_statement, "make the table of migrations", err);
		has = true;
	}
	for (const struct cg_migration *m = cg_migrations; status == CG_OK && m->version != NULL;
	     m++) {
		bool recorded = false;

		status = has ? is_recorded(conn, m, &recorded, err) : CG_OK;
		if (status != CG_OK || recorded) {
			continue;
		}
		status = dry_run ? CG_OK : apply(conn, m, err);
		if (status == CG_OK && reporter->report != NULL) {
			reporter->report(reporter->owner, m->version, m->name, !dry_run);
		}
	}
	return status;
}

enum cg_status cg_migrate(const char *database_url, bool dry_run,
    void (*report)(void *owner, const char *version, const char *name, bool applied), void *owner,
    struct cg_error *err)
{
	struct reporter reporter = {.report = report, .owner = owner};
	PGconn *conn = PQconnectdb(database_url);
	enum cg_status status = CG_UNAVAILABLE;

	if (PQstatus(conn) != CONNECTION_OK) {
		(void)fail(conn, "connect", err);
	} else {
		(void)PQsetNoticeReceiver(conn, ignore_notice, NULL);
		status = run(conn, lock_statement, "wait for another migration", err);
		if (status == CG_OK) {
			status = apply_all(conn, dry_run, &reporter, err);
		}
	}
	PQfinish(conn); /* and so lets go of the lock */
	if (status != CG_OK) {
		cg_error_wrap(err, "migrate");
	}
	return status;
}
