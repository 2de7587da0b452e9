-- A correction is of the charge that stands.
-- SPDX-License-Identifier: Apache-2.0
--
-- A store that had forgotten a settled call took it in anew, assumed a charge when nobody ended it,
-- and corrected that when the Settle was repeated.  The ledger took the assumed charge back as a
-- second one under its key, but booked the correction of it: money for nothing.  Now a correction
-- goes the way of what it corrects.  Where it corrects another assumed charge than the one that
-- stands it is taken back as well, and what stands is corrected by nobody: `callgate call` shows it.

-- The id of the call that a correction's reference names.
create function callgate.corrected_call(p_reference text) returns text
language sql immutable parallel safe
return case when p_reference like 'correction:%' then substr(p_reference, 12) end;

-- Whether a correction (usage_logs.meta, and the difference in billed milliseconds) was made of
-- this charge (the same of it; null: there is none): assumed, of as many milliseconds and the same
-- price, and so of the same cost.
create function callgate.corrects(p_charge jsonb, p_correction jsonb, p_quantity bigint) returns boolean
language sql immutable parallel safe
return coalesce(p_charge ->> 'basis' = 'assumed'
    and (p_charge ->> 'billed_ms')::bigint + p_quantity = (p_correction ->> 'billed_ms')::bigint
    and p_charge -> 'rate_micros_per_minute' is not distinct from p_correction -> 'rate_micros_per_minute'
    and p_charge -> 'connect_fee_micros' is not distinct from p_correction -> 'connect_fee_micros', false);

-- What stands in the ledger under a call's key, as usage_logs.meta has it; null: nothing does.
create function callgate.standing_charge(p_company uuid, p_call_id text) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select u.meta from callgate.keys k
    join public.usage_logs u
      on u.company_id = k.company_id and u.created_at = k.created_at and u.meta ->> 'entry_id' = k.entry_id
   where k.company_id = p_company and k.type = 'usage' and k.reference_id = p_call_id
$$;

