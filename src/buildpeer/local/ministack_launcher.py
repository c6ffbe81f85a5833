"""Runs ministack inside ministack's own environment, with its open doors shut.

It is started by path with that environment's Python and imports nothing of ours. What it changes, each for a
reason found in ministack 1.5.33:

* It listens on loopback only (ministack's default is every interface).
* State is written every two seconds, each file whole or not at all. ministack itself writes it when it is
  stopped gracefully, so a kill would lose queues, rules, bucket settings and users.
* Administrative paths (`/_ministack/reset` erases the disk, unsigned) are refused; only a health check answers.
* A request must be signed, by header or presigned, in one way only. ministack does not verify header signatures
  of its root keys (its configured one, `test`, any 12 digits), so those need the admin token besides.
* "Object Created" on the bus names the object's version, as on AWS (ministack leaves it out).
* `events:source` reaches the policy check of PutEvents, so that only the scanner can publish verdicts here too.
* A read of a named version heeds `response-content-disposition` and its like (ministack does only for the newest).
* Queues are kept under a name without the port, so that another port on the next start finds them.
* Versions already on disk and published events are dropped from memory, where ministack keeps them for good.
* Start-up scripts and Docker clean-up, which reach out of the data directory, don't run.

Its environment is exactly what the stack passes (`buildpeer.local.aws`).
"""

import asyncio
import contextlib
import contextvars
import hashlib
import hmac
import importlib
import json
import logging
import os
import re
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

HEALTH_PATH = "/_ministack/health"
ADMIN_HEADER = b"x-buildpeer-admin"
SAVE_EVERY_S = 2.0

_ISSUED_KEY = re.compile(r"A(?:KI|SI)A[A-Z0-9]{16}")
_SIGNED_HEADER = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/, ]+)/\d{8}/[a-z0-9-]+/[a-z0-9-]+/aws4_request, ?"
    r"SignedHeaders=[a-z0-9;-]+, ?Signature=[0-9a-f]{64}"
)
_SIGNED_SCOPE = re.compile(r"([^/]+)/\d{8}/[a-z0-9-]+/s3/aws4_request")
_CREDENTIALS = {"x-amz-algorithm", "x-amz-credential", "x-amz-signature", "awsaccesskeyid", "signature"}

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger("buildpeer.ministack")


def refusal(scope: Scope, admin_token: str) -> str | None:
    """Why this HTTP request may not reach ministack, or None when it may (ministack then checks the signature)."""
    if scope["path"].lstrip("/").startswith("_"):
        return "administrative paths are closed"
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if scope["method"] == "OPTIONS":
        return None  # a browser's preflight is never signed; the bucket's CORS rules answer it
    key = _signing_key(headers, scope["query_string"].decode("latin-1"))
    if key is None:
        return "the request is not signed in exactly one way"
    if _ISSUED_KEY.fullmatch(key) and key != os.environ["AWS_ACCESS_KEY_ID"]:
        return None
    given = [value for name, value in headers if name.lower() == ADMIN_HEADER]
    if len(given) == 1 and hmac.compare_digest(given[0], admin_token.encode()):
        return None
    return "this key is not one of a user"


def _signing_key(headers: list[tuple[bytes, bytes]], query_string: str) -> str | None:
    """The key of the one signature the request carries; None without any, or with a second one to hide behind."""
    signed = [value.decode("latin-1") for name, value in headers if name.lower() == b"authorization"]
    found = [pair for pair in parse_qsl(query_string, keep_blank_values=True) if pair[0].lower() in _CREDENTIALS]
    if len(signed) == 1 and not found:
        match = _SIGNED_HEADER.fullmatch(signed[0])
        return match[1] if match else None
    query = dict(found)
    if signed or len(found) != 3 or set(query) != {"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature"}:
        return None
    match = _SIGNED_SCOPE.fullmatch(query["X-Amz-Credential"])
    return match[1] if match and query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256" else None


def guarded(app: App, admin_token: str, started: asyncio.Event) -> App:
    """Wrap ministack's application with the rules above; sets `started` once its saved state is loaded."""

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":

            async def note_start(message: dict[str, Any]) -> None:
                await send(message)
                if message["type"] == "lifespan.startup.complete":
                    started.set()

            await app(scope, receive, note_start)
        elif scope["type"] != "http":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif scope["path"] == HEALTH_PATH and scope["method"] == "GET":
            await _answer(send, 200, "text/plain", "ok")
        elif reason := refusal(scope, admin_token):
            error = f"<Error><Code>AccessDenied</Code><Message>{reason}</Message></Error>"
            await _answer(send, 403, "application/xml", error)
        else:
            await app(scope, receive, send)

    return guard


async def _answer(send: Send, status: int, kind: str, text: str) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


