-- Doors that stayed open for who had left: devices, and invitations whose sender may no longer invite. And bytes that two
-- workers delete at once are given back once.

set role buildpeer_system;

-- The key of a device that may sign in: approved, and of somebody who still belongs to the tenant that approved it.
create or replace function app.find_device(device uuid) returns table (
    tenant_id uuid, person_id uuid, name text, public_key bytea)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select d.tenant_id, d.person_id, d.name, d.public_key from public.devices d
  join public.memberships m on m.tenant_id = d.tenant_id and m.person_id = d.person_id
  where d.device_id = device and d.approved_at is not null and d.revoked_at is null;
end;

-- Whether somebody may, as things stand now, invite to a role. An invitation is worth what its sender is: whoever was
-- dismissed must not come back by one that they sent to themselves. Nobody: BuildPeer itself invites the first owner.
create function app.may_invite(tenant uuid, person uuid, to_role text) returns boolean
  language sql stable set search_path = pg_catalog, pg_temp
begin atomic
  select person is null or exists (select from public.memberships m where m.tenant_id = tenant and m.person_id = person
    and (m.role = 'owner' or (m.role = 'manager' and to_role <> 'owner')));
end;
revoke all on function app.may_invite(uuid, uuid, text) from public;

-- As before, of those who may still invite.
create or replace function app.find_invitation(hash bytea, at timestamptz) returns table (
    tenant_id uuid, tenant text, kind text, role text, email text, known_person uuid, password_hash text)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select i.tenant_id, n.name, i.kind, i.role, i.email, coalesce(i.person_id, p.person_id), p.password_hash
  from public.tokens t
  join public.invitations i on i.tenant_id = t.tenant_id and i.invitation_id = t.subject_id
  join public.tenants n on n.tenant_id = i.tenant_id
  left join public.people p on p.email = i.email
  where t.token_hash = hash and i.revoked_at is null and i.expires_at > at and i.uses_left > 0
    and app.may_invite(i.tenant_id, i.created_by, i.role);
end;

-- As before, by an invitation of those who may still invite.
create or replace function app.accept_invitation(
  hash bytea, at timestamptz, new_name text, new_locale text, new_password_hash text,
  new_device uuid, device_name text, device_key bytea, device_pin_hash text) returns boolean
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  i public.invitations;
begin
  select v.* into i from public.tokens t
  join public.invitations v on v.tenant_id = t.tenant_id and v.invitation_id = t.subject_id
  where t.token_hash = hash for update of v;
  if i.invitation_id is null or i.revoked_at is not null or i.expires_at <= at or i.uses_left = 0
    or (i.kind = 'device' and i.person_id <> app.person_id()) or not app.may_invite(i.tenant_id, i.created_by, i.role) then
    return false;
  end if;
  if i.kind = 'device' then
    if not exists (select from public.memberships m where m.tenant_id = i.tenant_id and m.person_id = i.person_id) then
      return false;
    end if;
  else
    if not exists (select from public.people p where p.person_id = app.person_id()) then
      insert into public.people (person_id, email, name, locale, password_hash)
      values (app.person_id(), i.email, new_name, new_locale, new_password_hash) on conflict (email) do nothing;
      if not found then -- by another invitation, in this very moment: the account is there when asked again
        raise exception 'this address has just got an account' using errcode = 'lock_not_available';
      end if;
    end if;
    insert into public.memberships (tenant_id, person_id, role) values (i.tenant_id, app.person_id(), i.role)
    on conflict do nothing;
    insert into public.project_members (tenant_id, project_id, person_id)
    select p.tenant_id, p.project_id, app.person_id() from public.projects p
    where p.tenant_id = i.tenant_id and p.project_id = any (i.projects) on conflict do nothing;
  end if;
  if new_device is not null then
    insert into public.devices (tenant_id, person_id, device_id, name, public_key, pin_hash, created_at, approved_at,
      approved_by)
    values (i.tenant_id, app.person_id(), new_device, device_name, device_key, device_pin_hash, at,
      case when i.kind = 'crew' then at end, case when i.kind = 'crew' then i.created_by end);
  end if;
  update public.invitations v set uses_left = v.uses_left - 1
  where v.tenant_id = i.tenant_id and v.invitation_id = i.invitation_id;
  return true;
end
$$;

-- As before, one after the other: two orders may name the same bytes, and whoever comes second must see that they weigh
-- nothing any more. An order to erase has been carried out: unless something links the bytes still, they weigh nothing any more.
create or replace function app.erase_storage() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform from public.storage_totals t where t.tenant_id = old.tenant_id for update;
  insert into public.storage_entries (tenant_id, upload_id, kind, bytes)
  select u.tenant_id, u.upload_id, 'erased', -u.size_bytes from public.uploads u
  where u.tenant_id = old.tenant_id and u.key = old.key and u.version_id = old.version_id
    and (select sum(e.bytes) from public.storage_entries e
      where e.tenant_id = u.tenant_id and e.upload_id = u.upload_id) > 0
    and not exists (select from public.documents d
      where d.tenant_id = old.tenant_id and d.key = old.key and d.version_id = old.version_id);
  return null;
end
$$;
reset role;
