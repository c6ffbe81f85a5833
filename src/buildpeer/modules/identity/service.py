"""Signing in, staying signed in, signing out."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from uuid import UUID, uuid4

import argon2
import msgspec

from buildpeer.modules.identity import rules, store
from buildpeer.platform.auth import ACCESS_LIFE, Caller, RefreshClaim, Tokens
from buildpeer.platform.db import Database, Scope, Transaction
from buildpeer.platform.errors import Problem

_hasher = argon2.PasswordHasher()
_hashing = ThreadPoolExecutor(os.cpu_count(), "argon2")  # each takes 64 MiB, so a rush waits in line
_NOBODY = _hasher.hash("nobody has this password")  # so that an unknown address takes as long as a wrong password


class Membership(msgspec.Struct, frozen=True):
    """A tenant and what the person is in it."""

    tenant_id: UUID
    name: str
    role: str


class Person(msgspec.Struct, frozen=True):
    """A person as the person sees it."""

    person_id: UUID
    email: str
    name: str
    locale: str


class SignedIn(msgspec.Struct, frozen=True):
    """Everything a device needs to work as somebody; `expires_in` in seconds."""

    access_token: str
    expires_in: int
    refresh_token: str
    person: Person
    tenant: Membership
    tenants: list[Membership]


def hash_password(password: str) -> str:
    """An argon2id hash with the library's current defaults; takes tens of milliseconds."""
    return _hasher.hash(password)


async def sign_in(
    db: Database, tokens: Tokens, *, email: str, password: str, now: datetime, request_id: str
) -> SignedIn:
    """Begin a session in the first of the person's tenants.

    Raises Problem bad_credentials, the same and as slowly whether the address or the password is wrong.
    """
    async with db.across_tenants() as tx:
        login = await store.find_login(tx, email.strip())
    hashed = login[1] if login else _NOBODY
    right = await asyncio.get_running_loop().run_in_executor(_hashing, _matches, hashed, password)
    if login is None or not right:
        async with db.across_tenants(request_id) as tx:
            await store.record_failed_sign_in(tx, email.strip())
        raise Problem("bad_credentials")
    person_id = login[0]
    tenants = await _memberships(db, person_id, request_id)
    if not tenants:
        raise Problem("bad_credentials")
    scope = Scope(tenants[0].tenant_id, person_id, request_id)
    session_id = uuid4()
    async with db.transaction(scope) as tx:
        await store.add_session(tx, session_id=session_id, tenant_id=tenants[0].tenant_id, now=now)
        await store.audit(tx, "sign_in", session_id)
        person = await _person(tx, person_id)
    claim = RefreshClaim(person_id, session_id, 0)
    return _signed_in(tokens, claim, person=person, tenant=tenants[0], tenants=tenants, issued_at=now, now=now)


async def refresh(db: Database, tokens: Tokens, *, token: str, now: datetime, request_id: str) -> SignedIn:
    """Exchange a refresh token for the next one.

    The token before the newest gets the same successor for a minute, since its reply may have been lost. Reuse after
    that ends the session. Raises Problem session_ended.
    """
    claim = tokens.read_refresh(token, now=now)
    async with db.transaction(Scope(None, claim.person_id, request_id)) as tx:
        session = await store.lock_session(tx, claim.session_id)
        verdict = "ended" if session is None else rules.judge_refresh(session, claim.generation, now)
        if verdict == "rotate":
            await store.rotate_session(tx, claim.session_id, now)
        elif verdict == "end":
            await store.end_session(tx, claim.session_id, now)
            if session is not None:
                await tx.narrow(session.tenant_id)
                await store.audit(tx, "session_reused", claim.session_id)
    if session is None or verdict in ("end", "ended"):
        raise Problem("session_ended")
    tenants = await _memberships(db, claim.person_id, request_id)
    tenant = next((t for t in tenants if t.tenant_id == session.tenant_id), None)
    if tenant is None:
        raise Problem("session_ended")
    issued_at = now if verdict == "rotate" else session.rotated_at
    successor = RefreshClaim(claim.person_id, claim.session_id, claim.generation + 1)
    async with db.transaction(Scope(None, claim.person_id, request_id)) as tx:
        person = await _person(tx, claim.person_id)
    return _signed_in(tokens, successor, person=person, tenant=tenant, tenants=tenants, issued_at=issued_at, now=now)


async def sign_out(db: Database, *, caller: Caller, now: datetime) -> None:
    """End the caller's session; its refresh token is worth nothing from now on."""
    async with db.transaction(Scope(caller.tenant_id, caller.person_id, caller.request_id)) as tx:
        await store.end_session(tx, caller.session_id, now)
        await store.audit(tx, "sign_out", caller.session_id)


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


async def _memberships(db: Database, person_id: UUID, request_id: str) -> list[Membership]:
    async with db.transaction(Scope(None, person_id, request_id)) as tx:
        rows = await store.memberships(tx, person_id)
    return [Membership(row["tenant_id"], row["name"], row["role"]) for row in rows]


async def _person(tx: Transaction, person_id: UUID) -> Person:
    row = await store.person(tx, person_id)
    if row is None:
        raise Problem("session_ended")
    return Person(**dict(row))


def _signed_in(
    tokens: Tokens,
    claim: RefreshClaim,
    *,
    person: Person,
    tenant: Membership,
    tenants: list[Membership],
    issued_at: datetime,
    now: datetime,
) -> SignedIn:
    caller = Caller(claim.person_id, tenant.tenant_id, claim.session_id)
    return SignedIn(
        access_token=tokens.access(caller, now=now),
        expires_in=int(ACCESS_LIFE.total_seconds()),
        refresh_token=tokens.refresh(claim, issued_at=issued_at),
        person=person,
        tenant=tenant,
        tenants=tenants,
    )
