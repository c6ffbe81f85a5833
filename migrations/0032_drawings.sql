-- Drawings: sheets of documents under the numbers that people know them by, their revisions, and pins on them.
--
-- A sheet is a page of a document; no bytes are copied. What is filed and not published yet is seen by who filed it, and
-- by owners and managers.

set role buildpeer_owner;

create table drawing_areas (
  tenant_id uuid not null,
  area_id uuid not null,
  project_id uuid not null,
  name text not null check (length(name) between 1 and 200),
  created_by uuid not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, project_id, area_id),
  constraint drawing_areas_name unique (tenant_id, project_id, name),
  foreign key (tenant_id, project_id) references projects
);

create table drawing_sets (
  tenant_id uuid not null,
  set_id uuid not null,
  project_id uuid not null,
  kind text not null check (kind in ('bid', 'addendum', 'ifc', 'as_built', 'other')),
  name text not null check (length(name) between 1 and 200),
  set_date date not null,
  position bigint not null default 0, -- the smallest first
  created_by uuid not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, project_id, set_id),
  constraint drawing_sets_name unique (tenant_id, project_id, name),
  foreign key (tenant_id, project_id) references projects
);

create table drawings (
  tenant_id uuid not null,
  drawing_id uuid not null,
  project_id uuid not null,
  area_id uuid, -- null: none
  number text not null check (length(number) between 1 and 80),
  plain_number text not null, -- as numbers are told apart: small letters, no accents
  ordered_number text not null, -- as people count: 2 before 10
  title text not null check (length(title) between 1 and 200), -- the current revision's, until somebody changes it
  discipline text not null,
  found_by text not null, -- number and title, as they are searched
  obsolete boolean not null default false,
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  primary key (tenant_id, drawing_id),
  unique (tenant_id, project_id, drawing_id),
  constraint drawings_number unique nulls not distinct (tenant_id, project_id, area_id, plain_number),
  foreign key (tenant_id, project_id) references projects,
  foreign key (tenant_id, project_id, area_id) references drawing_areas (tenant_id, project_id, area_id)
);
create index drawings_by_number on drawings (tenant_id, project_id, ordered_number, drawing_id);

create table drawing_revisions (
  tenant_id uuid not null,
  revision_id uuid not null,
  project_id uuid not null,
  drawing_id uuid not null,
  revision_number text not null check (length(revision_number) <= 20), -- empty: none
  drawing_date date, -- on the sheet; null: none
  received_date date not null,
  set_id uuid,
  title text not null check (length(title) between 1 and 200),
  document_id uuid not null, -- one version of a file
  page bigint not null check (page >= 1),
  current boolean not null default false, -- the most recent one, by the rules
  published_by uuid not null,
  published_at timestamptz not null,
  primary key (tenant_id, revision_id),
  unique (tenant_id, project_id, revision_id),
  constraint drawing_revisions_once unique nulls not distinct
    (tenant_id, drawing_id, revision_number, set_id, drawing_date, received_date),
  foreign key (tenant_id, project_id, drawing_id) references drawings (tenant_id, project_id, drawing_id),
  foreign key (tenant_id, project_id, set_id) references drawing_sets (tenant_id, project_id, set_id),
  constraint drawing_revisions_document foreign key (tenant_id, project_id, document_id)
    references documents (tenant_id, project_id, document_id) deferrable
);
create unique index drawing_revisions_current on drawing_revisions (tenant_id, drawing_id) where current;
create index drawing_revisions_newest on drawing_revisions
  (tenant_id, project_id, published_at desc, revision_id desc) where current;
create index drawing_revisions_of_set on drawing_revisions (tenant_id, set_id, drawing_id);
create index drawing_revisions_of_document on drawing_revisions (tenant_id, project_id, document_id);

-- A file whose pages are to become revisions.
create table drawing_filings (
  tenant_id uuid not null,
  filing_id uuid not null,
  project_id uuid not null,
  document_id uuid not null,
  area_id uuid,
  set_id uuid,
  revision_number text not null check (length(revision_number) <= 20), -- where a sheet doesn't say
  drawing_date date,
  received_date date not null,
  pages bigint not null check (pages between 1 and 1000),
  version bigint not null default 1,
  created_by uuid not null,
  created_at timestamptz not null,
  primary key (tenant_id, filing_id),
  unique (tenant_id, project_id, filing_id),
  foreign key (tenant_id, project_id, document_id) references documents (tenant_id, project_id, document_id)
    on delete cascade,
  foreign key (tenant_id, project_id, area_id) references drawing_areas (tenant_id, project_id, area_id),
  foreign key (tenant_id, project_id, set_id) references drawing_sets (tenant_id, project_id, set_id)
);
create index drawing_filings_newest on drawing_filings (tenant_id, project_id, created_at desc, filing_id desc);
create index drawing_filings_of_document on drawing_filings (tenant_id, project_id, document_id);

-- What a person said of a page; a page that nobody has looked at has no row.
create table drawing_sheets (
  tenant_id uuid not null,
  filing_id uuid not null,
  page bigint not null check (page >= 1),
  project_id uuid not null,
  number text not null check (length(number) <= 80),
  title text not null check (length(title) <= 200),
  discipline text not null,
  revision_number text not null check (length(revision_number) <= 20),
  drawing_date date,
  skipped boolean not null, -- a cover, or an index: no drawing
  reviewed_by uuid not null,
  revision_id uuid, -- what it was published as
  primary key (tenant_id, filing_id, page),
  check (skipped or (number <> '' and title <> '')),
  foreign key (tenant_id, project_id, filing_id) references drawing_filings (tenant_id, project_id, filing_id)
    on delete cascade,
  foreign key (tenant_id, project_id, revision_id) references drawing_revisions (tenant_id, project_id, revision_id)
);
create index drawing_sheets_published on drawing_sheets (tenant_id, project_id, revision_id);

