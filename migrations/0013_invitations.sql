-- Invitations, and the devices of people who sign in by a key and a PIN instead of an e-mail address.

set role buildpeer_owner;

-- Crews have neither; whoever has no e-mail is found by no sign-in that reads one.
-- squawk-ignore ban-drop-not-null
alter table people alter column email drop not null;
-- squawk-ignore ban-drop-not-null
alter table people alter column password_hash drop not null;
alter table sessions add column device_id uuid; -- the device that began it, if a key of its own did

-- Random tokens that open something, as SHA-256: apart from what they open, so that no audit entry holds one.
create table tokens (
  token_hash bytea primary key,
  tenant_id uuid not null references tenants,
  subject_id uuid not null
);

create table invitations (
  tenant_id uuid not null references tenants,
  invitation_id uuid not null,
  kind text not null check (kind in ('email', 'crew', 'device')),
  email text,
  person_id uuid, -- whose further device it is for
  role text not null check (role in ('owner', 'manager', 'residente', 'inversionista', 'empleado_obra')),
  projects uuid[] not null,
  created_by uuid not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  uses_left bigint not null check (uses_left >= 0),
  revoked_at timestamptz,
  primary key (tenant_id, invitation_id),
  check ((kind = 'email') = (email is not null) and (kind = 'device') = (person_id is not null))
);

create table devices (
  tenant_id uuid not null references tenants,
  person_id uuid not null references people,
  device_id uuid not null,
  name text not null check (length(name) between 1 and 100),
  public_key bytea not null, -- SubjectPublicKeyInfo, DER
  pin_hash text not null,
  pin_tries bigint not null default 0,
  challenged_at timestamptz not null default '-infinity',
  created_at timestamptz not null,
  approved_at timestamptz,
  approved_by uuid,
  revoked_at timestamptz,
  primary key (tenant_id, person_id, device_id),
  unique (device_id)
);

alter table tokens enable row level security;
alter table tokens force row level security;
alter table invitations enable row level security;
alter table invitations force row level security;
alter table devices enable row level security;
alter table devices force row level security;

create policy writers on tokens for insert to buildpeer_app with check (tenant_id = (select app.tenant_id()));
create policy system on tokens to buildpeer_system using (true) with check (true);
create policy managers on invitations to buildpeer_app
  using (tenant_id = (select app.tenant_id()) and (select app.member_role()) in ('owner', 'manager'))
  with check (tenant_id = (select app.tenant_id()) and (select app.member_role()) in ('owner', 'manager')
    and (role <> 'owner' or (select app.member_role()) = 'owner'));
create policy system on invitations to buildpeer_system using (true) with check (true);
create policy own on devices for select to buildpeer_app
  using (tenant_id = (select app.tenant_id()) and person_id = (select app.person_id()));
create policy managers on devices to buildpeer_app
  using (tenant_id = (select app.tenant_id()) and (select app.member_role()) in ('owner', 'manager'))
  with check (tenant_id = (select app.tenant_id()) and (select app.member_role()) in ('owner', 'manager'));
create policy system on devices to buildpeer_system using (true) with check (true);
create policy system_writes on people for insert to buildpeer_system with check (true);
create policy system_writes on memberships for insert to buildpeer_system with check (true);
create policy system_writes on project_members for insert to buildpeer_system with check (true);
create policy system_reads on tenants for select to buildpeer_system using (true);

grant insert on tokens to buildpeer_app;
grant select on tokens to buildpeer_system;
grant select, insert, update (revoked_at) on invitations to buildpeer_app;
grant select, update (uses_left) on invitations to buildpeer_system;
grant select (tenant_id, person_id, device_id, name, created_at, approved_at, approved_by, revoked_at, pin_tries),
  update (approved_at, approved_by, revoked_at, pin_tries) on devices to buildpeer_app;
grant select, insert, update on devices to buildpeer_system;
grant insert on people, memberships, project_members to buildpeer_system;
grant select on tenants to buildpeer_system;

select audit.watch('invitations', 'invitation_id', '');
reset role;

set role buildpeer_system;

-- What a token invites to, if it is good, and the account that its address has already.
create function app.find_invitation(hash bytea, at timestamptz) returns table (
    tenant_id uuid, tenant text, kind text, role text, email text, known_person uuid, password_hash text)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select i.tenant_id, n.name, i.kind, i.role, i.email, coalesce(i.person_id, p.person_id), p.password_hash
  from public.tokens t
  join public.invitations i on i.tenant_id = t.tenant_id and i.invitation_id = t.subject_id
  join public.tenants n on n.tenant_id = i.tenant_id
  left join public.people p on p.email = i.email
  where t.token_hash = hash and i.revoked_at is null and i.expires_at > at and i.uses_left > 0;
end;

-- Uses an invitation up by one: the person of this transaction joins, and is made if need be. A device is good at once
-- where the invitation was for a crew; a further one of somebody known waits for a manager. Whether it was good.
create function app.accept_invitation(
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
    or (i.kind = 'device' and i.person_id <> app.person_id()) then
    return false;
  end if;
  if i.kind = 'device' then
    if not exists (select from public.memberships m where m.tenant_id = i.tenant_id and m.person_id = i.person_id) then
      return false;
    end if;
  else
    if not exists (select from public.people p where p.person_id = app.person_id()) then
      insert into public.people (person_id, email, name, locale, password_hash)
      values (app.person_id(), i.email, new_name, new_locale, new_password_hash);
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

-- The key of a device that may sign in.
create function app.find_device(device uuid) returns table (
    tenant_id uuid, person_id uuid, name text, public_key bytea)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select d.tenant_id, d.person_id, d.name, d.public_key from public.devices d
  where d.device_id = device and d.approved_at is not null and d.revoked_at is null;
end;

-- Counts a try of a PIN before anybody looks at it, so that nothing gives a try back; no hash after five, or for a
-- challenge that was answered already.
create function app.try_pin(device uuid, challenge_at timestamptz, most bigint) returns text
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  update public.devices d set pin_tries = d.pin_tries + 1, challenged_at = challenge_at
  where d.device_id = device and d.approved_at is not null and d.revoked_at is null and d.pin_tries < most
    and d.challenged_at < challenge_at
  returning d.pin_hash;
end;

create function app.pin_was_right(device uuid) returns void
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  update public.devices d set pin_tries = 0 where d.device_id = device;
end;

-- Ends the sessions that a device of the caller's tenant began; only who manages people gets that far.
create function app.end_device_sessions(by_device uuid, at timestamptz) returns void
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  update public.sessions s set ended_at = at
  where s.device_id = by_device and s.ended_at is null and app.member_role() in ('owner', 'manager')
    and exists (select from public.devices d where d.device_id = by_device and d.tenant_id = app.tenant_id());
end;

revoke all on function app.find_invitation(bytea, timestamptz),
  app.accept_invitation(bytea, timestamptz, text, text, text, uuid, text, bytea, text), app.find_device(uuid),
  app.try_pin(uuid, timestamptz, bigint), app.pin_was_right(uuid), app.end_device_sessions(uuid, timestamptz) from public;
grant execute on function app.find_invitation(bytea, timestamptz),
  app.accept_invitation(bytea, timestamptz, text, text, text, uuid, text, bytea, text), app.find_device(uuid),
  app.try_pin(uuid, timestamptz, bigint), app.pin_was_right(uuid), app.end_device_sessions(uuid, timestamptz)
  to buildpeer_app;
reset role;
