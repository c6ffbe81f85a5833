"""Signing in, staying signed in, working in another tenant, signing out."""

import hashlib
from datetime import datetime
from uuid import UUID, uuid4

import msgspec

from buildpeer.modules.identity import rules, store
from buildpeer.modules.identity.rules import Level, Session, Tool
from buildpeer.modules.identity.service.hashing import matches
from buildpeer.platform.auth import (
    ACCESS_LIFE,
    FIRST_STEP_LIFE,
    REFRESH_LIFE,
    Caller,
    FirstStep,
    RefreshClaim,
    Tokens,
)
from buildpeer.platform.db import Database, Scope, Transaction
from buildpeer.platform.errors import Problem
from buildpeer.platform.realtime import Wakeups
from buildpeer.platform.throttle import Throttle

_FAILED_AT_ONCE = 500


class Membership(msgspec.Struct, frozen=True):
    """A tenant and what the person is in it."""

    tenant_id: UUID
    name: str
    role: str


class Person(msgspec.Struct, frozen=True):
    """A person as the person sees it; crews have no e-mail."""

    person_id: UUID
    email: str | None
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


class Entered(msgspec.Struct, frozen=True):
    """A new access token, bound to another tenant; the refresh token stays the same. `expires_in` in seconds."""

    access_token: str
    expires_in: int
    tenant: Membership
    permissions: dict[Tool, Level]


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """Where somebody is signed in; `last_seen_at` is true to within an access token's life."""

    session_id: UUID
    device: str
    tenant_id: UUID
    created_at: datetime
    last_seen_at: datetime
    current: bool


async def sign_in(
    db: Database,
    throttle: Throttle,
    tokens: Tokens,
    *,
    email: str,
    password: str,
    device: str,
    address: str,
    now: datetime,
    request_id: str,
) -> SignedIn:
    """Begin a session in the first of the person's tenants, on a device of this name.

    Raises Problem bad_credentials, the same and as slowly whether the account or the password is wrong; or
    too_many_tries, after as many for an account that isn't there. Only tries that fail count. Where the account has a
    second step, code_needed, with the `challenge` that it begins with.
    """
    counted = ((rules.TRIES_BY_ADDRESS, address), (rules.TRIES_BY_ACCOUNT, email.strip().lower()))
    async with db.across_tenants() as tx:
        login = await store.find_login(tx, email.strip())
    if not await throttle.attempt(lambda: matches(login[1] if login else None, password), *counted) or login is None:
        async with db.across_tenants(request_id) as tx:
            await store.record_failed_sign_in(tx, email.strip())
        raise Problem("bad_credentials")
    person_id, password_hash = login
    scope = Scope(None, person_id, request_id)
    if await has_second_step(db, scope):
        first = FirstStep(person_id, device, password_proof(password_hash))
        expires_in = int(FIRST_STEP_LIFE.total_seconds())
        raise Problem("code_needed", challenge=tokens.first_step(first, now=now), expires_in=expires_in)
    return await begin_session(db, tokens, scope=scope, device=device, proof=password_proof(password_hash), now=now)


async def has_second_step(db: Database, scope: Scope) -> bool:
    """Whether the scope's person signs in with a code as well."""
    async with db.transaction(scope) as tx:
        return await store.totp_state(tx) is not None


def password_proof(password_hash: str) -> str:
    """What says by which password a first step was done, and nothing about it: the hash has its own salt."""
    return hashlib.sha256(password_hash.encode()).hexdigest()[:16]


