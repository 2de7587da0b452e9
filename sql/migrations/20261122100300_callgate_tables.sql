-- The roadmap's tables.
-- SPDX-License-Identifier: Apache-2.0
--
-- Amounts are in the currency's smallest unit, exact to a micro.  Nothing but callgate.flush()
-- writes a balance.  wallet_transactions and usage_logs are append-only, and may be partitioned
-- by created_at later: what must be unique for ever stands in callgate.keys.

-- Remembers whether `companies` was ours to make, and so is ours to add rows to.
create table callgate.installation (
  only_row boolean primary key default true check (only_row),
  owns_companies boolean not null
);

do $$
begin
  insert into callgate.installation (owns_companies)
    values (to_regclass('public.companies') is null);
  create table if not exists public.companies (
    id uuid primary key,
    name text
  );
end
$$;

create table public.billing_subscriptions (
  id uuid primary key default gen_random_uuid(),
  company_id uuid not null references public.companies,
  stripe_subscription_id text,
  stripe_customer_id text,
  plan_id text collate "C" references callgate.plans,
  status text not null default 'active' check (status ~ '^[a-z_]{1,32}$'),
  current_period_end timestamptz
);
create index billing_subscriptions_company on public.billing_subscriptions (company_id);
comment on column public.billing_subscriptions.stripe_subscription_id is
  'the name is the roadmap''s; holds Flutterwave''s subscription id';
comment on column public.billing_subscriptions.stripe_customer_id is
  'the name is the roadmap''s; holds Flutterwave''s customer id';
comment on column public.billing_subscriptions.status is
  'suspended, unpaid: no new calls unless another subscription of the company is in force';

create table public.wallets (
  id uuid primary key default gen_random_uuid(),
  company_id uuid not null unique references public.companies,
  balance numeric(24, 6) not null default 0,
  currency text collate "C" not null default 'usd' check (currency ~ '^[a-z]{3}$'),
  updated_at timestamptz not null default now(),
  plan_id text collate "C" not null default 'starter' references callgate.plans,
  frozen boolean not null default false,
  low_balance_micros bigint check (low_balance_micros between -999999999999999 and 999999999999999),
  low_balance_remaining_ms bigint not null default 0 check (low_balance_remaining_ms between 0 and 604800000),
  terms_version bigint not null default 0,
  version bigint not null default 0 check (version >= 0),
  chain_hash bytea not null default '',
  created_at timestamptz not null default now()
) with (fillfactor = 50); -- so that a flush finds room for the new row beside the old one
comment on column public.wallets.balance is 'in the currency''s smallest unit, exact to a micro; written by callgate.flush() alone';
comment on column public.wallets.version is 'number of ledger entries so far';
comment on column public.wallets.chain_hash is 'hash of the last entry';
comment on column public.wallets.terms_version is
  'of the wallet''s own terms; 0 until they change. The greater of this and the plan''s holds';
comment on column public.wallets.low_balance_remaining_ms is 'where above 0 it replaces the amount';
create index wallets_terms_version on public.wallets (terms_version) where terms_version > 0;
create index wallets_plan on public.wallets (plan_id);

create table public.wallet_transactions (
  id uuid not null default gen_random_uuid() primary key,
  wallet_id uuid not null references public.wallets,
  amount numeric(24, 6) not null,
  type text collate "C" not null
    check (type in ('top_up', 'usage', 'monthly_grant', 'bonus', 'refund', 'adjustment')),
  reference_id text not null,
  description text,
  created_at timestamptz not null,
  company_id uuid not null,
  entry_id text collate "C" not null unique,
  version bigint not null,
  balance_after numeric(24, 6) not null,
  hash bytea not null
);
create index wallet_transactions_company on public.wallet_transactions (company_id, created_at);
comment on column public.wallet_transactions.amount is 'in the currency''s smallest unit; positive for top-ups, negative for usage';
comment on column public.wallet_transactions.entry_id is '<partition>-<epoch>-<n>, as the store named it';
comment on column public.wallet_transactions.version is 'the wallet''s own count, no gaps';
comment on column public.wallet_transactions.hash is
  'sha256 over the hash of the wallet''s previous row and callgate.entry_content() of this one';

create table public.usage_logs (
  id uuid not null default gen_random_uuid() primary key,
  company_id uuid not null references public.companies,
  resource_type text collate "C" not null check (resource_type ~ '^[a-z][a-z0-9_]{0,63}$'),
  quantity numeric(30, 12) not null,
  cost numeric(24, 6) not null,
  meta jsonb not null default '{}',
  created_at timestamptz not null
);
create index usage_logs_company on public.usage_logs (company_id, created_at);
comment on column public.usage_logs.resource_type is 'voice_inbound, voice_outbound, phone_number_rental, ...';
comment on column public.usage_logs.quantity is
  'minutes of calls: meta.billed_ms / 60000, to 12 decimals; else in the resource''s own unit';
comment on column public.usage_logs.cost is 'in the wallet''s currency''s smallest unit';
comment on column public.usage_logs.meta is
  'call_id, destination, price, billed_ms, basis, entry_id, ...; the caller''s own pairs under "meta"';

create function callgate.append_only() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception 'callgate: %.% is append-only', tg_table_schema, tg_table_name
    using errcode = 'insufficient_privilege';
end
$$;
create trigger append_only before update or delete or truncate on public.wallet_transactions
  for each statement execute function callgate.append_only();
create trigger append_only before update or delete or truncate on public.usage_logs
  for each statement execute function callgate.append_only();

-- Terms of a wallet.  The triggers name columns, so that a flush, which writes others, pays nothing.
create function callgate.wallet_versioned() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  new.terms_version := nextval('callgate.terms_version');
  return new;
end
$$;

create function callgate.wallet_changed() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform pg_catalog.pg_notify('callgate_terms', new.company_id::text);
  return null;
end
$$;

-- A subscription's status says whether its company may call.
create function callgate.subscription_changed() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  companies uuid[] := case tg_op
    when 'INSERT' then array[new.company_id]
    when 'DELETE' then array[old.company_id]
    else array[old.company_id, new.company_id] end;
begin
  update public.wallets set terms_version = nextval('callgate.terms_version')
   where company_id = any(companies);
  perform pg_catalog.pg_notify('callgate_terms', c::text) from unnest(companies) c;
  return null;
end
$$;

create trigger a_terms_lock
  before update of plan_id, frozen, low_balance_micros, low_balance_remaining_ms on public.wallets
  for each statement execute function callgate.terms_lock();
create trigger b_versioned
  before update of plan_id, frozen, low_balance_micros, low_balance_remaining_ms on public.wallets
  for each row execute function callgate.wallet_versioned();
create trigger c_changed
  after update of plan_id, frozen, low_balance_micros, low_balance_remaining_ms on public.wallets
  for each row execute function callgate.wallet_changed();
create trigger a_terms_lock before insert or update or delete on public.billing_subscriptions
  for each statement execute function callgate.terms_lock();
create trigger c_changed after insert or update or delete on public.billing_subscriptions
  for each row execute function callgate.subscription_changed();
