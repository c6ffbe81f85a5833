"""A BuildPeer and its S3 on a loopback port, faithful to the API's contract, and as unreliable as a test asks.

It runs in a thread of its own, so that commands that start a loop themselves can be tested too. `faults` are
taken in order, one per matching request; see `Fault`.
"""

import asyncio
import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from buildpeer.client.ranges import CELL, Range, chunks, merged, total, without

ENDS = {"ready", "duplicate", "quarantined", "unscannable", "mismatched", "failed", "cancelled", "expired"}
REASONS = {"es": "Contiene un virus.", "pt": "Contém um vírus.", "en": "It contains a virus."}


@dataclass
class Fault:
    """What happens to the next `times` requests of this method whose path contains `path` and that `when` likes.

    how: `cut` drops the connection before anything is done, in the middle of the body if `after` bytes are given;
    `lost` does everything and drops the connection instead of answering; `hang` does and answers nothing (after
    taking `after` bytes: a link that fell silent); an int answers with that status.
    """

    method: str
    path: str
    how: str | int
    times: int = 1
    after: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = "text/html"
    when: Callable[["Request"], bool] = lambda request: True


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""
    connection: int = 0  # counted from 1
    taken: bool = False  # S3 holds it because of this request

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"{}")


class CutError(Exception):
    pass


