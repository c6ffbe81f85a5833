-- Owners and managers make projects, change them, and say who works on them.

set role buildpeer_owner;

-- A new project is in nobody's sight before it is there, so the policy that asks for sight leaves inserts to their own.
drop policy visible on projects;
create policy visible on projects as restrictive for select to buildpeer_app
  using (project_id = any ((select app.visible_projects())::uuid[]));
create policy managed on projects as restrictive for insert to buildpeer_app
  with check ((select app.member_role()) in ('owner', 'manager'));
create policy managed_changes on projects as restrictive for update to buildpeer_app
  using ((select app.member_role()) in ('owner', 'manager'))
  with check ((select app.member_role()) in ('owner', 'manager'));

create policy managed on project_members as restrictive for insert to buildpeer_app
  with check ((select app.member_role()) in ('owner', 'manager'));
create policy managed_end on project_members as restrictive for delete to buildpeer_app
  using ((select app.member_role()) in ('owner', 'manager'));

grant insert (tenant_id, project_id, code, name, timezone), update (code, name, timezone) on projects to buildpeer_app;
grant insert (tenant_id, project_id, person_id), delete on project_members to buildpeer_app;
reset role;