class Saver:
    """Writes each service's state to `directory` when it has changed since the last time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._written: dict[str, bytes] = {}
        self._ministack: Any = importlib.import_module("ministack.app")
        self._persistence: Any = importlib.import_module("ministack.core.persistence")
        self._events: Any = importlib.import_module("ministack.services.eventbridge")
        directory.mkdir(parents=True, exist_ok=True)

    def changed(self) -> dict[str, bytes]:
        """The states that differ from what is on disk, taken at one moment of the event loop."""
        # Nothing reads this log and nothing else empties it.
        self._events._events_log.clear()
        found: dict[str, bytes] = {}
        for name, get_state in self._ministack._build_persistence_save_dict().items():
            # Bucket events arrive from threads and may change a dict under our hands; the next round gets it.
            with contextlib.suppress(RuntimeError):
                state = get_state()
                if state is not None:
                    text = self._encode(name, state)
                    if self._written.get(name) != hashlib.sha256(text).digest():
                        found[name] = text
        return found

    def write(self, states: dict[str, bytes]) -> None:
        """Replace the file of each service; a crash leaves the old one or the new one."""
        for name, text in states.items():
            path = self._directory / f"{name}.json"
            fresh = path.with_suffix(".new")
            with fresh.open("wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
            self._written[name] = hashlib.sha256(text).digest()

    def _encode(self, name: str, state: object) -> bytes:
        version = self._persistence._state_format_version(name)
        wrapped = {"__ministack_format__": version, "payload": state}
        return json.dumps(wrapped, default=self._persistence._json_default).encode()


async def save_until(stop: asyncio.Event, saver: Saver) -> None:
    """Save every `SAVE_EVERY_S` seconds, and once more when `stop` is set."""
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), SAVE_EVERY_S)
        try:
            await asyncio.to_thread(saver.write, saver.changed())
        except Exception:
            log.exception("state not saved; trying again")


def close_doors() -> None:
    """Change in ministack's modules what no setting changes; see the module's docstring."""
    ministack: Any = importlib.import_module("ministack.app")
    ministack._collect_scripts = _no_scripts
    ministack._stop_docker_containers = _leave_containers
    s3 = importlib.import_module("ministack.services.s3")
    _forget_saved_bodies(s3)
    _heed_overrides_of_versions(s3)
    _name_versions_in_events(s3, importlib.import_module("ministack.services.eventbridge"))
    _show_event_sources(importlib.import_module("ministack.core.iam_actions"))
    # Callers still get addresses with the host and port at which they asked.
    sqs: Any = importlib.import_module("ministack.services.sqs")
    sqs.DEFAULT_HOST, sqs.DEFAULT_PORT, sqs._CANONICAL_NETLOC = "localhost", "4566", "localhost:4566"


def _no_scripts(*_directories: str) -> list[str]:
    return []


def _leave_containers(*_args: object, **_kwargs: object) -> None:
    pass


def _forget_saved_bodies(s3: Any) -> None:
    persist = s3._persist_object

    def persist_and_forget(bucket: str, key: str, obj: Any) -> None:
        persist(bucket, key, obj)
        if not isinstance(obj, dict) or obj.get("body") is not None:
            return  # not on disk: memory has the only copy
        for version in s3._object_versions.get((bucket, key)) or []:
            if version["version_id"] == obj.get("version_id"):
                version["data"] = None

    s3._persist_object = persist_and_forget


def _heed_overrides_of_versions(s3: Any) -> None:
    get_object = s3._get_object

    def get_with_overrides(bucket: str, key: str, headers: Any, query: Any = None) -> Any:
        status, answered, body = get_object(bucket, key, headers, query)
        if status == 200 and query and "versionId" in query:
            s3._apply_response_overrides(answered, query)
        return status, answered, body

    s3._get_object = get_with_overrides


def _name_versions_in_events(s3: Any, eventbridge: Any) -> None:
    fire, dispatch = s3._fire_s3_event, eventbridge._dispatch_event
    current: contextvars.ContextVar[str | None] = contextvars.ContextVar("version_id", default=None)

    def fire_naming(*args: object, **kwargs: Any) -> None:
        current.set(kwargs.get("version_id"))  # each event has a thread and a context of its own
        fire(*args, **kwargs)

    def dispatch_naming(event: dict[str, Any], view: object = None) -> None:
        if event.get("Source") == "aws.s3" and (version := current.get()):
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = version
            event, view = {**event, "Detail": json.dumps(detail)}, None
        dispatch(event, view)

    s3._fire_s3_event = fire_naming
    eventbridge._dispatch_event = dispatch_naming


def _show_event_sources(iam_actions: Any) -> None:
    request_context = iam_actions.request_tag_context

    def with_sources(service: str, action: str, body: bytes, params: dict[str, Any]) -> dict[str, Any]:
        context = request_context(service, action, body, params)
        if action == "events:PutEvents":
            # A body that can't be read gives no sources, and a condition on them then refuses it.
            with contextlib.suppress(ValueError, TypeError, AttributeError, KeyError):
                context["events:source"] = [entry.get("Source", "") for entry in json.loads(body)["Entries"]]
        return context

    iam_actions.request_tag_context = with_sources


async def serve(admin_token: str) -> None:
    """Serve until SIGTERM or SIGINT."""
    ministack: Any = importlib.import_module("ministack.app")
    hypercorn: Any = importlib.import_module("hypercorn.asyncio")
    config: Any = importlib.import_module("hypercorn.config").Config()
    config.bind = [f"127.0.0.1:{os.environ['GATEWAY_PORT']}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    config.loglevel = os.environ["LOG_LEVEL"]
    stop, saved, started = asyncio.Event(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    async def save() -> None:
        # Saving before the old state is loaded would put emptiness in its place.
        await started.wait()
        await save_until(stop, Saver(Path(os.environ["STATE_DIR"])))
        # Whoever waits for a message now is cut off, which asyncio would report as errors.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        saved.set()

    saving = asyncio.create_task(save())
    app = guarded(ministack.app, admin_token, started)
    await hypercorn.serve(app, config, shutdown_trigger=saved.wait, mode="asgi")
    saving.cancel()


def main() -> None:
    """Start; the admin token leaves the environment before ministack could hand it to anybody."""
    admin_token = os.environ.pop("BUILDPEER_ADMIN_TOKEN")
    if len(admin_token) < 32:
        raise SystemExit("BUILDPEER_ADMIN_TOKEN is too short")
    close_doors()
    asyncio.run(serve(admin_token))


if __name__ == "__main__":
    main()
