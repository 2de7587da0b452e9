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
  taken integer;
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

  -- Which entries fit: the next version, and the balance that the amounts add up to.  An entry
  -- that does not fit takes all later ones of its wallet with it.
  with entry as materialized (
    select e.ord, p_partition || '-' || e.epoch || '-' || e.n as entry_id,
           e.epoch, e.n, e.company, e.version, e.type, e.amount, e.balance_after, e.at_ms,
           e.reference, nullif(e.description, '') as description, e.resource, e.quantity, e.is_charge, e.meta,
           w.id as wallet_id, w.chain_hash as hash_before,
           callgate.units_per_micro(w.currency) as scale,
           (w.id is not null
             and e.version = w.version + row_number() over own
             and e.balance_after = callgate.to_micros(w.balance, w.currency) + sum(e.amount) over own) as fits,
           exists (select from callgate.quarantine q where q.company_id = e.company and q.kind = 'wallet')
             as is_aside,
           (exists (select from callgate.keys k
                     where k.company_id = e.company and k.type = e.type and k.reference_id = e.reference)
             or row_number() over (partition by e.company, e.type, e.reference order by e.ord) > 1)
             as is_known,
           (e.epoch, e.n) > (lag(e.epoch, 1, p_last_epoch) over whole, lag(e.n, 1, p_last_n) over whole)
             as is_in_order
      from unnest(p_epochs, p_ns, p_companies, p_versions, p_types, p_amounts, p_balances, p_ats,
                  p_references, p_descriptions, p_resources, p_quantities, p_charges, p_metas)
             with ordinality
             as e(epoch, n, company, version, type, amount, balance_after, at_ms,
                  reference, description, resource, quantity, is_charge, meta, ord)
      left join public.wallets w on w.company_id = e.company
    window own as (partition by e.company order by e.ord rows unbounded preceding),
           whole as (order by e.ord)
  ), judged as materialized (
    select e.*,
           not e.is_aside and p_mode <> 2
             and bool_and(e.fits) over (partition by e.company order by e.ord rows unbounded preceding) as goes,
           case when e.is_known then 'adjustment' else e.type end as kept_type,
           case when e.is_known then 'dup:' || e.entry_id else e.reference end as kept_reference,
           callgate.to_instant(e.at_ms) as created_at
      from entry e
  ), chained as materialized (
    select j.*,
           callgate.chain(j.hash_before, callgate.entry_content(j.entry_id, j.company, j.version,
               j.kept_type, j.amount, j.balance_after, j.at_ms, j.kept_reference, j.description))
             over (partition by j.company order by j.ord rows unbounded preceding) as hash
      from judged j
     where j.goes
  ), put_transactions as (
    insert into public.wallet_transactions (wallet_id, amount, type, reference_id, description,
        created_at, company_id, entry_id, version, balance_after, hash)
    select c.wallet_id, c.amount * c.scale, c.kept_type, c.kept_reference, c.description,
           c.created_at, c.company, c.entry_id, c.version, c.balance_after * c.scale, c.hash
      from chained c order by c.ord
  ), put_usage as (
    insert into public.usage_logs (company_id, resource_type, quantity, cost, meta, created_at)
    select c.company, c.resource,
           case when c.is_charge then c.quantity else round(c.quantity / 60000.0, 12) end,
           -c.amount * c.scale, coalesce(c.meta, '{}'), c.created_at
      from chained c where c.resource <> '' and not c.is_known order by c.ord
  ), put_keys as (
    insert into callgate.keys (company_id, type, reference_id, entry_id, created_at)
    select c.company, c.kept_type, c.kept_reference, c.entry_id, c.created_at
      from chained c order by c.ord
  ), put_wallets as (
    update public.wallets w
       set balance = l.balance_after * l.scale, version = l.version, chain_hash = l.hash, updated_at = now()
      from (select distinct on (c.company) c.* from chained c order by c.company, c.ord desc) l
     where w.id = l.wallet_id
  ), put_aside as (
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
  ), put_receipts as (
    -- A key that is in the ledger already: the entry is booked so that the chain goes on, and
    -- its money is given back as any receipt's.
    insert into callgate.receipts (company_id, type, reference_id, amount_micros, description, asked_by)
    select c.company, 'adjustment', 'undo:' || c.entry_id, -c.amount,
           'takes back a second ' || c.type || ' under one reference', 'callgate'
      from chained c where c.is_known and c.amount <> 0
    on conflict do nothing
  ), mark_receipts as (
    update callgate.receipts r set entry_id = j.entry_id
      from judged j
     where j.type <> 'usage' and r.company_id = j.company and r.type = j.type
       and r.reference_id = j.reference and r.entry_id is null
  )
  select count(*), count(*) filter (where not j.goes), count(*) filter (where j.goes and j.is_known),
         case when bool_and(j.is_in_order) then max(array[j.epoch, j.n]) end
    into taken, ret_quarantined, ret_duplicates, p_epochs
    from judged j;

  if taken = 0 then
    ret_outcome := 'done';
    return;
  elsif p_epochs is null then
    raise exception 'callgate: entries of partition % are not in the order of their ids', p_partition
      using errcode = 'internal_error';
  end if;
  ret_last_epoch := p_epochs[1];
  ret_last_n := p_epochs[2];
  update callgate.cursors c
     set last_epoch = ret_last_epoch, last_n = ret_last_n, updated_at = now()
   where c.partition = p_partition;
  ret_outcome := 'done';
end
$$;
