"""Doors for what is written into daily logs."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from buildpeer.modules.reports.rules import entries as kinds
from buildpeer.modules.reports.rules.daily_logs import MOST_ENTRIES, EntryAction, Moment
from buildpeer.modules.reports.rules.entries import COPIED, Content, Kind
from buildpeer.modules.reports.service import daily_logs, entries
from buildpeer.modules.reports.service.entries import Added, NewEdit, Seen
from buildpeer.modules.reports.store.daily_logs import Conflict
from buildpeer.platform.http import (
    DEFAULT_LIMIT,
    CallerDep,
    Cursor,
    DatabaseDep,
    LanguageDep,
    Limit,
    NowDep,
    Page,
    page,
    read_cursor,
    used_with,
)

Deleted = Annotated[bool, QueryParameter(name="deleted", required=False, description="With those that are gone")]
Resolved = Annotated[bool, QueryParameter(name="resolved", required=False, description="With those that are decided")]


class ConflictView(msgspec.Struct, kw_only=True):
    """A value that isn't in force: somebody wrote it who hadn't seen the one that is (`concurrent`), after the day was
    completed (`closed`), or into an entry that was gone (`deleted`). `field` may also be `deleted`, whose value null
    means that the entry should be there, or `attachment:` and a document's id.
    """

    conflict_id: UUID
    entry_id: UUID
    field: str
    value: Any
    written_by: UUID
    reason: str
    created_at: datetime
    resolution: str | None
    resolved_by: UUID | None
    resolved_at: datetime | None


class EntryView(msgspec.Struct, kw_only=True):
    """An entry. `noted_at` is when it was written on the phone, put right where the phone's clock was `clock_off_s`
    seconds ahead (less than nought: behind); `created_at`, when it arrived; `late`: the day was completed by then.
    """

    entry_id: UUID
    project_id: UUID
    log_date: date
    content: Content
    attachments: list[UUID]
    version: int
    created_by: UUID
    created_at: datetime
    updated_at: datetime
    noted_at: datetime
    clock_off_s: int
    late: bool
    copied_from: UUID | None
    deleted_at: datetime | None
    deleted_by: UUID | None
    conflicts: list[ConflictView]
    permitted_actions: list[EntryAction]


class ItemProblem(msgspec.Struct):
    """What is wrong with one item of a call."""

    code: str
    status: int
    title: str
    detail: str


class Result(msgspec.Struct):
    """What one item of a call came to."""

    entry_id: UUID | None
    verdict: Literal["added", "known", "conflict", "rejected"]
    entry: EntryView | None = None
    problem: ItemProblem | None = None


class Results(msgspec.Struct):
    """One result for each item, in the order asked."""

    results: list[Result]


class NewEntries(msgspec.Struct):
    """1 to 200 entries; each is `{"entry_id": UUIDv7, "content": {"kind": …}, "noted_at": time, "attachments": []}`,
    and is judged for itself. `sent_at` is what the phone's clock shows now.
    """

    entries: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1, max_length=MOST_ENTRIES)]
    sent_at: Moment


class Copied(msgspec.Struct, rename={"source": "from"}):
    """What to copy: which kinds, and from which day; without one, from the last that has any."""

    kinds: list[Kind] = msgspec.field(default_factory=lambda: list(COPIED))
    source: date | None = None


class Decision(msgspec.Struct):
    """`kept`: the value that is in force stays; `taken`: the other one takes its place."""

    resolution: Literal["kept", "taken"]


class Conflicts(msgspec.Struct):
    """A day's conflicts."""

    items: list[ConflictView]


class Entries(msgspec.Struct):
    """Entries of a day."""

    items: list[EntryView]


