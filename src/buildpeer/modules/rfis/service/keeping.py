"""What every change of an RFI has in common: it is found, referred to, kept and told of."""

from collections.abc import Callable, Collection, Iterable
from datetime import date, datetime
from uuid import UUID

import msgspec
from msgspec.structs import replace

from buildpeer.modules.documents import facade as documents
from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.projects.facade import Calendar, ProjectAccess
from buildpeer.modules.rfis import events, rules, store
from buildpeer.modules.rfis.rules import Actor, Rfi, Verb
from buildpeer.modules.rfis.store import Reply, Transition
from buildpeer.platform.db import Transaction
from buildpeer.platform.errors import Problem


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """An RFI for somebody: `full_number` as people say it, what they may do with it, and whether it is late by the
    project's calendar.
    """

    rfi: Rfi
    full_number: str | None
    overdue: bool
    permitted_actions: list[Verb]
    replies: list[Reply] = []


def actor(tx: Transaction) -> Actor:
    """Who acts in this transaction."""
    return Actor(tx.person_id, identity.may(tx, "rfis", "admin"))


def show(rfi: Rfi, project: ProjectAccess, by: Actor, *, now: datetime, replies: Iterable[Reply] = ()) -> Shown:
    """An RFI as somebody sees it."""
    return Shown(
        rfi=rfi,
        full_number=rules.full_number(project.code, rfi.number),
        overdue=rules.is_overdue(rfi, rules.local_day(now, project.timezone)),
        permitted_actions=[] if project.archived else rules.permitted(rfi, by),
        replies=list(replies),
    )


async def show_whole(tx: Transaction, rfi: Rfi, *, now: datetime) -> Shown:
    """An RFI with its replies, as the caller sees it."""
    project = await projects.find_project(tx, rfi.project_id)
    return show(rfi, project, actor(tx), now=now, replies=await store.replies(tx, [rfi.rfi_id]))


def found(rfi: Rfi | None) -> Rfi:
    """Raises Problem not_found for what isn't there."""
    if rfi is None:
        raise Problem("not_found")
    return rfi


async def keep(
    tx: Transaction, old: Rfi, new: Rfi, verb: Verb, *, now: datetime, reply_id: UUID | None = None, note: str = ""
) -> Rfi:
    """Write what has become of an RFI whose lock this transaction holds, put the transition down, and tell people."""
    new = replace(new, remind_at=await _remind_at(tx, new, now=now))
    await store.save(tx, new)
    if verb != "edit" or (old.status, old.ball_in_court) != (new.status, new.ball_in_court):
        await store.add_transition(tx, new, transition(old, new, verb, tx.person_id, reply_id=reply_id, note=note))
    await tx.announce([events.changed(new, verb, tx.person_id, rules.told(old, new, verb, tx.person_id))])
    return new


def transition(
    old: Rfi | None, new: Rfi, verb: Verb, by: UUID, *, reply_id: UUID | None = None, note: str = ""
) -> Transition:
    """What was done, as it is put down."""
    return Transition(
        version=new.version,
        verb=verb,
        by_person=by,
        occurred_at=new.updated_at,
        status_before=old.status if old else None,
        status_after=new.status,
        ball_before=old.ball_in_court if old else (),
        ball_after=new.ball_in_court,
        reply_id=reply_id,
        note=note,
    )


def shift_by(calendar: Calendar) -> Callable[[date, int], date]:
    """How the rules count a project's working days."""
    return lambda day, count: projects.add_working_days(calendar, day, count)


async def check_references(tx: Transaction, old: Rfi | None, new: Rfi) -> None:
    """See to it that what an RFI newly refers to is the project's, and that whoever is newly in it works there.

    Raises Problem reference_unknown.
    """
    known = old or replace(
        new, manager_id=None, assignees=(), distribution=(), documents=(), location_id=None, trade_id=None,
        received_from_id=None, responsible_id=None,
    )  # fmt: skip
    await check_people(tx, new.project_id, set(rules.insiders(new)) - set(rules.insiders(known)))
    await documents.check_attachable(tx, new.project_id, set(new.documents) - set(known.documents))
    await projects.check_references(
        tx,
        new.project_id,
        locations=_fresh(known.location_id, new.location_id),
        trades=_fresh(known.trade_id, new.trade_id),
        companies=_fresh(known.received_from_id, new.received_from_id)
        | _fresh(known.responsible_id, new.responsible_id),
    )


async def check_people(tx: Transaction, project_id: UUID, people: Collection[UUID]) -> None:
    """Whoever is asked, or told, works on the project: somebody who merely looks on may neither answer nor see RFIs.

    Raises Problem reference_unknown, whose `field` is `person_id`.
    """
    for person_id in people:
        if not await projects.may_send(tx, project_id, person_id):
            raise Problem("reference_unknown", field="person_id")


async def due_day(tx: Transaction, project_id: UUID, day: date) -> date:
    """The day itself, or the next working day of the project: what is due on a holiday is due after it."""
    return projects.add_working_days(await projects.calendar_of(tx, project_id), day, 0)


async def _remind_at(tx: Transaction, rfi: Rfi, *, now: datetime) -> datetime | None:
    if rfi.due_date is None or rfi.status not in rules.WAITING:
        return None
    project = await projects.find_project(tx, rfi.project_id)
    shift = shift_by(await projects.calendar_of(tx, rfi.project_id))
    return rules.next_reminder(rfi, rules.schedule(rfi.due_date, project.timezone, shift), now=now)


def _fresh(old: UUID | None, new: UUID | None) -> set[UUID]:
    return {new} if new is not None and new != old else set()
