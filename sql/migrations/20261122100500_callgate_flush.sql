-- The flush: entries of one partition's stream into the ledger, in one round trip.
-- SPDX-License-Identifier: Apache-2.0
--
-- Exactly once follows from one thing: the cursor row is locked first, compared with what the
-- flusher believes, and moved in the same transaction that inserts.  A wallet belongs to one
-- partition, so under that lock its balance, version, chain and keys stand still.

-- What an entry's hash is over, besides the hash before it.  Only the last two parts can hold
-- a '|', and the length of the first of them is told.
create function callgate.entry_content(p_entry_id text, p_company uuid, p_version bigint,
    p_type text, p_amount_micros bigint, p_balance_after_micros bigint, p_at_ms bigint,
    p_reference text, p_description text) returns bytea
language sql stable parallel safe
return convert_to(p_entry_id || '|' || p_company::text || '|' || p_version::text || '|' || p_type || '|'
    || p_amount_micros::text || '|' || p_balance_after_micros::text || '|' || p_at_ms::text || '|'
    || octet_length(p_reference)::text || '|' || p_reference || '|' || coalesce(p_description, ''), 'UTF8');

create function callgate.chain_step(p_state bytea, p_before bytea, p_content bytea) returns bytea
language plpgsql immutable parallel safe as $$
begin
  return sha256(coalesce(p_state, p_before) || p_content);
end
$$;

-- Over a wallet's entries in order: `before` counts for the first of them alone.
create aggregate callgate.chain(p_before bytea, p_content bytea) (
  sfunc = callgate.chain_step, stype = bytea
);

-- The rare paths: each answers the arrays as the flush goes on with them.

-- Entries that do not follow, with every later one of their wallets, and those of wallets that
-- have some here already, go to quarantine, in order; the others are answered.
create function callgate.set_aside(p_partition integer, p_mode integer,
  p_epochs bigint[], p_ns bigint[], p_companies uuid[], p_versions bigint[], p_types text[],
  p_amounts bigint[], p_balances bigint[], p_ats bigint[], p_references text[],
  p_descriptions text[], p_resources text[], p_quantities bigint[], p_charges boolean[],
  p_metas jsonb[], p_raw bytea, p_reason text,
  out ret_kept_epochs bigint[], out ret_kept_ns bigint[], out ret_kept_companies uuid[],
  out ret_kept_versions bigint[], out ret_kept_types text[], out ret_kept_amounts bigint[],
  out ret_kept_balances bigint[], out ret_kept_ats bigint[], out ret_kept_references text[],
  out ret_kept_descriptions text[], out ret_kept_resources text[], out ret_kept_quantities bigint[],
  out ret_kept_charges boolean[], out ret_kept_metas jsonb[])
