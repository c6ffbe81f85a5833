"""Pure rules of daily logs: which days there are, who may do what when, phones' clocks, and merging."""

import hashlib
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from buildpeer.modules.reports.rules import entries
from buildpeer.modules.reports.rules.entries import Content, Kind
from buildpeer.platform.errors import Problem

State = Literal["open", "completed", "distributed"]
LogAction = Literal["add_entry", "add_late_entry", "copy", "complete", "distribute", "reopen"]
EntryAction = Literal["edit", "delete", "restore"]
LostBecause = Literal["concurrent", "closed", "deleted"]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]

MOST_ENTRIES = 200  # in one call
MOST_ATTACHMENTS = 50
OLDEST = timedelta(days=731)  # a phone that has lost its clock believes to live in 1970
_CLOCK_OFF = timedelta(minutes=2)  # less is the network's
DELETED = "deleted"
_ATTACHMENT = "attachment:"


class NewEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as a phone makes it; `entry_id` is a UUIDv7 of its own, `noted_at` by its own clock."""

    entry_id: UUID
    content: Content
    noted_at: Moment
    attachments: Annotated[list[UUID], msgspec.Meta(max_length=MOST_ATTACHMENTS)] = []


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """What becomes of an entry: fields that get another value, documents that come and go, or its end."""

    set: dict[str, Any] = {}
    attach: list[UUID] = []
    detach: list[UUID] = []
    delete: bool = False


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """A change as it was written: on which phone, as the how many-th of all that were written on it, by whom, and what
    version they had before them.
    """

    installation_id: UUID
    sequence: int
    base_version: int
    person_id: UUID
    change: Change


class Written(msgspec.Struct, frozen=True, array_like=True):
    """By which version of the entry a field got the value that it has, on which phone, by whom. Two who wrote the same
    apart from each other have both written it.
    """

    version: int
    installation_id: UUID
    person_id: UUID


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as it stands."""

    entry_id: UUID
    project_id: UUID
    log_date: date
    kind: Kind
    fields: dict[str, Any]
    attachments: list[UUID]
    written: dict[str, list[Written]]
    version: int
    digest: bytes
    created_by: UUID
    created_at: datetime
    updated_at: datetime
    noted_at: datetime
    clock_off_s: int
    late: bool
    copied_from: UUID | None
    deleted_at: datetime | None
    deleted_by: UUID | None


class Lost(msgspec.Struct, frozen=True):
    """A value that isn't in force, although whoever wrote it didn't know of the one that is. `field` may also be
    `deleted`, or `attachment:` and a document's id; their values are true or nothing.
    """

    field: str
    value: Any
    written_by: UUID
    reason: LostBecause


class Merged(msgspec.Struct, frozen=True):
    """What an edit makes of an entry: `entry` is None where it stays as it was."""

    entry: Entry | None
    lost: list[Lost]


def check_date(log_date: date, *, zone: str, now: datetime) -> None:
    """Raises Problem log_date_invalid for a day that hasn't begun in the project's zone, or is years ago."""
    today = now.astimezone(ZoneInfo(zone)).date()
    if not today - OLDEST <= log_date <= today:
        raise Problem("log_date_invalid", today=today.isoformat(), timezone=zone)


def log_actions(state: State, level: str) -> list[LogAction]:
    """What somebody who holds this level of daily logs may do with a day."""
    if level not in ("standard", "admin"):
        return []
    actions: list[LogAction] = []
    actions.extend(("add_entry", "copy") if state == "open" else ("add_late_entry",))
    if level == "admin":
        actions.extend(("complete",) if state == "open" else ("distribute", "reopen"))
    return actions


def entry_actions(entry: Entry, state: State, *, level: str, person_id: UUID) -> list[EntryAction]:
    """What somebody may do with an entry: its author, and who decides over others' work; while the day is open."""
    if state != "open" or not may_edit(entry, level=level, person_id=person_id):
        return []
    return ["restore"] if entry.deleted_at else ["edit", "delete"]


def may_edit(entry: Entry, *, level: str, person_id: UUID) -> bool:
    """Whether somebody may change an entry at all."""
    return level == "admin" or (level == "standard" and entry.created_by == person_id)


def clock(noted_at: datetime, sent_at: datetime, now: datetime) -> tuple[datetime, int]:
    """When an entry was noted by our clock, and how many seconds the phone's was ahead of it.

    The phone says when it noted, and when it sends, both by its own clock; what lies between the two is right however
    wrong the clock is. A difference that the network may have made is none. What was noted years ago, by a clock that
    has been put right since, was noted nobody knows when: now, at the latest.
    """
    ahead, age = sent_at - now, max(sent_at - noted_at, timedelta())
    if age > OLDEST:
        return now, int((noted_at - now).total_seconds())
    return now - age, int(ahead.total_seconds()) if abs(ahead) >= _CLOCK_OFF else 0


def digest(new: NewEntry, project_id: UUID, log_date: date) -> bytes:
    """What a phone sends of an entry, in few bytes: again the same, whenever and however often it sends it."""
    said = [project_id, log_date, new.content, new.noted_at, new.attachments]
    return hashlib.sha256(msgspec.json.encode(said)).digest()


