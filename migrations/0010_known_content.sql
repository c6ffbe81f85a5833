-- Known content, erasing, progress. Bytes belong to whichever documents link them, and go when the last one has gone.
--
-- A document is linked only from another one that stands locked, so bytes that no document links any more, as any
-- snapshot shows it, will never be linked again: deleting them needs no lock.

set role buildpeer_owner;

alter table uploads
  add column document_id uuid, -- of a duplicate: the document with the content
  add column erased_at timestamptz, -- when its document was erased
  add column sent_bytes bigint not null default 0, -- what the sender says, at best
  add column progressed_at timestamptz,
  add column progress_told_at timestamptz;
-- squawk-ignore require-concurrent-index-creation -- not released yet: the tables are small
create index uploads_duplicates on uploads (tenant_id, document_id) where document_id is not null;
-- squawk-ignore require-concurrent-index-creation
create index documents_content on documents (tenant_id, sha256, size_bytes, project_id);
-- squawk-ignore require-concurrent-index-creation
create index documents_bytes on documents (tenant_id, key);

grant update (sent_bytes, progressed_at, progress_told_at) on uploads to buildpeer_app;
grant update (state, document_id, erased_at, updated_at) on uploads to buildpeer_system;
drop trigger audit_insert on uploads;
drop trigger audit_change on uploads;
select audit.watch('uploads', 'upload_id', 'updated_at,check_at,redrives,sent_bytes,progressed_at,progress_told_at');

-- The last column is there because locking a row takes the right to update one.
create policy system on documents to buildpeer_system using (true) with check (true);
grant select, insert, update (preview_reason) on documents to buildpeer_system;

-- Who sees a document may erase it as owner or manager, or as its uploader.
create policy erasable on documents as restrictive for delete to buildpeer_app using (
  created_by = (select app.person_id()) or (select app.member_role()) in ('owner', 'manager'));
grant delete on documents to buildpeer_app;

-- Bytes that lost a document, or came for an upload that had ended: to be deleted in S3 if no document links them.
create table erasures (
  tenant_id uuid not null references tenants,
  erasure_id bigint generated always as identity,
  bucket text not null,
  key text not null,
  version_id text not null,
  thumbnail jsonb,
  preview jsonb,
  created_at timestamptz not null default now(),
  check_at timestamptz not null default now(),
  primary key (tenant_id, erasure_id)
);
create index erasures_due on erasures (check_at);
alter table erasures enable row level security;
alter table erasures force row level security;
create policy tenant on erasures for insert to buildpeer_worker with check (tenant_id = (select app.tenant_id()));
create policy system on erasures to buildpeer_system using (true) with check (true);
grant insert on erasures to buildpeer_worker;
grant select, insert, delete, update (check_at) on erasures to buildpeer_system;
select audit.watch('erasures', 'erasure_id', 'check_at');
reset role;

set role buildpeer_system;

-- Ends those of the caller's newly opened uploads whose content is that of a document which the caller may read: the one
-- in the same project, or a new one there that links the same bytes. By locking the documents, in one order, two calls at
-- once wait for each other, and for an erasure that is under way.
create function app.link_known(opened uuid[]) returns table (upload_id uuid, document_id uuid, added boolean)
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  tenant uuid := app.tenant_id();
  readable uuid[] := app.file_projects();
  own uuid[];
  candidates uuid[];
  locked uuid[] := '{}';
begin
  own := array(
    select u.upload_id from public.uploads u
    where u.tenant_id = tenant and u.upload_id = any (opened) and u.created_by = app.person_id()
      and u.state = 'requested' and u.project_id = any (readable));
  -- Whoever held a lock may have erased or linked meanwhile: look again until all that is seen is locked.
  loop
    -- `offset 0`: each content is looked up by its index, whatever the planner believes of a batch.
    candidates := array(
      select d.document_id from public.uploads u cross join lateral (
        select k.document_id from public.documents k
        where k.tenant_id = tenant and k.sha256 = u.sha256 and k.size_bytes = u.size_bytes
          and k.project_id = any (readable) offset 0) d
      where u.tenant_id = tenant and u.upload_id = any (own));
    exit when candidates <@ locked;
    perform from public.documents d where d.tenant_id = tenant and d.document_id = any (candidates)
    order by d.document_id for update;
    locked := candidates;
  end loop;
  return query
  with matched as (
    select u.upload_id, u.project_id, u.created_by, u.kind, u.name, u.created_at,
      d.document_id, d.project_id as held_in, d.sha256, d.size_bytes, d.content_type, d.bucket, d.key, d.version_id,
      d.media, d.thumbnail, d.preview, d.preview_reason
    from public.uploads u cross join lateral (
      select k.* from public.documents k
      where k.tenant_id = tenant and k.sha256 = u.sha256 and k.size_bytes = u.size_bytes
        and k.document_id = any (candidates)
      order by k.project_id <> u.project_id, k.created_at, k.document_id limit 1) d
    where u.tenant_id = tenant and u.upload_id = any (own)
  ), chosen as (
    select m.*, case when m.held_in = m.project_id then m.document_id
      else first_value(m.upload_id) over (partition by m.project_id, m.sha256, m.size_bytes order by m.upload_id)
      end as target
    from matched m
  ), inserted as (
    insert into public.documents (tenant_id, document_id, project_id, created_by, kind, name, size_bytes, content_type,
      sha256, bucket, key, version_id, media, thumbnail, preview, preview_reason, created_at)
    select tenant, c.upload_id, c.project_id, c.created_by, c.kind, c.name, c.size_bytes, c.content_type,
      c.sha256, c.bucket, c.key, c.version_id, c.media, c.thumbnail, c.preview, c.preview_reason, c.created_at
    from chosen c where c.target = c.upload_id
    returning documents.document_id
  )
  update public.uploads u set state = 'duplicate', document_id = c.target, check_at = null, updated_at = now()
  from chosen c left join inserted i on i.document_id = c.upload_id
  where u.tenant_id = tenant and u.upload_id = c.upload_id
  returning u.upload_id, u.document_id, i.document_id is not null;
