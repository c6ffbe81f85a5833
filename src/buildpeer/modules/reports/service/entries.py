"""What phones write into daily logs, and what becomes of it when they wrote apart from each other."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from buildpeer.modules.documents import facade as documents
from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.reports import events
from buildpeer.modules.reports.rules import daily_logs as rules
from buildpeer.modules.reports.rules import entries as kinds
from buildpeer.modules.reports.rules.daily_logs import Change, Edit, Entry, EntryAction, Lost, Moment, NewEntry, State
from buildpeer.modules.reports.rules.entries import Kind
from buildpeer.modules.reports.service.daily_logs import find
from buildpeer.modules.reports.store import daily_logs as store
from buildpeer.modules.reports.store.daily_logs import Conflict, FreshEntry
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import is_uuid7, new_id

_BY_HAND = UUID(int=0)  # no phone: what somebody decides while they look at what is there


class Seen(msgspec.Struct, frozen=True):
    """An entry, values of it that others have displaced, and what the caller may do with it."""

    entry: Entry
    conflicts: list[Conflict]
    permitted_actions: list[EntryAction]


class Added(msgspec.Struct, frozen=True):
    """What one item of a call came to; `known`: it had come before."""

    entry_id: UUID | None
    verdict: Literal["added", "known", "conflict", "rejected"]
    seen: Seen | None = None
    problem: Problem | None = None


class NewEdit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An edit as a phone writes it. `installation_id` is made once on each phone, and `sequence` counts all edits that
    were ever written on it; `base_version` is the version of the entry that its writer had before their eyes.
    `set` gives fields other values (null: none); `attach` and `detach` are documents; `delete` takes the entry away.
    """

    installation_id: UUID
    sequence: int
    base_version: int
    noted_at: Moment
    sent_at: Moment
    set: dict[str, Any] = {}
    attach: list[UUID] = []
    detach: list[UUID] = []
    delete: bool = False


async def add_entries(
    db: Database,
    *,
    caller: Caller,
    project_id: UUID,
    log_date: date,
    wanted: Sequence[dict[str, Any]],
    sent_at: datetime,
    now: datetime,
) -> list[Added]:
    """Add entries in one transaction, each with a verdict of its own, in the order asked.

    Idempotent by entry id: the same entry again is `known`, another one by its id a `conflict`. What comes when the day
    is completed already is added as late. Raises Problem not_found, not_allowed or log_date_invalid.
    """
    read = [_read(each) for each in wanted]
    async with db.transaction(caller.scope) as tx:
        project = await find(tx, project_id)
        identity.permit(tx, "daily_logs", "standard")
        rules.check_date(log_date, zone=project.timezone, now=now)
        await store.begin(tx, project_id, log_date)
        state = await store.state(tx, project_id, log_date)
        read = [await _checked(tx, project_id, each) for each in read]
        # of two by the same id the first counts
        new = {each.entry_id: each for each in reversed(read) if isinstance(each, NewEntry)}
        place = (project_id, log_date)
        fresh = [_fresh(new[i], place, state, sent_at=sent_at, now=now) for i in sorted(new)]
        added = await store.add(tx, project_id, log_date, fresh, now=now)
        if added:
            news = events.LogNews(project_id, log_date, late=state != "open")
            await tx.announce([events.log("daily_log.changed", news, await _answerable(tx, news))])
        there = {s.entry.entry_id: s for s in await look(tx, await store.entries(tx, list(new)), state)}
    return [_verdict(each, place, added, there, caller.person_id) for each in read]


async def list_entries(
    db: Database,
    *,
    caller: Caller,
    project_id: UUID,
    log_date: date,
    kind: Kind | None,
    deleted: bool,
    after: UUID | None,
    limit: int,
) -> list[Seen]:
    """A day's entries in the order in which they were made; `deleted`: with those that are gone, as phones need them.

    Raises Problem not_found.
    """
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id)
        found = await store.page(tx, project_id, log_date, after=after, kind=kind, deleted=deleted, limit=limit)
        log = await store.log(tx, project_id, log_date)
        return await look(tx, {e.entry_id: e for e in found}, log.state if log else "open")


