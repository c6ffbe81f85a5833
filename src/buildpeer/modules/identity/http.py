"""Doors for sign-in and tokens."""

from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, delete, post
from litestar.params import JSONBody

from buildpeer.modules.identity import service
from buildpeer.modules.identity.service import SignedIn
from buildpeer.platform.http import CallerDep, DatabaseDep, NowDep, TokensDep, request_id


class Credentials(msgspec.Struct):
    """What a person signs in with."""

    email: Annotated[str, msgspec.Meta(max_length=254)]
    password: Annotated[str, msgspec.Meta(max_length=1024)]


class Refresh(msgspec.Struct):
    """A refresh token to exchange."""

    refresh_token: str


class IdentityController(Controller):
    """Signing in, staying signed in, signing out."""

    path = "/v1"
    tags = ("identity",)

    @post("/sessions", summary="Sign in")
    async def sign_in(
        self,
        data: JSONBody[Credentials],
        request: Request[Any, Any, Any],
        db: DatabaseDep,
        tokens: TokensDep,
        now: NowDep,
    ) -> SignedIn:
        """Begin a session with e-mail and password."""
        return await service.sign_in(
            db, tokens, email=data.email, password=data.password, now=now, request_id=request_id(request)
        )

    @post("/tokens", status_code=200, summary="Exchange a refresh token")
    async def refresh(
        self, data: JSONBody[Refresh], request: Request[Any, Any, Any], db: DatabaseDep, tokens: TokensDep, now: NowDep
    ) -> SignedIn:
        """The next access and refresh token; the same refresh token gives the same answer for a minute."""
        return await service.refresh(db, tokens, token=data.refresh_token, now=now, request_id=request_id(request))

    @delete("/sessions/current", summary="Sign out")
    async def sign_out(self, caller: CallerDep, db: DatabaseDep, now: NowDep) -> None:
        """End this session; its refresh token is worth nothing from now on."""
        await service.sign_out(db, caller=caller, now=now)
