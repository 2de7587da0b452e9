-- Bringing what is in quarantine into the ledger after all, and setting aside for good what is only text.
-- SPDX-License-Identifier: Apache-2.0

create table callgate.quarantine_log (
  id bigint generated always as identity primary key,
  outcome text not null check (outcome in ('applied', 'dismissed')),
  kind text not null,
  entry_id text collate "C" not null,
  company_id uuid not null,
  entry jsonb not null,
  lost text,
  note text,
  done_by text not null default session_user,
  created_at timestamptz not null default now()
);
create trigger append_only before update or delete or truncate on callgate.quarantine_log
  for each statement execute function callgate.append_only();
comment on table callgate.quarantine_log is 'what left the quarantine, and how; never changed';
comment on column callgate.quarantine_log.entry is 'its row in quarantine, raw included';
comment on column callgate.quarantine_log.lost is 'what of an applied entry could not be represented; null: nothing';

-- An entry's texts out of quarantine.raw.  Bytes that are no UTF-8 are read as Latin-1 and U+0000
-- becomes U+FFFD, so that every text has a form; ret_lost says so.  Null where nothing is to be read.
create function callgate.raw_read(p_raw bytea, out ret_entry jsonb, out ret_lost text)
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
  said text;
begin
  if p_raw is null then
    return;
  end if;
  begin
    said := convert_from(p_raw, 'UTF8');
  exception when data_exception then
    said := convert_from(p_raw, 'LATIN1');
    ret_lost := 'bytes that are no UTF-8, read as Latin-1';
  end;
  -- The room escapes nothing else this way: a backslash is \u005c.
  if strpos(said, '\u0000') > 0 then
    said := replace(said, '\u0000', '\ufffd');
    ret_lost := concat_ws('; ', ret_lost, 'U+0000, written as U+FFFD');
  end if;
  ret_entry := said::jsonb;
exception when data_exception then
  ret_entry := null;
  ret_lost := 'every text: it cannot be read';
end
$$;

