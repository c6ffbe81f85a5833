-- Documents in depth: folders, versions, what people say of a document, finding it, sharing it; photos on a map, by time, in
-- albums and pairs.
--
-- Not released yet: the tables are small, and locks short.
-- squawk-ignore-file adding-field-with-default, adding-foreign-key-constraint, constraint-missing-not-valid
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion

-- Aurora has both. Names are compared by their trigrams, and a GIN index may begin with the tenant.
create extension if not exists pg_trgm;
create extension if not exists btree_gin;

-- ---------------------------------------------------------------------------------------------------------------------
-- How words are compared.

set role buildpeer_owner;

-- A name as people tell names apart: neither case, accents nor blanks make another one. An ñ is a letter, not an accent.
create function app.plain(said text) returns text language sql immutable parallel safe strict
  return trim(regexp_replace(translate(lower(normalize(said, nfkc)),
    'áàâãäåéèêëíìîïóòôõöúùûüýÿç', 'aaaaaaeeeeiiiiooooouuuuyyc'), '\s+', ' ', 'g'));

-- A name as people put names in order: "Piso 2" stands before "Piso 10".
create function app.ordered(said text) returns text language sql immutable parallel safe strict
  return left(regexp_replace(regexp_replace(app.plain(said), '(\d+)', '000000000\1', 'g'), '\d*(\d{10})(?!\d)', '\1', 'g'),
    400);

-- Text as it is searched: few type an ñ on a foreign keyboard.
create function app.folded(said text) returns text language sql immutable parallel safe strict
  return translate(app.plain(said), 'ñ', 'n');

-- Drawings shout without accents, and phones leave them out, but the Spanish stemmer knows -ción by its accent; the
-- Portuguese one leaves -ão and -ões apart.
create function app.evened(folded text) returns text language sql immutable parallel safe strict
  return regexp_replace(regexp_replace(folded, '([cs])ion\M', '\1ión', 'g'), 'oes\M', 'ao', 'g');

-- Text with its names taken apart: Postgres takes "acta.pdf" for a host and "A-101" for a negative number.
create function app.parted(said text) returns text language sql immutable parallel safe strict
  return lower(normalize(regexp_replace(said, '([[:alnum:]])[-_./\\]+(?=[[:alnum:]])', '\1 ', 'g'), nfkc));

-- The words of a text: stemmed as Spanish and as Portuguese, as written and without accents.
create function app.words(said text) returns tsvector language sql immutable parallel safe strict
  return to_tsvector('pg_catalog.spanish', app.parted(said))
    || to_tsvector('pg_catalog.portuguese', app.parted(said))
    || to_tsvector('pg_catalog.spanish', app.evened(app.folded(app.parted(said))))
    || to_tsvector('pg_catalog.portuguese', app.evened(app.folded(app.parted(said))))
    || to_tsvector('pg_catalog.simple', app.folded(app.parted(said)));

-- What somebody who types this looks for, in whichever of these ways it was written; "…" is a phrase, - means without.
create function app.asked(said text) returns tsquery language sql immutable parallel safe strict
  return websearch_to_tsquery('pg_catalog.spanish', app.parted(said))
    || websearch_to_tsquery('pg_catalog.portuguese', app.parted(said))
    || websearch_to_tsquery('pg_catalog.spanish', app.evened(app.folded(app.parted(said))))
    || websearch_to_tsquery('pg_catalog.portuguese', app.evened(app.folded(app.parted(said))))
    || websearch_to_tsquery('pg_catalog.simple', app.folded(app.parted(said)));

-- The words that a word may have been meant for, had two letters not been swapped or one not been typed twice.
create function app.near(word text) returns tsquery language sql immutable parallel safe strict
  return app.asked(word) || (
    select string_agg(quote_literal(meant), ' | ') from generate_series(1, length(word) - 1) i, lateral (values
      (left(word, i - 1) || substr(word, i + 1, 1) || substr(word, i, 1) || substr(word, i + 2)),
      (left(word, i - 1) || substr(word, i + 1))) as v (meant))::tsquery;

create function app.spread_bits(number bigint) returns bigint language plpgsql immutable parallel safe strict as $$
declare
  n bigint := number;
begin
  n := (n | (n << 16)) & x'0000FFFF0000FFFF'::bigint;
  n := (n | (n << 8)) & x'00FF00FF00FF00FF'::bigint;
  n := (n | (n << 4)) & x'0F0F0F0F0F0F0F0F'::bigint;
  n := (n | (n << 2)) & x'3333333333333333'::bigint;
  return (n | (n << 1)) & x'5555555555555555'::bigint;
