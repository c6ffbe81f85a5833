-- A new password ends the links for another one; dead letters go with their tenant; what operators see of all tenants, and
-- do for a person who has lost their phone.

set role buildpeer_system;

-- Whatever way a password changes, links that were mailed before are worth nothing: whoever reads that mailbox could undo it.
create function app.end_resets() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  update public.password_resets r set used_at = now() where r.email = new.email and r.used_at is null;
  return null;
end
$$;
revoke all on function app.end_resets() from public;
grant execute on function app.end_resets() to buildpeer_owner;
reset role;

set role buildpeer_owner;
create trigger end_resets after update of password_hash on people for each row execute function app.end_resets();
reset role;

-- ---------------------------------------------------------------------------------------------------------------------
-- Dead letters name a tenant by the keys of its files, and by nothing else.

set role buildpeer_system;

-- Whether a text names a tenant that was erased, or is being erased.
create function app.names_erased(body text) returns boolean
  language sql stable set search_path = pg_catalog, pg_temp
begin atomic
  select exists (select from public.tenant_erasures e where strpos(body, e.tenant_id::text) > 0);
end;

-- As before, but what is of an erased tenant isn't kept: a message may die long after the erasing has ended.
create or replace function app.keep_dead_letters(died_in text, letter_ids uuid[], message_ids text[], bodies text[]) returns void
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  insert into public.dead_letters (letter_id, queue, message_id, body)
  select n.letter_id, died_in, n.message_id, n.body
  from unnest(letter_ids, message_ids, bodies) as n (letter_id, message_id, body)
  where not app.names_erased(n.body) on conflict do nothing;
end;

-- As before, and what was being kept in the very moment in which an erasing looked.
create or replace function app.prune_dead_letters(keep interval) returns void
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  delete from public.dead_letters d where d.ended_at < now() - keep or app.names_erased(d.body);
end;

-- Deletes the letters of the tenant of this transaction, whose erasing has begun; says how many.
create function app.erase_dead_letters() returns bigint
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  with gone as (
    delete from public.dead_letters d
    where strpos(d.body, app.tenant_id()::text) > 0 and exists (
      select from public.tenant_erasures e where e.tenant_id = app.tenant_id() and e.ended_at is null)
    returning d.letter_id
  )
  select count(*) from gone;
end;

-- ---------------------------------------------------------------------------------------------------------------------
-- What operators see of all tenants, and do for a person.

-- Every tenant, also one whose erasing is under way. `last_activity`: when one of its people last did something.
create function app.list_tenants() returns table (tenant_id uuid, name text, state text, people bigint, files bigint,
    used_bytes bigint, storage_limit_bytes bigint, last_activity timestamptz)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select id, coalesce(t.name, e.name),
    case when e.tenant_id is not null then 'erasing' when t.suspended_at is not null then 'suspended' else 'active' end,
    (select count(*) from public.memberships m where m.tenant_id = id),
    (select count(*) from public.documents d where d.tenant_id = id),
    coalesce((select s.bytes from public.storage_totals s where s.tenant_id = id), 0), t.storage_limit_bytes,
    (select n.occurred_at from audit.entries n where n.tenant_id = id and n.person_id is not null
     order by n.occurred_at desc limit 1)
  from public.tenants t
    full join (select r.tenant_id, r.name from public.tenant_erasures r where r.ended_at is null) e on e.tenant_id = t.tenant_id
    cross join lateral (select coalesce(t.tenant_id, e.tenant_id)) as either (id)
  order by 2, 1;
end;

-- Switches somebody's second step off and puts that into the trail of each of their tenants, with who did it; null where
-- no account with this address has one.
create function app.remove_totp(account text, by_whom text) returns uuid
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  person uuid;
begin
  delete from public.totps t using public.people p
  where p.email = lower(account) and t.person_id = p.person_id and t.confirmed_at is not null
  returning p.person_id into person;
  perform audit.note(m.tenant_id, null, 'totp_reset', 'people', person::text, jsonb_build_object('by', by_whom), null)
  from public.memberships m where m.person_id = person;
  return person;
end
$$;
revoke all on function app.names_erased(text), app.erase_dead_letters(), app.list_tenants(), app.remove_totp(text, text)
  from public;
grant execute on function app.erase_dead_letters(), app.list_tenants(), app.remove_totp(text, text) to buildpeer_operator;
reset role;

-- ---------------------------------------------------------------------------------------------------------------------
-- Signing in by a device. Revoking it ends its sessions, so that one that begins meanwhile must either be seen by that, or
-- not begin: it holds the device's row. app.pin_was_right() stays for processes that were started before this.

set role buildpeer_system;
create function app.hold_device(device uuid) returns uuid
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  update public.devices d set pin_tries = 0
  where d.device_id = device and d.approved_at is not null and d.revoked_at is null
  returning d.device_id;
end;
revoke all on function app.hold_device(uuid) from public;
grant execute on function app.hold_device(uuid) to buildpeer_app;
reset role;

-- ---------------------------------------------------------------------------------------------------------------------
-- How many tenants have entries that wait for their seal since before a moment: more than none is an alarm.

set role buildpeer_audit;
create function audit.behind(since timestamptz) returns bigint
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select count(distinct p.tenant_id) from audit.pending p where p.occurred_at < since;
end;
revoke all on function audit.behind(timestamptz) from public;
grant execute on function audit.behind(timestamptz) to buildpeer_app;
reset role;
