"""Devices that sign in by a key that never leaves them, and a PIN that opens that device only."""

import base64
import binascii
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from buildpeer.modules.identity import rules, store
from buildpeer.modules.identity.service.hashing import matches
from buildpeer.modules.identity.service.sessions import SignedIn, begin_session
from buildpeer.platform.auth import Caller, Tokens
from buildpeer.platform.db import Database, Scope, Transaction
from buildpeer.platform.errors import Problem
from buildpeer.platform.realtime import Wakeups

_P1363_BYTES = 64


class NewDevice(msgspec.Struct):
    """A device that joins: its name, its public key (Ed25519 or P-256, SubjectPublicKeyInfo as DER in base64), and the
    PIN of 6 digits that will open it.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    public_key: Annotated[str, msgspec.Meta(max_length=500)]
    pin: str


class KeyDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A device with a key; it signs in once `approved_at` is set, and after 5 wrong PINs only when approved anew."""

    device_id: UUID
    name: str
    created_at: datetime
    approved_at: datetime | None
    approved_by: UUID | None
    locked: bool


def read_key(text: str) -> bytes:
    """A public key as we keep it. Raises Problem invalid for what is no key of a kind that we take."""
    try:
        der = base64.b64decode(text, validate=True)
        key = load_der_public_key(der)
    except (binascii.Error, ValueError, UnsupportedAlgorithm) as exc:
        raise Problem("invalid", "public_key must be a DER SubjectPublicKeyInfo in base64") from exc
    if isinstance(key, Ed25519PublicKey) or (
        isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    ):
        return der
    raise Problem("invalid", "public_key must be Ed25519 or P-256")


async def permit_devices(tx: Transaction, person_id: UUID | None) -> None:
    """Ask before a device comes to somebody: whoever holds it acts as them, so an owner's is for owners.

    Raises Problem not_found or not_allowed.
    """
    row = await store.member(tx, person_id) if person_id else None
    if row is None:
        raise Problem("not_found")
    rules.permit(tx.role, "people", "admin" if row["role"] == "owner" else "standard")


async def sign_in_device(
    db: Database, tokens: Tokens, *, challenge: str, signature: str, pin: str, now: datetime, request_id: str
) -> SignedIn:
    """Begin a session by a signed challenge and the device's PIN.

    Raises Problem bad_credentials; pin_wrong; or device_locked until a manager approves it anew, and for a challenge
    that was answered before.
    """
    device_id, asked_at = tokens.read_challenge(challenge, now=now)
    async with db.across_tenants() as tx:
        found = await store.find_device(tx, device_id)
    if found is None or not _genuine(found["public_key"], signature, challenge):
        raise Problem("bad_credentials")
    async with db.across_tenants() as tx:
        pin_hash = await store.try_pin(tx, device_id, asked_at, rules.PIN_TRIES)
    if pin_hash is None:
        raise Problem("device_locked")
    if not await matches(pin_hash, pin):
        async with db.transaction(Scope(found["tenant_id"], None, request_id)) as tx:
            await store.audit_device(tx, "sign_in_failed", device_id)
        raise Problem("pin_wrong")
    scope = Scope(found["tenant_id"], found["person_id"], request_id)
    return await begin_session(db, tokens, scope=scope, device=found["name"], device_id=device_id, now=now)


async def list_devices(db: Database, *, caller: Caller, person_id: UUID) -> list[KeyDevice]:
    """A member's devices that aren't revoked, the newest first. Raises Problem not_found or not_allowed."""
    async with db.transaction(caller.scope) as tx:
        rules.permit(tx.role, "people", "standard")
        if await store.member(tx, person_id) is None:
            raise Problem("not_found")
        rows = await store.devices(tx, person_id)
    return [
        KeyDevice(
            device_id=row["device_id"],
            name=row["name"],
            created_at=row["created_at"],
            approved_at=row["approved_at"],
            approved_by=row["approved_by"],
            locked=row["pin_tries"] >= rules.PIN_TRIES,
        )
        for row in rows
    ]


async def approve_device(db: Database, *, caller: Caller, person_id: UUID, device_id: UUID, now: datetime) -> None:
    """Let a device sign in, also one that too many wrong PINs have locked. Raises Problem not_found or not_allowed."""
    async with db.transaction(caller.scope) as tx:
        rules.permit(tx.role, "people", "standard")
        await permit_devices(tx, person_id)
        if not await store.approve_device(tx, person_id, device_id, now):
            raise Problem("not_found")
        await store.audit_device(tx, "device_approved", device_id)


async def revoke_device(
    db: Database, wakeups: Wakeups, *, caller: Caller, person_id: UUID, device_id: UUID, now: datetime
) -> None:
    """Let a device never sign in again, and end its sessions. Raises Problem not_found or not_allowed."""
    async with db.transaction(caller.scope) as tx:
        rules.permit(tx.role, "people", "standard")
        if not await store.revoke_device(tx, person_id, device_id, now):
            raise Problem("not_found")
        await store.end_device_sessions(tx, device_id, now)
        await store.audit_device(tx, "device_revoked", device_id)
    await wakeups.publish([caller.tenant_id])


def _genuine(der: bytes, signature: str, challenge: str) -> bool:
    key = load_der_public_key(der)
    try:
        raw = base64.b64decode(signature, validate=True)
        if isinstance(key, Ed25519PublicKey):
            key.verify(raw, challenge.encode())
        elif isinstance(key, EllipticCurvePublicKey):
            key.verify(_der(raw), challenge.encode(), ECDSA(SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _der(signature: bytes) -> bytes:
    """Web Crypto signs as r and s side by side (IEEE P1363), Android's key store as DER."""
    if len(signature) != _P1363_BYTES:
        return signature
    half = _P1363_BYTES // 2
    return encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
