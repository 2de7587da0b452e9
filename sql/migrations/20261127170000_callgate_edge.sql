-- What callgate-edge keeps: whose number is whose, what the voice provider said, each call's way to its
-- charge, and what a person should look at.  No money: the gate alone moves any.
-- SPDX-License-Identifier: Apache-2.0

do $$
begin
  create role callgate_edge nologin;
exception when duplicate_object or unique_violation then
  null;
end
$$;

-- The gate of inbound calls: the company is found by the provider's phone number id.
create table callgate.edge_numbers (
  phone_number_id text collate "C" primary key check (phone_number_id ~ '^[!-~]{1,64}$'),
  number text collate "C" not null check (number ~ '^\+[1-9][0-9]{1,14}$'),
  company_id uuid not null references public.companies,
  assistant_id text collate "C" check (assistant_id ~ '^[!-~]{1,64}$'),
  upstream_url text check (upstream_url ~ '^https?://[!-~]+$' and length(upstream_url) <= 500),
  transfer_to text collate "C" check (transfer_to ~ '^\+[1-9][0-9]{1,14}$'),
  language text collate "C" not null default 'en' check (language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$'),
  allow_transfer boolean not null default false,
  outage_seconds integer not null default 0 check (outage_seconds = 0 or outage_seconds between 10 and 43200),
  created_at timestamptz not null default now(),
  check (num_nonnulls(assistant_id, upstream_url) = 1)
);
create index edge_numbers_number on callgate.edge_numbers (number);
create index edge_numbers_company on callgate.edge_numbers (company_id);
comment on table callgate.edge_numbers is 'phone numbers whose calls pass the gate';
comment on column callgate.edge_numbers.assistant_id is 'who answers an admitted call';
comment on column callgate.edge_numbers.upstream_url is
  'or the company''s own handler, which callgate-edge stands before';
comment on column callgate.edge_numbers.transfer_to is 'where refused calls go; null: the caller hears a sentence';
comment on column callgate.edge_numbers.allow_transfer is
  'the upstream handler may forward calls: nobody reports how long those talk';
comment on column callgate.edge_numbers.outage_seconds is
  'while the gate cannot be asked: 0 refuses, else calls are admitted with this limit and settled late';

-- What a caller hears.  Looked for by company and language, company, language, neither.
create table callgate.edge_sentences (
  id bigint generated always as identity primary key,
  company_id uuid references public.companies,
  language text collate "C" check (language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$'),
  situation text collate "C" not null check (situation in ('insufficient_funds', 'concurrency_limit',
    'suspended', 'no_price', 'barred', 'unavailable', 'unknown_number', 'transfer', 'warning', 'goodbye')),
  sentence text not null check (length(sentence) between 1 and 400 and sentence !~ '[[:cntrl:]]')
);
create unique index edge_sentences_key on callgate.edge_sentences
  (coalesce(company_id, '00000000-0000-0000-0000-000000000000'), coalesce(language, ''), situation);
comment on table callgate.edge_sentences is 'sentences in place of those that callgate-edge has itself';

-- Numbers and sentences are read anew when this changes.
create table callgate.edge_version (
  only_row boolean primary key default true check (only_row),
  version bigint not null default 1
);
insert into callgate.edge_version default values;
create function callgate.edge_changed() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update callgate.edge_version set version = version + 1;
  return null;
end
$$;
create trigger changed after insert or update or delete or truncate on callgate.edge_numbers
  for each statement execute function callgate.edge_changed();
create trigger changed after insert or update or delete or truncate on callgate.edge_sentences
  for each statement execute function callgate.edge_changed();

-- Webhooks as they came, without what is not needed (transcripts).  The provider numbers none.
create table callgate.edge_events (
  id bigint generated always as identity primary key,
  dedupe_key text collate "C" not null,
  call_id text collate "C" not null,
  type text collate "C" not null,
  status text collate "C" not null,
  sent_at timestamptz,
  content jsonb not null,
  deliveries integer not null default 1,
  outcome text,
  received_at timestamptz not null default now(),
  done_at timestamptz
);
create unique index edge_events_key on callgate.edge_events (dedupe_key);
create index edge_events_call on callgate.edge_events (call_id);
create index edge_events_received on callgate.edge_events (received_at);
comment on table callgate.edge_events is 'each webhook once; outcome null: its effect is owed';

create table callgate.edge_calls (
  call_id text collate "C" primary key,
  company_id uuid,
  kind text collate "C" not null default '',
  state text collate "C" not null check (state in ('admitted', 'running', 'ended', 'closed')),
  phone_number_id text collate "C",
  name text collate "C",
  resource_type text collate "C",
  destination text collate "C",
  granted_ms bigint,
  is_degraded boolean not null default false,
  is_connected boolean not null default false,
  started_at_ms bigint,
  ended_at_ms bigint,
  ended_reason text,
  outcome text,
  looks integer not null default 0,
  look_at timestamptz not null default now() + interval '2 minutes',
  created_at timestamptz not null default now(),
  closed_at timestamptz
);
create index edge_calls_due on callgate.edge_calls (look_at) where state <> 'closed';
create index edge_calls_company on callgate.edge_calls (company_id, created_at);
create index edge_calls_name on callgate.edge_calls (name) where name is not null;
comment on table callgate.edge_calls is 'what is known of a call at the provider; the gate has its money';
comment on column callgate.edge_calls.look_at is 'when the provider is asked for it, should nobody have reported it';

-- Who has a control URL controls the call: nobody but the edge reads them, and they go with the call.
create table callgate.edge_controls (
  call_id text collate "C" primary key references callgate.edge_calls on delete cascade,
  url text not null
);

create table callgate.edge_reviews (
  id bigint generated always as identity primary key,
  call_id text collate "C" not null,
  company_id uuid,
  what text collate "C" not null,
  said_ms bigint,
  charged_ms bigint,
  granted_ms bigint,
  detail text,
  created_at timestamptz not null default now(),
  resolved_at timestamptz,
  resolved_by text,
  note text
);
create unique index edge_reviews_key on callgate.edge_reviews (call_id, what);
create index edge_reviews_open on callgate.edge_reviews (created_at) where resolved_at is null;
comment on table callgate.edge_reviews is 'what a person should look at; one row for each call and reason';

-- The numbers and sentences, unless p_known is their version.
create function callgate.edge_settings_read(p_known bigint,
    out ret_version bigint, out ret_numbers jsonb, out ret_sentences jsonb)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  select v.version into ret_version from callgate.edge_version v;
  if ret_version = p_known then
    return;
  end if;
  select coalesce(jsonb_agg(jsonb_strip_nulls(to_jsonb(n) - 'created_at')), '[]') into ret_numbers
    from callgate.edge_numbers n;
  select coalesce(jsonb_agg(jsonb_strip_nulls(to_jsonb(s) - 'id')), '[]') into ret_sentences
    from callgate.edge_sentences s;
end
$$;

create type callgate.edge_call as (
  event_id bigint, event_done boolean, call_id text, company_id uuid, kind text, state text,
  resource_type text, destination text, granted_ms bigint, is_degraded boolean, is_connected boolean,
  started_at_ms bigint, ended_at_ms bigint, control_url text, looks integer, name text,
  phone_number_id text, created_at_ms bigint
);

-- By the provider's id, or by the name that we gave it, which the gate has as its id.  Until the provider
-- has told its own id a call's row has the name for one.
create function callgate.edge_call_row(p_call text) returns setof callgate.edge_call
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select null::bigint, null::boolean, c.call_id, c.company_id, c.kind, c.state, c.resource_type, c.destination,
         c.granted_ms, c.is_degraded, c.is_connected, c.started_at_ms, c.ended_at_ms, k.url, c.looks, c.name,
         c.phone_number_id, callgate.to_ms(c.created_at)
    from callgate.edge_calls c left join callgate.edge_controls k on k.call_id = c.call_id
   where c.call_id = p_call or c.name = p_call order by coalesce(c.call_id = c.name, false) limit 1
$$;

-- Writes what is new about a call; null leaves what is there.  A call never goes back, and a closed
-- one stays so.  What is told of a state that it has left behind puts no look off.
create function callgate.edge_call_note(p_call text, p_state text, p_company uuid, p_kind text,
    p_phone_number_id text, p_name text, p_resource text, p_destination text, p_granted_ms bigint,
    p_degraded boolean, p_connected boolean, p_started_at_ms bigint, p_ended_at_ms bigint,
    p_ended_reason text, p_control_url text, p_outcome text, p_look_in_ms bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into callgate.edge_calls as c (call_id, company_id, kind, state, phone_number_id, name, resource_type,
      destination, granted_ms, is_degraded, is_connected, started_at_ms, ended_at_ms, ended_reason, outcome,
      look_at, closed_at)
  values (p_call, p_company, coalesce(p_kind, ''), p_state, p_phone_number_id, p_name, p_resource, p_destination,
      p_granted_ms, coalesce(p_degraded, false), coalesce(p_connected, false), p_started_at_ms, p_ended_at_ms,
      p_ended_reason, p_outcome, now() + coalesce(p_look_in_ms, 120000) * interval '1 millisecond',
      case when p_state = 'closed' then now() end)
  on conflict (call_id) do update set
      company_id = coalesce(c.company_id, excluded.company_id),
      kind = case when c.kind = '' then excluded.kind else c.kind end,
      state = case when array_position(array['admitted', 'running', 'ended', 'closed'], excluded.state)
                      > array_position(array['admitted', 'running', 'ended', 'closed'], c.state)
                   then excluded.state else c.state end,
      phone_number_id = coalesce(c.phone_number_id, excluded.phone_number_id),
      name = coalesce(c.name, excluded.name),
      resource_type = coalesce(c.resource_type, excluded.resource_type),
      destination = coalesce(c.destination, excluded.destination),
      granted_ms = coalesce(c.granted_ms, excluded.granted_ms),
      is_degraded = c.is_degraded or excluded.is_degraded,
      is_connected = c.is_connected or excluded.is_connected,
      started_at_ms = coalesce(excluded.started_at_ms, c.started_at_ms),
      ended_at_ms = coalesce(excluded.ended_at_ms, c.ended_at_ms),
      ended_reason = coalesce(excluded.ended_reason, c.ended_reason),
      outcome = coalesce(excluded.outcome, c.outcome),
      look_at = case when p_look_in_ms is null then c.look_at
                     when array_position(array['admitted', 'running', 'ended', 'closed'], excluded.state)
                            < array_position(array['admitted', 'running', 'ended', 'closed'], c.state)
                     then least(c.look_at, excluded.look_at) else excluded.look_at end,
      closed_at = coalesce(c.closed_at, excluded.closed_at);
  if p_control_url is not null and p_state <> 'closed' then
    insert into callgate.edge_controls as k (call_id, url) values (p_call, p_control_url)
    on conflict (call_id) do update set url = excluded.url where k.url <> excluded.url;
  elsif p_state = 'closed' then
    delete from callgate.edge_controls k where k.call_id = p_call;
  end if;
end
$$;

-- Keeps a webhook, notes what it says about its call, and answers what is known of that.  From here on
-- the provider is asked for the call in p_look_in_ms, whatever becomes of whoever took the webhook.  A
-- repetition is counted.
create function callgate.edge_event_take(p_dedupe_key text, p_call text, p_type text, p_status text,
    p_sent_at_ms bigint, p_content jsonb, p_state text, p_company uuid, p_kind text, p_phone_number_id text,
    p_resource text, p_destination text, p_control_url text, p_ended_reason text, p_look_in_ms bigint,
    p_name text)
returns setof callgate.edge_call
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  event record;
  known callgate.edge_call;
begin
  insert into callgate.edge_events as e (dedupe_key, call_id, type, status, sent_at, content)
  values (p_dedupe_key, p_call, p_type, p_status,
      case when p_sent_at_ms > 0 then callgate.to_instant(p_sent_at_ms) end, p_content)
  on conflict (dedupe_key) do update set deliveries = e.deliveries + 1
  returning e.id, e.done_at is not null as is_done into event;
  if p_state is not null and not event.is_done then
    perform callgate.edge_call_note(p_call, p_state, p_company, p_kind, p_phone_number_id, p_name, p_resource,
      p_destination, null, null, p_state = 'running', null, null, p_ended_reason, p_control_url, null,
      p_look_in_ms);
  end if;
  select r.* into known from callgate.edge_call_row(p_call) r;
  known.event_id := event.id;
  known.event_done := event.is_done;
  return next known;
end
$$;

create function callgate.edge_event_done(p_event bigint, p_outcome text) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
  update callgate.edge_events e set done_at = now(), outcome = p_outcome
   where e.id = p_event and e.done_at is null
$$;

-- Calls that want a look, taken by one edge for p_turn_ms: others leave them alone meanwhile.
create function callgate.edge_calls_due(p_limit integer, p_turn_ms bigint) returns setof callgate.edge_call
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  due text;
begin
  for due in
    update callgate.edge_calls c
       set look_at = now() + p_turn_ms * interval '1 millisecond', looks = c.looks + 1
     where c.call_id in (select d.call_id from callgate.edge_calls d
                          where d.state <> 'closed' and d.look_at <= now()
                          order by d.look_at limit p_limit for update skip locked)
    returning c.call_id
  loop
    return query select r.* from callgate.edge_call_row(due) r;
  end loop;
end
$$;

-- Of the provider's calls, those that nobody here has heard of, and those that have ended there and are
-- not known to have.
create function callgate.edge_calls_missed(p_calls text[], p_ended boolean[],
    out ret_call text, out ret_known boolean) returns setof record
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select p.call_id, c.call_id is not null
    from unnest(p_calls, p_ended) as p(call_id, has_ended)
    left join callgate.edge_calls c on c.call_id = p.call_id
   where c.call_id is null or (p.has_ended and c.state in ('admitted', 'running'))
$$;

create function callgate.edge_review_put(p_call text, p_what text, p_company uuid, p_said_ms bigint,
    p_charged_ms bigint, p_granted_ms bigint, p_detail text) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
  insert into callgate.edge_reviews (call_id, what, company_id, said_ms, charged_ms, granted_ms, detail)
  values (p_call, p_what, p_company, p_said_ms, p_charged_ms, p_granted_ms, p_detail)
  on conflict (call_id, what) do nothing
$$;

create function callgate.edge_review_resolve(p_id bigint, p_note text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  update callgate.edge_reviews r set resolved_at = now(), resolved_by = session_user, note = p_note
   where r.id = p_id and r.resolved_at is null;
  return found;
end
$$;

-- Removes what is older than p_days of what is finished, a bounded amount at a time.  How much.
create function callgate.edge_trim(p_days integer, p_limit integer) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  gone bigint;
  more bigint;
begin
  delete from callgate.edge_events e where e.id in (
    select o.id from callgate.edge_events o
     where o.received_at < now() - p_days * interval '1 day' order by o.received_at limit p_limit);
  get diagnostics gone = row_count;
  delete from callgate.edge_calls c where c.call_id in (
    select o.call_id from callgate.edge_calls o
     where o.state = 'closed' and o.closed_at < now() - p_days * interval '1 day' limit p_limit);
  get diagnostics more = row_count;
  return gone + more;
end
$$;

-- What calls were sold for, and what the provider asked for them, per company and day of UTC.  The
-- provider asks in US dollars: in another currency there is no margin to tell.
create function callgate.margin_report(p_from timestamptz, p_to timestamptz, p_company uuid)
returns table (company_id uuid, day date, currency text, calls bigint, cost_micros bigint,
    provider_calls bigint, provider_cost_micros bigint, margin_micros bigint, below_cost_calls bigint)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with usage as (
    select u.company_id, (u.created_at at time zone 'UTC')::date as day, w.currency,
           callgate.to_micros(u.cost, w.currency) as cost, not u.meta ? 'correction' as is_call,
           case when u.meta -> 'meta' ->> 'provider_cost_micros' ~ '^[0-9]{1,15}$'
                then (u.meta -> 'meta' ->> 'provider_cost_micros')::bigint end as asked
      from public.usage_logs u join public.wallets w on w.company_id = u.company_id
     where u.created_at >= p_from and u.created_at < p_to and u.meta ? 'call_id'
       and (p_company is null or u.company_id = p_company)
  )
  select u.company_id, u.day, u.currency, count(*) filter (where u.is_call), sum(u.cost)::bigint, count(u.asked),
         coalesce(sum(u.asked), 0)::bigint,
         case when u.currency = 'usd'
              then coalesce(sum(u.cost) filter (where u.asked is not null), 0)::bigint
                     - coalesce(sum(u.asked), 0)::bigint end,
         case when u.currency = 'usd' then count(*) filter (where u.cost < u.asked) end
    from usage u group by u.company_id, u.day, u.currency order by u.day, u.company_id
$$;

revoke all on callgate.edge_numbers, callgate.edge_sentences, callgate.edge_version, callgate.edge_events,
    callgate.edge_calls, callgate.edge_controls, callgate.edge_reviews
  from public, anon, authenticated, service_role;
revoke all on function callgate.edge_changed(), callgate.edge_settings_read(bigint), callgate.edge_call_row(text),
    callgate.edge_call_note(text, text, uuid, text, text, text, text, text, bigint, boolean, boolean, bigint,
      bigint, text, text, text, bigint),
    callgate.edge_event_take(text, text, text, text, bigint, jsonb, text, uuid, text, text, text, text, text,
      text, bigint, text), callgate.edge_event_done(bigint, text),
    callgate.edge_calls_due(integer, bigint), callgate.edge_calls_missed(text[], boolean[]),
    callgate.edge_review_put(text, text, uuid, bigint, bigint, bigint, text),
    callgate.edge_review_resolve(bigint, text), callgate.edge_trim(integer, integer),
    callgate.margin_report(timestamptz, timestamptz, uuid)
  from public, anon, authenticated, service_role;

grant usage on schema callgate to callgate_edge;
grant execute on function callgate.edge_settings_read(bigint), callgate.edge_call_row(text),
    callgate.edge_call_note(text, text, uuid, text, text, text, text, text, bigint, boolean, boolean, bigint,
      bigint, text, text, text, bigint),
    callgate.edge_event_take(text, text, text, text, bigint, jsonb, text, uuid, text, text, text, text, text,
      text, bigint, text), callgate.edge_event_done(bigint, text),
    callgate.edge_calls_due(integer, bigint), callgate.edge_calls_missed(text[], boolean[]),
    callgate.edge_review_put(text, text, uuid, bigint, bigint, bigint, text), callgate.edge_trim(integer, integer)
  to callgate_edge;
grant select on callgate.edge_numbers, callgate.edge_sentences, callgate.edge_events, callgate.edge_calls,
    callgate.edge_reviews to callgate_operator, callgate_reader;
grant insert, update, delete on callgate.edge_numbers, callgate.edge_sentences to callgate_operator;
grant execute on function callgate.edge_review_resolve(bigint, text) to callgate_operator;
grant execute on function callgate.margin_report(timestamptz, timestamptz, uuid)
  to callgate_operator, callgate_reader;
