-- What a project is, where in it things are, which companies work on it, and on which days.

set role buildpeer_owner;

alter table projects
  add column client text not null default '' check (length(client) <= 200),
  add column address text not null default '' check (length(address) <= 500),
  add column latitude double precision check (latitude between -90 and 90),
  add column longitude double precision check (longitude between -180 and 180),
  add column currency text not null default 'USD' check (currency ~ '^[A-Z]{3}$'), -- ISO 4217
  add column country text check (country in ('MX', 'CO', 'BR', 'CL', 'PE')), -- whose public holidays are kept; null: none
  add column phase text not null default 'construction'
    check (phase in ('bidding', 'preconstruction', 'construction', 'closeout', 'warranty')),
  add column starts_on date,
  add column ends_on date,
  -- squawk-ignore prefer-bigint-over-smallint
  add column rest_weekdays smallint[] not null default '{7}' -- ISO 8601: 1 is Monday
    check (rest_weekdays <@ '{1,2,3,4,5,6,7}' and not rest_weekdays @> '{1,2,3,4,5,6,7}'),
  add column version bigint not null default 1,
  add column archived_at timestamptz, -- null: people work on it
  -- squawk-ignore constraint-missing-not-valid
  add constraint projects_run_forwards check (ends_on >= starts_on);
grant insert (client, address, latitude, longitude, currency, country, phase, starts_on, ends_on, rest_weekdays),
  update (client, address, latitude, longitude, currency, country, phase, starts_on, ends_on, rest_weekdays, version,
    archived_at) on projects to buildpeer_app;
drop trigger audit_insert on projects;
drop trigger audit_delete on projects;
drop trigger audit_change on projects;
drop trigger audit_truncate on projects;
select audit.watch('projects', 'project_id', 'version');
reset role;

-- ---------------------------------------------------------------------------------------------------------------------
-- An archived project is read, and written by nobody who comes by the api, whatever door they come through.

set role buildpeer_system;
create function app.refuse_archived() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from touched r join public.projects p on p.tenant_id = r.tenant_id and p.project_id = r.project_id
    where p.archived_at is not null) then
    raise exception 'the project is archived' using errcode = 'BP002';
  end if;
  return null;
end
$$;
revoke all on function app.refuse_archived() from public;
grant execute on function app.refuse_archived() to buildpeer_owner;
reset role;

-- Binds a table whose rows belong to a project to the life of that project; every migration that makes one calls it.
create function app.lives_with_project(bound regclass) returns void language plpgsql set search_path = '' as $$
declare
  ending text := 'for each statement when (session_user = ''buildpeer_app'') execute function app.refuse_archived()';
begin
  execute format('create trigger archived_insert after insert on %s referencing new table as touched %s', bound, ending);
  execute format('create trigger archived_update after update on %s referencing new table as touched %s', bound, ending);
  execute format('create trigger archived_delete after delete on %s referencing old table as touched %s', bound, ending);
end
$$;
revoke all on function app.lives_with_project(regclass) from public;
grant execute on function app.lives_with_project(regclass) to buildpeer_owner;

set role buildpeer_owner;
-- What was being sent when the project was archived still arrives.
create trigger archived_insert after insert on uploads referencing new table as touched
  for each statement when (session_user = 'buildpeer_app') execute function app.refuse_archived();
select app.lives_with_project('documents');

create function app.keep_archived() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception 'the project is archived' using errcode = 'BP002';
end
$$;
create trigger archived before update on projects for each row
  when (old.archived_at is not null and new.archived_at is not null) execute function app.keep_archived();

-- ---------------------------------------------------------------------------------------------------------------------
-- What it may cost: kept apart, so that no row that a field worker reads holds it.

