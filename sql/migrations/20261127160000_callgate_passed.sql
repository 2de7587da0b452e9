-- When each partition's cursor had come how far, as this ledger knows it.
-- SPDX-License-Identifier: Apache-2.0
--
-- An entry may leave the store's stream once the ledger has had it for a margin: a standby that
-- takes over may lag by as much.  Each sidecar remembered by itself when the cursor had passed
-- what.  That is the memory of a ledger that may be gone: where a standby took over, and another
-- sidecar applied again what it lacked, nothing told the first one that this ledger had it only
-- just; it trimmed, and the next standby, hardly behind, had a gap.  So it is noted here, where a
-- ledger that goes back loses it together with the entries.

create table callgate.passed (
  partition integer not null,
  epoch bigint not null,
  n bigint not null,
  at timestamptz not null,
  primary key (partition, epoch, n)
);
comment on table callgate.passed is
  'how far each partition''s cursor had come, noted about eight times in a trim margin';
comment on column callgate.passed.at is 'since when at least, by the clock of the server that led then';

-- Every partition's cursor, as cursors_read() has it; and the id that it had passed a margin ago,
-- not more than about a quarter longer ago if somebody looks as often: null where none is noted.
-- A clock that was set back makes it earlier, never later; one that was set forward is no better
-- than a shorter margin.
create function callgate.cursors_look(p_margin_ms bigint)
returns table (partition integer, epoch bigint, last_epoch bigint, last_n bigint, served bigint,
    passed_epoch bigint, passed_n bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  -- The clock is read after the snapshot was taken: the cursor was there by then.
  insert into callgate.passed (partition, epoch, n, at)
  select c.partition, c.last_epoch, c.last_n, clock_timestamp()
    from callgate.cursors c
   where c.last_epoch > 0 and not exists (
           select from callgate.passed p
            where p.partition = c.partition and p.at <= clock_timestamp()
              and p.at > clock_timestamp() - p_margin_ms * interval '0.125 milliseconds')
   order by c.partition
  on conflict do nothing;
  if found then
    delete from callgate.passed d
     where (d.partition, d.epoch, d.n) in (
       select p.partition, p.epoch, p.n from callgate.passed p
        where exists (
          select from callgate.passed q
           where q.partition = p.partition and (q.epoch, q.n) > (p.epoch, p.n)
             and q.at <= clock_timestamp() - p_margin_ms * interval '1 millisecond')
          for update skip locked);
  end if;
  return query
  select c.partition, c.epoch, c.last_epoch, c.last_n, c.served, p.epoch, p.n
    from callgate.cursors c
    left join lateral (
      select p.epoch, p.n from callgate.passed p
       where p.partition = c.partition
         and p.at <= clock_timestamp() - p_margin_ms * interval '1 millisecond'
       order by p.epoch desc, p.n desc limit 1) p on true
   order by c.partition;
end
$$;

revoke all on callgate.passed from public, anon, authenticated, service_role;
revoke all on function callgate.cursors_look(bigint) from public, anon, authenticated, service_role;
grant select on callgate.passed to callgate_operator, callgate_reader;
grant execute on function callgate.cursors_look(bigint) to callgate_sidecar;
