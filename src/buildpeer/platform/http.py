"""HTTP conventions in one place: who calls, problem details, cursors.

Litestar stays in this file, in the modules' `http.py` and in `entrypoints/api`.
"""

import base64
import binascii
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import (
    ClientException,
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    SerializationException,
    ValidationException,
)
from litestar.params import Parameter
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from buildpeer.platform import messages
from buildpeer.platform.auth import Caller, Tokens
from buildpeer.platform.errors import Problem

T = TypeVar("T")
_log = structlog.get_logger()

Cursor = Annotated[str | None, Parameter(query="cursor", required=False, description="next_cursor of the page before")]
Limit = Annotated[int, Parameter(query="limit", ge=1, le=200, description="Most items to return")]
DEFAULT_LIMIT = 50


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
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self.app(scope, receive, send_with_id)


def request_id(request: Request[Any, Any, Any]) -> str:
    """The id of this request."""
    return str(request.scope["state"].get("request_id", ""))


async def caller(request: Request[Any, Any, Any], tokens: Tokens, now: datetime) -> Caller:
    """Who calls, by the bearer token.

    Raises Problem not_signed_in or token_expired.
    """
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        raise Problem("not_signed_in")
    return tokens.read_access(token.strip(), now=now, request_id=request_id(request))


async def language(request: Request[Any, Any, Any]) -> str:
    """The language in which the caller reads."""
    return messages.pick_language(request.headers.get("accept-language"))


def problem_response(request: Request[Any, Any, Any], problem: Problem) -> Response[dict[str, Any]]:
    """A problem as application/problem+json."""
    headers = {"www-authenticate": "Bearer"} if problem.kind.status == 401 else {}
    return Response(
        problem.body() | {"instance": request.url.path, "request_id": request_id(request)},
        status_code=problem.kind.status,
        media_type="application/problem+json",
        headers=headers,
    )


def on_problem(request: Request[Any, Any, Any], exc: Problem) -> Response[dict[str, Any]]:
    """Tell an expected failure; it is counted, not alarmed about."""
    _log.info("problem", code=exc.code, path=request.url.path)
    return problem_response(request, exc)


def on_http_exception(request: Request[Any, Any, Any], exc: HTTPException) -> Response[dict[str, Any]]:
    """Tell what Litestar itself refused, in our own words and codes."""
    return problem_response(request, _translate(exc))


def on_unexpected(request: Request[Any, Any, Any], exc: Exception) -> Response[dict[str, Any]]:
    """Tell that something broke, without telling what, and log all of it."""
    _log.error("unexpected_error", path=request.url.path, exc_info=exc)
    unavailable = isinstance(exc, OSError | TimeoutError)
    return problem_response(request, Problem("unavailable" if unavailable else "internal"))


def _translate(exc: HTTPException) -> Problem:
    if isinstance(exc, NotFoundException):
        return Problem("not_found")
    if isinstance(exc, MethodNotAllowedException):
        return Problem("method_not_allowed")
    if isinstance(exc, ValidationException):
        return Problem("invalid", _field_errors(exc))
    if isinstance(exc, SerializationException):
        return Problem("bad_request", exc.detail)
    if exc.status_code == 413:
        return Problem("body_too_large")
    if exc.status_code == 415:
        return Problem("unsupported_media_type")
    if isinstance(exc, ClientException):
        return Problem("bad_request", exc.detail)
    return Problem("internal")


def _field_errors(exc: ValidationException) -> str:
    extra: Any = exc.extra
    if not isinstance(extra, list):
        return exc.detail
    return "; ".join(f"{item.get('key', 'body')}: {item.get('message', '')}" for item in extra)


def parse_uuid(text: str) -> UUID | None:
    """A UUID, or None for text that is none."""
    try:
        return UUID(text)
    except ValueError:
        return None
