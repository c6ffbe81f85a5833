"""A second step at sign-in, for who wants one: codes of an authenticator app (TOTP, RFC 6238), or recovery codes."""

import base64
import hashlib
import secrets
from datetime import datetime
from uuid import UUID

import msgspec

from buildpeer.modules.identity import rules, store
from buildpeer.modules.identity.service.passwords import notice, prove_password
from buildpeer.modules.identity.service.sessions import (
    SignedIn,
    audit_everywhere,
    begin_session,
    password_proof,
    person_of,
)
from buildpeer.platform import qr
from buildpeer.platform.auth import Caller, Tokens
from buildpeer.platform.db import Database, Scope, Transaction
from buildpeer.platform.encryption import Cipher
from buildpeer.platform.errors import Problem
from buildpeer.platform.throttle import Throttle

_SECRET_BYTES = 20  # as long as the hash (RFC 4226 §4)


class Enrolment(msgspec.Struct, frozen=True):
    """What an authenticator app is told, this once: the secret in base32, in an otpauth:// URI, and as a QR code."""

    secret: str
    uri: str
    qr_svg: str


class RecoveryCodes(msgspec.Struct, frozen=True):
    """Codes that each stand in for the app once; shown this once."""

    codes: list[str]


async def begin_totp(
    db: Database, throttle: Throttle, cipher: Cipher, *, caller: Caller, password: str, now: datetime
) -> Enrolment:
    """A new secret for the caller, who has an hour to confirm it; until then nothing changes.

    Raises Problem bad_credentials, too_many_tries, or totp_on.
    """
    person = await prove_password(db, throttle, caller=caller, password=password)
    secret = secrets.token_bytes(_SECRET_BYTES)
    async with db.transaction(caller.scope) as tx:
        if not await store.begin_totp(tx, cipher.encrypt(secret, caller.person_id), now):
            raise Problem("totp_on")
    uri = rules.totp_uri(secret, account=person.email or person.name)
    return Enrolment(base64.b32encode(secret).decode(), uri, qr.svg(uri))


async def confirm_totp(
    db: Database, throttle: Throttle, cipher: Cipher, *, caller: Caller, code: str, now: datetime
) -> RecoveryCodes:
    """Switch the second step on: the app shows the right code. Gives the recovery codes.

    Raises Problem code_wrong, too_many_tries, or not_found where no enrolment waits for this.
    """
    async with db.transaction(caller.scope) as tx:
        begun = await store.totp(tx)
    if begun is None or begun["confirmed_at"] or now - begun["begun_at"] >= rules.ENROLMENT_LIFE:
        raise Problem("not_found")
    step = rules.totp_step(cipher.decrypt(begun["secret"], caller.person_id), code, now)

    async def proof() -> bool:
        return step is not None

    if not await throttle.attempt(proof, (rules.TRIES_BY_CODE, str(caller.person_id))) or step is None:
        raise Problem("code_wrong")
    async with db.transaction(caller.scope) as tx:
        if not await store.confirm_totp(tx, begun["secret"], step=step, now=now):
            raise Problem("not_found")
        codes = await _make_codes(tx)
        await _tell(tx, "totp_on")
        await audit_everywhere(tx, "totp_on")
    return RecoveryCodes(codes)


async def remove_totp(
    db: Database, throttle: Throttle, cipher: Cipher, *, caller: Caller, password: str, code: str, now: datetime
) -> None:
    """Switch the second step off, by the password and a code.

    Raises Problem bad_credentials, code_wrong, too_many_tries, or not_found where it isn't on.
    """
    await _prove_both(db, throttle, cipher, caller=caller, password=password, code=code, now=now)
    async with db.transaction(caller.scope) as tx:
        if not await store.remove_totp(tx):
            raise Problem("not_found")
        await _tell(tx, "totp_off")
        await audit_everywhere(tx, "totp_off")


async def renew_recovery_codes(
    db: Database, throttle: Throttle, cipher: Cipher, *, caller: Caller, password: str, code: str, now: datetime
) -> RecoveryCodes:
    """New recovery codes, by the password and a code; the old ones are worth nothing.

    Raises Problem bad_credentials, code_wrong, too_many_tries, or not_found where no second step is on.
    """
    await _prove_both(db, throttle, cipher, caller=caller, password=password, code=code, now=now)
    async with db.transaction(caller.scope) as tx:
        codes = await _make_codes(tx)
        await audit_everywhere(tx, "recovery_codes_made")
    return RecoveryCodes(codes)


