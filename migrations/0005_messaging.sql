-- What the monolith announces: an outbox row in the same transaction, numbered into the event log once committed.

set role buildpeer_owner;

create table outbox (
  tenant_id uuid not null references tenants,
  outbox_id bigint generated always as identity,
  destination text not null, -- 'log', or the name of a queue
  project_id uuid,
  type text not null,
  body jsonb not null,
  occurred_at timestamptz not null default now(),
  primary key (tenant_id, outbox_id),
  check (destination <> 'log' or project_id is not null) -- one that can't be logged would stop the relay for all
);
create index outbox_order on outbox (outbox_id);

create table event_log (
  tenant_id uuid not null references tenants,
  position bigint not null,
  project_id uuid not null,
  type text not null,
  body jsonb not null,
  occurred_at timestamptz not null,
  primary key (tenant_id, position)
);
create index event_log_age on event_log (occurred_at);

-- One row: the last position given, and the last one that has been thrown away.
create table event_log_head (
  singleton boolean primary key default true check (singleton),
  position bigint not null default 0,
  pruned bigint not null default 0
);
insert into event_log_head default values;

alter table outbox enable row level security;
alter table outbox force row level security;
alter table event_log enable row level security;
alter table event_log force row level security;
alter table event_log_head enable row level security;

-- The api may tell people of projects that its caller sees; only the worker may put anything on a queue, where it would
-- be believed.
create policy tenant on outbox for insert to buildpeer_app with check (tenant_id = (select app.tenant_id())
  and destination = 'log' and project_id = any ((select app.visible_projects())::uuid[]));
create policy tenant_worker on outbox for insert to buildpeer_worker with check (tenant_id = (select app.tenant_id()));
create policy system on outbox to buildpeer_system using (true) with check (true);
create policy tenant on event_log for select to buildpeer_app using (tenant_id = (select app.tenant_id()));
create policy visible on event_log as restrictive for select to buildpeer_app
  using (project_id = any ((select app.file_projects())::uuid[]));
create policy system on event_log to buildpeer_system using (true) with check (true);
create policy everybody on event_log_head for select to buildpeer_app using (true);
create policy system on event_log_head to buildpeer_system using (true) with check (true);

grant insert on outbox to buildpeer_app, buildpeer_worker;
grant select on event_log, event_log_head to buildpeer_app;
grant select, update, delete on outbox to buildpeer_system;
grant select, insert, delete on event_log to buildpeer_system;
grant select, update on event_log_head to buildpeer_system;
reset role;

set role buildpeer_system;

-- Numbers committed announcements in outbox order and moves them to the log. Positions have no gaps and are given
-- under the head's row lock, so whoever has read up to a position has missed nothing before it.
-- Returns the tenants that have something new; nothing when another relay is at work.
create function app.relay_log(max_rows int) returns table (tenant_id uuid, "position" bigint)
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  last bigint;
begin
  if not exists (select from public.outbox o where o.destination = 'log') then
    return;
  end if;
  select h.position into last from public.event_log_head h for update skip locked;
  if last is null then
    return;
  end if;
  return query
  with taken as (
    delete from public.outbox o
    where (o.tenant_id, o.outbox_id) in (
      select q.tenant_id, q.outbox_id from public.outbox q where q.destination = 'log' order by q.outbox_id limit max_rows)
    returning o.*
  ), logged as (
    insert into public.event_log (tenant_id, position, project_id, type, body, occurred_at)
    select t.tenant_id, last + row_number() over (order by t.outbox_id), t.project_id, t.type, t.body, t.occurred_at
    from taken t
    returning event_log.tenant_id, event_log.position
  ), moved as (
    update public.event_log_head h set position = last + (select count(*) from logged)
  )
  select l.tenant_id, max(l.position) from logged l group by l.tenant_id;
end
$$;

-- Messages for queues, oldest first, locked for this transaction; app.relayed() ends them once they are sent.
create function app.relay_messages(max_rows int)
  returns table (tenant_id uuid, outbox_id bigint, destination text, body jsonb)
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  select o.tenant_id, o.outbox_id, o.destination, o.body from public.outbox o
  where o.destination <> 'log' order by o.outbox_id limit max_rows for update skip locked;
end;

create function app.relayed(sent bigint[]) returns void language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  delete from public.outbox o where o.outbox_id = any (sent);
end;

-- Throws away log entries older than `keep` and remembers up to where, so that a late reader is told.
create function app.prune_log(keep interval) returns bigint
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  upto bigint;
begin
  with gone as (
    delete from public.event_log e where e.occurred_at < now() - keep returning e.position
  )
  select max(g.position) into upto from gone g;
  if upto is not null then
    update public.event_log_head h set pruned = greatest(h.pruned, upto);
  end if;
  return coalesce(upto, 0);
end
$$;

revoke all on function app.relay_log(int), app.relay_messages(int), app.relayed(bigint[]), app.prune_log(interval)
  from public;
grant execute on function app.relay_log(int), app.relay_messages(int), app.relayed(bigint[]), app.prune_log(interval)
  to buildpeer_worker;
reset role;
