"""Doors for sign-in, tokens and people."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Request, delete, get, patch, post, put
from litestar.params import FromPath, JSONBody

from buildpeer.modules.identity import service
from buildpeer.modules.identity.rules import Role
from buildpeer.modules.identity.service import (
    Acceptance,
    ApiKey,
    Device,
    Entered,
    Invitation,
    Invited,
    Joined,
    KeyDevice,
    MadeKey,
    Me,
    Member,
    NewInvitation,
    NewKey,
    SignedIn,
)
from buildpeer.modules.identity.service.keys import PREFIX as KEY_PREFIX
from buildpeer.platform.auth import CHALLENGE_LIFE, Caller
from buildpeer.platform.http import (
    DEFAULT_LIMIT,
    CallerDep,
    Cursor,
    DatabaseDep,
    LanguageDep,
    Limit,
    NowDep,
    Page,
    SettingsDep,
    ThrottleDep,
    TokensDep,
    WakeupsDep,
    address,
    admit_caller,
    page,
    read_cursor,
    request_id,
    used_with,
)
from buildpeer.platform.http import caller as person_calling


class Credentials(msgspec.Struct):
    """What a person signs in with; `device` is the name by which they will know where they are signed in."""

    email: Annotated[str, msgspec.Meta(max_length=254)]
    password: Annotated[str, msgspec.Meta(max_length=1024)]
    device: Annotated[str, msgspec.Meta(max_length=100)] = ""


class Refresh(msgspec.Struct):
    """A refresh token to exchange."""

    refresh_token: str


class Forgotten(msgspec.Struct):
    """Whose password is forgotten."""

    email: Annotated[str, msgspec.Meta(max_length=254)]


class MailedPassword(msgspec.Struct):
    """A new password by the token that came by mail."""

    token: Annotated[str, msgspec.Meta(max_length=100)]
    password: Annotated[str, msgspec.Meta(max_length=1024)]


class NewPassword(msgspec.Struct):
    """A new password by the one before."""

    current: Annotated[str, msgspec.Meta(max_length=1024)]
    password: Annotated[str, msgspec.Meta(max_length=1024)]


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


class Invitations(msgspec.Struct):
    """Invitations that can still be accepted."""

    items: list[Invitation]


class KeyDevices(msgspec.Struct):
    """A member's devices with keys."""

    items: list[KeyDevice]


class WantedTenant(msgspec.Struct):
    """Where to go on."""

    tenant_id: UUID


class NewRole(msgspec.Struct):
    """What a member becomes."""

    role: Role


class Devices(msgspec.Struct):
    """Where somebody is signed in."""

    items: list[Device]


class ApiKeys(msgspec.Struct):
    """The company's keys."""

    items: list[ApiKey]


async def caller(
    *, request: Request[Any, Any, Any], db: DatabaseDep, tokens: TokensDep, settings: SettingsDep, now: NowDep
) -> Caller:
    """Who calls: a person by an access token, or a machine by a key, where the door names a tool that the key has.

    Raises Problem not_signed_in, token_expired, not_allowed or too_many_requests.
    """
    _, _, secret = request.headers.get("authorization", "").partition(" ")
    if not secret.startswith(KEY_PREFIX):
        person = await person_calling(request, tokens, now)
        admit_caller(request, str(person.person_id), person.tenant_id, settings)
        return person
    machine = await service.caller_of_key(
        db,
        secret=secret.strip(),
        tool=request.route_handler.opt.get("tool"),
        level="read" if request.method in ("GET", "HEAD") else request.route_handler.opt.get("write", "admin"),
        now=now,
        request_id=request_id(request),
    )
    admit_caller(request, str(machine.session_id), machine.tenant_id, settings)  # which is the key's id
    return machine


class IdentityController(Controller):
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
        """Begin a session with e-mail and password."""
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

    @put("/me/password", status_code=204, summary="Change my password")
    async def change_password(
        self,
        *,
        data: JSONBody[NewPassword],
        caller: CallerDep,
        db: DatabaseDep,
        throttle: ThrottleDep,
        wakeups: WakeupsDep,
        now: NowDep,
    ) -> None:
        """Give the caller a new password; all their other sessions end."""
        await service.change_password(
            db, throttle, wakeups, caller=caller, current=data.current, password=data.password, now=now
        )

    @post("/password-resets", status_code=204, summary="Ask for a new password by e-mail")
    async def ask_reset(
        self,
        *,
        data: JSONBody[Forgotten],
        request: Request[Any, Any, Any],
        db: DatabaseDep,
        throttle: ThrottleDep,
        settings: SettingsDep,
        language: LanguageDep,
        now: NowDep,
    ) -> None:
        """Mails a link to the address, if it has an account; the answer is the same if it has none."""
        await service.ask_reset(
            db,
            throttle,
            email=data.email,
            web_url=settings.web_url,
            locale=language,
            address=address(request, settings),
            now=now,
        )

    @post("/password-resets/completion", status_code=204, summary="Set a password by a mailed token")
    async def redeem_reset(
        self,
        *,
        data: JSONBody[MailedPassword],
        request: Request[Any, Any, Any],
        db: DatabaseDep,
        wakeups: WakeupsDep,
        now: NowDep,
    ) -> None:
        """Set a new password, once; all sessions of the account end."""
        await service.redeem_reset(
            db, wakeups, token=data.token, password=data.password, now=now, request_id=request_id(request)
        )

    @get("/me", summary="Who I am, where, and what I may do")
    async def me(self, caller: CallerDep, db: DatabaseDep) -> Me:
        """The caller, the tenant, the role there with its permissions, and the caller's other tenants."""
        return await service.me(db, caller=caller)


