-- Roles and schemas that the other migrations speak of.
-- SPDX-License-Identifier: Apache-2.0
--
-- On Supabase anon, authenticated, service_role and the schema auth exist; elsewhere they
-- are made here, so that the same files serve both.  The callgate_* roles are groups without
-- login: `create role gate login password '...' in role callgate_sidecar`.
-- Roles belong to the whole server: two databases may be migrated at once, so a role that
-- somebody else makes in this very moment is as good as ours.

create function pg_temp.role_if_absent(p_name text, p_options text) returns void
language plpgsql as $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = p_name) then
    execute format('create role %I nologin %s', p_name, p_options);
  end if;
exception
  when duplicate_object or unique_violation then
    null;
end
$$;

select pg_temp.role_if_absent('anon', ''),
       pg_temp.role_if_absent('authenticated', ''),
       pg_temp.role_if_absent('service_role', 'bypassrls'),
       pg_temp.role_if_absent('callgate_sidecar', ''),
       pg_temp.role_if_absent('callgate_operator', ''),
       pg_temp.role_if_absent('callgate_reader', '');

do $$
begin
  if not exists (select from pg_catalog.pg_namespace where nspname = 'auth') then
    create schema auth;
    grant usage on schema auth to anon, authenticated, service_role;
    create function auth.uid() returns uuid language sql stable as
      'select nullif(current_setting(''request.jwt.claim.sub'', true), '''')::uuid';
    create function auth.jwt() returns jsonb language sql stable as
      'select nullif(current_setting(''request.jwt.claims'', true), '''')::jsonb';
    comment on schema auth is 'stands in for Supabase''s where there is none';
  end if;
end
$$;

-- Not exposed over HTTP: what the ledger needs besides the roadmap's tables.
create schema callgate;
comment on schema callgate is 'callgate''s own: cursors, keys, receipts, plans, rates; not to be exposed';
revoke all on schema callgate from public;
