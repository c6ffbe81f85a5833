-- A way back from a false alarm: an operator asks the scanner for another look at a file that is locked away, and only its
-- answer to that very question opens it.

set role buildpeer_owner;
create table releases (
  tenant_id uuid not null,
  release_id uuid not null,
  upload_id uuid not null,
  wanted_by text not null, -- the operator
  wanted_at timestamptz not null default now(),
  asked_at timestamptz, -- the scanner, the last time
  asks bigint not null default 0,
  verdict text check (verdict in ('clean', 'infected', 'unscannable')), -- null, though ended: the scanner never answered
  scanner text,
  reason text not null default '',
  ended_at timestamptz,
  primary key (tenant_id, release_id),
  foreign key (tenant_id, upload_id) references uploads
);
create unique index releases_open on releases (tenant_id, upload_id) where ended_at is null;
create index releases_due on releases (asked_at nulls first) where ended_at is null;
alter table releases enable row level security;
alter table releases force row level security;
create policy tenant on releases to buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy system on releases to buildpeer_system using (true) with check (true);
grant select, update (verdict, scanner, reason, ended_at) on releases to buildpeer_worker;
grant select, insert, update (asked_at, asks, ended_at) on releases to buildpeer_system;
select audit.watch('releases', 'release_id', 'asked_at,asks');
select app.lives_with_tenant('releases');
reset role;

set role buildpeer_system;

-- Files of all tenants that are locked away, after one of them, or one file; each with the newest order to release it.
create function app.quarantined(one_tenant uuid, one_upload uuid, last_tenant uuid, last_upload uuid, max_rows int)
  returns table (tenant_id uuid, upload_id uuid, kind text, size_bytes bigint, signature text, scanner text,
    since timestamptz, release_id uuid, wanted_by text, wanted_at timestamptz, verdict text, ended_at timestamptz)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select u.tenant_id, u.upload_id, u.kind, u.size_bytes, u.scan_reason, u.scanner, u.updated_at, r.release_id, r.wanted_by,
    r.wanted_at, r.verdict, r.ended_at
  from public.uploads u left join lateral (
    select * from public.releases n where n.tenant_id = u.tenant_id and n.upload_id = u.upload_id
    order by n.wanted_at desc limit 1) r on true
  where u.state = 'quarantined' and (one_upload is null or (u.tenant_id, u.upload_id) = (one_tenant, one_upload))
    and (u.tenant_id, u.upload_id) > (last_tenant, last_upload)
  order by u.tenant_id, u.upload_id limit max_rows;
end;

-- Orders another look at a file that is locked away; the first order that is open stands.
create function app.order_release(of_tenant uuid, of_upload uuid, new_release uuid, who text) returns void
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  insert into public.releases (tenant_id, release_id, upload_id, wanted_by)
  select u.tenant_id, new_release, u.upload_id, who from public.uploads u
  where u.tenant_id = of_tenant and u.upload_id = of_upload and u.state = 'quarantined' on conflict do nothing;
end;

-- Orders of which the scanner hasn't been asked, or not answered for ten minutes, each lent to one worker; who was asked
-- twelve times in vain is asked no more.
create function app.due_releases(max_rows int) returns table (tenant_id uuid, release_id uuid, bucket text, key text,
  version_id text, size_bytes bigint)
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  with due as (
    select r.tenant_id, r.release_id from public.releases r
    where r.ended_at is null and (r.asked_at is null or r.asked_at < now() - interval '10 minutes')
    order by r.asked_at nulls first limit max_rows for update skip locked
  ), asked as (
    update public.releases r set asked_at = now(), asks = r.asks + 1,
      ended_at = case when r.asks >= 12 then now() end
    from due d where r.tenant_id = d.tenant_id and r.release_id = d.release_id
    returning r.tenant_id, r.release_id, r.upload_id, r.ended_at
  )
  select a.tenant_id, a.release_id, u.bucket, u.key, u.version_id, u.size_bytes
  from asked a join public.uploads u on u.tenant_id = a.tenant_id and u.upload_id = a.upload_id
  where a.ended_at is null;
end;

-- Gives every document with these bytes of the caller's tenant back that was withdrawn; what was linked is safe again.
create function app.return_documents(kept_key text, kept_version text)
  returns table (document_id uuid, project_id uuid, kind text, name text)
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  with held as (
    select d.document_id, d.withdrawn_at from public.documents d
    where d.tenant_id = app.tenant_id() and d.key = kept_key and d.version_id = kept_version
      and d.withdrawn_at is not null
    order by d.document_id for update
  ), safe as (
    update public.uploads u set erased_at = null from held h
    where u.tenant_id = app.tenant_id() and u.document_id = h.document_id and u.erased_at = h.withdrawn_at
  )
  update public.documents d set withdrawn_at = null from held h
  where d.tenant_id = app.tenant_id() and d.document_id = h.document_id
  returning d.document_id, d.project_id, d.kind, d.name;
end;

revoke all on function app.quarantined(uuid, uuid, uuid, uuid, int), app.order_release(uuid, uuid, uuid, text),
  app.due_releases(int), app.return_documents(text, text) from public;
grant execute on function app.quarantined(uuid, uuid, uuid, uuid, int), app.order_release(uuid, uuid, uuid, text)
  to buildpeer_app, buildpeer_worker;
grant execute on function app.due_releases(int), app.return_documents(text, text) to buildpeer_worker;
reset role;
