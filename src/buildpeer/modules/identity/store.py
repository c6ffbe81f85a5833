"""SQL of identity: one function, one statement."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from buildpeer.modules.identity.rules import Session
from buildpeer.platform.db import Database, Transaction, record

FIND_LOGIN = "select person_id, password_hash from app.find_login($1)"
PERSON = "select person_id, email, name, locale from people where person_id = $1"
HOLD_PERSON = "select email from people where person_id = $1 for share"
MEMBERSHIPS = """
select t.tenant_id, t.name, m.role from memberships m join tenants t on t.tenant_id = m.tenant_id
where m.person_id = $1 order by t.name, t.tenant_id
"""
ADD_SESSION = """
insert into sessions (person_id, session_id, tenant_id, device, rotated_at, created_at, device_id)
values ($1, $2, $3, $4, $5, $5, $6)
"""
LOCK_SESSION = """
select person_id, session_id, tenant_id, generation, rotated_at, ended_at, device_id from sessions
where person_id = $1 and session_id = $2 for update
"""
ROTATE_SESSION = """
update sessions set generation = generation + 1, rotated_at = $3 where person_id = $1 and session_id = $2
"""
END_SESSION = """
update sessions set ended_at = coalesce(ended_at, $3) where person_id = $1 and session_id = $2
  and ($4::uuid is null or (tenant_id = $4 and device_id is not null)) returning tenant_id
"""
MOVE_SESSION = """
update sessions set tenant_id = $3 where person_id = $1 and session_id = $2 and device_id is null returning true
"""
TENANT_OF_KEY = "select tenant_id from sessions where person_id = $1 and session_id = $2 and device_id is not null"
SESSIONS = """
select session_id, device, tenant_id, created_at, rotated_at as last_seen_at from sessions
where person_id = $1 and ended_at is null and rotated_at > $2
  and ($3::uuid is null or (tenant_id = $3 and device_id is not null)) order by rotated_at desc, session_id
"""
MEMBERS = """
select p.person_id, p.name, p.email, m.role, m.created_at from memberships m join people p on p.person_id = m.person_id
where m.tenant_id = $1 and ($2::text is null or (p.name, p.person_id) > ($2, $3)) order by p.name, p.person_id limit $4
"""
MEMBER = """
select p.person_id, p.name, p.email, m.role, m.created_at from memberships m join people p on p.person_id = m.person_id
where m.tenant_id = $1 and m.person_id = $2
"""
LOCK_OWNERS = """
select person_id from memberships where tenant_id = $1 and role = 'owner' order by person_id for update
"""
CHANGE_ROLE = "update memberships set role = $3 where tenant_id = $1 and person_id = $2"
REMOVE_MEMBER = "delete from memberships where tenant_id = $1 and person_id = $2"
SET_PASSWORD_HASH = "update people set password_hash = $2 where person_id = $1"  # noqa: S105 - a statement
END_OTHER_SESSIONS = """
update sessions set ended_at = $3 where person_id = $1 and session_id <> $2 and ended_at is null returning tenant_id
"""
ADD_RESET = "insert into password_resets (token_hash, email, created_at, expires_at) values ($1, $2, $3, $4)"
PRUNE_RESETS = "select app.prune_resets()"
REDEEM_RESET = "select app.redeem_reset($1, $2, $3)"
ADD_INVITATION = """
insert into invitations (tenant_id, invitation_id, kind, email, person_id, role, projects, created_by, created_at,
  expires_at, uses_left)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
