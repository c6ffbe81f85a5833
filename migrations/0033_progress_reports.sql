-- How far a site is, as planned and as measured, and what is reported of that to its investors.

set role buildpeer_owner;

-- The plan against which progress is measured: cumulative points over time, in percent and in money.
create table baselines (
  tenant_id uuid not null,
  project_id uuid not null,
  points jsonb not null,
  version bigint not null default 1,
  updated_by uuid not null,
  updated_at timestamptz not null default now(),
  primary key (tenant_id, project_id),
  foreign key (tenant_id, project_id) references projects
);

-- What was measured up to and with a day, cumulative.
create table progress_entries (
  tenant_id uuid not null,
  project_id uuid not null,
  measured_on date not null,
  physical double precision not null check (physical between 0 and 100), -- percent
  cost numeric(18, 2) check (cost >= 0), -- in the project's currency; null: not said
  comments text not null default '' check (length(comments) <= 2000),
  updated_by uuid not null,
  updated_at timestamptz not null default now(),
  primary key (tenant_id, project_id, measured_on),
  foreign key (tenant_id, project_id) references projects
);

create table progress_reports (
  tenant_id uuid not null,
  report_id uuid not null, -- made by the client
  project_id uuid not null,
  content jsonb not null, -- as it was composed
  corrects uuid, -- the published report in whose place it comes
  edition bigint not null default 1,
  version bigint not null default 1,
  digest bytea not null, -- of what was created, to know it again
  created_by uuid not null,
  created_at timestamptz not null default now(),
  page jsonb, -- what its readers see; null: a draft
  published_by uuid,
  published_at timestamptz,
  primary key (tenant_id, report_id),
  unique (tenant_id, project_id, report_id),
  foreign key (tenant_id, project_id) references projects,
  foreign key (tenant_id, project_id, corrects) references progress_reports (tenant_id, project_id, report_id),
  check ((published_at is null) = (page is null) and (published_by is null) = (page is null)),
  check ((corrects is null) = (edition = 1) and corrects <> report_id)
);
create index progress_reports_of_project on progress_reports (tenant_id, project_id, report_id desc);
-- Of two corrections of one report the first to be published is the correction.
create unique index progress_reports_corrected on progress_reports (tenant_id, corrects) where published_at is not null;

-- Who has opened a published report.
create table report_readings (
  tenant_id uuid not null,
  report_id uuid not null,
  person_id uuid not null,
  project_id uuid not null,
  first_at timestamptz not null,
  last_at timestamptz not null,
  times bigint not null default 1,
  primary key (tenant_id, report_id, person_id),
  foreign key (tenant_id, project_id, report_id) references progress_reports (tenant_id, project_id, report_id)
);

-- What was published stays, whoever it is; but for a company that is erased whole.
create function app.keep_published() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if old.published_at is null or new is not distinct from old then
    return case tg_op when 'DELETE' then old else new end;
  elsif tg_op = 'DELETE' and current_user = 'buildpeer_operator' then
    if app.is_being_erased() then
      return old;
    end if;
  end if;
  raise exception 'what was published stays as it was published' using errcode = 'restrict_violation';
end
$$;
create trigger stays before update or delete on progress_reports for each row execute function app.keep_published();

do $$
declare
  made regclass;
