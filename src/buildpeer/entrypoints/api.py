"""The api: every door of the modules behind one Litestar application."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar, Request, Response, get
from litestar.config.response_cache import ResponseCacheConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import Message, Scope

from buildpeer.modules.audit.http import AuditController
from buildpeer.modules.documents.handlers import on_uploads_linked
from buildpeer.modules.documents.http import (
    AlbumsController,
    DocumentsController,
    DrawingsController,
    FilingsController,
    FoldersController,
    PhotosController,
    ProjectDocumentsController,
    ProjectDrawingsController,
    ProjectFilingsController,
    SharedController,
    ShareLinksController,
)
from buildpeer.modules.identity import http as identity
from buildpeer.modules.identity.http import (
    AccountController,
    ApiKeysController,
    InvitationsController,
    MembersController,
    SessionsController,
)
from buildpeer.modules.jobs.http import JobsController
from buildpeer.modules.notifications import http as notifications
from buildpeer.modules.notifications.service import Feed
from buildpeer.modules.operations.http import OperationsController
from buildpeer.modules.projects import http as projects
from buildpeer.modules.reports import http as reports
from buildpeer.modules.rfis.http import RfisController
from buildpeer.modules.uploads.http import UploadsController
from buildpeer.platform import clock, http, telemetry
from buildpeer.platform.auth import Tokens
from buildpeer.platform.config import Settings
from buildpeer.platform.db import Database
from buildpeer.platform.encryption import Cipher
from buildpeer.platform.errors import Problem
from buildpeer.platform.rates import Rates
from buildpeer.platform.realtime import Wakeups
from buildpeer.platform.signing import Signer
from buildpeer.platform.storage import Storage
from buildpeer.platform.throttle import Throttle

MOST_REQUESTS = 4096  # at once; every open stream is one, and granian's 128 would let streams shut everybody out
STOP_WITHIN_S = 10.0

CONTROLLERS = (
    SessionsController,
    AccountController,
    ApiKeysController,
    InvitationsController,
    MembersController,
    *projects.CONTROLLERS,
    JobsController,
    UploadsController,
    DocumentsController,
    DrawingsController,
    FilingsController,
    ProjectDrawingsController,
    ProjectFilingsController,
    ProjectDocumentsController,
    FoldersController,
    PhotosController,
    AlbumsController,
    ShareLinksController,
    SharedController,
    *reports.CONTROLLERS,
    RfisController,
    *notifications.CONTROLLERS,
    AuditController,
    OperationsController,
)


@get("/healthz", include_in_schema=False)
async def healthz(state: State) -> Response[dict[str, str]]:
    """Whether this process can serve: it can reach Postgres."""
    async with state.db.across_tenants() as tx:
        await tx.value("select 1")
    return Response({"status": "ok"})


def create_app(settings: Settings) -> Litestar:
    """The application; it opens its connections when it starts and closes them when it stops."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None, None]:
        app.state.db = await Database.connect(settings.database_url)
        app.state.storage = Storage(settings, now=clock.now)
        app.state.wakeups = Wakeups(settings.valkey_url)
        app.state.throttle = Throttle(settings.valkey_url)
        app.state.rates = Rates(settings.valkey_url)
        app.state.feed = Feed(app.state.db, app.state.wakeups)
        async with app.state.wakeups.running(), app.state.rates.running():
            yield
        app.state.storage.close()
        await app.state.throttle.close()
        await app.state.db.close()

    async def admit(request: Request[Any, Any, Any]) -> None:
        http.admit_stranger(request, settings)

    async def tell_limits(message: Message, scope: Scope) -> None:
        http.tell_limits(message, scope, settings)

    return Litestar(
        route_handlers=[healthz, *CONTROLLERS],
        lifespan=[lifespan],
        middleware=[http.RequestId],
        before_request=admit,
        before_send=[tell_limits],
        dependencies=_dependencies(settings),
        exception_handlers={
            Problem: partial(http.on_problem, settings=settings),
            HTTPException: partial(http.on_http_exception, settings=settings),
            Exception: http.on_unexpected,
        },
        openapi_config=OpenAPIConfig(
            title="BuildPeer",
            version="1",
            description="Construction projects whose files always arrive. Errors are RFC 9457 problem details.",
            components=Components(
                security_schemes={"token": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")}
            ),
            security=[{"token": []}],
        ),
        response_cache_config=ResponseCacheConfig(default_expiration=0),
        logging_config=None,
    )


def _dependencies(settings: Settings) -> dict[str, Provide]:
    tokens = Tokens(settings.token_key) if settings.token_key else None
    signer = Signer(settings.audit_key) if settings.audit_key else None
    cipher = Cipher(settings.totp_key) if settings.totp_key else None
    webhook_cipher = Cipher(settings.webhook_key) if settings.webhook_key else None

    async def database(state: State) -> Database:
        return state.db

    async def storage(state: State) -> Storage:
        return state.storage

    async def feed(state: State) -> Feed:
        return state.feed

    async def wakeups(state: State) -> Wakeups:
        return state.wakeups

    async def throttle(state: State) -> Throttle:
        return state.throttle

    def constant(value: Any) -> Provide:
        return Provide(lambda: value, sync_to_thread=False, use_cache=True)

    return {
        "db": Provide(database),
        "storage": Provide(storage),
        "feed": Provide(feed),
        "throttle": Provide(throttle),
        "wakeups": Provide(wakeups),
        "tokens": constant(tokens),
        "signer": constant(signer),
        "cipher": constant(cipher),
        "webhook_cipher": constant(webhook_cipher),
        "settings": constant(settings),
        "on_linked": constant(on_uploads_linked),
        "now": Provide(clock.now, sync_to_thread=False),
        "caller": Provide(identity.caller),
        "operator": Provide(http.operator),
        "language": Provide(http.language),
    }


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are finished first, and open streams ended."""
    settings.require("database_url", "valkey_url", "token_key", "audit_key", "totp_key", "webhook_key")
    telemetry.configure_logging(settings, process="api")
    app = create_app(settings)
    server = Server(
        app,
        address=settings.api_host,
        port=settings.api_port,
        interface=Interfaces.ASGI,
        websockets=False,
        log_access=False,
        backpressure=MOST_REQUESTS,
    )

    def stop() -> None:
        app.state.wakeups.stop()
        server.stop()
        # A reader who reads no more would hold the process up; there is nothing left to lose by then.
        loop.call_later(STOP_WITHIN_S, os._exit, 0)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await server.serve()
