"""HTTP conventions in one place: who calls, problem details, cursors.

Litestar stays in this file, in the modules' `http.py` and in `entrypoints/api`.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from ipaddress import IPv6Address, IPv6Network
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import asyncpg
import msgspec
import structlog
from litestar import Request, Response
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException, ValidationException
from litestar.params import HeaderParameter, QueryParameter
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from buildpeer.platform import messages, rates
from buildpeer.platform.auth import Caller, Tokens
from buildpeer.platform.config import Settings
from buildpeer.platform.db import Database
from buildpeer.platform.encryption import Cipher
from buildpeer.platform.errors import Problem
from buildpeer.platform.limits import Limit as Limits
from buildpeer.platform.realtime import Wakeups
from buildpeer.platform.storage import Storage
from buildpeer.platform.throttle import Throttle

T = TypeVar("T")
_log = structlog.get_logger()

Cursor = Annotated[
    str | None, QueryParameter(name="cursor", required=False, description="next_cursor of the page before")
]
Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=200, description="Most items to return")]
DEFAULT_LIMIT = 50
IfMatch = Annotated[
    str | None,
    HeaderParameter(name="if-match", required=False, description="The ETag of what was read, or * for whatever it is"),
]
SEND_TIMEOUT_S = 30.0
_MINUTE_S = 60
_TAG = re.compile(r'"([0-9]{1,18})"')

# What a door may ask for by name; `entrypoints/api` provides them.
DatabaseDep = NamedDependency[Database]
StorageDep = NamedDependency[Storage]
TokensDep = NamedDependency[Tokens]
CipherDep = NamedDependency[Cipher]
ThrottleDep = NamedDependency[Throttle]
WakeupsDep = NamedDependency[Wakeups]
SettingsDep = NamedDependency[Settings]
CallerDep = NamedDependency[Caller]
NowDep = NamedDependency[datetime]
LanguageDep = NamedDependency[str]
OperatorDep = NamedDependency[str]

# Values that no field takes: NUL, years beyond the calendar, bytes that are no UTF-8, nesting without end.
_UNREADABLE = (asyncpg.DataError, UnicodeDecodeError, RecursionError)
# Postgres is starting, switching over or busy; the same request may go through in a moment.
_PASSING = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.QueryCanceledError,
)
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 415: "unsupported_media_type"}


def used_with(tool: str, *, write: str = "standard") -> dict[str, str]:
    """The `opt` of a controller whose doors machines may use, by a key that has this tool: at level read for GET, at
    level `write` for the rest; by "any" tool where the door shows nothing but what the machine itself has done. Without
    it no machine may.
    """
    return {"tool": tool, "write": write}


class Page(msgspec.Struct, Generic[T]):
    """Part of a list; `next_cursor` asks for the part after it, None at the end."""

    items: list[T]
    next_cursor: str | None


def page(items: list[T], limit: int, place: Callable[[T], list[Any]]) -> Page[T]:
    """Cut a list that was read with one item too many into a page; `place` gives an item's position in the order."""
    more = len(items) > limit
    items = items[:limit]
    cursor = base64.urlsafe_b64encode(msgspec.json.encode(place(items[-1]))).decode() if more else None
    return Page(items, cursor)


def read_cursor(cursor: str | None, shape: type[T]) -> T | None:
    """The position that a cursor holds, of type `shape`.

    Raises Problem invalid for a cursor that is not one of ours.
    """
    if cursor is None:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cursor), type=shape)
    except (binascii.Error, ValueError, msgspec.DecodeError) as exc:
        raise Problem("invalid", "cursor is not one that we gave") from exc


def read_if_match(header: str | None) -> int | None:
    """The version that the caller has read and wants to change, by If-Match (RFC 9110 §13.1.1); None: whatever it is.

    Raises Problem if_match_needed without one (RFC 6585 §3), changed_meanwhile for what is no tag of ours.
    """
    if header is None:
        raise Problem("if_match_needed")
    if header.strip() == "*":
        return None
    tag = _TAG.fullmatch(header.strip())
    if tag is None:
        raise Problem("changed_meanwhile")
    return int(tag[1])


