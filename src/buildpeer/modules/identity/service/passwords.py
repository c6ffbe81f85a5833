"""Changing a password, and getting a new one by e-mail."""

import hashlib
import secrets
from datetime import datetime

from buildpeer.modules.identity import rules, store
from buildpeer.modules.identity.service.hashing import hashed, matches
from buildpeer.modules.identity.service.sessions import Person, memberships_of, person_of
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Scope
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import new_id
from buildpeer.platform.mail import Letter
from buildpeer.platform.realtime import Wakeups
from buildpeer.platform.throttle import Throttle


async def change_password(
    db: Database,
    throttle: Throttle,
    wakeups: Wakeups,
    *,
    caller: Caller,
    current: str,
    password: str,
    now: datetime,
) -> None:
    """Give the caller a new password and end their other sessions.

    Raises Problem bad_credentials, password_weak or too_many_tries.
    """
    rules.check_password(password)
    person = await prove_password(db, throttle, caller=caller, password=current)
    password_hash = await hashed(password)
    async with db.transaction(caller.scope) as tx:
        await store.change_password(tx, password_hash)
        ended = await store.end_other_sessions(tx, caller.session_id, now)
        await store.audit(tx, "password_changed", caller.session_id)
        if person.email:
            await tx.mail(notice("password_changed", person.email))
    await wakeups.publish(ended)


async def prove_password(db: Database, throttle: Throttle, *, caller: Caller, password: str) -> Person:
    """The caller, who has given their password once more; the trail tells of a wrong one.

    Raises Problem bad_credentials or too_many_tries.
    """
    async with db.transaction(caller.scope) as tx:
        person = await person_of(tx)
        login = await store.find_login(tx, person.email or "")
    account = (rules.TRIES_BY_ACCOUNT, person.email or str(caller.person_id))
    if not await throttle.attempt(lambda: matches(login[1] if login else None, password), account):
        async with db.transaction(caller.scope) as tx:
            await store.audit_person(tx, "confirmation_failed", caller.person_id)
        raise Problem("bad_credentials")
    return person


async def ask_reset(
    db: Database, throttle: Throttle, *, email: str, web_url: str, locale: str, address: str, now: datetime
) -> None:
    """Send a link for a new password to this address, if it has an account; nobody can tell by answer or time.

    Raises Problem invalid for what is no address, or too_many_tries.
    """
    email = rules.check_email(email)
    await throttle.take(rules.MAILS_BY_ADDRESS, address)
    await throttle.take(rules.MAILS_BY_ACCOUNT, email)
    token = secrets.token_urlsafe(32)
    letter = Letter(
        mail_id=new_id(),
        template="password_reset",
        recipient=email,
        locale=locale,
        facts={"link": f"{web_url}/password#{token}", "minutes": int(rules.RESET_LIFE.total_seconds() // 60)},
        known_only=True,
    )
    async with db.across_tenants() as tx:
        await store.add_reset(tx, token_hash(token), email, now=now, expires_at=now + rules.RESET_LIFE)
        await tx.mail(letter)


async def redeem_reset(
    db: Database,
    throttle: Throttle,
    wakeups: Wakeups,
    *,
    token: str,
    password: str,
    address: str,
    now: datetime,
    request_id: str,
) -> None:
    """Give the account behind a mailed token a new password and end its sessions; a token works once.

    Raises Problem password_weak, link_expired or too_many_tries.
    """
    rules.check_password(password)
    await throttle.take(rules.RESETS_BY_ADDRESS, address)
    password_hash = await hashed(password)
    async with db.across_tenants() as tx:
        person_id = await store.redeem_reset(tx, token_hash(token), password_hash, now)
        if person_id is None:
            raise Problem("link_expired")
        await tx.serve(Scope(None, person_id, request_id))
        person, tenants = await person_of(tx), await memberships_of(tx)
        if person.email:
            await tx.mail(notice("password_changed", person.email))
        for tenant in tenants:
            await tx.serve(Scope(tenant.tenant_id, person_id, request_id))
            await store.audit_person(tx, "password_reset", person_id)
    await wakeups.publish(tenant.tenant_id for tenant in tenants)


async def prune(db: Database) -> None:
    """Throw away what nobody can redeem any more."""
    async with db.across_tenants() as tx:
        await store.prune_resets(tx)


def token_hash(token: str) -> bytes:
    """How a token of at least 128 random bits is kept; so much chance needs no slow hash."""
    return hashlib.sha256(token.encode()).digest()


def notice(template: str, email: str) -> Letter:
    """A mail that tells somebody what happened to their account, in the account's language."""
    return Letter(mail_id=new_id(), template=template, recipient=email, locale="es", facts={}, known_only=True)
