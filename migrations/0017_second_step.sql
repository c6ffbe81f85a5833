-- A second step at sign-in (TOTP, RFC 6238), what machines do told apart from what people do, and failed sign-ins that
-- cost the same for an address that nobody has.

-- ---------------------------------------------------------------------------------------------------------------------
-- TOTP.

set role buildpeer_owner;

-- One for each person, like people without a tenant. It counts once it is confirmed.
create table totps (
  person_id uuid primary key references people,
  secret bytea not null, -- encrypted by the api, for this person alone
  begun_at timestamptz not null,
  confirmed_at timestamptz,
  last_step bigint not null default 0 -- the time step of the last code that was taken: it and older ones are spent
);
create table recovery_codes (
  person_id uuid not null references totps on delete cascade,
  code_hash bytea not null, -- SHA-256 of person and code
  used_at timestamptz,
  primary key (person_id, code_hash)
);
alter table totps enable row level security;
alter table totps force row level security;
alter table recovery_codes enable row level security;
alter table recovery_codes force row level security;
create policy own on totps to buildpeer_app
  using (person_id = (select app.person_id())) with check (person_id = (select app.person_id()));
create policy own on recovery_codes to buildpeer_app
  using (person_id = (select app.person_id())) with check (person_id = (select app.person_id()));
create policy system_reads on totps for select to buildpeer_system using (true);
create policy system_ends on totps for delete to buildpeer_system using (true);
grant select, insert, update, delete on totps to buildpeer_app;
grant select, insert, update (used_at), delete on recovery_codes to buildpeer_app;
grant select (person_id, confirmed_at), delete on totps to buildpeer_system;
reset role;

set role buildpeer_system;

-- Switches a member's TOTP off for somebody who may: an owner, or a manager if the member is no owner; never one's own.
-- 'reset'; 'none': there is nothing to reset here; 'elsewhere': the account also guards another company.
create function app.reset_totp(member uuid) returns text
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  caller_role text := app.member_role();
begin
  if member = app.person_id() or not exists (select from public.totps t where t.person_id = member and t.confirmed_at is not null)
    or not exists (select from public.memberships m where m.tenant_id = app.tenant_id() and m.person_id = member
      and (caller_role = 'owner' or caller_role = 'manager' and m.role <> 'owner')) then
    return 'none';
  end if;
  if exists (select from public.memberships m where m.person_id = member and m.tenant_id <> app.tenant_id()) then
    return 'elsewhere';
  end if;
  delete from public.totps t where t.person_id = member;
  return 'reset';
end
$$;
revoke all on function app.reset_totp(uuid) from public;
grant execute on function app.reset_totp(uuid) to buildpeer_app;
reset role;

-- ---------------------------------------------------------------------------------------------------------------------
-- Machines in the trail.

set role buildpeer_owner;
create function app.key_id() returns uuid language sql stable parallel safe
  return nullif(current_setting('app.key_id', true), '')::uuid;
grant execute on function app.key_id() to buildpeer_app, buildpeer_worker, buildpeer_system, buildpeer_audit;
reset role;

set role buildpeer_system;

-- As before, for somebody who may also be a machine with a key: whose session has ended is also a key that was revoked,
-- or is not that person's. The one without a key stays for processes that were started before this.
create function app.enter(
  for_tenant text, for_person text, for_request text, by_session uuid, by_key uuid,
  out role text, out session_ended boolean)
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('app.tenant_id', for_tenant, true), set_config('app.person_id', for_person, true),
    set_config('app.request_id', for_request, true), set_config('app.key_id', coalesce(by_key::text, ''), true);
  role := (select m.role from public.memberships m
    where m.tenant_id = app.tenant_id() and m.person_id = app.person_id());
  session_ended := (by_session is not null and exists (select from public.sessions s
      where s.person_id = app.person_id() and s.session_id = by_session and s.ended_at is not null))
    or (by_key is not null and not exists (select from public.api_keys k
      where k.tenant_id = app.tenant_id() and k.key_id = by_key and k.person_id = app.person_id() and k.revoked_at is null));
