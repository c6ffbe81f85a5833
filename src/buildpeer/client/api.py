"""BuildPeer's HTTP API as typed calls that survive bad networks.

Every call here is safe to repeat, so each is repeated until it is answered or the patience ends. The sign-in
is kept fresh behind the caller's back: an access token lives 15 minutes, a push may take hours.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from typing import Any, Protocol, Self, TypeVar

import httpx
import msgspec

from buildpeer.client import sse
from buildpeer.client.errors import ApiError, ClientError, NetworkError, Patience, StaleError, retry_after_s
from buildpeer.client.ranges import Range
from buildpeer.client.shapes import (
    Claim,
    Manifest,
    NewUpload,
    Opened,
    Person,
    Problem,
    Project,
    Sent,
    Session,
    Tenant,
    Upload,
    Urls,
)

T = TypeVar("T")

_EARLY_S = 30.0  # a token that ends sooner than this is renewed before it is used
_QUIET_S = 45.0  # the event stream says something every 15 s; three times silent means dead
_OPEN = sse.Frame(type="open")
_TIMEOUT = httpx.Timeout(30.0, connect=10.0, write=60.0, pool=None)
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=120.0)


class _Tokens(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: float
    refresh_token: str
    person: Person
    tenant: Tenant

    def session(self) -> Session:
        return Session(self.access_token, self.refresh_token, time.time() + self.expires_in, self.person, self.tenant)


class _Projects(msgspec.Struct, frozen=True):
    items: list[Project]
    next_cursor: str | None = None


class _Results(msgspec.Struct, frozen=True):
    results: list[Opened]


class Keeper(Protocol):
    """Where a session lives between calls; `session.Store` keeps it on disk for several processes."""

    def load(self) -> Session | None:
        """The session kept last."""
        ...

    def save(self, session: Session) -> None:
        """Keep this one from now on."""
        ...

    def alone(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Hold this while renewing: two renewals at a time would end the session."""
        ...


class Memory:
    """Keeps a session for as long as the program runs."""

    def __init__(self, session: Session | None = None) -> None:
        self._session = session

    def load(self) -> Session | None:
        """See Keeper."""
        return self._session

    def save(self, session: Session) -> None:
        """See Keeper."""
        self._session = session

    def alone(self) -> contextlib.AbstractAsyncContextManager[None]:
        """See Keeper; within one Api a lock is held already."""
        return contextlib.nullcontext()


