"""What moves an RFI: actions, replies, and both for many at once."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

import msgspec
from msgspec.structs import replace

from buildpeer.modules.documents import facade as documents
from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.rfis import rules, store
from buildpeer.modules.rfis.rules import Action, Assignee, Rfi
from buildpeer.modules.rfis.service.drafting import RfiChanges, edit
from buildpeer.modules.rfis.service.keeping import Shown, actor, check_people, found, keep, show_whole
from buildpeer.modules.rfis.store import Reply
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import is_uuid7


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to do with an RFI: `forward` needs the person, `answer` the reply that becomes the official one."""

    action: Action
    person_id: UUID | None = None
    reply_id: UUID | None = None
    note: str = ""


class BulkChange(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of each of many: who is asked or told besides, another due date, or its end."""

    assign: Sequence[UUID] = ()
    distribute: Sequence[UUID] = ()
    due_date: date | None = None
    close: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """What one of many came to: its version now, or the problem that kept it as it was."""

    rfi_id: UUID
    version: int | None = None
    problem: Problem | None = None


async def act(db: Database, *, caller: Caller, rfi_id: UUID, wanted: Wanted, now: datetime) -> Shown:
    """Do something with an RFI; the caller's same call again, with nothing in between, changes nothing.

    Raises Problem not_found, not_allowed, rfi_state, rfi_manager_missing, invalid or reference_unknown.
    """
    async with db.transaction(caller.scope) as tx:
        rfi = found(await store.locked(tx, rfi_id))
        identity.permit(tx, "rfis", "standard")
        if not await _is_repeated(tx, rfi, wanted):
            rules.check(rfi, wanted.action, actor(tx))
            new = await _moved(tx, rfi, wanted, now=now)
            rfi = await keep(tx, rfi, new, wanted.action, now=now, reply_id=wanted.reply_id, note=wanted.note)
        return await show_whole(tx, rfi, now=now)


async def reply(
    db: Database, *, caller: Caller, rfi_id: UUID, reply_id: UUID, body: str, attached: Sequence[UUID], now: datetime
) -> Shown:
    """Reply to an RFI; the same call again changes nothing. Of two who reply at once both are heard, one by one.

    Raises Problem not_found, not_allowed, rfi_state, id_invalid, id_taken or reference_unknown.
    """
    if not is_uuid7(reply_id):
        raise Problem("id_invalid")
    given = Reply(
        reply_id=reply_id,
        rfi_id=rfi_id,
        created_by=caller.person_id,
        body=body,
        documents=tuple(dict.fromkeys(attached)),
        created_at=now,
    )
    async with db.transaction(caller.scope) as tx:
        rfi = found(await store.locked(tx, rfi_id))
        identity.permit(tx, "rfis", "standard")
        known = await store.reply(tx, reply_id)
        if known is None:
            rules.check(rfi, "reply", actor(tx))
            await documents.check_attachable(tx, rfi.project_id, given.documents)
            if not await store.add_reply(tx, rfi, given):
                raise Problem("id_taken")
            rfi = await keep(tx, rfi, rules.reply(rfi, caller.person_id, now=now), "reply", now=now, reply_id=reply_id)
        elif replace(known, official=False, created_at=now) != given:
            raise Problem("id_taken")
        return await show_whole(tx, rfi, now=now)


async def change_many(
    db: Database, *, caller: Caller, rfi_ids: Sequence[UUID], change: BulkChange, now: datetime
) -> list[Outcome]:
    """Change up to MOST_AT_ONCE RFIs, each as far as its state and the caller's rights allow, in the order asked.

    Raises Problem reference_unknown where somebody named doesn't work on one of their projects: nothing is changed.
    """
    async with db.transaction(caller.scope) as tx:
        rfis = {rfi.rfi_id: rfi for rfi in await store.locked_all(tx, rfi_ids)}
        identity.permit(tx, "rfis", "standard")
        for project_id in {rfi.project_id for rfi in rfis.values()}:
            await check_people(tx, project_id, {*change.assign, *change.distribute})
        return [await _changed(tx, rfi_id, rfis.get(rfi_id), change, now=now) for rfi_id in dict.fromkeys(rfi_ids)]


async def _changed(tx: Transaction, rfi_id: UUID, rfi: Rfi | None, change: BulkChange, *, now: datetime) -> Outcome:
    try:
        rfi = found(rfi)
        changes = _as_changes(rfi, change)
        if changes is not None:
            rules.check(rfi, "edit", actor(tx))
        if change.close:
            rules.check(rfi, "close", actor(tx))
    except Problem as problem:
        return Outcome(rfi_id, problem=problem)
    if changes is not None:
        rfi = await edit(tx, rfi, changes, now=now)
    if change.close:
        rfi = await keep(tx, rfi, rules.act(rfi, "close", now=now), "close", now=now)
    return Outcome(rfi_id, rfi.version)


def _as_changes(rfi: Rfi, change: BulkChange) -> RfiChanges | None:
    said: dict[str, object] = {}
    if change.assign:
        people = dict.fromkeys((*rfi.assignees, *change.assign))
        said["assignees"] = [Assignee(p, p in rfi.required or p not in rfi.assignees) for p in people]
    if change.distribute:
        said["distribution"] = [*rfi.distribution, *change.distribute]
    if change.due_date is not None:
        said["due_date"] = change.due_date
    return msgspec.convert(said, RfiChanges) if said else None


async def _is_repeated(tx: Transaction, rfi: Rfi, wanted: Wanted) -> bool:
    """Whether the last thing that happened is this very call, whose answer may have got lost."""
    if wanted.action not in ("forward", "recall") and rfi.status not in rules.targets(wanted.action):
        return False
    if wanted.action == "forward" and wanted.person_id != rfi.reviewer_id:
        return False
    last = await store.last_transition(tx, rfi.rfi_id)
    return last is not None and (last.version, last.verb, last.by_person, last.reply_id) == (
        rfi.version,
        wanted.action,
        tx.person_id,
        wanted.reply_id,
    )


async def _moved(tx: Transaction, rfi: Rfi, wanted: Wanted, *, now: datetime) -> Rfi:
    match wanted.action:
        case "submit":
            return await _submitted(tx, rfi, now=now)
        case "open":
            return await _opened(tx, rfi, now=now)
        case "forward":
            if wanted.person_id is None:
                raise Problem("invalid", "person_id: who is to review it")
            await check_people(tx, rfi.project_id, {wanted.person_id})
            return rules.forward(rfi, wanted.person_id, now=now)
        case "answer":
            if wanted.reply_id is None:
                raise Problem("invalid", "reply_id: which reply is the official one")
            await store.make_none_official(tx, rfi.rfi_id)
            if not await store.make_official(tx, rfi.rfi_id, wanted.reply_id):
                raise Problem("reference_unknown", field="reply_id")
        case "reopen":
            await store.make_none_official(tx, rfi.rfi_id)
        case _:
            pass
    return rules.act(rfi, wanted.action, now=now)


async def _submitted(tx: Transaction, rfi: Rfi, *, now: datetime) -> Rfi:
    manager_id = rfi.manager_id or (await store.settings(tx, rfi.project_id)).manager_id
    if manager_id is None and actor(tx).admin:
        manager_id = tx.person_id
    if manager_id is None:
        raise Problem("rfi_manager_missing")
    await check_people(tx, rfi.project_id, {manager_id})
    number = rfi.number or await store.next_number(tx, rfi.project_id)
    return rules.submit(rfi, number=number, manager_id=manager_id, now=now)


async def _opened(tx: Transaction, rfi: Rfi, *, now: datetime) -> Rfi:
    project = await projects.find_project(tx, rfi.project_id)
    calendar, settings = await projects.calendar_of(tx, rfi.project_id), await store.settings(tx, rfi.project_id)
    due = projects.add_working_days(calendar, rules.local_day(now, project.timezone), settings.due_days)
    return rules.open_(rfi, due_date=due, now=now)
