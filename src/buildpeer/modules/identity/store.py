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
insert into sessions (person_id, session_id, tenant_id, rotated_at) values ($1, $2, $3, $4)
"""
LOCK_SESSION = """
select person_id, session_id, tenant_id, generation, rotated_at, ended_at from sessions
where person_id = $1 and session_id = $2 for update
"""
ROTATE_SESSION = """
update sessions set generation = generation + 1, rotated_at = $3 where person_id = $1 and session_id = $2
"""
END_SESSION = """
update sessions set ended_at = $3 where person_id = $1 and session_id = $2 and ended_at is null
"""
AUDIT = "select audit.record($1, $2, $3, $4)"
FAILED_SIGN_IN = "select app.record_failed_sign_in($1)"


async def find_login(tx: Transaction, email: str) -> tuple[UUID, str] | None:
    """The person and password hash behind an e-mail address."""
    row = await tx.one(FIND_LOGIN, email)
    return None if row is None else (row["person_id"], row["password_hash"])


async def record_failed_sign_in(tx: Transaction, email: str) -> None:
    """Put a failed sign-in into the trails of the person's tenants; nobody's address leaves nothing."""
    await tx.run(FAILED_SIGN_IN, email)


async def person(tx: Transaction, person_id: UUID) -> Any | None:
    """A person that the caller may see."""
    return await tx.one(PERSON, person_id)


async def memberships(tx: Transaction, person_id: UUID) -> list[Any]:
    """The tenants of a person and the role in each, by name."""
    return await tx.all(MEMBERSHIPS, person_id)


async def add_session(tx: Transaction, *, session_id: UUID, tenant_id: UUID, now: datetime) -> None:
    """Begin a session of the transaction's person, in generation 0."""
    await tx.run(ADD_SESSION, tx.person_id, session_id, tenant_id, now)


async def lock_session(tx: Transaction, session_id: UUID) -> Session | None:
    """A session of the transaction's person, locked until it ends."""
    row = await tx.one(LOCK_SESSION, tx.person_id, session_id)
    return None if row is None else record(row, Session)


async def rotate_session(tx: Transaction, session_id: UUID, now: datetime) -> None:
    """Begin the next generation."""
    await tx.run(ROTATE_SESSION, tx.person_id, session_id, now)


async def end_session(tx: Transaction, session_id: UUID, now: datetime) -> None:
    """End a session; ending it twice changes nothing."""
    await tx.run(END_SESSION, tx.person_id, session_id, now)


async def audit(tx: Transaction, action: str, session_id: UUID) -> None:
    """Put what happened to a session into the audit trail."""
    await tx.run(AUDIT, action, "sessions", str(session_id), {})
