"""The register of drawings: found, changed, laid over each other; their areas and sets."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from buildpeer.facts import Object, OverlayMade, overlay_key
from buildpeer.modules.documents import events
from buildpeer.modules.documents.rules import drawings as rules
from buildpeer.modules.documents.rules import has_page
from buildpeer.modules.documents.rules.drawings import Discipline, SetKind
from buildpeer.modules.documents.store import drawings as store
from buildpeer.modules.documents.store.drawings import Area, Drawing, DrawingSet, Filter, Revision, SheetPlace
from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import facade as projects
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem
from buildpeer.platform.storage import SignedUrl, Storage

MAX_TOLD_BYTES = 4096  # of what derive says of an overlay
Sort = Literal["number", "-published_at"]
Action = Literal["change", "pin"]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Number = Annotated[str, msgspec.Meta(min_length=1, max_length=rules.MAX_NUMBER)]
Title = Annotated[str, msgspec.Meta(min_length=1, max_length=rules.MAX_TITLE)]


class NewArea(msgspec.Struct, frozen=True):
    """What an area is called."""

    name: Name


class NewSet(msgspec.Struct, frozen=True):
    """What a set is: a name of its own, a kind, its date, and where it stands among the others."""

    kind: SetKind
    name: Name
    set_date: date
    position: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0


class DrawingChanges(msgspec.Struct, frozen=True):
    """What becomes different; what isn't named stays."""

    number: Number | None = None
    title: Title | None = None
    discipline: Discipline | None = None
    area_id: UUID | msgspec.UnsetType | None = msgspec.UNSET
    obsolete: bool | None = None


class WholeDrawing(msgspec.Struct, frozen=True):
    """A drawing, all of its revisions, the most recent first, and what the caller may do with it."""

    drawing: Drawing
    revisions: Sequence[Revision]
    permitted_actions: list[Action]


class Overlay(msgspec.Struct, frozen=True):
    """One sheet over another; `made` is None while it isn't there yet."""

    made: OverlayMade | None = None
    picture: SignedUrl | None = None
    tiles: SignedUrl | None = None


async def list_areas(db: Database, *, caller: Caller, project_id: UUID) -> list[Area]:
    """A project's areas by name. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        await _enter(tx, project_id, "read")
        return await store.areas(tx, project_id)


async def put_area(db: Database, *, caller: Caller, project_id: UUID, area_id: UUID, wanted: NewArea) -> Area:
    """Make an area, or name it anew; again changes nothing. Raises Problem not_found, not_allowed or name_taken."""
    area = Area(area_id, rules.spelled(wanted.name) or wanted.name)
    async with db.transaction(caller.scope) as tx:
        await _enter(tx, project_id, "standard")
        await store.put_area(tx, project_id, area)
    return area


async def list_sets(db: Database, *, caller: Caller, project_id: UUID) -> list[DrawingSet]:
    """A project's sets in their order. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        await _enter(tx, project_id, "read")
        return await store.sets(tx, project_id)


async def put_set(db: Database, *, caller: Caller, project_id: UUID, set_id: UUID, wanted: NewSet) -> DrawingSet:
    """Make a set, or change it; again changes nothing. Raises Problem not_found, not_allowed or name_taken."""
    made = DrawingSet(set_id, wanted.kind, rules.spelled(wanted.name) or wanted.name, wanted.set_date, wanted.position)
    async with db.transaction(caller.scope) as tx:
        await _enter(tx, project_id, "standard")
        await store.put_set(tx, project_id, made)
    return made


async def list_drawings(
    db: Database,
    *,
    caller: Caller,
    project_id: UUID,
    chosen: Filter,
    sort: Sort,
    after: tuple[str, UUID] | tuple[datetime, UUID] | None,
    limit: int,
) -> list[Drawing]:
    """A project's drawings with their current revisions, by number or the newest first; `after` fits the order.

    Raises Problem not_found.
    """
    async with db.transaction(caller.scope) as tx:
        await _enter(tx, project_id, "read")
        if sort == "number":
            return await store.by_number(tx, project_id, chosen, after=after, limit=limit)  # pyright: ignore[reportArgumentType]
        return await store.newest(tx, project_id, chosen, after=after, limit=limit)  # pyright: ignore[reportArgumentType]


