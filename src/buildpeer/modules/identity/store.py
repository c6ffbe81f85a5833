"""SQL of identity: one function, one statement."""

from datetime import datetime
from typing import Any
from uuid import UUID

from buildpeer.modules.identity.rules import Session
from buildpeer.platform.db import Transaction, record

FIND_LOGIN = "select person_id, password_hash from app.find_login($1)"
PERSON = "select person_id, email, name, locale from people where person_id = $1"
MEMBERSHIPS = """
select t.tenant_id, t.name, m.role from memberships m join tenants t on t.tenant_id = m.tenant_id
where m.person_id = $1 order by t.name, t.tenant_id
"""
ADD_SESSION = """
insert into sessions (person_id, session_id, tenant_id, device, rotated_at, created_at) values ($1, $2, $3, $4, $5, $5)
"""
LOCK_SESSION = """
select person_id, session_id, tenant_id, generation, rotated_at, ended_at from sessions
where person_id = $1 and session_id = $2 for update
"""
ROTATE_SESSION = """
update sessions set generation = generation + 1, rotated_at = $3 where person_id = $1 and session_id = $2
"""
END_SESSION = """
update sessions set ended_at = coalesce(ended_at, $3) where person_id = $1 and session_id = $2 returning tenant_id
"""
MOVE_SESSION = "update sessions set tenant_id = $3 where person_id = $1 and session_id = $2"
SESSIONS = """
select session_id, device, tenant_id, created_at, rotated_at as last_seen_at from sessions
where person_id = $1 and ended_at is null and rotated_at > $2 order by rotated_at desc, session_id
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
AUDIT = "select audit.record($1, $2, $3, $4)"


async def find_login(tx: Transaction, email: str) -> tuple[UUID, str] | None:
    """The person and password hash behind an e-mail address."""
    row = await tx.one(FIND_LOGIN, email)
    return None if row is None else (row["person_id"], row["password_hash"])


async def person(tx: Transaction, person_id: UUID) -> Any | None:
    """A person that the caller may see."""
    return await tx.one(PERSON, person_id)


async def memberships(tx: Transaction) -> list[Any]:
    """The tenants of the transaction's person and the role in each, by name."""
    return await tx.all(MEMBERSHIPS, tx.person_id)


async def add_session(tx: Transaction, *, session_id: UUID, tenant_id: UUID, device: str, now: datetime) -> None:
    """Begin a session of the transaction's person, in generation 0."""
    await tx.run(ADD_SESSION, tx.person_id, session_id, tenant_id, device, now)


async def lock_session(tx: Transaction, session_id: UUID) -> Session | None:
    """A session of the transaction's person, locked until it ends."""
    row = await tx.one(LOCK_SESSION, tx.person_id, session_id)
    return None if row is None else record(row, Session)


async def rotate_session(tx: Transaction, session_id: UUID, now: datetime) -> None:
    """Begin the next generation."""
    await tx.run(ROTATE_SESSION, tx.person_id, session_id, now)


async def end_session(tx: Transaction, session_id: UUID, now: datetime) -> UUID | None:
    """End a session, whose tenant it returns, None if there is none; ending it twice changes nothing."""
    return await tx.value(END_SESSION, tx.person_id, session_id, now)


async def move_session(tx: Transaction, session_id: UUID, tenant_id: UUID) -> None:
    """Bind a session to another tenant."""
    await tx.run(MOVE_SESSION, tx.person_id, session_id, tenant_id)


async def sessions(tx: Transaction, since: datetime) -> list[Any]:
    """The living sessions of the transaction's person, the latest seen first."""
    return await tx.all(SESSIONS, tx.person_id, since)


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
