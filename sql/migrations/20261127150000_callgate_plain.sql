-- The flush at a third of its price: every entry is taken apart once.
-- SPDX-License-Identifier: Apache-2.0
--
-- Nearly every batch is plain: each entry follows from the one before it, no wallet of it is in
-- quarantine, no key is known.  Such a batch is judged and booked by one statement.  Where it turns
-- out not to be plain that statement has booked nothing, and the batch goes the way of before.

-- The ids of an entry's rows, in wallet_transactions and in usage_logs: a UUID of version 8, in the
-- order of time, so that both indexes grow at their end instead of everywhere.  Milliseconds since
-- 1970 (48 bits), partition (12), epoch (22), n (40): of two entries never the same.
create function callgate.entry_uuid(p_partition integer, p_epoch bigint, p_n bigint, p_at_ms bigint) returns uuid
language sql immutable parallel safe
return encode(int8send((p_at_ms << 16) | 32768 | (p_partition & 4095))
    || int8send((-9223372036854775808) | ((p_epoch & 4194303) << 40) | (p_n & 1099511627775)), 'hex')::uuid;

comment on column public.wallet_transactions.id is
  'of entries flushed since this column is in the order of time: callgate.entry_uuid()';
comment on column public.usage_logs.id is
  'the same as its wallet_transactions row''s, where that one is in the order of time';

-- Books a batch of which every entry goes through as it is; ret_is_plain false: nothing was done.
-- A key that is known already raises unique_violation.  ret_has_shadow: some are of shadow mode.
create function callgate.flush_plain(
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
    select bool_and(e.follows) as is_plain, bool_or(e.resource <> '' and e.meta ? 'shadow_decision') as has_shadow
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

-- As before, with the same arguments: sidecars of either version call it.
--
-- p_epoch, p_last_epoch, p_last_n: the flusher's epoch, and where it believes the cursor to be.
-- p_trimmed_epoch, p_trimmed_n: the last id that the stream has lost to trimming.
-- p_mode: 0 as usual; 1 description and meta were taken away, p_raw has them; 2 set the wallet
-- aside, p_raw has the texts.  1 and 2 are for one entry that was refused otherwise.
-- The arrays are parallel, in the stream's order.  p_resources is empty where nothing goes to
-- usage_logs; p_quantities are a charge's quantity, a call's billed milliseconds, or, of a
-- correction, their difference.  A meta with a shadow_decision goes to shadow_calls too.
--
-- ret_outcome: done; no_cursor, fenced (another epoch), moved (the cursor is elsewhere),
-- trimmed (it lies below what is gone): nothing was changed.  The cursor as it is now
-- comes with each of them.
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

revoke all on function callgate.entry_uuid(integer, bigint, bigint, bigint),
    callgate.flush_plain(integer, bigint, bigint, bigint[], bigint[], uuid[], bigint[], text[], bigint[], bigint[],
      bigint[], text[], text[], text[], bigint[], boolean[], jsonb[])
  from public, anon, authenticated, service_role;
grant execute on function callgate.entry_uuid(integer, bigint, bigint, bigint) to callgate_operator, callgate_reader;
