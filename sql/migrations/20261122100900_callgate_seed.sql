-- The first plans and rates; `callgate plan` and `callgate rate` change them.
-- SPDX-License-Identifier: Apache-2.0

insert into callgate.plans (plan_id, credit_limit_micros, credit_unlimited, calls_max, longest_call_ms) values
  ('starter', 0, false, 10, 3600000),
  ('growth', 0, false, 50, 7200000),
  ('scale', 100000000, false, 250, 7200000),
  ('enterprise', 0, true, 5000, 14400000),
  ('legacy', 0, false, 10, 3600000);

-- Micros per minute in dollars, by direction and longest prefix; each plan pays a share of it,
-- and the naira's prices follow at 1 600 to the dollar.
insert into callgate.rates (plan_id, currency, resource_type, prefix, rate_micros_per_minute, increment_ms)
select p.plan_id, c.currency, r.resource_type, r.prefix, r.usd_micros * p.percent / 100 * c.per_usd, 1000
  from (values ('starter', 100), ('growth', 90), ('scale', 80), ('enterprise', 70), ('legacy', 100))
         as p(plan_id, percent)
 cross join (values ('usd', 1), ('ngn', 1600)) as c(currency, per_usd)
 cross join (values
         ('voice_inbound', '', 90000),
         ('voice_inbound', '+1', 80000),
         ('voice_outbound', '', 400000),
         ('voice_outbound', '+1', 100000),
         ('voice_outbound', '+33', 130000),
         ('voice_outbound', '+44', 120000),
         ('voice_outbound', '+447', 160000),
         ('voice_outbound', '+49', 130000),
         ('voice_outbound', '+91', 140000),
         ('voice_outbound', '+234', 220000),
         ('voice_outbound', '+27', 200000),
         ('voice_outbound', '+254', 240000)) as r(resource_type, prefix, usd_micros);
