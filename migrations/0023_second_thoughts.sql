-- What is found out later: a file that was ready turns out to be infected, and messages that nobody could work on.

set role buildpeer_owner;
alter table documents add column withdrawn_at timestamptz; -- when a scanner found something in it after all
create policy served on documents as restrictive for select to buildpeer_app using (withdrawn_at is null);
grant update (withdrawn_at) on documents to buildpeer_system;
grant update (media, thumbnail, preview, preview_reason) on documents to buildpeer_worker;

-- Messages that died in a queue, taken out of its dead-letter queue so that people can work on them; what was done about
-- one stays beside it. They belong to no tenant: a message may name any, or none.
create table dead_letters (
  letter_id uuid primary key,
  queue text not null,
  message_id text not null,
  body text not null,
  collected_at timestamptz not null default now(),
  verb text check (verb in ('redrive', 'drop')), -- what somebody wants done
  wanted_by text,
  wanted_at timestamptz,
  ended_at timestamptz,
  check ((verb is null) = (wanted_by is null) and (ended_at is null or verb is not null)),
  unique (queue, message_id)
);
create index dead_letters_open on dead_letters (queue, letter_id) where ended_at is null;
alter table dead_letters enable row level security;
alter table dead_letters force row level security;
create policy system on dead_letters to buildpeer_system using (true) with check (true);
grant select, insert, delete, update (verb, wanted_by, wanted_at, ended_at) on dead_letters to buildpeer_system;
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
        where k.tenant_id = tenant and k.withdrawn_at is null and k.sha256 = u.sha256 and k.size_bytes = u.size_bytes
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
      where k.tenant_id = tenant and k.withdrawn_at is null and k.sha256 = u.sha256 and k.size_bytes = u.size_bytes
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

-- Takes every document with these bytes of the caller's tenant away; what was linked to one is no longer in safe keeping.
create function app.withdraw_documents(doomed_key text, doomed_version text, at timestamptz)
  returns table (document_id uuid, project_id uuid, kind text, name text)
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  with gone as (
    update public.documents d set withdrawn_at = at
    where d.tenant_id = app.tenant_id() and d.key = doomed_key and d.version_id = doomed_version and d.withdrawn_at is null
    returning d.document_id, d.project_id, d.kind, d.name
  ), unsafe as (
    update public.uploads u set erased_at = at from gone g
    where u.tenant_id = app.tenant_id() and u.document_id = g.document_id and u.erased_at is null
  )
  select g.document_id, g.project_id, g.kind, g.name from gone g;
end;

-- Files of all tenants that are ready, after one of them, to have something done to each of them again.
create function app.ready_uploads(wanted_kind text, since timestamptz, last_tenant uuid, last_upload uuid, max_rows int)
  returns table (tenant_id uuid, upload_id uuid, bucket text, key text, version_id text, size_bytes bigint)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select u.tenant_id, u.upload_id, u.bucket, u.key, u.version_id, u.size_bytes from public.uploads u
  where (u.tenant_id, u.upload_id) > (last_tenant, last_upload) and u.state = 'ready' and u.updated_at >= since
    and (wanted_kind is null or u.kind = wanted_kind)
    and exists (select from public.documents d
      where d.tenant_id = u.tenant_id and d.key = u.key and d.version_id = u.version_id and d.withdrawn_at is null)
  order by u.tenant_id, u.upload_id limit max_rows;
end;

create function app.keep_dead_letters(died_in text, letter_ids uuid[], message_ids text[], bodies text[]) returns void
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  insert into public.dead_letters (letter_id, queue, message_id, body)
  select n.letter_id, died_in, n.message_id, n.body
  from unnest(letter_ids, message_ids, bodies) as n (letter_id, message_id, body) on conflict do nothing;
end;

-- Open letters after one of them, the oldest first; of one queue, or one letter.
create function app.dead_letters(died_in text, one uuid, last_letter uuid, max_rows int)
  returns table (letter_id uuid, queue text, message_id text, body text, collected_at timestamptz, verb text,
    wanted_by text, wanted_at timestamptz, ended_at timestamptz)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select d.letter_id, d.queue, d.message_id, d.body, d.collected_at, d.verb, d.wanted_by, d.wanted_at, d.ended_at
  from public.dead_letters d
  where (d.letter_id = one or (one is null and d.ended_at is null and d.letter_id > last_letter))
    and (died_in is null or d.queue = died_in)
  order by d.letter_id limit max_rows;
end;

create function app.dead_letter_counts() returns table (queue text, letters bigint)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select d.queue, count(*) from public.dead_letters d where d.ended_at is null group by d.queue;
end;

-- Notes what is wanted of a letter, or of all open ones of a queue; of one that is dealt with already, nothing any more.
create function app.order_dead_letters(died_in text, one uuid, what text, who text) returns bigint
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  with ordered as (
    update public.dead_letters d set verb = what, wanted_by = who, wanted_at = now()
    where d.verb is null and (d.letter_id = one or (one is null and d.queue = died_in)) returning d.letter_id)
  select count(*) from ordered;
end;

-- Letters that somebody wants something done about, locked for this transaction; app.end_dead_letters() ends them.
create function app.ordered_dead_letters(max_rows int) returns table (letter_id uuid, queue text, body text, verb text)
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  select d.letter_id, d.queue, d.body, d.verb from public.dead_letters d
  where d.verb is not null and d.ended_at is null order by d.letter_id limit max_rows for update skip locked;
end;

create function app.end_dead_letters(done uuid[]) returns void
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  update public.dead_letters d set ended_at = now() where d.letter_id = any (done);
end;

create function app.prune_dead_letters(keep interval) returns void
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  delete from public.dead_letters d where d.ended_at < now() - keep;
end;

revoke all on function app.withdraw_documents(text, text, timestamptz),
  app.ready_uploads(text, timestamptz, uuid, uuid, int), app.keep_dead_letters(text, uuid[], text[], text[]),
  app.dead_letters(text, uuid, uuid, int), app.dead_letter_counts(), app.order_dead_letters(text, uuid, text, text),
  app.ordered_dead_letters(int), app.end_dead_letters(uuid[]), app.prune_dead_letters(interval) from public;
grant execute on function app.dead_letters(text, uuid, uuid, int), app.dead_letter_counts(),
  app.order_dead_letters(text, uuid, text, text) to buildpeer_app, buildpeer_worker;
grant execute on function app.withdraw_documents(text, text, timestamptz),
  app.ready_uploads(text, timestamptz, uuid, uuid, int), app.keep_dead_letters(text, uuid[], text[], text[]),
  app.ordered_dead_letters(int), app.end_dead_letters(uuid[]), app.prune_dead_letters(interval) to buildpeer_worker;
reset role;
