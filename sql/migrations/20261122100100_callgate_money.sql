-- Micros (millionths of the major unit, integers, what callgate computes in) to and from the
-- currency's smallest unit (what the roadmap's tables hold), exactly.
-- SPDX-License-Identifier: Apache-2.0

-- ISO 4217's exceptions from two decimals.
create function callgate.minor_digits(p_currency text) returns integer
language sql immutable parallel safe
return case
  when p_currency in ('usd', 'eur', 'ngn', 'gbp') then 2 -- most wallets: found first
  when p_currency in ('bif', 'clp', 'djf', 'gnf', 'isk', 'jpy', 'kmf', 'krw', 'pyg', 'rwf', 'ugx',
                      'uyi', 'vnd', 'vuv', 'xaf', 'xof', 'xpf') then 0
  when p_currency in ('bhd', 'iqd', 'jod', 'kwd', 'lyd', 'omr', 'tnd') then 3
  when p_currency in ('clf', 'uyw') then 4
  else 2
end;

-- How many of the smallest unit one micro is: a finite decimal, so multiplying is exact.
create function callgate.units_per_micro(p_currency text) returns numeric
language sql immutable parallel safe
return case callgate.minor_digits(p_currency)
  when 2 then 0.0001
  when 0 then 0.000001
  when 3 then 0.001
  else 0.01
end;

create function callgate.micros_per_unit(p_currency text) returns numeric
language sql immutable parallel safe
return case callgate.minor_digits(p_currency)
  when 2 then 10000
  when 0 then 1000000
  when 3 then 1000
  else 100
end::numeric;

create function callgate.to_units(p_micros bigint, p_currency text) returns numeric
language sql immutable parallel safe
return p_micros * callgate.units_per_micro(p_currency);

create function callgate.to_micros(p_units numeric, p_currency text) returns bigint
language sql immutable parallel safe
return (p_units * callgate.micros_per_unit(p_currency))::bigint;

-- Instants travel as milliseconds since 1970.
create function callgate.to_instant(p_at_ms bigint) returns timestamptz
language sql immutable parallel safe
return to_timestamp(p_at_ms / 1000.0::double precision);

create function callgate.to_ms(p_at timestamptz) returns bigint
language sql stable parallel safe
return floor(extract(epoch from p_at) * 1000)::bigint;
