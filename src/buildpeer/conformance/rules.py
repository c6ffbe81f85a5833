"""The rules that hold on every network, judged from the traffic and from what the API says in the end."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from buildpeer.conformance.traffic import Exchange, Traffic

MOST_CONNECTIONS = 8
WASTE = 0.05  # of the files' bytes, beside one more sending of each piece that the network has disturbed
_HELD = frozenset(("ready", "duplicate"))


class Seen(msgspec.Struct, frozen=True):
    """What is judged.

    `files` are the SHA-256 (in hex) that each file may arrive with, `uploads` the API's views of them, by that hash;
    `exit_code` None: the client had to be stopped.
    """

    traffic: Traffic
    sizes: Sequence[int]
    files: Sequence[tuple[str, ...]]
    uploads: dict[str, list[dict[str, Any]]]
    exit_code: int | None
    excused: bool = False

    @property
    def sent(self) -> int:
        """Bytes of bodies that came to S3's door."""
        return sum(x.received for x in self.traffic.puts)

    @property
    def wasted(self) -> int:
        """Those beyond sending each file once, and each disturbed piece once more."""
        excused = sum(x.grant.length for x in self.traffic.puts if x.grant and (x.fault or self._doomed(x)))
        return max(0, self.sent - sum(self.sizes) - excused)

    def _doomed(self, x: Exchange) -> bool:
        """Whether S3 said of another part, while this one was on its way, that it knows no such upload."""
        told = (o for o in self.traffic.puts if o.status == 404 and x.began < o.ended <= x.ended)
        return any(o.grant and x.grant and o.grant.upload_id == x.grant.upload_id for o in told)


class Rule(msgspec.Struct, frozen=True):
    """A rule: its name, what it says, and what was seen against it."""

    name: str
    sentence: str
    broken_by: Callable[[Seen], Iterator[str]]


def _exit(seen: Seen) -> Iterator[str]:
    if seen.exit_code is None:
        yield "it did not end in time"
    elif seen.exit_code and not seen.excused:
        yield f"exit code {seen.exit_code}"


def _arrival(seen: Seen) -> Iterator[str]:
    for number, hashes in enumerate(seen.files, 1):
        states = [upload["state"] for sha256 in hashes for upload in seen.uploads.get(sha256, [])]
        if seen.excused and seen.exit_code and "mismatched" not in states:
            continue  # it says itself that something is missing
        if not any(state in _HELD for state in states):
            yield f"file {number} did not arrive: {', '.join(states) or 'never opened'}"


def _one_upload(seen: Seen) -> Iterator[str]:
    for sha256, uploads in seen.uploads.items():
        kept = [upload for upload in uploads if upload["state"] != "cancelled"]
        if len(kept) > 1:
            yield f"{len(kept)} uploads of {sha256[:8]}…"


def _authorization(seen: Seen) -> Iterator[str]:
    for x in _to_s3(seen):
        if "authorization" in x.headers or "cookie" in x.headers:
            yield f"{x.method} {x.path}"


def _given_urls(seen: Seen) -> Iterator[str]:
    yield from (f"{x.method} {x.path}" for x in _to_s3(seen) if x.grant is None)


def _headers(seen: Seen) -> Iterator[str]:
    for x in seen.traffic.puts:
        signed = x.grant.headers if x.grant else {}
        wrong = [name for name, value in signed.items() if x.headers.get(name) != value]
        unsigned = [name for name in x.headers if name.startswith(("x-amz-", "content-md5")) and name not in signed]
        chunked = ["transfer-encoding"] if "transfer-encoding" in x.headers else []
        if wrong or unsigned or chunked:
            yield f"PUT {x.path}: {', '.join([*wrong, *unsigned, *chunked])}"


def _connections(seen: Seen) -> Iterator[str]:
    if seen.traffic.most_connections > MOST_CONNECTIONS:
        yield f"{seen.traffic.most_connections} at a time"


def _waste(seen: Seen) -> Iterator[str]:
    if seen.wasted > WASTE * sum(seen.sizes):
        yield f"{seen.wasted} bytes sent again without need"


def _to_s3(seen: Seen) -> list[Exchange]:
    return [x for x in seen.traffic.exchanges if x.door == "s3"]


RULES = (
    Rule("exit", "The client ends by itself, with exit code 0", _exit),
    Rule("arrival", "Every file is ready in the end, with the hash of what was on disk", _arrival),
    Rule("one-upload", "A file is one upload, however often its opening is repeated", _one_upload),
    Rule("authorization", "Neither Authorization nor Cookie goes to S3", _authorization),
    Rule("given-urls", "Nothing but URLs that the API gave is called at S3", _given_urls),
    Rule("headers", "The signed headers go as they were given, with the very length, and no other x-amz-", _headers),
    Rule("connections", f"No more than {MOST_CONNECTIONS} connections to S3 at a time", _connections),
    Rule("waste", "Each byte goes once, and once more where its piece was disturbed; 5 % over is borne", _waste),
)
