-- Doors that stayed open for who had left: devices, and invitations whose sender may no longer invite.

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
reset role;