create table project_budgets (
  tenant_id uuid not null,
  project_id uuid not null,
  amount numeric(18, 2) not null check (amount >= 0), -- in the project's currency
  version bigint not null default 1,
  primary key (tenant_id, project_id),
  foreign key (tenant_id, project_id) references projects
);
alter table project_budgets enable row level security;
alter table project_budgets force row level security;
create policy tenant on project_budgets to buildpeer_app, buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy visible on project_budgets as restrictive to buildpeer_app
  using (project_id = any ((select app.visible_projects())::uuid[]))
  with check (project_id = any ((select app.visible_projects())::uuid[]));
create policy trusted on project_budgets as restrictive for select to buildpeer_app
  using ((select app.member_role()) in ('owner', 'manager', 'residente'));
create policy managed on project_budgets as restrictive for insert to buildpeer_app
  with check ((select app.member_role()) in ('owner', 'manager'));
create policy managed_changes on project_budgets as restrictive for update to buildpeer_app
  using ((select app.member_role()) in ('owner', 'manager'))
  with check ((select app.member_role()) in ('owner', 'manager'));
grant select, insert, update (amount, version) on project_budgets to buildpeer_app;
grant select on project_budgets to buildpeer_worker;
select audit.watch('project_budgets', 'project_id', 'version');
select app.lives_with_tenant('project_budgets');
select app.lives_with_project('project_budgets');

-- ---------------------------------------------------------------------------------------------------------------------
-- Where: a tree of places. Nothing is deleted, since things will have happened there.

create table locations (
  tenant_id uuid not null,
  project_id uuid not null,
  location_id uuid not null,
  parent_id uuid, -- null: at the top
  name text not null check (length(name) between 1 and 100),
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  archived_at timestamptz,
  primary key (tenant_id, project_id, location_id),
  foreign key (tenant_id, project_id) references projects,
  foreign key (tenant_id, project_id, parent_id) references locations on delete cascade
);
-- Two floors of a tower aren't called the same; what is archived gives its name free.
create unique index locations_names on locations (tenant_id, project_id, parent_id, lower(name)) nulls not distinct
  where archived_at is null;

-- A place lies in one other, never in itself, and no deeper than ten. Moves of a project wait for each other, so that two
-- of them, each right by itself, don't close a circle together.
create function app.keep_tree() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  above int := 0;
  below int := 1;
  here uuid := new.parent_id;
begin
  if here is null then
    return new;
  end if;
  perform pg_advisory_xact_lock(hashtextextended('locations ' || new.project_id, 0));
  while here is not null and above < 20 loop
    if here = new.location_id then
      raise exception 'a place would lie in itself' using errcode = 'BP003';
    end if;
    select l.parent_id into here from public.locations l
    where l.tenant_id = new.tenant_id and l.project_id = new.project_id and l.location_id = here;
    if not found then -- not even later in this statement
      raise exception 'a place lies in one that is there' using errcode = 'foreign_key_violation';
    end if;
    above := above + 1;
  end loop;
  if tg_op = 'UPDATE' then -- in a new place nothing lies
    with recursive down as (
      select new.location_id as location_id, 1 as depth
      union all
      select l.location_id, down.depth + 1 from down join public.locations l
        on l.tenant_id = new.tenant_id and l.project_id = new.project_id and l.parent_id = down.location_id
      where down.depth < 20
    )
    select max(depth) into below from down;
  end if;
  if above + below > 10 then
    raise exception 'places lie too deep' using errcode = 'BP004';
  end if;
  return new;
end
$$;
create trigger tree before insert or update of parent_id on locations for each row execute function app.keep_tree();
create index locations_children on locations (tenant_id, project_id, parent_id);

alter table locations enable row level security;
alter table locations force row level security;
create policy tenant on locations to buildpeer_app, buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy visible on locations as restrictive to buildpeer_app
  using ((select app.role() in ('owner', 'manager')) or project_id = any ((select app.visible_projects())::uuid[]))
  with check ((select app.role() in ('owner', 'manager')) or project_id = any ((select app.visible_projects())::uuid[]));
create policy managed on locations as restrictive for insert to buildpeer_app
  with check ((select app.member_role()) in ('owner', 'manager'));
create policy managed_changes on locations as restrictive for update to buildpeer_app
  using ((select app.member_role()) in ('owner', 'manager'))
  with check ((select app.member_role()) in ('owner', 'manager'));
