-- What people and other systems are told of what happens: notices, digests, webhooks. All of it is made from the event
-- log, in the order of its positions, by one transaction per batch that also moves the place up to which was heard.

set role buildpeer_owner;
-- squawk-ignore require-concurrent-index-creation -- a week of events at most
create index event_log_order on event_log (position);

-- One row: up to which position events have become notices. What is already there is old news.
create table notice_head (
  singleton boolean primary key default true check (singleton),
  position bigint not null
);
insert into notice_head (position) select h.position from event_log_head h;
alter table notice_head enable row level security;
create policy system on notice_head to buildpeer_system using (true) with check (true);
grant select, update on notice_head to buildpeer_system;

-- What comes in bursts, until it is quiet again: 2,000 ready files of a project are one row here, and then one notice.
create table bursts (
  tenant_id uuid not null references tenants,
  project_id uuid not null,
  topic text not null,
  first_position bigint not null,
  last_position bigint not null,
  began_at timestamptz not null,
  ended_at timestamptz not null,
  due_at timestamptz not null, -- when it is taken for over
  count bigint not null,
  facts jsonb not null, -- of the first one
  ids jsonb not null, -- the first hundred
  primary key (tenant_id, project_id, topic)
);
create index bursts_due on bursts (due_at);
alter table bursts enable row level security;
alter table bursts force row level security;
create policy tenant on bursts to buildpeer_worker
  using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()));
create policy system on bursts to buildpeer_system using (true) with check (true);
grant select, insert, update, delete on bursts to buildpeer_worker;
grant select on bursts to buildpeer_system;
select app.lives_with_tenant('bursts');

-- ---------------------------------------------------------------------------------------------------------------------
-- Webhooks. An endpoint is an owner's business; what was sent, and what came back, is kept for a month.

create table webhook_endpoints (
  tenant_id uuid not null references tenants,
  endpoint_id uuid not null,
  url text not null check (length(url) <= 2000),
  description text not null check (length(description) <= 200),
  types text[] not null, -- empty: all
  secret bytea not null, -- encrypted
  old_secret bytea, -- signs, too, until the receiver has learned the new one
  old_until timestamptz,
  created_by uuid not null,
  created_at timestamptz not null,
  version bigint not null default 1,
  failing_since timestamptz, -- nothing has got through since
  disabled_at timestamptz,
  disabled_reason text check (disabled_reason in ('by_owner', 'failing', 'gone')),
  primary key (tenant_id, endpoint_id),
  check ((old_secret is null) = (old_until is null)),
  check ((disabled_at is null) = (disabled_reason is null))
);
create table webhook_messages (
  tenant_id uuid not null references tenants,
  message_id uuid not null,
  position bigint, -- of the event that it tells of, the last one of a burst; null: a test
  type text not null,
  payload jsonb not null,
  occurred_at timestamptz not null,
  primary key (tenant_id, message_id),
  unique (tenant_id, position) -- whatever is repeated, an event is told once
);
create index webhook_messages_age on webhook_messages (occurred_at);
create table webhook_deliveries (
  tenant_id uuid not null references tenants,
  endpoint_id uuid not null,
  message_id uuid not null,
  occurred_at timestamptz not null,
  state text not null check (state in ('waiting', 'delivered', 'failed')),
  attempts bigint not null default 0, -- ever begun; also says which one may write: the last
  tries bigint not null default 0, -- ended badly, since it was last begun anew
  tried_at timestamptz, -- the first of these
  due_at timestamptz,
  lent_until timestamptz, -- somebody is at it
  primary key (tenant_id, endpoint_id, message_id),
  foreign key (tenant_id, endpoint_id) references webhook_endpoints on delete cascade,
  foreign key (tenant_id, message_id) references webhook_messages on delete cascade,
  check ((due_at is not null) = (state = 'waiting'))
);
create index webhook_deliveries_due on webhook_deliveries (due_at) where due_at is not null;
create index webhook_deliveries_queue on webhook_deliveries (tenant_id, endpoint_id, due_at) where due_at is not null;
create index webhook_deliveries_lent on webhook_deliveries (tenant_id, endpoint_id) where lent_until is not null;
create index webhook_deliveries_newest on webhook_deliveries (tenant_id, endpoint_id, occurred_at desc, message_id desc);
create index webhook_deliveries_message on webhook_deliveries (tenant_id, message_id);
create table webhook_attempts (
  tenant_id uuid not null references tenants,
  endpoint_id uuid not null,
  message_id uuid not null,
  number bigint not null,
  began_at timestamptz not null,
  duration_ms bigint not null,
  status bigint, -- null: there was no answer
  error text,
  answer text not null, -- its beginning
  primary key (tenant_id, endpoint_id, message_id, number),
  foreign key (tenant_id, endpoint_id, message_id) references webhook_deliveries on delete cascade
);

do $$
declare
  bound text;