end
$$;

-- The cell of a grid of 2^24 by 2^24 over the world, numbered along the Z curve: cells that lie in the same one of a coarser
-- grid stand together. `grid` in rules.py counts alike.
create function app.map_cell(latitude double precision, longitude double precision) returns bigint
  language sql immutable parallel safe strict
  return app.spread_bits(greatest(least(floor((longitude + 180) / 360 * 16777216), 16777215), 0)::bigint)
    | (app.spread_bits(greatest(least(floor((latitude + 90) / 180 * 16777216), 16777215), 0)::bigint) << 1);

grant execute on function app.plain(text), app.ordered(text), app.folded(text), app.evened(text), app.parted(text),
  app.words(text), app.asked(text), app.near(text), app.spread_bits(bigint), app.map_cell(double precision, double precision)
  to buildpeer_app, buildpeer_worker, buildpeer_system;

-- ---------------------------------------------------------------------------------------------------------------------
-- Folders.

create table folders (
  tenant_id uuid not null,
  folder_id uuid not null,
  project_id uuid not null,
  parent_id uuid, -- null: it lies in the project itself
  name text not null check (length(name) between 1 and 200),
  plain_name text not null generated always as (app.plain(name)) stored,
  ordered_name text not null generated always as (app.ordered(name)) stored,
  version bigint not null default 1,
  created_by uuid not null,
  created_at timestamptz not null,
  primary key (tenant_id, folder_id),
  unique (tenant_id, project_id, folder_id),
  foreign key (tenant_id, project_id) references projects,
  foreign key (tenant_id, project_id, parent_id) references folders (tenant_id, project_id, folder_id),
  constraint folders_name unique nulls not distinct (tenant_id, project_id, parent_id, plain_name)
);
create index folders_by_name on folders (tenant_id, project_id, ordered_name, folder_id);
create index folders_within on folders (tenant_id, project_id, parent_id);

-- A folder lies in one other, never in itself, and no deeper than twenty. Who makes or moves folders of a project stands in
-- line, so that two moves, each right by itself, don't close a circle together.
create function app.keep_folders() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  above int;
  below int;
  circle boolean;
begin
  perform pg_advisory_xact_lock(hashtextextended('folders ' || new.project_id, 0));
  with recursive up as (
    select f.folder_id, f.parent_id from public.folders f where f.tenant_id = new.tenant_id and f.folder_id = new.parent_id
    union
    select f.folder_id, f.parent_id from up join public.folders f
      on f.tenant_id = new.tenant_id and f.folder_id = up.parent_id
  )
  select count(*), coalesce(bool_or(folder_id = new.folder_id), false) into above, circle from up;
  if circle then
    raise exception 'a folder would lie in itself' using errcode = 'BP005';
  end if;
  with recursive down as (
    select new.folder_id as folder_id, 1 as depth
    union
    select f.folder_id, down.depth + 1 from down join public.folders f
      on f.tenant_id = new.tenant_id and f.project_id = new.project_id and f.parent_id = down.folder_id
  )
  select max(depth) into below from down;
  if above + below > 20 then
    raise exception 'folders lie too deep' using errcode = 'BP006';
  end if;
  return new;
end
$$;
create trigger tree before insert or update of parent_id on folders for each row
  when (new.parent_id is not null) execute function app.keep_folders();

alter table folders enable row level security;
alter table folders force row level security;
create policy tenant on folders to buildpeer_app, buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy visible on folders as restrictive to buildpeer_app
  using ((select app.role() in ('owner', 'manager')) or project_id = any ((select app.file_projects())::uuid[]))
  with check ((select app.role() in ('owner', 'manager')) or project_id = any ((select app.file_projects())::uuid[]));
grant select, delete, insert (tenant_id, folder_id, project_id, parent_id, name, created_by, created_at),
  update (parent_id, name, version) on folders to buildpeer_app;
grant select on folders to buildpeer_worker;
select audit.watch('folders', 'folder_id', 'version,plain_name,ordered_name');
select app.lives_with_tenant('folders');
select app.lives_with_project('folders');

-- ---------------------------------------------------------------------------------------------------------------------
-- Albums. A photo lies in one at most; what lies in a private one is seen by its maker, its sender, owners and managers.

