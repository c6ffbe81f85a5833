-- What happened on a site, day by day: daily logs, written by many phones that are mostly offline; and the bitácora de
-- obra, whose numbered notes nobody changes.

set role buildpeer_owner;

create table daily_logs (
  tenant_id uuid not null,
  project_id uuid not null,
  log_date date not null, -- in the project's zone
  state text not null default 'open' check (state in ('open', 'completed', 'distributed')),
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  completed_by uuid,
  completed_at timestamptz,
  distributed_by uuid,
  distributed_at timestamptz,
  recipients uuid[] not null default '{}',
  primary key (tenant_id, project_id, log_date),
  foreign key (tenant_id, project_id) references projects,
  check ((completed_at is null) = (state = 'open') and (completed_by is null) = (completed_at is null)),
  check ((distributed_at is not null) = (state = 'distributed') and (distributed_by is null) = (distributed_at is null))
);

-- What somebody saw or counted on that day. `written` says of each field, and of each attachment, by which versions of
-- the entry and from which phones it got its value; what isn't named there has been so from the beginning.
create table daily_log_entries (
  tenant_id uuid not null,
  entry_id uuid not null, -- made by the phone
  project_id uuid not null,
  log_date date not null,
  kind text not null,
  fields jsonb not null,
  attachments uuid[] not null default '{}',
  written jsonb not null default '{}',
  version bigint not null default 1,
  digest bytea not null, -- of what was created, to know it again
  created_by uuid not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  noted_at timestamptz not null, -- by the phone's clock, put right
  clock_off_s bigint not null default 0, -- how far that clock was ahead
  late boolean not null default false, -- came when the day was completed already
  copied_from uuid,
  deleted_at timestamptz,
  deleted_by uuid,
  primary key (tenant_id, entry_id),
  foreign key (tenant_id, project_id, log_date) references daily_logs,
  check ((deleted_at is null) = (deleted_by is null))
);
create index daily_log_entries_of_day on daily_log_entries (tenant_id, project_id, log_date, entry_id);
create unique index daily_log_entries_copied on daily_log_entries (tenant_id, project_id, log_date, copied_from);

-- Every change as a phone sent it, by the phone's own count, so that twice is once and nothing that was written is lost.
create table daily_log_edits (
  tenant_id uuid not null,
  installation_id uuid not null,
  sequence bigint not null,
  entry_id uuid not null,
  project_id uuid not null,
  created_by uuid not null,
  received_at timestamptz not null default now(),
  noted_at timestamptz not null,
  base_version bigint not null, -- the version that its writer had seen
  change jsonb not null,
  primary key (tenant_id, installation_id, sequence),
  foreign key (tenant_id, entry_id) references daily_log_entries
);
create index daily_log_edits_of_entry on daily_log_edits (tenant_id, entry_id, installation_id, sequence);

-- A value that another one has displaced although its writer didn't know, kept until a person has decided.
create table daily_log_conflicts (
  tenant_id uuid not null,
  conflict_id uuid not null,
  entry_id uuid not null,
  project_id uuid not null,
  log_date date not null,
  field text not null,
  value jsonb, -- the one that isn't in force; null: nothing
  written_by uuid not null,
  reason text not null check (reason in ('concurrent', 'closed', 'deleted')),
  created_at timestamptz not null default now(),
  resolution text check (resolution in ('kept', 'taken')),
  resolved_by uuid,
  resolved_at timestamptz,
  primary key (tenant_id, conflict_id),
  foreign key (tenant_id, entry_id) references daily_log_entries,
  check ((resolution is null) = (resolved_at is null) and (resolved_by is null) = (resolved_at is null))
);
create index daily_log_conflicts_of_entry on daily_log_conflicts (tenant_id, entry_id);
create index daily_log_conflicts_open on daily_log_conflicts (tenant_id, project_id, log_date) where resolution is null;

create table bitacoras (
  tenant_id uuid not null,
  bitacora_id uuid not null, -- made by the client
  project_id uuid not null,
  title text not null check (length(title) between 1 and 200),
  contract jsonb not null,
  signing_days bigint not null check (signing_days between 1 and 30),
  created_by uuid not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, bitacora_id),
  foreign key (tenant_id, project_id) references projects
);
create index bitacoras_of_project on bitacoras (tenant_id, project_id, bitacora_id);