begin
  foreach bound in array array['webhook_endpoints', 'webhook_messages', 'webhook_deliveries', 'webhook_attempts'] loop
    execute format('alter table %I enable row level security', bound);
    execute format('alter table %I force row level security', bound);
    execute format('create policy owners on %I to buildpeer_app
      using (tenant_id = (select app.tenant_id()) and (select app.member_role()) = ''owner'')
      with check (tenant_id = (select app.tenant_id()) and (select app.member_role()) = ''owner'')', bound);
    execute format('create policy tenant on %I to buildpeer_worker
      using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()))', bound);
    execute format('create policy system on %I to buildpeer_system using (true) with check (true)', bound);
    perform app.lives_with_tenant(bound::regclass);
  end loop;
end
$$;
grant select, insert (tenant_id, endpoint_id, url, description, types, secret, created_by, created_at),
  update (url, description, types, secret, old_secret, old_until, version, failing_since, disabled_at, disabled_reason),
  delete on webhook_endpoints to buildpeer_app;
grant select, update (failing_since, disabled_at, disabled_reason) on webhook_endpoints to buildpeer_worker;
grant select, insert on webhook_messages to buildpeer_app, buildpeer_worker;
grant select, insert, update (state, tries, tried_at, due_at, lent_until) on webhook_deliveries
  to buildpeer_app, buildpeer_worker;
grant select on webhook_attempts to buildpeer_app;
grant select, insert on webhook_attempts to buildpeer_worker;
grant select on webhook_endpoints to buildpeer_system;
grant select, delete on webhook_messages to buildpeer_system;
grant select, update (attempts, lent_until) on webhook_deliveries to buildpeer_system;
select audit.watch('webhook_endpoints', 'endpoint_id', 'failing_since,version', 'secret,old_secret');
reset role;

set role buildpeer_system;

-- Events that nobody has heard of yet, oldest first; nothing while somebody else listens. What is heard is ended by
-- app.heard(), in the same transaction.
create function app.unheard(max_rows int) returns table (
    tenant_id uuid, "position" bigint, project_id uuid, person_id uuid, type text, body jsonb, occurred_at timestamptz)
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  last bigint;
begin
  if (select h.position from public.event_log_head h) = (select n.position from public.notice_head n) then
    return;
  end if;
  select n.position into last from public.notice_head n for update skip locked;
  if last is null then
    return;
  end if;
  return query
  select e.tenant_id, e.position, e.project_id, e.person_id, e.type, e.body, e.occurred_at
  from public.event_log e where e.position > last order by e.position limit max_rows;
end
$$;

create function app.heard(upto bigint) returns void
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  update public.notice_head n set position = upto where n.position < upto;
end;

create function app.due_bursts(at timestamptz, max_rows int)
  returns table (tenant_id uuid, project_id uuid, topic text)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select b.tenant_id, b.project_id, b.topic from public.bursts b where b.due_at <= at order by b.due_at limit max_rows;
end;

-- Lends deliveries that are due, no more of one endpoint at once than `most_at_once`, only one of an endpoint that fails,
-- and no more of a company than `most_of_tenant`; first those of endpoints with the least under way. What its borrower
-- doesn't end is lent again after a while.
create function app.lend_deliveries(at timestamptz, max_rows int, most_at_once int, most_of_tenant int, lease interval) returns table (
    tenant_id uuid, endpoint_id uuid, message_id uuid, number bigint, tries bigint, tried_at timestamptz, url text,
    secret bytea, old_secret bytea, payload jsonb)
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from public.webhook_deliveries d where d.due_at <= at) then
    return;
  end if;
  perform pg_advisory_xact_lock(hashtextextended('webhooks', 0)); -- whoever counts must not be overtaken
  return query
  with open as (
    select e.tenant_id, e.endpoint_id, e.url, e.secret, case when e.old_until > at then e.old_secret end as old_secret,
      case when e.failing_since is null then most_at_once else 1 end as room,
      (select count(*) from public.webhook_deliveries b
       where b.tenant_id = e.tenant_id and b.endpoint_id = e.endpoint_id and b.lent_until > at) as busy
    from public.webhook_endpoints e where e.disabled_at is null
  ), waiting as (
    select o.tenant_id, o.endpoint_id, o.url, o.secret, o.old_secret, d.message_id, d.due_at,
      o.busy + row_number() over (partition by o.tenant_id, o.endpoint_id order by d.due_at, d.message_id) as place
    from open o cross join lateral (
      select w.message_id, w.due_at from public.webhook_deliveries w
      where w.tenant_id = o.tenant_id and w.endpoint_id = o.endpoint_id and w.due_at <= at
        and (w.lent_until is null or w.lent_until <= at)
      order by w.due_at, w.message_id limit greatest(o.room - o.busy, 0)) d
  ), counted as (
    select w.*, row_number() over (partition by w.tenant_id order by w.place, w.due_at)
      + (select sum(o.busy) from open o where o.tenant_id = w.tenant_id) as place_in_tenant
    from waiting w
  ), next as (
    select c.* from counted c where c.place_in_tenant <= most_of_tenant
    order by c.place_in_tenant, c.due_at limit max_rows
  )
  update public.webhook_deliveries w set attempts = w.attempts + 1, lent_until = at + lease
  from next n join public.webhook_messages m on m.tenant_id = n.tenant_id and m.message_id = n.message_id
  where w.tenant_id = n.tenant_id and w.endpoint_id = n.endpoint_id and w.message_id = n.message_id
  returning w.tenant_id, w.endpoint_id, w.message_id, w.attempts, w.tries, w.tried_at, n.url, n.secret, n.old_secret,
    m.payload;