ADD_TOKEN = "insert into tokens (tenant_id, token_hash, subject_id) values ($1, $2, $3)"  # noqa: S105 - a statement
INVITATIONS = """
select invitation_id, kind, email, person_id, role, projects, created_by, created_at, expires_at, uses_left
from invitations i where tenant_id = $1 and revoked_at is null and expires_at > $2 and uses_left > 0
  and exists (select from memberships m where m.tenant_id = i.tenant_id and m.person_id = i.created_by
    and (m.role = 'owner' or m.role = 'manager' and i.role <> 'owner'))
order by created_at desc, invitation_id
"""
LOCK_INVITATIONS = "select pg_advisory_xact_lock(hashtextextended('invitations ' || $1::uuid::text, 0))"
KNOWN_ADDRESSES = """
select p.email from memberships m join people p on p.person_id = m.person_id
where m.tenant_id = $1 and p.email = any ($2)
union
select i.email from invitations i
where i.tenant_id = $1 and i.email = any ($2) and i.revoked_at is null and i.expires_at > $3 and i.uses_left > 0
"""
REVOKE_INVITATION = """
update invitations set revoked_at = coalesce(revoked_at, $3) where tenant_id = $1 and invitation_id = $2
returning invitation_id
"""
FIND_INVITATION = """
select tenant_id, tenant, kind, role, email, known_person, password_hash from app.find_invitation($1, $2)
"""
ACCEPT_INVITATION = "select app.accept_invitation($1, $2, $3, $4, $5, $6, $7, $8, $9)"
FIND_DEVICE = "select d.tenant_id, d.person_id, d.name, d.public_key from app.find_device($1) d"
TRY_PIN = "select app.try_pin($1, $2, $3)"
HOLD_DEVICE = "select app.hold_device($1)"
DEVICES = """
select device_id, name, created_at, approved_at, approved_by, pin_tries from devices
where tenant_id = $1 and person_id = $2 and revoked_at is null order by created_at desc, device_id
"""
APPROVE_DEVICE = """
update devices set approved_at = coalesce(approved_at, $4), approved_by = coalesce(approved_by, $5), pin_tries = 0
where tenant_id = $1 and person_id = $2 and device_id = $3 and revoked_at is null returning device_id
"""
UNAPPROVE_DEVICES = """
update devices set approved_at = null, approved_by = null
where tenant_id = $1 and person_id = $2 and approved_at is not null returning device_id
"""
REVOKE_DEVICE = """
update devices set revoked_at = coalesce(revoked_at, $4)
where tenant_id = $1 and person_id = $2 and device_id = $3 returning device_id
"""
END_DEVICE_SESSIONS = "select app.end_device_sessions($1, $2)"
ADD_KEY = """
insert into api_keys (tenant_id, key_id, person_id, name, tools, created_at) values ($1, $2, $3, $4, $5, $6)
"""
KEYS = """
select key_id, person_id, name, tools, created_at, last_used_at from api_keys
where tenant_id = $1 and revoked_at is null order by created_at desc, key_id
"""
REVOKE_KEY = """
update api_keys set revoked_at = coalesce(revoked_at, $3) where tenant_id = $1 and key_id = $2 returning key_id
"""
USE_KEY = "select k.tenant_id, k.person_id, k.key_id, k.tools from app.use_key($1, $2) k"
TOTP = "select secret, begun_at, confirmed_at from totps where person_id = $1"
BEGIN_TOTP = """
insert into totps (person_id, secret, begun_at) values ($1, $2, $3)
on conflict (person_id) do update set secret = excluded.secret, begun_at = excluded.begun_at
where totps.confirmed_at is null returning person_id
"""
CONFIRM_TOTP = """
update totps set confirmed_at = $3, last_step = $4 where person_id = $1 and secret = $2 and confirmed_at is null
returning person_id
"""
SPEND_STEP = "update totps set last_step = $2 where person_id = $1 and last_step < $2 returning person_id"
SPEND_RECOVERY_CODE = """
update recovery_codes set used_at = $3 where person_id = $1 and code_hash = $2 and used_at is null returning person_id
"""
TOTP_STATE = """
select t.confirmed_at as since, (select count(*) from recovery_codes r where r.person_id = $1 and r.used_at is null)
  as recovery_codes_left
from totps t where t.person_id = $1 and t.confirmed_at is not null
"""
REPLACE_RECOVERY_CODES = """
with ended as (delete from recovery_codes where person_id = $1)
insert into recovery_codes (person_id, code_hash) select $1, unnest($2::bytea[])
"""
REMOVE_TOTP = "delete from totps where person_id = $1 and confirmed_at is not null returning person_id"
RESET_TOTP = "select app.reset_totp($1)"
REMOVE_TOTP_OF = "select app.remove_totp($1, $2)"
VISIBLE_PROJECTS = "select project_id from projects where tenant_id = $1 and project_id = any ($2::uuid[])"
AWAITS_OWNER = """
select exists (select from memberships m where m.tenant_id = $1 and m.role = 'owner')
  or exists (select from invitations i where i.tenant_id = $1 and i.role = 'owner' and i.kind = 'email'
    and i.revoked_at is null and i.expires_at > $2 and i.uses_left > 0)
"""
AUDIT = "select audit.record($1, $2, $3, $4)"
FAILED_SIGN_IN = "select app.record_failed_sign_in($1)"
TRAIL_FAILED_SIGN_INS = "select app.trail_failed_sign_ins($1)"