end
$$;
revoke all on function app.enter(text, text, text, uuid, uuid) from public;
grant execute on function app.enter(text, text, text, uuid, uuid) to buildpeer_app, buildpeer_worker;

-- Names of keys in the trail of the caller's tenant, also of revoked ones; for owners and managers.
create function app.audited_keys(keys uuid[]) returns table (key_id uuid, name text)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select k.key_id, k.name from public.api_keys k
  where k.tenant_id = app.tenant_id() and k.key_id = any (keys) and app.member_role() in ('owner', 'manager');
end;
revoke all on function app.audited_keys(uuid[]) from public;
grant execute on function app.audited_keys(uuid[]) to buildpeer_app;
reset role;

set role buildpeer_audit;
alter table audit.entries add column key_id uuid; -- the key by which a machine did it; person_id is who made the key

-- Something that happened at a time and place of its own; audit.note() is for here and now.
create function audit.note_at(tenant uuid, person uuid, action text, object_type text, object_id text, details jsonb,
  project uuid, at timestamptz, by_role text, request text)
  returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  with made as (
    insert into audit.entries (tenant_id, occurred_at, person_id, key_id, database_role, request_id, action, object_type,
      object_id, project_id, changes)
    values (tenant, at, person, app.key_id(), by_role, request, action, object_type, object_id, project, details)
    returning entry_id
  )
  insert into audit.pending (tenant_id, occurred_at, entry_ids) select tenant, at, array[m.entry_id] from made m;
end
$$;
revoke all on function
  audit.note_at(uuid, uuid, text, text, text, jsonb, uuid, timestamptz, text, text) from public;
grant execute on function
  audit.note_at(uuid, uuid, text, text, text, jsonb, uuid, timestamptz, text, text) to buildpeer_system;

create or replace function audit.note(tenant uuid, person uuid, action text, object_type text, object_id text, details jsonb, project uuid)
  returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform audit.note_at(tenant, person, action, object_type, object_id, details, project, clock_timestamp(), session_user,
    app.request_id());
end
$$;

create or replace function audit.capture_rows() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  at timestamptz := clock_timestamp();
  person uuid := app.person_id();
  key uuid := app.key_id();
  request text := app.request_id();
  keys text[] := string_to_array(tg_argv[0], ',');
  secrets text[] := string_to_array(tg_argv[2], ',');
begin
  with made as (
    insert into audit.entries (tenant_id, occurred_at, person_id, key_id, database_role, request_id, action, object_type,
      object_id, project_id, changes)
    select (r.body ->> 'tenant_id')::uuid, at, person, key, session_user, request, lower(tg_op), tg_table_name,
      case when cardinality(keys) = 1 then r.body ->> keys[1]
        else (select string_agg(r.body ->> k, '/' order by i) from unnest(keys) with ordinality u (k, i)) end,
      (r.body ->> 'project_id')::uuid, jsonb_strip_nulls(r.body) - secrets
    from (select to_jsonb(t) as body from moved_rows t offset 0) r -- offset 0: made once, not at each use
    returning tenant_id, entry_id
  )
  insert into audit.pending (tenant_id, occurred_at, entry_ids)
  select m.tenant_id, at, array_agg(m.entry_id)
  from (select tenant_id, entry_id, (row_number() over () - 1) / 1024 as part from made) m group by m.tenant_id, m.part;
  return null;
end
$$;

create or replace function audit.capture_change() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  at timestamptz := clock_timestamp();
  before jsonb := to_jsonb(old);
  after jsonb := to_jsonb(new);
  diff jsonb;