-- Who acts as what, and from when until when.
create table bitacora_parties (
  tenant_id uuid not null,
  bitacora_id uuid not null,
  party_id bigint generated always as identity,
  project_id uuid not null,
  role text not null check (role in ('residente', 'superintendente', 'supervisor')),
  person_id uuid not null,
  named_by uuid not null,
  since timestamptz not null default now(),
  until timestamptz,
  primary key (tenant_id, bitacora_id, party_id),
  foreign key (tenant_id, bitacora_id) references bitacoras
);
create unique index bitacora_parties_role on bitacora_parties (tenant_id, bitacora_id, role) where until is null;
create unique index bitacora_parties_person on bitacora_parties (tenant_id, bitacora_id, person_id) where until is null;

-- A note is the text that was hashed and signed; the other columns repeat some of it, to find it by.
create table bitacora_notes (
  tenant_id uuid not null,
  bitacora_id uuid not null,
  folio bigint not null,
  note_id uuid not null, -- made by the client
  project_id uuid not null,
  class text not null,
  author_id uuid not null,
  issued_at timestamptz not null,
  refers_to bigint,
  digest bytea not null, -- of what was sent, to know it again
  content text not null,
  previous_hash bytea not null,
  hash bytea not null,
  primary key (tenant_id, bitacora_id, folio),
  unique (tenant_id, note_id),
  unique (tenant_id, bitacora_id, folio, hash),
  foreign key (tenant_id, bitacora_id) references bitacoras,
  check (folio > 0 and refers_to between 1 and folio - 1) -- folios have no gap, so it is there
);

-- Whoever signs names the hash of what they have read. Its author has signed a note by issuing it.
create table bitacora_signatures (
  tenant_id uuid not null,
  bitacora_id uuid not null,
  folio bigint not null,
  role text not null,
  project_id uuid not null,
  person_id uuid not null,
  person_name text not null,
  signed_at timestamptz not null,
  note_hash bytea not null,
  primary key (tenant_id, bitacora_id, folio, role),
  foreign key (tenant_id, bitacora_id, folio, note_hash) references bitacora_notes (tenant_id, bitacora_id, folio, hash)
);

-- Folios without a gap, each note on the one before it, the opening first and nothing after the closing: whoever writes.
create function app.check_note() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  last public.bitacora_notes;
begin
  select n.* into last from public.bitacora_notes n
  where n.tenant_id = new.tenant_id and n.bitacora_id = new.bitacora_id order by n.folio desc limit 1;
  if new.folio <> coalesce(last.folio, 0) + 1 or (new.class = 'opening') <> (new.folio = 1) or last.class = 'closing'
    or new.previous_hash <> coalesce(last.hash, decode(repeat('00', 32), 'hex'))
    or new.hash <> sha256(convert_to(new.content, 'UTF8')) then
    raise exception 'this is not the next note of its bitácora' using errcode = 'integrity_constraint_violation';
  end if;
  return new;
end
$$;
create trigger next_note before insert on bitacora_notes for each row execute function app.check_note();

-- Whoever it is; but for a company that is erased whole.
create function app.refuse_change() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'DELETE' and current_user = 'buildpeer_operator' and app.is_being_erased() then
    return old;
  end if;
  raise exception 'what was written in a bitácora stays as it was written' using errcode = 'restrict_violation';
end
$$;
create trigger stays before update or delete on bitacora_notes for each row execute function app.refuse_change();
create trigger stays before update or delete on bitacora_signatures for each row execute function app.refuse_change();

alter table daily_logs enable row level security;
alter table daily_logs force row level security;
alter table daily_log_entries enable row level security;
alter table daily_log_entries force row level security;
alter table daily_log_edits enable row level security;
alter table daily_log_edits force row level security;
alter table daily_log_conflicts enable row level security;
alter table daily_log_conflicts force row level security;
alter table bitacoras enable row level security;
alter table bitacoras force row level security;
alter table bitacora_parties enable row level security;
alter table bitacora_parties force row level security;
alter table bitacora_notes enable row level security;
alter table bitacora_notes force row level security;
alter table bitacora_signatures enable row level security;
alter table bitacora_signatures force row level security;

do $$
declare
  bound regclass;
