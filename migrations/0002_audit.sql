-- The audit trail: append-only, written by triggers and by audit.record(), read by a tenant's owners and managers.
-- Who, when and which request come from the transaction's settings and the server's clock, never from a caller.

create schema audit authorization buildpeer_audit;
grant usage on schema audit to buildpeer_app, buildpeer_worker, buildpeer_owner;

set role buildpeer_audit;

create table audit.entries (
  tenant_id uuid not null,
  occurred_at timestamptz not null default clock_timestamp(),
  entry_id bigint generated always as identity,
  person_id uuid, -- null: BuildPeer itself
  database_role text not null,
  request_id text,
  action text not null,
  object_type text not null,
  object_id text not null,
  changes jsonb not null,
  primary key (tenant_id, occurred_at, entry_id)
) partition by range (occurred_at);
create table audit.entries_rest partition of audit.entries default;

alter table audit.entries enable row level security;
alter table audit.entries force row level security;
alter table audit.entries_rest enable row level security;
alter table audit.entries_rest force row level security;
create policy append on audit.entries for insert to buildpeer_audit with check (true);

-- Makes the partitions of this month and the next ones; safe to repeat. Returns how many it made.
create function audit.ensure_partitions(months_ahead int) returns int
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  made int := 0;
  month date;
  part text;
begin
  for step in 0..months_ahead loop
    month := (date_trunc('month', now() at time zone 'UTC') + make_interval(months => step))::date;
    part := 'entries_' || to_char(month, 'YYYY_MM');
    if to_regclass('audit.' || part) is null then
      execute format('create table audit.%I partition of audit.entries for values from (%L) to (%L)',
        part, month::text || ' 00:00:00+00', (month + interval '1 month')::date::text || ' 00:00:00+00');
      execute format('alter table audit.%I enable row level security', part);
      execute format('alter table audit.%I force row level security', part);
      made := made + 1;
    end if;
  end loop;
  return made;
end
$$;
revoke all on function audit.ensure_partitions(int) from public;
grant execute on function audit.ensure_partitions(int) to buildpeer_worker;

-- What rows don't show: sign-ins, downloads, exports.
create function audit.record(action text, object_type text, object_id text, details jsonb) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if action in ('insert', 'update', 'delete') then
    raise exception 'what happens to rows is recorded by triggers alone';
  end if;
  insert into audit.entries (tenant_id, person_id, database_role, request_id, action, object_type, object_id, changes)
  values (app.tenant_id(), app.person_id(), session_user, app.request_id(), action, object_type, object_id, details);
end
$$;
revoke all on function audit.record(text, text, text, jsonb) from public;
grant execute on function audit.record(text, text, text, jsonb) to buildpeer_app, buildpeer_worker;

-- Statement trigger: a batch of inserts costs one statement. Argument: the columns that name the row, by comma.
create function audit.capture_insert() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into audit.entries (tenant_id, person_id, database_role, request_id, action, object_type, object_id, changes)
  select (r.body ->> 'tenant_id')::uuid, app.person_id(), session_user, app.request_id(), 'insert', tg_table_name,
    (select string_agg(r.body ->> k, '/' order by o) from unnest(string_to_array(tg_argv[0], ',')) with ordinality as u (k, o)),
    jsonb_strip_nulls(r.body)
  from (select to_jsonb(n) as body from new_rows n) r;
  return null;
end
$$;

-- Row trigger for updates and deletes: {column: [before, after]}. Second argument: columns that say nothing to people.
create function audit.capture_change() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  before jsonb := to_jsonb(old);
  diff jsonb;
begin
  if tg_op = 'DELETE' then
    diff := jsonb_strip_nulls(before);
  else
    select jsonb_object_agg(n.key, jsonb_build_array(before -> n.key, n.value)) into diff
    from jsonb_each(to_jsonb(new)) n
    where n.value is distinct from before -> n.key
      and n.key <> all (string_to_array(coalesce(tg_argv[1], ''), ','));
    if diff is null then
      return null;
    end if;
  end if;
  insert into audit.entries (tenant_id, person_id, database_role, request_id, action, object_type, object_id, changes)
  values ((before ->> 'tenant_id')::uuid, app.person_id(), session_user, app.request_id(), lower(tg_op), tg_table_name,
    (select string_agg(before ->> k, '/' order by o) from unnest(string_to_array(tg_argv[0], ',')) with ordinality as u (k, o)),
    diff);
  return null;
end
$$;
revoke all on function audit.capture_insert(), audit.capture_change() from public;
grant execute on function audit.capture_insert(), audit.capture_change() to buildpeer_owner;

select audit.ensure_partitions(3);

reset role;

-- Puts a tenant table under audit; every migration that makes one calls it.
create function audit.watch(watched regclass, key_columns text, quiet_columns text) returns void
  language plpgsql set search_path = '' as $$
begin
  execute format('create trigger audit_insert after insert on %s referencing new table as new_rows
    for each statement execute function audit.capture_insert(%L)', watched, key_columns);
  execute format('create trigger audit_change after update or delete on %s
    for each row execute function audit.capture_change(%L, %L)', watched, key_columns, quiet_columns);
end
$$;
revoke all on function audit.watch(regclass, text, text) from public;
grant execute on function audit.watch(regclass, text, text) to buildpeer_owner;

set role buildpeer_owner;
select audit.watch('tenants', 'tenant_id', '');
reset role;