language sql set search_path = pg_catalog, pg_temp as $$
  with entry as materialized (
    select e.*, p_partition || '-' || e.epoch || '-' || e.n as entry_id, w.id as wallet_id,
           exists (select from callgate.quarantine q
                    where q.kind = 'wallet' and q.company_id = e.company) as is_aside,
           coalesce(e.version = w.version + row_number() over own
             and e.balance_after = callgate.to_micros(w.balance, w.currency) + sum(e.amount) over own,
             false) as follows
      from unnest(p_epochs, p_ns, p_companies, p_versions, p_types, p_amounts, p_balances, p_ats,
                  p_references, p_descriptions, p_resources, p_quantities, p_charges, p_metas)
             with ordinality
             as e(epoch, n, company, version, type, amount, balance_after, at_ms,
                  reference, description, resource, quantity, is_charge, meta, ord)
      left join public.wallets w on w.company_id = e.company
    window own as (partition by e.company order by e.ord rows unbounded preceding)
  ), judged as materialized (
    select e.*, p_mode <> 2 and not e.is_aside
             and bool_and(e.follows) over (partition by e.company order by e.ord rows unbounded preceding) as goes
      from entry e
  ), put as (
    insert into callgate.quarantine (kind, entry_id, company_id, version, type, amount_micros,
        balance_after_micros, at_ms, reference_id, description, resource_type, quantity, is_charge,
        meta, raw, reason)
    select case when j.goes then 'payload' else 'wallet' end, j.entry_id, j.company, j.version, j.type,
           j.amount, j.balance_after, j.at_ms, j.reference, j.description, j.resource, j.quantity,
           j.is_charge, j.meta, p_raw,
           coalesce(p_reason, case
             when j.wallet_id is null then 'the ledger has no such wallet'
             when j.is_aside then 'an earlier entry of this wallet is here'
             else 'version or balance does not follow from the ledger''s' end)
      from judged j where not j.goes or p_mode = 1 order by j.ord
  )
  select coalesce(array_agg(j.epoch order by j.ord), '{}'), coalesce(array_agg(j.n order by j.ord), '{}'),
         coalesce(array_agg(j.company order by j.ord), '{}'), coalesce(array_agg(j.version order by j.ord), '{}'),
         coalesce(array_agg(j.type order by j.ord), '{}'), coalesce(array_agg(j.amount order by j.ord), '{}'),
         coalesce(array_agg(j.balance_after order by j.ord), '{}'), coalesce(array_agg(j.at_ms order by j.ord), '{}'),
         coalesce(array_agg(j.reference order by j.ord), '{}'), coalesce(array_agg(j.description order by j.ord), '{}'),
         coalesce(array_agg(j.resource order by j.ord), '{}'), coalesce(array_agg(j.quantity order by j.ord), '{}'),
         coalesce(array_agg(j.is_charge order by j.ord), '{}'), coalesce(array_agg(j.meta order by j.ord), '{}')
    from judged j where j.goes
$$;

-- An entry whose key the ledger already has is booked as an adjustment of its own, so that the
-- chain goes on, and a receipt takes its money back as any receipt does.
create function callgate.book_duplicates(p_partition integer, p_epochs bigint[], p_ns bigint[],
  p_companies uuid[], p_types text[], p_amounts bigint[], p_ats bigint[], p_references text[],
  p_resources text[],
  out ret_kept_types text[], out ret_kept_references text[], out ret_kept_resources text[])
language sql set search_path = pg_catalog, pg_temp as $$
  with entry as materialized (
    select e.*, p_partition || '-' || e.epoch || '-' || e.n as entry_id,
           k.entry_id <> p_partition || '-' || e.epoch || '-' || e.n as is_known
      from unnest(p_epochs, p_ns, p_companies, p_types, p_amounts, p_ats, p_references, p_resources)
             with ordinality as e(epoch, n, company, type, amount, at_ms, reference, resource, ord)
      join callgate.keys k
        on k.company_id = e.company and k.type = e.type and k.reference_id = e.reference
  ), put_keys as (
    insert into callgate.keys (company_id, type, reference_id, entry_id, created_at)
    select e.company, 'adjustment', 'dup:' || e.entry_id, e.entry_id, callgate.to_instant(e.at_ms)
      from entry e where e.is_known
  ), put_receipts as (
    insert into callgate.receipts (company_id, type, reference_id, amount_micros, description, asked_by)
    select e.company, 'adjustment', 'undo:' || e.entry_id, -e.amount,
           'takes back a second ' || e.type || ' under one reference', 'callgate'
      from entry e where e.is_known and e.amount <> 0
    on conflict do nothing
  )
  select array_agg(case when e.is_known then 'adjustment' else e.type end order by e.ord),
         array_agg(case when e.is_known then 'dup:' || e.entry_id else e.reference end order by e.ord),
         array_agg(case when e.is_known then '' else e.resource end order by e.ord)
    from entry e
$$;

