"""Inviting people by e-mail, crews by a QR code, and joining."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid4

import msgspec

from buildpeer.modules.identity import rules, store
from buildpeer.modules.identity.rules import InvitationKind, Role
from buildpeer.modules.identity.service.devices import NewDevice, permit_devices, read_key
from buildpeer.modules.identity.service.hashing import hashed, matches
from buildpeer.modules.identity.service.passwords import token_hash
from buildpeer.modules.identity.service.sessions import (
    SignedIn,
    begin_session,
    has_second_step,
    memberships_of,
    password_proof,
    person_of,
)
from buildpeer.modules.identity.service.totp import prove_code
from buildpeer.platform import qr
from buildpeer.platform.auth import Caller, Tokens
from buildpeer.platform.db import Database, Scope, Transaction
from buildpeer.platform.encryption import Cipher
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import new_id
from buildpeer.platform.mail import Letter
from buildpeer.platform.throttle import Throttle


class NewInvitation(msgspec.Struct, kw_only=True):
    """Whom to invite: by `email`; a crew, for `uses` people; or a further device of `person_id`."""

    kind: InvitationKind
    role: Role = "empleado_obra"
    projects: Annotated[list[UUID], msgspec.Meta(max_length=500)] = []
    email: Annotated[str, msgspec.Meta(max_length=254)] | None = None
    person_id: UUID | None = None
    uses: int = 1


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """An open invitation; `created_by` is null where BuildPeer itself invites a company's first owner."""

    invitation_id: UUID
    kind: InvitationKind
    email: str | None
    person_id: UUID | None
    role: Role
    projects: list[UUID]
    created_by: UUID | None
    created_at: datetime
    expires_at: datetime
    uses_left: int


class Invited(msgspec.Struct, frozen=True):
    """An invitation just made; `link`, also as a QR code, is shown this once, and null where it went by e-mail."""

    invitation: Invitation
    link: str | None
    qr_svg: str | None


class Acceptance(msgspec.Struct, kw_only=True):
    """What somebody joins with: by e-mail a password (and a name, if new; or a code, if the account signs in with one),
    on site a device (and a name, if new).
    """

    token: Annotated[str, msgspec.Meta(max_length=100)]
    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    locale: rules.Locale = "es"
    password: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    code: Annotated[str, msgspec.Meta(max_length=40)] = ""
    device: NewDevice | None = None


class Joined(msgspec.Struct, frozen=True):
    """Signed in; or a device that waits for a manager's approval."""

    signed_in: SignedIn | None
    device_id: UUID | None


async def invite(
    db: Database, throttle: Throttle, *, caller: Caller, wanted: NewInvitation, web_url: str, now: datetime
) -> Invited:
    """Invite; an e-mail goes out once this has committed, and the link for others is given here alone.

    Raises Problem not_found, with the `projects` that the caller can't see, if it is those; not_allowed (only an owner
    invites an owner, or an owner's device); too_many_tries, for e-mails are strangers' mail; or invalid.
    """
    rules.check_invitation(wanted.kind, role=wanted.role, uses=wanted.uses)
    email = rules.check_email(wanted.email or "") if wanted.kind == "email" else None
    token = secrets.token_urlsafe(16)  # 128 bits
    made = Invitation(
        invitation_id=uuid4(),
        kind=wanted.kind,
        email=email,
        person_id=wanted.person_id if wanted.kind == "device" else None,
        role=wanted.role,
        projects=wanted.projects,
        created_by=caller.person_id,
        created_at=now,
        expires_at=now + (rules.MAILED_LIFE if email else rules.QR_LIFE),
        uses_left=wanted.uses if wanted.kind == "crew" else 1,
    )
    link = f"{web_url}/join#{token}"
    async with db.transaction(caller.scope) as tx:
        rules.permit(tx.role, "people", "admin" if wanted.role == "owner" else "standard")
        if wanted.kind == "device":
            await permit_devices(tx, made.person_id)
        unseen = set(wanted.projects) - await store.visible_projects(tx, wanted.projects)
        if unseen:
            raise Problem("not_found", projects=sorted(unseen))
        if email:
            await throttle.take(rules.INVITATIONS_BY_RECIPIENT, f"{caller.tenant_id}/{email}")
            await throttle.take(rules.INVITATIONS_BY_COMPANY, str(caller.tenant_id))
        await store.add_invitation(tx, made)
        await store.add_token(tx, token_hash(token), made.invitation_id)
        if email:
            tenant = next(t for t in await memberships_of(tx) if t.tenant_id == caller.tenant_id)
            inviter = await person_of(tx)
            facts = {"link": link, "tenant": tenant.name, "inviter": inviter.name, "days": rules.MAILED_LIFE.days}
            letter = Letter(
                mail_id=new_id(), template="invitation", recipient=email, locale=inviter.locale, facts=facts
            )
            await tx.mail(letter)
    return Invited(made, None, None) if email else Invited(made, link, qr.svg(link))


