"""Doors for signing in, staying signed in, signing out."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Request, delete, get, post
from litestar.params import FromPath, JSONBody

from buildpeer.modules.identity import service
from buildpeer.modules.identity.service import Device, Entered, SignedIn
from buildpeer.platform.auth import CHALLENGE_LIFE
from buildpeer.platform.http import (
    CallerDep,
    CipherDep,
    DatabaseDep,
    NowDep,
    SettingsDep,
    ThrottleDep,
    TokensDep,
    WakeupsDep,
    address,
    request_id,
)


class Credentials(msgspec.Struct):
    """What a person signs in with; `device` is the name by which they will know where they are signed in."""

    email: Annotated[str, msgspec.Meta(max_length=254)]
    password: Annotated[str, msgspec.Meta(max_length=1024)]
    device: Annotated[str, msgspec.Meta(max_length=100)] = ""


class Refresh(msgspec.Struct):
    """A refresh token to exchange."""

    refresh_token: Annotated[str, msgspec.Meta(max_length=4000)]


class SecondStep(msgspec.Struct):
    """The challenge of a first step, and a code: 6 digits of the app, or a recovery code."""

    challenge: Annotated[str, msgspec.Meta(max_length=4000)]
    code: Annotated[str, msgspec.Meta(max_length=40)]


class AskedDevice(msgspec.Struct):
    """Which device wants to sign in."""

    device_id: UUID


class Challenge(msgspec.Struct):
    """A text whose UTF-8 bytes the device's key signs; `expires_in` in seconds."""

    challenge: str
    expires_in: int


class SignedChallenge(msgspec.Struct):
    """A challenge, its signature in base64 (Ed25519; P-256 with SHA-256 as DER or IEEE P1363), and the device's PIN."""

    challenge: Annotated[str, msgspec.Meta(max_length=1000)]
    signature: Annotated[str, msgspec.Meta(max_length=200)]
    pin: Annotated[str, msgspec.Meta(max_length=6)]


class WantedTenant(msgspec.Struct):
    """Where to go on."""

    tenant_id: UUID


class Devices(msgspec.Struct):
    """Where somebody is signed in."""

    items: list[Device]


class SessionsController(Controller):
    """Signing in, staying signed in, signing out."""

    path = "/v1"
    tags = ("identity",)

    @post("/sessions", summary="Sign in")
    async def sign_in(
        self,
        *,
        data: JSONBody[Credentials],
        request: Request[Any, Any, Any],
        db: DatabaseDep,
        throttle: ThrottleDep,
        tokens: TokensDep,
        settings: SettingsDep,
        now: NowDep,
    ) -> SignedIn:
        """Begin a session with e-mail and password; an account with a second step answers `code_needed` with a
        `challenge`, which is good for `expires_in` seconds.
        """
        return await service.sign_in(
            db,
            throttle,
            tokens,
            email=data.email,
            password=data.password,
            device=data.device,
            address=address(request, settings),
            now=now,
            request_id=request_id(request),
        )

    @post("/sessions/completion", summary="Sign in: the second step")
    async def complete_sign_in(
        self,
        *,
        data: JSONBody[SecondStep],
        request: Request[Any, Any, Any],
        db: DatabaseDep,
        throttle: ThrottleDep,
        tokens: TokensDep,
        cipher: CipherDep,
        now: NowDep,
    ) -> SignedIn:
        """Begin the session for which `POST /v1/sessions` answered `code_needed`; a code works once."""
        return await service.complete_sign_in(
            db,
            throttle,
            tokens,
            cipher,
            challenge=data.challenge,
            code=data.code,
            now=now,
            request_id=request_id(request),
        )

    @post("/tokens", status_code=200, summary="Exchange a refresh token")
    async def refresh(
        self, data: JSONBody[Refresh], request: Request[Any, Any, Any], db: DatabaseDep, tokens: TokensDep, now: NowDep
    ) -> SignedIn:
        """The next access and refresh token; the same refresh token gives the same answer for a minute."""
        return await service.refresh(db, tokens, token=data.refresh_token, now=now, request_id=request_id(request))

    @delete("/sessions/current", summary="Sign out")
    async def sign_out(self, caller: CallerDep, db: DatabaseDep, now: NowDep) -> None:
        """End this session; its tokens are worth nothing from now on."""
        await service.sign_out(db, caller=caller, now=now)

    @post("/sessions/current/tenant", status_code=200, summary="Go on in another tenant")
    async def enter_tenant(
        self, data: JSONBody[WantedTenant], caller: CallerDep, db: DatabaseDep, tokens: TokensDep, now: NowDep
    ) -> Entered:
        """An access token bound to another of the caller's tenants; the refresh token stays as it is."""
        return await service.enter_tenant(db, tokens, caller=caller, tenant_id=data.tenant_id, now=now)

    @get("/sessions", summary="Where I am signed in")
    async def list_sessions(self, caller: CallerDep, db: DatabaseDep, now: NowDep) -> Devices:
        """The caller's devices, the latest seen first."""
        return Devices(await service.list_sessions(db, caller=caller, now=now))

    @delete("/sessions/{session_id:uuid}", summary="Sign a device out")
    async def revoke_session(
        self, session_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep, wakeups: WakeupsDep, now: NowDep
    ) -> None:
        """End one of the caller's sessions; its tokens and streams end at once."""
        await service.revoke_session(db, wakeups, caller=caller, session_id=session_id, now=now)

    @post("/device-challenges", summary="A text for a device to sign")
    async def challenge(self, data: JSONBody[AskedDevice], tokens: TokensDep, now: NowDep) -> Challenge:
        """What a device signs in order to sign in; given for any id, whether or not there is such a device."""
        expires_in = int(CHALLENGE_LIFE.total_seconds())
        return Challenge(tokens.challenge(data.device_id, now=now), expires_in)

    @post("/device-sessions", summary="Sign in with a device's key and PIN")
    async def sign_in_device(
        self,
        data: JSONBody[SignedChallenge],
        request: Request[Any, Any, Any],
        db: DatabaseDep,
        tokens: TokensDep,
        now: NowDep,
    ) -> SignedIn:
        """Begin a session; a challenge works once, and five wrong PINs lock the device."""
        return await service.sign_in_device(
            db,
            tokens,
            challenge=data.challenge,
            signature=data.signature,
            pin=data.pin,
            now=now,
            request_id=request_id(request),
        )
