-- People, what they are in each tenant, and their sessions.

set role buildpeer_owner;

-- One person may belong to several tenants, so this table has no tenant; who may be seen follows from memberships.
create table people (
  person_id uuid primary key,
  email text not null check (email = lower(email) and length(email) between 3 and 254),
  name text not null check (length(name) between 1 and 200),
  locale text not null default 'es' check (locale in ('es', 'pt', 'en')),
  password_hash text not null,
  created_at timestamptz not null default now(),
  unique (email)
);

create table memberships (
  tenant_id uuid not null references tenants,
  person_id uuid not null references people,
  role text not null check (role in ('owner', 'manager', 'residente', 'inversionista', 'empleado_obra')),
  created_at timestamptz not null default now(),
  primary key (tenant_id, person_id)
);
create index memberships_person on memberships (person_id);

-- A refresh token names its session and generation; only the latest is good, and the one before for a minute.
create table sessions (
  person_id uuid not null references people,
  session_id uuid not null,
  tenant_id uuid not null,
  generation bigint not null default 0,
  rotated_at timestamptz not null default now(),
  created_at timestamptz not null default now(),
  ended_at timestamptz,
  primary key (person_id, session_id)
);

alter table people enable row level security;
alter table people force row level security;
alter table memberships enable row level security;
alter table memberships force row level security;
alter table sessions enable row level security;
alter table sessions force row level security;

create policy tenant on memberships to buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy own on memberships for select to buildpeer_app using (person_id = (select app.person_id()));
create policy system_reads on memberships for select to buildpeer_system using (true);
create policy member on tenants for select to buildpeer_app using (tenant_id in
  (select m.tenant_id from memberships m where m.person_id = (select app.person_id())));
create policy own on people for select to buildpeer_app using (person_id = (select app.person_id()));
create policy colleague on people for select to buildpeer_app, buildpeer_worker using (person_id in
  (select m.person_id from memberships m where m.tenant_id = (select app.tenant_id())));
create policy system_reads on people for select to buildpeer_system using (true);
create policy own on sessions to buildpeer_app
  using (person_id = (select app.person_id())) with check (person_id = (select app.person_id()));

grant select (person_id, email, name, locale) on people to buildpeer_app, buildpeer_worker;
grant select on memberships to buildpeer_app, buildpeer_worker, buildpeer_system;
grant select on people to buildpeer_system;
grant select, insert, update on sessions to buildpeer_app;

select audit.watch('memberships', 'person_id', '');
reset role;

-- Sign-in comes before any tenant or person is known, so one function looks a person up by e-mail.
set role buildpeer_system;
create function app.find_login(login_email text) returns table (person_id uuid, password_hash text)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select p.person_id, p.password_hash from public.people p where p.email = lower(login_email);
end;
revoke all on function app.find_login(text) from public;
grant execute on function app.find_login(text) to buildpeer_app;

-- What the caller is in the tenant of this transaction; null: nothing.
create function app.member_role() returns text language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select m.role from public.memberships m where m.tenant_id = app.tenant_id() and m.person_id = app.person_id();
end;
revoke all on function app.member_role() from public;
grant execute on function app.member_role() to buildpeer_app;
reset role;

-- Who was dismissed, or never belonged, sees no colleagues, whatever tenant the transaction names.
set role buildpeer_owner;
create policy colleague on memberships to buildpeer_app
  using (tenant_id = (select app.tenant_id()) and (select app.member_role()) is not null);
reset role;

set role buildpeer_audit;
create policy readers on audit.entries for select to buildpeer_app using
  (tenant_id = (select app.tenant_id()) and (select app.member_role()) in ('owner', 'manager'));
grant select on audit.entries to buildpeer_app;
reset role;
