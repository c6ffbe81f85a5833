"""Pure rules of uploads: limits, names, and the state that follows from the facts."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec

from buildpeer.facts import FileDerived, Verdict
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import is_uuid7

Kind = Literal["plan", "photo", "report"]
State = Literal[
    "requested",
    "receiving",
    "stored",
    "scanning",
    "deriving",
    "ready",
    "duplicate",
    "quarantined",
    "unscannable",
    "mismatched",
    "failed",
    "cancelled",
    "expired",
]
ENDS: frozenset[str] = frozenset(
    ("ready", "duplicate", "quarantined", "unscannable", "mismatched", "failed", "cancelled", "expired")
)
AWAITING_BYTES: frozenset[str] = frozenset(("requested", "receiving"))

MAX_BATCH = 1000
URLS_PER_BATCH = 50
MIB = 1024 * 1024
PART_SIZE = 8 * MIB  # bytes; a file up to this travels whole, a larger one in parts of this
SIZE_LIMITS: dict[str, int] = {"plan": 200 * MIB, "photo": 50 * MIB, "report": 100 * MIB}
URLS_PER_CALL = 64
BUSY_TENANT = 50  # open uploads above which a tenant's next ones travel in the bulk lane

FIRST_CHECK = timedelta(seconds=30)
SLOWEST_CHECK = timedelta(hours=1)
IDLE_LIFE = timedelta(days=7)
MAX_REDRIVES = 10

_CONTENT_TYPE = re.compile(r"[\w.+-]{1,100}/[\w.+-]{1,100}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")


class NewUpload(msgspec.Struct, frozen=True):
    """What a client declares of a file that it wants to send; `sha256` in hex, `size_bytes` in bytes."""

    upload_id: UUID
    kind: Kind
    name: str
    size_bytes: int
    content_type: str
    sha256: str

    @property
    def digest(self) -> bytes:
        """The declared SHA-256 as 32 bytes."""
        return bytes.fromhex(self.sha256)


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """An upload as the database has it."""

    tenant_id: UUID
    upload_id: UUID
    project_id: UUID
    created_by: UUID
    kind: Kind
    name: str
    size_bytes: int
    content_type: str
    sha256: bytes
    lane: Literal["live", "bulk"]
    bucket: str
    key: str
    state: State = "requested"
    reason: str = ""
    multipart_id: str | None = None
    version_id: str | None = None
    verdict: Verdict | None = None
    scan_reason: str = ""
    scanner: str | None = None
    derived: FileDerived | None = None
    created_at: datetime
    updated_at: datetime
    redrives: int = 0


class Place(msgspec.Struct, frozen=True):
    """Whom an object's key concerns."""

    lane: str
    tenant_id: UUID
    upload_id: UUID

    @property
    def key(self) -> str:
        """The key: ids only, never a name that a person typed, led by the lane that routes it."""
        return f"{self.lane}/{self.tenant_id}/{self.upload_id}"


def place_of(key: str) -> Place:
    """Read a key of the uploads bucket.

    Raises ValueError for a key that is not one of ours.
    """
    lane, tenant_id, upload_id = key.split("/")
    place = Place(lane, UUID(tenant_id), UUID(upload_id))
    if place.key != key:
        raise ValueError(f"not a key of ours: {key!r}")
    return place