def tagged(body: T, version: int) -> Response[T]:
    """An answer with the version of what it shows as its ETag, for If-Match."""
    return Response(body, headers={"etag": f'"{version}"'})


class RequestId:
    """Gives every request an id, which its logs, its answer and its audit entries carry."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its id in `scope["state"]` and the answer's headers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        scope["state"]["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                others = [header for header in message["headers"] if header[0] != b"x-request-id"]
                message["headers"] = [*others, (b"x-request-id", request_id.encode())]
            async with asyncio.timeout(SEND_TIMEOUT_S):  # whoever doesn't read gives their place back
                await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self.app(scope, receive, send_with_id)


def tell_limits(message: Message, scope: Scope, settings: Settings) -> None:
    """Tell in an answer that begins how much of each limit is left, whether or not a route was found for it; who wasn't
    counted otherwise is counted by address.
    """
    if message["type"] != "http.response.start" or not scope["path"].startswith("/v1/"):
        return
    if "taken" not in scope["state"]:
        _count(Request(scope), [_from_address(Request(scope), settings)])
    told = [(name.encode(), value.encode()) for name, value in rates.headers(scope["state"]["taken"])]
    message["headers"] = [*message["headers"], *told]


def admit_stranger(request: Request[Any, Any, Any], settings: Settings) -> None:
    """Let a request in that nobody will be asked about, if not too many came from its address: one without a token, or
    to a door that asks for none, whatever it brings.

    Raises Problem too_many_requests.
    """
    asked = request.route_handler.parsed_fn_signature.parameters
    open_to_all = "caller" not in asked and "operator" not in asked
    if request.url.path.startswith("/v1/") and (open_to_all or "authorization" not in request.headers):
        _admit(request, [_from_address(request, settings)])


def check_address(request: Request[Any, Any, Any], settings: Settings) -> None:
    """Look, before a key is looked up, whether too many strangers came from its address already.

    Raises Problem too_many_requests.
    """
    limit, key = _from_address(request, settings)
    seen: rates.Rates = request.app.state.rates
    if limit.quota and not (taken := seen.look(limit, key)).allowed:
        request.scope["state"]["taken"] = [taken]
        raise Problem("too_many_requests", retry_after_s=taken.resets_in_s)


def count_refused(request: Request[Any, Any, Any], problem: Problem, settings: Settings) -> Problem:
    """Count by address who is refused before anybody knows them, and tell them so once that was too often."""
    try:
        if "taken" not in request.scope["state"]:
            _admit(request, [_from_address(request, settings)])
    except Problem as too_many:
        return too_many
    return problem


def admit_caller(request: Request[Any, Any, Any], who: str, tenant_id: UUID, settings: Settings) -> None:
    """Let a person or a machine in, if not too many requests came from them, and from their tenant.

    Raises Problem too_many_requests.
    """
    by_caller = Limits("requests-caller", settings.caller_requests, _MINUTE_S)
    by_tenant = Limits("requests-tenant", settings.tenant_requests, _MINUTE_S)
    _admit(request, [(by_caller, who), (by_tenant, str(tenant_id))])


def _from_address(request: Request[Any, Any, Any], settings: Settings) -> tuple[Limits, str]:
    return Limits("requests-address", settings.address_requests, _MINUTE_S), address(request, settings)


def _admit(request: Request[Any, Any, Any], counted: Sequence[tuple[Limits, str]]) -> None:
    refused = [taken for taken in _count(request, counted) if not taken.allowed]
    if refused:
        raise Problem("too_many_requests", retry_after_s=max(taken.resets_in_s for taken in refused))


def _count(request: Request[Any, Any, Any], counted: Sequence[tuple[Limits, str]]) -> list[rates.Taken]:
    count: rates.Rates = request.app.state.rates
    taken = [count.take(limit, key) for limit, key in counted if limit.quota]
    request.scope["state"]["taken"] = taken
    return taken


def request_id(request: Request[Any, Any, Any]) -> str:
    """The id of this request; one that reached no route gets its id here."""
    return str(request.scope["state"].setdefault("request_id", uuid.uuid4().hex))


def address(request: Request[Any, Any, Any], settings: Settings) -> str:
    """Where a request comes from: the last address that our own proxies have put down, of as many as there are. Several
    lines are one list (RFC 9110 §5.3). Of IPv6 it is the /64, which is what one subscriber gets: they have 2^64 in it.
    """
    lines = ",".join(request.headers.getall("x-forwarded-for", []))
    forwarded = [part.strip() for part in lines.split(",") if part.strip()]
    if 0 < settings.proxies <= len(forwarded):
        return _subscriber(forwarded[-settings.proxies])
    return _subscriber(request.client.host) if request.client else ""


def _subscriber(host: str) -> str:
    try:
        found = IPv6Address(host)
    except ValueError:  # IPv4, or what a proxy wrote in its place
        return host
    return str(found.ipv4_mapped or IPv6Network((int(found) >> 64 << 64, 64)))


async def caller(request: Request[Any, Any, Any], tokens: TokensDep, now: NowDep) -> Caller:
    """Who calls, by the bearer token.

    Raises Problem not_signed_in or token_expired.
    """
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        raise Problem("not_signed_in")
    return tokens.read_access(token.strip(), now=now, request_id=request_id(request))


async def operator(request: Request[Any, Any, Any], settings: SettingsDep) -> str:
    """The name of the operator who calls, by the bearer key; the settings hold only a hash of each.

    Raises Problem not_signed_in, always where no operator's key was set.
    """
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    given = hashlib.sha256(key.strip().encode()).hexdigest()
    for entry in settings.operator_keys.split(",") if kind.lower() == "bearer" else ():
        name, _, wanted = entry.strip().partition(":")
        if name and hmac.compare_digest(given, wanted.lower()):
            return name
    raise Problem("not_signed_in")


async def language(request: Request[Any, Any, Any]) -> str:
    """The language in which the caller reads."""
    return _language(request)


def _language(request: Request[Any, Any, Any]) -> str:
    return messages.pick_language(request.headers.get("accept-language"))


def problem_response(request: Request[Any, Any, Any], problem: Problem) -> Response[dict[str, Any]]:
    """A problem as application/problem+json."""
    headers = {"x-request-id": request_id(request)}
    if problem.kind.status in (429, 503):
        headers["retry-after"] = str(problem.facts.get("retry_after_s", 1))
    if problem.kind.status == 401:
        headers["www-authenticate"] = "Bearer"
    return Response(
        problem.body(_language(request)) | {"instance": request.url.path, "request_id": request_id(request)},
        status_code=problem.kind.status,
        media_type="application/problem+json",
        headers=headers | dict(problem.headers),
    )


def on_problem(request: Request[Any, Any, Any], exc: Problem, settings: Settings) -> Response[dict[str, Any]]:
    """Tell an expected failure; it is counted, not alarmed about."""
    _log.info("problem", code=exc.code, path=request.url.path)
    return problem_response(request, count_refused(request, exc, settings))


def on_http_exception(
    request: Request[Any, Any, Any], exc: HTTPException, settings: Settings
) -> Response[dict[str, Any]]:
    """Tell what Litestar itself refused, in our own words and codes: also that there is no such route."""
    return problem_response(request, count_refused(request, _translate(exc), settings))


def on_unexpected(request: Request[Any, Any, Any], exc: Exception) -> Response[dict[str, Any]]:
    """Tell what could not be stored, what to try again, or that something broke, without telling what."""
    if isinstance(exc, _UNREADABLE):
        return problem_response(request, Problem("invalid", "The request holds what can't be read or stored"))
    _log.error("unexpected_error", path=request.url.path, exc_info=exc)
    return problem_response(request, Problem("unavailable" if isinstance(exc, _PASSING) else "internal"))


def _translate(exc: HTTPException) -> Problem:
    if isinstance(exc, ValidationException):
        return Problem("invalid", _field_errors(exc))
    code = _CODES.get(exc.status_code, "bad_request" if exc.status_code < 500 else "internal")
    return Problem(code, exc.detail if code == "bad_request" else "")


def _field_errors(exc: ValidationException) -> str:
    extra: Any = exc.extra
    if not isinstance(extra, list):
        return exc.detail
    return "; ".join(f"{item.get('key', 'body')}: {item.get('message', '')}" for item in extra)
