-- RFIs: questions whose number, state and ball in court nobody disputes later.

set role buildpeer_owner;

-- One row for each project in which somebody has said or asked something: who manages RFIs and in how many working days
-- they are due; and the last number that was given. A number is given under this row's lock, in the transaction that uses it,
-- so one that is rolled back gives its number back.
create table rfi_settings (
  tenant_id uuid not null,
  project_id uuid not null,
  manager_id uuid references people,
  due_days bigint not null default 7 check (due_days between 1 and 365),
  last_number bigint not null default 0,
  version bigint not null default 0,
  primary key (tenant_id, project_id),
  foreign key (tenant_id, project_id) references projects
);

create table rfis (
  tenant_id uuid not null,
  rfi_id uuid not null, -- the client's UUIDv7
  project_id uuid not null,
  number bigint check (number > 0), -- null: it has never left its draft
  status text not null default 'draft'
    check (status in ('draft', 'submitted', 'open', 'answered', 'closed', 'rejected', 'void')),
  version bigint not null default 1,
  subject text not null check (length(subject) between 1 and 200),
  question text not null default '' check (length(question) <= 20000),
  reference text not null default '' check (length(reference) <= 200),
  private boolean not null default false,
  created_by uuid not null references people,
  manager_id uuid references people,
  assignees uuid[] not null default '{}',
  required uuid[] not null default '{}', -- the assignees who owe a reply
  replied uuid[] not null default '{}', -- those of them who have given it since it was opened
  reviewer_id uuid references people, -- whom it is forwarded to
  distribution uuid[] not null default '{}',
  ball_in_court uuid[] not null default '{}',
  documents uuid[] not null default '{}',
  location_id uuid,
  trade_id uuid,
  received_from_id uuid,
  responsible_id uuid,
  due_date date, -- a day of the project, which ends at midnight there
  cost_impact text not null default 'tbd' check (cost_impact in ('yes', 'no', 'tbd')),
  cost_amount numeric(18, 2), -- in the project's currency
  schedule_impact text not null default 'tbd' check (schedule_impact in ('yes', 'no', 'tbd')),
  schedule_days bigint,
  remind_at timestamptz, -- when the worker looks next; null: never
  reminded text check (reminded in ('soon', 'today', 'late')), -- the last reminder of this due date
  created_at timestamptz not null,
  updated_at timestamptz not null,
  submitted_at timestamptz,
  opened_at timestamptz,
  answered_at timestamptz,
  closed_at timestamptz,
  words tsvector not null,
  made_of bytea not null, -- SHA-256 of what it was made of, by which the same call is known again
  primary key (tenant_id, rfi_id),
  unique (tenant_id, project_id, number),
  unique (tenant_id, project_id, rfi_id),
  check (status in ('draft', 'void') or number is not null),
  foreign key (tenant_id, project_id) references projects,
  foreign key (tenant_id, project_id, location_id) references locations,
  foreign key (tenant_id, trade_id) references trades,
  foreign key (tenant_id, project_id, received_from_id) references project_companies,
  foreign key (tenant_id, project_id, responsible_id) references project_companies
);
-- What lists are sorted by, each with the id behind it; a draft stands where the next number would.
create index rfis_by_number on rfis (tenant_id, project_id, (coalesce(number, 2147483647)), rfi_id);
create index rfis_by_due_date on rfis (tenant_id, project_id, (coalesce(due_date, date '9000-01-01')), rfi_id);
create index rfis_by_update on rfis (tenant_id, project_id, updated_at, rfi_id);
create index rfis_to_remind on rfis (remind_at) where remind_at is not null;
create statistics rfis_places (dependencies) on tenant_id, project_id from rfis;

create table rfi_replies (
  tenant_id uuid not null,
  rfi_id uuid not null,
  reply_id uuid not null, -- the client's UUIDv7
  project_id uuid not null,
  created_by uuid not null references people,
  body text not null check (length(body) between 1 and 20000),
  documents uuid[] not null default '{}',
  official boolean not null default false,
  created_at timestamptz not null,
  primary key (tenant_id, rfi_id, reply_id),
  unique (tenant_id, reply_id),
  foreign key (tenant_id, project_id, rfi_id) references rfis (tenant_id, project_id, rfi_id)
);
create unique index rfi_replies_official on rfi_replies (tenant_id, rfi_id) where official;

-- What happened to an RFI, append-only, at the version that it got by that.
create table rfi_transitions (
  tenant_id uuid not null,
  rfi_id uuid not null,
  version bigint not null,
  project_id uuid not null,
  verb text not null,
  by_person uuid references people,
  occurred_at timestamptz not null,
  status_before text,
  status_after text not null,
  ball_before uuid[] not null,
  ball_after uuid[] not null,
  reply_id uuid, -- the reply that was given, or made the official one
  note text not null default '' check (length(note) <= 2000),
  primary key (tenant_id, rfi_id, version),
  foreign key (tenant_id, project_id, rfi_id) references rfis (tenant_id, project_id, rfi_id)
);
create index rfi_transitions_of_project on rfi_transitions (tenant_id, project_id, rfi_id, version);

