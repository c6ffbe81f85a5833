-- What files say: when and where a photo was taken, and by whose word; what a document is found by; its icon.

set role buildpeer_owner;

-- What the phone says, which its pictures may not, and the words of a file until it is ready.
alter table uploads
  add column captured_at timestamptz,
  add column latitude double precision,
  add column longitude double precision,
  add column text text not null default '';
grant insert (captured_at, latitude, longitude) on uploads to buildpeer_app;
grant update (text) on uploads to buildpeer_worker;
drop trigger audit_insert on uploads;
drop trigger audit_delete on uploads;
drop trigger audit_change on uploads;
drop trigger audit_truncate on uploads;
-- The trail says what happened to a file, and doesn't repeat its words.
select audit.watch('uploads', 'upload_id',
  'updated_at,check_at,redrives,sent_bytes,progressed_at,progress_told_at,text', 'text');

alter table documents
  add column icon text not null default 'other',
  add column captured_at timestamptz,
  add column captured_from text check (captured_from in ('camera', 'gps', 'client', 'project')),
  add column latitude double precision,
  add column longitude double precision,
  add column located_from text check (located_from in ('camera', 'client')),
  add column words tsvector;
drop trigger audit_insert on documents;
drop trigger audit_delete on documents;
drop trigger audit_change on documents;
drop trigger audit_truncate on documents;
select audit.watch('documents', 'document_id', 'words', 'words');

-- Whoever sees a document may have a page of it made, of that very version and of no other file.
create policy tenant_page on outbox for insert to buildpeer_app with check (
  tenant_id = (select app.tenant_id()) and destination = 'buildpeer-derive-live'
  and body ->> 'source' = 'buildpeer.documents' and body ->> 'detail-type' = 'Page Wanted' and exists (
    select from documents d
    where d.tenant_id = outbox.tenant_id and d.key = outbox.body #>> '{detail,object,key}'
      and d.bucket = outbox.body #>> '{detail,bucket,name}'
      and d.version_id = outbox.body #>> '{detail,object,version-id}' and d.preview is not null
      and (outbox.body #>> '{detail,page}')::int between 1 and coalesce((d.media ->> 'pages')::int, 1)));
reset role;

set role buildpeer_system;

-- Ends those of the caller's newly opened uploads whose content is that of a document which the caller may read: the one
-- in the same project, or a new one there that links the same bytes. By locking the documents, in one order, two calls at
-- once wait for each other, and for an erasure that is under way.
create or replace function app.link_known(opened uuid[]) returns table (upload_id uuid, document_id uuid, added boolean)
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
      d.media, d.thumbnail, d.preview, d.preview_reason, d.icon, d.captured_at, d.captured_from, d.latitude, d.longitude,
      d.located_from, d.words
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
      sha256, bucket, key, version_id, media, thumbnail, preview, preview_reason, icon, captured_at, captured_from,
      latitude, longitude, located_from, words, created_at)
    select tenant, c.upload_id, c.project_id, c.created_by, c.kind, c.name, c.size_bytes, c.content_type,
      c.sha256, c.bucket, c.key, c.version_id, c.media, c.thumbnail, c.preview, c.preview_reason, c.icon, c.captured_at,
      c.captured_from, c.latitude, c.longitude, c.located_from, c.words, c.created_at
    from chosen c where c.target = c.upload_id
    returning documents.document_id
  )
  update public.uploads u set state = 'duplicate', document_id = c.target, check_at = null, updated_at = now()
  from chosen c left join inserted i on i.document_id = c.upload_id
  where u.tenant_id = tenant and u.upload_id = c.upload_id
  returning u.upload_id, u.document_id, i.document_id is not null;
end
$$;
reset role;
