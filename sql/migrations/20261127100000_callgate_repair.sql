-- Recovery by repair: what the ledger has and a store's history lost, read in its order.
-- SPDX-License-Identifier: Apache-2.0
--
-- Nothing here locks what a flush writes: there is no new index.  The ids of one epoch are
-- numbered without gaps (but for what an operator deleted from the stream), so the entries above
-- an id are found by their names, in the index that entry_id has anyway.

create table callgate.served (
  partition integer not null,
  epoch bigint not null,
  from_epoch bigint not null,
  last_epoch bigint not null,
  last_n bigint not null,
  primary key (partition, epoch)
);
comment on table callgate.served is 'how each partition came to be served: a row per recovery';
comment on column callgate.served.from_epoch is
  'the epoch that the history was served under before; of a dropped one, the same as epoch';
comment on column callgate.served.last_n is 'with last_epoch: the cursor at that time';

create function callgate.cursor_read(p_partition integer)
returns table (partition integer, epoch bigint, last_epoch bigint, last_n bigint, served bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select c.partition, c.epoch, c.last_epoch, c.last_n, c.served
    from callgate.cursors c where c.partition = p_partition
$$;

-- As epoch_take(), and what was served last, which nobody can change any more: served_from as in
-- callgate.served; where a sidecar of an earlier version did not say it, no history but one that
-- knows itself to be served will do.
create function callgate.epoch_begin(p_partition integer, p_as_read bigint, p_epoch bigint,
    out taken boolean, out served bigint, out served_from bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  taken := callgate.epoch_take(p_partition, p_as_read, p_epoch);
  select c.served, coalesce(s.from_epoch, c.served) into served, served_from
    from callgate.cursors c
    left join callgate.served s on s.partition = c.partition and s.epoch = c.served
   where c.partition = p_partition;
end
$$;

-- As with two arguments; also where the turn is the asker's own, of a recovery that was broken
-- off: p_taken is the epoch that he took last, and nobody has taken one since.
create function callgate.turn_take(p_partition integer, p_for_ms integer, p_taken bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into callgate.cursors (partition, epoch) values (p_partition, 0) on conflict do nothing;
  update callgate.cursors c
     set turn_until = clock_timestamp() + p_for_ms * interval '1 millisecond'
   where c.partition = p_partition
     and (c.turn_until < clock_timestamp() or (p_taken > 0 and c.epoch = p_taken));
  return found;
end
$$;

-- A recovery that takes long keeps its turn.  False: overtaken.
create function callgate.turn_keep(p_partition integer, p_epoch bigint, p_for_ms integer) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  update callgate.cursors c set turn_until = clock_timestamp() + p_for_ms * interval '1 millisecond'
   where c.partition = p_partition and c.epoch = p_epoch;
  return found;
end
$$;

-- p_from: the epoch that the history was last served under, as the fence found it; of a dropped
-- one p_epoch.  A history whose head has p_epoch and was served before that is another one: the
-- fence reached it, and not what came of it.
create function callgate.epoch_served(p_partition integer, p_epoch bigint, p_from bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  update callgate.cursors c set served = p_epoch, turn_until = '-infinity', updated_at = now()
   where c.partition = p_partition and c.epoch = p_epoch;
  if not found then
    return false;
  end if;
  insert into callgate.served as s (partition, epoch, from_epoch, last_epoch, last_n)
  select c.partition, p_epoch, p_from, c.last_epoch, c.last_n
    from callgate.cursors c where c.partition = p_partition
  on conflict (partition, epoch) do update
     set from_epoch = excluded.from_epoch, last_epoch = excluded.last_epoch, last_n = excluded.last_n;
  return true;
end
$$;

-- What the ledger has of a partition above an id, in the order of the ids, p_most at most; no
-- rows: nothing.  The id is the fence's answer, so it is of the epoch that the history was last
-- served under, or of the one before: entries above it are of that epoch and of those that were
-- served since, if the store forgot that they were.  How far each of them went is noted where the
-- next one was served; of the last one the cursor says it.
--
-- epoch and n are the entry's own; of a correction everything else is its call's, since what is
-- remembered of a call is one thing.  posted_micros and version: the wallet as wallet_read() has
-- it, null where there is none, nor a quarantine of it.  corrected_*: the correction of the call, null where there is
-- none.  An entry in quarantine counts: the store has made it; key_reference is empty, and
-- entry_id null, where it could not be kept as text.  An id without an entry, which an operator
-- deleted from the stream, has a row of nulls.
create function callgate.tail_read(p_partition integer, p_after_epoch bigint, p_after_n bigint,
    p_most integer)
returns table (epoch bigint, n bigint, company_id uuid, posted_micros bigint, version bigint,
    key_type text, key_reference text, entry_id text, type text, amount_micros bigint,
    balance_after_micros bigint, at_ms bigint, resource_type text, is_charge boolean,
    quantity bigint, currency text, meta jsonb, pairs bytea, corrected_by text,
    corrected_micros bigint, corrected_meta jsonb)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off
as $$
begin
  return query
  with bound as (
    select e.epoch, max(e.n) as n
      from (select c.last_epoch as epoch, c.last_n as n
              from callgate.cursors c where c.partition = p_partition
            union all
            select s.last_epoch, s.last_n
              from callgate.served s where s.partition = p_partition and s.epoch > p_after_epoch) e
     where e.epoch >= greatest(p_after_epoch, 1) group by e.epoch
  ), place as materialized (
    select b.epoch, i.n, p_partition || '-' || b.epoch || '-' || i.n as entry_id
      from bound b
     cross join lateral (select case when b.epoch = p_after_epoch then p_after_n + 1 else 0 end as first) f
     cross join lateral generate_series(f.first, least(b.n, f.first + p_most - 1)) as i(n)
     order by b.epoch, i.n limit p_most
  ), made as (
    -- What is to be remembered: of a correction its call.
    select p.epoch, p.n, coalesce(t.company_id, q.company_id) as company_id, t.created_at,
           p.entry_id, t.amount, t.balance_after, t.type,
           q.entry_id is not null or c.corrects as is_special,
           case when c.corrects then 'usage' else e.type end as key_type,
           case when c.corrects then substr(e.reference_id, 12) else e.reference_id end as key_reference
      from place p
      left join public.wallet_transactions t on t.entry_id = p.entry_id
      left join callgate.quarantine q on q.entry_id = p.entry_id and q.kind = 'wallet' and t.id is null
     cross join lateral (
       select coalesce(t.type, q.type) as type, coalesce(t.reference_id, q.reference_id, '') as reference_id) e
     cross join lateral (
       select e.type = 'adjustment' and starts_with(e.reference_id, 'correction:') as corrects) c
  )
  -- As key_read(), meta_pairs() and wallet_read() would say it; called for every row they would
  -- take as long as all the rest, so only what is rare goes through them.
  select m.epoch, m.n, m.company_id,
         coalesce(a.balance_after_micros, callgate.to_micros(w.balance, w.currency)),
         coalesce(a.version, w.version), m.key_type, m.key_reference,
         case when m.is_special then r.entry_id else m.entry_id end,
         coalesce(r.type, m.type),
         coalesce(r.amount_micros, callgate.to_micros(m.amount, w.currency)),
         coalesce(r.balance_after_micros, callgate.to_micros(m.balance_after, w.currency)),
         coalesce(r.at_ms, callgate.to_ms(m.created_at)),
         coalesce(r.resource_type, u.resource_type, ''),
         coalesce(r.is_charge, (u.meta ->> 'is_charge')::boolean, false),
         coalesce(r.quantity, case when (u.meta ->> 'is_charge')::boolean then u.quantity::bigint end),
         w.currency, coalesce(r.meta, u.meta, '{}'),
         coalesce(r.pairs, (
           select string_agg(set_byte('\x00', 0, octet_length(p.key)) || convert_to(p.key, 'UTF8')
               || set_byte(set_byte('\x0000', 0, octet_length(p.value) % 256), 1, octet_length(p.value) / 256)
               || convert_to(p.value, 'UTF8'), '' order by p.key)
             from jsonb_each_text(u.meta -> 'meta') p)),
         c.entry_id, c.amount_micros, c.meta
    from made m
    left join public.wallets w on w.company_id = m.company_id
    left join lateral (
      select x.balance_after_micros, x.version from callgate.quarantine x
       where x.company_id = m.company_id and x.kind = 'wallet'
       order by x.version desc, x.id desc limit 1) a on true
    left join public.usage_logs u
      on not m.is_special and u.company_id = m.company_id and u.created_at = m.created_at
     and u.meta ->> 'entry_id' = m.entry_id
    -- The limits keep the conditions before the calls, not after them.
    left join lateral (
      select k.* from callgate.key_read(m.company_id, m.key_type, m.key_reference) k
       where m.is_special limit 1) r on true
    left join lateral (
      select k.* from callgate.key_read(m.company_id, 'adjustment', 'correction:' || m.key_reference) k
       where m.key_type = 'usage' and coalesce(r.meta, u.meta) ->> 'basis' = 'assumed' limit 1) c on true
   order by m.epoch, m.n;
end
$$;

revoke all on callgate.served from public, anon, authenticated, service_role;
revoke all on function callgate.cursor_read(integer),
    callgate.epoch_begin(integer, bigint, bigint), callgate.turn_take(integer, integer, bigint),
    callgate.turn_keep(integer, bigint, integer),
    callgate.epoch_served(integer, bigint, bigint), callgate.tail_read(integer, bigint, bigint, integer)
  from public, anon, authenticated, service_role;
grant select on callgate.served to callgate_operator, callgate_reader;
grant execute on function callgate.cursor_read(integer),
    callgate.epoch_begin(integer, bigint, bigint), callgate.turn_take(integer, integer, bigint),
    callgate.turn_keep(integer, bigint, integer),
    callgate.epoch_served(integer, bigint, bigint), callgate.tail_read(integer, bigint, bigint, integer)
  to callgate_sidecar;
grant execute on function callgate.cursor_read(integer), callgate.tail_read(integer, bigint, bigint, integer)
  to callgate_operator, callgate_reader;
