-- Plans and rates: what a call costs, and what a company may do.
-- SPDX-License-Identifier: Apache-2.0
--
-- Every change of terms draws its version from one sequence, under one lock that is held
-- until commit: so versions become visible in their own order, and whoever has seen
-- version v has seen everything below it.

create sequence callgate.terms_version as bigint;

-- One row: the version of the last change of any plan or rate, deletions included.
create table callgate.terms (
  only_row boolean primary key default true check (only_row),
  plans_version bigint not null
);
insert into callgate.terms (plans_version) values (0);

create table callgate.plans (
  plan_id text collate "C" primary key check (plan_id ~ '^[a-z0-9][a-z0-9_.-]{0,63}$'),
  version bigint not null default 0,
  credit_limit_micros bigint not null default 0
    check (credit_limit_micros between 0 and 999999999999999),
  credit_unlimited boolean not null default false,
  shadow boolean not null default false,
  calls_max integer not null default 10 check (calls_max between 0 and 1000000),
  longest_call_ms integer not null default 7200000 check (longest_call_ms between 1000 and 604800000),
  ring_lease_ms integer not null default 120000 check (ring_lease_ms between 1000 and 3600000),
  default_reserve_ms integer not null default 60000 check (default_reserve_ms between 1000 and 86400000),
  guard_ms integer not null default 5000 check (guard_ms between 0 and 600000),
  cut_warning_ms integer not null default 30000 check (cut_warning_ms between 0 and 3600000),
  updated_at timestamptz not null default now()
);
comment on column callgate.plans.version is 'drawn from callgate.terms_version at every change of the plan or its rates';
comment on column callgate.plans.credit_limit_micros is 'how far below zero posted may be driven, in the wallet''s currency';
comment on column callgate.plans.credit_unlimited is 'no call is refused, warned or cut off for funds';
comment on column callgate.plans.shadow is 'decided as usual, answered ALLOWED';

create table callgate.rates (
  plan_id text collate "C" not null references callgate.plans,
  currency text collate "C" not null check (currency ~ '^[a-z]{3}$'),
  resource_type text collate "C" not null check (resource_type ~ '^[a-z][a-z0-9_]{0,63}$'),
  prefix text collate "C" not null check (prefix ~ '^([+][0-9]{1,15})?$'),
  rate_micros_per_minute bigint not null check (rate_micros_per_minute between 0 and 99999999999),
  connect_fee_micros bigint not null default 0 check (connect_fee_micros between 0 and 99999999999),
  minimum_ms integer not null default 0 check (minimum_ms between 0 and 3600000),
  increment_ms integer not null default 1000 check (increment_ms between 1 and 3600000),
  primary key (plan_id, currency, resource_type, prefix)
);
comment on column callgate.rates.prefix is 'of the destination in E.164, the longest one holds; empty: every destination, also none';

-- Trigger functions run as their owner: who may change a plan need not be allowed the rest.

-- Before anything is changed: changes of terms follow one another.
create function callgate.terms_lock() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform pg_catalog.pg_advisory_xact_lock(4776401, 1);
  return null;
end
$$;

create function callgate.plan_versioned() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  new.version := nextval('callgate.terms_version');
  new.updated_at := now();
  return new;
end
$$;

create function callgate.plans_changed() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update callgate.terms set plans_version = nextval('callgate.terms_version');
  perform pg_catalog.pg_notify('callgate_terms', 'plans');
  return null;
end
$$;

-- A change of rates is a change of their plans.
create function callgate.rates_changed() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'TRUNCATE' then
    update callgate.plans set updated_at = now();
  else
    update callgate.plans set updated_at = now()
     where plan_id in (select c.plan_id from changed c);
  end if;
  return null;
end
$$;

create function callgate.rates_updated() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update callgate.plans set updated_at = now()
   where plan_id in (select plan_id from was union select plan_id from is_now);
  return null;
end
$$;

create trigger a_terms_lock before insert or update or delete or truncate on callgate.plans
  for each statement execute function callgate.terms_lock();
create trigger a_terms_lock before insert or update or delete or truncate on callgate.rates
  for each statement execute function callgate.terms_lock();
create trigger b_versioned before insert or update on callgate.plans
  for each row execute function callgate.plan_versioned();
create trigger c_changed after insert or update or delete on callgate.plans
  for each statement execute function callgate.plans_changed();
create trigger c_inserted after insert on callgate.rates referencing new table as changed
  for each statement execute function callgate.rates_changed();
create trigger c_deleted after delete on callgate.rates referencing old table as changed
  for each statement execute function callgate.rates_changed();
create trigger c_updated after update on callgate.rates referencing old table as was new table as is_now
  for each statement execute function callgate.rates_updated();
create trigger c_truncated after truncate on callgate.rates
  for each statement execute function callgate.rates_changed();
