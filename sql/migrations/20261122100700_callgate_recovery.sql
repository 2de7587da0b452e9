-- The ledger's side of taking a partition into use, and of waiting for a commit.
-- SPDX-License-Identifier: Apache-2.0

-- The deployment; made, with so many partitions, where there is none yet.
create function callgate.deployment_read(p_partitions integer, out ret_id uuid, out ret_partitions integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into callgate.deployment (partitions) values (p_partitions) on conflict do nothing;
  select d.id, d.partitions into ret_id, ret_partitions from callgate.deployment d;
end
$$;

-- A turn at recovering a partition, for so long: false where somebody else has it.
create function callgate.turn_take(p_partition integer, p_for_ms integer) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into callgate.cursors (partition, epoch) values (p_partition, 0) on conflict do nothing;
  update callgate.cursors c
     set turn_until = clock_timestamp() + p_for_ms * interval '1 millisecond'
   where c.partition = p_partition and c.turn_until < clock_timestamp();
  return found;
end
$$;

-- Fences every flusher of the former epoch.  False: overtaken.
create function callgate.epoch_take(p_partition integer, p_as_read bigint, p_epoch bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  update callgate.cursors c set epoch = p_epoch, updated_at = now()
   where c.partition = p_partition and c.epoch = p_as_read and p_epoch > p_as_read;
  return found;
end
$$;

create function callgate.epoch_served(p_partition integer, p_epoch bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  update callgate.cursors c set served = p_epoch, turn_until = '-infinity', updated_at = now()
   where c.partition = p_partition and c.epoch = p_epoch;
  return found;
end
$$;

-- Copies a part of a stream that is about to be dropped; again is harmless.
create function callgate.orphans_put(p_partition integer, p_recovered_epoch bigint,
    p_epochs bigint[], p_ns bigint[], p_companies uuid[], p_versions bigint[], p_types text[],
    p_amounts bigint[], p_balances bigint[], p_ats bigint[], p_references bytea[]) returns bigint
language sql security definer set search_path = pg_catalog, pg_temp as $$
  with put as (
    insert into callgate.orphans (partition, entry_id, company_id, version, type, amount_micros,
        balance_after_micros, at_ms, reference_id, recovered_epoch)
    select p_partition, p_partition || '-' || e.epoch || '-' || e.n, e.company, e.version, e.type,
           e.amount, e.balance_after, e.at_ms, e.reference, p_recovered_epoch
      from unnest(p_epochs, p_ns, p_companies, p_versions, p_types, p_amounts, p_balances, p_ats,
                  p_references)
             as e(epoch, n, company, version, type, amount, balance_after, at_ms, reference)
    on conflict do nothing returning 1)
  select count(*) from put
$$;

-- Every partition's cursor; and those of the entries named that are in quarantine.
create function callgate.cursors_read(p_entries text[])
returns table (partition integer, epoch bigint, last_epoch bigint, last_n bigint, served bigint,
    quarantined text[])
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select c.partition, c.epoch, c.last_epoch, c.last_n, c.served,
         array(select q.entry_id from callgate.quarantine q
                where q.kind = 'wallet' and q.entry_id = any(p_entries)
                  and split_part(q.entry_id, '-', 1) = c.partition::text)
    from callgate.cursors c order by c.partition
$$;

-- What changed after a version: companies, or null for plans and rates; the version last.
create function callgate.terms_changes(p_plans_after bigint, p_wallets_after bigint, p_most integer)
returns table (company_id uuid, version bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select null::uuid, t.plans_version from callgate.terms t where t.plans_version > p_plans_after
  union all
  (select w.company_id, w.terms_version from public.wallets w
    where w.terms_version > p_wallets_after and w.terms_version > 0
    order by w.terms_version limit p_most)
$$;

-- The version of the latest change: where a sidecar begins to look for later ones.
create function callgate.terms_latest() returns bigint
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select greatest((select plans_version from callgate.terms),
                  (select max(terms_version) from public.wallets where terms_version > 0), 0)
$$;

-- By which entry each of these keys is booked, null where it is not; what is in quarantine is not.
create function callgate.keys_booked(p_companies uuid[], p_types text[], p_references text[])
returns table (ord bigint, entry_id text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select e.ord, (select k.entry_id from callgate.keys k
           where k.company_id = e.company and k.type = e.type and k.reference_id = e.reference)
    from unnest(p_companies, p_types, p_references) with ordinality as e(company, type, reference, ord)
   order by e.ord
$$;