async def begin_session(
    db: Database,
    tokens: Tokens,
    *,
    scope: Scope,
    device: str,
    now: datetime,
    device_id: UUID | None = None,
    proof: str | None = None,
) -> SignedIn:
    """Begin a session of somebody who has proved who they are: in the scope's tenant, or else in their first one.
    One by a device's key is for the tenant that let the device in, and for no other.

    `proof` says by which password. That, or the device, must still be good, and is held until the session is there: who
    changes or revokes it ends this session as well. Raises Problem bad_credentials where it isn't any more, and for who
    belongs to no tenant, or not to the device's.
    """
    session_id = uuid4()
    async with db.transaction(msgspec.structs.replace(scope, tenant_id=None)) as tx:
        if not (await _holds(tx, proof) if device_id is None else await store.hold_device(tx, device_id)):
            raise Problem("bad_credentials")
        tenants = open_to(await memberships_of(tx), scope.tenant_id if device_id else None)
        if not tenants:
            raise Problem("bad_credentials")
        tenant = next((t for t in tenants if t.tenant_id == scope.tenant_id), tenants[0])
        await tx.serve(msgspec.structs.replace(scope, tenant_id=tenant.tenant_id))
        await store.add_session(
            tx, session_id=session_id, tenant_id=tenant.tenant_id, device=device, device_id=device_id, now=now
        )
        await store.audit(tx, "sign_in", session_id)
        person = await person_of(tx)
    claim = RefreshClaim(person.person_id, session_id, 0)
    return _signed_in(tokens, claim, person=person, tenant=tenant, tenants=tenants, issued_at=now, now=now)


async def refresh(db: Database, tokens: Tokens, *, token: str, now: datetime, request_id: str) -> SignedIn:
    """Exchange a refresh token for the next one. Who no longer belongs to the session's tenant goes on in another one
    of theirs, and the session with them.

    The token before the newest gets the same successor for a minute, since its reply may have been lost. Reuse after
    that ends the session. Raises Problem session_ended.
    """
    claim = tokens.read_refresh(token, now=now)
    signed_in = None
    async with db.transaction(Scope(None, claim.person_id, request_id)) as tx:
        session = await store.lock_session(tx, claim.session_id)
        verdict = "ended" if session is None else rules.judge_refresh(session, claim.generation, now)
        if session is not None and verdict == "end":
            await store.end_session(tx, claim.session_id, now)
            await tx.serve(Scope(session.tenant_id, claim.person_id, request_id))
            await store.audit(tx, "session_reused", claim.session_id)
        elif session is not None and verdict != "ended":
            if verdict == "rotate":
                await store.rotate_session(tx, claim.session_id, now)
            tenant, tenants = await _where_on(tx, session, request_id)
            successor = RefreshClaim(claim.person_id, claim.session_id, claim.generation + 1)
            issued_at = now if verdict == "rotate" else session.rotated_at
            signed_in = _signed_in(
                tokens,
                successor,
                person=await person_of(tx),
                tenant=tenant,
                tenants=tenants,
                issued_at=issued_at,
                now=now,
            )
    if signed_in is None:  # what was ended has been committed
        raise Problem("session_ended")
    return signed_in


async def sign_out(db: Database, *, caller: Caller, now: datetime) -> None:
    """End the caller's session; its tokens are worth nothing from now on."""
    async with db.transaction(caller.scope) as tx:
        await store.end_session(tx, caller.session_id, now)
        await store.audit(tx, "sign_out", caller.session_id)


async def enter_tenant(db: Database, tokens: Tokens, *, caller: Caller, tenant_id: UUID, now: datetime) -> Entered:
    """Go on in another of the caller's tenants, with the same session.

    Raises Problem not_found where the caller is no member, or signed in by a device that another tenant let in.
    """
    there = msgspec.structs.replace(caller, tenant_id=tenant_id)
    async with db.transaction(there.scope) as tx:
        tenant = next((t for t in await memberships_of(tx) if t.tenant_id == tenant_id), None)
        if tenant is None:
            raise Problem("not_found")
        if not await store.move_session(tx, caller.session_id, tenant_id):
            raise Problem("not_found")
        await store.audit(tx, "tenant_entered", caller.session_id)
    return Entered(
        access_token=tokens.access(there, now=now),
        expires_in=int(ACCESS_LIFE.total_seconds()),
        tenant=tenant,
        permissions=rules.permissions_of(tenant.role),
    )


