-- Roles, the settings of a transaction, tenants.
--
-- buildpeer_owner   owns tables; nobody signs in as it
-- buildpeer_app     the api; buildpeer_worker the worker. They own nothing and can't bypass RLS.
-- buildpeer_system  owns the few functions that look across tenants or past a person's own view
-- buildpeer_audit   owns the audit trail
-- Passwords are set by whoever deploys, never here. Roles belong to the cluster, so they may exist already.

do $$
declare
  role_name text;
begin
  foreach role_name in array array['buildpeer_owner', 'buildpeer_system', 'buildpeer_audit'] loop
    if not exists (select from pg_catalog.pg_roles where rolname = role_name) then
      execute format('create role %I nologin noinherit nobypassrls', role_name);
    end if;
  end loop;
  foreach role_name in array array['buildpeer_app', 'buildpeer_worker'] loop
    if not exists (select from pg_catalog.pg_roles where rolname = role_name) then
      execute format('create role %I login noinherit nobypassrls', role_name);
    end if;
  end loop;
  execute format('grant buildpeer_owner, buildpeer_system, buildpeer_audit to %I', current_user);
end
$$;

-- A function looks for a type in pg_temp first unless its search_path names pg_temp last. Ours do, and nobody needs
-- temporary objects anyway.
do $$ begin execute format('revoke temporary on database %I from public', current_database()); end $$;

revoke all on schema public from public;
grant usage on schema public to buildpeer_app, buildpeer_worker, buildpeer_system, buildpeer_audit;
grant create, usage on schema public to buildpeer_owner;

create schema app authorization buildpeer_owner;
grant usage on schema app to buildpeer_app, buildpeer_worker, buildpeer_audit;
grant usage, create on schema app to buildpeer_system;

set role buildpeer_owner;
alter default privileges for role buildpeer_owner revoke execute on functions from public;
reset role;
alter default privileges for role buildpeer_system revoke execute on functions from public;
alter default privileges for role buildpeer_audit revoke execute on functions from public;

-- What a transaction is about. The db layer sets these in one statement at its start, for the transaction only.
set role buildpeer_owner;

create function app.tenant_id() returns uuid language sql stable parallel safe
  return nullif(current_setting('app.tenant_id', true), '')::uuid;
create function app.person_id() returns uuid language sql stable parallel safe
  return nullif(current_setting('app.person_id', true), '')::uuid;
create function app.request_id() returns text language sql stable parallel safe
  return nullif(current_setting('app.request_id', true), '');
grant execute on function app.tenant_id(), app.person_id(), app.request_id()
  to buildpeer_app, buildpeer_worker, buildpeer_system, buildpeer_audit;

create table tenants (
  tenant_id uuid primary key,
  name text not null check (length(name) between 1 and 200),
  data_region text not null default 'us-east-1',
  created_at timestamptz not null default now()
);
alter table tenants enable row level security;
alter table tenants force row level security;
create policy tenant on tenants to buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
grant select on tenants to buildpeer_app, buildpeer_worker;

reset role;