create table albums (
  tenant_id uuid not null,
  album_id uuid not null,
  project_id uuid not null,
  name text not null check (length(name) between 1 and 200),
  plain_name text not null generated always as (app.plain(name)) stored,
  private boolean not null default false,
  cover_id uuid, -- a photo of it; null: the newest
  position double precision not null default 0, -- the smallest first
  version bigint not null default 1,
  created_by uuid not null,
  created_at timestamptz not null,
  primary key (tenant_id, album_id),
  unique (tenant_id, project_id, album_id),
  foreign key (tenant_id, project_id) references projects,
  constraint albums_name unique (tenant_id, project_id, plain_name)
);
create index albums_in_order on albums (tenant_id, project_id, position, album_id);
alter table albums enable row level security;
alter table albums force row level security;
create policy tenant on albums to buildpeer_app, buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy visible on albums as restrictive to buildpeer_app
  using ((select app.role() in ('owner', 'manager')) or project_id = any ((select app.file_projects())::uuid[]))
  with check ((select app.role() in ('owner', 'manager')) or project_id = any ((select app.file_projects())::uuid[]));
create policy private on albums as restrictive for select to buildpeer_app
  using (not private or created_by = (select app.person_id()) or (select app.member_role()) in ('owner', 'manager'));
create policy system on albums for select to buildpeer_system using (true);
grant select, delete, insert (tenant_id, album_id, project_id, name, private, position, created_by, created_at),
  update (name, private, cover_id, position, version) on albums to buildpeer_app;
grant select on albums to buildpeer_worker, buildpeer_system;
select audit.watch('albums', 'album_id', 'version,plain_name');
select app.lives_with_tenant('albums');
select app.lives_with_project('albums');
reset role;

set role buildpeer_system;
-- The private albums of others, for whoever isn't an owner or manager.
create function app.hidden_albums() returns uuid[]
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return array(select a.album_id from public.albums a
    where a.tenant_id = app.tenant_id() and a.private and a.created_by is distinct from app.person_id());
end
$$;
revoke all on function app.hidden_albums() from public;
grant execute on function app.hidden_albums() to buildpeer_app;
reset role;

-- ---------------------------------------------------------------------------------------------------------------------
-- Documents: what people say of them, and their versions.

set role buildpeer_owner;
alter table documents
  add column folder_id uuid, -- null: in the project itself
  add column description text not null default '',
  add column tags text[] not null default '{}',
  add column album_id uuid,
  add column location_id uuid,
  add column trade_id uuid,
  add column private boolean not null default false, -- seen by its sender, owners and managers
  add column starred boolean not null default false,
  add column archived_at timestamptz,
  add column version bigint not null default 1, -- of what people say of it
  add column version_of uuid, -- the first version's id; null: this is the first
  add column version_number bigint not null default 1,
  add column superseded_at timestamptz, -- null: the version that counts
  add column found_by text not null default '', -- what a mistyped word is compared with
  add column ordered_name text not null generated always as (app.ordered(name)) stored,
  add column series_id uuid not null generated always as (coalesce(version_of, document_id)) stored,
  add column shown_at timestamptz not null generated always as (coalesce(captured_at, created_at)) stored,
  add column cell bigint generated always as (app.map_cell(latitude, longitude)) stored,
  add foreign key (tenant_id, project_id, location_id) references locations,
  add foreign key (tenant_id, trade_id) references trades,
  add foreign key (tenant_id, project_id, folder_id) references folders (tenant_id, project_id, folder_id),
  add foreign key (tenant_id, project_id, album_id) references albums (tenant_id, project_id, album_id)
    on delete set null (album_id);
grant update (folder_id, name, description, tags, album_id, location_id, trade_id, private, starred, archived_at, version)
  on documents to buildpeer_app;
grant update (folder_id, tags, album_id, location_id, trade_id, private) on documents to buildpeer_worker;
grant update (folder_id, description, tags, album_id, location_id, trade_id, private, starred, archived_at, version,
  version_of, version_number, superseded_at) on documents to buildpeer_system;

-- What a document is found by. The words of its file are marked D, those of what people say of it A.
create function app.index_words(of_file tsvector, name text, description text, tags text[]) returns tsvector
  language sql stable parallel safe
  return coalesce(of_file, '') || setweight(app.words(concat_ws(' ', name, description, array_to_string(tags, ' '))), 'A')
    || array_to_tsvector(array(select '#' || app.folded(tag) from unnest(tags) tag));
grant execute on function app.index_words(tsvector, text, text, text[]) to buildpeer_app, buildpeer_worker, buildpeer_system;

create function app.index_document() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  new.found_by := app.folded(concat_ws(' ', new.name, new.description, array_to_string(new.tags, ' ')));
  new.words := app.index_words(ts_filter(new.words, '{d}'), new.name, new.description, new.tags);
  return new;
