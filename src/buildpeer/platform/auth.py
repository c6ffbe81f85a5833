"""Tokens: who is calling, proved by a signature and by nothing stored.

An access token is short-lived and names person, tenant and session. A refresh token names a session and a
generation; the database holds the newest generation, so each rotation is one conditional update, and the successor
of a token is the same however often it is asked for. Source: RFC 9700 §4.14 (refresh token rotation).
"""

import base64
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
from joserfc import jwt
from joserfc.jwk import OctKey

from buildpeer.platform.db import Scope
from buildpeer.platform.errors import Problem

ACCESS_LIFE = timedelta(minutes=15)
REFRESH_LIFE = timedelta(days=60)
CHALLENGE_LIFE = timedelta(minutes=2)
FIRST_STEP_LIFE = timedelta(minutes=5)  # in which somebody finds their phone, or the paper with recovery codes
_ALGORITHM = "HS256"


class Caller(msgspec.Struct, frozen=True):
    """Who is calling, and in which tenant; `key_id` where a machine calls, with a key that this person made."""

    person_id: UUID
    tenant_id: UUID
    session_id: UUID
    request_id: str = ""
    key_id: UUID | None = None

    @property
    def scope(self) -> Scope:
        """What a transaction for this caller is bound to."""
        return Scope(self.tenant_id, self.person_id, self.request_id, self.session_id, self.key_id)


class RefreshClaim(msgspec.Struct, frozen=True):
    """What a genuine refresh token says."""

    person_id: UUID
    session_id: UUID
    generation: int


class FirstStep(msgspec.Struct, frozen=True):
    """Whose password was right, on a device of which name; `proof` says by which password."""

    person_id: UUID
    device: str
    proof: str


class Tokens:
    """Signs and reads tokens with one key of at least 32 bytes, given in base64."""

    def __init__(self, key: str) -> None:
        raw = base64.b64decode(key)
        if len(raw) < 32:
            raise ValueError("the token key needs at least 32 bytes")
        self._key = OctKey.import_key(raw)

    def access(self, caller: Caller, *, now: datetime) -> str:
        """An access token good for ACCESS_LIFE."""
        claims = {
            "typ": "access",
            "sub": str(caller.person_id),
            "tid": str(caller.tenant_id),
            "sid": str(caller.session_id),
            "exp": int((now + ACCESS_LIFE).timestamp()),
        }
        return jwt.encode({"alg": _ALGORITHM}, claims, self._key)

    def read_access(self, token: str, *, now: datetime, request_id: str) -> Caller:
        """The caller of a genuine, fresh access token.

        Raises Problem not_signed_in or token_expired.
        """
        claims = self._read(token, "access", now)
        return Caller(UUID(claims["sub"]), UUID(claims["tid"]), UUID(claims["sid"]), request_id)

    def refresh(self, claim: RefreshClaim, *, issued_at: datetime) -> str:
        """The one refresh token of a session's generation; the same text for the same arguments."""
        claims = {
            "typ": "refresh",
            "sub": str(claim.person_id),
            "sid": str(claim.session_id),
            "gen": claim.generation,
            "exp": int((issued_at + REFRESH_LIFE).timestamp()),
        }
        return jwt.encode({"alg": _ALGORITHM}, claims, self._key)

    def read_refresh(self, token: str, *, now: datetime) -> RefreshClaim:
        """What a genuine refresh token says, whether or not its generation is the newest.

        Raises Problem session_ended.
        """
        try:
            claims = self._read(token, "refresh", now)
        except Problem as exc:
            raise Problem("session_ended") from exc
        return RefreshClaim(UUID(claims["sub"]), UUID(claims["sid"]), int(claims["gen"]))

    def challenge(self, device_id: UUID, *, now: datetime) -> str:
        """A text for a device to sign, good for CHALLENGE_LIFE; made for any id, be there such a device or not."""
        claims = {
            "typ": "challenge",
            "sub": str(device_id),
            "at": int(now.timestamp() * 1_000_000),
            "exp": int((now + CHALLENGE_LIFE).timestamp()),
        }
        return jwt.encode({"alg": _ALGORITHM}, claims, self._key)

    def read_challenge(self, challenge: str, *, now: datetime) -> tuple[UUID, datetime]:
        """The device that a challenge is for, and when it was made.

        Raises Problem bad_credentials for one that isn't ours or has expired.
        """
        try:
            claims = self._read(challenge, "challenge", now)
        except Problem as exc:
            raise Problem("bad_credentials") from exc
        return UUID(claims["sub"]), datetime.fromtimestamp(int(claims["at"]) / 1_000_000, UTC)

    def first_step(self, step: FirstStep, *, now: datetime) -> str:
        """What the second step of a sign-in begins with, good for FIRST_STEP_LIFE."""
        claims = {
            "typ": "first-step",
            "sub": str(step.person_id),
            "dev": step.device,
            "prf": step.proof,
            "exp": int((now + FIRST_STEP_LIFE).timestamp()),
        }
        return jwt.encode({"alg": _ALGORITHM}, claims, self._key)

    def read_first_step(self, challenge: str, *, now: datetime) -> FirstStep:
        """What a genuine, fresh first step says. Raises Problem bad_credentials."""
        try:
            claims = self._read(challenge, "first-step", now)
        except Problem as exc:
            raise Problem("bad_credentials") from exc
        return FirstStep(UUID(claims["sub"]), claims["dev"], claims["prf"])

    def _read(self, token: str, kind: str, now: datetime) -> dict[str, str]:
        try:
            claims = jwt.decode(token, self._key, algorithms=[_ALGORITHM]).claims
        except Exception as exc:  # the token is a stranger's text, and the library trips over some
            raise Problem("not_signed_in") from exc
        if claims.get("typ") != kind:
            raise Problem("not_signed_in")
        if int(claims["exp"]) <= now.timestamp():
            raise Problem("token_expired")
        return claims