async def complete_sign_in(
    db: Database,
    throttle: Throttle,
    tokens: Tokens,
    cipher: Cipher,
    *,
    challenge: str,
    code: str,
    now: datetime,
    request_id: str,
) -> SignedIn:
    """Begin the session for which the password was right already, by a code that has not been used before.

    Raises Problem code_wrong or too_many_tries; or bad_credentials for a challenge that isn't ours, is too old, or was
    given for a password that has changed since: sign in anew.
    """
    first = tokens.read_first_step(challenge, now=now)
    scope = Scope(None, first.person_id, request_id)
    async with db.transaction(scope) as tx:
        person = await store.person(tx, first.person_id)
        login = await store.find_login(tx, person["email"] or "") if person else None
    if login is None or password_proof(login[1]) != first.proof:
        raise Problem("bad_credentials")
    await prove_code(db, throttle, cipher, scope=scope, code=code, now=now)
    return await begin_session(db, tokens, scope=scope, device=first.device, proof=first.proof, now=now)


async def prove_code(
    db: Database, throttle: Throttle, cipher: Cipher, *, scope: Scope, code: str, now: datetime
) -> None:
    """Take a code of the scope's person, so that it never works again; their companies' trails tell of wrong ones.

    Raises Problem code_wrong or too_many_tries; bad_credentials where there is no second step (any more).
    """

    async def proof() -> bool:
        async with db.transaction(scope) as tx:
            row = await store.totp(tx)
            if row is None or row["confirmed_at"] is None:
                raise Problem("bad_credentials")
            if rules.looks_like_totp(code):
                step = rules.totp_step(cipher.decrypt(row["secret"], tx.person_id), code, now)
                good = step is not None and await store.spend_step(tx, step)
            else:
                good = await store.spend_recovery_code(tx, _code_hash(tx.person_id, code), now)
                if good:
                    await audit_everywhere(tx, "recovery_code_used")
            if not good:
                await audit_everywhere(tx, "code_refused")
        return good

    if not await throttle.attempt(proof, (rules.TRIES_BY_CODE, str(scope.person_id))):
        raise Problem("code_wrong")


async def reset_totp(db: Database, *, caller: Caller, person_id: UUID) -> None:
    """Switch a member's second step off, who has lost phone and recovery codes; they get a mail.

    Raises Problem not_found, also where none is on; not_allowed (only an owner does it for an owner, and nobody for
    themselves); account_shared where it guards another company as well.
    """
    async with db.transaction(caller.scope) as tx:
        rules.permit(tx.role, "people", "read")
        member = await store.member(tx, person_id)
        if member is None:
            raise Problem("not_found")
        rules.permit(tx.role, "people", "admin" if member["role"] == "owner" else "standard")
        if person_id == caller.person_id:
            raise Problem("not_allowed")
        outcome = await store.reset_totp(tx, person_id)
        if outcome != "reset":
            raise Problem("account_shared" if outcome == "elsewhere" else "not_found")
        await store.audit_person(tx, "totp_reset", person_id)
        if member["email"]:
            await tx.mail(notice("totp_off", member["email"]))


async def remove_totp_by_operator(db: Database, *, email: str, by: str) -> bool:
    """Switch somebody's second step off, as whoever runs BuildPeer: `by` stands in the trail of each of their
    companies, and a mail tells them. False where none is on.
    """
    async with db.across_tenants("operator:totp") as tx:
        found = await store.remove_totp_of(tx, email.strip(), by)
        if found:
            await tx.mail(notice("totp_off", email.strip()))
    return found


async def _prove_both(
    db: Database, throttle: Throttle, cipher: Cipher, *, caller: Caller, password: str, code: str, now: datetime
) -> None:
    async with db.transaction(caller.scope) as tx:
        row = await store.totp(tx)
    if row is None or row["confirmed_at"] is None:
        raise Problem("not_found")
    await prove_password(db, throttle, caller=caller, password=password)
    await prove_code(db, throttle, cipher, scope=caller.scope, code=code, now=now)


async def _make_codes(tx: Transaction) -> list[str]:
    codes = [base64.b32encode(secrets.token_bytes(rules.RECOVERY_BYTES)).decode() for _ in range(rules.RECOVERY_CODES)]
    await store.replace_recovery_codes(tx, [_code_hash(tx.person_id, code) for code in codes])
    return ["-".join(code[i : i + 4] for i in range(0, len(code), 4)) for code in codes]


def _code_hash(person_id: UUID, code: str) -> bytes:
    """So much chance needs no slow hash; the person in it, so that nobody tries all people's codes at once."""
    return hashlib.sha256(person_id.bytes + rules.spelled(code).encode()).digest()


async def _tell(tx: Transaction, template: str) -> None:
    person = await person_of(tx)
    if person.email:
        await tx.mail(notice(template, person.email))