async def get_entry(db: Database, *, caller: Caller, entry_id: UUID) -> Seen:
    """One entry. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        return await _one(tx, await _find(tx, entry_id))


async def edit_entry(db: Database, *, caller: Caller, entry_id: UUID, wanted: NewEdit, now: datetime) -> Seen:
    """Merge an edit into an entry, once, however often it comes; gives the entry as it is now.

    Its author may, and who decides over others' work. Raises Problem not_found, not_allowed, invalid, or id_taken
    for a number of this phone by which another edit has come.
    """
    async with db.transaction(caller.scope) as tx:
        entry, state = await _hold(tx, entry_id)
        if not 1 <= wanted.base_version <= entry.version or wanted.sequence < 1:
            raise Problem("invalid", "base_version must be one that the entry has had, and sequence counts from 1")
        asked = Change(set=wanted.set, attach=wanted.attach, detach=wanted.detach, delete=wanted.delete)
        change = rules.check_change(entry.kind, entry.fields, asked)
        await _check(tx, entry.project_id, change.set, change.attach)
        edit = Edit(
            installation_id=wanted.installation_id,
            sequence=wanted.sequence,
            base_version=wanted.base_version,
            person_id=caller.person_id,
            change=change,
        )
        noted_at, _ = rules.clock(wanted.noted_at, wanted.sent_at, now)
        if await store.keep_edit(tx, entry, edit, noted_at=noted_at):
            later = await store.later(tx, entry_id, edit)
            merged = rules.merge(entry, edit, own_later=later, closed=state != "open", now=now)
            entry = await _settle(tx, entry, merged.entry, merged.lost, late=state != "open")
        elif not await store.is_kept(tx, entry_id, edit):
            raise Problem("id_taken")
        return await _one(tx, entry)


async def restore(db: Database, *, caller: Caller, entry_id: UUID, now: datetime) -> Seen:
    """Bring back an entry that was deleted; one that is there stays so.

    Raises Problem not_found, not_allowed, or log_closed while the day is completed.
    """
    async with db.transaction(caller.scope) as tx:
        entry, state = await _hold(tx, entry_id)
        if entry.deleted_at:
            entry = await _by_hand(tx, entry, state, {rules.DELETED: None}, now=now)
        return await _one(tx, entry)


async def resolve(
    db: Database, *, caller: Caller, conflict_id: UUID, resolution: Literal["kept", "taken"], now: datetime
) -> Seen:
    """Decide a conflict: `kept` leaves the value that is in force, `taken` puts the other one in its place. The same
    decision again changes nothing.

    Raises Problem not_found, not_allowed, conflict_resolved if it was decided otherwise, log_closed for taking a value
    into a day that is completed.
    """
    async with db.transaction(caller.scope) as tx:
        conflict = await store.conflict(tx, conflict_id)
        if conflict is None:
            raise Problem("not_found")
        entry, state = await _hold(tx, conflict.entry_id)
        if await store.resolve(tx, conflict_id, resolution, now=now):
            if resolution == "taken":
                entry = await _by_hand(tx, entry, state, {conflict.field: conflict.value}, now=now)
            else:
                await _tell(tx, entry, late=state != "open")
        elif conflict.resolution not in (None, resolution):
            raise Problem("conflict_resolved")
        return await _one(tx, entry)


async def copy(
    db: Database,
    *,
    caller: Caller,
    project_id: UUID,
    log_date: date,
    source: date | None,
    wanted: Sequence[Kind],
    now: datetime,
) -> list[Seen]:
    """Copy what was yesterday: entries of these kinds, without attachments, from a day or the last one that has any.
    What was copied already isn't again. Gives the day's copies.

    Raises Problem not_found, not_allowed, log_date_invalid, log_closed, or invalid for a kind that is never the same.
    """
    async with db.transaction(caller.scope) as tx:
        project = await find(tx, project_id)
        identity.permit(tx, "daily_logs", "standard")
        if not set(wanted) <= set(kinds.COPIED):
            raise Problem("invalid", f"kinds must be of {', '.join(kinds.COPIED)}")
        rules.check_date(log_date, zone=project.timezone, now=now)
        await store.begin(tx, project_id, log_date)
        state = await store.state(tx, project_id, log_date)
        if state != "open":
            raise _closed(tx, state)
        source = source or await store.day_before(tx, project_id, log_date, wanted)
        found = [e for e in await _whole(tx, project_id, source) if e.kind in wanted] if source else []
        fresh = [_copy(entry, now=now) for entry in found]
        if await store.add(tx, project_id, log_date, fresh, now=now):
            await tx.announce([events.log("daily_log.changed", events.LogNews(project_id, log_date))])
        sources = {entry.entry_id for entry in found}
        copies = [e for e in await _whole(tx, project_id, log_date) if e.copied_from in sources]
        return await look(tx, {e.entry_id: e for e in copies}, state)


async def look(tx: Transaction, found: dict[UUID, Entry], state: State) -> list[Seen]:
    """Entries of one day as the caller sees them."""
    conflicts, level = await store.conflicts_of(tx, list(found)), identity.level(tx, "daily_logs")
    return [
        Seen(
            entry,
            [c for c in conflicts.get(entry.entry_id, []) if c.value != rules.value_of(entry, c.field)],
            rules.entry_actions(entry, state, level=level, person_id=tx.person_id),
        )
        for entry in found.values()
    ]


async def _one(tx: Transaction, entry: Entry) -> Seen:
    log = await store.log(tx, entry.project_id, entry.log_date)
    return (await look(tx, {entry.entry_id: entry}, log.state if log else "open"))[0]


async def _find(tx: Transaction, entry_id: UUID) -> Entry:
    entry = (await store.entries(tx, [entry_id])).get(entry_id)
    if entry is None:
        raise Problem("not_found")
    identity.permit(tx, "daily_logs", "read")
    return entry


async def _hold(tx: Transaction, entry_id: UUID) -> tuple[Entry, State]:
    """An entry that the caller may change, and its day's state: both stay so until the transaction ends."""
    entry = await _find(tx, entry_id)
    if not rules.may_edit(entry, level=identity.level(tx, "daily_logs"), person_id=tx.person_id):
        raise Problem("not_allowed")
    state = await store.state(tx, entry.project_id, entry.log_date)
    held = await store.hold(tx, entry_id)
    if held is None:
        raise Problem("not_found")
    return held, state


