/*
 * Looked up by the key, which stays unique and says when its rows were made: so a ledger
 * that is partitioned by time reads one partition.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/ledger.h"

#include "cli/sql.h"

static const char read_call[] =
    "select coalesce(json_agg(json_build_object("
    "'id', t.id, 'wallet_id', t.wallet_id, "
    "'amount_micros', callgate.to_micros(t.amount, w.currency), 'type', t.type, "
    "'reference_id', t.reference_id, 'description', t.description, "
    "'created_at_ms', callgate.to_ms(t.created_at), 'entry_id', t.entry_id, "
    "'version', t.version, "
    "'balance_after_micros', callgate.to_micros(t.balance_after, w.currency), "
    "'currency', w.currency, 'usage_log', (select json_build_object("
    "'id', u.id, 'resource_type', u.resource_type, "
    "'quantity', trim_scale(u.quantity)::text, "
    "'cost_micros', callgate.to_micros(u.cost, w.currency), 'meta', u.meta, "
    "'created_at_ms', callgate.to_ms(u.created_at)) from public.usage_logs u "
    "where u.company_id = k.company_id and u.created_at = k.created_at "
    "and u.meta->>'entry_id' = k.entry_id limit 1)) order by t.version), '[]'::json) "
    "from callgate.keys k "
    "join public.wallet_transactions t on t.entry_id = k.entry_id and t.created_at = k.created_at "
    "join public.wallets w on w.id = t.wallet_id "
    "where k.company_id = $1::uuid and ((k.type = 'usage' and k.reference_id = $2) "
    "or (k.type = 'adjustment' and k.reference_id = 'correction:' || $2))";

enum cg_exit cg_ledger_read_call(
    struct cg_cli *cli, const char *company, const char *call_id, json_t **ret_entries)
{
	const char *params[] = {company, call_id};

	return cg_sql_ask_alone(cli, read_call, params, 2, ret_entries);
}