async def find_login(tx: Transaction, email: str) -> tuple[UUID, str] | None:
    """The person and password hash behind an e-mail address, in no other spelling than the one that tries count by."""
    row = await tx.one(FIND_LOGIN, email.lower())
    return None if row is None else (row["person_id"], row["password_hash"])


async def record_failed_sign_in(tx: Transaction, email: str) -> None:
    """Keep that a sign-in failed, be there an account or not."""
    await tx.run(FAILED_SIGN_IN, email.lower())


async def trail_failed_sign_ins(db: Database, limit: int) -> int:
    """Put failed sign-ins into the trails of the people's tenants; returns how many there were to look at."""
    return (await db.call(TRAIL_FAILED_SIGN_INS, limit))[0][0]


async def person(tx: Transaction, person_id: UUID) -> Any | None:
    """A person that the caller may see."""
    return await tx.one(PERSON, person_id)


async def hold_person(tx: Transaction) -> str | None:
    """Keep the password of the transaction's person as it is until the transaction ends; their address."""
    return await tx.value(HOLD_PERSON, tx.person_id)


async def memberships(tx: Transaction) -> list[Any]:
    """The tenants of the transaction's person and the role in each, by name."""
    return await tx.all(MEMBERSHIPS, tx.person_id)


async def add_session(
    tx: Transaction, *, session_id: UUID, tenant_id: UUID, device: str, device_id: UUID | None, now: datetime
) -> None:
    """Begin a session of the transaction's person, in generation 0."""
    await tx.run(ADD_SESSION, tx.person_id, session_id, tenant_id, device, now, device_id)


async def lock_session(tx: Transaction, session_id: UUID) -> Session | None:
    """A session of the transaction's person, locked until it ends."""
    row = await tx.one(LOCK_SESSION, tx.person_id, session_id)
    return None if row is None else record(row, Session)


async def rotate_session(tx: Transaction, session_id: UUID, now: datetime) -> None:
    """Begin the next generation."""
    await tx.run(ROTATE_SESSION, tx.person_id, session_id, now)


async def end_session(tx: Transaction, session_id: UUID, now: datetime, *, only: UUID | None = None) -> UUID | None:
    """End a session, whose tenant it returns, None if there is none; ending it twice changes nothing. `only`: of those
    that devices with keys began in this tenant.
    """
    return await tx.value(END_SESSION, tx.person_id, session_id, now, only)


async def tenant_of_key(tx: Transaction, session_id: UUID) -> UUID | None:
    """The tenant of a session that a device with a key began; None for any other session."""
    return await tx.value(TENANT_OF_KEY, tx.person_id, session_id)


async def move_session(tx: Transaction, session_id: UUID, tenant_id: UUID) -> bool:
    """Bind a session to another tenant; False for one that a device with a key began, which belongs to its tenant."""
    return bool(await tx.value(MOVE_SESSION, tx.person_id, session_id, tenant_id))


async def sessions(tx: Transaction, since: datetime, *, only: UUID | None) -> list[Any]:
    """The living sessions of the transaction's person, the latest seen first. `only`: as in `end_session`."""
    return await tx.all(SESSIONS, tx.person_id, since, only)


async def members(tx: Transaction, *, after: tuple[str, UUID] | None, limit: int) -> list[Any]:
    """The tenant's members by name, after a name and id."""
    name, person_id = after or (None, None)
    return await tx.all(MEMBERS, tx.tenant_id, name, person_id, limit)


async def member(tx: Transaction, person_id: UUID) -> Any | None:
    """One member of the tenant."""
    return await tx.one(MEMBER, tx.tenant_id, person_id)


async def lock_owners(tx: Transaction) -> list[Any]:
    """The tenant's owners, locked until the transaction ends."""
    return await tx.all(LOCK_OWNERS, tx.tenant_id)


async def change_role(tx: Transaction, person_id: UUID, role: str) -> None:
    """Give a member another role."""
    await tx.run(CHANGE_ROLE, tx.tenant_id, person_id, role)


async def remove_member(tx: Transaction, person_id: UUID) -> None:
    """End a membership; its projects go with it."""
    await tx.run(REMOVE_MEMBER, tx.tenant_id, person_id)


async def audit(tx: Transaction, action: str, session_id: UUID) -> None:
    """Put what happened to a session into the audit trail."""
    await tx.run(AUDIT, action, "sessions", str(session_id), {})


async def audit_person(tx: Transaction, action: str, person_id: UUID) -> None:
    """Put what happened to an account into the audit trail of the transaction's tenant."""
    await tx.run(AUDIT, action, "people", str(person_id), {})