end
$$;
create trigger indexed before insert on documents for each row execute function app.index_document();
create trigger indexed_again before update of name, description, tags on documents for each row
  when ((old.name, old.description, old.tags) is distinct from (new.name, new.description, new.tags))
  execute function app.index_document();
-- What there is has its words as they were written, without accents.
update documents set found_by = app.folded(name), words = words
  || to_tsvector('pg_catalog.spanish', array_to_string(tsvector_to_array(words), ' '))
  || to_tsvector('pg_catalog.portuguese', array_to_string(tsvector_to_array(words), ' '));

create unique index documents_current on documents (tenant_id, series_id) where superseded_at is null;
create unique index documents_versions on documents (tenant_id, series_id, version_number);
drop index documents_newest;
create index documents_newest on documents (tenant_id, project_id, created_at desc, document_id desc)
  where superseded_at is null and archived_at is null;
create index documents_archived on documents (tenant_id, project_id, created_at desc, document_id desc)
  where superseded_at is null and archived_at is not null;
drop index documents_newest_of_all;
create index documents_newest_of_all on documents (tenant_id, created_at desc, document_id desc)
  where superseded_at is null and archived_at is null;
create index documents_of_kind on documents (tenant_id, project_id, kind, created_at desc, document_id desc)
  where superseded_at is null and archived_at is null;
create index documents_by_name on documents (tenant_id, project_id, folder_id, ordered_name, document_id)
  where folder_id is not null and superseded_at is null and archived_at is null;
-- Apart, since the planner takes no order from `is null`.
create index documents_unfiled on documents (tenant_id, project_id, ordered_name, document_id)
  where folder_id is null and superseded_at is null and archived_at is null;
create index documents_of_album on documents (tenant_id, project_id, album_id, shown_at desc, document_id desc)
  where album_id is not null and superseded_at is null and archived_at is null;
create index documents_of_location on documents (tenant_id, project_id, location_id, shown_at desc, document_id desc)
  where location_id is not null and superseded_at is null and archived_at is null;
create index documents_of_trade on documents (tenant_id, project_id, trade_id, shown_at desc, document_id desc)
  where trade_id is not null and superseded_at is null and archived_at is null;
create index documents_starred on documents (tenant_id, project_id, shown_at desc, document_id desc)
  where starred and superseded_at is null and archived_at is null;
create index photos_by_time on documents (tenant_id, project_id, shown_at desc, document_id desc)
  where kind = 'photo' and superseded_at is null and archived_at is null;
create index photos_by_sender on documents (tenant_id, project_id, created_by, shown_at desc, document_id desc)
  where kind = 'photo' and superseded_at is null and archived_at is null;
create index photos_by_place on documents (tenant_id, project_id, cell)
  where kind = 'photo' and cell is not null and superseded_at is null and archived_at is null;
create index documents_words on documents using gin (tenant_id, words);
create index documents_found_by on documents using gin (tenant_id, found_by public.gin_trgm_ops);

create policy private on documents as restrictive for select to buildpeer_app
  using ((select app.role() in ('owner', 'manager')) or created_by = (select app.person_id())
    or (not private and (album_id is null or album_id <> all ((select app.hidden_albums())::uuid[]))));

drop trigger audit_insert on documents;
drop trigger audit_delete on documents;
drop trigger audit_change on documents;
drop trigger audit_truncate on documents;
select audit.watch('documents', 'document_id',
  'words,found_by,ordered_name,series_id,shown_at,cell,version', 'words,found_by');
reset role;

set role buildpeer_system;
-- When the version that counts is locked away, the newest that is left takes its place, and lies where it lay.
create function app.promote_version() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  heir uuid := (select d.document_id from public.documents d
    where d.tenant_id = new.tenant_id and d.series_id = new.series_id and d.withdrawn_at is null
    order by d.version_number desc limit 1);
begin
  if heir is not null then
    update public.documents d set superseded_at = new.withdrawn_at
    where d.tenant_id = new.tenant_id and d.document_id = new.document_id;
    update public.documents d set superseded_at = null, folder_id = new.folder_id, album_id = new.album_id,
      location_id = new.location_id, trade_id = new.trade_id, archived_at = new.archived_at, tags = new.tags,
      private = new.private, version = d.version + 1
    where d.tenant_id = new.tenant_id and d.document_id = heir;
  end if;
  return null;
end
$$;

