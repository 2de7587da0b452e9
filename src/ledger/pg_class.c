/*
 * SQLSTATEs, told apart in one place.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "ledger/pg.h"

struct rule {
	const char *prefix;
	enum cg_pg_class class;
};

/* The first that fits holds. */
static const struct rule rules[] = {
    {"57P", CG_PG_SEVERED}, /* shutdown, crash, cannot connect now */
    {"08", CG_PG_SEVERED},
    {"57", CG_PG_TRANSIENT}, /* cancelled by a timeout */
    {"53", CG_PG_TRANSIENT}, /* disk full, out of memory, too many connections */
    {"40003", CG_PG_SEVERED},
    {"40", CG_PG_TRANSIENT},
    {"55", CG_PG_TRANSIENT},
    {"58", CG_PG_TRANSIENT},
    {"25006", CG_PG_SEVERED}, /* read-only: a failover; another connection will do */
    {"25P", CG_PG_SEVERED},
    {"23505", CG_PG_DUPLICATE},
    {"22", CG_PG_DATA},
    {"23", CG_PG_DATA},
    {"42", CG_PG_REFUSED},
    {"3D", CG_PG_REFUSED},
    {"3F", CG_PG_REFUSED},
    {"28", CG_PG_REFUSED},
    {"0A", CG_PG_REFUSED},
};

enum cg_pg_class cg_pg__class(const char *sqlstate)
{
	for (size_t i = 0; sqlstate != NULL && i < CG_COUNT_OF(rules); i++) {
		if (strncmp(sqlstate, rules[i].prefix, strlen(rules[i].prefix)) == 0) {
			return rules[i].class;
		}
	}
	return CG_PG_UNKNOWN;
}

enum cg_status cg_pg__status(enum cg_pg_class class)
{
	switch (class) {
	case CG_PG_TRANSIENT:
		return CG_UNAVAILABLE;
	case CG_PG_SEVERED:
		return CG_LOST;
	case CG_PG_DATA:
		return CG_INVALID;
	case CG_PG_DUPLICATE:
		return CG_KEY_REUSED;
	case CG_PG_REFUSED:
		return CG_DENIED;
	case CG_PG_UNKNOWN:
		return CG_INTERNAL;
	}
	CG_UNREACHABLE();
}

struct cg_view cg_result__view(const PGresult *result, int row, int column)
{
	return (struct cg_view){
	    PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column)};
}

int64_t cg_result__int(const PGresult *result, int row, int column)
{
	int64_t value = 0;

	(void)cg_view_parse_int(cg_result__view(result, row, column), &value);
	return value;
}

bool cg_result__bool(const PGresult *result, int row, int column)
{
	return PQgetvalue(result, row, column)[0] == 't';
}

struct cg_uuid cg_result__uuid(const PGresult *result, int row, int column)
{
	struct cg_uuid uuid = {{0}};

	(void)cg_uuid_parse(cg_result__view(result, row, column), &uuid);
	return uuid;
}

bool cg_result__is(const PGresult *result, int row, int column, const char *text)
{
	return strcmp(PQgetvalue(result, row, column), text) == 0;
}