-- Where on a sheet something is: from its top left corner (0, 0) to the bottom right one (1, 1).
create table drawing_pins (
  tenant_id uuid not null,
  pin_id uuid not null,
  project_id uuid not null,
  revision_id uuid not null,
  pos_x double precision not null check (pos_x between 0 and 1),
  pos_y double precision not null check (pos_y between 0 and 1),
  kind text not null check (kind in ('rfi', 'photo', 'document')),
  target_id uuid not null,
  document_id uuid generated always as (case when kind = 'rfi' then null else target_id end) stored,
  label text not null default '' check (length(label) <= 200),
  created_by uuid not null,
  created_at timestamptz not null,
  primary key (tenant_id, pin_id),
  foreign key (tenant_id, project_id, revision_id) references drawing_revisions (tenant_id, project_id, revision_id),
  foreign key (tenant_id, project_id, document_id) references documents (tenant_id, project_id, document_id)
    on delete cascade
);
create index drawing_pins_of_revision on drawing_pins (tenant_id, project_id, revision_id);
create index drawing_pins_of_target on drawing_pins (tenant_id, project_id, target_id, pin_id);
create index drawing_pins_of_document on drawing_pins (tenant_id, project_id, document_id);

do $$
declare
  bound text;
begin
  foreach bound in array array['drawing_areas', 'drawing_sets', 'drawings', 'drawing_revisions', 'drawing_filings',
    'drawing_sheets', 'drawing_pins'] loop
    execute format('alter table %I enable row level security', bound);
    execute format('alter table %I force row level security', bound);
    execute format('create policy tenant on %I to buildpeer_app
      using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()))', bound);
    execute format('create policy visible on %I as restrictive to buildpeer_app
      using ((select app.role() in (''owner'', ''manager'')) or project_id = any ((select app.file_projects())::uuid[]))
      with check ((select app.role() in (''owner'', ''manager''))
        or project_id = any ((select app.file_projects())::uuid[]))', bound);
    execute format('grant select, insert on %I to buildpeer_app', bound);
    perform app.lives_with_tenant(bound::regclass);
    perform app.lives_with_project(bound::regclass);
  end loop;
end
$$;
create policy filed on drawing_filings as restrictive to buildpeer_app
  using (created_by = (select app.person_id()) or (select app.role() in ('owner', 'manager')))
  with check (created_by = (select app.person_id()) or (select app.role() in ('owner', 'manager')));
create policy filed on drawing_sheets as restrictive to buildpeer_app
  using (exists (select from drawing_filings f
    where f.tenant_id = drawing_sheets.tenant_id and f.filing_id = drawing_sheets.filing_id))
  with check (exists (select from drawing_filings f
    where f.tenant_id = drawing_sheets.tenant_id and f.filing_id = drawing_sheets.filing_id));

grant update (name) on drawing_areas to buildpeer_app;
grant update (kind, name, set_date, position) on drawing_sets to buildpeer_app;
grant update (area_id, number, plain_number, ordered_number, title, discipline, found_by, obsolete, version)
  on drawings to buildpeer_app;
grant update (current) on drawing_revisions to buildpeer_app;
grant update (version), delete on drawing_filings to buildpeer_app;
grant update (number, title, discipline, revision_number, drawing_date, skipped, reviewed_by, revision_id)
  on drawing_sheets to buildpeer_app;
grant delete on drawing_pins to buildpeer_app;

select audit.watch('drawing_areas', 'area_id', '');
select audit.watch('drawing_sets', 'set_id', '');
select audit.watch('drawings', 'drawing_id', 'plain_number,ordered_number,found_by,version');
select audit.watch('drawing_revisions', 'revision_id', '');
select audit.watch('drawing_filings', 'filing_id', 'version');
select audit.watch('drawing_sheets', 'filing_id,page', '');
select audit.watch('drawing_pins', 'pin_id', '');

-- Whoever sees a document may have its sheets read, and of two that they see have one page laid over another.
create policy tenant_sheets on outbox for insert to buildpeer_app with check (
  tenant_id = (select app.tenant_id()) and destination = 'buildpeer-derive-live'
  and body ->> 'source' = 'buildpeer.documents' and body ->> 'detail-type' = 'Sheets Wanted' and exists (
    select from documents d
    where d.tenant_id = outbox.tenant_id and d.key = outbox.body #>> '{detail,object,key}'
      and d.bucket = outbox.body #>> '{detail,bucket,name}'
      and d.version_id = outbox.body #>> '{detail,object,version-id}' and d.preview is not null));
create policy tenant_overlay on outbox for insert to buildpeer_app with check (
  tenant_id = (select app.tenant_id()) and destination = 'buildpeer-derive-live'
  and body ->> 'source' = 'buildpeer.documents' and body ->> 'detail-type' = 'Overlay Wanted' and exists (
    select from documents d
    where d.tenant_id = outbox.tenant_id and d.key = outbox.body #>> '{detail,object,key}'
      and d.bucket = outbox.body #>> '{detail,bucket,name}'
      and d.version_id = outbox.body #>> '{detail,object,version-id}' and d.preview is not null
      and (outbox.body #>> '{detail,page}')::int between 1 and coalesce((d.media ->> 'pages')::int, 1))
  and exists (
    select from documents d
    where d.tenant_id = outbox.tenant_id and d.key = outbox.body #>> '{detail,older,key}'
      and d.bucket = outbox.body #>> '{detail,bucket,name}'
      and d.version_id = outbox.body #>> '{detail,older,version-id}' and d.preview is not null
      and (outbox.body #>> '{detail,older_page}')::int between 1 and coalesce((d.media ->> 'pages')::int, 1)));
reset role;
