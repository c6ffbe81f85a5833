"""The inbox of each person, and what they want to hear."""

from datetime import datetime
from uuid import UUID

import msgspec

from buildpeer.modules.notifications import rules, store
from buildpeer.modules.notifications.rules import MailRhythm
from buildpeer.modules.notifications.store import Notice, Wish
from buildpeer.modules.projects import facade as projects
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem

NEWEST = 2**62


class ProjectWish(msgspec.Struct, frozen=True, kw_only=True):
    """What to hear of one project: nothing if `muted`; `mail` at once, on the hour, at 8:00, or never."""

    mail: MailRhythm = rules.USUAL_MAIL
    muted: bool = False


class GeneralWish(ProjectWish, frozen=True, kw_only=True):
    """What to hear of all projects that have no wish of their own. `timezone` (an IANA name) says where it is 8:00;
    None: where the project is.
    """

    timezone: str | None = None


async def list_notices(db: Database, *, caller: Caller, before: int | None, unread: bool, limit: int) -> list[Notice]:
    """The caller's notices of projects that they still see, newest first."""
    async with db.transaction(caller.scope) as tx:
        return await store.notices(tx, before=before or NEWEST, unread=unread, limit=limit)


async def count_unread(db: Database, *, caller: Caller) -> int:
    """How many of them are unread."""
    async with db.transaction(caller.scope) as tx:
        return await store.count_unread(tx)


async def mark(db: Database, *, caller: Caller, position: int, is_read: bool, now: datetime) -> None:
    """Mark a notice as read, or unread again. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        if not await store.mark(tx, position, is_read=is_read, now=now):
            raise Problem("not_found")


async def mark_up_to(db: Database, *, caller: Caller, position: int, now: datetime) -> int:
    """Mark all notices up to the newest that the caller has seen as read; gives how many weren't."""
    async with db.transaction(caller.scope) as tx:
        return await store.mark_up_to(tx, position, now)


async def list_wishes(db: Database, *, caller: Caller) -> list[Wish]:
    """What the caller wants to hear: in general first, then by project; what isn't there is as usual."""
    async with db.transaction(caller.scope) as tx:
        return await store.own_wishes(tx)


async def wish_in_general(db: Database, *, caller: Caller, wanted: GeneralWish) -> None:
    """Say what to hear of all projects. Raises Problem invalid for a time zone that isn't one, not_found for who is no
    member any more.
    """
    async with db.transaction(caller.scope) as tx:
        if tx.role is None:
            raise Problem("not_found")
        zone = rules.check_timezone(wanted.timezone) if wanted.timezone is not None else None
        await store.want(tx, _wish(caller, None, wanted, zone))


async def wish_of_project(db: Database, *, caller: Caller, project_id: UUID, wanted: ProjectWish) -> None:
    """Say what to hear of one project. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        await projects.find_project(tx, project_id)
        await store.want(tx, _wish(caller, project_id, wanted, None))


async def wish_no_more(db: Database, *, caller: Caller, project_id: UUID) -> None:
    """Hear of a project as of all others again. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        await projects.find_project(tx, project_id)
        await store.want_no_more(tx, project_id)


def _wish(caller: Caller, project_id: UUID | None, wanted: ProjectWish, timezone: str | None) -> Wish:
    return Wish(
        person_id=caller.person_id, project_id=project_id, mail=wanted.mail, muted=wanted.muted, timezone=timezone
    )