begin
  foreach bound in array array['daily_logs', 'daily_log_entries', 'daily_log_edits', 'daily_log_conflicts', 'bitacoras',
    'bitacora_parties', 'bitacora_notes', 'bitacora_signatures']::regclass[] loop
    execute format('create policy tenant on %s to buildpeer_app, buildpeer_worker
      using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()))', bound);
    -- Investors see what is published to them, and none of this is.
    execute format('create policy visible on %s as restrictive to buildpeer_app
      using ((select app.role() in (''owner'', ''manager'')) or project_id = any ((select app.file_projects())::uuid[]))
      with check ((select app.role() in (''owner'', ''manager'')) or project_id = any ((select app.file_projects())::uuid[]))',
      bound);
    perform app.lives_with_tenant(bound);
    perform app.lives_with_project(bound);
    execute format('grant select on %s to buildpeer_app, buildpeer_worker', bound);
  end loop;
  -- A bitácora is for its parties, and for those who answer for the site.
  foreach bound in array array['bitacoras', 'bitacora_notes', 'bitacora_signatures']::regclass[] loop
    execute format('create policy parties on %1$s as restrictive for select to buildpeer_app
      using ((select app.role() in (''owner'', ''manager'', ''residente'')) or exists (select from bitacora_parties p
        where p.tenant_id = %1$s.tenant_id and p.bitacora_id = %1$s.bitacora_id and p.person_id = (select app.person_id())))',
      bound);
  end loop;
end
$$;

-- What somebody writes, they write in their own name; others' entries are for those who answer for the site.
create policy own on daily_log_entries as restrictive for insert to buildpeer_app
  with check (created_by = (select app.person_id()));
create policy own_change on daily_log_entries as restrictive for update to buildpeer_app
  using (created_by = (select app.person_id()) or (select app.role() in ('owner', 'manager', 'residente')));
create policy own on daily_log_edits as restrictive for insert to buildpeer_app
  with check (created_by = (select app.person_id()));
create policy lead on bitacoras as restrictive for insert to buildpeer_app
  with check ((select app.role() in ('owner', 'manager', 'residente')));
create policy lead on bitacora_parties as restrictive for insert to buildpeer_app
  with check ((select app.role() in ('owner', 'manager', 'residente')));
create policy lead_change on bitacora_parties as restrictive for update to buildpeer_app
  using ((select app.role() in ('owner', 'manager', 'residente')));
create policy own on bitacora_notes as restrictive for insert to buildpeer_app
  with check (author_id = (select app.person_id()));
create policy own on bitacora_signatures as restrictive for insert to buildpeer_app
  with check (person_id = (select app.person_id()));

grant insert (tenant_id, project_id, log_date),
  update (state, version, completed_by, completed_at, distributed_by, distributed_at, recipients) on daily_logs
  to buildpeer_app;
grant insert (tenant_id, entry_id, project_id, log_date, kind, fields, attachments, digest, created_by, created_at,
    updated_at, noted_at, clock_off_s, late, copied_from),
  update (fields, attachments, written, version, updated_at, deleted_at, deleted_by) on daily_log_entries
  to buildpeer_app;
grant insert on daily_log_edits to buildpeer_app;
grant insert, update (resolution, resolved_by, resolved_at) on daily_log_conflicts to buildpeer_app;
grant insert (tenant_id, bitacora_id, project_id, title, contract, signing_days, created_by) on bitacoras to buildpeer_app;
grant insert (tenant_id, bitacora_id, project_id, role, person_id, named_by, since), update (until) on bitacora_parties
  to buildpeer_app;
grant insert on bitacora_notes, bitacora_signatures to buildpeer_app;

select audit.watch('daily_logs', 'project_id,log_date', 'version');
select audit.watch('daily_log_entries', 'entry_id', 'written,updated_at');
select audit.watch('daily_log_edits', 'entry_id,installation_id,sequence', '');
select audit.watch('daily_log_conflicts', 'conflict_id', '');
select audit.watch('bitacoras', 'bitacora_id', '');
select audit.watch('bitacora_parties', 'bitacora_id,role', '');
-- With the notes and signatures themselves the trail keeps their hashes, and seals them.
select audit.watch('bitacora_notes', 'bitacora_id,folio', '');
select audit.watch('bitacora_signatures', 'bitacora_id,folio,role', '');

create statistics daily_log_entries_places (dependencies) on tenant_id, project_id from daily_log_entries;
reset role;
