"""Doors for the inbox, and for what people want to hear."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, delete, get, patch, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from buildpeer.modules.notifications.service import inbox
from buildpeer.modules.notifications.service.inbox import GeneralWish, ProjectWish
from buildpeer.modules.notifications.store import Notice, Wish
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
)
from buildpeer.platform.messages import notice_text

Position = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class NoticeView(msgspec.Struct, frozen=True, kw_only=True):
    """A notice: `text` for people, in their language; `topic`, `count` and `facts` of the first thing for programs."""

    position: int
    topic: str
    text: str
    project_id: UUID | None
    project_name: str | None
    count: int
    facts: Mapping[str, Any]
    occurred_at: datetime
    read_at: datetime | None


class Unread(msgspec.Struct, frozen=True):
    """How many notices are unread."""

    count: int


class NoticeChange(msgspec.Struct, frozen=True):
    """Read, or unread again."""

    read: bool


class NewReading(msgspec.Struct, frozen=True):
    """All are read, up to the newest one that was shown."""

    up_to: Position


class Reading(msgspec.Struct, frozen=True):
    """How many notices were unread until now."""

    count: int


class Wishes(msgspec.Struct, frozen=True):
    """What the caller wants to hear: in `general`, and of the projects that have a wish of their own."""

    general: GeneralWish
    projects: dict[UUID, ProjectWish]


class NoticesController(Controller):
    """What concerns the caller."""

    path = "/v1/notices"
    tags = ("notices",)

    @get(summary="List notices")
    async def list_notices(
        self,
        *,
        caller: CallerDep,
        db: DatabaseDep,
        language: LanguageDep,
        unread: Annotated[bool, QueryParameter(name="unread", description="Only those that are unread")] = False,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[NoticeView]:
        """The caller's notices of the last 180 days, newest first; the event stream tells of new ones."""
        before = read_cursor(cursor, tuple[int])
        found = await inbox.list_notices(
            db, caller=caller, before=before[0] if before else None, unread=unread, limit=limit + 1
        )
        return page([_view(notice, language) for notice in found], limit, lambda notice: [notice.position])

    @get("/unread", summary="Count unread notices")
    async def count_unread(self, caller: CallerDep, db: DatabaseDep) -> Unread:
        """How many are unread."""
        return Unread(await inbox.count_unread(db, caller=caller))

    @patch("/{position:int}", status_code=204, summary="Mark a notice")
    async def mark(
        self, position: FromPath[int], data: JSONBody[NoticeChange], caller: CallerDep, db: DatabaseDep, now: NowDep
    ) -> None:
        """Mark it as read, or as unread again."""
        if not 0 <= position < inbox.NEWEST:
            position = -1
        await inbox.mark(db, caller=caller, position=position, is_read=data.read, now=now)

    @post("/readings", status_code=200, summary="Mark all as read")
    async def mark_all(self, data: JSONBody[NewReading], caller: CallerDep, db: DatabaseDep, now: NowDep) -> Reading:
        """Mark all as read up to a position; what comes meanwhile stays unread."""
        return Reading(await inbox.mark_up_to(db, caller=caller, position=data.up_to, now=now))


class WishesController(Controller):
    """What the caller wants to hear."""

    path = "/v1"
    tags = ("notices",)

    @get("/me/notice-preferences", summary="What to hear")
    async def get_wishes(self, caller: CallerDep, db: DatabaseDep) -> Wishes:
        """By project where there is a wish for it, otherwise in general; as usual is a mail a day."""
        return _wishes(await inbox.list_wishes(db, caller=caller))

    @put("/me/notice-preferences", status_code=204, summary="Choose what to hear")
    async def wish_in_general(self, data: JSONBody[GeneralWish], caller: CallerDep, db: DatabaseDep) -> None:
        """Of all projects that have no wish of their own."""
        await inbox.wish_in_general(db, caller=caller, wanted=data)

    @put("/projects/{project_id:uuid}/notice-preferences", status_code=204, summary="Choose what to hear of a project")
    async def wish_of_project(
        self, project_id: FromPath[UUID], data: JSONBody[ProjectWish], caller: CallerDep, db: DatabaseDep
    ) -> None:
        """Of one project, for the caller alone."""
        await inbox.wish_of_project(db, caller=caller, project_id=project_id, wanted=data)

    @delete("/projects/{project_id:uuid}/notice-preferences", summary="Hear of a project as of others")
    async def wish_no_more(self, project_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> None:
        """The general wish is good for it again."""
        await inbox.wish_no_more(db, caller=caller, project_id=project_id)


def _view(notice: Notice, language: str) -> NoticeView:
    return NoticeView(
        text=notice_text(notice.topic, language, count=notice.count, facts=notice.facts),
        **{name: getattr(notice, name) for name in Notice.__struct_fields__},
    )


def _wishes(wishes: list[Wish]) -> Wishes:
    general = next((w for w in wishes if w.project_id is None), None)
    return Wishes(
        GeneralWish(mail=general.mail, muted=general.muted, timezone=general.timezone) if general else GeneralWish(),
        {w.project_id: ProjectWish(mail=w.mail, muted=w.muted) for w in wishes if w.project_id is not None},
    )