-- When a version that counted was locked away by mistake, it counts again, and lies where the one lies that took its place.
create function app.reinstate_version() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  heir public.documents;
begin
  select d.* into heir from public.documents d
  where d.tenant_id = new.tenant_id and d.series_id = new.series_id and d.superseded_at is null
    and d.version_number < new.version_number;
  if found then
    update public.documents d set superseded_at = now()
    where d.tenant_id = new.tenant_id and d.document_id = heir.document_id;
    update public.documents d set superseded_at = null, folder_id = heir.folder_id, album_id = heir.album_id,
      location_id = heir.location_id, trade_id = heir.trade_id, archived_at = heir.archived_at, tags = heir.tags,
      private = heir.private, version = d.version + 1
    where d.tenant_id = new.tenant_id and d.document_id = new.document_id;
  end if;
  return null;
end
$$;

-- Makes a document that stands alone the next version of another one of its project, in whose place it comes: one after
-- the other, so that two at once get two numbers. People do it with documents of their own. False if it can't be.
create function app.add_version(added uuid, of_document uuid, at timestamptz) returns boolean
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  tenant uuid := app.tenant_id();
  series uuid := (select d.series_id from public.documents d
    where d.tenant_id = tenant and d.document_id = of_document and d.withdrawn_at is null);
  head public.documents;
begin
  perform pg_advisory_xact_lock(hashtextextended('versions ' || series::text, 0));
  select d.* into head from public.documents d
  where d.tenant_id = tenant and d.series_id = series and d.superseded_at is null and d.withdrawn_at is null for update;
  perform from public.documents d
  where d.tenant_id = tenant and d.document_id = added and d.withdrawn_at is null and d.project_id = head.project_id
    and d.version_of is null and d.superseded_at is null and d.series_id <> series
    and (app.person_id() is null or (d.created_by = app.person_id() and d.project_id = any (app.file_projects())))
    and not exists (select from public.documents o
      where o.tenant_id = tenant and o.series_id = d.series_id and o.document_id <> d.document_id)
  for update;
  if not found then
    return false;
  end if;
  update public.documents d set superseded_at = at where d.tenant_id = tenant and d.document_id = head.document_id;
  update public.documents d set version_of = series, folder_id = head.folder_id, description = head.description,
    tags = head.tags, album_id = head.album_id, location_id = head.location_id, trade_id = head.trade_id,
    private = head.private, starred = head.starred, archived_at = null, version = head.version + 1,
    version_number = 1 + (select max(o.version_number) from public.documents o
      where o.tenant_id = tenant and o.series_id = series)
  where d.tenant_id = tenant and d.document_id = added;
  return true;
end
$$;

-- Makes a document of the caller's own with the bytes of one that they may read, and locks that one: bytes are linked only
-- from a document that stands locked. False if there is none such.
create function app.copy_document(source uuid, made uuid) returns boolean
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  d public.documents;
begin
  select k.* into d from public.documents k
  where k.tenant_id = app.tenant_id() and k.document_id = source and k.withdrawn_at is null
    and k.project_id = any (app.file_projects())
    and (k.created_by = app.person_id() or app.role() in ('owner', 'manager')
      or (not k.private and (k.album_id is null or k.album_id <> all (app.hidden_albums()))))
  for update;
  if d.document_id is null then
    return false;
  end if;
  insert into public.documents (tenant_id, document_id, project_id, created_by, kind, name, size_bytes, content_type,
    sha256, bucket, key, version_id, media, thumbnail, preview, preview_reason, icon, captured_at, captured_from,
    latitude, longitude, located_from, words)
  values (d.tenant_id, made, d.project_id, app.person_id(), d.kind, d.name, d.size_bytes, d.content_type,
    d.sha256, d.bucket, d.key, d.version_id, d.media, d.thumbnail, d.preview, d.preview_reason, d.icon, d.captured_at,
    d.captured_from, d.latitude, d.longitude, d.located_from, d.words) on conflict do nothing;
  return found;
end
$$;

-- The words of these texts that come closest to a mistyped one; null: none comes close.
create function app.close_words(word text, texts text[]) returns tsquery
  language sql stable set search_path = pg_catalog, pg_temp
begin atomic
  select string_agg(quote_literal(c.w), ' | ')::tsquery from (
    select distinct w, public.similarity(w, word) as alike
    from unnest(texts) said, regexp_split_to_table(said, '[^[:alnum:]]+') w
    where public.word_similarity(word, w) >= 0.4
    order by alike desc limit 5) c;
end;
revoke all on function app.close_words(text, text[]) from public;

-- Documents that the caller may see, newest first: those with all these words and tags; where no document has these words,
-- those with the words of names, descriptions and tags that come close. Under its policies alone the api could not use the
-- indexes of words, so this looks instead, and asks for the same rights.
create function app.find_documents(in_project uuid, asked text, with_tags text[], in_folder uuid, of_kind text,
  by_person uuid, archived boolean, before_at timestamptz, before_id uuid, max_rows int) returns setof uuid
  language plpgsql stable security definer
  set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan as $$
