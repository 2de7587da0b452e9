-- What the flush needs: cursors, keys, receipts, and places for what does not fit.
-- SPDX-License-Identifier: Apache-2.0

create table callgate.deployment (
  only_row boolean primary key default true check (only_row),
  id uuid not null default gen_random_uuid(),
  partitions integer not null check (partitions between 1 and 4096),
  created_at timestamptz not null default now()
);
comment on table callgate.deployment is 'made at the first start; never changed';

-- One row per partition: the fence.  Two flushers cannot both apply a batch.
create table callgate.cursors (
  partition integer primary key,
  epoch bigint not null,
  last_epoch bigint not null default 0,
  last_n bigint not null default 0,
  served bigint not null default 0,
  turn_until timestamptz not null default '-infinity',
  updated_at timestamptz not null default now()
) with (fillfactor = 50);
comment on column callgate.cursors.epoch is 'in force, or being recovered';
comment on column callgate.cursors.last_n is 'with last_epoch: the last entry that is in the ledger';
comment on column callgate.cursors.served is 'the last epoch that was served';
comment on column callgate.cursors.turn_until is 'somebody recovers it until then; spares duels, safety does not rest on it';

-- Unique for ever, whatever becomes of the ledger tables.
create table callgate.keys (
  company_id uuid not null,
  type text collate "C" not null,
  reference_id text collate "C" not null,
  entry_id text collate "C" not null,
  created_at timestamptz not null,
  primary key (company_id, type, reference_id)
);
comment on column callgate.keys.created_at is 'of the rows of this entry: finds them in a partitioned ledger';
create trigger append_only before update or delete or truncate on callgate.keys
  for each statement execute function callgate.append_only();

-- The durable fact that money came.
create table callgate.receipts (
  id bigint generated always as identity primary key,
  company_id uuid not null,
  type text collate "C" not null
    check (type in ('top_up', 'monthly_grant', 'bonus', 'refund', 'adjustment')),
  reference_id text collate "C" not null,
  amount_micros bigint not null check (amount_micros <> 0),
  description text,
  asked_by text,
  created_at timestamptz not null default now(),
  entry_id text collate "C",
  unique (company_id, type, reference_id)
);
create unique index receipts_top_up on callgate.receipts (reference_id) where type = 'top_up';
create index receipts_waiting on callgate.receipts (created_at) where entry_id is null;
create index receipts_waiting_of on callgate.receipts (company_id) where entry_id is null;
comment on column callgate.receipts.entry_id is 'the entry by which it was applied; null: it waits';

-- Entries that do not fit: kind wallet (it and every later entry of that wallet, in order),
-- or payload (its money went through without description and meta).
create table callgate.quarantine (
  id bigint generated always as identity primary key,
  kind text not null check (kind in ('wallet', 'payload')),
  entry_id text collate "C" not null,
  company_id uuid not null,
  version bigint not null,
  type text collate "C" not null,
  amount_micros bigint not null,
  balance_after_micros bigint not null,
  at_ms bigint not null,
  reference_id text collate "C",
  description text,
  resource_type text,
  quantity bigint,
  is_charge boolean,
  meta jsonb,
  raw bytea,
  reason text not null,
  created_at timestamptz not null default now()
);
create unique index quarantine_entry on callgate.quarantine (entry_id, kind);
create index quarantine_wallet on callgate.quarantine (company_id, version) where kind = 'wallet';
create index quarantine_key on callgate.quarantine (company_id, type, reference_id) where kind = 'wallet';
comment on column callgate.quarantine.raw is 'reference, description and meta as they came, where text could not hold them';

-- The stream of a history that turned out not to be the latest, for people.
create table callgate.orphans (
  partition integer not null,
  entry_id text collate "C" not null,
  company_id uuid not null,
  version bigint not null,
  type text collate "C" not null,
  amount_micros bigint not null,
  balance_after_micros bigint not null,
  at_ms bigint not null,
  reference_id bytea not null,
  recovered_epoch bigint not null,
  created_at timestamptz not null default now(),
  primary key (entry_id, recovered_epoch)
);