async def audit_device(tx: Transaction, action: str, device_id: UUID) -> None:
    """Put what happened to a device with a key into the audit trail."""
    await tx.run(AUDIT, action, "devices", str(device_id), {})


async def change_password(tx: Transaction, password_hash: str) -> None:
    """Give the transaction's person another password."""
    await tx.run(SET_PASSWORD_HASH, tx.person_id, password_hash)


async def end_other_sessions(tx: Transaction, session_id: UUID, now: datetime) -> list[UUID]:
    """End all sessions of the transaction's person but one; returns their tenants."""
    return [row["tenant_id"] for row in await tx.all(END_OTHER_SESSIONS, tx.person_id, session_id, now)]


async def add_reset(tx: Transaction, token_hash: bytes, email: str, *, now: datetime, expires_at: datetime) -> None:
    """Keep that somebody asked for a new password, be there an account or not."""
    await tx.run(ADD_RESET, token_hash, email, now, expires_at)


async def redeem_reset(tx: Transaction, token_hash: bytes, password_hash: str, now: datetime) -> UUID | None:
    """Set a password by a token, once, and end all sessions; None for a token that isn't good."""
    return await tx.value(REDEEM_RESET, token_hash, password_hash, now)


async def prune_resets(tx: Transaction) -> None:
    """Throw away resets that have long expired."""
    await tx.run(PRUNE_RESETS)


async def add_invitation(tx: Transaction, made: Any) -> None:
    """Keep an invitation to the transaction's tenant."""
    await tx.run(
        ADD_INVITATION,
        tx.tenant_id,
        made.invitation_id,
        made.kind,
        made.email,
        made.person_id,
        made.role,
        made.projects,
        made.created_by,
        made.created_at,
        made.expires_at,
        made.uses_left,
    )


async def awaits_owner(tx: Transaction, now: datetime) -> bool:
    """Whether the tenant has an owner, or has invited one by an e-mail that is still good."""
    return await tx.value(AWAITS_OWNER, tx.tenant_id, now)


async def add_token(tx: Transaction, token_hash: bytes, subject_id: UUID) -> None:
    """Keep what a token opens."""
    await tx.run(ADD_TOKEN, tx.tenant_id, token_hash, subject_id)


async def invitations(tx: Transaction, now: datetime) -> list[Any]:
    """Invitations that can still be accepted, the newest first."""
    return await tx.all(INVITATIONS, tx.tenant_id, now)


async def known_addresses(tx: Transaction, emails: Collection[str], now: datetime) -> set[str]:
    """Those of members and of the open invitations; a second caller waits until this transaction ends."""
    await tx.run(LOCK_INVITATIONS, tx.tenant_id)
    return {row["email"] for row in await tx.all(KNOWN_ADDRESSES, tx.tenant_id, list(emails), now)}


async def revoke_invitation(tx: Transaction, invitation_id: UUID, now: datetime) -> bool:
    """End an invitation; False if there is none."""
    return await tx.value(REVOKE_INVITATION, tx.tenant_id, invitation_id, now) is not None


async def find_invitation(tx: Transaction, token_hash: bytes, now: datetime) -> Any | None:
    """What a token invites to, if it is good."""
    return await tx.one(FIND_INVITATION, token_hash, now)


async def accept_invitation(
    tx: Transaction,
    token_hash: bytes,
    now: datetime,
    *,
    name: str,
    locale: str,
    password_hash: str | None,
    device: tuple[UUID | None, str | None, bytes | None, str | None],
) -> bool:
    """Let the transaction's person join; False for a token that isn't good (any more)."""
    return await tx.value(ACCEPT_INVITATION, token_hash, now, name, locale, password_hash, *device)


async def find_device(tx: Transaction, device_id: UUID) -> Any | None:
    """Whose a device is, its name and key, if it may sign in."""
    return await tx.one(FIND_DEVICE, device_id)


async def try_pin(tx: Transaction, device_id: UUID, challenge_at: datetime, most: int) -> str | None:
    """Count a try and get the PIN's hash; None after too many, or for a challenge that was answered already."""
    return await tx.value(TRY_PIN, device_id, challenge_at, most)


async def hold_device(tx: Transaction, device_id: UUID) -> bool:
    """Keep a device that may sign in from being revoked until the transaction ends, and count its PIN anew; False for
    one that may not (any more).
    """
    return await tx.value(HOLD_DEVICE, device_id) is not None


async def unapprove_devices(tx: Transaction, person_id: UUID) -> list[UUID]:
    """Let a member's devices wait for approval; returns those that were approved."""
    return [row["device_id"] for row in await tx.all(UNAPPROVE_DEVICES, tx.tenant_id, person_id)]