declare
  tenant uuid := app.tenant_id();
  person uuid := app.person_id();
  sees_all boolean := coalesce(app.role() in ('owner', 'manager'), false);
  hidden uuid[] := case when sees_all then '{}' else app.hidden_albums() end;
  places uuid[] := array(select p from unnest(app.file_projects()) p where in_project is null or p = in_project);
  wanted tsquery := app.asked(asked);
  tagged tsquery := (select string_agg(quote_literal('#' || app.folded(tag)), ' & ') from unnest(with_tags) tag)::tsquery;
  close tsquery;
  word text;
  word_count int := 0;
  guessed boolean := false;
begin
  if asked = '' then
    wanted := tagged;
  else
    -- Whoever asks for a phrase, or without a word, means it.
    if asked !~ '"|(^|\s)-' and not exists (
      select from public.documents d
      where d.tenant_id = tenant and d.words @@ wanted and d.project_id = any (places)
        and d.withdrawn_at is null and d.superseded_at is null and (d.archived_at is not null) = archived
        and (sees_all or d.created_by = person or (not d.private and (d.album_id is null or d.album_id <> all (hidden))))
    ) then
      -- The setting is there for everybody once a function of its extension was called.
      perform public.similarity('', ''), set_config('pg_trgm.word_similarity_threshold', '0.4', true);
      for word in
        select w from regexp_split_to_table(app.folded(asked), '[^[:alnum:]]+') w where length(w) > 2
      loop
        -- What is frequent is among the newest; what isn't, the index of trigrams finds at once. It is asked for nothing
        -- else, lest the planner takes another way.
        close := app.close_words(word, array(select d.found_by from public.documents d
          where d.tenant_id = tenant and d.superseded_at is null and d.archived_at is null
            and d.project_id = any (places) order by d.created_at desc, d.document_id desc limit 500));
        if close is null then
          close := app.close_words(word, array(select f.found_by from (
            select d.found_by, d.project_id from public.documents d
            where d.tenant_id = tenant and d.found_by operator(public.%>) word limit 500) f
            where f.project_id = any (places)));
        end if;
        guessed := guessed or close is null;
        close := coalesce(close, app.near(word));
        wanted := case when word_count = 0 then close else wanted && close end;
        word_count := word_count + 1;
      end loop;
    end if;
    wanted := coalesce(wanted && tagged, wanted);
  end if;
  if guessed then -- of words that may be nowhere nothing is known, and most are: they go by their index, come what may
    return query
    with found as materialized (
      select d.* from public.documents d where d.tenant_id = tenant and d.words @@ wanted and d.project_id = any (places)
    )
    select d.document_id from found d
    where (in_folder is null or d.folder_id = in_folder) and (of_kind is null or d.kind = of_kind)
      and (by_person is null or d.created_by = by_person)
      and d.withdrawn_at is null and d.superseded_at is null and (d.archived_at is not null) = archived
      and (sees_all or d.created_by = person or (not d.private and (d.album_id is null or d.album_id <> all (hidden))))
      and (d.created_at, d.document_id) < (before_at, before_id)
    order by d.created_at desc, d.document_id desc limit max_rows;
    return;
  end if;
  return query
  select d.document_id from public.documents d
  where d.tenant_id = tenant and d.words @@ wanted and d.project_id = any (places)
    and (in_folder is null or d.folder_id = in_folder) and (of_kind is null or d.kind = of_kind)
    and (by_person is null or d.created_by = by_person)
    and d.withdrawn_at is null and d.superseded_at is null and (d.archived_at is not null) = archived
    and (sees_all or d.created_by = person or (not d.private and (d.album_id is null or d.album_id <> all (hidden))))
    and (d.created_at, d.document_id) < (before_at, before_id)
  order by d.created_at desc, d.document_id desc limit max_rows;
end
$$;