def check_new(new: NewUpload) -> None:
    """Raises the Problem of the first thing that is wrong with a declared file."""
    if not is_uuid7(new.upload_id):
        raise Problem("id_invalid")
    check_name(new.name)
    if new.size_bytes <= 0:
        raise Problem("file_empty")
    limit = SIZE_LIMITS[new.kind]
    if new.size_bytes > limit:
        raise Problem("file_too_large", limit_mib=limit // MIB)
    if not _CONTENT_TYPE.fullmatch(new.content_type):
        raise Problem("invalid", "content_type must look like image/jpeg")
    if not _SHA256.fullmatch(new.sha256):
        raise Problem("invalid", "sha256 must be 64 lower-case hex digits")


def check_name(name: str) -> None:
    """Any letter of any script may stand in a name, composed or not; what could mislead a file system may not.

    Raises Problem name_invalid.
    """
    if not name.strip() or len(name) > 255:
        raise Problem("name_invalid")
    if name in (".", "..") or "/" in name or "\\" in name:
        raise Problem("name_invalid")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise Problem("name_invalid")


def same_content(upload: Upload, new: NewUpload, *, project_id: UUID, person_id: UUID) -> bool:
    """Whether a repeated call asks for just what the first one did."""
    return (
        upload.project_id == project_id
        and upload.created_by == person_id
        and upload.kind == new.kind
        and upload.name == new.name
        and upload.size_bytes == new.size_bytes
        and upload.content_type == new.content_type
        and upload.sha256 == new.digest
    )


def part_count(size_bytes: int) -> int:
    """Into how many parts a file goes; a file of one part travels whole."""
    return -(-size_bytes // PART_SIZE)


def part_length(size_bytes: int, number: int) -> int:
    """How many bytes part `number` (from 1) has: all PART_SIZE, but for the last.

    Raises Problem invalid for a part that the file doesn't have.
    """
    if not 1 <= number <= part_count(size_bytes):
        raise Problem("invalid", f"The file has parts 1 to {part_count(size_bytes)}, not {number}")
    return min(PART_SIZE, size_bytes - (number - 1) * PART_SIZE)


def received_parts(size_bytes: int, held: Mapping[int, int]) -> list[int]:
    """The parts that S3 holds whole, of `held` {number: bytes}; one of another length counts as not there."""
    numbers = range(1, part_count(size_bytes) + 1)
    return [number for number in numbers if held.get(number) == part_length(size_bytes, number)]


def learn(upload: Upload, **facts: Any) -> Upload:
    """The upload with a fact added and its state settled; the same upload when nothing changes.

    Facts may come in any order and any number of times: what is known stays (but "infected" replaces any other
    verdict), and the state is a function of what is known. An upload that has ended learns nothing more.
    """
    if upload.state in ENDS:
        return upload
    if facts.get("verdict") == "infected" != upload.verdict:
        upload = msgspec.structs.replace(upload, verdict=None, scan_reason="", scanner=None)
    unknown = (None, "")
    news = {name: value for name, value in facts.items() if value not in unknown and getattr(upload, name) in unknown}
    if not news:
        return upload
    known = msgspec.structs.replace(upload, **news)
    state, reason = _settle(known)
    return msgspec.structs.replace(known, state=state, reason=reason)


def _settle(upload: Upload) -> tuple[State, str]:  # noqa: PLR0911 - one line per state
    if upload.version_id is None:
        return upload.state, upload.reason
    if upload.verdict is None:
        return "scanning", ""
    if upload.verdict == "infected":
        return "quarantined", "infected"
    if upload.verdict == "unscannable":
        return "unscannable", upload.scan_reason or "unscannable"
    if upload.derived is None:
        return "deriving", ""
    if upload.derived.sha256 != upload.sha256.hex():
        return "mismatched", "hash_differs"
    return "ready", upload.derived.reason


def check_pictures(upload: Upload, *, version_id: str, derived: FileDerived | None = None, **_others: Any) -> None:
    """Raises ValueError unless the pictures lie where derive puts those of this very version.

    The worker signs downloads of them later, so a derive that a hostile file took over must not name another's.
    """
    place = f"{upload.key}/{version_id}/"
    for picture in (derived.thumbnail, derived.preview) if derived else ():
        if picture is not None and (picture.bucket == upload.bucket or not picture.key.startswith(place)):
            raise ValueError(f"{picture.bucket}/{picture.key} is no picture of {upload.key}")


def next_check(state: str, *, redrives: int, now: datetime) -> datetime | None:
    """When the sweeper looks at an upload again if nothing happens: ever more seldom, never once it has ended."""
    if state in ENDS:
        return None
    return now + min(FIRST_CHECK * 2 ** min(redrives, 10), SLOWEST_CHECK)