end
$$;

-- Whatever erases a document leaves the order to look after its bytes, and the uploads that led to it say so.
create function app.document_erased() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into public.erasures (tenant_id, bucket, key, version_id, thumbnail, preview)
  values (old.tenant_id, old.bucket, old.key, old.version_id, old.thumbnail, old.preview);
  update public.uploads u set erased_at = now()
  where u.tenant_id = old.tenant_id and (u.document_id = old.document_id or u.upload_id = old.document_id);
  return null;
end
$$;

-- Bytes to look after, each lent to one sweeper for a minute, and whether a document links them still.
create function app.due_erasures(max_rows int) returns table (erasure_id bigint, bucket text, key text, version_id text,
  thumbnail jsonb, preview jsonb, linked boolean)
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  update public.erasures e set check_at = now() + interval '1 minute'
  where (e.tenant_id, e.erasure_id) in (
    select d.tenant_id, d.erasure_id from public.erasures d where d.check_at <= now()
    order by d.check_at limit max_rows for update skip locked)
  returning e.erasure_id, e.bucket, e.key, e.version_id, e.thumbnail, e.preview, exists (
    select from public.documents d where d.tenant_id = e.tenant_id and d.key = e.key and d.version_id = e.version_id);
end;

create function app.erased(done bigint[]) returns void language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  delete from public.erasures e where e.erasure_id = any (done);
end;

-- Of bytes in S3, by their place in the list, those that no row needs, with the state of their upload (null: there is
-- none). An upload keeps what lies under its id while it is open, and as long as a write URL of it may be alive: until it
-- has been ended since before `ended_before`. A file that is locked away stays.
create function app.needless_bytes(kinds text[], tenant_ids uuid[], upload_ids uuid[], keys text[], version_ids text[],
  ended_before timestamptz) returns table (place bigint, state text)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select o.place, u.state
  from unnest(kinds, tenant_ids, upload_ids, keys, version_ids) with ordinality
    as o (kind, tenant_id, upload_id, key, version_id, place)
  left join public.uploads u on u.tenant_id = o.tenant_id and u.upload_id = o.upload_id
  where not exists (
      select from public.documents d
      where d.tenant_id = o.tenant_id and d.key = o.key and d.version_id = o.version_id)
    and (u.upload_id is null or (u.updated_at < ended_before
      and u.state not in ('requested', 'receiving', 'stored', 'scanning', 'deriving')
      and (o.kind <> 'version' or u.state not in ('quarantined', 'unscannable', 'failed'))));
end;

-- Documents of all tenants after one of them, to hold them against what S3 has.
create function app.documents_after(last_tenant uuid, last_document uuid, max_rows int)
  returns table (tenant_id uuid, document_id uuid, bucket text, key text, version_id text, size_bytes bigint)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select d.tenant_id, d.document_id, d.bucket, d.key, d.version_id, d.size_bytes from public.documents d
  where (d.tenant_id, d.document_id) > (last_tenant, last_document)
  order by d.tenant_id, d.document_id limit max_rows;
end;

revoke all on function app.link_known(uuid[]), app.document_erased(), app.due_erasures(int), app.erased(bigint[]),
  app.needless_bytes(text[], uuid[], uuid[], text[], text[], timestamptz), app.documents_after(uuid, uuid, int)
  from public;
grant execute on function app.link_known(uuid[]) to buildpeer_app;
grant execute on function app.document_erased() to buildpeer_owner;
grant execute on function app.due_erasures(int), app.erased(bigint[]),
  app.needless_bytes(text[], uuid[], uuid[], text[], text[], timestamptz), app.documents_after(uuid, uuid, int)
  to buildpeer_worker;
reset role;

set role buildpeer_owner;
create trigger erased after delete on documents for each row execute function app.document_erased();
reset role;