-- Ends those of the caller's newly opened uploads whose content is that of a document which the caller may read: the one
-- in the same project, or a new one there that links the same bytes. By locking the documents, in one order, two calls at
-- once wait for each other, and for an erasure that is under way. Private ones of others stay unknown.
create or replace function app.link_known(opened uuid[]) returns table (upload_id uuid, document_id uuid, added boolean)
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  tenant uuid := app.tenant_id();
  readable uuid[] := app.file_projects();
  sees_all boolean := coalesce(app.role() in ('owner', 'manager'), false);
  hidden uuid[] := app.hidden_albums();
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
          and k.project_id = any (readable)
          and (sees_all or k.created_by = app.person_id()
            or (not k.private and (k.album_id is null or k.album_id <> all (hidden)))) offset 0) d
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
      d.located_from, d.words, d.superseded_at is null and d.archived_at is null as in_use
    from public.uploads u cross join lateral (
      select k.* from public.documents k
      where k.tenant_id = tenant and k.withdrawn_at is null and k.sha256 = u.sha256 and k.size_bytes = u.size_bytes
        and k.document_id = any (candidates)
      order by k.project_id <> u.project_id, coalesce(k.superseded_at, k.archived_at) is not null, k.created_at,
        k.document_id limit 1) d
    where u.tenant_id = tenant and u.upload_id = any (own)
  ), chosen as (
    select m.*, case when m.held_in = m.project_id and m.in_use then m.document_id
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


-- What lay in a private album that goes stays private.
create function app.keep_private() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  update public.documents d set private = true
  where d.tenant_id = old.tenant_id and d.project_id = old.project_id and d.album_id = old.album_id and not d.private;
  return old;
end
$$;

revoke all on function app.keep_private(), app.promote_version(), app.reinstate_version(),
  app.add_version(uuid, uuid, timestamptz), app.copy_document(uuid, uuid),
  app.find_documents(uuid, text, text[], uuid, text, uuid, boolean, timestamptz, uuid, int) from public;
grant execute on function app.keep_private(), app.promote_version(), app.reinstate_version() to buildpeer_owner;
grant execute on function app.add_version(uuid, uuid, timestamptz) to buildpeer_app, buildpeer_worker;
grant execute on function app.copy_document(uuid, uuid),
  app.find_documents(uuid, text, text[], uuid, text, uuid, boolean, timestamptz, uuid, int) to buildpeer_app;
reset role;

set role buildpeer_owner;
create trigger keeps_private before delete on albums for each row when (old.private) execute function app.keep_private();
create trigger promotes after update of withdrawn_at on documents for each row
  when (old.withdrawn_at is null and new.withdrawn_at is not null and old.superseded_at is null)
  execute function app.promote_version();
create trigger reinstates after update of withdrawn_at on documents for each row
  when (old.withdrawn_at is not null and new.withdrawn_at is null and new.superseded_at is not null)
  execute function app.reinstate_version();

-- Where a file goes once it is ready, as its sender said while it was on its way.
create table placements (
  tenant_id uuid not null,
  upload_id uuid not null,
  project_id uuid not null,
  created_by uuid not null,
  folder_id uuid,
  version_of uuid, -- any version of the document that it is the next version of
  album_id uuid,
  location_id uuid,
  trade_id uuid,
  tags text[] not null,
  private boolean not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, upload_id),
  foreign key (tenant_id, upload_id) references uploads,
  foreign key (tenant_id, project_id, location_id) references locations,
  foreign key (tenant_id, trade_id) references trades,
  foreign key (tenant_id, project_id, folder_id) references folders (tenant_id, project_id, folder_id)
    on delete set null (folder_id),
  foreign key (tenant_id, project_id, album_id) references albums (tenant_id, project_id, album_id)
    on delete set null (album_id)
);
alter table placements enable row level security;
alter table placements force row level security;
create policy tenant on placements to buildpeer_app, buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy own on placements as restrictive to buildpeer_app
  using (created_by = (select app.person_id()) and project_id = any ((select app.file_projects())::uuid[]))
  with check (created_by = (select app.person_id()) and project_id = any ((select app.file_projects())::uuid[]));
grant select, insert, delete, update (folder_id, version_of, album_id, location_id, trade_id, tags, private)
  on placements to buildpeer_app;
grant select, delete on placements to buildpeer_worker;
select audit.watch('placements', 'upload_id', '');
select app.lives_with_tenant('placements');
select app.lives_with_project('placements');

-- Before and after: two photos of the same place.
create table photo_pairs (
  tenant_id uuid not null,
  pair_id uuid not null,
  project_id uuid not null,
  before_id uuid not null,
  after_id uuid not null check (after_id <> before_id),
  title text not null check (length(title) <= 200),
  created_by uuid not null,
  created_at timestamptz not null,
  primary key (tenant_id, pair_id),
  unique (tenant_id, before_id, after_id),
  foreign key (tenant_id, project_id, before_id) references documents (tenant_id, project_id, document_id)
    on delete cascade,
  foreign key (tenant_id, project_id, after_id) references documents (tenant_id, project_id, document_id) on delete cascade
);
create index photo_pairs_newest on photo_pairs (tenant_id, project_id, created_at desc, pair_id desc);
create index photo_pairs_after on photo_pairs (tenant_id, after_id);
alter table photo_pairs enable row level security;
alter table photo_pairs force row level security;
create policy tenant on photo_pairs to buildpeer_app, buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy visible on photo_pairs as restrictive to buildpeer_app
  using ((select app.role() in ('owner', 'manager')) or project_id = any ((select app.file_projects())::uuid[]))
  with check ((select app.role() in ('owner', 'manager')) or project_id = any ((select app.file_projects())::uuid[]));
