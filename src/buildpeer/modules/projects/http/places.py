"""Doors for places."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response, get, patch, post
from litestar.params import FromPath, JSONBody, QueryParameter

from buildpeer.modules.jobs.facade import JobStarted, NewImport
from buildpeer.modules.projects.service import importing, places
from buildpeer.modules.projects.service.places import Location, LocationChanges, NewLocation
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
    page,
    read_cursor,
    read_if_match,
    tagged,
    used_with,
)


class LocationsController(Controller):
    """Towers, floors, rooms."""

    path = "/v1/projects/{project_id:uuid}/locations"
    tags = ("projects",)
    opt = used_with("projects", write="admin")

    @get(summary="List places")
    async def list_locations(
        self,
        *,
        project_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        parent_id: Annotated[UUID | None, QueryParameter(name="parent_id", required=False)] = None,
        archived: Annotated[bool, QueryParameter(name="archived", description="Also those put away")] = False,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[Location]:
        """A project's places, or those in one of them, in the order in which they were made."""
        after = read_cursor(cursor, tuple[UUID])
        found = await places.list_locations(
            db,
            caller=caller,
            project_id=project_id,
            parent_id=parent_id,
            archived=archived,
            after=after[0] if after else None,
            limit=limit + 1,
        )
        return page(found, limit, lambda place: [place.location_id])

    @get("/{location_id:uuid}", summary="One place")
    async def get_location(
        self, project_id: FromPath[UUID], location_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep
    ) -> Response[Location]:
        """A place, with its version as the ETag."""
        found = await places.get_location(db, caller=caller, project_id=project_id, location_id=location_id)
        return tagged(found, found.version)

    @post(summary="Make a place")
    async def make_location(
        self, project_id: FromPath[UUID], data: JSONBody[NewLocation], caller: CallerDep, db: DatabaseDep
    ) -> Response[Location]:
        """A new place; sent again it is the same one."""
        made = await places.make_location(db, caller=caller, project_id=project_id, wanted=data)
        return tagged(made, made.version)

    @patch("/{location_id:uuid}", summary="Change a place")
    async def change_location(
        self,
        *,
        project_id: FromPath[UUID],
        location_id: FromPath[UUID],
        data: JSONBody[LocationChanges],
        caller: CallerDep,
        db: DatabaseDep,
        now: NowDep,
        if_match: IfMatch = None,
    ) -> Response[Location]:
        """Rename a place, move it with all that lies in it, or put all that away or back; nothing is deleted."""
        changed = await places.change_location(
            db,
            caller=caller,
            project_id=project_id,
            location_id=location_id,
            changes=data,
            version=read_if_match(if_match),
            now=now,
        )
        return tagged(changed, changed.version)

    @post("/imports", status_code=202, summary="Make places from a table")
    async def import_locations(
        self,
        project_id: FromPath[UUID],
        data: JSONBody[NewImport],
        caller: CallerDep,
        db: DatabaseDep,
        language: LanguageDep,
    ) -> JobStarted:
        """A job that makes the places of a CSV file with the column Lugar, such as `Torre A / Piso 3 / 301`, and what
        they lie in; with `check` it only says what it would do. What is there already stays as it is.
        """
        return await importing.order_locations(db, caller=caller, project_id=project_id, wanted=data, language=language)
