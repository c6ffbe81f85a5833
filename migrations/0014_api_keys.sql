-- Keys for machines: each acts as the member who made it, with the tools it was given and no others.

set role buildpeer_owner;

create table api_keys (
  tenant_id uuid not null references tenants,
  key_id uuid not null, -- its secret stands in tokens, as a hash
  person_id uuid not null,
  name text not null check (length(name) between 1 and 100),
  tools jsonb not null, -- {tool: level}
  created_at timestamptz not null,
  last_used_at timestamptz,
  revoked_at timestamptz,
  primary key (tenant_id, key_id)
);
alter table api_keys enable row level security;
alter table api_keys force row level security;
create policy owners on api_keys to buildpeer_app
  using (tenant_id = (select app.tenant_id()) and (select app.member_role()) = 'owner')
  with check (tenant_id = (select app.tenant_id()) and (select app.member_role()) = 'owner'
    and person_id = (select app.person_id()));
create policy system on api_keys to buildpeer_system using (true) with check (true);
grant select, insert, update (revoked_at) on api_keys to buildpeer_app;
grant select, update (last_used_at) on api_keys to buildpeer_system;

select audit.watch('api_keys', 'key_id', 'last_used_at');
reset role;

set role buildpeer_system;

-- Whom a key acts as, and with which tools; notes that it was used, at most once a minute.
create function app.use_key(hash bytea, at timestamptz) returns table (
    tenant_id uuid, person_id uuid, key_id uuid, tools jsonb)
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  update public.api_keys k set last_used_at = at
  from public.tokens t
  where t.token_hash = hash and k.tenant_id = t.tenant_id and k.key_id = t.subject_id and k.revoked_at is null
    and (k.last_used_at is null or k.last_used_at < at - interval '1 minute');
  select k.tenant_id, k.person_id, k.key_id, k.tools
  from public.tokens t join public.api_keys k on k.tenant_id = t.tenant_id and k.key_id = t.subject_id
  where t.token_hash = hash and k.revoked_at is null;
end;
revoke all on function app.use_key(bytea, timestamptz) from public;
grant execute on function app.use_key(bytea, timestamptz) to buildpeer_app;
reset role;
