-- E-mail that waits to be sent, and resets of forgotten passwords. Neither has a tenant: one may belong to several.

set role buildpeer_owner;

-- A row is written by the transaction that the mail tells of, and ends once a mail server has taken it.
create table mails (
  mail_id uuid primary key,
  template text not null,
  recipient text not null,
  locale text not null,
  known_only boolean not null, -- goes to nobody but an account's own address, in that account's language
  facts jsonb not null,
  created_at timestamptz not null default now(),
  due_at timestamptz not null default now(),
  tries bigint not null default 0
);
create index mails_due on mails (due_at);

-- One for every address that was asked for, known or not, so that asking tells nothing.
create table password_resets (
  token_hash bytea primary key, -- SHA-256; the token itself is in the mail alone
  email text not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  used_at timestamptz
);

alter table mails enable row level security;
alter table mails force row level security;
alter table password_resets enable row level security;
alter table password_resets force row level security;
create policy writers on mails for insert to buildpeer_app, buildpeer_worker with check (true);
create policy system on mails to buildpeer_system using (true) with check (true);
create policy writers on password_resets for insert to buildpeer_app with check (true);
create policy system on password_resets to buildpeer_system using (true) with check (true);
grant insert on mails to buildpeer_app, buildpeer_worker;
grant select, update, delete on mails to buildpeer_system;
grant insert on password_resets to buildpeer_app;
grant select, update, delete on password_resets to buildpeer_system;

create policy own_change on people for update to buildpeer_app
  using (person_id = (select app.person_id())) with check (person_id = (select app.person_id()));
grant update (password_hash) on people to buildpeer_app;
create policy system_changes on people for update to buildpeer_system using (true) with check (true);
grant update (password_hash) on people to buildpeer_system;
create policy system_ends on sessions for update to buildpeer_system using (true) with check (true);
grant update (ended_at) on sessions to buildpeer_system;
reset role;

set role buildpeer_system;

-- Mails that are due, each lent to one sender for ever longer, up to an hour; app.mails_done() ends them. What was
-- meant for an account that isn't there is dropped.
create function app.lend_mails(max_rows int) returns table (
    mail_id uuid, template text, recipient text, locale text, facts jsonb, tries bigint)
  language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  delete from public.mails m
  where m.due_at <= now() and m.known_only and not exists (select from public.people p where p.email = m.recipient);
  update public.mails m
  set tries = m.tries + 1, due_at = now() + least(interval '30 seconds' * 2 ^ least(m.tries, 7), interval '1 hour')
  where m.mail_id in (
    select d.mail_id from public.mails d where d.due_at <= now() order by d.due_at limit max_rows
    for update skip locked)
  returning m.mail_id, m.template, m.recipient,
    coalesce((select p.locale from public.people p where m.known_only and p.email = m.recipient), m.locale),
    m.facts, m.tries;
end;

create function app.mails_done(done uuid[]) returns void language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  delete from public.mails m where m.mail_id = any (done);
end;

create function app.prune_resets() returns void language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  delete from public.password_resets r where r.expires_at < now() - interval '1 day';
end;

-- Gives an account a new password by the token from its mail, once, and ends its sessions. Returns nobody for a token
-- that isn't good.
create function app.redeem_reset(hash bytea, new_password_hash text, at timestamptz) returns uuid
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  reset_email text;
  reset_person uuid;
begin
  update public.password_resets r set used_at = at
  where r.token_hash = hash and r.used_at is null and r.expires_at > at returning r.email into reset_email;
  update public.people p set password_hash = new_password_hash where p.email = reset_email
  returning p.person_id into reset_person;
  update public.password_resets r set used_at = at where r.email = reset_email and r.used_at is null;
  update public.sessions s set ended_at = at where s.person_id = reset_person and s.ended_at is null;
  return reset_person;
end
$$;

revoke all on function app.lend_mails(int), app.mails_done(uuid[]), app.prune_resets(),
  app.redeem_reset(bytea, text, timestamptz) from public;
grant execute on function app.lend_mails(int), app.mails_done(uuid[]), app.prune_resets() to buildpeer_worker;
grant execute on function app.redeem_reset(bytea, text, timestamptz) to buildpeer_app;
reset role;