async def devices(tx: Transaction, person_id: UUID) -> list[Any]:
    """A member's devices that aren't revoked, the newest first."""
    return await tx.all(DEVICES, tx.tenant_id, person_id)


async def approve_device(tx: Transaction, person_id: UUID, device_id: UUID, now: datetime) -> bool:
    """Let a device sign in, and count its PIN anew; False if there is none."""
    return await tx.value(APPROVE_DEVICE, tx.tenant_id, person_id, device_id, now, tx.person_id) is not None


async def revoke_device(tx: Transaction, person_id: UUID, device_id: UUID, now: datetime) -> bool:
    """Let a device never sign in again; False if there is none."""
    return await tx.value(REVOKE_DEVICE, tx.tenant_id, person_id, device_id, now) is not None


async def end_device_sessions(tx: Transaction, device_id: UUID, now: datetime) -> None:
    """End what a device of this tenant is signed in with."""
    await tx.run(END_DEVICE_SESSIONS, device_id, now)


async def add_key(tx: Transaction, key_id: UUID, *, name: str, tools: Mapping[Any, str], now: datetime) -> None:
    """Keep a key that acts as the transaction's person."""
    await tx.run(ADD_KEY, tx.tenant_id, key_id, tx.person_id, name, tools, now)


async def keys(tx: Transaction) -> list[Any]:
    """The tenant's keys that aren't revoked, the newest first."""
    return await tx.all(KEYS, tx.tenant_id)


async def revoke_key(tx: Transaction, key_id: UUID, now: datetime) -> bool:
    """End a key; False if there is none."""
    return await tx.value(REVOKE_KEY, tx.tenant_id, key_id, now) is not None


async def use_key(tx: Transaction, token_hash: bytes, now: datetime) -> Any | None:
    """Whom a key acts as, and with which tools."""
    return await tx.one(USE_KEY, token_hash, now)


async def totp(tx: Transaction) -> Any | None:
    """The second step of the transaction's person, its secret encrypted; also one that isn't confirmed."""
    return await tx.one(TOTP, tx.person_id)


async def totp_state(tx: Transaction) -> Any | None:
    """Since when the transaction's person has a second step, and how many recovery codes are left."""
    return await tx.one(TOTP_STATE, tx.person_id)


async def begin_totp(tx: Transaction, secret: bytes, now: datetime) -> bool:
    """Keep a secret that awaits its confirmation, in the place of one that does; False where one is confirmed."""
    return await tx.value(BEGIN_TOTP, tx.person_id, secret, now) is not None


async def confirm_totp(tx: Transaction, secret: bytes, *, step: int, now: datetime) -> bool:
    """Let this very secret count from now on; False if it isn't the one that awaits it."""
    return await tx.value(CONFIRM_TOTP, tx.person_id, secret, now, step) is not None


async def spend_step(tx: Transaction, step: int) -> bool:
    """Take the code of a time step; False if it, or a later one, was taken already."""
    return await tx.value(SPEND_STEP, tx.person_id, step) is not None


async def spend_recovery_code(tx: Transaction, code_hash: bytes, now: datetime) -> bool:
    """Take a recovery code; False if there is none, or it was taken already."""
    return await tx.value(SPEND_RECOVERY_CODE, tx.person_id, code_hash, now) is not None


async def replace_recovery_codes(tx: Transaction, hashes: list[bytes]) -> None:
    """Give the transaction's person these recovery codes and no others."""
    await tx.run(REPLACE_RECOVERY_CODES, tx.person_id, hashes)


async def remove_totp(tx: Transaction) -> bool:
    """End the second step of the transaction's person, with its recovery codes; False if none is on."""
    return await tx.value(REMOVE_TOTP, tx.person_id) is not None


async def reset_totp(tx: Transaction, person_id: UUID) -> str:
    """End a member's second step: `reset`, or why not, `none` or `elsewhere`."""
    return await tx.value(RESET_TOTP, person_id)


async def remove_totp_of(tx: Transaction, email: str, by: str) -> bool:
    """End the second step of the account with this address, for BuildPeer itself; False where none is on."""
    return await tx.value(REMOVE_TOTP_OF, email, by) is not None


async def visible_projects(tx: Transaction, projects: list[UUID]) -> set[UUID]:
    """Those of the projects that the caller may see."""
    return {row["project_id"] for row in await tx.all(VISIBLE_PROJECTS, tx.tenant_id, projects)}
