"""What the API and this client say to each other."""

from datetime import datetime
from typing import Literal

import msgspec

from buildpeer.client import sse
from buildpeer.client.ranges import Range

ENDS = frozenset(("ready", "duplicate", "quarantined", "unscannable", "mismatched", "failed", "cancelled", "expired"))
_STEPS = ("requested", "receiving", "stored", "scanning", "deriving")


class Person(msgspec.Struct, frozen=True):
    """Who is signed in."""

    person_id: str
    name: str
    email: str
    locale: str = ""


class Tenant(msgspec.Struct, frozen=True):
    """The company they work in now, and as what."""

    tenant_id: str
    name: str
    role: str


class Session(msgspec.Struct, frozen=True):
    """A sign-in with its tokens, which no repr shows; `expires_at` in seconds of this machine's clock."""

    access_token: str
    refresh_token: str
    expires_at: float
    person: Person
    tenant: Tenant

    def __repr__(self) -> str:
        return f"Session({self.person.email}, {self.tenant.name})"


class Project(msgspec.Struct, frozen=True):
    """A building site that this person may see."""

    project_id: str
    name: str
    code: str = ""
    timezone: str = ""


class NewUpload(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is said of a file before it is sent: `upload_id` a UUIDv7 of ours, `sha256` in hex, `captured_at` with its
    zone.
    """

    upload_id: str
    kind: str
    name: str
    size_bytes: int
    content_type: str
    sha256: str
    captured_at: datetime | None = None


class Parts(msgspec.Struct, frozen=True):
    """How a big file is kept: `count` parts of `size` bytes, the last one shorter."""

    size: int
    count: int


class Upload(msgspec.Struct, frozen=True):
    """A file's life on the server. `reason_text` is for people, in their language; events come without it."""

    upload_id: str
    project_id: str
    name: str
    size_bytes: int
    state: str
    kind: str = ""
    content_type: str = ""
    sha256: str = ""
    reason: str | None = None
    reason_text: str | None = None
    lane: str = ""
    created_by: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    verified: bool = False
    document_id: str | None = None
    parts: Parts | None = None  # None: it is one part
    received: list[Range] | None = None  # what S3 holds; None where nobody looked: only `Api.upload` has it

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDS

    @property
    def arrived(self) -> bool:
        """Whether the server needs no more bytes of it."""
        return self.state not in ("requested", "receiving")

    def newer_than(self, other: "Upload | None") -> bool:
        """Whether this is later news: states only ever go forward, however late a message comes. But when S3 has lost
        bytes that were there, an upload is `receiving` again.
        """
        return other is None or self._rank > other._rank or self.reopened_since(other)

    def reopened_since(self, other: "Upload") -> bool:
        """Whether the server has found since then that S3 has lost bytes, which have to be sent again."""
        times = self.updated_at, other.updated_at
        back = (other.state, self.state) == ("stored", "receiving")
        return back and times[0] is not None and times[1] is not None and times[0] > times[1]

    @property
    def _rank(self) -> int:
        if self.ended:
            return len(_STEPS)
        return _STEPS.index(self.state) if self.state in _STEPS else len(_STEPS) - 1


class Put(msgspec.Struct, frozen=True):
    """Permission to write one key, or a part of one: exactly these headers, until `expires_at`.

    `accelerated_url` is another way to the same place, where there is one.
    """

    method: str
    url: str
    headers: dict[str, str]
    expires_at: datetime
    accelerated_url: str | None = None

    def __repr__(self) -> str:
        return f"Put(until {self.expires_at})"  # the URL is a secret while it lives


class Problem(msgspec.Struct, frozen=True):
    """An RFC 9457 problem, as in `application/problem+json`."""

    code: str = ""
    status: int = 0
    title: str = ""
    detail: str | None = None
    missing: list[Range] = []
    challenge: str = ""


class Opened(msgspec.Struct, frozen=True):
    """The verdict on one NewUpload; `put` only for the first 50 of a call that still need bytes.

    `chunks`: permission for the first chunks, where the call asked for them.
    """

    upload_id: str
    verdict: Literal["opened", "known", "duplicate", "conflict", "rejected"]
    upload: Upload | None = None
    put: Put | None = None
    chunks: list["ChunkPut"] = []
    problem: Problem | None = None


class Event(msgspec.Struct, frozen=True):
    """One entry of the live log."""

    position: int | str
    type: str
    occurred_at: datetime
    project_id: str | None = None
    upload: Upload | None = None


class Urls(msgspec.Struct, frozen=True):
    """What was signed: the whole file, parts of it, chunks of it."""

    put: Put | None = None
    parts: list["PartPut"] = []
    chunks: list["ChunkPut"] = []


class PartPut(msgspec.Struct, frozen=True):
    """Permission to write one part, counted from 1."""

    part_number: int
    put: Put


class ChunkPut(msgspec.Struct, frozen=True):
    """Permission to write these bytes."""

    offset: int
    length: int
    put: Put


class Claim(msgspec.Struct, frozen=True):
    """A file of which its owner asks whether it is safe: `sha256` in hex."""

    upload_id: str
    sha256: str


class Answer(msgspec.Struct, frozen=True):
    """What became of a claimed file; only `safe` means that our own hash of what S3 holds is the one claimed."""

    upload_id: str
    verdict: str
    state: str | None = None


class Manifest(msgspec.Struct, frozen=True):
    """The answers to claims, and how many are safe."""

    files: list[Answer]
    safe: int
    total: int


class Sent(msgspec.Struct, frozen=True):
    """How many bytes of an upload have arrived."""

    upload_id: str
    sent_bytes: int


def event_of(frame: sse.Frame) -> Event | None:
    """The event in a frame; None for a kind that this client doesn't understand."""
    try:
        return msgspec.json.decode(frame.data, type=Event)
    except msgspec.DecodeError:
        return None