class Api:
    """One signed-in person's view of BuildPeer; use it as `async with Api(url, keeper=…) as api`.

    `credentials` (e-mail, password), if given, sign in again when the session has ended. Calls raise ApiError
    when the answer is no and NetworkError when there is none after all `patience`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        keeper: Keeper | None = None,
        credentials: tuple[str, str] | None = None,
        lang: str = "es",
        patience: Patience | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.lang = lang
        self.patience = patience or Patience()
        self._keeper: Keeper = keeper or Memory()
        self._credentials = credentials
        self._session = self._keeper.load()
        self._renewing = asyncio.Lock()
        headers = {"Accept-Language": lang, "User-Agent": "buildpeer-client"}
        self.tls = httpx.create_ssl_context()  # reading the trusted roots takes long enough to do it once
        self._http = httpx.AsyncClient(
            base_url=self.base_url, timeout=_TIMEOUT, headers=headers, limits=_LIMITS, verify=self.tls
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    @property
    def session(self) -> Session:
        """The present sign-in; ApiError `not_signed_in` if there is none."""
        if self._session is None:
            raise ApiError("not_signed_in", 401, "Not signed in")
        return self._session

    @property
    def email(self) -> str:
        """Who is signed in, or empty."""
        return self._session.person.email if self._session else ""

    async def sign_in(self, email: str, password: str) -> Session:
        """Start a session and keep it.

        ApiError `code_needed`, with the `challenge` for `complete_sign_in`, where it takes two steps.
        """
        body = {"email": email, "password": password}
        return await self._tokens("/v1/sessions", body)

    async def complete_sign_in(self, challenge: str, code: str) -> Session:
        """Start a session by the second step, and keep it.

        ApiError `code_wrong`, also when this very code was taken and only the reply was lost: the next one does it.
        """
        return await self._tokens("/v1/sessions/completion", {"challenge": challenge, "code": code})

    async def sign_out(self) -> None:
        """End the session on the server; ending one that has ended already is fine."""
        with contextlib.suppress(ApiError):
            await self._once("DELETE", "/v1/sessions/current", type(None), token=await self._token())

    async def projects(self) -> list[Project]:
        """Every project this person may see."""
        found: list[Project] = []
        cursor: str | None = None
        while True:
            params = {"limit": "100"} | ({"cursor": cursor} if cursor else {})
            page = await self._call("GET", "/v1/projects", _Projects, params=params)
            found += page.items
            cursor = page.next_cursor
            if not cursor:
                return found

    async def open_uploads(
        self, project_id: str, uploads: Sequence[NewUpload], *, chunk_length: int = 0
    ) -> list[Opened]:
        """Announce up to 1,000 files; the same ids give the same answer, so a lost reply costs nothing.

        With a `chunk_length` in bytes the answer permits the first chunks of files that are longer.
        """
        path = f"/v1/projects/{project_id}/uploads"
        body = {"uploads": uploads} | ({"chunk_length": chunk_length} if chunk_length else {})
        return (await self._call("POST", path, _Results, body=body)).results

    async def urls(self, upload_id: str, *, parts: Sequence[int] = (), chunks: Sequence[Range] = ()) -> Urls:
        """Fresh signed URLs of parts and chunks, up to 64 together; with neither, that of the whole file.

        ApiError `upload_closed` when no more bytes are needed.
        """
        body = {name: asked for name, asked in (("parts", parts), ("chunks", chunks)) if asked}
        return await self._call("POST", f"/v1/uploads/{upload_id}/urls", Urls, body=body)

    async def complete(self, upload_id: str) -> Upload:
        """Have what came in pieces joined; repeating it does no harm.

        ApiError `upload_incomplete` names what is `missing`; `upload_closed` says that it ended otherwise.
        """
        return await self._call("POST", f"/v1/uploads/{upload_id}/completion", Upload)

    async def cancel(self, upload_id: str) -> Upload:
        """Give up an upload that still awaits bytes; ApiError `upload_closed` when it doesn't."""
        return await self._call("POST", f"/v1/uploads/{upload_id}/cancellation", Upload)

    async def upload(self, upload_id: str) -> Upload:
        """The upload as it is now, and what of it has arrived."""
        return await self._call("GET", f"/v1/uploads/{upload_id}", Upload)

    async def manifest(self, claims: Sequence[Claim]) -> Manifest:
        """Which of these files, at most 2,000, are safe."""
        return await self._call("POST", "/v1/manifests", Manifest, body={"files": claims})

    async def progress(self, uploads: Sequence[Sent]) -> None:
        """Tell how far up to 200 uploads have come: once, since the next report says more than a repetition."""
        body = {"uploads": uploads}
        await self._once("POST", "/v1/progress", type(None), body=body, token=await self._token())

    async def events(
        self, *, last_id: str | None = None, on_link: Callable[[bool], None] = lambda up: None
    ) -> AsyncGenerator[sse.Frame]:
        """Every event from now on, or after `last_id`, for ever: cuts are mended by Last-Event-ID.

        `on_link` hears when the stream is open and when it was cut. Close it with `contextlib.aclosing`.
        """
        failures, retry_s = 0, 1.0
        while True:
            error: ClientError | None = None
            try:
                async with contextlib.aclosing(self._stream(last_id)) as frames:
                    async for frame in frames:
                        failures = 0
                        last_id = frame.id or last_id
                        retry_s = retry_s if frame.retry_ms is None else frame.retry_ms / 1000
                        if frame.data:
                            yield frame
                        elif frame == _OPEN:
                            on_link(True)
            except NetworkError as exc:
                error = exc
            except ApiError as exc:
                if not exc.passing:
                    raise
                error = exc
            on_link(False)
            failures += 1
            pause_s = self.patience.pause_s(min(failures, 8), error)
            await asyncio.sleep(retry_s if failures == 1 and error is None else pause_s)

    async def _stream(self, last_id: str | None) -> AsyncGenerator[sse.Frame]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        timeout = httpx.Timeout(_TIMEOUT.connect, read=_QUIET_S)
        for renewals_left in (2, 1, 0):
            token = await self._token()
            request = self._http.build_request("GET", "/v1/events", headers=headers, timeout=timeout)
            request.headers["Authorization"] = f"Bearer {token}"
            with _network_errors():
                response = await self._http.send(request, stream=True)
                try:
                    if response.status_code == 401 and renewals_left:
                        await self._renew(token)
                        continue
                    if response.status_code != 200:
                        await response.aread()
                        raise _refusal(response)
                    yield _OPEN
                    parser = sse.Parser()
                    async for data in response.aiter_bytes():
                        for frame in parser.feed(data):
                            yield frame
                    return
                finally:
                    await response.aclose()

    async def _call(
        self,
        method: str,
        path: str,
        reply: type[T],
        *,
        body: Any = None,
        params: dict[str, str] | None = None,
    ) -> T:
        async def once() -> T:
            return await self._once(method, path, reply, body=body, params=params, token=token)

        for renewals_left in (2, 1, 0):  # two: the token that another process got may have ended as well
            token = await self._token()
            try:
                return await self._patiently(once)
            except ApiError as error:
                if error.status != 401 or not renewals_left:
                    raise
            await self._renew(token)
        raise AssertionError("unreachable")

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        failures, refusals, began = 0, 0, time.monotonic()
        while True:
            try:
                return await attempt()
            except StaleError:
                continue  # that connection is gone, so this ends
            except NetworkError as exc:
                error: ClientError = exc
            except ApiError as exc:
                refusals += 1
                if not exc.passing or refusals >= self.patience.failures:
                    raise
                error = exc
            failures += 1
            if time.monotonic() - began >= self.patience.away_s:
                raise error
            await asyncio.sleep(self.patience.pause_s(failures, error))

    async def _once(
        self,
        method: str,
        path: str,
        reply: type[T],
        *,
        body: Any = None,
        params: dict[str, str] | None = None,
        token: str = "",
    ) -> T:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = msgspec.json.encode(body)
        fresh = False

        async def trace(event: str, _info: dict[str, Any]) -> None:
            nonlocal fresh
            fresh = fresh or event == "connection.connect_tcp.started"

        with _network_errors():
            try:
                response = await self._http.request(
                    method, path, params=params, content=content, headers=headers, extensions={"trace": trace}
                )
            except (httpx.NetworkError, httpx.RemoteProtocolError) as exc:
                if fresh:
                    raise
                raise StaleError(str(exc)) from exc
        if not response.is_success:
            raise _refusal(response)
        try:
            return msgspec.json.decode(response.content or b"null", type=reply)
        except msgspec.DecodeError as exc:
            raise NetworkError(f"{response.status_code}, but not BuildPeer's answer: {exc}") from exc

    async def _token(self) -> str:
        session = self.session
        if session.expires_at - _EARLY_S < time.time():
            await self._renew(session.access_token)
        return self.session.access_token

    async def _renew(self, stale: str) -> None:
        """Replace the access token `stale`, unless a task here or another process has done so meanwhile."""
        async with self._renewing, self._keeper.alone():
            kept = self._keeper.load()
            if kept and kept.person.person_id == self.session.person.person_id:
                self._session = kept
            if self.session.access_token == stale or self.session.expires_at - _EARLY_S < time.time():
                await self._refresh()

    async def _refresh(self) -> None:
        # repeated with the same token even if that was spent and only the reply was lost: for 60 s the server
        # answers with the same successor
        body = {"refresh_token": self.session.refresh_token}
        try:
            await self._tokens("/v1/tokens", body)
        except ApiError as error:
            if error.status != 401 or self._credentials is None:
                raise
            await self.sign_in(*self._credentials)

    async def _tokens(self, path: str, body: dict[str, str]) -> Session:
        reply = await self._patiently(lambda: self._once("POST", path, _Tokens, body=body))
        self._session = reply.session()
        self._keeper.save(self._session)
        return self._session


@contextlib.contextmanager
def _network_errors() -> Generator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise NetworkError(str(exc) or type(exc).__name__) from exc


def _refusal(response: httpx.Response) -> ApiError | NetworkError:
    try:
        problem = msgspec.json.decode(response.content, type=Problem)
    except msgspec.DecodeError:
        problem = Problem()  # a proxy's page
    status = response.status_code
    if not problem.code and status < 500 and status not in (408, 429):
        return NetworkError(f"{status}, but not BuildPeer's answer")  # a captive portal's, say
    return ApiError(
        problem.code or f"http_{status}",
        status,
        problem.title or response.reason_phrase or f"HTTP {status}",
        problem.detail or "",
        retry_after_s=retry_after_s(response.headers.get("Retry-After")),
        missing=problem.missing,
        challenge=problem.challenge,
    )