begin
  foreach made in array array['baselines', 'progress_entries', 'progress_reports', 'report_readings']::regclass[] loop
    execute format('alter table %s enable row level security', made);
    execute format('alter table %s force row level security', made);
    execute format('create policy tenant on %s to buildpeer_app, buildpeer_worker
      using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()))', made);
    execute format('create policy visible on %s as restrictive to buildpeer_app
      using (project_id = any ((select app.visible_projects())::uuid[]))
      with check (project_id = any ((select app.visible_projects())::uuid[]))', made);
    -- Opening a report is no change to what there is: people do so in a suspended tenant and an archived project as well.
    perform app.lives_with_tenant(made, made = 'report_readings'::regclass);
    if made <> 'report_readings'::regclass then
      perform app.lives_with_project(made);
    end if;
    execute format('grant select on %s to buildpeer_app, buildpeer_worker', made);
  end loop;
  -- Plans and measurements are for who composes reports. An investor sees what a published report says of them.
  foreach made in array array['baselines', 'progress_entries']::regclass[] loop
    execute format('create policy composers on %s as restrictive to buildpeer_app
      using ((select app.role()) in (''owner'', ''manager'', ''residente''))
      with check ((select app.role()) in (''owner'', ''manager'', ''residente''))', made);
  end loop;
end
$$;
create policy readers on progress_reports as restrictive to buildpeer_app
  using ((select app.role()) in ('owner', 'manager', 'residente')
    or ((select app.role()) = 'inversionista' and published_at is not null));
create policy composers on progress_reports as restrictive for insert to buildpeer_app
  with check ((select app.role()) in ('owner', 'manager') and created_by = (select app.person_id()));
create policy composers_changes on progress_reports as restrictive for update to buildpeer_app
  using ((select app.role()) in ('owner', 'manager'));
create policy managers on baselines as restrictive for insert to buildpeer_app
  with check ((select app.role()) in ('owner', 'manager'));
create policy managers_changes on baselines as restrictive for update to buildpeer_app
  using ((select app.role()) in ('owner', 'manager'));
-- Everybody sees and writes their own receipt; those who compose see all of them.
create policy own on report_readings as restrictive for select to buildpeer_app
  using (person_id = (select app.person_id()) or (select app.role()) in ('owner', 'manager'));
create policy own_only on report_readings as restrictive for insert to buildpeer_app
  with check (person_id = (select app.person_id()));
create policy own_change on report_readings as restrictive for update to buildpeer_app
  using (person_id = (select app.person_id()));

grant insert (tenant_id, project_id, points, updated_by, updated_at), update (points, version, updated_by, updated_at)
  on baselines to buildpeer_app;
grant insert (tenant_id, project_id, measured_on, physical, cost, comments, updated_by, updated_at),
  update (physical, cost, comments, updated_by, updated_at) on progress_entries to buildpeer_app;
grant insert (tenant_id, report_id, project_id, content, corrects, edition, digest, created_by, created_at),
  update (content, version, page, published_by, published_at) on progress_reports to buildpeer_app;
grant insert, update (last_at, times) on report_readings to buildpeer_app;

select audit.watch('baselines', 'project_id', 'version,updated_at');
select audit.watch('progress_entries', 'project_id,measured_on', 'updated_at');
select audit.watch('progress_reports', 'report_id', 'version');
select audit.watch('report_readings', 'report_id,person_id', '');

create policy system on progress_reports for select to buildpeer_system using (true);
grant select on progress_reports to buildpeer_system;
reset role;

set role buildpeer_system;
-- The photos of a report that the caller may read, also for an investor, who sees no other files; not those that were
-- locked away or erased since. Publishing a photo that was private shows it to the report's readers.
create function app.report_photos(wanted uuid)
  returns table (document_id uuid, name text, sha256 bytea, captured_at timestamptz, latitude double precision,
    longitude double precision, location_id uuid, thumbnail jsonb, preview jsonb)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select d.document_id, d.name, d.sha256, d.captured_at, d.latitude, d.longitude, d.location_id, d.thumbnail, d.preview
  from public.progress_reports r
    cross join jsonb_array_elements(r.content -> 'photos') as p (photo)
    join public.documents d on d.tenant_id = r.tenant_id and d.project_id = r.project_id
      and d.document_id = (p.photo ->> 'document_id')::uuid
  where r.tenant_id = app.tenant_id() and r.report_id = wanted and d.withdrawn_at is null
    and r.project_id = any (app.visible_projects())
    and (app.member_role() in ('owner', 'manager')
      or (app.member_role() in ('residente', 'inversionista') and r.published_at is not null)
      or (app.member_role() = 'residente' and not d.private
        and (d.album_id is null or d.album_id <> all (app.hidden_albums()))));
end;
revoke all on function app.report_photos(uuid) from public;
grant execute on function app.report_photos(uuid) to buildpeer_app;
reset role;