async def invite_by_mail(
    tx: Transaction, wanted: Sequence[tuple[str, Role, list[UUID]]], *, web_url: str, now: datetime
) -> None:
    """Invite people by their addresses, each with a role and projects, in the transaction of whoever invites them; who
    is known already, and whether the projects may be seen, has been asked before. The mails go out once it commits.

    Raises Problem not_found or not_allowed.
    """
    rules.permit(tx.role, "people", "admin" if any(role == "owner" for _, role, _ in wanted) else "standard")
    tenant = next(t for t in await memberships_of(tx) if t.tenant_id == tx.tenant_id)
    inviter = await person_of(tx)
    letters: list[Letter] = []
    for email, role, projects in wanted:
        token = secrets.token_urlsafe(16)
        made = Invitation(
            invitation_id=uuid4(),
            kind="email",
            email=email,
            person_id=None,
            role=role,
            projects=projects,
            created_by=tx.person_id,
            created_at=now,
            expires_at=now + rules.MAILED_LIFE,
            uses_left=1,
        )
        await store.add_invitation(tx, made)
        await store.add_token(tx, token_hash(token), made.invitation_id)
        facts = {
            "link": f"{web_url}/join#{token}",
            "tenant": tenant.name,
            "inviter": inviter.name,
            "days": rules.MAILED_LIFE.days,
        }
        letters.append(
            Letter(mail_id=new_id(), template="invitation", recipient=email, locale=inviter.locale, facts=facts)
        )
    await tx.mail(*letters)


async def invite_first_owner(
    tx: Transaction, *, email: str, tenant: str, locale: str, web_url: str, now: datetime
) -> bool:
    """Invite a company's first owner, by BuildPeer itself; False if it has one, or an invitation that is still good.

    Raises Problem invalid for what is no address.
    """
    email = rules.check_email(email)
    if await store.awaits_owner(tx, now):
        return False
    token = secrets.token_urlsafe(16)
    made = Invitation(
        invitation_id=uuid4(),
        kind="email",
        email=email,
        person_id=None,
        role="owner",
        projects=[],
        created_by=None,
        created_at=now,
        expires_at=now + rules.MAILED_LIFE,
        uses_left=1,
    )
    await store.add_invitation(tx, made)
    await store.add_token(tx, token_hash(token), made.invitation_id)
    facts = {"link": f"{web_url}/join#{token}", "tenant": tenant, "days": rules.MAILED_LIFE.days}
    await tx.mail(Letter(mail_id=new_id(), template="first_owner", recipient=email, locale=locale, facts=facts))
    return True


async def list_invitations(db: Database, *, caller: Caller, now: datetime) -> list[Invitation]:
    """Invitations that can still be accepted, the newest first."""
    async with db.transaction(caller.scope) as tx:
        rules.permit(tx.role, "people", "standard")
        rows = await store.invitations(tx, now)
    return [Invitation(**dict(row)) for row in rows]