grant select, insert (tenant_id, project_id, location_id, parent_id, name),
  update (parent_id, name, version, archived_at) on locations to buildpeer_app, buildpeer_worker;
select audit.watch('locations', 'location_id', 'version');
select app.lives_with_tenant('locations');
select app.lives_with_project('locations');

-- ---------------------------------------------------------------------------------------------------------------------
-- Who: companies and trades are the tenant's, so that work in several projects can be added up; a project says which
-- companies work on it. Whoever is in some projects sees the companies of those.

create table trades (
  tenant_id uuid not null references tenants,
  trade_id uuid not null,
  name text not null check (length(name) between 1 and 100),
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  archived_at timestamptz,
  primary key (tenant_id, trade_id)
);
create unique index trades_names on trades (tenant_id, lower(name)) where archived_at is null;

create table companies (
  tenant_id uuid not null references tenants,
  company_id uuid not null,
  name text not null check (length(name) between 1 and 200),
  tax_id text not null default '' check (length(tax_id) <= 32), -- RFC, NIT, CNPJ, RUT, RUC
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  archived_at timestamptz,
  primary key (tenant_id, company_id)
);
create unique index companies_names on companies (tenant_id, lower(name)) where archived_at is null;

create table project_companies (
  tenant_id uuid not null,
  project_id uuid not null,
  company_id uuid not null,
  duty text not null
    check (duty in ('client', 'contractor', 'subcontractor', 'supervision', 'design', 'supplier', 'other')),
  trade_id uuid,
  created_at timestamptz not null default now(),
  ended_at timestamptz, -- when it left the project
  primary key (tenant_id, project_id, company_id),
  foreign key (tenant_id, project_id) references projects,
  foreign key (tenant_id, company_id) references companies,
  foreign key (tenant_id, trade_id) references trades
);
create index project_companies_company on project_companies (tenant_id, company_id);

alter table project_members add column company_id uuid; -- for whom somebody works; null: the tenant itself
-- The column is new and empty, so there is nothing to look through.
-- squawk-ignore adding-foreign-key-constraint, constraint-missing-not-valid
alter table project_members add constraint project_members_company
  foreign key (tenant_id, project_id, company_id) references project_companies;
create policy managed_changes on project_members as restrictive for update to buildpeer_app
  using ((select app.member_role()) in ('owner', 'manager'))
  with check ((select app.member_role()) in ('owner', 'manager'));
grant insert (company_id), update (company_id) on project_members to buildpeer_app;

alter table trades enable row level security;
alter table trades force row level security;
alter table companies enable row level security;
alter table companies force row level security;
alter table project_companies enable row level security;
alter table project_companies force row level security;
create policy tenant on trades to buildpeer_app, buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy members on trades as restrictive for select to buildpeer_app
  using ((select app.member_role()) is not null);
create policy tenant on companies to buildpeer_app, buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy visible on companies as restrictive for select to buildpeer_app
  using ((select app.member_role()) in ('owner', 'manager') or exists (
    select from project_companies pc where pc.tenant_id = companies.tenant_id and pc.company_id = companies.company_id));
create policy tenant on project_companies to buildpeer_app, buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy visible on project_companies as restrictive to buildpeer_app
  using ((select app.role() in ('owner', 'manager')) or project_id = any ((select app.visible_projects())::uuid[]))
  with check ((select app.role() in ('owner', 'manager')) or project_id = any ((select app.visible_projects())::uuid[]));
do $$
declare
  managed regclass;
