-- What a sidecar asks about wallets, keys and receipts: each one statement, one snapshot.
-- SPDX-License-Identifier: Apache-2.0

create type callgate.wallet_state as (
  wallet_id uuid, currency text, plan_id text, frozen boolean, suspended boolean,
  low_balance_micros bigint, low_balance_remaining_ms bigint, created_at_ms bigint,
  terms_version bigint, posted_micros bigint, version bigint
);

-- Where entries of the wallet are in quarantine, the store is ahead by them: the last one's
-- balance and version are what a load takes.
create function callgate.wallet_read(p_company uuid) returns setof callgate.wallet_state
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select w.id, w.currency, w.plan_id, w.frozen,
         exists (select from public.billing_subscriptions s
                  where s.company_id = w.company_id and s.status in ('suspended', 'unpaid'))
           and not exists (select from public.billing_subscriptions s
                  where s.company_id = w.company_id and s.status not in ('suspended', 'unpaid', 'canceled', 'cancelled')),
         w.low_balance_micros, w.low_balance_remaining_ms, callgate.to_ms(w.created_at), w.terms_version,
         coalesce(q.balance_after_micros, callgate.to_micros(w.balance, w.currency)),
         coalesce(q.version, w.version)
    from public.wallets w
    left join lateral (
      select a.balance_after_micros, a.version from callgate.quarantine a
       where a.company_id = w.company_id and a.kind = 'wallet'
       order by a.version desc, a.id desc limit 1) q on true
   where w.company_id = p_company
$$;