-- p_epoch, p_last_epoch, p_last_n: the flusher's epoch, and where it believes the cursor to be.
-- p_trimmed_epoch, p_trimmed_n: the last id that the stream has lost to trimming.
-- p_mode: 0 as usual; 1 description and meta were taken away, p_raw has them; 2 set the wallet
-- aside, p_raw has the texts.  1 and 2 are for one entry that was refused otherwise.
-- The arrays are parallel, in the stream's order.  p_resources is empty where nothing goes to
-- usage_logs; p_quantities are a charge's quantity, or a call's billed milliseconds.
--
-- ret_outcome: done; no_cursor, fenced (another epoch), moved (the cursor is elsewhere),
-- trimmed (it lies below what is gone): nothing was changed.  The cursor as it is now
-- comes with each of them.
create function callgate.flush(
  p_partition integer, p_epoch bigint, p_last_epoch bigint, p_last_n bigint,
  p_trimmed_epoch bigint, p_trimmed_n bigint, p_mode integer,
  p_epochs bigint[], p_ns bigint[], p_companies uuid[], p_versions bigint[], p_types text[],
  p_amounts bigint[], p_balances bigint[], p_ats bigint[], p_references text[],
  p_descriptions text[], p_resources text[], p_quantities bigint[], p_charges boolean[],
  p_metas jsonb[], p_raw bytea, p_reason text,
  out ret_outcome text, out ret_epoch bigint, out ret_last_epoch bigint, out ret_last_n bigint,
  out ret_quarantined integer, out ret_duplicates integer)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off
as $$
declare
  size integer := cardinality(p_ns);
  fits boolean;
  is_in_order boolean;
  keys_new integer;
