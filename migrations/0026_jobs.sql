-- Long work that people order: exports, archives, imports. And news for one person alone.

-- ---------------------------------------------------------------------------------------------------------------------
-- News belong to a project, or to a person.

set role buildpeer_owner;
alter table outbox add column person_id uuid;
alter table event_log add column person_id uuid; -- null: for whoever sees the project
-- squawk-ignore ban-drop-not-null
alter table event_log alter column project_id drop not null;
-- squawk-ignore ban-drop-constraint
alter table outbox drop constraint outbox_check;
-- squawk-ignore constraint-missing-not-valid
alter table outbox add constraint outbox_is_for_somebody
  check (destination <> 'log' or project_id is not null or person_id is not null);
alter policy visible on event_log using (
  person_id = (select app.person_id())
  or (person_id is null and project_id = any ((select app.file_projects())::uuid[])));
alter policy tenant on outbox with check (tenant_id = (select app.tenant_id()) and destination = 'log'
  and (person_id = (select app.person_id()) or project_id = any ((select app.visible_projects())::uuid[])));
reset role;

set role buildpeer_system;
-- As before, with the person whom the news is for.
create or replace function app.relay_log(max_rows int) returns table (tenant_id uuid, "position" bigint)
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  last bigint;
begin
  if not exists (select from public.outbox o where o.destination = 'log') then
    return;
  end if;
  select h.position into last from public.event_log_head h for update skip locked;
  if last is null then
    return;
  end if;
  return query
  with taken as (
    delete from public.outbox o
    where (o.tenant_id, o.outbox_id) in (
      select q.tenant_id, q.outbox_id from public.outbox q where q.destination = 'log' order by q.outbox_id limit max_rows)
    returning o.*
  ), logged as (
    insert into public.event_log (tenant_id, position, project_id, person_id, type, body, occurred_at)
    select t.tenant_id, last + row_number() over (order by t.outbox_id), t.project_id, t.person_id, t.type, t.body,
      t.occurred_at
    from taken t
    returning event_log.tenant_id, event_log.position
  ), moved as (
    update public.event_log_head h set position = last + (select count(*) from logged)
  )
  select l.tenant_id, max(l.position) from logged l group by l.tenant_id;
end
$$;
reset role;

-- ---------------------------------------------------------------------------------------------------------------------
-- Jobs. Whoever ordered one sees it, and a machine only its own, since its key may do less than the person who made it.

set role buildpeer_owner;
create table jobs (
  tenant_id uuid not null references tenants,
  job_id uuid not null,
  project_id uuid, -- null: of the whole company
  created_by uuid not null,
  key_id uuid, -- the key of the machine that ordered it
  kind text not null,
  wanted jsonb not null,
  language text not null check (language in ('es', 'pt', 'en')),
  state text not null default 'queued'
    check (state in ('queued', 'running', 'done', 'failed', 'cancelled', 'expired')),
  reason text not null default '', -- why it failed
  done bigint not null default 0,
  total bigint not null default 0, -- nought: not known yet
  summary jsonb not null default '{}', -- what came of it, in short
  bucket text,
  key text, -- null: no file came of it, or it is gone
  filename text,
  content_type text,
  size_bytes bigint,
  tries bigint not null default 0, -- also says which try may write: the last one
  due_at timestamptz default now(), -- when somebody may (again) take it on; null: it has ended
  created_at timestamptz not null default now(),
  ended_at timestamptz,
  expires_at timestamptz,
  primary key (tenant_id, job_id),
  foreign key (tenant_id, project_id) references projects,
  check ((due_at is null) = (state not in ('queued', 'running')))
);
create index jobs_due on jobs (due_at) where due_at is not null;
create index jobs_expiring on jobs (expires_at) where expires_at is not null;
create index jobs_newest on jobs (tenant_id, created_by, created_at desc, job_id desc);
create index jobs_project on jobs (tenant_id, project_id);
alter table jobs enable row level security;
alter table jobs force row level security;
create policy tenant on jobs to buildpeer_app, buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy own on jobs as restrictive to buildpeer_app
  using (created_by = (select app.person_id()) and key_id is not distinct from (select app.key_id())
    and (project_id is null or project_id = any ((select app.visible_projects())::uuid[])))
  with check (created_by = (select app.person_id()) and key_id is not distinct from (select app.key_id())
    and (project_id is null or project_id = any ((select app.visible_projects())::uuid[])));
