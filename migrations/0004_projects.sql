-- Projects and who works on them.

set role buildpeer_owner;

create table projects (
  tenant_id uuid not null references tenants,
  project_id uuid not null,
  code text not null check (length(code) between 1 and 32),
  name text not null check (length(name) between 1 and 200),
  timezone text not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, project_id),
  unique (tenant_id, code)
);

create table project_members (
  tenant_id uuid not null,
  project_id uuid not null,
  person_id uuid not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, project_id, person_id),
  foreign key (tenant_id, project_id) references projects,
  foreign key (tenant_id, person_id) references memberships
);
create index project_members_person on project_members (tenant_id, person_id);

alter table projects enable row level security;
alter table projects force row level security;
alter table project_members enable row level security;
alter table project_members force row level security;

create policy system_reads on projects for select to buildpeer_system using (true);
create policy system_reads on project_members for select to buildpeer_system using (true);
grant select on projects, project_members to buildpeer_system;
reset role;

-- Both read past the policies that call them, which would otherwise recurse.
set role buildpeer_system;

-- The projects that the caller belongs to; owners and managers belong to all of their tenant.
create function app.visible_projects() returns uuid[] language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select coalesce(array_agg(p.project_id), '{}')
  from public.memberships m join public.projects p on p.tenant_id = m.tenant_id
  where m.tenant_id = app.tenant_id() and m.person_id = app.person_id()
    and (m.role in ('owner', 'manager') or exists (
      select from public.project_members pm
      where pm.tenant_id = m.tenant_id and pm.project_id = p.project_id and pm.person_id = m.person_id));
end;

-- The projects whose files the caller may read. An investor sees a file when it is published, and nothing is yet.
create function app.file_projects() returns uuid[] language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select case when app.member_role() = 'inversionista' then '{}'::uuid[] else app.visible_projects() end;
end;
revoke all on function app.visible_projects(), app.file_projects() from public;
grant execute on function app.visible_projects(), app.file_projects() to buildpeer_app;
reset role;

set role buildpeer_owner;
create policy tenant on projects to buildpeer_app, buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy visible on projects as restrictive to buildpeer_app
  using (project_id = any ((select app.visible_projects())::uuid[]))
  with check (project_id = any ((select app.visible_projects())::uuid[]));
create policy tenant on project_members to buildpeer_app, buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy visible on project_members as restrictive to buildpeer_app
  using (project_id = any ((select app.visible_projects())::uuid[]))
  with check (project_id = any ((select app.visible_projects())::uuid[]));

grant select on projects, project_members to buildpeer_app, buildpeer_worker;

select audit.watch('projects', 'project_id', '');
select audit.watch('project_members', 'project_id,person_id', '');
reset role;