async def _by_hand(tx: Transaction, entry: Entry, state: State, wanted: dict[str, Any], *, now: datetime) -> Entry:
    if state != "open":
        raise _closed(tx, state)
    edit = Edit(
        installation_id=_BY_HAND, sequence=0, base_version=entry.version, person_id=tx.person_id, change=Change()
    )
    return await _settle(tx, entry, rules.apply(entry, wanted, edit, now=now), [], late=False)


async def _settle(tx: Transaction, before: Entry, after: Entry | None, lost: Sequence[Lost], *, late: bool) -> Entry:
    if after is not None:
        await store.write(tx, after)
    for each in lost:
        await store.lose(tx, new_id(), before, each)
    if after is not None or lost:
        await _tell(tx, before, late=late)
    return after or before


async def _tell(tx: Transaction, entry: Entry, *, late: bool) -> None:
    news = events.LogNews(entry.project_id, entry.log_date, late)
    await tx.announce([events.log("daily_log.changed", news, await _answerable(tx, news))])


async def _answerable(tx: Transaction, news: events.LogNews) -> list[UUID]:
    """Who hears of what comes late: whoever completed the day, and to whom it was sent."""
    log = await store.log(tx, news.project_id, news.log_date) if news.late else None
    return [person for person in (log.completed_by, *log.recipients) if person] if log else []


async def _whole(tx: Transaction, project_id: UUID, log_date: date) -> list[Entry]:
    return await store.page(tx, project_id, log_date, after=None, kind=None, deleted=False, limit=10_000)


def _copy(entry: Entry, *, now: datetime) -> FreshEntry:
    return FreshEntry(
        entry_id=new_id(),
        kind=entry.kind,
        fields=entry.fields,
        attachments=[],
        digest=b"",
        noted_at=now,
        clock_off_s=0,
        late=False,
        copied_from=entry.entry_id,
    )


def _closed(tx: Transaction, state: State) -> Problem:
    return Problem("log_closed", permitted_actions=rules.log_actions(state, identity.level(tx, "daily_logs")))


def _read(wanted: dict[str, Any]) -> NewEntry | Added:
    """An item of a call, or what is wrong with it."""
    entry_id = None
    try:
        entry_id = msgspec.convert(wanted.get("entry_id"), UUID)
        new = msgspec.convert(wanted, NewEntry)
    except msgspec.ValidationError as exc:
        return Added(entry_id, "rejected", problem=Problem("invalid", str(exc)))
    return new if is_uuid7(entry_id) else Added(entry_id, "rejected", problem=Problem("id_invalid"))


async def _checked(tx: Transaction, project_id: UUID, read: NewEntry | Added) -> NewEntry | Added:
    if isinstance(read, Added):
        return read
    try:
        await _check(tx, project_id, kinds.fields_of(read.content), read.attachments)
    except Problem as problem:
        return Added(read.entry_id, "rejected", problem=problem)
    return read


async def _check(tx: Transaction, project_id: UUID, fields: dict[str, Any], attachments: Sequence[UUID]) -> None:
    """Raises Problem reference_unknown for a place, trade, company or document that isn't the project's."""
    await projects.check_references(tx, project_id, **kinds.references(fields))
    await documents.check_attachable(tx, project_id, attachments)


def _fresh(new: NewEntry, place: tuple[UUID, date], state: State, *, sent_at: datetime, now: datetime) -> FreshEntry:
    noted_at, ahead = rules.clock(new.noted_at, sent_at, now)
    return FreshEntry(
        entry_id=new.entry_id,
        kind=kinds.kind_of(new.content),
        fields=kinds.fields_of(new.content),
        attachments=new.attachments,
        digest=rules.digest(new, *place),
        noted_at=noted_at,
        clock_off_s=ahead,
        late=state != "open",
    )


def _verdict(
    read: NewEntry | Added, place: tuple[UUID, date], added: set[UUID], there: dict[UUID, Seen], person_id: UUID
) -> Added:
    if isinstance(read, Added):
        return read
    seen, same = there.get(read.entry_id), (rules.digest(read, *place), person_id)
    if seen is None or (seen.entry.digest, seen.entry.created_by) != same:
        return Added(read.entry_id, "conflict", problem=Problem("id_taken"))
    return Added(read.entry_id, "added" if read.entry_id in added else "known", seen)
