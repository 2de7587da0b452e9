-- A store that lost the very end of a recovery is still the latest history.
-- SPDX-License-Identifier: Apache-2.0
--
-- Where the fence of an epoch and everything after it were lost with the store's tail, what is
-- left is of the epoch served before, and its stream is the beginning of what was recovered then:
-- its entries were dropped for orphans although nobody had put others in their place.

alter table callgate.served add column end_epoch bigint, add column end_n bigint;
comment on column callgate.served.last_n is
  'with last_epoch: up to where the ledger or the stream had entries at that time, whichever had more';
comment on column callgate.served.end_n is
  'with end_epoch: the end of the stream at the fence, as it answered it; null: not told';

-- As with three arguments; p_end_*: the stream's end as the fence found it.  What waited in the
-- stream then is flushed later, under its own ids: who reads the tail reads it up to there.  An end
-- below p_from is no id: it says that the stream has no entry of that epoch.
create function callgate.epoch_served(p_partition integer, p_epoch bigint, p_from bigint,
    p_end_epoch bigint, p_end_n bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not callgate.epoch_served(p_partition, p_epoch, p_from) then
    return false;
  end if;
  update callgate.served s
     set end_epoch = p_end_epoch, end_n = p_end_n,
         (last_epoch, last_n) = (
           select p.epoch, p.n
             from (values (s.last_epoch, s.last_n, true), (p_end_epoch, p_end_n, p_end_epoch >= p_from))
                    as p(epoch, n, is_id)
            where p.is_id order by p.epoch desc, p.n desc limit 1)
   where s.partition = p_partition and s.epoch = p_epoch and p_from < p_epoch;
  return true;
end
$$;

-- Whether a history, last served under p_served and with its stream ending there, is the beginning
-- of the one that was served last: it would have to become just that by being served on.
--
-- Under one epoch only one server writes, from its SERVE on for as long as it runs and is the
-- master it was: wherever that epoch is the last one served, the entries are the first so many of
-- one and the same row.  So it is enough to go back, from what was served last to what each
-- history came from, as far as p_served, and to compare how far that one went when it was fenced.
-- One that goes further was written on elsewhere: a fork.  One that is not among them was dropped,
-- or left behind.  A store that was never served (0) has nothing to prove it by.
create function callgate.is_beginning(p_partition integer, p_served bigint, p_end_epoch bigint,
    p_end_n bigint) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  with recursive line as (
    select s.epoch, s.from_epoch, s.end_epoch, s.end_n
      from callgate.cursors c
      join callgate.served s on s.partition = c.partition and s.epoch = c.served
     where c.partition = p_partition
    union all
    select s.epoch, s.from_epoch, s.end_epoch, s.end_n
      from line l
      join callgate.served s on s.partition = p_partition and s.epoch = l.from_epoch
     where l.from_epoch < l.epoch and l.from_epoch > p_served
  )
  select p_served > 0 and exists (
    select from line l
     where l.from_epoch = p_served and (p_end_epoch, p_end_n) <= (l.end_epoch, l.end_n))
$$;

revoke all on function callgate.epoch_served(integer, bigint, bigint, bigint, bigint),
    callgate.is_beginning(integer, bigint, bigint, bigint)
  from public, anon, authenticated, service_role;
grant execute on function callgate.epoch_served(integer, bigint, bigint, bigint, bigint),
    callgate.is_beginning(integer, bigint, bigint, bigint)
  to callgate_sidecar;