-- ret_outcome: created, exists, currency_differs, no_plan, no_company
create function callgate.wallet_create(p_company uuid, p_currency text, p_plan text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  present text;
begin
  select w.currency into present from public.wallets w where w.company_id = p_company;
  if not found then
    if not exists (select from callgate.plans p where p.plan_id = p_plan) then
      return 'no_plan';
    end if;
    if (select i.owns_companies from callgate.installation i) then
      insert into public.companies (id) values (p_company) on conflict do nothing;
    end if;
    begin
      insert into public.wallets (company_id, currency, plan_id) values (p_company, p_currency, p_plan)
        on conflict (company_id) do nothing;
    exception when foreign_key_violation then
      return 'no_company';
    end;
    if found then
      return 'created';
    end if;
    select w.currency into present from public.wallets w where w.company_id = p_company;
  end if;
  return case when present = p_currency then 'exists' else 'currency_differs' end;
end
$$;

-- Null leaves a thing as it is; both parts of the threshold are set together.
-- Outcome: done, no_wallet, no_plan
create function callgate.wallet_update(p_company uuid, p_plan text, p_frozen boolean,
    p_low_balance_micros bigint, p_low_balance_remaining_ms bigint) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if p_plan is not null and not exists (select from callgate.plans p where p.plan_id = p_plan) then
    return 'no_plan';
  end if;
  update public.wallets w
     set plan_id = coalesce(p_plan, w.plan_id),
         frozen = coalesce(p_frozen, w.frozen),
         low_balance_micros = coalesce(p_low_balance_micros, w.low_balance_micros),
         low_balance_remaining_ms = coalesce(p_low_balance_remaining_ms, w.low_balance_remaining_ms)
   where w.company_id = p_company;
  return case when found then 'done' else 'no_wallet' end;
end
$$;

-- The caller's own pairs as they travel through the store: for each one byte of key length, the
-- key, two bytes of value length (little-endian), the value.
create function callgate.meta_pairs(p_meta jsonb) returns bytea
language sql stable parallel safe
return (select string_agg(
    set_byte('\x00', 0, octet_length(m.key)) || convert_to(m.key, 'UTF8')
      || set_byte(set_byte('\x0000', 0, octet_length(m.value) % 256), 1, octet_length(m.value) / 256)
      || convert_to(m.value, 'UTF8'), '' order by m.key)
  from jsonb_each_text(p_meta) m);

create type callgate.entry_row as (
  entry_id text, type text, amount_micros bigint, balance_after_micros bigint, at_ms bigint,
  description text, resource_type text, is_charge boolean, quantity bigint, currency text,
  meta jsonb, pairs bytea, corrected_micros bigint
);

-- What was booked under a key.  An entry in quarantine counts: the store has made it.
create function callgate.key_read(p_company uuid, p_type text, p_reference text)
returns setof callgate.entry_row
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select t.entry_id, t.type, callgate.to_micros(t.amount, w.currency),
         callgate.to_micros(t.balance_after, w.currency), callgate.to_ms(t.created_at),
         coalesce(t.description, ''), coalesce(u.resource_type, ''),
         coalesce((u.meta ->> 'is_charge')::boolean, false),
         case when (u.meta ->> 'is_charge')::boolean then u.quantity::bigint end, w.currency,
         coalesce(u.meta, '{}'), callgate.meta_pairs(u.meta -> 'meta'),
         coalesce(callgate.to_micros((
           select c.amount from callgate.keys ck
             join public.wallet_transactions c on c.entry_id = ck.entry_id
            where ck.company_id = p_company and ck.type = 'adjustment'
              and ck.reference_id = 'correction:' || p_reference), w.currency), 0)
    from callgate.keys k
    join public.wallet_transactions t
      on t.company_id = k.company_id and t.created_at = k.created_at and t.entry_id = k.entry_id
    join public.wallets w on w.company_id = k.company_id
    left join public.usage_logs u
      on u.company_id = k.company_id and u.created_at = k.created_at and u.meta ->> 'entry_id' = k.entry_id
   where k.company_id = p_company and k.type = p_type and k.reference_id = p_reference
  union all
  (select q.entry_id, q.type, q.amount_micros, q.balance_after_micros, q.at_ms,
         coalesce(q.description, ''), coalesce(q.resource_type, ''), coalesce(q.is_charge, false),
         case when q.is_charge then q.quantity end,
         coalesce((select w.currency from public.wallets w where w.company_id = p_company), 'usd'),
         coalesce(q.meta, '{}'), callgate.meta_pairs(q.meta -> 'meta'), 0
    from callgate.quarantine q
   where q.kind = 'wallet' and q.company_id = p_company and q.type = p_type and q.reference_id = p_reference
     and not exists (select from callgate.keys k
          where k.company_id = p_company and k.type = p_type and k.reference_id = p_reference)
   order by q.version limit 1)
$$;

-- Writes down that money came, unless it stands there.  Outcome: written, replayed, posted (its
-- entry is in the ledger: read it by its key), key_reused, out_of_range, no_wallet
create function callgate.receipt_write(p_company uuid, p_type text, p_amount_micros bigint,
    p_reference text, p_description text, p_asked_by text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  booked bigint;
  noted bigint;
  reaches numeric;
begin
  select r.amount_micros into booked from callgate.key_read(p_company, p_type, p_reference) r;
  if found then
    return case when booked = p_amount_micros then 'posted' else 'key_reused' end;
  end if;
  select r.amount_micros into noted from callgate.receipts r
   where r.company_id = p_company and r.type = p_type and r.reference_id = p_reference;
  if found then
    return case when noted = p_amount_micros then 'replayed' else 'key_reused' end;
  end if;

  select s.posted_micros + p_amount_micros
           + coalesce((select sum(r.amount_micros) from callgate.receipts r
                        where r.company_id = p_company and r.entry_id is null), 0)
    into reaches from callgate.wallet_read(p_company) s;
  if not found then
    return 'no_wallet';
  elsif abs(reaches) > 8000000000000000 then
    return 'out_of_range';
  end if;

  insert into callgate.receipts (company_id, type, reference_id, amount_micros, description, asked_by)
  values (p_company, p_type, p_reference, p_amount_micros, nullif(p_description, ''), nullif(p_asked_by, ''))
  on conflict do nothing;
  if found then
    return 'written';
  end if;
  -- Another one was quicker; or, of a top-up, another company has this payment.
  select r.amount_micros into noted from callgate.receipts r
   where r.company_id = p_company and r.type = p_type and r.reference_id = p_reference;
  return case when found and noted = p_amount_micros then 'replayed' else 'key_reused' end;
end
$$;

-- Receipts that have waited for their entry; the oldest first, after p_after.
create function callgate.receipts_due(p_older_than_ms integer, p_after bigint, p_most integer)
returns table (id bigint, company_id uuid, type text, amount_micros bigint, reference_id text,
    description text, asked_by text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select r.id, r.company_id, r.type, r.amount_micros, r.reference_id,
         coalesce(r.description, ''), coalesce(r.asked_by, '')
    from callgate.receipts r
   where r.entry_id is null and r.id > p_after
     and r.created_at < now() - p_older_than_ms * interval '1 millisecond'
   order by r.id limit p_most
$$;
