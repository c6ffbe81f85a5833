"""Pure rules of uploads: limits, names, and the state that follows from the facts."""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec

from buildpeer.facts import FileDerived, Verdict
from buildpeer.layout import MIB, Range, check_chunk, part_count, part_range
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
KEEPS_NOTHING: frozenset[str] = frozenset(("duplicate", "cancelled", "expired"))  # what comes later, nobody needs
Judgement = Literal["safe", "arriving", "processing", "missing", "different", "refused"]

MAX_BATCH = 1000
URLS_PER_BATCH = 50
CHUNKS_PER_FILE = 16  # of a batch: one file does not take them all
SIZE_LIMITS: dict[str, int] = {"plan": 200 * MIB, "photo": 50 * MIB, "report": 100 * MIB}
URLS_PER_CALL = 64
BUSY_TENANT = 50  # open uploads above which a tenant's next ones travel in the bulk lane

FIRST_CHECK = timedelta(seconds=10)  # after a step; one takes a second or two when nothing stands in line
SLOWEST_CHECK = timedelta(hours=1)
SLOWEST_CHECK_IN_LINE = timedelta(minutes=1)
FIRST_LOOK = timedelta(minutes=1)
IDLE_LIFE = timedelta(days=7)  # without a byte or a call
LIFE = timedelta(days=14)  # of an upload whose bytes don't become whole
MAX_REDRIVES = 12  # four hours and a half
STALLED_AFTER = timedelta(seconds=60)
PROGRESS_TOLD_EVERY = timedelta(seconds=2)
MAX_PROGRESS = 200  # uploads in one report of progress
MAX_MANIFEST = 2000  # files in one manifest

_CONTENT_TYPE = re.compile(r"[\w.+-]{1,100}/[\w.+-]{1,100}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")


class NewUpload(msgspec.Struct, frozen=True):
    """What a client declares of a file that it wants to send; `sha256` in hex, `size_bytes` in bytes.

    `captured_at` (with its zone), `latitude` and `longitude` (WGS 84) are for a photo whose own words a phone has
    stripped, or never wrote. They count only where the file says nothing.
    """

    upload_id: UUID
    kind: Kind
    name: str
    size_bytes: int
    content_type: str
    sha256: str
    captured_at: datetime | None = None
    latitude: float | None = None
    longitude: float | None = None

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
    document_id: UUID | None = None
    erased_at: datetime | None = None
    sent_bytes: int = 0
    progressed_at: datetime | None = None
    captured_at: datetime | None = None
    latitude: float | None = None
    longitude: float | None = None
    text: str = ""

    @property
    def document(self) -> UUID | None:
        """The document that holds this upload's content, if there is one and it was not erased."""
        if self.erased_at is not None:
            return None
        return self.upload_id if self.state == "ready" else self.document_id

    @property
    def verified(self) -> bool:
        """Whether the content was hashed by us, as S3 held it, and was what had been declared."""
        return self.state == "duplicate" or (self.derived is not None and self.derived.sha256 == self.sha256.hex())


class Storage(msgspec.Struct, frozen=True):
    """What a company's files weigh, those on their way included, and how much they may; no limit: null."""

    used_bytes: int
    limit_bytes: int | None


class Room(msgspec.Struct, frozen=True):
    """How many bytes, and how many uploads today, a company may still announce; None: any. The day, in UTC, ends in
    `day_ends_s` seconds.
    """

    bytes: int | None
    uploads: int | None
    day_ends_s: int


class Place(msgspec.Struct, frozen=True):
    """Whom an object's key concerns."""

    lane: str
    tenant_id: UUID
    upload_id: UUID

    @property
    def key(self) -> str:
        """The key: ids only, never a name that a person typed, led by the lane that routes it."""
        return f"{self.lane}/{self.tenant_id}/{self.upload_id}"


def fit(room: Room, new: Sequence[NewUpload], known: Collection[UUID]) -> dict[UUID, Problem]:
    """Which of these files find no room any more, and why, taking them in the order asked; what is `known` already
    takes none, and a smaller file may still fit where a larger one didn't.
    """
    left_bytes, left_uploads = room.bytes, room.uploads
    counted, refused = set(known), dict[UUID, Problem]()
    for each in new:
        if each.upload_id in counted:
            continue
        if left_uploads is not None and left_uploads <= 0:
            refused[each.upload_id] = Problem("too_many_uploads_today", retry_after_s=room.day_ends_s)
            continue
        if left_bytes is not None and each.size_bytes > left_bytes:
            refused[each.upload_id] = Problem("quota_exceeded")
            continue
        left_bytes = None if left_bytes is None else left_bytes - each.size_bytes
        left_uploads = None if left_uploads is None else left_uploads - 1
        counted.add(each.upload_id)
        refused.pop(each.upload_id, None)
    return refused


def place_of(key: str) -> Place:
    """Read a key of the uploads bucket.

    Raises ValueError for a key that is not one of ours.
    """
    lane, tenant_id, upload_id = key.split("/")
    place = Place(lane, UUID(tenant_id), UUID(upload_id))
    if place.key != key:
        raise ValueError(f"not a key of ours: {key!r}")
    return place