class DayEntriesController(Controller):
    """What is written into a day."""

    path = "/v1/projects/{project_id:uuid}/daily-logs/{log_date:date}"
    tags = ("daily logs",)
    opt = used_with("daily_logs")

    @get("/entries", summary="List a day's entries")
    async def list_entries(
        self,
        *,
        project_id: FromPath[UUID],
        log_date: FromPath[date],
        caller: CallerDep,
        db: DatabaseDep,
        kind: Annotated[Kind | None, QueryParameter(name="kind", required=False)] = None,
        deleted: Deleted = False,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[EntryView]:
        """In the order in which they were made; phones ask for the deleted ones, too, to delete their copies."""
        found = await entries.list_entries(
            db,
            caller=caller,
            project_id=project_id,
            log_date=log_date,
            kind=kind,
            deleted=deleted,
            after=after[0] if (after := read_cursor(cursor, tuple[UUID])) else None,
            limit=limit + 1,
        )
        cut = page(found, limit, lambda seen: [seen.entry.entry_id])
        return Page([_view(seen) for seen in cut.items], cut.next_cursor)

    @post("/entries", summary="Add entries", status_code=200)
    async def add_entries(
        self,
        *,
        project_id: FromPath[UUID],
        log_date: FromPath[date],
        data: JSONBody[NewEntries],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
        language: LanguageDep,
    ) -> Results:
        """Each with a verdict of its own: `added`, `known` (it had come before), `conflict` (its id is another one's),
        `rejected`. What comes into a day that is completed is added as late.
        """
        added = await entries.add_entries(
            db,
            caller=caller,
            project_id=project_id,
            log_date=log_date,
            wanted=data.entries,
            sent_at=data.sent_at,
            now=now,
        )
        return Results([_result(each, language) for each in added])

    @post("/copies", summary="Copy from yesterday", status_code=200)
    async def copy(
        self,
        *,
        project_id: FromPath[UUID],
        log_date: FromPath[date],
        data: JSONBody[Copied],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
    ) -> Entries:
        """Crews, equipment and quantities of the last day that has any, or of another one; twice is once."""
        found = await entries.copy(
            db,
            caller=caller,
            project_id=project_id,
            log_date=log_date,
            source=data.source,
            wanted=data.kinds,
            now=now,
        )
        return Entries([_view(seen) for seen in found])

    @get("/conflicts", summary="A day's conflicts")
    async def list_conflicts(
        self,
        *,
        project_id: FromPath[UUID],
        log_date: FromPath[date],
        caller: CallerDep,
        db: DatabaseDep,
        resolved: Resolved = False,
    ) -> Conflicts:
        """Values that others have displaced, for a person to decide."""
        found = await daily_logs.list_conflicts(
            db, caller=caller, project_id=project_id, log_date=log_date, resolved=resolved
        )
        return Conflicts([_conflict(each) for each in found])


class EntriesController(Controller):
    """One entry."""

    path = "/v1/daily-log-entries/{entry_id:uuid}"
    tags = ("daily logs",)
    opt = used_with("daily_logs")

    @get(summary="One entry")
    async def get_entry(self, entry_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> EntryView:
        """An entry as it stands, with what waits for somebody's decision."""
        return _view(await entries.get_entry(db, caller=caller, entry_id=entry_id))

    @post("/edits", summary="Edit or delete an entry", status_code=200)
    async def edit_entry(
        self, entry_id: FromPath[UUID], data: JSONBody[NewEdit], caller: CallerDep, db: DatabaseDep, now: NowDep
    ) -> EntryView:
        """Merge an edit that may have been written long ago and offline, field by field: the last to arrive wins, and a
        value that it displaces unseen is kept as a conflict. The same edit again changes nothing.
        """
        return _view(await entries.edit_entry(db, caller=caller, entry_id=entry_id, wanted=data, now=now))

    @post("/restoration", summary="Bring an entry back", status_code=200)
    async def restore(self, entry_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep, now: NowDep) -> EntryView:
        """Take back that it was deleted."""
        return _view(await entries.restore(db, caller=caller, entry_id=entry_id, now=now))


class ConflictsController(Controller):
    """One conflict."""

    path = "/v1/daily-log-conflicts/{conflict_id:uuid}"
    tags = ("daily logs",)
    opt = used_with("daily_logs")

    @post("/resolution", summary="Decide a conflict", status_code=200)
    async def resolve(
        self, conflict_id: FromPath[UUID], data: JSONBody[Decision], caller: CallerDep, db: DatabaseDep, now: NowDep
    ) -> EntryView:
        """Whoever may edit the entry decides; gives the entry as it is then."""
        return _view(
            await entries.resolve(db, caller=caller, conflict_id=conflict_id, resolution=data.resolution, now=now)
        )


def _view(seen: Seen) -> EntryView:
    entry = seen.entry
    return EntryView(
        entry_id=entry.entry_id,
        project_id=entry.project_id,
        log_date=entry.log_date,
        content=kinds.read_content(entry.kind, entry.fields),
        attachments=entry.attachments,
        version=entry.version,
        created_by=entry.created_by,
        created_at=entry.created_at,
        updated_at=entry.updated_at,
        noted_at=entry.noted_at,
        clock_off_s=entry.clock_off_s,
        late=entry.late,
        copied_from=entry.copied_from,
        deleted_at=entry.deleted_at,
        deleted_by=entry.deleted_by,
        conflicts=[_conflict(each) for each in seen.conflicts],
        permitted_actions=seen.permitted_actions,
    )


def _conflict(conflict: Conflict) -> ConflictView:
    return ConflictView(
        conflict_id=conflict.conflict_id,
        entry_id=conflict.entry_id,
        field=conflict.field,
        value=conflict.value,
        written_by=conflict.written_by,
        reason=conflict.reason,
        created_at=conflict.created_at,
        resolution=conflict.resolution,
        resolved_by=conflict.resolved_by,
        resolved_at=conflict.resolved_at,
    )


def _result(added: Added, language: str) -> Result:
    problem = added.problem
    told = (
        ItemProblem(problem.code, problem.kind.status, problem.kind.title, problem.detail(language))
        if problem
        else None
    )
    return Result(added.entry_id, added.verdict, _view(added.seen) if added.seen else None, told)
