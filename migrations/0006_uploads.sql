-- Uploads: the state of every file on its way. Facts from the functions are kept as they come; the state follows.

set role buildpeer_owner;

create table uploads (
  tenant_id uuid not null,
  upload_id uuid not null, -- the client's UUIDv7
  project_id uuid not null,
  created_by uuid not null,
  kind text not null check (kind in ('plan', 'photo', 'report')),
  name text not null check (length(name) between 1 and 255),
  size_bytes bigint not null check (size_bytes > 0),
  content_type text not null,
  sha256 bytea not null check (length(sha256) = 32),
  lane text not null check (lane in ('live', 'bulk')),
  bucket text not null,
  key text not null,
  state text not null default 'requested' check (state in ('requested', 'receiving', 'stored', 'scanning', 'deriving',
    'ready', 'duplicate', 'quarantined', 'unscannable', 'mismatched', 'failed', 'cancelled', 'expired')),
  reason text not null default '',
  version_id text,
  verdict text check (verdict in ('clean', 'infected', 'unscannable')),
  scan_reason text not null default '',
  scanner text,
  derived jsonb,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check_at timestamptz default now() + interval '30 seconds', -- when the sweeper looks next; null: it has ended
  redrives bigint not null default 0,
  primary key (tenant_id, upload_id),
  foreign key (tenant_id, project_id) references projects,
  foreign key (created_by) references people -- who leaves the tenant leaves the files
);
create index uploads_newest on uploads (tenant_id, project_id, created_at desc, upload_id desc);
create index uploads_newest_of_all on uploads (tenant_id, created_at desc, upload_id desc);
create index uploads_open on uploads (tenant_id) where check_at is not null;
create index uploads_due on uploads (check_at) where check_at is not null;

alter table uploads enable row level security;
alter table uploads force row level security;
create policy tenant on uploads to buildpeer_app, buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy visible on uploads as restrictive to buildpeer_app
  using (project_id = any ((select app.file_projects())::uuid[]))
  with check (project_id = any ((select app.file_projects())::uuid[]));
-- A caller opens and ends only uploads of their own, under a key that routes to nobody else, and says nothing of a file
-- that only facts can say.
create policy own_only on uploads as restrictive for insert to buildpeer_app with check (
  created_by = (select app.person_id()) and key = lane || '/' || tenant_id || '/' || upload_id);
create policy own_changes on uploads as restrictive for update to buildpeer_app
  using (created_by = (select app.person_id()) and state in ('requested', 'receiving'))
  with check (state in ('requested', 'receiving', 'stored', 'cancelled'));
create policy system on uploads to buildpeer_system using (true) with check (true);

-- The api opens and cancels; only the worker, which reads facts, may say anything else of a file.
grant select on uploads to buildpeer_app, buildpeer_worker;
grant insert (tenant_id, upload_id, project_id, created_by, kind, name, size_bytes, content_type, sha256, lane, bucket,
  key) on uploads to buildpeer_app;
grant update (state, reason, updated_at, check_at) on uploads to buildpeer_app;
grant update (state, reason, version_id, verdict, scan_reason, scanner, derived, updated_at, check_at, redrives)
  on uploads to buildpeer_worker;
grant select, update (check_at) on uploads to buildpeer_system;

select audit.watch('uploads', 'upload_id', 'updated_at,check_at,redrives');
reset role;

set role buildpeer_system;

-- Whether the tenant has more open uploads than `most`: all of them, also those the caller may not see.
create function app.has_more_open_uploads_than(most int) returns boolean
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select count(*) > most from (
    select from public.uploads u where u.tenant_id = app.tenant_id() and u.check_at is not null limit most + 1) open;
end;

-- Uploads whose time to be looked at has come, each lent to one sweeper for a minute.
create function app.due_uploads(max_rows int) returns table (tenant_id uuid, upload_id uuid)
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  update public.uploads u set check_at = now() + interval '1 minute'
  where (u.tenant_id, u.upload_id) in (
    select d.tenant_id, d.upload_id from public.uploads d where d.check_at <= now()
    order by d.check_at limit max_rows for update skip locked)
  returning u.tenant_id, u.upload_id;
end;
revoke all on function app.has_more_open_uploads_than(int), app.due_uploads(int) from public;
grant execute on function app.has_more_open_uploads_than(int) to buildpeer_app;
grant execute on function app.due_uploads(int) to buildpeer_worker;
reset role;
