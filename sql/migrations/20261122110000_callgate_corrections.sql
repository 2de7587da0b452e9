-- How often a call that does not end is told that its wallet is exhausted.
-- SPDX-License-Identifier: Apache-2.0
--
-- A correction needs nothing new: callgate.flush() books every entry that names a resource in
-- usage_logs, an adjustment like a usage.

alter table callgate.plans
  add column cut_repeat_ms integer not null default 5000 check (cut_repeat_ms between 1000 and 3600000);
comment on column callgate.plans.cut_repeat_ms is 'CUT_OFF again after this long, until the call is settled or the wallet credited';

comment on table public.usage_logs is
  'a row for every call and charge, and one with the differences for every call corrected (meta.correction)';
comment on column public.usage_logs.quantity is
  'minutes of calls: billed milliseconds / 60000, to 12 decimals, of a correction the difference;'
  ' else in the resource''s own unit';
comment on column callgate.quarantine.raw is 'the entry as it came, where text could not hold it';
