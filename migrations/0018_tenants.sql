-- The life of a tenant: suspended, exported, erased; what it may send in a day; where its data stays.
--
-- buildpeer_operator   whoever runs BuildPeer acts as it, by the administrator's sign-in: one tenant at a time, named by
--                      the transaction like everybody's. Nobody signs in as it.

do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'buildpeer_operator') then
    create role buildpeer_operator nologin noinherit nobypassrls;
  end if;
  execute format('grant buildpeer_operator to %I', current_user);
end
$$;
grant usage on schema public, app, audit to buildpeer_operator;

set role buildpeer_owner;
grant execute on function app.tenant_id(), app.person_id(), app.request_id(), app.key_id() to buildpeer_operator;

alter table tenants
  add column suspended_at timestamptz, -- null: it works
  add column uploads_per_day bigint check (uploads_per_day >= 0); -- null: as many as it likes

-- Bytes lie in the buckets of the region, so a tenant that changed it would lose them, or its promise to its people.
create function app.refuse_to_move() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception 'a tenant keeps its id and its data region' using errcode = 'restrict_violation';
end
$$;
create trigger stays before update on tenants for each row
  when (new.tenant_id <> old.tenant_id or new.data_region <> old.data_region) execute function app.refuse_to_move();

-- What is left of a tenant that was erased, or is being erased: nothing of its people once it has ended.
create table tenant_erasures (
  tenant_id uuid primary key,
  name text not null,
  data_region text not null,
  began_at timestamptz not null,
  writable_until timestamptz not null, -- until then a write URL given out before may still bring bytes
  people uuid[] not null, -- whoever has ever belonged to it, until it has ended
  removed jsonb not null default '{}', -- how many, by what
  ended_at timestamptz,
  certificate text -- a JWS
);
alter table tenant_erasures enable row level security;
alter table tenant_erasures force row level security;
create policy operator on tenant_erasures to buildpeer_operator
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy system on tenant_erasures to buildpeer_system using (true) with check (true);
create policy audit_reads on tenant_erasures for select to buildpeer_audit using (true);
grant select, insert, update (removed, ended_at, certificate) on tenant_erasures to buildpeer_operator;
grant select, update (people, removed) on tenant_erasures to buildpeer_system;
grant select on tenant_erasures to buildpeer_audit;

create function app.is_being_erased() returns boolean language sql stable set search_path = pg_catalog, pg_temp
begin atomic
  select exists (select from public.tenant_erasures e where e.tenant_id = app.tenant_id() and e.ended_at is null);
end;
grant execute on function app.is_being_erased() to buildpeer_operator;
reset role;

-- ---------------------------------------------------------------------------------------------------------------------
-- What every tenant table has.

set role buildpeer_system;
-- A suspended tenant is read, and written by nobody who comes by the api, whatever door and function they come through.
create function app.refuse_suspended() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from public.tenants t where t.tenant_id = app.tenant_id() and t.suspended_at is not null) then
    raise exception 'the tenant is suspended' using errcode = 'BP001';
  end if;
  return null;
end
$$;
revoke all on function app.refuse_suspended() from public;
grant execute on function app.refuse_suspended() to buildpeer_owner;
reset role;

-- Binds a tenant table to the life of its tenant; every migration that makes one calls it. Operators read what belongs to
-- the tenant that they name, and may delete it once its erasure has begun. `also_suspended`: the api writes it even then.
create function app.lives_with_tenant(bound regclass, also_suspended boolean default false) returns void
  language plpgsql set search_path = '' as $$