create policy system on jobs to buildpeer_system using (true) with check (true);
grant select, insert (tenant_id, job_id, project_id, created_by, key_id, kind, wanted, language),
  update (state, due_at, ended_at) on jobs to buildpeer_app;
grant select, update (state, reason, done, total, summary, bucket, key, filename, content_type, size_bytes, due_at, tries,
  ended_at, expires_at) on jobs to buildpeer_worker;
grant select, update (state, tries, due_at), delete on jobs to buildpeer_system;
select audit.watch('jobs', 'job_id', 'done,total,due_at,tries,summary', 'wanted,summary');
select app.lives_with_tenant('jobs');
reset role;

set role buildpeer_system;

-- How many jobs wait or run: the caller's, and all of the tenant's.
create function app.open_jobs(out own bigint, out everybodys bigint)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select count(*) filter (where j.created_by = app.person_id()), count(*) from public.jobs j
  where j.tenant_id = app.tenant_id() and j.due_at is not null;
end;

-- Lends the next job of these kinds to whoever calls, for a while: first those of companies with the fewest at work, and
-- of no company more than `most_at_once`. One whose borrower fell silent is lent again.
create function app.lend_job(kinds text[], lease interval, most_at_once int) returns table (
    tenant_id uuid, job_id uuid, project_id uuid, created_by uuid, key_id uuid, kind text, wanted jsonb, language text,
    tries bigint)
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from public.jobs j where j.due_at <= now()) then
    return;
  end if;
  perform pg_advisory_xact_lock(hashtextextended('jobs', 0)); -- whoever counts must not be overtaken
  return query
  with open as (
    select j.tenant_id, j.job_id, j.created_at, j.kind, j.due_at, j.state = 'running' and j.due_at > now() as busy
    from public.jobs j where j.due_at is not null
  ), waiting as (
    select o.tenant_id, o.job_id, o.created_at,
      row_number() over (partition by o.tenant_id order by o.created_at, o.job_id)
        + (select count(*) from open b where b.tenant_id = o.tenant_id and b.busy) as place
    from open o where not o.busy and o.due_at <= now() and o.kind = any (kinds)
  ), next as (
    select w.tenant_id, w.job_id from waiting w where w.place <= most_at_once
    order by w.place, w.created_at, w.job_id limit 1
  )
  update public.jobs j set state = 'running', tries = j.tries + 1, due_at = now() + lease from next n
  where j.tenant_id = n.tenant_id and j.job_id = n.job_id and j.due_at <= now()
  returning j.tenant_id, j.job_id, j.project_id, j.created_by, j.key_id, j.kind, j.wanted, j.language, j.tries;
end
$$;

create function app.expired_jobs(at timestamptz, max_rows int)
  returns table (tenant_id uuid, job_id uuid, bucket text, key text)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select j.tenant_id, j.job_id, j.bucket, j.key from public.jobs j
  where j.expires_at <= at order by j.expires_at limit max_rows;
end;

-- Forgets jobs that ended long ago and left no file.
create function app.prune_jobs(before timestamptz) returns void
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  delete from public.jobs j where j.due_at is null and j.ended_at < before and j.expires_at is null;
end;

revoke all on function app.open_jobs(), app.lend_job(text[], interval, int), app.expired_jobs(timestamptz, int),
  app.prune_jobs(timestamptz) from public;
grant execute on function app.lend_job(text[], interval, int), app.expired_jobs(timestamptz, int),
  app.prune_jobs(timestamptz) to buildpeer_worker;
grant execute on function app.open_jobs() to buildpeer_app;
reset role;