@dataclass
class Reply:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def ok(value: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def problem(status: int, code: str, title: str, detail: str = "", **extra: Any) -> Reply:
    body = {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail} | extra
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/problem+json"})


class Fake:
    def __init__(self) -> None:
        self.code = ""  # that a sign-in takes as well
        self.projects = [
            {"project_id": "p-1", "name": "Torre Río Magdalena", "code": "TRM", "timezone": "America/Bogota"},
            {"project_id": "p-2", "name": "Edificio São João", "code": "ESJ", "timezone": "America/Sao_Paulo"},
        ]
        self.ends: dict[str, tuple[str, str | None]] = {}  # by file name: state and reason
        self.rejects: dict[str, tuple[str, str]] = {}  # by file name: code and detail
        self.poison: set[str] = set()  # names for which a whole call is refused with 400
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.uploads: dict[str, dict[str, Any]] = {}
        self.objects: dict[str, bytes] = {}
        self.expired_urls: set[str] = set()
        self.signed: dict[str, tuple[str, dict[str, str]]] = {}  # token in URL: upload id and headers
        self.part_size = 8 * 1024 * 1024
        self.bound: dict[str, str] = {}  # by upload id: the multipart upload that the server knows of
        self.multiparts: dict[str, dict[int, bytes]] = {}  # those that S3 knows of, and their parts
        self.chunks: dict[str, dict[Range, bytes]] = {}  # by upload id: what the bucket of chunks holds
        self.duplicates: set[str] = set()  # names of what the caller may read already
        self.accelerated = False  # whether URLs come with a second front door
        self.safe: set[str] | None = None  # names that a manifest calls safe; None: those that are ready
        self.progress: list[tuple[str, int]] = []  # upload ids and bytes, as reported
        self.rate = 0.0  # bytes a second that all PUTs together may bring; 0: as fast as can be
        self._clear_at = 0.0
        self.before_part: Callable[[Request], Awaitable[None]] | None = None  # called when its bytes are here
        self.before_join: Callable[[str], None] | None = None  # called with an upload id
        self.forgetful = False  # bodies of PUTs are counted, not kept, and nothing is compared with a hash
        self.log: list[tuple[int, dict[str, Any]]] = []
        self.silent = False  # events are written but never streamed
        self.loses_stored = set[str]()  # names of files of which S3 loses all, once, when it has all
        self.deaf = False  # nobody hears of what S3 holds, until completion is asked for
        self.connections = 0
        self.before_open: Callable[[], Awaitable[None]] | None = None
        self.stall = False  # what has arrived stays "stored"
        self.token_life_s = 900.0
        self.valid_access: dict[str, float] = {}
        self.successors: dict[str, dict[str, Any]] = {}
        self.refresh_now = ""
        self.counter = 0
        self.most_at_once = self.at_once = 0
        self.streams: set[asyncio.StreamWriter] = set()
        self.url = ""
        self._at_work: set[asyncio.Task[None]] = set()

    # running it

    @contextlib.contextmanager
    def running(self) -> Iterator["Fake"]:
        started = threading.Event()
        loop = asyncio.new_event_loop()
        self._loop = loop
        self._stop = asyncio.Event()
        self._news = asyncio.Condition()

        async def main() -> None:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            started.set()
            await self._stop.wait()
            server.close()
            while others := asyncio.all_tasks() - {asyncio.current_task()}:
                for task in others:
                    task.cancel()
                await asyncio.wait(others)

        thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
        thread.start()
        assert started.wait(10)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(self._stop.set)
            thread.join(10)
            loop.close()

    def cut_streams(self) -> None:
        """Cut every open event stream (from any thread)."""

        def cut() -> None:
            for writer in self.streams:
                writer.transport.abort()

        self._loop.call_soon_threadsafe(cut)

    # what tests ask

    def puts(self, name: str | None = None) -> list[Request]:
        return [
            r
            for r in self.requests
            if r.method == "PUT" and name in (None, self.uploads[self.signed[r.query["sig"]][0]]["name"])
        ]

    def parts_sent(self, name: str) -> list[int]:
        return [int(r.query["partNumber"]) for r in self.puts(name)]

    def calls(self, method: str, ending: str) -> list[Request]:
        return [r for r in self.requests if r.method == method and r.path.endswith(ending)]

    def by_name(self, name: str) -> list[dict[str, Any]]:
        return [u for u in self.uploads.values() if u["name"] == name]

    # HTTP

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while await self._one(reader, writer, number):
                pass
        except (CutError, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self.streams.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        path, _, query = target.partition("?")
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
        pairs = dict(p.partition("=")[::2] for p in query.split("&") if p)
        request = Request(method, path, pairs, headers, connection=number)
        assert "transfer-encoding" not in headers, "S3 takes no chunked bodies"
        fault = self._fault(request)
        length = int(headers.get("content-length", 0))
        self.at_once += method == "PUT"
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if fault and fault.how == "hang":
                await reader.readexactly(min(fault.after or 0, length))
                await self._stop.wait()  # held by us, or the task would be garbage
            if fault and fault.how == "cut":
                await reader.readexactly(min(fault.after or 0, length))
                raise CutError
            request.body = await self._body(request, reader, length)
            if self.before_part and pairs.keys() & {"partNumber", "offset"}:
                await self.before_part(request)
        finally:
            self.at_once -= method == "PUT"
        self.requests.append(request)
        if fault and isinstance(fault.how, int):
            headers = {"Content-Type": fault.content_type} | fault.headers
            reply = Reply(fault.how, fault.body or b"<html>sorry</html>", headers)
        elif path == "/v1/events":
            await self._stream(request, writer)
            return False
        else:
            reply = await self._answer(request)
        if fault and fault.how == "lost":
            raise CutError
        reply.headers["Content-Length"] = str(len(reply.body))
        out = f"HTTP/1.1 {reply.status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in reply.headers.items())
        writer.write(out.encode() + b"\r\n" + reply.body)
        await writer.drain()
        return True

    async def _body(self, request: Request, reader: asyncio.StreamReader, length: int) -> bytes:
        if request.method != "PUT" or not (self.forgetful or self.rate):
            return await reader.readexactly(length)
        pieces: list[bytes] = []
        while length:
            pieces.append(await reader.readexactly(min(length, 1 << 14)))
            length -= len(pieces[-1])
            if self.rate:
                now = asyncio.get_running_loop().time()
                self._clear_at = max(now, self._clear_at) + len(pieces[-1]) / self.rate
                await asyncio.sleep(self._clear_at - now)
        return b"" if self.forgetful else b"".join(pieces)

    def _fault(self, request: Request) -> Fault | None:
        for fault in self.faults:
            if fault.times and request.method == fault.method and fault.path in request.path and fault.when(request):
                fault.times -= 1
                return fault
        return None

    async def _answer(self, request: Request) -> Reply:
        match request.method, request.path.strip("/").split("/"):
            case "PUT", ["s3", upload_id, *_]:
                return await self._put(request, upload_id)
            case "POST", ["v1", "sessions"]:
                return self._sign_in(request)
            case "POST", ["v1", "sessions", "completion"]:
                if request.json["challenge"] != "first step":
                    return problem(401, "bad_credentials", "E-mail or password is wrong")
                if request.json["code"] != self.code:
                    return problem(401, "code_wrong", "The code is wrong or was used")
                return ok(self._session(), 201)
            case "POST", ["v1", "tokens"]:
                return self._refresh(request)
        if refused := self._unauthorized(request):
            return refused
        match request.method, request.path.strip("/").split("/"):
            case "DELETE", ["v1", "sessions", "current"]:
                self.refresh_now = "nobody's"
                return Reply(204, b"", {})
            case "GET", ["v1", "projects"]:
                start = int(request.query.get("cursor", 0))
                more = str(start + 1) if start + 1 < len(self.projects) else None
                return ok({"items": self.projects[start : start + 1], "next_cursor": more})
            case "POST", ["v1", "projects", project_id, "uploads"]:
                return await self._open(request, project_id)
            case "POST", ["v1", "uploads", upload_id, "urls"]:
                return await self._urls(upload_id, **request.json)
            case "POST", ["v1", "manifests"]:
                return self._manifest(request.json["files"])
            case "POST", ["v1", "progress"]:
                assert 1 <= len(request.json["uploads"]) <= 200
                self.progress += [(each["upload_id"], each["sent_bytes"]) for each in request.json["uploads"]]
                return Reply(204)
            case "POST", ["v1", "uploads", upload_id, "completion"]:
                return await self._complete(upload_id)
            case "POST", ["v1", "uploads", upload_id, "cancellation"]:
                return await self._cancel(upload_id)
            case "GET", ["v1", "uploads", upload_id]:
                if upload_id not in self.uploads:
                    return problem(404, "not_found", "Not found")
                upload = self.uploads[upload_id] | {"received": _told(self.received(upload_id))}
                if upload["reason"]:
                    upload["reason_text"] = REASONS[request.headers["accept-language"]]
                return ok(upload)
        return problem(404, "not_found", "Not found")

    # identity

    def _session(self) -> dict[str, Any]:
        self.counter += 1
        access, self.refresh_now = f"access-{self.counter}", f"refresh-{self.counter}"
        self.valid_access[access] = time.time() + self.token_life_s
        tenant = {"tenant_id": "t-1", "name": "Constructora Andes", "role": "engineer"}
        return {
            "access_token": access,
            "expires_in": 900,
            "refresh_token": self.refresh_now,
            "person": {"person_id": "me", "name": "Ana Ñáñez", "email": "ana@andes.co", "locale": "es"},
            "tenant": tenant,
            "tenants": [tenant],
        }

    def _sign_in(self, request: Request) -> Reply:
        if request.json != {"email": "ana@andes.co", "password": "secreto"}:
            return problem(401, "bad_credentials", "Wrong e-mail or password")
        if self.code:
            return problem(401, "code_needed", "A code is needed as well", challenge="first step")
        return ok(self._session(), 201)

    def _refresh(self, request: Request) -> Reply:
        token = request.json["refresh_token"]
        if token in self.successors:
            return ok(self.successors[token])
        if token != self.refresh_now:
            return problem(401, "session_ended", "The session has ended")
        self.successors[token] = self._session()
        return ok(self.successors[token])

    def _unauthorized(self, request: Request) -> Reply | None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.valid_access.get(token, 0) < time.time():
            return problem(401, "token_expired", "The token has expired")
        return None

    def expire_tokens(self) -> None:
        self.valid_access.clear()

    # uploads

    async def _open(self, request: Request, project_id: str) -> Reply:
        if project_id not in {p["project_id"] for p in self.projects}:
            return problem(404, "not_found", "No such project")
        asked = request.json["uploads"]
        assert 1 <= len(asked) <= 1000
        if self.before_open:
            await self.before_open()
        if self.poison & {u["name"] for u in asked}:
            return problem(400, "invalid_request", "Invalid request", "A name is too long.")
        results = [await self._open_one(u, project_id, n) for n, u in enumerate(asked)]
        length, left = request.json.get("chunk_length", 0), 50
        for result in results if length else ():
            upload = result["upload"]
            if upload and upload["state"] in ("requested", "receiving") and upload["size_bytes"] > length:
                result["chunks"] = self._first_chunks(upload["upload_id"], length, min(16, left))
                left -= len(result["chunks"])
                self.uploads[upload["upload_id"]]["state"] = upload["state"] = "receiving"
        return ok({"results": results})

    def _first_chunks(self, upload_id: str, length: int, most: int) -> list[dict[str, Any]]:
        everything = Range(0, self.uploads[upload_id]["size_bytes"])
        found = chunks([everything], size=everything.length, part=self.part_size, longest=length)[:most]
        places = [{"offset": each.offset, "length": each.length} for each in found]
        return [place | {"put": self._sign_chunk(upload_id, **place)} for place in places]

    async def _open_one(self, asked: dict[str, Any], project_id: str, n: int) -> dict[str, Any]:
        result: dict[str, Any] = {"upload_id": asked["upload_id"], "upload": None, "put": None, "problem": None}
        if asked["name"] in self.rejects:
            code, detail = self.rejects[asked["name"]]
            told = {"code": code, "status": 422, "title": "Rejected", "detail": detail}
            return result | {"verdict": "rejected", "problem": told}
        known = self.uploads.get(asked["upload_id"])
        if known and any(known[k] != asked[k] for k in asked):
            told = {"code": "upload_conflict", "status": 409, "title": "Conflict", "detail": None}
            return result | {"verdict": "conflict", "problem": told}
        if not known:
            self.uploads[asked["upload_id"]] = asked | {
                "project_id": project_id,
                "state": "requested",
                "reason": None,
                "reason_text": None,
                "lane": "live",
                "created_by": "me",
                "created_at": "2026-01-01T00:00:00Z",
                "updated_at": "2026-01-01T00:00:00Z",
                "verified": False,
                "document_id": None,
                "parts": self._parts(asked["size_bytes"]),
                "received": None,
            }
            await self._event(asked["upload_id"], "upload.opened")
        upload = self.uploads[asked["upload_id"]]
        if asked["name"] in self.duplicates:
            upload |= {"state": "duplicate", "document_id": "d-before"}
            return result | {"verdict": "duplicate", "upload": dict(upload)}
        wants = upload["state"] in ("requested", "receiving")
        put = self._sign(asked["upload_id"]) if wants and n < 50 and not upload["parts"] else None
        return result | {"verdict": "known" if known else "opened", "upload": dict(upload), "put": put}

    def _sign(self, upload_id: str) -> dict[str, Any]:
        token = f"s{len(self.signed)}"
        upload = self.uploads[upload_id]
        headers = {
            "if-none-match": "*",
            "content-length": str(upload["size_bytes"]),
            "content-type": upload["content_type"],
            "x-amz-checksum-sha256": upload["sha256"],
        }
        if len(self.signed) % 2:
            del headers["content-length"]  # a client must send it whether or not it is told to
        self.signed[token] = (upload_id, headers)
        return self._signed(f"{self.url}/s3/{upload_id}?sig={token}", headers)

    def _signed(self, url: str, headers: dict[str, str]) -> dict[str, Any]:
        accelerated = f"{url}&front=accelerated" if self.accelerated else None
        return {
            "method": "PUT",
            "url": url,
            "headers": headers,
            "expires_at": "2026-01-01T06:00:00Z",
            "accelerated_url": accelerated,
        }

    def _parts(self, size: int) -> dict[str, Any] | None:
        count = -(-size // self.part_size)
        return {"size": self.part_size, "count": count} if count > 1 else None

    def _part_length(self, upload_id: str, number: int) -> int:
        return min(self.part_size, self.uploads[upload_id]["size_bytes"] - (number - 1) * self.part_size)

    def received(self, upload_id: str) -> list[Range]:
        """What S3 holds of it: parts and chunks."""
        upload = self.uploads[upload_id]
        if upload["state"] not in ("requested", "receiving"):
            return [Range(0, upload["size_bytes"])]
        parts = self.multiparts.get(self.bound.get(upload_id, ""), {})
        whole = [Range((n - 1) * self.part_size, self._part_length(upload_id, n)) for n in parts]
        return merged([*whole, *self.chunks.get(upload_id, {})])

    async def _urls(self, upload_id: str, *, parts: Sequence[int] = (), chunks: Sequence[dict[str, int]] = ()) -> Reply:
        upload = self.uploads[upload_id]
        if upload["state"] not in ("requested", "receiving"):
            return problem(409, "upload_closed", "Closed")
        count = upload["parts"]["count"] if upload["parts"] else 0
        if not count and not parts and not chunks:
            return ok({"put": self._sign(upload_id), "parts": [], "chunks": []})
        good = all(1 <= n <= count for n in parts) and all(self._on_grid(upload, **chunk) for chunk in chunks)
        if not 1 <= len(parts) + len(chunks) <= 64 or not good:
            return problem(400, "invalid", "Invalid", "Name 1 to 64 parts or chunks on the grid")
        if count and upload_id not in self.bound:
            self.bound[upload_id] = f"m{len(self.multiparts)}"
            self.multiparts[self.bound[upload_id]] = {}
        if upload["state"] == "requested":
            upload["state"] = "receiving"
            await self._event(upload_id, "upload.changed")
        return ok(
            {
                "put": None,
                "parts": [{"part_number": n, "put": self._sign_part(upload_id, n)} for n in parts],
                "chunks": [chunk | {"put": self._sign_chunk(upload_id, **chunk)} for chunk in chunks],
            }
        )

    def _on_grid(self, upload: dict[str, Any], *, offset: int, length: int) -> bool:
        end, size = offset + length, upload["size_bytes"]
        one_part = offset // self.part_size == (end - 1) // self.part_size
        grid = offset % CELL == 0 and (length % CELL == 0 or end == size)
        return 0 <= offset < end <= size and 1 <= -(-length // CELL) <= 8 and grid and one_part

    def _sign_chunk(self, upload_id: str, *, offset: int, length: int) -> dict[str, Any]:
        token = f"s{len(self.signed)}"
        headers = {"if-none-match": "*", "content-length": str(length)}
        self.signed[token] = (upload_id, headers)
        return self._signed(f"{self.url}/s3/{upload_id}/chunk?offset={offset}&sig={token}", headers)

    def _manifest(self, claims: list[dict[str, str]]) -> Reply:
        assert 1 <= len(claims) <= 2000
        files = [self._claimed(claim) for claim in claims]
        return ok({"files": files, "safe": sum(f["verdict"] == "safe" for f in files), "total": len(files)})

    def _claimed(self, claim: dict[str, str]) -> dict[str, Any]:
        upload = self.uploads.get(claim["upload_id"])
        if upload is None:
            return {"upload_id": claim["upload_id"], "verdict": "missing", "state": None}
        state = upload["state"]
        if upload["sha256"] != claim["sha256"]:
            verdict = "different"
        elif state == "ready":
            verdict = "safe" if self.safe is None or upload["name"] in self.safe else "processing"
        else:
            verdict = (
                "refused" if state in ENDS else "arriving" if state in ("requested", "receiving") else "processing"
            )
        return {"upload_id": claim["upload_id"], "verdict": verdict, "state": state}

    def _sign_part(self, upload_id: str, number: int) -> dict[str, Any]:
        token = f"s{len(self.signed)}"
        headers = {"content-length": str(self._part_length(upload_id, number))}
        self.signed[token] = (upload_id, headers)
        bound = self.bound[upload_id]
        url = f"{self.url}/s3/{upload_id}?partNumber={number}&uploadId={bound}&sig={token}"
        return self._signed(url, headers)

    def lose_parts(self, upload_id: str, *numbers: int) -> None:
        """S3 has lost these parts, or without any the whole multipart upload."""
        for number in numbers:
            del self.multiparts[self.bound[upload_id]][number]
        if not numbers:
            del self.multiparts[self.bound[upload_id]]

    def lose_chunks(self, upload_id: str, *offsets: int) -> None:
        """The bucket has lost the chunks that hold these bytes."""
        held = self.chunks[upload_id]
        for offset in offsets:
            for chunk in [chunk for chunk in held if chunk.offset <= offset < chunk.end]:
                del held[chunk]

    async def _complete(self, upload_id: str) -> Reply:
        upload = self.uploads[upload_id]
        if upload["state"] in ENDS - {"ready"}:
            return problem(409, "upload_closed", "Closed", f"The upload is {upload['state']}")
        if upload["state"] in ("requested", "receiving"):
            if self.before_join:
                self.before_join(upload_id)
            held = self.multiparts.get(self.bound.get(upload_id, ""))
            if held is None:
                self.bound.pop(upload_id, None)
            everything = Range(0, upload["size_bytes"])
            whole = [everything] if upload_id in self.objects else []
            missing = without([everything], [*self.received(upload_id), *whole])
            if missing:
                detail = f"{total(missing)} bytes have not arrived"
                return problem(409, "upload_incomplete", "Incomplete", detail, missing=_told(missing))
            if upload["name"] in self.loses_stored:
                return await self._store_and_lose(upload_id)
            if not whole:
                self.objects[upload_id] = self._joined(upload_id)
            self.multiparts.pop(self.bound.get(upload_id, ""), None)
            upload["state"] = "stored"
            await self._event(upload_id, "upload.changed")
            self._start(upload_id, ("scanning", "deriving"))
        return ok(upload)

    async def _store_and_lose(self, upload_id: str) -> Reply:
        upload = self.uploads[upload_id]
        self.loses_stored.discard(upload["name"])
        answer = ok(upload | {"state": "stored", "updated_at": "2026-01-01T00:00:01Z"})
        for state, second in (("stored", 1), ("receiving", 2)):
            upload |= {"state": state, "updated_at": f"2026-01-01T00:00:0{second}Z"}
            await self._event(upload_id, "upload.changed")
        self.multiparts.pop(self.bound.pop(upload_id, ""), None)
        self.chunks.pop(upload_id, None)
        return answer

    def _joined(self, upload_id: str) -> bytes:
        if self.forgetful:
            return b""
        whole = bytearray(self.uploads[upload_id]["size_bytes"])
        for number, body in self.multiparts.get(self.bound.get(upload_id, ""), {}).items():
            start = (number - 1) * self.part_size
            whole[start : start + len(body)] = body
        for chunk, body in self.chunks.get(upload_id, {}).items():
            whole[chunk.offset : chunk.end] = body
        return bytes(whole)

    async def _cancel(self, upload_id: str) -> Reply:
        upload = self.uploads[upload_id]
        if upload["state"] in ("requested", "receiving"):
            self.multiparts.pop(self.bound.get(upload_id, ""), None)
            upload["state"] = "cancelled"
            await self._event(upload_id, "upload.changed")
        if upload["state"] != "cancelled":
            return problem(409, "upload_closed", "Closed", f"The upload is {upload['state']}")
        return ok(upload)

    async def _put(self, request: Request, upload_id: str) -> Reply:
        signed_id, headers = self.signed.get(request.query["sig"], ("", {}))
        right = signed_id == upload_id and all(request.headers.get(k) == v for k, v in headers.items())
        if not right or request.query["sig"] in self.expired_urls or "authorization" in request.headers:
            return _s3_error(403, "AccessDenied")
        if "partNumber" in request.query:
            held = self.multiparts.get(request.query["uploadId"])
            if held is None:
                return _s3_error(404, "NoSuchUpload")
            held[int(request.query["partNumber"])] = request.body
            request.taken = True
            return Reply(200, b"", {"ETag": '"x"'})
        if "offset" in request.query:
            chunk = Range(int(request.query["offset"]), int(headers["content-length"]))
            held_chunks = self.chunks.setdefault(upload_id, {})
            if chunk in held_chunks:
                return _s3_error(412, "PreconditionFailed")
            held_chunks[chunk] = request.body
            request.taken = True
            return Reply(200, b"", {"ETag": '"x"'})
        if upload_id in self.objects:
            return _s3_error(412, "PreconditionFailed")
        if not self._same(request.body, upload_id):
            return _s3_error(400, "BadDigest")
        self.objects[upload_id] = request.body
        request.taken = True
        if not self.deaf:
            self._start(upload_id, ("stored", "scanning", "deriving"))
        return Reply(200, b"", {"ETag": '"x"'})

    def _same(self, body: bytes, upload_id: str) -> bool:
        return self.forgetful or hashlib.sha256(body).hexdigest() == self.uploads[upload_id]["sha256"]

    def _start(self, upload_id: str, steps: tuple[str, ...]) -> None:
        self._at_work.add(asyncio.get_running_loop().create_task(self._pipeline(upload_id, steps)))

    async def _pipeline(self, upload_id: str, steps: tuple[str, ...]) -> None:
        upload = self.uploads[upload_id]
        end, reason = self.ends.get(upload["name"], ("ready", None))
        if not self._same(self.objects[upload_id], upload_id):
            end, reason = "mismatched", "hash_differs"
        for state in steps[:1] if self.stall else (*steps, end):
            upload["state"] = state
            if state in ENDS:
                upload["reason"] = reason
                upload["document_id"] = f"d-{upload_id}" if state == "ready" else None
            await self._event(upload_id, "upload.changed")

    # events

    async def _event(self, upload_id: str, kind: str) -> None:
        async with self._news:
            position = len(self.log) + 1
            upload = {k: v for k, v in self.uploads[upload_id].items() if k != "reason_text"}
            event = {
                "position": position,
                "type": kind,
                "occurred_at": "2026-01-01T15:04:05Z",
                "project_id": upload["project_id"],
                "upload": upload,
            }
            self.log.append((position, event))
            self._news.notify_all()

    async def _stream(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if refused := self._unauthorized(request):
            refused.headers["Content-Length"] = str(len(refused.body))
            out = f"HTTP/1.1 {refused.status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in refused.headers.items())
            writer.write(out.encode() + b"\r\n" + refused.body)
            await writer.drain()
            return
        seen = int(request.headers.get("last-event-id", len(self.log)))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        writer.write(b"retry: 10\n\n: ping\n\n")
        await writer.drain()
        self.streams.add(writer)
        while True:
            async with self._news:
                while len(self.log) <= seen or self.silent:
                    await self._news.wait()
                fresh = self.log[seen:]
            for position, event in fresh:
                data = json.dumps(event, ensure_ascii=False)
                writer.write(f"id: {position}\nevent: {event['type']}\ndata: {data}\n\n".encode())
                await writer.drain()
                seen = position


def _told(ranges: Sequence[Range]) -> list[dict[str, int]]:
    return [{"offset": each.offset, "length": each.length} for each in ranges]


def _s3_error(status: int, code: str) -> Reply:
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>no</Message></Error>'
    return Reply(status, body.encode(), {"Content-Type": "application/xml"})