class ApiKeysController(Controller):
    """Keys for machines."""

    path = "/v1/api-keys"
    tags = ("people",)

    @post(summary="Make a key")
    async def make_key(self, data: JSONBody[NewKey], caller: CallerDep, db: DatabaseDep, now: NowDep) -> MadeKey:
        """A key that acts as its maker, an owner, with the tools named; the secret is told this once."""
        return await service.make_key(db, caller=caller, wanted=data, now=now)

    @get(summary="List keys")
    async def list_keys(self, caller: CallerDep, db: DatabaseDep) -> ApiKeys:
        """The company's keys that aren't revoked, the newest first."""
        return ApiKeys(await service.list_keys(db, caller=caller))

    @delete("/{key_id:uuid}", summary="Revoke a key")
    async def revoke_key(self, key_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep, now: NowDep) -> None:
        """Let a key do nothing more, at once."""
        await service.revoke_key(db, caller=caller, key_id=key_id, now=now)


class InvitationsController(Controller):
    """Inviting and joining."""

    path = "/v1/invitations"
    tags = ("people",)
    opt = used_with("people", write="admin")

    @post(summary="Invite by e-mail or QR code")
    async def invite(
        self,
        data: JSONBody[NewInvitation],
        caller: CallerDep,
        db: DatabaseDep,
        settings: SettingsDep,
        now: NowDep,
    ) -> Invited:
        """Invite somebody by `email` (7 days), a `crew` by a link to show as a QR code, or a further `device` of a
        member (both 24 hours). The link is told this once.
        """
        return await service.invite(db, caller=caller, wanted=data, web_url=settings.web_url, now=now)

    @get(summary="List open invitations")
    async def list_invitations(self, caller: CallerDep, db: DatabaseDep, now: NowDep) -> Invitations:
        """Invitations that can still be accepted, the newest first."""
        return Invitations(await service.list_invitations(db, caller=caller, now=now))

    @delete("/{invitation_id:uuid}", summary="Revoke an invitation")
    async def revoke(self, invitation_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep, now: NowDep) -> None:
        """Let nobody else join by it."""
        await service.revoke_invitation(db, caller=caller, invitation_id=invitation_id, now=now)

    @post("/acceptance", summary="Join by an invitation")
    async def accept(
        self,
        *,
        data: JSONBody[Acceptance],
        request: Request[Any, Any, Any],
        db: DatabaseDep,
        throttle: ThrottleDep,
        tokens: TokensDep,
        settings: SettingsDep,
        now: NowDep,
    ) -> Joined:
        """Join with the token after the link's `#`, and be signed in; a further device waits for a manager."""
        return await service.accept(
            db,
            throttle,
            tokens,
            wanted=data,
            address=address(request, settings),
            now=now,
            request_id=request_id(request),
        )


class MembersController(Controller):
    """Who belongs to the tenant."""

    path = "/v1/members"
    tags = ("people",)
    opt = used_with("people", write="admin")

    @get(summary="List members")
    async def list_members(
        self, caller: CallerDep, db: DatabaseDep, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> Page[Member]:
        """The tenant's members, by name."""
        after = read_cursor(cursor, tuple[str, UUID])
        found = await service.list_members(db, caller=caller, after=after, limit=limit + 1)
        return page(found, limit, lambda m: [m.name, m.person_id])

    @patch("/{person_id:uuid}", summary="Change a member's role")
    async def change_role(
        self,
        *,
        person_id: FromPath[UUID],
        data: JSONBody[NewRole],
        caller: CallerDep,
        db: DatabaseDep,
        wakeups: WakeupsDep,
    ) -> Member:
        """Give a member another role, which counts from their next request on."""
        return await service.change_role(db, wakeups, caller=caller, person_id=person_id, role=data.role)

    @delete("/{person_id:uuid}", summary="Remove a member")
    async def remove_member(
        self, person_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep, wakeups: WakeupsDep
    ) -> None:
        """End a membership; streams end at once, and uploads that are still open are cancelled."""
        await service.remove_member(db, wakeups, caller=caller, person_id=person_id)

    @get("/{person_id:uuid}/devices", summary="A member's devices")
    async def list_devices(self, person_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> KeyDevices:
        """Devices that sign in by a key, with those that wait for approval or are locked."""
        return KeyDevices(await service.list_devices(db, caller=caller, person_id=person_id))

    @post("/{person_id:uuid}/devices/{device_id:uuid}/approval", status_code=204, summary="Approve a device")
    async def approve_device(
        self,
        person_id: FromPath[UUID],
        device_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
    ) -> None:
        """Let a device sign in, also one that wrong PINs have locked."""
        await service.approve_device(db, caller=caller, person_id=person_id, device_id=device_id, now=now)

    @delete("/{person_id:uuid}/devices/{device_id:uuid}", summary="Revoke a device")
    async def revoke_device(
        self,
        *,
        person_id: FromPath[UUID],
        device_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        wakeups: WakeupsDep,
        now: NowDep,
    ) -> None:
        """Let a lost device never sign in again; its sessions and streams end at once."""
        await service.revoke_device(db, wakeups, caller=caller, person_id=person_id, device_id=device_id, now=now)
