"""Doors for one's own account."""

from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, get, post, put
from litestar.params import JSONBody

from buildpeer.modules.identity import service
from buildpeer.modules.identity.service import Me
from buildpeer.platform.http import (
    CallerDep,
    DatabaseDep,
    LanguageDep,
    NowDep,
    SettingsDep,
    ThrottleDep,
    WakeupsDep,
    address,
    request_id,
)


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


class AccountController(Controller):
    """One's own account: who one is, and what one proves it with."""

    path = "/v1"
    tags = ("identity",)

    @get("/me", summary="Who I am, where, and what I may do")
    async def me(self, caller: CallerDep, db: DatabaseDep) -> Me:
        """The caller, the tenant, the role there with its permissions, and the caller's other tenants."""
        return await service.me(db, caller=caller)

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