begin
  ret_quarantined := 0;
  ret_duplicates := 0;
  select c.epoch, c.last_epoch, c.last_n into ret_epoch, ret_last_epoch, ret_last_n
    from callgate.cursors c where c.partition = p_partition for update;
  if not found then
    ret_outcome := 'no_cursor';
    return;
  elsif ret_epoch <> p_epoch then
    ret_outcome := 'fenced';
    return;
  elsif (ret_last_epoch, ret_last_n) <> (p_last_epoch, p_last_n) then
    ret_outcome := 'moved';
    return;
  elsif (ret_last_epoch, ret_last_n) < (p_trimmed_epoch, p_trimmed_n) then
    ret_outcome := 'trimmed';
    return;
  end if;
  ret_outcome := 'done';
  if size = 0 then
    return;
  end if;
  ret_last_epoch := p_epochs[size];
  ret_last_n := p_ns[size];

  -- Does every entry follow from the one before it: the next version, the balance that the
  -- amount makes of the last one?
  select coalesce(bool_and(follows), false), bool_and(ascends)
    into fits, is_in_order
    from (select e.version = 1 + coalesce(lag(e.version) over own, w.version)
             and e.balance_after = e.amount
               + coalesce(lag(e.balance_after) over own, callgate.to_micros(w.balance, w.currency))
             and w.id is not null as follows,
           (e.epoch, e.n) > (coalesce(p_epochs[e.ord - 1], p_last_epoch), coalesce(p_ns[e.ord - 1], p_last_n))
             as ascends
      from unnest(p_epochs, p_ns, p_companies, p_versions, p_amounts, p_balances) with ordinality
             as e(epoch, n, company, version, amount, balance_after, ord)
      left join public.wallets w on w.company_id = e.company
    window own as (partition by e.company order by e.ord)) checked;
  if not is_in_order then
    raise exception 'callgate: entries of partition % are not in the order of their ids', p_partition
      using errcode = 'internal_error';
  end if;

  -- Receipts that these entries apply, also where an entry is set aside: the store has made it.
  update callgate.receipts r
     set entry_id = p_partition || '-' || e.epoch || '-' || e.n
    from unnest(p_epochs, p_ns, p_companies, p_types, p_references) as e(epoch, n, company, type, reference)
   where e.type <> 'usage' and r.company_id = e.company and r.type = e.type
     and r.reference_id = e.reference and r.entry_id is null;

  if not coalesce(fits, false) or p_mode <> 0
     or exists (select from callgate.quarantine q where q.kind = 'wallet' and q.company_id = any (p_companies)) then
    select s.ret_kept_epochs, s.ret_kept_ns, s.ret_kept_companies, s.ret_kept_versions, s.ret_kept_types,
           s.ret_kept_amounts, s.ret_kept_balances, s.ret_kept_ats, s.ret_kept_references,
           s.ret_kept_descriptions, s.ret_kept_resources, s.ret_kept_quantities, s.ret_kept_charges,
           s.ret_kept_metas
      into p_epochs, p_ns, p_companies, p_versions, p_types, p_amounts, p_balances, p_ats, p_references,
           p_descriptions, p_resources, p_quantities, p_charges, p_metas
      from callgate.set_aside(p_partition, p_mode, p_epochs, p_ns, p_companies, p_versions, p_types,
             p_amounts, p_balances, p_ats, p_references, p_descriptions, p_resources, p_quantities,
             p_charges, p_metas, p_raw, p_reason) s;
    ret_quarantined := size - cardinality(p_ns);
    size := cardinality(p_ns);
  end if;

  insert into callgate.keys (company_id, type, reference_id, entry_id, created_at)
  select e.company, e.type, e.reference, p_partition || '-' || e.epoch || '-' || e.n,
         callgate.to_instant(e.at_ms)
    from unnest(p_epochs, p_ns, p_companies, p_types, p_references, p_ats)
           as e(epoch, n, company, type, reference, at_ms)
  on conflict do nothing;
  get diagnostics keys_new = row_count;
  if keys_new < size then
    ret_duplicates := size - keys_new;
    select s.ret_kept_types, s.ret_kept_references, s.ret_kept_resources
      into p_types, p_references, p_resources
      from callgate.book_duplicates(p_partition, p_epochs, p_ns, p_companies, p_types, p_amounts, p_ats,
             p_references, p_resources) s;
  end if;

  with put as (
    insert into public.wallet_transactions (wallet_id, amount, type, reference_id, description,
        created_at, company_id, entry_id, version, balance_after, hash)
    select w.id, e.amount * callgate.units_per_micro(w.currency), e.type, e.reference,
           nullif(e.description, ''), callgate.to_instant(e.at_ms), e.company,
           p_partition || '-' || e.epoch || '-' || e.n, e.version,
           e.balance_after * callgate.units_per_micro(w.currency),
           callgate.chain(w.chain_hash, callgate.entry_content(p_partition || '-' || e.epoch || '-' || e.n,
               e.company, e.version, e.type, e.amount, e.balance_after, e.at_ms, e.reference, e.description))
             over (partition by e.company order by e.ord rows unbounded preceding)
      from unnest(p_epochs, p_ns, p_companies, p_versions, p_types, p_amounts, p_balances, p_ats,
                  p_references, p_descriptions) with ordinality
             as e(epoch, n, company, version, type, amount, balance_after, at_ms, reference, description, ord)
      join public.wallets w on w.company_id = e.company
    returning wallet_id, version, balance_after, hash
  )
  update public.wallets w
     set balance = l.balance_after, version = l.version, chain_hash = l.hash, updated_at = now()
    from (select distinct on (p.wallet_id) p.* from put p order by p.wallet_id, p.version desc) l
   where w.id = l.wallet_id;

  insert into public.usage_logs (company_id, resource_type, quantity, cost, meta, created_at)
  select e.company, e.resource,
         case when e.is_charge then e.quantity else round(e.quantity / 60000.0, 12) end,
         -e.amount * callgate.units_per_micro(w.currency), coalesce(e.meta, '{}'),
         callgate.to_instant(e.at_ms)
    from unnest(p_companies, p_amounts, p_ats, p_resources, p_quantities, p_charges, p_metas)
           as e(company, amount, at_ms, resource, quantity, is_charge, meta)
    join public.wallets w on w.company_id = e.company
   where e.resource <> '';

  update callgate.cursors c
     set last_epoch = ret_last_epoch, last_n = ret_last_n, updated_at = now()
   where c.partition = p_partition;
end
$$;