async def list_sessions(db: Database, *, caller: Caller, now: datetime) -> list[Device]:
    """Where the caller is signed in, the latest seen first. Who calls by a device's key sees such sessions of its
    tenant alone: whoever manages people there could have made the device.
    """
    async with db.transaction(caller.scope) as tx:
        rows = await store.sessions(tx, now - REFRESH_LIFE, only=await store.tenant_of_key(tx, caller.session_id))
    return [Device(**dict(row), current=row["session_id"] == caller.session_id) for row in rows]


async def revoke_session(db: Database, wakeups: Wakeups, *, caller: Caller, session_id: UUID, now: datetime) -> None:
    """End one of the caller's sessions that they see, with its streams; ending it again changes nothing.

    Raises Problem not_found.
    """
    async with db.transaction(caller.scope) as tx:
        only = await store.tenant_of_key(tx, caller.session_id)
        tenant_id = await store.end_session(tx, session_id, now, only=only)
        if tenant_id is None:
            raise Problem("not_found")
        await tx.serve(Scope(tenant_id, caller.person_id, caller.request_id))  # whose trail it belongs to
        await store.audit(tx, "session_revoked", session_id)
    await wakeups.publish([tenant_id])


async def trail_failed_sign_ins(db: Database) -> int:
    """Put sign-ins that failed into the trails of the people's companies; returns how many it looked at.

    The sign-in itself leaves the same row for every address, so that nobody can tell by its work which ones are known.
    """
    return await store.trail_failed_sign_ins(db, _FAILED_AT_ONCE)


async def audit_everywhere(tx: Transaction, action: str) -> None:
    """Put what happened to the account of the transaction's person into the trails of all their tenants.

    The transaction serves the last of them then, so this comes last in it.
    """
    assert tx.scope is not None  # noqa: S101 - it has a person
    for tenant in await memberships_of(tx):
        await tx.serve(msgspec.structs.replace(tx.scope, tenant_id=tenant.tenant_id))
        await store.audit_person(tx, action, tx.person_id)


async def memberships_of(tx: Transaction) -> list[Membership]:
    """The tenants of the transaction's person, by name."""
    return [Membership(row["tenant_id"], row["name"], row["role"]) for row in await store.memberships(tx)]


async def person_of(tx: Transaction) -> Person:
    """The transaction's person. Raises Problem session_ended for one who is gone."""
    row = await store.person(tx, tx.person_id)
    if row is None:
        raise Problem("session_ended")
    return Person(**dict(row))


def open_to(tenants: list[Membership], only: UUID | None) -> list[Membership]:
    """All of somebody's tenants; or, where a device's key signed them in, the one that let it in."""
    return tenants if only is None else [tenant for tenant in tenants if tenant.tenant_id == only]


async def _holds(tx: Transaction, proof: str | None) -> bool:
    """Whether it is still the password; nobody changes it until the transaction ends."""
    if proof is None:
        return True
    email = await store.hold_person(tx)
    login = await store.find_login(tx, email or "")
    return login is not None and password_proof(login[1]) == proof


async def _where_on(tx: Transaction, session: Session, request_id: str) -> tuple[Membership, list[Membership]]:
    """The tenant in which a session goes on, and all that it may enter. Raises Problem session_ended for none."""
    tenants = open_to(await memberships_of(tx), session.tenant_id if session.device_id else None)
    if not tenants:
        raise Problem("session_ended")
    here = next((t for t in tenants if t.tenant_id == session.tenant_id), None)
    if here is None:
        here = tenants[0]
        await store.move_session(tx, session.session_id, here.tenant_id)
        await tx.serve(Scope(here.tenant_id, session.person_id, request_id))
        await store.audit(tx, "tenant_entered", session.session_id)
    return here, tenants


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