begin
  execute format('create policy operator_reads on %s for select to buildpeer_operator
    using (tenant_id = (select app.tenant_id()))', bound);
  execute format('create policy operator_erases on %s for delete to buildpeer_operator
    using (tenant_id = (select app.tenant_id()) and (select app.is_being_erased()))', bound);
  execute format('grant select, delete on %s to buildpeer_operator', bound);
  if not also_suspended then
    execute format('create trigger suspended before insert or update or delete on %s for each statement
      when (session_user = ''buildpeer_app'') execute function app.refuse_suspended()', bound);
  end if;
end
$$;
revoke all on function app.lives_with_tenant(regclass, boolean) from public;
grant execute on function app.lives_with_tenant(regclass, boolean) to buildpeer_owner;

set role buildpeer_owner;
do $$
declare
  bound regclass;
begin
  for bound in
    select c.oid from pg_catalog.pg_class c
      join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
      and c.relname <> 'tenant_erasures'
  loop
    -- People sign in and out of a suspended tenant.
    perform app.lives_with_tenant(bound, bound = 'sessions'::regclass);
  end loop;
end
$$;

-- Its beginning: the tenant, and the invitation of its first owner, which nobody within it has made.
-- squawk-ignore ban-drop-not-null
alter table invitations alter column created_by drop not null; -- null: BuildPeer itself
create policy operator_founds on tenants for insert to buildpeer_operator
  with check (tenant_id = (select app.tenant_id()) and not (select app.is_being_erased()));
create policy operator_changes on tenants for update to buildpeer_operator
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy operator_invites on invitations for insert to buildpeer_operator
  with check (tenant_id = (select app.tenant_id()));
create policy operator_invites on tokens for insert to buildpeer_operator
  with check (tenant_id = (select app.tenant_id()));
create policy operator_writes on mails for insert to buildpeer_operator with check (true);
grant insert (tenant_id, name, data_region, storage_limit_bytes, uploads_per_day),
  update (suspended_at, storage_limit_bytes, uploads_per_day) on tenants to buildpeer_operator;
grant insert on invitations, tokens, mails to buildpeer_operator;
reset role;

set role buildpeer_system;
grant execute on function app.enter(text, text, text, uuid, uuid) to buildpeer_operator;
reset role;

-- ---------------------------------------------------------------------------------------------------------------------
-- Uploads a day: each is one 'reserved' entry of the ledger already, so the row that sums its bytes counts it as well.

set role buildpeer_owner;
alter table storage_totals
  add column opened_on date, -- UTC
  add column opened bigint not null default 0; -- uploads on that day
reset role;

set role buildpeer_system;
create or replace function app.count_storage() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  today date := (now() at time zone 'UTC')::date;
begin
  insert into public.storage_totals as t (tenant_id, bytes, opened_on, opened)
  select e.tenant_id, sum(e.bytes), today, count(*) filter (where e.kind = 'reserved') from entered e group by e.tenant_id
  on conflict (tenant_id) do update set bytes = t.bytes + excluded.bytes, opened_on = today,
    opened = excluded.opened + case when t.opened_on = today then t.opened else 0 end;
  return null;
end
$$;

-- What the caller's company may still open uploads for: bytes, and how many today; null: as many as it likes. Where there
-- is a limit, locked until the transaction ends, so that two calls at once don't both take the last ones. `day_ends_s`:
-- seconds until the day is over.
create function app.room_left(out bytes bigint, out uploads bigint, out day_ends_s int)
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  today date := (now() at time zone 'UTC')::date;
  most public.tenants;
  used public.storage_totals;
begin
  day_ends_s := ceil(extract(epoch from (today + 1)::timestamp at time zone 'UTC' - now()));
  select t.* into most from public.tenants t where t.tenant_id = app.tenant_id();
  if most.storage_limit_bytes is null and most.uploads_per_day is null then
    return;
  end if;
  insert into public.storage_totals (tenant_id, bytes) values (app.tenant_id(), 0) on conflict do nothing;
  select t.* into used from public.storage_totals t where t.tenant_id = app.tenant_id() for update;
  bytes := most.storage_limit_bytes - used.bytes;
  uploads := most.uploads_per_day - case when used.opened_on = today then used.opened else 0 end;
end
$$;
revoke all on function app.room_left() from public;
grant execute on function app.room_left() to buildpeer_app;
-- squawk-ignore ban-drop-function
drop function app.storage_left(); -- app.room_left() says more
reset role;

-- ---------------------------------------------------------------------------------------------------------------------
-- Its trail: read whole by the operator, and erased but for what proves that it was there.

set role buildpeer_audit;
create policy operator_reads on audit.entries for select to buildpeer_operator using (tenant_id = (select app.tenant_id()));
create policy operator_reads on audit.batches for select to buildpeer_operator using (tenant_id = (select app.tenant_id()));
create policy operator_reads on audit.pending for select to buildpeer_operator using (tenant_id = (select app.tenant_id()));
create policy operator_reads on audit.heads for select to buildpeer_operator using (tenant_id = (select app.tenant_id()));
grant select on audit.entries, audit.batches, audit.pending, audit.heads to buildpeer_operator;
grant execute on function audit.seal(uuid) to buildpeer_operator;
grant execute on function audit.record(text, text, text, jsonb, uuid) to buildpeer_operator;

-- The only way in which an entry ever goes, and a batch ever changes: with its whole tenant.
create policy erases on audit.entries for delete to buildpeer_audit using (exists (
  select from public.tenant_erasures x where x.tenant_id = entries.tenant_id and x.ended_at is null));
create policy erases on audit.batches for update to buildpeer_audit using (exists (
  select from public.tenant_erasures x where x.tenant_id = batches.tenant_id and x.ended_at is null))
  with check (entry_ids = '{}' and entry_times = '{}' and leaves = '');

-- Deletes up to `max_rows` entries of the tenant of this transaction, whose erasure has begun, and says how many. With the
-- last ones, what its batches say of single entries goes as well; their roots, and the chain over them, stay.
create function audit.erase(max_rows int) returns bigint
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  tenant uuid := app.tenant_id();
  gone bigint;
begin
  delete from audit.entries e using (
    select d.occurred_at, d.entry_id from audit.entries d where d.tenant_id = tenant limit max_rows) doomed
  where e.tenant_id = tenant and e.occurred_at = doomed.occurred_at and e.entry_id = doomed.entry_id;
  get diagnostics gone = row_count;
  if gone = 0 then
    update audit.batches b set entry_ids = '{}', entry_times = '{}', leaves = ''
    where b.tenant_id = tenant and b.leaves <> '';
  end if;
  return gone;
end
$$;
revoke all on function audit.erase(int) from public;
grant execute on function audit.erase(int) to buildpeer_operator;
reset role;

-- ---------------------------------------------------------------------------------------------------------------------
-- Its people: those who belong, or have belonged, to no other tenant.

set role buildpeer_owner;
create policy operator_reads on people for select to buildpeer_operator using (
  person_id in (select m.person_id from memberships m)
  or person_id in (select e.object_id::uuid from audit.entries e
    where e.tenant_id = (select app.tenant_id()) and e.object_type = 'memberships'));
grant select (person_id, email, name, locale, created_at) on people to buildpeer_operator;
create policy system_erases on people for delete to buildpeer_system using (true);
create policy system_erases on sessions for delete to buildpeer_system using (true);
create policy system_erases on memberships for delete to buildpeer_system using (true);
grant delete on people, sessions, memberships to buildpeer_system;
reset role;

set role buildpeer_system;
-- Begins: from now on nobody belongs to the tenant of this transaction, so nobody reads or writes it, and what was still
-- being sent is called off. Mails that invite to it go nowhere.
create function app.shut_tenant() returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from public.tenant_erasures e where e.tenant_id = app.tenant_id() and e.ended_at is null) then
    raise exception 'its erasure has not begun' using errcode = 'insufficient_privilege';
  end if;
  delete from public.mails m using public.invitations i, public.tenants t
  where t.tenant_id = app.tenant_id() and i.tenant_id = t.tenant_id and m.recipient = i.email
    and m.template in ('invitation', 'first_owner') and m.facts ->> 'tenant' = t.name;
  delete from public.memberships m where m.tenant_id = app.tenant_id();
end
$$;

-- Removes those people of the erased tenant whom nothing else holds, with their sign-ins and mails; says how many went,
-- how many stay, and forgets who they were. Whoever belongs to another tenant, or has left files there, stays.
create function app.erase_people(out gone bigint, out kept bigint)
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  person uuid;
  address text;
begin
  gone := 0;
  kept := 0;
  for person in
    select unnest(e.people) from public.tenant_erasures e where e.tenant_id = app.tenant_id() and e.ended_at is null
  loop
    if exists (select from public.memberships m where m.person_id = person) then
      kept := kept + 1;
      continue;
    end if;
    begin
      address := (select p.email from public.people p where p.person_id = person);
      delete from public.mails m where m.recipient = address;
      delete from public.password_resets r where r.email = address;
      delete from public.failed_sign_ins f where f.email = address;
      delete from public.sessions s where s.person_id = person;
      delete from public.totps t where t.person_id = person;
      delete from public.people p where p.person_id = person;
      gone := gone + 1;
    exception when foreign_key_violation then
      kept := kept + 1;
    end;
  end loop;
  update public.tenant_erasures e set people = '{}' where e.tenant_id = app.tenant_id();
end
$$;
revoke all on function app.shut_tenant(), app.erase_people() from public;
grant execute on function app.shut_tenant(), app.erase_people() to buildpeer_operator;
reset role;
