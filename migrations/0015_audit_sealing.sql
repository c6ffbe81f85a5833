-- The audit trail keeps before and after but no secrets, and is sealed: each tenant's
-- entries go into Merkle batches, hash-chained, so that a change shows. docs/guides/audit.md says how the hashes are made.

grant usage on schema audit to buildpeer_system;

set role buildpeer_audit;

-- Whoever writes meanwhile is waited for: their entries must find their way into `pending`, too.
lock table audit.entries in share row exclusive mode;

alter table audit.entries add column project_id uuid;

-- Entries that are in no batch yet; a row is as committed as the entries it names, at most 1,024 that share a time.
create table audit.pending (
  tenant_id uuid not null,
  pending_id bigint generated always as identity,
  occurred_at timestamptz not null,
  entry_ids bigint[] not null,
  primary key (tenant_id, pending_id)
);

-- Leaves lie in the order of entry ids. The hash of a leaf, the root and the chain are those of RFC 6962 and the guide.
create table audit.batches (
  tenant_id uuid not null,
  number bigint not null check (number > 0),
  sealed_at timestamptz not null,
  entries bigint not null check (entries > 0),
  root bytea not null,
  previous bytea not null,
  hash bytea not null,
  entry_ids bigint[] not null,
  entry_times timestamptz[] not null,
  leaves bytea not null,
  primary key (tenant_id, number)
);
create index batches_of_entry on audit.batches using gin (entry_ids);

-- The newest batch of each tenant, and the newest whose seal lies in the second place.
create table audit.heads (
  tenant_id uuid primary key,
  number bigint not null default 0,
  hash bytea not null default decode(repeat('00', 32), 'hex'),
  sealed_at timestamptz,
  published bigint not null default 0
);
create index heads_unpublished on audit.heads (sealed_at) where number > published;

alter table audit.pending enable row level security;
alter table audit.pending force row level security;
alter table audit.batches enable row level security;
alter table audit.batches force row level security;
alter table audit.heads enable row level security;
alter table audit.heads force row level security;

-- Even the owner may only append to what is sealed, and has no policy to change or delete an entry.
create policy reads on audit.entries for select to buildpeer_audit using (true);
create policy reads on audit.entries_rest for select to buildpeer_audit using (true);
create policy system_reads on audit.entries for select to buildpeer_system using (true);
create policy queue on audit.pending to buildpeer_audit using (true) with check (true);
create policy append on audit.batches for insert to buildpeer_audit with check (true);
create policy reads on audit.batches for select to buildpeer_audit using (true);
create policy readers on audit.batches for select to buildpeer_app using
  (tenant_id = (select app.tenant_id()) and (select app.member_role()) in ('owner', 'manager'));
create policy heads on audit.heads to buildpeer_audit using (true) with check (true);
grant select on audit.entries to buildpeer_system;
grant select on audit.batches to buildpeer_app;

-- Row-level security doesn't stop a truncate, so this does.
create function audit.refuse_truncate() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception 'a table under audit is never truncated' using errcode = 'insufficient_privilege';
end
$$;
revoke all on function audit.refuse_truncate() from public;
grant execute on function audit.refuse_truncate() to buildpeer_owner;
create trigger refuse_truncate before truncate on audit.entries for each statement execute function audit.refuse_truncate();
create trigger refuse_truncate before truncate on audit.entries_rest for each statement execute function audit.refuse_truncate();
create trigger refuse_truncate before truncate on audit.batches for each statement execute function audit.refuse_truncate();

-- ---------------------------------------------------------------------------------------------------------------------
-- Partitions. Attaching a table that was made beside blocks nobody; `create table … partition of` would.

