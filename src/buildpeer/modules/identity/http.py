"""Doors for sign-in and tokens."""

from datetime import datetime
from typing import Any

import msgspec
from litestar import Controller, Request, delete, post

from buildpeer.modules.identity import service
from buildpeer.modules.identity.service import SignedIn
from buildpeer.platform.auth import Caller, Tokens
from buildpeer.platform.db import Database
from buildpeer.platform.http import request_id


class Credentials(msgspec.Struct):
    """What a person signs in with."""

    email: str
    password: str


class Refresh(msgspec.Struct):
    """A refresh token to exchange."""

    refresh_token: str


class IdentityController(Controller):
    """Signing in, staying signed in, signing out."""

    path = "/v1"
    tags = ("identity",)

    @post("/sessions", summary="Sign in")
    async def sign_in(
        self, data: Credentials, request: Request[Any, Any, Any], db: Database, tokens: Tokens, now: datetime
    ) -> SignedIn:
        """Begin a session with e-mail and password."""
        return await service.sign_in(
            db, tokens, email=data.email, password=data.password, now=now, request_id=request_id(request)
        )

    @post("/tokens", status_code=200, summary="Exchange a refresh token")
    async def refresh(
        self, data: Refresh, request: Request[Any, Any, Any], db: Database, tokens: Tokens, now: datetime
    ) -> SignedIn:
        """The next access and refresh token; the same refresh token gives the same answer for a minute."""
        return await service.refresh(
            db, tokens, token=data.refresh_token, now=now, request_id=request_id(request)
        )

    @delete("/sessions/current", summary="Sign out")
    async def sign_out(self, caller: Caller, db: Database, now: datetime) -> None:
        """End this session; its refresh token is worth nothing from now on."""
        await service.sign_out(db, caller=caller, now=now)
