-- Who calls is asked once, at the start of each transaction; members and sessions can be changed.

set role buildpeer_owner;

alter table sessions add column device text not null default '' check (length(device) <= 100);
create policy system_reads on sessions for select to buildpeer_system using (true);
grant select on sessions to buildpeer_system;

create policy system_ends on project_members for delete to buildpeer_system using (true);
grant delete on project_members to buildpeer_system;
reset role;

-- Begins a transaction for somebody: binds it to tenant, person and request, and says what the person is in the tenant
-- (null: nothing) and whether the session they call by has ended. A session that isn't ours to find has not.
set role buildpeer_system;
create function app.enter(
  for_tenant text, for_person text, for_request text, by_session uuid, out role text, out session_ended boolean)
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('app.tenant_id', for_tenant, true), set_config('app.person_id', for_person, true),
    set_config('app.request_id', for_request, true);
  role := (select m.role from public.memberships m
    where m.tenant_id = app.tenant_id() and m.person_id = app.person_id());
  session_ended := by_session is not null and exists (select from public.sessions s
    where s.person_id = app.person_id() and s.session_id = by_session and s.ended_at is not null);
end
$$;
revoke all on function app.enter(text, text, text, uuid) from public;
grant execute on function app.enter(text, text, text, uuid) to buildpeer_app, buildpeer_worker;
reset role;

-- Owners and managers change and remove members; only an owner touches an owner.
set role buildpeer_owner;
create policy managed on memberships as restrictive for update to buildpeer_app
  using ((select app.member_role()) = 'owner' or ((select app.member_role()) = 'manager' and role <> 'owner'))
  with check ((select app.member_role()) = 'owner' or ((select app.member_role()) = 'manager' and role <> 'owner'));
create policy managed_end on memberships as restrictive for delete to buildpeer_app
  using ((select app.member_role()) = 'owner' or ((select app.member_role()) = 'manager' and role <> 'owner'));
grant update (role), delete on memberships to buildpeer_app;
reset role;

-- Who leaves the tenant leaves its projects.
set role buildpeer_system;
create function app.leave_projects() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  delete from public.project_members pm where pm.tenant_id = old.tenant_id and pm.person_id = old.person_id;
  return old;
end
$$;
revoke all on function app.leave_projects() from public;
grant execute on function app.leave_projects() to buildpeer_owner;
reset role;

-- Whoever loses a tenant, a project or the right to send loses the uploads that are still open: the sweeper looks at
-- them at once, and ends those whose sender may send no more.
set role buildpeer_system;
create function app.recheck_uploads() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  update public.uploads u set check_at = now()
  where u.tenant_id = old.tenant_id and u.created_by = old.person_id and u.check_at is not null;
  return null;
end
$$;
revoke all on function app.recheck_uploads() from public;
grant execute on function app.recheck_uploads() to buildpeer_owner;
reset role;

set role buildpeer_owner;
create trigger leave_projects before delete on memberships
  for each row execute function app.leave_projects();
create trigger recheck_uploads after update or delete on memberships
  for each row execute function app.recheck_uploads();
create trigger recheck_uploads after delete on project_members
  for each row execute function app.recheck_uploads();
reset role;