def pictured(key: str) -> tuple[str, str]:
    """The key and the version of the original that a key of the derived bucket shows.

    Raises ValueError for a key that is not one of ours.
    """
    original, version_id, name = key.rsplit("/", 2)
    place_of(original)
    if not version_id or not name:
        raise ValueError(f"not a picture of ours: {key!r}")
    return original, version_id


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
    if new.captured_at is not None and new.captured_at.tzinfo is None:
        raise Problem("invalid", "captured_at needs a time zone, such as -06:00")
    if (new.latitude is None) != (new.longitude is None):
        raise Problem("invalid", "latitude and longitude go together")
    if not -90 <= (new.latitude or 0) <= 90 or not -180 <= (new.longitude or 0) <= 180:
        raise Problem("invalid", "latitude is -90 to 90, longitude -180 to 180")


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


def pieces(size_bytes: int, parts: Collection[int], chunks: Collection[Range]) -> list[Range]:
    """Where the parts (of a file that has several) and then the chunks lie that somebody wants to send.

    Raises Problem invalid for more than URLS_PER_CALL, and for what the file doesn't have.
    """
    if not 1 <= len(parts) + len(chunks) <= URLS_PER_CALL:
        raise Problem("invalid", f"Name 1 to {URLS_PER_CALL} parts and chunks")
    if parts and part_count(size_bytes) == 1:
        raise Problem("invalid", "This file has one part, which travels whole or in chunks")
    try:
        for chunk in chunks:
            check_chunk(size_bytes, chunk)
        return [*(part_range(size_bytes, number) for number in parts), *chunks]
    except ValueError as exc:
        raise Problem("invalid", str(exc)) from exc


def standing_parts(size_bytes: int, held: Mapping[int, int]) -> dict[int, Range]:
    """The parts that S3 holds whole, of `held` {number: bytes}; one of another length counts as not there."""
    every = {number: part_range(size_bytes, number) for number in range(1, part_count(size_bytes) + 1)}
    return {number: place for number, place in every.items() if held.get(number) == place.length}


def learn(upload: Upload, *, renews: str = "", order: UUID | None = None, **facts: Any) -> Upload:
    """The upload with a fact added and its state settled; the same upload when nothing changes.

    Facts may come in any order and any number of times: what is known stays (but "infected" replaces any other
    verdict), and the state is a function of what is known. An upload that has ended learns nothing more, but for a
    ready one: a scanner may find something in it after all, and what is derived of it is renewed when that was asked
    for (`renews`), not when the first word comes twice. An answer to an `order` to release one is like any other fact;
    see `released`.
    """
    if upload.state == "ready":
        return _learn_later(upload, renews=renews, **facts)
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


def released(upload: Upload, *, verdict: str | None, scanner: str | None = None, **_others: Any) -> Upload:
    """What becomes of an upload that is locked away once a scanner has looked again, as an operator wanted: found clean
    it goes on from where it was, ready or still to be derived; else nothing changes.
    """
    if upload.state != "quarantined" or verdict != "clean":
        return upload
    clean = msgspec.structs.replace(upload, verdict="clean", scan_reason="", scanner=scanner)
    state, reason = _settle(clean)
    return msgspec.structs.replace(clean, state=state, reason=reason)


def _learn_later(
    upload: Upload,
    *,
    renews: str,
    verdict: str | None = None,
    scan_reason: str = "",
    scanner: str | None = None,
    derived: FileDerived | None = None,
    text: str = "",
    **_others: Any,
) -> Upload:
    replace = msgspec.structs.replace
    if verdict == "infected":
        found = replace(upload, verdict="infected", scan_reason=scan_reason, scanner=scanner)
        return replace(found, state="quarantined", reason="infected")
    if renews and derived is not None and derived.sha256 == upload.sha256.hex():
        return replace(upload, derived=derived, text=text, reason=derived.reason)
    return upload


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


def judge(upload: Upload | None, sha256: bytes) -> Judgement:
    """Whether a file with this hash, which its sender believes to have sent as `upload`, is in safe keeping."""
    if upload is None:
        return "missing"
    if upload.sha256 != sha256 or upload.state == "mismatched":
        return "different"
    if upload.state in ("cancelled", "expired"):
        return "missing"
    if upload.state in ("ready", "duplicate"):
        return "safe" if upload.verified and upload.document else "missing"  # erased: we hold it no more
    if upload.state in ENDS:
        return "refused"
    return "arriving" if upload.state in AWAITING_BYTES else "processing"


def stalled_since(upload: Upload, *, now: datetime) -> datetime | None:
    """When an upload whose bytes have begun to come was last heard of, if that is too long ago."""
    heard = upload.progressed_at or upload.updated_at
    return heard if upload.state == "receiving" and now - heard >= STALLED_AFTER else None


def next_check(state: str, *, redrives: int, now: datetime) -> datetime | None:
    """When the sweeper looks at an upload again if nothing happens: ever more seldom, never once it has ended."""
    if state in ENDS:
        return None
    return now + min(FIRST_CHECK * 2 ** min(redrives, 10), SLOWEST_CHECK)


def next_look(active_at: datetime, *, now: datetime) -> datetime:
    """When the sweeper looks again at an upload that awaits bytes: the longer its silence, the later."""
    return now + min(max(FIRST_LOOK, now - active_at), SLOWEST_CHECK)


def is_over(upload: Upload, active_at: datetime, *, now: datetime) -> bool:
    """Whether an upload that lacks bytes is waited for no longer."""
    return now - active_at > IDLE_LIFE or now - upload.created_at > LIFE


def next_check_in_line(*, since: datetime, now: datetime) -> datetime:
    """When the sweeper looks again at what waits behind others since then: once it has waited twice as long.

    So a kickoff's thousands cost few looks, and what is lost among them is found in the time that they all take.
    """
    return now + min(max(now - since, FIRST_CHECK), SLOWEST_CHECK_IN_LINE)