do $$
declare
  made regclass;
begin
  foreach made in array array['rfi_settings', 'rfis', 'rfi_replies', 'rfi_transitions']::regclass[] loop
    execute format('alter table %s enable row level security', made);
    execute format('alter table %s force row level security', made);
    execute format('create policy tenant on %s to buildpeer_app, buildpeer_worker
      using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()))', made);
    execute format('create policy visible on %s as restrictive to buildpeer_app
      using ((select app.role() in (''owner'', ''manager'')) or project_id = any ((select app.file_projects())::uuid[]))
      with check ((select app.role() in (''owner'', ''manager'')) or project_id = any ((select app.file_projects())::uuid[]))',
      made);
    perform app.lives_with_tenant(made);
    perform app.lives_with_project(made);
  end loop;
end
$$;

-- A draft is its author's; a private one is seen by those who are in it; owners and managers see all. The rules' `audience`
-- says the same.
create policy confided on rfis as restrictive to buildpeer_app using (
  (select app.role() in ('owner', 'manager')) or created_by = (select app.person_id())
  or (status <> 'draft' and (not private or manager_id = (select app.person_id())
    or (select app.person_id()) = any (assignees) or (select app.person_id()) = any (distribution))));
create policy confided on rfi_replies as restrictive to buildpeer_app using (exists (
  select from rfis r where r.tenant_id = rfi_replies.tenant_id and r.rfi_id = rfi_replies.rfi_id));
create policy confided on rfi_transitions as restrictive to buildpeer_app using (exists (
  select from rfis r where r.tenant_id = rfi_transitions.tenant_id and r.rfi_id = rfi_transitions.rfi_id));
-- Nobody asks or replies in another's name, or says that somebody else did something.
create policy own_only on rfis as restrictive for insert to buildpeer_app
  with check (created_by = (select app.person_id()));
create policy own_only on rfi_replies as restrictive for insert to buildpeer_app
  with check (created_by = (select app.person_id()));
create policy own_only on rfi_transitions as restrictive for insert to buildpeer_app
  with check (by_person = (select app.person_id()));

grant select, insert, update (manager_id, due_days, last_number, version) on rfi_settings to buildpeer_app;
grant select, insert on rfis to buildpeer_app;
grant update (number, status, version, subject, question, reference, private, manager_id, assignees, required, replied,
  reviewer_id, distribution, ball_in_court, documents, location_id, trade_id, received_from_id, responsible_id, due_date,
  cost_impact, cost_amount, schedule_impact, schedule_days, remind_at, reminded, updated_at, submitted_at, opened_at,
  answered_at, closed_at, words) on rfis to buildpeer_app;
grant select, insert, update (official) on rfi_replies to buildpeer_app;
grant select, insert on rfi_transitions to buildpeer_app;
grant select, update (remind_at, reminded) on rfis to buildpeer_worker;
grant select on rfi_replies, rfi_transitions, rfi_settings to buildpeer_worker;

create policy system on rfis to buildpeer_system using (true) with check (true);
grant select, update (remind_at) on rfis to buildpeer_system;

select audit.watch('rfi_settings', 'project_id', 'version,last_number');
select audit.watch('rfis', 'rfi_id', 'version,updated_at,remind_at,reminded,words', 'words,made_of');
select audit.watch('rfi_replies', 'rfi_id,reply_id', '');
select audit.watch('rfi_transitions', 'rfi_id,version', '');

-- News that aren't for everybody in a project name whom they are for, besides owners and managers.
create policy confided on event_log as restrictive for select to buildpeer_app using (
  body -> 'only_for' is null or (select app.role() in ('owner', 'manager'))
  or (body -> 'only_for') ? (select app.person_id())::text);
reset role;

set role buildpeer_system;
-- RFIs whose time to be reminded of has come, each lent to one worker for a minute.
create function app.due_rfis(at timestamptz, max_rows bigint) returns table (tenant_id uuid, rfi_id uuid)
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  update public.rfis r set remind_at = at + interval '1 minute'
  where (r.tenant_id, r.rfi_id) in (
    select d.tenant_id, d.rfi_id from public.rfis d where d.remind_at <= at
    order by d.remind_at limit max_rows for update skip locked)
  returning r.tenant_id, r.rfi_id;
end;
revoke all on function app.due_rfis(timestamptz, bigint) from public;
grant execute on function app.due_rfis(timestamptz, bigint) to buildpeer_worker;
reset role;