begin
  foreach managed in array array['trades', 'companies', 'project_companies']::regclass[] loop
    execute format('create policy managed on %s as restrictive for insert to buildpeer_app
      with check ((select app.member_role()) in (''owner'', ''manager''))', managed);
    execute format('create policy managed_changes on %s as restrictive for update to buildpeer_app
      using ((select app.member_role()) in (''owner'', ''manager''))
      with check ((select app.member_role()) in (''owner'', ''manager''))', managed);
    perform app.lives_with_tenant(managed);
  end loop;
end
$$;
grant select, insert (tenant_id, trade_id, name), update (name, version, archived_at) on trades
  to buildpeer_app, buildpeer_worker;
grant select, insert (tenant_id, company_id, name, tax_id), update (name, tax_id, version, archived_at) on companies
  to buildpeer_app, buildpeer_worker;
grant select, insert (tenant_id, project_id, company_id, duty, trade_id), update (duty, trade_id, ended_at)
  on project_companies to buildpeer_app, buildpeer_worker;
select audit.watch('trades', 'trade_id', 'version');
select audit.watch('companies', 'company_id', 'version');
select audit.watch('project_companies', 'project_id,company_id', '');
select app.lives_with_project('project_companies');

-- ---------------------------------------------------------------------------------------------------------------------
-- When: days that differ from what the country's holidays and the week's rest days say.

create table calendar_days (
  tenant_id uuid not null,
  project_id uuid not null,
  day date not null,
  works boolean not null,
  name text not null default '' check (length(name) <= 100),
  primary key (tenant_id, project_id, day),
  foreign key (tenant_id, project_id) references projects
);
alter table calendar_days enable row level security;
alter table calendar_days force row level security;
create policy tenant on calendar_days to buildpeer_app, buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy visible on calendar_days as restrictive to buildpeer_app
  using (project_id = any ((select app.visible_projects())::uuid[]))
  with check (project_id = any ((select app.visible_projects())::uuid[]));
create policy managed on calendar_days as restrictive for insert to buildpeer_app
  with check ((select app.member_role()) in ('owner', 'manager'));
create policy managed_changes on calendar_days as restrictive for update to buildpeer_app
  using ((select app.member_role()) in ('owner', 'manager'))
  with check ((select app.member_role()) in ('owner', 'manager'));
create policy managed_end on calendar_days as restrictive for delete to buildpeer_app
  using ((select app.member_role()) in ('owner', 'manager'));
grant select, insert, update (works, name), delete on calendar_days to buildpeer_app;
grant select on calendar_days to buildpeer_worker;
select audit.watch('calendar_days', 'project_id,day', '');
select app.lives_with_tenant('calendar_days');
select app.lives_with_project('calendar_days');

-- ---------------------------------------------------------------------------------------------------------------------
-- What it looks like. Other tables may point at a document of the very same project.

-- squawk-ignore disallowed-unique-constraint, constraint-missing-not-valid
alter table documents add constraint documents_of_project unique (tenant_id, project_id, document_id);

create table project_covers (
  tenant_id uuid not null,
  project_id uuid not null,
  document_id uuid not null,
  primary key (tenant_id, project_id),
  foreign key (tenant_id, project_id) references projects,
  foreign key (tenant_id, project_id, document_id) references documents (tenant_id, project_id, document_id)
    on delete cascade
);
alter table project_covers enable row level security;
alter table project_covers force row level security;
create policy tenant on project_covers to buildpeer_app, buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
-- A picture is a file, so whoever reads no files of the project has no cover either.
create policy visible on project_covers as restrictive to buildpeer_app
  using (project_id = any ((select app.file_projects())::uuid[]))
  with check (project_id = any ((select app.file_projects())::uuid[]));
create policy managed on project_covers as restrictive for insert to buildpeer_app
  with check ((select app.member_role()) in ('owner', 'manager'));
create policy managed_changes on project_covers as restrictive for update to buildpeer_app
  using ((select app.member_role()) in ('owner', 'manager'))
  with check ((select app.member_role()) in ('owner', 'manager'));
create policy managed_end on project_covers as restrictive for delete to buildpeer_app
  using ((select app.member_role()) in ('owner', 'manager'));
grant select, insert, update (document_id), delete on project_covers to buildpeer_app;
select audit.watch('project_covers', 'project_id', '');
select app.lives_with_tenant('project_covers');
select app.lives_with_project('project_covers');
reset role;