async def get_drawing(db: Database, *, caller: Caller, drawing_id: UUID) -> WholeDrawing:
    """A drawing that the caller may see. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        return await _whole(tx, await find_drawing(tx, drawing_id))


async def change_drawing(
    db: Database, *, caller: Caller, drawing_id: UUID, version: int | None, changes: DrawingChanges
) -> WholeDrawing:
    """Change what is named of a drawing that is still at `version`; an obsolete one comes back with its next revision.

    Raises Problem not_found, not_allowed, changed_meanwhile, reference_unknown or drawing_taken.
    """
    async with db.transaction(caller.scope) as tx:
        drawing = await find_drawing(tx, drawing_id)
        identity.permit(tx, "drawings", "standard")
        if version not in (None, drawing.version):
            raise Problem("changed_meanwhile")
        changed = msgspec.structs.replace(
            drawing,
            number=_typed("number", changes.number) or drawing.number,
            title=_typed("title", changes.title) or drawing.title,
            discipline=changes.discipline or drawing.discipline,
            area_id=drawing.area_id if changes.area_id is msgspec.UNSET else changes.area_id,
            obsolete=drawing.obsolete if changes.obsolete is None else changes.obsolete,
        )
        await check_references(tx, drawing.project_id, area_id=changed.area_id, set_id=None)
        if not await store.change(tx, changed):
            raise Problem("changed_meanwhile")
        return await _whole(tx, await find_drawing(tx, drawing_id))


async def compare(
    db: Database, storage: Storage, *, derived_bucket: str, caller: Caller, revision_id: UUID, older_id: UUID
) -> Overlay:
    """A revision's sheet laid over another's, of the same project: what only `older_id` has is red, what only
    `revision_id` has is blue. Or the word that it is being made, which this call asks for.

    The audit trail says who looked. Raises Problem not_found.
    """
    async with db.transaction(caller.scope) as tx:
        newer, older = await _places(tx, revision_id, older_id)

    def key(ending: str) -> str:
        below = (older.key, older.version_id, older.page)
        return overlay_key(newer.key, newer.version_id, newer.page, older=below, ending=ending)

    told = await storage.read(bucket=derived_bucket, key=key("json"), most=MAX_TOLD_BYTES)
    made = None if told is None else msgspec.json.decode(told, type=OverlayMade)
    # S3 was asked in between, with no transaction open: the right to look is asked for once more
    async with db.transaction(caller.scope) as tx:
        await _places(tx, revision_id, older_id)
        if made is None:
            new, old = (Object(each.key, each.size_bytes, version_id=each.version_id) for each in (newer, older))
            order = events.overlay_wanted(newer.bucket, new, newer.page, older=old, older_page=older.page)
            await tx.announce([order])
            return Overlay()
        await store.audit_overlay(tx, newer, older)

    def sign(ending: str, content_type: str) -> SignedUrl:
        return storage.sign_read(
            bucket=derived_bucket,
            key=key(ending),
            version_id=None,
            filename=f"{newer.name}.{newer.page}.overlay.{ending}",
            content_type=content_type,
        )

    return Overlay(
        made,
        picture=sign("webp", "image/webp") if made.picture else None,
        tiles=sign("pmtiles", "application/vnd.pmtiles") if made.tiles else None,
    )


async def find_drawing(tx: Transaction, drawing_id: UUID) -> Drawing:
    """A drawing that the caller may see. Raises Problem not_found."""
    drawing = await store.by_id(tx, drawing_id)
    if drawing is None:
        raise Problem("not_found")
    identity.permit(tx, "drawings", "read")
    return drawing


async def find_sheet(tx: Transaction, revision_id: UUID) -> SheetPlace:
    """Where a revision's sheet is, if it is there to be seen. Raises Problem not_found."""
    place = await store.place(tx, revision_id)
    if place is None or not has_page(place.page, place.media, shown=True):
        raise Problem("not_found")
    identity.permit(tx, "drawings", "read")
    return place


async def check_references(tx: Transaction, project_id: UUID, *, area_id: UUID | None, set_id: UUID | None) -> None:
    """Raises Problem reference_unknown for an area or a set that isn't the project's."""
    if field := await store.missing(tx, project_id, area_id=area_id, set_id=set_id):
        raise Problem("reference_unknown", field=field)


async def _enter(tx: Transaction, project_id: UUID, level: identity.Level) -> None:
    await projects.find_project(tx, project_id)
    identity.permit(tx, "drawings", level)


async def _whole(tx: Transaction, drawing: Drawing) -> WholeDrawing:
    revisions = await store.revisions(tx, [drawing.drawing_id])
    actions: list[Action] = []
    if identity.may(tx, "drawings", "standard"):
        actions.append("change")
    if identity.may(tx, "files", "standard"):
        actions.append("pin")
    latest_first = sorted(revisions, key=lambda each: rules.recency(each.issue), reverse=True)
    return WholeDrawing(drawing, latest_first, actions)


async def _places(tx: Transaction, revision_id: UUID, older_id: UUID) -> tuple[SheetPlace, SheetPlace]:
    newer, older = await find_sheet(tx, revision_id), await find_sheet(tx, older_id)
    if newer.project_id != older.project_id or newer.bucket != older.bucket:
        raise Problem("not_found")
    return newer, older


def _typed(field: str, text: str | None) -> str | None:
    """What somebody typed, in its one spelling. Raises Problem invalid for blanks alone."""
    if text is None:
        return None
    if not (spelled := rules.spelled(text)):
        raise Problem("invalid", f"{field} must not be blank")
    return spelled
