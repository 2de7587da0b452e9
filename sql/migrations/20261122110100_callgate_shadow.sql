-- Shadow mode: what would have been denied or cut off, and what it would have saved.
-- SPDX-License-Identifier: Apache-2.0

create table callgate.shadow_calls (
  entry_id text collate "C" primary key,
  company_id uuid not null,
  call_id text,
  is_correction boolean not null,
  at timestamptz not null,
  decision text,
  cut_at timestamptz,
  cost numeric(24, 6) not null,
  saved numeric(24, 6)
);
create index shadow_calls_at on callgate.shadow_calls (at, company_id);
comment on table callgate.shadow_calls is
  'calls of shadow mode that would have been denied or cut off, when they were charged or corrected';
comment on column callgate.shadow_calls.is_correction is 'cost and saved are differences';
comment on column callgate.shadow_calls.decision is 'allowed: it would only have been cut off';
comment on column callgate.shadow_calls.cut_at is 'null: it would not have been cut off';
comment on column callgate.shadow_calls.cost is 'in the wallet''s currency''s smallest unit';
comment on column callgate.shadow_calls.saved is 'the part of its cost that would not have arisen; of a denied call all of it';

-- As before but for its end, with the same arguments: sidecars of either version call it.
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

  -- What is only reported must not hold up money: nothing here is checked or refused.
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

-- Of each company for which anything would have been denied or cut off in [p_from, p_to), by
-- the time of the charge; p_company null: of all.  calls and cost_micros are over all its calls;
-- a correction counts where it was made, as money and not as a call.
create function callgate.shadow_report(p_from timestamptz, p_to timestamptz, p_company uuid)
returns table (company_id uuid, currency text, calls bigint, cost_micros bigint, denied_calls bigint,
    denied_funds bigint, denied_concurrency bigint, denied_suspended bigint, denied_micros bigint,
    cut_calls bigint, cut_micros bigint)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with shadow as (
    select s.company_id, s.decision <> 'allowed' as is_denied, not s.is_correction as is_call,
           s.decision, s.saved
      from callgate.shadow_calls s
     where s.at >= p_from and s.at < p_to and (p_company is null or s.company_id = p_company)
  ), summed as (
    select s.company_id,
           count(*) filter (where s.is_denied and s.is_call) as denied,
           count(*) filter (where s.decision = 'denied_insufficient_funds' and s.is_call) as funds,
           count(*) filter (where s.decision = 'denied_concurrency_limit' and s.is_call) as concurrency,
           count(*) filter (where s.decision = 'denied_suspended' and s.is_call) as suspended,
           coalesce(sum(s.saved) filter (where s.is_denied), 0) as denied_saved,
           count(*) filter (where not s.is_denied and s.is_call) as cut,
           coalesce(sum(s.saved) filter (where not s.is_denied), 0) as cut_saved
      from shadow s group by s.company_id
  )
  select w.company_id, w.currency, a.calls, callgate.to_micros(a.cost, w.currency), s.denied, s.funds,
         s.concurrency, s.suspended, callgate.to_micros(s.denied_saved, w.currency), s.cut,
         callgate.to_micros(s.cut_saved, w.currency)
    from summed s
    join public.wallets w on w.company_id = s.company_id
   cross join lateral (
      select count(*) filter (where not u.meta ? 'correction') as calls, coalesce(sum(u.cost), 0) as cost
        from public.usage_logs u
       where u.company_id = s.company_id and u.created_at >= p_from and u.created_at < p_to
         and u.meta ? 'call_id') a
   order by s.denied_saved + s.cut_saved desc, w.company_id
$$;

revoke all on callgate.shadow_calls from public, anon, authenticated, service_role;
revoke all on function callgate.shadow_report(timestamptz, timestamptz, uuid)
  from public, anon, authenticated, service_role;
grant select on callgate.shadow_calls to callgate_operator, callgate_reader;
grant execute on function callgate.shadow_report(timestamptz, timestamptz, uuid)
  to callgate_operator, callgate_reader;
