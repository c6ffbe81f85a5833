"""Doors for inviting and joining."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Controller, Request, delete, get, post
from litestar.params import FromPath, JSONBody

from buildpeer.modules.identity import service
from buildpeer.modules.identity.service import Acceptance, Invitation, Invited, Joined, NewInvitation
from buildpeer.platform.http import (
    CallerDep,
    CipherDep,
    DatabaseDep,
    NowDep,
    SettingsDep,
    ThrottleDep,
    TokensDep,
    address,
    request_id,
    used_with,
)


class Invitations(msgspec.Struct):
    """Invitations that can still be accepted."""

    items: list[Invitation]


class InvitationsController(Controller):
    """Inviting and joining."""

    path = "/v1/invitations"
    tags = ("people",)
    opt = used_with("people", write="admin")

    @post(summary="Invite by e-mail or QR code")
    async def invite(
        self,
        *,
        data: JSONBody[NewInvitation],
        caller: CallerDep,
        db: DatabaseDep,
        throttle: ThrottleDep,
        settings: SettingsDep,
        now: NowDep,
    ) -> Invited:
        """Invite somebody by `email` (7 days), a `crew` by a QR code, or a further `device` of a member (both 24
        hours). The link, and the QR code of it, are told this once.
        """
        return await service.invite(db, throttle, caller=caller, wanted=data, web_url=settings.web_url, now=now)

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
        cipher: CipherDep,
        settings: SettingsDep,
        now: NowDep,
    ) -> Joined:
        """Join with the token after the link's `#`, and be signed in; a further device waits for a manager."""
        return await service.accept(
            db,
            throttle,
            tokens,
            cipher,
            wanted=data,
            address=address(request, settings),
            now=now,
            request_id=request_id(request),
        )