grant select, delete, insert on photo_pairs to buildpeer_app;
select audit.watch('photo_pairs', 'pair_id', '');
select app.lives_with_tenant('photo_pairs');
select app.lives_with_project('photo_pairs');

-- Links that open one version of a document to whoever has them. The token is in `tokens`, as a hash.
create table share_links (
  tenant_id uuid not null,
  link_id uuid not null,
  project_id uuid not null,
  document_id uuid not null,
  note text not null check (length(note) <= 200), -- whom it is for
  created_by uuid not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  most_views bigint check (most_views > 0), -- null: no limit
  views bigint not null default 0 check (views <= most_views),
  revoked_at timestamptz,
  primary key (tenant_id, link_id),
  foreign key (tenant_id, project_id, document_id) references documents (tenant_id, project_id, document_id)
    on delete cascade
);
create index share_links_newest on share_links (tenant_id, created_at desc, link_id desc);
create index share_links_of_document on share_links (tenant_id, document_id);
alter table share_links enable row level security;
alter table share_links force row level security;
create policy tenant on share_links to buildpeer_app, buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy visible on share_links as restrictive to buildpeer_app
  using (project_id = any ((select app.file_projects())::uuid[])
    and (created_by = (select app.person_id()) or (select app.member_role()) in ('owner', 'manager')))
  with check (project_id = any ((select app.file_projects())::uuid[])
    and (created_by = (select app.person_id()) or (select app.member_role()) in ('owner', 'manager')));
create policy system on share_links to buildpeer_system using (true) with check (true);
grant select, update (revoked_at),
  insert (tenant_id, link_id, project_id, document_id, note, created_by, created_at, expires_at, most_views)
  on share_links to buildpeer_app;
grant select, update (views) on share_links to buildpeer_system;
select audit.watch('share_links', 'link_id', 'views');
select app.lives_with_tenant('share_links');
select app.lives_with_project('share_links');
reset role;

set role buildpeer_system;
-- The document that a token opens, while it does: neither expired, nor revoked, nor used up, and the document in sight.
create function app.shared_document(hash bytea, at timestamptz) returns table (
    tenant_id uuid, link_id uuid, project_id uuid, document_id uuid, tenant text, name text, size_bytes bigint,
    content_type text, bucket text, key text, version_id text, expires_at timestamptz, views_left bigint)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select l.tenant_id, l.link_id, l.project_id, l.document_id, n.name, d.name, d.size_bytes, d.content_type, d.bucket, d.key,
    d.version_id, l.expires_at, l.most_views - l.views
  from public.tokens t
  join public.share_links l on l.tenant_id = t.tenant_id and l.link_id = t.subject_id
  join public.documents d on d.tenant_id = l.tenant_id and d.document_id = l.document_id and d.withdrawn_at is null
  join public.projects p on p.tenant_id = l.tenant_id and p.project_id = l.project_id and p.archived_at is null
  join public.tenants n on n.tenant_id = l.tenant_id and n.suspended_at is null
  where t.token_hash = hash and l.revoked_at is null and l.expires_at > at
    and (l.most_views is null or l.views < l.most_views);
end;

-- Counts a view, if there is one left, and says so in the trail. Whoever comes at the same time waits for the row, and then
-- finds one less.
create function app.view_shared(hash bytea, at timestamptz) returns boolean
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  s record;
begin
  select * into s from app.shared_document(hash, at);
  update public.share_links l set views = l.views + 1
  where l.tenant_id = s.tenant_id and l.link_id = s.link_id and l.revoked_at is null and l.expires_at > at
    and (l.most_views is null or l.views < l.most_views);
  if not found then
    return false;
  end if;
  perform audit.note(s.tenant_id, null, 'download', 'share_links', s.link_id::text,
    jsonb_build_object('document_id', s.document_id), s.project_id);
  return true;
end
$$;
revoke all on function app.shared_document(bytea, timestamptz), app.view_shared(bytea, timestamptz) from public;
grant execute on function app.shared_document(bytea, timestamptz), app.view_shared(bytea, timestamptz) to buildpeer_app;
reset role;