end
$$;

-- Forgets what was sent before a time, and how it fared.
create function app.prune_webhooks(before timestamptz) returns void
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  delete from public.webhook_messages m where m.occurred_at < before;
end;

revoke all on function app.unheard(int), app.heard(bigint), app.due_bursts(timestamptz, int),
  app.lend_deliveries(timestamptz, int, int, int, interval), app.prune_webhooks(timestamptz) from public;
grant execute on function app.unheard(int), app.heard(bigint), app.due_bursts(timestamptz, int),
  app.lend_deliveries(timestamptz, int, int, int, interval), app.prune_webhooks(timestamptz) to buildpeer_worker;
reset role;

-- ---------------------------------------------------------------------------------------------------------------------
-- The inbox, and what each person wants to hear. Both are one's own, and of projects that one still sees.

set role buildpeer_owner;
create table notices (
  tenant_id uuid not null references tenants,
  person_id uuid not null references people,
  position bigint not null, -- of the event that it tells of, the last one of a burst
  topic text not null,
  project_id uuid, -- null: about no project
  count bigint not null,
  facts jsonb not null,
  occurred_at timestamptz not null,
  read_at timestamptz,
  mail_due_at timestamptz, -- null: goes out by no mail, or has
  primary key (tenant_id, person_id, position)
);
create index notices_unread on notices (tenant_id, person_id, position) where read_at is null;
create index notices_mail on notices (mail_due_at) where mail_due_at is not null;
create index notices_age on notices (occurred_at);
create table notice_preferences (
  tenant_id uuid not null references tenants,
  person_id uuid not null references people,
  project_id uuid, -- null: wherever there is nothing of its own
  place uuid not null generated always as (coalesce(project_id, tenant_id)) stored,
  mail text not null check (mail in ('at_once', 'hourly', 'daily', 'never')),
  muted boolean not null,
  timezone text, -- null: the project's
  primary key (tenant_id, person_id, place),
  check (project_id is null or timezone is null)
);
do $$
declare
  bound text;
begin
  foreach bound in array array['notices', 'notice_preferences'] loop
    execute format('alter table %I enable row level security', bound);
    execute format('alter table %I force row level security', bound);
    execute format('create policy tenant on %I to buildpeer_app, buildpeer_worker
      using (tenant_id = (select app.tenant_id())) with check (tenant_id = (select app.tenant_id()))', bound);
    execute format('create policy own on %I as restrictive to buildpeer_app
      using (person_id = (select app.person_id()) and (select app.member_role()) is not null
        and (project_id is null or project_id = any ((select app.visible_projects())::uuid[])))
      with check (person_id = (select app.person_id()) and (select app.member_role()) is not null
        and (project_id is null or project_id = any ((select app.visible_projects())::uuid[])))', bound);
    execute format('create policy system on %I to buildpeer_system using (true) with check (true)', bound);
    perform app.lives_with_tenant(bound::regclass);
  end loop;
end
$$;
grant select, update (read_at) on notices to buildpeer_app;
grant select, insert, update (mail_due_at) on notices to buildpeer_worker;
grant select, delete on notices to buildpeer_system;
grant select, insert (tenant_id, person_id, project_id, mail, muted, timezone), update (mail, muted, timezone), delete
  on notice_preferences to buildpeer_app;
grant select on notice_preferences to buildpeer_worker;
select audit.watch('notice_preferences', 'person_id,place', '');
reset role;

set role buildpeer_system;

-- Who has notices that are to go out by mail.
create function app.due_digests(at timestamptz, max_rows int) returns table (tenant_id uuid, person_id uuid)
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select n.tenant_id, n.person_id from public.notices n where n.mail_due_at <= at
  group by n.tenant_id, n.person_id order by min(n.mail_due_at) limit max_rows;
end;

create function app.prune_notices(before timestamptz) returns void
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  delete from public.notices n where n.occurred_at < before;
end;
revoke all on function app.due_digests(timestamptz, int), app.prune_notices(timestamptz) from public;
grant execute on function app.due_digests(timestamptz, int), app.prune_notices(timestamptz) to buildpeer_worker;
reset role;
