-- What row-level security asks with every statement, in less time.

-- What the caller is in the tenant, as app.enter() found it when the transaction began; null: nothing, or never asked.
set role buildpeer_owner;
create function app.role() returns text language sql stable parallel safe
  return nullif(current_setting('app.role', true), '');
grant execute on function app.role() to buildpeer_app, buildpeer_worker, buildpeer_system;
reset role;

set role buildpeer_system;
-- As before, and the role is kept for the policies.
create or replace function app.enter(
  for_tenant text, for_person text, for_request text, by_session uuid, by_key uuid,
  out role text, out session_ended boolean)
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('app.tenant_id', for_tenant, true), set_config('app.person_id', for_person, true),
    set_config('app.request_id', for_request, true), set_config('app.key_id', coalesce(by_key::text, ''), true);
  role := (select m.role from public.memberships m
    where m.tenant_id = app.tenant_id() and m.person_id = app.person_id());
  perform set_config('app.role', coalesce(role, ''), true);
  session_ended := (by_session is not null and exists (select from public.sessions s
      where s.person_id = app.person_id() and s.session_id = by_session and s.ended_at is not null))
    or (by_key is not null and not exists (select from public.api_keys k
      where k.tenant_id = app.tenant_id() and k.key_id = by_key and k.person_id = app.person_id() and k.revoked_at is null));
end
$$;

-- Who the caller is, then either the tenant's projects or the caller's own, each by its index. plpgsql keeps the plans;
-- before Postgres 18 a function of plain SQL is planned anew each time.

-- The projects that the caller belongs to; owners and managers belong to all of their tenant.
create or replace function app.visible_projects() returns uuid[]
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  tenant uuid := app.tenant_id();
  person uuid := app.person_id();
  role text := (select m.role from public.memberships m where m.tenant_id = tenant and m.person_id = person);
begin
  if role is null then
    return '{}';
  elsif role in ('owner', 'manager') then
    return array(select p.project_id from public.projects p where p.tenant_id = tenant);
  end if;
  return array(select m.project_id from public.project_members m where m.tenant_id = tenant and m.person_id = person);
end
$$;

-- The projects whose files the caller may read. An investor sees a file when it is published, and nothing is yet.
create or replace function app.file_projects() returns uuid[]
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  tenant uuid := app.tenant_id();
  person uuid := app.person_id();
  role text := (select m.role from public.memberships m where m.tenant_id = tenant and m.person_id = person);
begin
  if role is null or role = 'inversionista' then
    return '{}';
  elsif role in ('owner', 'manager') then
    return array(select p.project_id from public.projects p where p.tenant_id = tenant);
  end if;
  return array(select m.project_id from public.project_members m where m.tenant_id = tenant and m.person_id = person);
end
$$;
reset role;

-- Whoever sees every project needs no list of them, and what is no plain `= any` isn't mistaken for a way to find few rows.
-- Where nobody has asked for the role, the list decides, as before.
set role buildpeer_owner;
alter policy visible on documents
  using ((select app.role() in ('owner', 'manager')) or project_id = any ((select app.file_projects())::uuid[]))
  with check ((select app.role() in ('owner', 'manager')) or project_id = any ((select app.file_projects())::uuid[]));
alter policy visible on uploads
  using ((select app.role() in ('owner', 'manager')) or project_id = any ((select app.file_projects())::uuid[]))
  with check ((select app.role() in ('owner', 'manager')) or project_id = any ((select app.file_projects())::uuid[]));
reset role;

-- A project belongs to one tenant. Not knowing that, the planner takes "this tenant, these projects" for next to no rows,
-- and reads and sorts all of a company's files for the newest fifty.
set role buildpeer_owner;
create statistics documents_places (dependencies) on tenant_id, project_id from documents;
create statistics uploads_places (dependencies) on tenant_id, project_id from uploads;
analyze documents;
analyze uploads;
reset role;
