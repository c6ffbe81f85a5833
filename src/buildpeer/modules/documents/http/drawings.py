"""Doors for drawings, their areas, sets, revisions and pins."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import Controller, Response, delete, get, patch, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from buildpeer.facts import Alignment
from buildpeer.modules.documents.rules.drawings import Discipline, ordered
from buildpeer.modules.documents.service import drawings as service
from buildpeer.modules.documents.service import pins
from buildpeer.modules.documents.service.drawings import Action, DrawingChanges, NewArea, NewSet, Sort
from buildpeer.modules.documents.service.pins import NewPin
from buildpeer.modules.documents.store.drawings import Area, Drawing, DrawingSet, Filter, Revision
from buildpeer.modules.documents.store.filings import Pin
from buildpeer.platform.http import (
    DEFAULT_LIMIT,
    CallerDep,
    Cursor,
    DatabaseDep,
    IfMatch,
    LanguageDep,
    Limit,
    NowDep,
    Page,
    SettingsDep,
    StorageDep,
    page,
    read_cursor,
    read_if_match,
    tagged,
    used_with,
)
from buildpeer.platform.messages import reason_text
from buildpeer.platform.storage import SignedUrl


class DrawingView(msgspec.Struct, kw_only=True):
    """A drawing with its current revision, whose sheet is `page` of `document_id`; and, where one drawing was asked
    for, all of its revisions, the most recent first, and what the caller may do.
    """

    drawing_id: UUID
    project_id: UUID
    area_id: UUID | None
    number: str
    title: str
    discipline: Discipline
    obsolete: bool
    version: int
    revision_id: UUID
    revision_number: str
    drawing_date: date | None
    received_date: date
    set_id: UUID | None
    document_id: UUID
    page: int
    published_at: datetime
    revisions: list["RevisionView"] | None = None
    permitted_actions: list[Action] | None = None


class RevisionView(msgspec.Struct, kw_only=True):
    """A revision; `current` is the most recent one, which people build by."""

    revision_id: UUID
    drawing_id: UUID
    revision_number: str
    drawing_date: date | None
    received_date: date
    set_id: UUID | None
    title: str
    document_id: UUID
    page: int
    current: bool
    published_by: UUID
    published_at: datetime


class OverlayView(msgspec.Struct, kw_only=True):
    """An overlay: `ready`, `making` (ask again in a second or two), or `failed`, with a `reason`.

    What only the older sheet has is red, what only the newer one has is blue, what both have is grey. `alignment` says
    how they lie: `same_size`; `same_width` (other sizes, one shape: drawn equally wide); or `top_left` (other shapes:
    at one scale, the top left corners together). `tiles` as in a page.
    """

    state: Literal["ready", "making", "failed"]
    alignment: Alignment | None
    reason: str | None
    reason_text: str | None
    picture: SignedUrl | None
    width: int | None
    height: int | None
    tiles: SignedUrl | None
    tiles_width: int | None
    tiles_height: int | None


class PinView(msgspec.Struct, kw_only=True):
    """A pin on the revision that it was stuck on. `carried_over`: a newer one is current by now, and shows it at the
    same place of the sheet; look before you trust it.
    """

    pin_id: UUID
    drawing_id: UUID
    revision_id: UUID
    pos_x: float
    pos_y: float
    kind: str
    target_id: UUID
    label: str
    created_by: UUID
    created_at: datetime
    carried_over: bool


class ProjectDrawingsController(Controller):
    """A project's drawings, areas and sets."""

    path = "/v1/projects/{project_id:uuid}"
    tags = ("drawings",)
    opt = used_with("drawings")

    @get("/drawing-areas", summary="List areas")
    async def list_areas(self, project_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> list[Area]:
        """Parts of the project that have drawings of their own, by name."""
        return await service.list_areas(db, caller=caller, project_id=project_id)

    @put("/drawing-areas/{area_id:uuid}", summary="Make or name an area")
    async def put_area(
        self,
        project_id: FromPath[UUID],
        area_id: FromPath[UUID],
        data: JSONBody[NewArea],
        caller: CallerDep,
        db: DatabaseDep,
    ) -> Area:
        """An area with an id of the client's; again changes nothing."""
        return await service.put_area(db, caller=caller, project_id=project_id, area_id=area_id, wanted=data)

    @get("/drawing-sets", summary="List sets")
    async def list_sets(self, project_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> list[DrawingSet]:
        """What drawings were issued for: bid, addendum, IFC, as-built; in their order."""
        return await service.list_sets(db, caller=caller, project_id=project_id)

    @put("/drawing-sets/{set_id:uuid}", summary="Make or change a set")
    async def put_set(
        self,
        project_id: FromPath[UUID],
        set_id: FromPath[UUID],
        data: JSONBody[NewSet],
        caller: CallerDep,
        db: DatabaseDep,
    ) -> DrawingSet:
        """A set with an id of the client's; again changes nothing."""
        return await service.put_set(db, caller=caller, project_id=project_id, set_id=set_id, wanted=data)

    @get("/drawings", summary="List drawings")
    async def list_drawings(
        self,
        *,
        project_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        discipline: Annotated[Discipline | None, QueryParameter(name="discipline", required=False)] = None,
        area_id: Annotated[UUID | None, QueryParameter(name="area_id", required=False)] = None,
        set_id: Annotated[UUID | None, QueryParameter(name="set_id", required=False)] = None,
        obsolete: Annotated[bool | None, QueryParameter(name="obsolete", required=False)] = None,
        q: Annotated[str | None, QueryParameter(name="q", required=False, max_length=200)] = None,
        sort: Annotated[Sort, QueryParameter(name="sort")] = "number",
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[DrawingView]:
        """Published drawings with their current revisions; with `q`, those whose number or title has all of its words.

        `set_id`: those with a revision of that set. By number as people count, or the most recently published first.
        """
        words = (q or "").split()[:10]
        chosen = Filter(discipline=discipline, area_id=area_id, set_id=set_id, obsolete=obsolete, words=words)
        shape = tuple[str, UUID] if sort == "number" else tuple[datetime, UUID]
        found = await service.list_drawings(
            db,
            caller=caller,
            project_id=project_id,
            chosen=chosen,
            sort=sort,
            after=read_cursor(cursor, shape),
            limit=limit + 1,
        )
        return page([_view(each) for each in found], limit, lambda each: _place(each, sort))

    @get("/drawing-pins", summary="Where something is on the drawings")
    async def pins_of_target(
        self,
        *,
        project_id: FromPath[UUID],
        target_id: Annotated[UUID, QueryParameter(name="target_id")],
        caller: CallerDep,
        db: DatabaseDep,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[PinView]:
        """The pins of an RFI, a photo or a document."""
        found = await pins.pins_of_target(
            db,
            caller=caller,
            project_id=project_id,
            target_id=target_id,
            after=_after(cursor),
            limit=limit + 1,
        )
        return page([_pin(each) for each in found], limit, lambda each: [each.pin_id])


class DrawingsController(Controller):
    """Drawings, their revisions, and what is on them."""

    path = "/v1"
    tags = ("drawings",)
    opt = used_with("drawings")

    @get("/drawings/{drawing_id:uuid}", summary="One drawing")
    async def get_drawing(
        self, drawing_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep
    ) -> Response[DrawingView]:
        """A drawing and all of its revisions; its ETag is for changing it."""
        return _whole(await service.get_drawing(db, caller=caller, drawing_id=drawing_id))

    @patch("/drawings/{drawing_id:uuid}", summary="Change a drawing")
    async def change_drawing(
        self,
        drawing_id: FromPath[UUID],
        data: JSONBody[DrawingChanges],
        caller: CallerDep,
        db: DatabaseDep,
        if_match: IfMatch = None,
    ) -> Response[DrawingView]:
        """Change what is named, and nothing else; an obsolete drawing comes back with its next revision."""
        changed = await service.change_drawing(
            db, caller=caller, drawing_id=drawing_id, version=read_if_match(if_match), changes=data
        )
        return _whole(changed)

    @get("/drawing-revisions/{revision_id:uuid}/overlays/{older_id:uuid}", summary="One sheet over another")
    async def compare(
        self,
        *,
        revision_id: FromPath[UUID],
        older_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        storage: StorageDep,
        settings: SettingsDep,
        language: LanguageDep,
    ) -> OverlayView:
        """Two revisions of a project in one picture, made when somebody first asks for it."""
        found = await service.compare(
            db,
            storage,
            derived_bucket=settings.derived_bucket,
            caller=caller,
            revision_id=revision_id,
            older_id=older_id,
        )
        return _overlay(found, language)

    @get("/drawings/{drawing_id:uuid}/pins", summary="List a drawing's pins")
    async def pins_of_drawing(
        self,
        *,
        drawing_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[PinView]:
        """The pins on all of its revisions, in the order in which they were made."""
        found = await pins.pins_of_drawing(
            db, caller=caller, drawing_id=drawing_id, after=_after(cursor), limit=limit + 1
        )
        return page([_pin(each) for each in found], limit, lambda each: [each.pin_id])

    @post("/drawing-revisions/{revision_id:uuid}/pins", summary="Stick a pin", opt=used_with("files"))
    async def stick_pin(
        self,
        revision_id: FromPath[UUID],
        data: JSONBody[NewPin],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
    ) -> PinView:
        """A pin on a revision, superseded or not; the same again gives the same."""
        return _pin(await pins.stick_pin(db, caller=caller, revision_id=revision_id, wanted=data, now=now))

    @delete("/drawing-pins/{pin_id:uuid}", summary="Take a pin off", opt=used_with("files"))
    async def remove_pin(self, pin_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> None:
        """Owners and managers may, and who stuck it."""
        await pins.remove_pin(db, caller=caller, pin_id=pin_id)


def _place(drawing: DrawingView, sort: Sort) -> list[object]:
    """A drawing's place in a list, for its cursor."""
    if sort == "number":
        return [ordered(drawing.number), drawing.drawing_id]
    return [drawing.published_at, drawing.revision_id]


def _view(drawing: Drawing) -> DrawingView:
    return DrawingView(**msgspec.structs.asdict(drawing))


def _whole(found: service.WholeDrawing) -> Response[DrawingView]:
    view = _view(found.drawing)
    view.revisions = [revision_view(each) for each in found.revisions]
    view.permitted_actions = found.permitted_actions
    return tagged(view, found.drawing.version)


def revision_view(revision: Revision) -> RevisionView:
    """A revision as clients see it."""
    return RevisionView(**{name: getattr(revision, name) for name in RevisionView.__struct_fields__})


def _after(cursor: str | None) -> UUID | None:
    place = read_cursor(cursor, tuple[UUID])
    return place[0] if place else None


def _pin(pin: Pin) -> PinView:
    return PinView(**{name: getattr(pin, name) for name in PinView.__struct_fields__})


def _overlay(found: service.Overlay, language: str) -> OverlayView:
    made = found.made
    picture, tiles = (made.picture, made.tiles) if made else (None, None)
    return OverlayView(
        state="making" if made is None else "ready" if picture else "failed",
        alignment=made.alignment if made else None,
        reason=(made.reason or None) if made else None,
        reason_text=reason_text(made.reason, language) if made else None,
        picture=found.picture,
        width=picture.width if picture else None,
        height=picture.height if picture else None,
        tiles=found.tiles,
        tiles_width=tiles.width if tiles else None,
        tiles_height=tiles.height if tiles else None,
    )
