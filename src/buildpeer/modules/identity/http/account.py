"""Doors for one's own account."""

from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, get, post, put
from litestar.params import JSONBody

from buildpeer.modules.identity import service
from buildpeer.modules.identity.service import Enrolment, Me, RecoveryCodes
from buildpeer.platform.http import (
    CallerDep,
    CipherDep,
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


class Password(msgspec.Struct):
    """The password, once more."""

    password: Annotated[str, msgspec.Meta(max_length=1024)]


class Code(msgspec.Struct):
    """6 digits of the app."""

    code: Annotated[str, msgspec.Meta(max_length=40)]


class PasswordAndCode(msgspec.Struct):
    """The password, and a code: 6 digits of the app, or a recovery code."""

    password: Annotated[str, msgspec.Meta(max_length=1024)]
    code: Annotated[str, msgspec.Meta(max_length=40)]


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
        throttle: ThrottleDep,
        wakeups: WakeupsDep,
        settings: SettingsDep,
        now: NowDep,
    ) -> None:
        """Set a new password, once; all sessions of the account end."""
        await service.redeem_reset(
            db,
            throttle,
            wakeups,
            token=data.token,
            password=data.password,
            address=address(request, settings),
            now=now,
            request_id=request_id(request),
        )

    @post("/me/totp", summary="Begin a second step at sign-in")
    async def begin_totp(
        self,
        *,
        data: JSONBody[Password],
        caller: CallerDep,
        db: DatabaseDep,
        throttle: ThrottleDep,
        cipher: CipherDep,
        now: NowDep,
    ) -> Enrolment:
        """A secret for an authenticator app, told this once; it counts once a code confirms it, within an hour."""
        return await service.begin_totp(db, throttle, cipher, caller=caller, password=data.password, now=now)

    @post("/me/totp/confirmation", summary="Switch the second step on")
    async def confirm_totp(
        self,
        *,
        data: JSONBody[Code],
        caller: CallerDep,
        db: DatabaseDep,
        throttle: ThrottleDep,
        cipher: CipherDep,
        now: NowDep,
    ) -> RecoveryCodes:
        """From now on signing in takes a code; the recovery codes are told this once."""
        return await service.confirm_totp(db, throttle, cipher, caller=caller, code=data.code, now=now)

    @post("/me/totp/removal", status_code=204, summary="Switch the second step off")
    async def remove_totp(
        self,
        *,
        data: JSONBody[PasswordAndCode],
        caller: CallerDep,
        db: DatabaseDep,
        throttle: ThrottleDep,
        cipher: CipherDep,
        now: NowDep,
    ) -> None:
        """The password alone signs in again."""
        await service.remove_totp(db, throttle, cipher, caller=caller, password=data.password, code=data.code, now=now)

    @post("/me/totp/recovery-codes", summary="New recovery codes")
    async def renew_recovery_codes(
        self,
        *,
        data: JSONBody[PasswordAndCode],
        caller: CallerDep,
        db: DatabaseDep,
        throttle: ThrottleDep,
        cipher: CipherDep,
        now: NowDep,
    ) -> RecoveryCodes:
        """Ten new ones, told this once; the old ones are worth nothing."""
        return await service.renew_recovery_codes(
            db, throttle, cipher, caller=caller, password=data.password, code=data.code, now=now
        )