def merge(entry: Entry, edit: Edit, *, own_later: Iterable[Change], closed: bool, now: datetime) -> Merged:
    """Merge an edit, field by field: it wins, since it came last, and what it displaces without its writer having seen
    it is a `Lost`.

    `own_later` are changes which that phone made after this one, but which came before it: they stand. In a day that is
    `closed` what was completed stands, and the edit's values are the lost ones; only documents are still attached.
    """
    later = {name for change in own_later for name in values_of(change)}
    wanted = {name: value for name, value in values_of(edit.change).items() if name not in later}
    if closed:
        return _keep_out(entry, edit, wanted, now=now)
    if edit.change.delete:
        return _delete(entry, edit, now=now) if DELETED in wanted and not entry.deleted_at else Merged(None, [])
    if not wanted:
        return Merged(None, [])
    lost = [
        Lost(name, value_of(entry, name), unseen[-1].person_id, "concurrent")
        for name, value in wanted.items()
        if value_of(entry, name) != value and (unseen := _unseen(entry, name, edit))
    ]
    if entry.deleted_at:
        lost.append(Lost(DELETED, None, edit.person_id, "deleted"))
    return Merged(apply(entry, wanted, edit, now=now), lost)


def apply(entry: Entry, wanted: dict[str, Any], edit: Edit, *, now: datetime) -> Entry:
    """The entry's next version, in which these fields, documents and its deletion are as wanted."""
    fields = entry.fields | {name: value for name, value in wanted.items() if not _is_special(name)}
    documents = {UUID(name.removeprefix(_ATTACHMENT)): v for name, v in wanted.items() if name.startswith(_ATTACHMENT)}
    attachments = [a for a in entry.attachments if documents.get(a, True)]
    attachments += [document for document, there in documents.items() if there and document not in attachments]
    if len(attachments) > MOST_ATTACHMENTS:
        raise Problem("invalid", f"an entry has at most {MOST_ATTACHMENTS} attachments")
    mark = Written(entry.version + 1, edit.installation_id, edit.person_id)
    gone = wanted.get(DELETED, entry.deleted_at is not None)
    return msgspec.structs.replace(
        entry,
        fields=fields,
        attachments=attachments,
        written=entry.written | {name: [*_agreeing(entry, name, value, mark), mark] for name, value in wanted.items()},
        version=entry.version + 1,
        updated_at=now,
        deleted_at=(entry.deleted_at or now) if gone else None,
        deleted_by=(entry.deleted_by or edit.person_id) if gone else None,
    )


def check_change(kind: Kind, fields: dict[str, Any], change: Change) -> Change:
    """The change, its values as JSON holds them. Raises Problem invalid for what no entry of this kind takes."""
    if change.delete and (change.set or change.attach or change.detach):
        raise Problem("invalid", "an edit either deletes or changes")
    if not (change.delete or change.set or change.attach or change.detach):
        raise Problem("invalid", "an edit that changes nothing")
    return msgspec.structs.replace(change, set=entries.checked(kind, fields, change.set))


def value_of(entry: Entry, name: str) -> Any:
    """What a field, a document's being attached, or the deletion is now."""
    if name == DELETED:
        return True if entry.deleted_at else None
    if name.startswith(_ATTACHMENT):
        return True if UUID(name.removeprefix(_ATTACHMENT)) in entry.attachments else None
    return entry.fields.get(name)


def values_of(change: Change) -> dict[str, Any]:
    """What a change wants of each field, document and the deletion."""
    if change.delete:
        return {DELETED: True}
    documents = {f"{_ATTACHMENT}{d}": True for d in change.attach} | {f"{_ATTACHMENT}{d}": None for d in change.detach}
    return {**change.set, **documents}


def _is_special(name: str) -> bool:
    return name == DELETED or name.startswith(_ATTACHMENT)


def _unseen(entry: Entry, name: str, edit: Edit) -> list[Written]:
    """Who wrote what is in force without the edit's writer having seen it."""
    return [
        written
        for written in entry.written.get(name, [])
        if written.version > edit.base_version and written.installation_id != edit.installation_id
    ]


def _agreeing(entry: Entry, name: str, value: Any, mark: Written) -> list[Written]:
    """Who else has written this value, where it is in force."""
    if value_of(entry, name) != value:
        return []
    return [written for written in entry.written.get(name, []) if written.installation_id != mark.installation_id]


def _delete(entry: Entry, edit: Edit, *, now: datetime) -> Merged:
    """The entry goes; where somebody has written what whoever deletes it hadn't seen, a person has to look."""
    unseen = [written for name in entry.written for written in _unseen(entry, name, edit)]
    lost = [Lost(DELETED, None, max(unseen, key=lambda w: w.version).person_id, "concurrent")] if unseen else []
    return Merged(apply(entry, {DELETED: True}, edit, now=now), lost)


def _keep_out(entry: Entry, edit: Edit, wanted: dict[str, Any], *, now: datetime) -> Merged:
    """Nothing changes but what is attached; whoever wrote what stands there already has written it as well."""
    standing = {
        name: value
        for name, value in wanted.items()
        if value_of(entry, name) == value or (name.startswith(_ATTACHMENT) and value)
    }
    lost = [Lost(name, value, edit.person_id, "closed") for name, value in wanted.items() if name not in standing]
    return Merged(apply(entry, standing, edit, now=now) if standing else None, lost)
