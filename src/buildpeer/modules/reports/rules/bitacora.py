"""Pure rules of the bitácora de obra: what a note says, how it is hashed, who signs it by when, what comes after what.

A note's canonical content is compact JSON, fields in the order of `canonical`, strings escaped as in RFC 8785; its hash
is the SHA-256 of that, and names the hash of the note before it.
"""

import hashlib
from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Literal, get_args
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from buildpeer.platform.errors import Problem

Role = Literal["residente", "superintendente", "supervisor"]
Class = Literal["opening", "closing", "order", "request", "authorization", "report", "agreement", "correction", "other"]
Signing = Literal["signed", "pending", "overdue"]
Status = Literal["preparing", "open", "closed"]
NoteAction = Literal["sign"]
BitacoraAction = Literal["name_party", "open", "issue_note", "close"]
ROLES: tuple[Role, ...] = get_args(Role)

GENESIS = bytes(32)  # what the opening note follows on
_NEEDED: tuple[Role, ...] = ("residente", "superintendente")
_OPENS: Role = "residente"

Line = Annotated[str, msgspec.Meta(max_length=200)]
Subject = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=8000)]
Words = Annotated[str, msgspec.Meta(min_length=1, max_length=8000)]


class Contract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the works are, as the opening note repeats it."""

    number: Line
    works: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
    client: Line
    contractor: Line
    amount: Line | None = None
    starts_on: date | None = None
    ends_on: date | None = None


class Party(msgspec.Struct, frozen=True):
    """Who acts as what."""

    role: Role
    person_id: UUID
    name: str


class Attached(msgspec.Struct, frozen=True):
    """A document that belongs to a note; by the hash of its bytes (hex) anybody can tell that it is still the same."""

    document_id: UUID
    name: str
    sha256: str


class NewNote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A note as its author writes it; `note_id` is a UUIDv7 made by the client. `refers_to` is the folio of a note that
    it answers or corrects.
    """

    note_id: UUID
    note_class: Class = msgspec.field(name="class")
    subject: Subject
    text: Words
    place: Line | None = None
    cause: Text | None = None
    solution: Text | None = None
    prevention: Text | None = None
    economic_consequence: Text | None = None
    responsibility: Text | None = None
    attend_by: date | None = None
    refers_to: Annotated[int, msgspec.Meta(ge=1)] | None = None
    attachments: Annotated[list[UUID], msgspec.Meta(max_length=50)] = []


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a note says: the bytes that are hashed, in this order. Times are UTC; `dated` is the day at the site."""

    v: int
    tenant_id: UUID
    project_id: UUID
    bitacora_id: UUID
    folio: int
    note_id: UUID
    note_class: Class = msgspec.field(name="class")
    issued_at: str
    dated: date
    timezone: str
    author: Party
    parties: list[Party]
    sign_by: date
    subject: str
    text: str
    place: str | None
    cause: str | None
    solution: str | None
    prevention: str | None
    economic_consequence: str | None
    responsibility: str | None
    attend_by: date | None
    refers_to: int | None
    attachments: list[Attached]
    contract: Contract | None
    previous: str


class Signature(msgspec.Struct, frozen=True):
    """That somebody has signed a note, by its hash (hex), at a time of the server's clock."""

    folio: int
    role: Role
    person_id: UUID
    name: str
    signed_at: datetime
    note_hash: str


class Bitacora(msgspec.Struct, frozen=True, kw_only=True):
    """A bitácora: its contract, within how many days its notes are to be signed, its last note."""

    bitacora_id: UUID
    project_id: UUID
    title: str
    contract: Contract
    signing_days: int
    created_by: UUID
    created_at: datetime
    folio: int
    last_class: Class | None
    last_hash: bytes


def status(bitacora: Bitacora) -> Status:
    """Nothing is written before the opening note, nor after the closing one."""
    if bitacora.folio == 0:
        return "preparing"
    return "closed" if bitacora.last_class == "closing" else "open"


def check_next(
    bitacora: Bitacora, note: NewNote, author: Role, parties: Sequence[Party], unsigned: Sequence[int]
) -> None:
    """See to it that this note may come next, by this author; `unsigned` are folios whose time to be signed isn't over.

    The residente opens, once there is a superintendente as well, and closes, once nothing waits for a signature. A
    correction names the note that it corrects.
    Raises Problem bitacora_not_open, bitacora_closed, bitacora_unsigned, not_allowed or invalid.
    """
    now = status(bitacora)
    if now == "closed":
        raise Problem("bitacora_closed")
    if now == "preparing" and note.note_class != "opening":
        raise Problem("bitacora_not_open", missing=[])
    if now == "open" and note.note_class == "opening":
        raise Problem("invalid", "a bitácora is opened once")
    if note.note_class in ("opening", "closing") and author != _OPENS:
        raise Problem("not_allowed")
    if missing := set(_NEEDED) - {party.role for party in parties}:
        raise Problem("bitacora_not_open", missing=sorted(missing))
    if note.note_class == "closing" and unsigned:
        raise Problem("bitacora_unsigned", folios=list(unsigned))
    if note.note_class == "correction" and note.refers_to is None:
        raise Problem("invalid", "a correction names in refers_to the note that it corrects")
    if note.refers_to is not None and note.refers_to > bitacora.folio:
        raise Problem("invalid", "refers_to must be the folio of an earlier note")


