-- What a company's files weigh: a ledger, and its sum. An upload weighs from its opening on; it is released when it ends
-- without a file, and when the last document that links its bytes has gone and they are deleted. Links weigh nothing.

set role buildpeer_owner;
alter table tenants add column storage_limit_bytes bigint check (storage_limit_bytes >= 0); -- null: there is none

create table storage_entries (
  tenant_id uuid not null references tenants,
  entry_id bigint generated always as identity,
  upload_id uuid not null,
  kind text not null check (kind in ('reserved', 'released', 'erased')),
  bytes bigint not null check ((bytes > 0) = (kind = 'reserved')),
  created_at timestamptz not null default now(),
  primary key (tenant_id, entry_id)
);
create index storage_entries_upload on storage_entries (tenant_id, upload_id);

create table storage_totals (
  tenant_id uuid primary key references tenants,
  bytes bigint not null
);

alter table storage_entries enable row level security;
alter table storage_entries force row level security;
alter table storage_totals enable row level security;
alter table storage_totals force row level security;
create policy tenant on storage_totals for select to buildpeer_app
  using (tenant_id = (select app.tenant_id()) and (select app.member_role()) in ('owner', 'manager'));
create policy system on storage_entries to buildpeer_system using (true) with check (true);
create policy system on storage_totals to buildpeer_system using (true) with check (true);
grant select on storage_totals to buildpeer_app;
grant select, insert on storage_entries to buildpeer_system;
grant select, insert, update on storage_totals to buildpeer_system;
reset role;

set role buildpeer_system;

create function app.count_storage() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into public.storage_totals as t (tenant_id, bytes)
  select e.tenant_id, sum(e.bytes) from entered e group by e.tenant_id
  on conflict (tenant_id) do update set bytes = t.bytes + excluded.bytes;
  return null;
end
$$;

create function app.reserve_storage() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into public.storage_entries (tenant_id, upload_id, kind, bytes)
  select u.tenant_id, u.upload_id, 'reserved', u.size_bytes from opened u order by u.upload_id;
  return null;
end
$$;

create function app.release_storage() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into public.storage_entries (tenant_id, upload_id, kind, bytes)
  values (old.tenant_id, old.upload_id, 'released', -old.size_bytes);
  return null;
end
$$;

-- An order to erase has been carried out: unless something links the bytes still, they weigh nothing any more.
create function app.erase_storage() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
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

-- How many bytes the caller's company may still open uploads for; null: as many as it likes. Locked until the transaction
-- ends, so that two calls at once don't both take the last ones.
create function app.storage_left() returns bigint
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  most bigint := (select t.storage_limit_bytes from public.tenants t where t.tenant_id = app.tenant_id());
begin
  if most is null then
    return null;
  end if;
  insert into public.storage_totals (tenant_id, bytes) values (app.tenant_id(), 0) on conflict do nothing;
  return most - (select t.bytes from public.storage_totals t where t.tenant_id = app.tenant_id() for update);
end
$$;
revoke all on function app.count_storage(), app.reserve_storage(), app.release_storage(), app.erase_storage(),
  app.storage_left() from public;
grant execute on function app.count_storage(), app.reserve_storage(), app.release_storage(), app.erase_storage() to buildpeer_owner;
grant execute on function app.storage_left() to buildpeer_app;
reset role;

set role buildpeer_owner;
create trigger counted after insert on storage_entries referencing new table as entered
  for each statement execute function app.count_storage();
create trigger reserved after insert on uploads referencing new table as opened
  for each statement execute function app.reserve_storage();
create trigger released after update of state on uploads for each row
  when (new.state in ('duplicate', 'mismatched', 'cancelled', 'expired')
    and old.state not in ('duplicate', 'mismatched', 'cancelled', 'expired'))
  execute function app.release_storage();
create trigger erased after delete on erasures for each row execute function app.erase_storage();
reset role;

set role buildpeer_system;
-- What there is already weighs as well.
insert into storage_entries (tenant_id, upload_id, kind, bytes)
select u.tenant_id, u.upload_id, 'reserved', u.size_bytes from uploads u
where u.state not in ('duplicate', 'mismatched', 'cancelled', 'expired') and u.erased_at is null;
reset role;
