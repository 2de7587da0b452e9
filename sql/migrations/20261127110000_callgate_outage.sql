-- What a plan admits while the store is away.
-- SPDX-License-Identifier: Apache-2.0
--
-- Columns with defaults alone: sidecars of the version before name the columns that they read.

alter table callgate.plans
  add column outage_policy text not null default 'deny' check (outage_policy in ('deny', 'allow')),
  add column outage_longest_ms integer not null default 600000 check (outage_longest_ms between 1000 and 604800000),
  add column outage_calls_max integer not null default 5 check (outage_calls_max between 0 and 1000);
comment on column callgate.plans.outage_policy is
  'while the store is out of reach or recovering: deny (Authorize is UNAVAILABLE), or allow (degraded: nothing is held, settled late)';
comment on column callgate.plans.outage_longest_ms is
  'allow: the longest that a call admitted so may last, where the plan''s longest call is not shorter';
comment on column callgate.plans.outage_calls_max is
  'allow: calls of one company admitted so and still running, per sidecar';
