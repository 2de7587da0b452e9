-- Who may do what.  Nothing is left to default grants.
-- SPDX-License-Identifier: Apache-2.0
--
--   anon, authenticated   nothing: customers see their money through the billing API
--   service_role          reads the roadmap's tables, keeps subscriptions
--   callgate_sidecar      calls the functions below, which do what they say as their owner
--   callgate_operator     plans and rates, and reads everything
--   callgate_reader       reads everything

alter table public.billing_subscriptions enable row level security;
alter table public.wallets enable row level security;
alter table public.wallet_transactions enable row level security;
alter table public.usage_logs enable row level security;
do $$
begin
  if (select owns_companies from callgate.installation) then
    alter table public.companies enable row level security;
    revoke all on public.companies from public, anon, authenticated, service_role;
    grant select, insert, update on public.companies to service_role;
    grant select on public.companies to callgate_operator, callgate_reader;
    create policy companies_read on public.companies for select
      to callgate_operator, callgate_reader using (true);
  end if;
end
$$;

revoke all on public.billing_subscriptions, public.wallets, public.wallet_transactions, public.usage_logs
  from public, anon, authenticated, service_role;
grant select on public.billing_subscriptions, public.wallets, public.wallet_transactions, public.usage_logs
  to service_role, callgate_operator, callgate_reader;
grant insert, update, delete on public.billing_subscriptions to service_role;

create policy billing_subscriptions_read on public.billing_subscriptions for select
  to callgate_operator, callgate_reader using (true);
create policy wallets_read on public.wallets for select
  to callgate_operator, callgate_reader using (true);
create policy wallet_transactions_read on public.wallet_transactions for select
  to callgate_operator, callgate_reader using (true);
create policy usage_logs_read on public.usage_logs for select
  to callgate_operator, callgate_reader using (true);

revoke all on all tables in schema callgate from public, anon, authenticated, service_role;
revoke all on all sequences in schema callgate from public, anon, authenticated, service_role;
revoke all on all functions in schema callgate from public, anon, authenticated, service_role;
alter default privileges in schema callgate revoke execute on functions from public;

grant usage on schema callgate to callgate_sidecar, callgate_operator, callgate_reader;
grant select on all tables in schema callgate to callgate_operator, callgate_reader;
grant insert, update on callgate.plans to callgate_operator;
grant insert, update, delete on callgate.rates to callgate_operator;
grant execute on function
    callgate.minor_digits(text), callgate.units_per_micro(text), callgate.micros_per_unit(text),
    callgate.to_units(bigint, text), callgate.to_micros(numeric, text), callgate.to_instant(bigint),
    callgate.to_ms(timestamptz), callgate.meta_pairs(jsonb),
    callgate.entry_content(text, uuid, bigint, text, bigint, bigint, bigint, text, text),
    callgate.chain_step(bytea, bytea, bytea), callgate.chain(bytea, bytea),
    callgate.wallet_read(uuid), callgate.key_read(uuid, text, text)
  to callgate_operator, callgate_reader;

grant select on callgate.plans, callgate.rates, callgate.terms to callgate_sidecar;
grant execute on function
    callgate.flush(integer, bigint, bigint, bigint, bigint, bigint, integer, bigint[], bigint[], uuid[],
      bigint[], text[], bigint[], bigint[], bigint[], text[], text[], text[], bigint[], boolean[], jsonb[],
      bytea, text),
    callgate.wallet_read(uuid), callgate.wallet_create(uuid, text, text),
    callgate.wallet_update(uuid, text, boolean, bigint, bigint), callgate.key_read(uuid, text, text),
    callgate.receipt_write(uuid, text, bigint, text, text, text),
    callgate.receipts_due(integer, bigint, integer), callgate.deployment_read(integer),
    callgate.turn_take(integer, integer), callgate.epoch_take(integer, bigint, bigint),
    callgate.epoch_served(integer, bigint),
    callgate.orphans_put(integer, bigint, bigint[], bigint[], uuid[], bigint[], text[], bigint[], bigint[],
      bigint[], bytea[]),
    callgate.cursors_read(text[]), callgate.keys_booked(uuid[], text[], text[]),
    callgate.terms_changes(bigint, bigint, integer), callgate.terms_latest()
  to callgate_sidecar;