create function audit.make_month(month date) returns text
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  part text := 'entries_' || to_char(month, 'YYYY_MM');
begin
  -- The check spares the attaching its scan.
  execute format('create table audit.%1$I (like audit.entries including all excluding identity,
    constraint %2$I check (occurred_at >= %3$L and occurred_at < %4$L))', part, part || '_month',
    month::text || ' 00:00:00+00', (month + interval '1 month')::date::text || ' 00:00:00+00');
  execute format('alter table audit.%I enable row level security', part);
  execute format('alter table audit.%I force row level security', part);
  execute format('create policy append on audit.%I for insert to buildpeer_audit with check (true)', part);
  execute format('create policy reads on audit.%I for select to buildpeer_audit using (true)', part);
  execute format('create trigger refuse_truncate before truncate on audit.%I for each statement
    execute function audit.refuse_truncate()', part);
  return part;
end
$$;

create function audit.attach_month(month date) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  execute format('alter table audit.entries attach partition audit.%I for values from (%L) to (%L)',
    'entries_' || to_char(month, 'YYYY_MM'),
    month::text || ' 00:00:00+00', (month + interval '1 month')::date::text || ' 00:00:00+00');
end
$$;

-- Makes the partitions of this month and the next ones; safe to repeat. Returns how many it made. A month of which the
-- default partition holds rows already is left to audit.settle_rest().
create or replace function audit.ensure_partitions(months_ahead int) returns int
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  made int := 0;
  month date;
begin
  perform set_config('lock_timeout', '1s', true);
  for step in 0..months_ahead loop
    month := (date_trunc('month', now() at time zone 'UTC') + make_interval(months => step))::date;
    continue when to_regclass('audit.entries_' || to_char(month, 'YYYY_MM')) is not null;
    continue when exists (select from audit.entries_rest e where e.occurred_at >= month::timestamp at time zone 'UTC'
      and e.occurred_at < (month + interval '1 month') at time zone 'UTC');
    perform audit.make_month(month);
    perform audit.attach_month(month);
    made := made + 1;
  end loop;
  return made;
end
$$;

-- Gives the oldest month that lies in the default partition one of its own. Rows are copied beside, up to `max_rows` a
-- call, while people write; then everybody waits while the last ones follow and the tables are exchanged. Call it until
-- it returns 0: how many rows it moved in this call.
create function audit.settle_rest(max_rows int) returns int
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  month date;
  part text;
  copy text;
  copied int;
  last int;
  before bigint;
  after bigint;
begin
  if not pg_try_advisory_xact_lock(hashtext('audit.settle_rest')) then
    return 0;
  end if;
  select date_trunc('month', min(e.occurred_at) at time zone 'UTC')::date into month from audit.entries_rest e;
  if month is null then
    return 0;
  end if;
  part := 'entries_' || to_char(month, 'YYYY_MM');
  if to_regclass('audit.' || part) is null then
    perform audit.make_month(month);
  end if;
  copy := format('insert into audit.%1$I select r.* from audit.entries_rest r
    where r.occurred_at >= $1 and r.occurred_at < $2 and not exists (select from audit.%1$I t
      where t.tenant_id = r.tenant_id and t.occurred_at = r.occurred_at and t.entry_id = r.entry_id) limit $3', part);
  execute copy using month::timestamp at time zone 'UTC', (month + interval '1 month') at time zone 'UTC', max_rows;
  get diagnostics copied = row_count;
  if copied = max_rows then
    return copied;
  end if;

  perform set_config('lock_timeout', '1s', true);
  lock table audit.entries in access exclusive mode;
  execute copy using month::timestamp at time zone 'UTC', (month + interval '1 month') at time zone 'UTC', null::int;
  get diagnostics last = row_count;
  alter table audit.entries detach partition audit.entries_rest;
  alter table audit.entries_rest rename to entries_moved;
  create table audit.entries_rest (like audit.entries including all excluding identity);
  alter table audit.entries_rest enable row level security;
  alter table audit.entries_rest force row level security;
  create policy append on audit.entries_rest for insert to buildpeer_audit with check (true);
  create policy reads on audit.entries_rest for select to buildpeer_audit using (true);
  create trigger refuse_truncate before truncate on audit.entries_rest for each statement
    execute function audit.refuse_truncate();
  insert into audit.entries_rest select r.* from audit.entries_moved r
  where r.occurred_at < month::timestamp at time zone 'UTC' or r.occurred_at >= (month + interval '1 month') at time zone 'UTC';
  select count(*) into before from audit.entries_moved;
  execute format('select (select count(*) from audit.%I) + (select count(*) from audit.entries_rest)', part) into after;
  if before <> after then
    raise exception 'of % entries % would be left', before, after;
  end if;
  perform audit.attach_month(month);
  alter table audit.entries attach partition audit.entries_rest default;
  drop table audit.entries_moved;
  return copied + last;
end
$$;
revoke all on function audit.make_month(date), audit.attach_month(date), audit.settle_rest(int) from public;
grant execute on function audit.settle_rest(int) to buildpeer_worker;

-- ---------------------------------------------------------------------------------------------------------------------
-- Capturing.

-- squawk-ignore ban-drop-function
drop function audit.record(text, text, text, jsonb);

create function audit.note(tenant uuid, person uuid, action text, object_type text, object_id text, details jsonb, project uuid)
  returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  at timestamptz := clock_timestamp();
begin
  with made as (
    insert into audit.entries (tenant_id, occurred_at, person_id, database_role, request_id, action, object_type, object_id,
      project_id, changes)
    values (tenant, at, person, session_user, app.request_id(), action, object_type, object_id, project, details)
    returning entry_id
  )
  insert into audit.pending (tenant_id, occurred_at, entry_ids) select tenant, at, array[m.entry_id] from made m;
end
$$;
revoke all on function audit.note(uuid, uuid, text, text, text, jsonb, uuid) from public;
grant execute on function audit.note(uuid, uuid, text, text, text, jsonb, uuid) to buildpeer_system;

-- What rows don't show: sign-ins, downloads, exports.
create function audit.record(action text, object_type text, object_id text, details jsonb, project uuid default null)
  returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if action in ('insert', 'update', 'delete') or action !~ '^[a-z][a-z_]{0,39}$' then
    raise exception 'what happens to rows is recorded by triggers alone, and an action is a word';
  end if;
  perform audit.note(app.tenant_id(), app.person_id(), action, object_type, object_id, details, project);
end
$$;
revoke all on function audit.record(text, text, text, jsonb, uuid) from public;
grant execute on function audit.record(text, text, text, jsonb, uuid) to buildpeer_app, buildpeer_worker;

-- Statement trigger for inserts and deletes: a batch costs one statement here, too. Arguments: the columns that name the
-- row, by comma; columns that say nothing to people; columns whose values are secret.
create function audit.capture_rows() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  at timestamptz := clock_timestamp();
  person uuid := app.person_id();
  request text := app.request_id();
  keys text[] := string_to_array(tg_argv[0], ',');
  secrets text[] := string_to_array(tg_argv[2], ',');
begin
  with made as (
    insert into audit.entries (tenant_id, occurred_at, person_id, database_role, request_id, action, object_type, object_id,
      project_id, changes)
    select (r.body ->> 'tenant_id')::uuid, at, person, session_user, request, lower(tg_op), tg_table_name,
      case when cardinality(keys) = 1 then r.body ->> keys[1]
        else (select string_agg(r.body ->> k, '/' order by i) from unnest(keys) with ordinality u (k, i)) end,
      (r.body ->> 'project_id')::uuid, jsonb_strip_nulls(r.body) - secrets
    from (select to_jsonb(t) as body from moved_rows t offset 0) r -- offset 0: made once, not at each use
    returning tenant_id, entry_id
  )
  insert into audit.pending (tenant_id, occurred_at, entry_ids)
  select m.tenant_id, at, array_agg(m.entry_id)
  from (select tenant_id, entry_id, (row_number() over () - 1) / 1024 as part from made) m group by m.tenant_id, m.part;
  return null;
end
$$;

-- Row trigger for updates, which mostly come one by one: {column: [before, after]}.
create or replace function audit.capture_change() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  at timestamptz := clock_timestamp();
  before jsonb := to_jsonb(old);
  after jsonb := to_jsonb(new);
  diff jsonb;
begin
  select jsonb_object_agg(e.key, case when e.key = any (string_to_array(tg_argv[2], ',')) then '["(secret)", "(secret)"]'
      else jsonb_build_array(before -> e.key, e.value) end) into diff
  from jsonb_each(after) e
  where e.value is distinct from before -> e.key and e.key <> all (string_to_array(tg_argv[1], ','));
  if diff is null then
    return null;
  end if;
  with made as (
    insert into audit.entries (tenant_id, occurred_at, person_id, database_role, request_id, action, object_type, object_id,
      project_id, changes)
    values ((before ->> 'tenant_id')::uuid, at, app.person_id(), session_user, app.request_id(), 'update', tg_table_name,
      (select string_agg(before ->> k, '/' order by i) from unnest(string_to_array(tg_argv[0], ',')) with ordinality u (k, i)),
      (after ->> 'project_id')::uuid, diff)
    returning tenant_id, entry_id
  )
  insert into audit.pending (tenant_id, occurred_at, entry_ids) select m.tenant_id, at, array[m.entry_id] from made m;
  return null;
end
$$;
revoke all on function audit.capture_rows() from public;
grant execute on function audit.capture_rows() to buildpeer_owner;

-- ---------------------------------------------------------------------------------------------------------------------
-- Sealing.

-- The bytes that a leaf's hash is made of; the guide has test vectors.
create function audit.canonical(e audit.entries) returns text language sql stable set search_path = pg_catalog, pg_temp
  return '{"v":1,"tenant_id":"' || e.tenant_id || '","entry_id":' || e.entry_id
    || ',"occurred_at":"' || to_char(e.occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    || '","person_id":' || coalesce('"' || e.person_id || '"', 'null')
    || ',"database_role":' || to_json(e.database_role) || ',"request_id":' || coalesce(to_json(e.request_id)::text, 'null')
    || ',"action":' || to_json(e.action) || ',"object_type":' || to_json(e.object_type)
    || ',"object_id":' || to_json(e.object_id) || ',"project_id":' || coalesce('"' || e.project_id || '"', 'null')
    || ',"changes":' || e.changes || '}';

-- The root of a Merkle tree over these leaf hashes (RFC 6962 §2.1): level by level, an odd one out goes up as it is.
create function audit.merkle_root(leaves bytea[]) returns bytea language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  level bytea[] := leaves;
begin
  while cardinality(level) > 1 loop
    select array_agg(case when length(p.both) = 64 then sha256('\x01'::bytea || p.both) else p.both end order by p.pair) into level
    from (select (u.i - 1) / 2 as pair, string_agg(u.h, ''::bytea order by u.i) as both
          from unnest(level) with ordinality u (h, i) group by 1) p;
  end loop;
  return level[1];
end
$$;

-- Tenants that have entries in no batch yet.
create function audit.unsealed(max_tenants int) returns setof uuid
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  with recursive found as (
    (select p.tenant_id from audit.pending p order by p.tenant_id limit 1)
    union all
    select (select p.tenant_id from audit.pending p where p.tenant_id > f.tenant_id order by p.tenant_id limit 1)
    from found f where f.tenant_id is not null
  )
  select f.tenant_id from found f where f.tenant_id is not null limit max_tenants;
end;

-- Closes one batch of a tenant, of what has been committed and is in none yet, at most 1,024 entries; returns how many.
-- 0: there is nothing, or another sealer is at it. An entry that is gone already gets a leaf that nothing hashes to.
create function audit.seal(tenant uuid) returns int
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  head audit.heads;
  ids bigint[];
  times timestamptz[];
  hashes bytea[];
  top bytea;
  at timestamptz := clock_timestamp();
  chained bytea;
begin
  insert into audit.heads (tenant_id) values (tenant) on conflict do nothing;
  select h.* into head from audit.heads h where h.tenant_id = tenant for update skip locked;
  if not found then
    return 0;
  end if;
  with taken as (
    delete from audit.pending p
    where p.tenant_id = tenant and p.pending_id in (
      select s.pending_id from (
        select q.pending_id, sum(cardinality(q.entry_ids)) over (order by q.pending_id) as so_far
        from (select w.pending_id, w.entry_ids from audit.pending w where w.tenant_id = tenant
              order by w.pending_id limit 1024) q) s
      where s.so_far <= 1024)
    returning p.occurred_at, p.entry_ids
  ), leaf as (
    select u.id, t.occurred_at, coalesce(sha256('\x00'::bytea || convert_to(audit.canonical(e), 'UTF8')),
      decode(repeat('00', 32), 'hex')) as hash
    from taken t cross join unnest(t.entry_ids) u (id)
      left join audit.entries e on e.tenant_id = tenant and e.occurred_at = t.occurred_at and e.entry_id = u.id
  )
  select array_agg(l.id order by l.id), array_agg(l.occurred_at order by l.id), array_agg(l.hash order by l.id)
    into ids, times, hashes from leaf l;
  if ids is null then
    return 0;
  end if;
  top := audit.merkle_root(hashes);
  chained := sha256(convert_to('{"v":1,"tenant_id":"' || tenant || '","number":' || head.number + 1
    || ',"entries":' || cardinality(ids) || ',"root":"' || encode(top, 'hex') || '","previous":"' || encode(head.hash, 'hex')
    || '","sealed_at":"' || to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '"}', 'UTF8'));
  insert into audit.batches (tenant_id, number, sealed_at, entries, root, previous, hash, entry_ids, entry_times, leaves)
  values (tenant, head.number + 1, at, cardinality(ids), top, head.hash, chained, ids, times,
    (select string_agg(u.h, ''::bytea order by u.i) from unnest(hashes) with ordinality u (h, i)));
  update audit.heads h set number = head.number + 1, hash = chained, sealed_at = at where h.tenant_id = tenant;
  return cardinality(ids);
end
$$;

-- Newest seals that the second place lacks, and the note that it has them.
create function audit.unpublished(max_rows int) returns table (tenant_id uuid, number bigint, hash bytea, sealed_at timestamptz)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select h.tenant_id, h.number, h.hash, h.sealed_at from audit.heads h where h.number > h.published
  order by h.sealed_at limit max_rows;
end;
create function audit.published(tenant uuid, up_to bigint) returns void
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  update audit.heads h set published = greatest(h.published, up_to) where h.tenant_id = tenant;
end;
revoke all on function audit.canonical(audit.entries), audit.merkle_root(bytea[]), audit.unsealed(int), audit.seal(uuid),
  audit.unpublished(int), audit.published(uuid, bigint) from public;
grant execute on function audit.unsealed(int), audit.seal(uuid), audit.unpublished(int), audit.published(uuid, bigint)
  to buildpeer_worker;

-- What was written before there were batches.
insert into audit.pending (tenant_id, occurred_at, entry_ids)
select e.tenant_id, e.occurred_at, array_agg(e.entry_id)
from (select tenant_id, occurred_at, entry_id,
        (row_number() over (partition by tenant_id, occurred_at order by entry_id) - 1) / 1024 as part from audit.entries) e
group by e.tenant_id, e.occurred_at, e.part order by e.occurred_at;
reset role;

-- ---------------------------------------------------------------------------------------------------------------------
-- What looks further than its caller.

set role buildpeer_system;

-- A sign-in that failed, for the trail of every tenant of that person; an address that nobody has leaves nothing. Who it
-- was is not known, so no person is named as the actor.
create function app.record_failed_sign_in(login_email text) returns void
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  select audit.note(m.tenant_id, null, 'sign_in_failed', 'people', p.person_id::text, '{}'::jsonb, null)
  from public.people p join public.memberships m on m.person_id = p.person_id where p.email = lower(login_email);
end;

-- Names of people in the trail of the caller's tenant, also of those who have left; for owners and managers.
create function app.audited_people(people uuid[]) returns table (person_id uuid, name text)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select p.person_id, p.name from public.people p
  where p.person_id = any (people) and app.member_role() in ('owner', 'manager') and (
    exists (select from public.memberships m where m.tenant_id = app.tenant_id() and m.person_id = p.person_id)
    or exists (select from audit.entries e where e.tenant_id = app.tenant_id() and e.person_id = p.person_id));
end;
revoke all on function app.record_failed_sign_in(text), app.audited_people(uuid[]) from public;
grant execute on function app.record_failed_sign_in(text), app.audited_people(uuid[]) to buildpeer_app;
reset role;

-- ---------------------------------------------------------------------------------------------------------------------
-- Tables under audit change over to these triggers.

-- squawk-ignore ban-drop-function
drop function audit.watch(regclass, text, text);

-- Puts a tenant table under audit; every migration that makes one calls it. Columns by comma: those that name a row,
-- those that say nothing to people, those whose values must never be kept.
create function audit.watch(watched regclass, key_columns text, quiet_columns text, secret_columns text default '')
  returns void language plpgsql set search_path = '' as $$
declare
  rows text := format('for each statement execute function audit.capture_rows(%L, %L, %L)', key_columns, quiet_columns,
    secret_columns);
begin
  execute format('create trigger audit_insert after insert on %s referencing new table as moved_rows %s', watched, rows);
  execute format('create trigger audit_delete after delete on %s referencing old table as moved_rows %s', watched, rows);
  execute format('create trigger audit_change after update on %s for each row
    execute function audit.capture_change(%L, %L, %L)', watched, key_columns, quiet_columns, secret_columns);
  execute format('create trigger audit_truncate before truncate on %s for each statement
    execute function audit.refuse_truncate()', watched);
end
$$;
revoke all on function audit.watch(regclass, text, text, text) from public;
grant execute on function audit.watch(regclass, text, text, text) to buildpeer_owner;

set role buildpeer_owner;
do $$
declare
  old record;
begin
  for old in
    select t.tgrelid::regclass as watched, string_to_array(encode(t.tgargs, 'escape'), '\000') as args
    from pg_catalog.pg_trigger t where t.tgname = 'audit_change'
  loop
    execute format('drop trigger audit_insert on %s', old.watched);
    execute format('drop trigger audit_change on %s', old.watched);
    perform audit.watch(old.watched, old.args[1], old.args[2]);
  end loop;
end
$$;
-- The one table that awaited a trail which keeps no secrets.
select audit.watch('devices', 'device_id', 'pin_tries,challenged_at', 'pin_hash');
reset role;

set role buildpeer_audit;
-- squawk-ignore ban-drop-function
drop function audit.capture_insert();
reset role;