def said(
    bitacora: Bitacora,
    note: NewNote,
    *,
    tenant_id: UUID,
    author: Party,
    parties: Sequence[Party],
    attachments: Sequence[Attached],
    zone: str,
    now: datetime,
) -> Said:
    """The next note of a bitácora."""
    dated = now.astimezone(ZoneInfo(zone)).date()
    return Said(
        v=1,
        tenant_id=tenant_id,
        project_id=bitacora.project_id,
        bitacora_id=bitacora.bitacora_id,
        folio=bitacora.folio + 1,
        note_id=note.note_id,
        note_class=note.note_class,
        issued_at=stamp(now),
        dated=dated,
        timezone=zone,
        author=author,
        parties=sorted(parties, key=lambda party: ROLES.index(party.role)),
        sign_by=dated + timedelta(days=bitacora.signing_days),
        subject=note.subject,
        text=note.text,
        place=note.place,
        cause=note.cause,
        solution=note.solution,
        prevention=note.prevention,
        economic_consequence=note.economic_consequence,
        responsibility=note.responsibility,
        attend_by=note.attend_by,
        refers_to=note.refers_to,
        attachments=list(attachments),
        contract=bitacora.contract if note.note_class == "opening" else None,
        previous=bitacora.last_hash.hex(),
    )


def canonical(said: Said) -> str:
    """The text of which a note's hash is made."""
    return msgspec.json.encode(said).decode()


def note_hash(content: str) -> bytes:
    """SHA-256 of a note's canonical content."""
    return hashlib.sha256(content.encode()).digest()


def read(content: str) -> Said:
    """What a note says. Raises msgspec.DecodeError for what is none."""
    return msgspec.json.decode(content, type=Said)


def digest(note: NewNote) -> bytes:
    """What a client sends of a note, in few bytes."""
    return hashlib.sha256(msgspec.json.encode(note)).digest()


def stamp(time: datetime) -> str:
    """A time as the hashes have it: UTC, always with microseconds."""
    return time.astimezone(ZoneInfo("UTC")).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def awaited(said: Said, signed: Collection[Role]) -> list[Role]:
    """The roles whose signature a note still waits for."""
    return [party.role for party in said.parties if party.role not in signed]


def signing(said: Said, signed: Collection[Role], *, now: datetime) -> Signing:
    """Whether every party has signed, or has still time to, counted in days at the site."""
    if not awaited(said, signed):
        return "signed"
    today = now.astimezone(ZoneInfo(said.timezone)).date()
    return "pending" if today <= said.sign_by else "overdue"


def bitacora_actions(bitacora: Bitacora, role: Role | None, *, leads: bool) -> list[BitacoraAction]:
    """What somebody may do: `role` is theirs in the bitácora, `leads` who answers for the site."""
    now = status(bitacora)
    actions: list[BitacoraAction] = ["name_party"] if leads and now != "closed" else []
    if now == "preparing" and role == _OPENS:
        actions.append("open")
    if now == "open" and role:
        actions.append("issue_note")
    if now == "open" and role == _OPENS:
        actions.append("close")
    return actions


def chain_problems(notes: Sequence[tuple[str, str]], signatures: Sequence[Signature]) -> list[str]:
    """What is wrong with a bitácora's notes, each its canonical content and its hash in hex, and their signatures."""
    problems: list[str] = []
    previous, hashes = GENESIS.hex(), dict[int, str]()
    for place, (content, told) in enumerate(notes, start=1):
        try:
            note = read(content)
        except msgspec.DecodeError:
            problems.append(f"note {place} can't be read")
            continue
        if note_hash(content).hex() != told:
            problems.append(f"note {place} was changed: its hash is another")
        if note.folio != place:
            problems.append(f"in the place of note {place} stands note {note.folio}")
        if note.previous != previous:
            problems.append(f"note {place} does not follow on the note before it")
        if (note.note_class == "opening") != (place == 1):
            problems.append("only the first note opens, and it must")
        previous, hashes[note.folio] = told, told
    problems += [
        f"the signature of the {s.role} is not of note {s.folio} as it stands"
        for s in signatures
        if hashes.get(s.folio) != s.note_hash
    ]
    return problems