-- As before; not plain, too, where a correction is of something else than what stands.
create or replace function callgate.flush_plain(
  p_partition integer, p_last_epoch bigint, p_last_n bigint,
  p_epochs bigint[], p_ns bigint[], p_companies uuid[], p_versions bigint[], p_types text[],
  p_amounts bigint[], p_balances bigint[], p_ats bigint[], p_references text[],
  p_descriptions text[], p_resources text[], p_quantities bigint[], p_charges boolean[],
  p_metas jsonb[], out ret_is_plain boolean, out ret_has_shadow boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off
as $$
begin
  -- Beside each other in a select list the arrays are read in step, row by row; in the from
  -- clause each of them would be written into a store of its own first.
  with told as (
    select generate_subscripts(p_ns, 1) as ord, unnest(p_epochs) as epoch, unnest(p_ns) as n,
           unnest(p_companies) as company, unnest(p_versions) as version, unnest(p_types) as type,
           unnest(p_amounts) as amount, unnest(p_balances) as balance_after, unnest(p_ats) as at_ms,
           unnest(p_references) as reference, unnest(p_descriptions) as description,
           unnest(p_resources) as resource, unnest(p_quantities) as quantity,
           unnest(p_charges) as is_charge, unnest(p_metas) as meta
  ), entry as materialized (
    select e.company, e.version, e.type, e.reference, nullif(e.description, '') as description,
           e.resource, e.quantity, e.is_charge, e.meta, w.id as wallet_id,
           callgate.entry_uuid(p_partition, e.epoch, e.n, e.at_ms) as id,
           p_partition || '-' || e.epoch || '-' || e.n as entry_id,
           callgate.to_instant(e.at_ms) as created_at,
           e.amount * callgate.units_per_micro(w.currency) as amount,
           e.balance_after * callgate.units_per_micro(w.currency) as balance_after,
           callgate.chain(w.chain_hash, callgate.entry_content(p_partition || '-' || e.epoch || '-' || e.n,
               e.company, e.version, e.type, e.amount, e.balance_after, e.at_ms, e.reference, e.description))
             over own as hash,
           -- The next version, the balance that the amount makes of the last one, a later id.
           coalesce(e.version = 1 + coalesce(lag(e.version) over own, w.version)
             and e.balance_after = e.amount
               + coalesce(lag(e.balance_after) over own, callgate.to_micros(w.balance, w.currency))
             and (e.epoch, e.n) > (coalesce(p_epochs[e.ord - 1], p_last_epoch), coalesce(p_ns[e.ord - 1], p_last_n)),
             false) as follows,
           lead(true) over own is null as is_last
      from told e
      left join public.wallets w on w.company_id = e.company
    window own as (partition by e.company order by e.ord rows unbounded preceding)
  ), verdict as materialized (
    select bool_and(e.follows) and not exists (
             select from entry c
              where c.type = 'adjustment' and c.resource <> '' and not callgate.corrects(coalesce(
                (select b.meta from entry b where b.company = c.company and b.type = 'usage'
                    and b.reference = callgate.corrected_call(c.reference) limit 1),
                callgate.standing_charge(c.company, callgate.corrected_call(c.reference))), c.meta, c.quantity))
             as is_plain,
           bool_or(e.resource <> '' and e.meta ? 'shadow_decision') as has_shadow
      from entry e
  ), put_keys as (
    insert into callgate.keys (company_id, type, reference_id, entry_id, created_at)
    select e.company, e.type, e.reference, e.entry_id, e.created_at
      from entry e where (select v.is_plain from verdict v)
  ), put_transactions as (
    insert into public.wallet_transactions (id, wallet_id, amount, type, reference_id, description,
        created_at, company_id, entry_id, version, balance_after, hash)
    select e.id, e.wallet_id, e.amount, e.type, e.reference, e.description, e.created_at, e.company,
           e.entry_id, e.version, e.balance_after, e.hash
      from entry e where (select v.is_plain from verdict v)
  ), put_usage as (
    insert into public.usage_logs (id, company_id, resource_type, quantity, cost, meta, created_at)
    select e.id, e.company, e.resource,
           case when e.is_charge then e.quantity else round(e.quantity / 60000.0, 12) end,
           -e.amount, coalesce(e.meta, '{}'), e.created_at
      from entry e where e.resource <> '' and (select v.is_plain from verdict v)
  ), moved as (
    update public.wallets w
       set balance = e.balance_after, version = e.version, chain_hash = e.hash, updated_at = now()
      from entry e
     where e.is_last and (select v.is_plain from verdict v) and w.id = e.wallet_id
  )
  select v.is_plain, v.has_shadow into ret_is_plain, ret_has_shadow from verdict v;
end
$$;

-- As before: what is already known under its key becomes an adjustment of its own, `dup:` and its
-- entry's id, and a receipt takes it back; so does a correction that has no key.
create or replace function callgate.book_duplicates(p_partition integer, p_epochs bigint[], p_ns bigint[],
  p_companies uuid[], p_types text[], p_amounts bigint[], p_ats bigint[], p_references text[],
  p_resources text[],
  out ret_kept_types text[], out ret_kept_references text[], out ret_kept_resources text[])
language sql set search_path = pg_catalog, pg_temp as $$
  with entry as materialized (
    select e.*, p_partition || '-' || e.epoch || '-' || e.n as entry_id,
           k.entry_id is distinct from p_partition || '-' || e.epoch || '-' || e.n as is_known
      from unnest(p_epochs, p_ns, p_companies, p_types, p_amounts, p_ats, p_references, p_resources)
             with ordinality as e(epoch, n, company, type, amount, at_ms, reference, resource, ord)
      left join callgate.keys k
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

-- As before, with the same arguments: sidecars of either version call it.
create or replace function callgate.flush(
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
  keys_more integer;
  is_plain boolean := false;
  has_shadow boolean := true;
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

  -- Receipts that these entries apply, also where an entry is set aside: the store has made it.
  if 'usage' <> any (p_types) then
    update callgate.receipts r
       set entry_id = p_partition || '-' || e.epoch || '-' || e.n
      from unnest(p_epochs, p_ns, p_companies, p_types, p_references) as e(epoch, n, company, type, reference)
     where e.type <> 'usage' and r.company_id = e.company and r.type = e.type
       and r.reference_id = e.reference and r.entry_id is null;
  end if;

  if p_mode = 0 and not exists (
       select from callgate.quarantine q where q.kind = 'wallet' and q.company_id = any (p_companies)) then
    begin
      select p.ret_is_plain, p.ret_has_shadow into is_plain, has_shadow
        from callgate.flush_plain(p_partition, p_last_epoch, p_last_n, p_epochs, p_ns, p_companies, p_versions,
               p_types, p_amounts, p_balances, p_ats, p_references, p_descriptions, p_resources, p_quantities,
               p_charges, p_metas) p;
    exception when unique_violation then
      is_plain := false; -- and nothing of it has happened
    end;
  end if;

  if not is_plain then
    has_shadow := true;
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
      from unnest(p_epochs, p_ns, p_companies, p_types, p_references, p_ats, p_resources)
             as e(epoch, n, company, type, reference, at_ms, resource)
     where e.type <> 'adjustment' or e.resource = ''
    on conflict do nothing;
    get diagnostics keys_new = row_count;
    -- Then those of corrections, where what they correct is what stands: before, or in this batch.
    if 'adjustment' = any (p_types) then
      insert into callgate.keys (company_id, type, reference_id, entry_id, created_at)
      select e.company, e.type, e.reference, p_partition || '-' || e.epoch || '-' || e.n,
             callgate.to_instant(e.at_ms)
        from unnest(p_epochs, p_ns, p_companies, p_types, p_references, p_ats, p_resources, p_quantities, p_metas)
               as e(epoch, n, company, type, reference, at_ms, resource, quantity, meta)
        left join callgate.keys k on k.company_id = e.company and k.type = 'usage'
         and k.reference_id = callgate.corrected_call(e.reference)
        left join unnest(p_epochs, p_ns, p_metas) as b(epoch, n, meta)
          on k.entry_id = p_partition || '-' || b.epoch || '-' || b.n
       where e.type = 'adjustment' and e.resource <> '' and callgate.corrects(
               coalesce(b.meta, callgate.standing_charge(e.company, k.reference_id)), e.meta, e.quantity)
      on conflict do nothing;
      get diagnostics keys_more = row_count;
      keys_new := keys_new + keys_more;
    end if;
    if keys_new < size then
      ret_duplicates := size - keys_new;
      select s.ret_kept_types, s.ret_kept_references, s.ret_kept_resources
        into p_types, p_references, p_resources
        from callgate.book_duplicates(p_partition, p_epochs, p_ns, p_companies, p_types, p_amounts, p_ats,
               p_references, p_resources) s;
    end if;

    with put as (
      insert into public.wallet_transactions (id, wallet_id, amount, type, reference_id, description,
          created_at, company_id, entry_id, version, balance_after, hash)
      select callgate.entry_uuid(p_partition, e.epoch, e.n, e.at_ms), w.id,
             e.amount * callgate.units_per_micro(w.currency), e.type, e.reference,
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

    insert into public.usage_logs (id, company_id, resource_type, quantity, cost, meta, created_at)
    select callgate.entry_uuid(p_partition, e.epoch, e.n, e.at_ms), e.company, e.resource,
           case when e.is_charge then e.quantity else round(e.quantity / 60000.0, 12) end,
           -e.amount * callgate.units_per_micro(w.currency), coalesce(e.meta, '{}'),
           callgate.to_instant(e.at_ms)
      from unnest(p_epochs, p_ns, p_companies, p_amounts, p_ats, p_resources, p_quantities, p_charges, p_metas)
             as e(epoch, n, company, amount, at_ms, resource, quantity, is_charge, meta)
      join public.wallets w on w.company_id = e.company
     where e.resource <> '';
  end if;

  -- What is only reported must not hold up money: nothing here is checked or refused.
  if has_shadow then
    insert into callgate.shadow_calls (entry_id, company_id, call_id, is_correction, at, decision, cut_at,
        cost, saved)
    select p_partition || '-' || e.epoch || '-' || e.n, e.company, e.meta ->> 'call_id', false,
           callgate.to_instant(e.at_ms), e.meta ->> 'shadow_decision',
           callgate.to_instant((e.meta ->> 'shadow_cut_at_ms')::bigint),
           -e.amount * callgate.units_per_micro(w.currency),
           (e.meta ->> 'shadow_saved_micros')::bigint * callgate.units_per_micro(w.currency)
      from unnest(p_epochs, p_ns, p_companies, p_amounts, p_ats, p_resources, p_metas)
             as e(epoch, n, company, amount, at_ms, resource, meta)
      join public.wallets w on w.company_id = e.company
     where e.resource <> '' and e.meta ? 'shadow_decision'
    on conflict do nothing;
  end if;

  -- A correction of such a call: what it would have cost before it ended stays, the rest is the
  -- difference's, down to nothing.
  if 'adjustment' = any (p_types) then
    insert into callgate.shadow_calls (entry_id, company_id, call_id, is_correction, at, decision, cut_at,
        cost, saved)
    select p_partition || '-' || e.epoch || '-' || e.n, e.company, s.call_id, true,
           callgate.to_instant(e.at_ms), s.decision, s.cut_at,
           -e.amount * callgate.units_per_micro(w.currency),
           greatest(-e.amount * callgate.units_per_micro(w.currency), -s.saved)
      from unnest(p_epochs, p_ns, p_companies, p_types, p_amounts, p_ats, p_resources, p_metas)
             as e(epoch, n, company, type, amount, at_ms, resource, meta)
      join public.wallets w on w.company_id = e.company
      join callgate.keys k on k.company_id = e.company and k.type = 'usage'
       and k.reference_id = e.meta ->> 'call_id'
      join callgate.shadow_calls s on s.entry_id = k.entry_id
     where e.resource <> '' and e.type = 'adjustment'
    on conflict do nothing;
  end if;

  update callgate.cursors c
     set last_epoch = ret_last_epoch, last_n = ret_last_n, updated_at = now()
   where c.partition = p_partition;
end
$$;

-- As with three arguments, which sidecars of the version before use; and of a correction that was
-- taken back (p_entries: the entries that are asked for) the charge that stands instead.
create function callgate.keys_booked(p_companies uuid[], p_types text[], p_references text[], p_entries text[])
returns table (ord bigint, entry_id text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select e.ord, coalesce(
           (select k.entry_id from callgate.keys k
             where k.company_id = e.company and k.type = e.type and k.reference_id = e.reference),
           (select k.entry_id from callgate.keys k
              join callgate.keys d on d.company_id = k.company_id and d.type = 'adjustment'
               and d.reference_id = 'dup:' || e.entry
             where k.company_id = e.company and k.type = 'usage'
               and k.reference_id = callgate.corrected_call(e.reference)))
    from unnest(p_companies, p_types, p_references, p_entries) with ordinality
           as e(company, type, reference, entry, ord)
   order by e.ord
$$;

revoke all on function callgate.corrected_call(text), callgate.corrects(jsonb, jsonb, bigint),
    callgate.standing_charge(uuid, text), callgate.keys_booked(uuid[], text[], text[], text[])
  from public, anon, authenticated, service_role;
grant execute on function callgate.keys_booked(uuid[], text[], text[], text[]) to callgate_sidecar;
grant execute on function callgate.corrected_call(text), callgate.corrects(jsonb, jsonb, bigint),
    callgate.standing_charge(uuid, text)
  to callgate_operator, callgate_reader;
