"""Reminding whoever has to move: once before the due date, once on it and once after it."""

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from buildpeer.modules.projects import facade as projects
from buildpeer.modules.rfis import events, rules, store
from buildpeer.modules.rfis.rules import Rfi
from buildpeer.modules.rfis.service.keeping import shift_by
from buildpeer.platform.db import Database, Scope, Transaction

_AT_ONCE = 100


async def remind(db: Database, *, now: datetime) -> int:
    """Announce the reminders whose time has come, each once; returns how many RFIs were looked at.

    That one was given is kept in the transaction that announces it, so a crash in between neither loses nor repeats it.
    """
    due = await store.due(db, now, _AT_ONCE)
    for row in due:
        await _remind(db, row, now=now)
    return len(due)


async def _remind(db: Database, row: Any, *, now: datetime) -> None:
    async with db.transaction(Scope(row["tenant_id"], None)) as tx:
        rfi = await store.locked(tx, row["rfi_id"])
        if rfi is not None:
            await store.remind_later(tx, await _looked_at(tx, rfi, now=now))


async def _looked_at(tx: Transaction, rfi: Rfi, *, now: datetime) -> Rfi:
    """The calendar may have changed since the time was set, or the worker come late, on a holiday or at night."""
    project = await projects.find_project(tx, rfi.project_id)
    if rfi.due_date is None or rfi.status not in rules.WAITING or project.archived:
        return replace(rfi, remind_at=None)
    shift = shift_by(await projects.calendar_of(tx, rfi.project_id))
    plan = rules.schedule(rfi.due_date, project.timezone, shift)
    opens = rules.instant(shift(rules.local_day(now, project.timezone), 0), project.timezone)
    reminder = rules.due_reminder(rfi, plan, now=now)
    if reminder is not None and now < opens:
        return replace(rfi, remind_at=opens)
    if reminder is not None:
        await tx.announce([events.reminded(rfi, reminder)])
        rfi = replace(rfi, reminded=reminder)
    return replace(rfi, remind_at=rules.next_reminder(rfi, plan, now=now))