begin
  select jsonb_object_agg(e.key, case when e.key = any (string_to_array(tg_argv[2], ',')) then '["(secret)", "(secret)"]'
      else jsonb_build_array(before -> e.key, e.value) end) into diff
  from jsonb_each(after) e
  where e.value is distinct from before -> e.key and e.key <> all (string_to_array(tg_argv[1], ','));
  if diff is null then
    return null;
  end if;
  with made as (
    insert into audit.entries (tenant_id, occurred_at, person_id, key_id, database_role, request_id, action, object_type,
      object_id, project_id, changes)
    values ((before ->> 'tenant_id')::uuid, at, app.person_id(), app.key_id(), session_user, app.request_id(), 'update',
      tg_table_name,
      (select string_agg(before ->> k, '/' order by i) from unnest(string_to_array(tg_argv[0], ',')) with ordinality u (k, i)),
      (after ->> 'project_id')::uuid, diff)
    returning tenant_id, entry_id
  )
  insert into audit.pending (tenant_id, occurred_at, entry_ids) select m.tenant_id, at, array[m.entry_id] from made m;
  return null;
end
$$;

-- What a machine did is version 2, which names its key; everything else keeps the bytes that it had.
create or replace function audit.canonical(e audit.entries) returns text language sql stable set search_path = pg_catalog, pg_temp
  return '{"v":' || case when e.key_id is null then '1' else '2' end
    || ',"tenant_id":"' || e.tenant_id || '","entry_id":' || e.entry_id
    || ',"occurred_at":"' || to_char(e.occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    || '","person_id":' || coalesce('"' || e.person_id || '"', 'null')
    || coalesce(',"key_id":"' || e.key_id || '"', '')
    || ',"database_role":' || to_json(e.database_role) || ',"request_id":' || coalesce(to_json(e.request_id)::text, 'null')
    || ',"action":' || to_json(e.action) || ',"object_type":' || to_json(e.object_type)
    || ',"object_id":' || to_json(e.object_id) || ',"project_id":' || coalesce('"' || e.project_id || '"', 'null')
    || ',"changes":' || e.changes || '}';
reset role;

-- ---------------------------------------------------------------------------------------------------------------------
-- Failed sign-ins.

set role buildpeer_owner;

-- One for every sign-in that failed, whether or not somebody has that address, so that failing tells nothing; the worker
-- moves it into the trails of those who have.
create table failed_sign_ins (
  failure_id bigint generated always as identity primary key,
  email text not null,
  request_id text,
  database_role text not null default session_user,
  occurred_at timestamptz not null default clock_timestamp()
);
alter table failed_sign_ins enable row level security;
alter table failed_sign_ins force row level security;
create policy system on failed_sign_ins to buildpeer_system using (true) with check (true);
grant select, insert, update, delete on failed_sign_ins to buildpeer_system; -- update: to lock what it takes
reset role;

set role buildpeer_system;

create or replace function app.record_failed_sign_in(login_email text) returns void
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  insert into public.failed_sign_ins (email, request_id) values (lower(login_email), app.request_id());
end;

-- Moves failed sign-ins into the trail of every tenant of the person; an address that nobody has leaves nothing. Who it
-- was is not known, so no person is named as the actor. How many it took, at most `max_rows`.
create function app.trail_failed_sign_ins(max_rows int) returns int
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  failed record;
  taken int := 0;
begin
  for failed in
    delete from public.failed_sign_ins f
    where f.failure_id in (
      select d.failure_id from public.failed_sign_ins d order by d.failure_id limit max_rows for update skip locked)
    returning f.email, f.request_id, f.database_role, f.occurred_at
  loop
    taken := taken + 1;
    perform audit.note_at(m.tenant_id, null, 'sign_in_failed', 'people', p.person_id::text, '{}', null, failed.occurred_at,
      failed.database_role, failed.request_id)
    from public.people p join public.memberships m on m.person_id = p.person_id where p.email = failed.email;
  end loop;
  return taken;
end
$$;
revoke all on function app.trail_failed_sign_ins(int) from public;
grant execute on function app.trail_failed_sign_ins(int) to buildpeer_worker;
reset role;
