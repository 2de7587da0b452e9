-- The ledger's own proof, wallet by wallet, for `callgate audit`.
-- SPDX-License-Identifier: Apache-2.0

-- A page of wallets, from one snapshot: the partition's cursor (null: it has none), and of each
-- wallet [company, is there, currency, version, balance, entries in quarantine, version and balance
-- after the last of them, the first thing that is wrong or null]; amounts in micros.
--
-- Looked at is every row of theirs since p_since (null: of all time), each against the one before it:
-- the version is the next one, the balance-after the one before plus the amount, the hash that of
-- the hash before and its own content; it stands under its key; usage and corrections have one row in
-- usage_logs, of their amount, and nothing else has.  The wallet is what its last row says.  What is in
-- quarantine follows from the wallet, or that is what is wrong.
--
-- Rows of a wallet are made in the order of its versions, but a store that failed over may have a
-- clock behind the former one's: a day's margin around p_since allows for that.
create function callgate.audit_page(p_partition integer, p_companies uuid[], p_since timestamptz) returns json
language sql stable set search_path = pg_catalog, pg_temp as $$
  with wallet as materialized (
    select c.company_id, w.id is not null as is_there, coalesce(w.currency, 'usd') as currency,
           coalesce(w.version, 0) as version, coalesce(callgate.to_micros(w.balance, w.currency), 0) as balance,
           coalesce(w.chain_hash, '') as hash,
           case when p_since is null then 0
                else (select min(t.version) from public.wallet_transactions t
                       where t.company_id = c.company_id and t.created_at >= p_since) end as from_version
      from unnest(p_companies) c(company_id)
      left join public.wallets w on w.company_id = c.company_id
  ), entry as materialized (
    select w.company_id, w.currency, t.entry_id, t.version, t.type, t.amount, t.reference_id, t.description,
           t.created_at, t.balance_after, t.hash, false as is_base
      from wallet w
      join public.wallet_transactions t on t.company_id = w.company_id and t.version >= w.from_version
       and t.created_at >= coalesce(p_since - interval '1 day', '-infinity')
    union all
    select w.company_id, w.currency, b.entry_id, b.version, b.type, b.amount, b.reference_id, b.description,
           b.created_at, b.balance_after, b.hash, true
      from wallet w
     cross join lateral (
       select t.* from public.wallet_transactions t
        where t.company_id = w.company_id and t.version = w.from_version - 1
        order by t.created_at desc limit 1) b
     where p_since is not null and w.from_version > 1
  ), logged as materialized (
    select u.company_id, u.meta ->> 'entry_id' as entry_id, count(*) as rows, sum(u.cost) as cost,
           max(u.created_at) as created_at
      from wallet w
      join public.usage_logs u on u.company_id = w.company_id
       and u.created_at >= coalesce(p_since - interval '1 day', '-infinity')
     group by 1, 2
  ), compared as materialized (
    select e.*, k.entry_id as keyed, k.created_at as keyed_at, l.rows as log_rows, l.cost as log_cost,
           e.type = 'usage' or starts_with(e.reference_id, 'correction:') and e.type = 'adjustment' as is_usage,
           coalesce(lag(e.version) over own, 0) as version_before,
           coalesce(lag(e.balance_after) over own, 0) as balance_before,
           coalesce(lag(e.hash) over own, '') as hash_before
      from entry e
      left join callgate.keys k on k.company_id = e.company_id and k.type = e.type and k.reference_id = e.reference_id
      left join logged l on l.company_id = e.company_id and l.entry_id = e.entry_id
    window own as (partition by e.company_id order by e.version, e.entry_id)
  ), judged as (
    select c.company_id, c.version, 1 as rank, case
      when c.version <> c.version_before + 1 then json_build_object('check', 'version', 'entry_id', c.entry_id,
        'expected', c.version_before + 1, 'found', c.version)
      when c.balance_after <> c.balance_before + c.amount then json_build_object('check', 'balance_after',
        'entry_id', c.entry_id, 'expected_micros', callgate.to_micros(c.balance_before + c.amount, c.currency),
        'found_micros', callgate.to_micros(c.balance_after, c.currency))
      when c.hash <> sha256(c.hash_before || callgate.entry_content(c.entry_id, c.company_id, c.version, c.type,
             callgate.to_micros(c.amount, c.currency), callgate.to_micros(c.balance_after, c.currency),
             callgate.to_ms(c.created_at), c.reference_id, c.description))
        then json_build_object('check', 'hash', 'entry_id', c.entry_id, 'expected',
          encode(sha256(c.hash_before || callgate.entry_content(c.entry_id, c.company_id, c.version, c.type,
             callgate.to_micros(c.amount, c.currency), callgate.to_micros(c.balance_after, c.currency),
             callgate.to_ms(c.created_at), c.reference_id, c.description)), 'hex'),
          'found', encode(c.hash, 'hex'))
      when c.keyed is distinct from c.entry_id or c.keyed_at <> c.created_at
        then json_build_object('check', 'key', 'entry_id', c.entry_id, 'expected', c.entry_id,
          'found', case when c.keyed = c.entry_id then 'another instant' else coalesce(c.keyed, 'none') end)
      when c.is_usage and c.log_rows is distinct from 1
        then json_build_object('check', 'usage_rows', 'entry_id', c.entry_id, 'expected', 1,
          'found', coalesce(c.log_rows, 0))
      when not c.is_usage and c.log_rows > 0
        then json_build_object('check', 'usage_rows', 'entry_id', c.entry_id, 'expected', 0, 'found', c.log_rows)
      when c.is_usage and c.log_cost <> -c.amount
        then json_build_object('check', 'usage_cost', 'entry_id', c.entry_id,
          'expected_micros', callgate.to_micros(-c.amount, c.currency),
          'found_micros', callgate.to_micros(c.log_cost, c.currency))
      end as fault
      from compared c where not c.is_base
    union all
    select k.company_id, 0, 2, json_build_object('check', 'row', 'entry_id', k.entry_id,
        'expected', k.type || ' ' || k.reference_id, 'found', 'none')
      from wallet w
      join callgate.keys k on k.company_id = w.company_id and k.created_at >= coalesce(p_since, '-infinity')
      left join entry e on e.company_id = k.company_id and e.entry_id = k.entry_id
     where e.entry_id is null
    union all
    select l.company_id, 0, 3, json_build_object('check', 'usage_entry', 'entry_id', coalesce(l.entry_id, '-'),
        'expected', 'an entry', 'found', 'none')
      from logged l
      left join entry e on e.company_id = l.company_id and e.entry_id = l.entry_id
     where e.entry_id is null and l.created_at >= coalesce(p_since, '-infinity')
    union all
    select w.company_id, 0, 4, case
      when not w.is_there then json_build_object('check', 'wallet', 'expected', 'a wallet', 'found', 'none')
      when w.version <> coalesce(l.version, 0) then json_build_object('check', 'last_version',
        'entry_id', l.entry_id, 'expected', coalesce(l.version, 0), 'found', w.version)
      when w.balance <> coalesce(callgate.to_micros(l.balance_after, w.currency), 0)
        then json_build_object('check', 'last_balance', 'entry_id', l.entry_id,
          'expected_micros', coalesce(callgate.to_micros(l.balance_after, w.currency), 0), 'found_micros', w.balance)
      when w.hash <> coalesce(l.hash, '') then json_build_object('check', 'last_hash', 'entry_id', l.entry_id,
        'expected', encode(coalesce(l.hash, ''), 'hex'), 'found', encode(w.hash, 'hex'))
      end
      from wallet w
      left join lateral (
        select t.entry_id, t.version, t.balance_after, t.hash from public.wallet_transactions t
         where t.company_id = w.company_id
           and t.created_at >= (select max(m.created_at) from public.wallet_transactions m
                                 where m.company_id = w.company_id) - interval '1 day'
         order by t.version desc limit 1) l on true
  ), aside as materialized (
    select w.company_id, q.id, q.entry_id, q.version, q.amount_micros, q.balance_after_micros,
           lag(q.version, 1, w.version) over own as version_before,
           lag(q.balance_after_micros, 1, w.balance) over own as balance_before
      from wallet w
      join callgate.quarantine q on q.company_id = w.company_id and q.kind = 'wallet'
    window own as (partition by w.company_id order by q.id)
  ), faults as (
    select j.company_id, j.rank, j.version, j.fault from judged j where j.fault is not null
    union all
    select a.company_id, 5, a.id, case when a.version <> a.version_before + 1
        then json_build_object('check', 'quarantine_version', 'entry_id', a.entry_id,
          'expected', a.version_before + 1, 'found', a.version)
        else json_build_object('check', 'quarantine_balance', 'entry_id', a.entry_id,
          'expected_micros', a.balance_before + a.amount_micros, 'found_micros', a.balance_after_micros) end
      from aside a
     where a.version <> a.version_before + 1 or a.balance_after_micros <> a.balance_before + a.amount_micros
  ), first as (
    select distinct on (f.company_id) f.company_id, f.fault from faults f
     order by f.company_id, f.rank, f.version
  ), waiting as (
    select distinct on (a.company_id) a.company_id, count(*) over (partition by a.company_id) as count,
           a.version, a.balance_after_micros
      from aside a order by a.company_id, a.id desc
  )
  select json_build_object(
    'cursor', (select json_build_array(c.epoch, c.last_epoch, c.last_n, c.served)
                 from callgate.cursors c where c.partition = p_partition),
    'entries', (select count(*) from entry e where not e.is_base),
    'wallets', (select coalesce(json_agg(json_build_array(w.company_id, w.is_there, w.currency, w.version, w.balance,
        coalesce(q.count, 0), coalesce(q.version, w.version), coalesce(q.balance_after_micros, w.balance),
        f.fault) order by w.company_id), '[]'::json)
      from wallet w
      left join first f on f.company_id = w.company_id
      left join waiting q on q.company_id = w.company_id))
$$;

revoke all on function callgate.audit_page(integer, uuid[], timestamptz)
  from public, anon, authenticated, service_role;
grant execute on function callgate.audit_page(integer, uuid[], timestamptz) to callgate_operator, callgate_reader;