-- A wallet's entries in quarantine, in order, as the flush takes them, with what is lost of each.
-- p_bare: without description and the caller's own pairs.
create function callgate.quarantine_entries(p_company uuid, p_bare boolean)
returns table (id bigint, entry_id text, epoch bigint, n bigint, version bigint, type text,
    amount_micros bigint, balance_after_micros bigint, at_ms bigint, reference_id text, description text,
    resource_type text, quantity bigint, is_charge boolean, meta jsonb, lost text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with told as (
    select q.*, r.ret_entry as said, r.ret_lost as unsaid,
           coalesce(r.ret_entry ->> 'reference_id', q.reference_id, '') as own_reference,
           coalesce(r.ret_entry ->> 'description', q.description, '') as own_description,
           coalesce(r.ret_entry ->> 'resource_type', q.resource_type, '') as own_resource,
           coalesce(r.ret_entry - '{description,resource_type}'::text[]
               - case when q.is_charge then '{}' else '{reference_id}'::text[] end, q.meta, '{}') as own_meta
      from callgate.quarantine q
     cross join lateral callgate.raw_read(q.raw) r
     where q.kind = 'wallet' and q.company_id = p_company
  ), named as (
    select t.*, t.own_resource <> '' or t.type = 'usage' as is_logged,
           t.own_resource ~ '^[a-z][a-z0-9_]{0,63}$' as is_resource
      from told t
  )
  select n.id, n.entry_id, split_part(n.entry_id, '-', 2)::bigint, split_part(n.entry_id, '-', 3)::bigint,
         n.version, n.type, n.amount_micros, n.balance_after_micros, n.at_ms,
         case when n.own_reference = '' then 'lost:' || n.entry_id else n.own_reference end,
         case when p_bare then '' else n.own_description end,
         case when not n.is_logged then '' when n.is_resource then n.own_resource else 'unknown' end,
         n.quantity, n.is_charge,
         case when n.is_logged then
           jsonb_build_object('entry_id', n.entry_id)
             || case when p_bare or n.own_meta -> 'meta' = '{}' then n.own_meta - 'meta' else n.own_meta end end,
         nullif(concat_ws('; ', n.unsaid,
           case when n.own_reference = '' then 'its reference' end,
           case when n.is_logged and not n.is_resource then 'its resource type' end,
           case when p_bare and (n.own_description <> '' or coalesce(n.own_meta -> 'meta', '{}') <> '{}')
                then 'description and meta' end), '')
    from named n
$$;

-- Why the entries of a wallet in quarantine do not follow from the ledger, in words; null: they do.
-- Versions and balances alone: what else Postgres refuses is found by trying.
create function callgate.quarantine_obstacle(p_company uuid) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  wallet record;
  entry record;
begin
  select w.version, callgate.to_micros(w.balance, w.currency) as balance into wallet
    from public.wallets w where w.company_id = p_company;
  if not found then
    return 'the ledger has no such wallet';
  end if;
  for entry in
    select q.entry_id, q.version, q.amount_micros, q.balance_after_micros,
           lag(q.version, 1, wallet.version) over own as version_before,
           lag(q.balance_after_micros, 1, wallet.balance) over own as balance_before,
           lag((split_part(q.entry_id, '-', 2)::bigint, split_part(q.entry_id, '-', 3)::bigint)) over own
             >= (split_part(q.entry_id, '-', 2)::bigint, split_part(q.entry_id, '-', 3)::bigint) as falls
      from callgate.quarantine q
     where q.kind = 'wallet' and q.company_id = p_company
    window own as (order by q.id)
     order by q.id
  loop
    if entry.version <> entry.version_before + 1 then
      return format('entry %s: version %s does not follow %s', entry.entry_id, entry.version, entry.version_before);
    elsif entry.balance_after_micros <> entry.balance_before + entry.amount_micros then
      return format('entry %s: %s micros do not make %s of %s', entry.entry_id, entry.amount_micros,
        entry.balance_after_micros, entry.balance_before);
    elsif entry.falls then
      return format('entry %s does not come after the one before it', entry.entry_id);
    end if;
  end loop;
  return null;
end
$$;

-- Books entries that a flush has set aside, by that very function.  It takes what comes after the
-- cursor, so the cursor stands before everything meanwhile; the caller holds its row, and so nobody
-- sees it there.  How many keys were known already.
create function callgate.quarantine_book(p_partition integer, p_company uuid, p_bare boolean) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  place record;
  answer record;
  batch record;
begin
  select c.epoch, c.last_epoch, c.last_n, c.updated_at into place
    from callgate.cursors c where c.partition = p_partition;
  select array_agg(e.epoch order by e.id) as epochs, array_agg(e.n order by e.id) as ns,
         array_agg(p_company) as companies, array_agg(e.version order by e.id) as versions,
         array_agg(e.type order by e.id) as types, array_agg(e.amount_micros order by e.id) as amounts,
         array_agg(e.balance_after_micros order by e.id) as balances, array_agg(e.at_ms order by e.id) as ats,
         array_agg(e.reference_id order by e.id) as refs, array_agg(e.description order by e.id) as descriptions,
         array_agg(e.resource_type order by e.id) as resources, array_agg(e.quantity order by e.id) as quantities,
         array_agg(e.is_charge order by e.id) as charges, array_agg(e.meta order by e.id) as metas
    into batch from callgate.quarantine_entries(p_company, p_bare) e;
  insert into callgate.quarantine_log (outcome, kind, entry_id, company_id, entry, lost)
  select 'applied', q.kind, q.entry_id, q.company_id, to_jsonb(q), e.lost
    from callgate.quarantine_entries(p_company, p_bare) e
    join callgate.quarantine q on q.id = e.id
   order by e.id;
  delete from callgate.quarantine q where q.kind = 'wallet' and q.company_id = p_company;

  update callgate.cursors set last_epoch = 0, last_n = 0 where partition = p_partition;
  answer := callgate.flush(p_partition, place.epoch, 0, 0, 0, 0, 0, batch.epochs, batch.ns, batch.companies,
    batch.versions, batch.types, batch.amounts, batch.balances, batch.ats, batch.refs, batch.descriptions,
    batch.resources, batch.quantities, batch.charges, batch.metas, null, null);
  if answer.ret_outcome <> 'done' or answer.ret_quarantined > 0 then
    raise exception 'callgate: the flush answered % and set % aside', answer.ret_outcome, answer.ret_quarantined
      using errcode = 'internal_error';
  end if;
  update callgate.cursors
     set last_epoch = place.last_epoch, last_n = place.last_n, updated_at = place.updated_at
   where partition = p_partition;
  return answer.ret_duplicates;
end
$$;

-- Applies all of a wallet's entries in quarantine, in order, or none: through the flush, in its
-- order of locks.  Where Postgres refuses them as they are they are tried without description and meta.
-- ret_outcome: applied; nothing (none is there); refused, ret_why says why, nothing was changed.
-- ret_lost: entries of which something could not be represented; callgate.quarantine_log has it.
create function callgate.quarantine_retry(p_company uuid, out ret_outcome text, out ret_why text,
    out ret_applied integer, out ret_duplicates integer, out ret_lost integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  home integer;
  entries text[];
begin
  ret_applied := 0;
  ret_duplicates := 0;
  ret_lost := 0;
  select split_part(q.entry_id, '-', 1)::integer into home
    from callgate.quarantine q where q.kind = 'wallet' and q.company_id = p_company limit 1;
  if not found then
    ret_outcome := 'nothing';
    return;
  end if;
  perform from callgate.cursors c where c.partition = home for update;
  ret_outcome := 'refused';
  if not found then
    ret_why := format('partition %s has no cursor', home);
    return;
  end if;
  -- As it is now that nobody else can add to it.
  select array_agg(q.entry_id) into entries
    from callgate.quarantine q where q.kind = 'wallet' and q.company_id = p_company;
  if entries is null then
    ret_outcome := 'nothing';
    return;
  end if;
  ret_why := callgate.quarantine_obstacle(p_company);
  if ret_why is not null then
    return;
  end if;
  for attempt in 0..1 loop
    begin
      ret_duplicates := callgate.quarantine_book(home, p_company, attempt = 1);
      ret_outcome := 'applied';
      exit;
    exception when data_exception or integrity_constraint_violation then
      ret_why := format('Postgres refuses them: %s (%s)', sqlerrm, sqlstate);
    end;
  end loop;
  if ret_outcome = 'applied' then
    ret_why := null;
    ret_applied := cardinality(entries);
    select count(*) into ret_lost from callgate.quarantine_log l
     where l.entry_id = any (entries) and l.outcome = 'applied' and l.lost is not null;
  end if;
end
$$;

-- Of an entry whose money is in the ledger the texts that were taken away can go nowhere: rows are
-- append-only.  They stay in quarantine until somebody has read them and says so.
-- Outcome: dismissed, no_entry, money_waits (an entry that is in no ledger: retry it).
create function callgate.quarantine_dismiss(p_entry_id text, p_note text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into callgate.quarantine_log (outcome, kind, entry_id, company_id, entry, note)
  select 'dismissed', q.kind, q.entry_id, q.company_id, to_jsonb(q), p_note
    from callgate.quarantine q where q.entry_id = p_entry_id and q.kind = 'payload' for update;
  if found then
    delete from callgate.quarantine q where q.entry_id = p_entry_id and q.kind = 'payload';
    return 'dismissed';
  end if;
  return case when exists (select from callgate.quarantine q where q.entry_id = p_entry_id)
    then 'money_waits' else 'no_entry' end;
end
$$;

revoke all on callgate.quarantine_log from public, anon, authenticated, service_role;
grant select on callgate.quarantine_log to callgate_operator, callgate_reader;
revoke all on function callgate.raw_read(bytea), callgate.quarantine_entries(uuid, boolean),
    callgate.quarantine_obstacle(uuid), callgate.quarantine_book(integer, uuid, boolean),
    callgate.quarantine_retry(uuid), callgate.quarantine_dismiss(text, text)
  from public, anon, authenticated, service_role;
grant execute on function callgate.raw_read(bytea), callgate.quarantine_entries(uuid, boolean),
    callgate.quarantine_obstacle(uuid)
  to callgate_operator, callgate_reader;
grant execute on function callgate.quarantine_retry(uuid), callgate.quarantine_dismiss(text, text)
  to callgate_operator;
