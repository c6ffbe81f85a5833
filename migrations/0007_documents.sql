-- Documents: files that people work with. A document keeps the id under which its first file was uploaded.

set role buildpeer_owner;

create table documents (
  tenant_id uuid not null,
  document_id uuid not null,
  project_id uuid not null,
  created_by uuid not null,
  kind text not null,
  name text not null,
  size_bytes bigint not null,
  content_type text not null,
  sha256 bytea not null,
  bucket text not null,
  key text not null,
  version_id text not null,
  media jsonb not null,
  thumbnail jsonb,
  preview jsonb,
  preview_reason text not null default '', -- why there are no pictures
  created_at timestamptz not null default now(),
  primary key (tenant_id, document_id),
  foreign key (tenant_id, project_id) references projects
);
create index documents_newest on documents (tenant_id, project_id, created_at desc, document_id desc);
create index documents_newest_of_all on documents (tenant_id, created_at desc, document_id desc);

alter table documents enable row level security;
alter table documents force row level security;
create policy tenant on documents to buildpeer_app, buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy visible on documents as restrictive to buildpeer_app
  using (project_id = any ((select app.file_projects())::uuid[]))
  with check (project_id = any ((select app.file_projects())::uuid[]));
grant select on documents to buildpeer_app;
grant select, insert on documents to buildpeer_worker;

select audit.watch('documents', 'document_id', '');
reset role;