async def revoke_invitation(db: Database, *, caller: Caller, invitation_id: UUID, now: datetime) -> None:
    """Let nobody else join by it; revoking again changes nothing. Raises Problem not_found or not_allowed."""
    async with db.transaction(caller.scope) as tx:
        rules.permit(tx.role, "people", "standard")
        if not await store.revoke_invitation(tx, invitation_id, now):
            raise Problem("not_found")


async def accept(
    db: Database,
    throttle: Throttle,
    tokens: Tokens,
    cipher: Cipher,
    *,
    wanted: Acceptance,
    address: str,
    now: datetime,
    request_id: str,
) -> Joined:
    """Join by an invitation, and sign in; a further device waits for a manager instead.

    Raises Problem link_expired, bad_credentials (the address has an account with another password), code_needed (say it
    all again, with `code`), code_wrong, password_weak, invalid, tenant_suspended or too_many_tries.
    """
    hash_ = token_hash(wanted.token)
    async with db.across_tenants() as tx:
        found = await store.find_invitation(tx, hash_, now)

    async def known() -> bool:
        return found is not None

    if not await throttle.attempt(known, (rules.TRIES_BY_ADDRESS, address)) or found is None:
        raise Problem("link_expired")
    password_hash = await _password(throttle, wanted, found["email"], found["known_person"], found["password_hash"])
    if found["known_person"] and found["email"]:
        scope = Scope(None, found["known_person"], request_id)
        await _second_step(db, throttle, cipher, scope=scope, code=wanted.code, now=now)
    device = wanted.device if found["kind"] != "email" else None
    if found["kind"] != "email" and device is None:
        raise Problem("invalid", "device is needed to join by this invitation")
    if not found["known_person"] and not 1 <= len(wanted.name.strip()) <= 200:
        raise Problem("invalid", "name is needed")
    device_id = uuid4() if device else None
    key = read_key(device.public_key) if device else None
    pin_hash = await hashed(rules.check_pin(device.pin)) if device else None
    person_id: UUID = found["known_person"] or uuid4()
    tenant_id: UUID = found["tenant_id"]
    async with db.across_tenants() as tx:
        await tx.serve(Scope(tenant_id, person_id, request_id))
        good = await store.accept_invitation(
            tx,
            hash_,
            now,
            name=wanted.name.strip(),
            locale=wanted.locale,
            password_hash=password_hash,
            device=(device_id, device.name if device else None, key, pin_hash),
        )
        if not good:
            raise Problem("link_expired")
        if device_id:
            await store.audit_device(tx, "device_joined", device_id)
        else:
            await store.audit_person(tx, "joined", person_id)
    if found["kind"] == "device":
        return Joined(None, device_id)
    scope = Scope(tenant_id, person_id, request_id)
    name = device.name if device else ""
    proof = password_proof(found["password_hash"]) if found["email"] and found["known_person"] else None
    signed_in = await begin_session(db, tokens, scope=scope, device=name, device_id=device_id, proof=proof, now=now)
    return Joined(signed_in, device_id)


async def _password(
    throttle: Throttle, wanted: Acceptance, email: str | None, known: UUID | None, password_hash: str | None
) -> str | None:
    """The hash for a new account; None where the right password of one that is there was given, or none is needed."""
    if email is None:
        return None
    if known is None:
        rules.check_password(wanted.password)
        return await hashed(wanted.password)
    if not await throttle.attempt(lambda: matches(password_hash, wanted.password), (rules.TRIES_BY_ACCOUNT, email)):
        raise Problem("bad_credentials")
    return None


async def _second_step(
    db: Database, throttle: Throttle, cipher: Cipher, *, scope: Scope, code: str, now: datetime
) -> None:
    """Nobody joins, or gets a session, past an account's second step."""
    if not await has_second_step(db, scope):
        return
    if not code:
        raise Problem("code_needed")
    await prove_code(db, throttle, cipher, scope=scope, code=code, now=now)
