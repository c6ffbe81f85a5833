"""Doors for photos: by time, on the map, in albums, before and after."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody, QueryParameter

from buildpeer.modules.documents import rules, service
from buildpeer.modules.documents.http.views import DocumentView, views
from buildpeer.modules.documents.service import AlbumChanges, NewAlbum, NewPair
from buildpeer.modules.documents.store.photos import Album, Cluster, PhotoPair, PhotoSelection
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


class MapView(msgspec.Struct):
    """What lies in the box: a cluster of one is that photo; one of 100 holds 100 photos or more."""

    clusters: list[Cluster]


class PhotosController(Controller):
    """Photos of a project."""

    path = "/v1/projects/{project_id:uuid}"
    tags = ("photos",)
    opt = used_with("files")

    @get("/photos", summary="List photos")
    async def list_photos(
        self,
        *,
        project_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        language: LanguageDep,
        since: Annotated[datetime | None, QueryParameter(name="since", required=False)] = None,
        until: Annotated[datetime | None, QueryParameter(name="until", required=False)] = None,
        album_id: Annotated[UUID | None, QueryParameter(name="album_id", required=False)] = None,
        location_id: Annotated[list[UUID] | None, QueryParameter(name="location_id", required=False)] = None,
        trade_id: Annotated[UUID | None, QueryParameter(name="trade_id", required=False)] = None,
        created_by: Annotated[UUID | None, QueryParameter(name="created_by", required=False)] = None,
        starred: Annotated[bool | None, QueryParameter(name="starred", required=False)] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[DocumentView]:
        """Photos by when they were taken, or else sent, the latest first: the timeline. Taken `since` a moment and
        before `until` another one; of an album, at one of up to 200 places, of a trade, of somebody.
        """
        wanted = PhotoSelection(
            since=rules.with_zone(since),
            album_id=album_id,
            locations=location_id[:200] if location_id else None,
            trade_id=trade_id,
            starred=starred,
            created_by=created_by,
        )
        until = rules.with_zone(until)
        after = read_cursor(cursor, tuple[datetime, UUID]) or (until and (until, UUID(int=0)))
        found = await service.list_photos(
            db, caller=caller, project_id=project_id, wanted=wanted, after=after, limit=limit + 1
        )
        taken = {photo.document_id: photo.shown_at for photo in found}
        return page(views(found, language), limit, lambda d: [taken[d.document_id], d.document_id])

    @get("/photo-map", summary="Photos on the map")
    async def photo_map(
        self,
        *,
        project_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        west: Annotated[float, QueryParameter(name="west", required=False, ge=-180, le=180)] = -180,
        south: Annotated[float, QueryParameter(name="south", required=False, ge=-90, le=90)] = -90,
        east: Annotated[float, QueryParameter(name="east", required=False, ge=-180, le=180)] = 180,
        north: Annotated[float, QueryParameter(name="north", required=False, ge=-90, le=90)] = 90,
    ) -> MapView:
        """Photos in a box, put together where they lie close: at most twelve clusters each way."""
        grid = rules.grid(west=west, south=south, east=east, north=north)
        return MapView(list(await service.photo_map(db, caller=caller, project_id=project_id, grid=grid)))

    @get("/albums", summary="List albums")
    async def list_albums(
        self,
        *,
        project_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[Album]:
        """Albums that the caller may see, in order. Private ones are for who made them, owners and managers."""
        after = read_cursor(cursor, tuple[float, UUID])
        found = await service.list_albums(db, caller=caller, project_id=project_id, after=after, limit=limit + 1)
        return page(list(found), limit, lambda album: [album.position, album.album_id])

    @post("/albums", summary="Make an album")
    async def make_album(
        self, project_id: FromPath[UUID], data: JSONBody[NewAlbum], caller: CallerDep, db: DatabaseDep, now: NowDep
    ) -> Response[Album]:
        """A new album. A photo lies in one at most; documents' changes put it there."""
        made = await service.make_album(db, caller=caller, project_id=project_id, wanted=data, now=now)
        return tagged(made, made.version)

    @get("/photo-pairs", summary="List pairs")
    async def list_pairs(
        self,
        *,
        project_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[PhotoPair]:
        """Before and after: pairs of which the caller may see both photos, the newest first."""
        after = read_cursor(cursor, tuple[datetime, UUID])
        found = await service.list_pairs(db, caller=caller, project_id=project_id, after=after, limit=limit + 1)
        return page(list(found), limit, lambda pair: [pair.created_at, pair.pair_id])

    @post("/photo-pairs", summary="Make a pair")
    async def make_pair(
        self, project_id: FromPath[UUID], data: JSONBody[NewPair], caller: CallerDep, db: DatabaseDep, now: NowDep
    ) -> PhotoPair:
        """Put two photos of the project beside each other."""
        return await service.make_pair(db, caller=caller, project_id=project_id, wanted=data, now=now)


class AlbumsController(Controller):
    """Albums and pairs, by their ids."""

    path = "/v1"
    tags = ("photos",)
    opt = used_with("files")

    @patch("/albums/{album_id:uuid}", summary="Change an album")
    async def change_album(
        self,
        *,
        album_id: FromPath[UUID],
        data: JSONBody[AlbumChanges],
        caller: CallerDep,
        db: DatabaseDep,
        if_match: IfMatch = None,
    ) -> Response[Album]:
        """Change what is named, and nothing else; who made it may, owners and managers."""
        version = read_if_match(if_match)
        changed = await service.change_album(db, caller=caller, album_id=album_id, version=version, changes=data)
        return tagged(changed, changed.version)

    @delete("/albums/{album_id:uuid}", summary="Remove an album")
    async def remove_album(self, album_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> None:
        """Its photos stay, and those of a private one stay private; who made it may, owners and managers."""
        await service.remove_album(db, caller=caller, album_id=album_id)

    @delete("/photo-pairs/{pair_id:uuid}", summary="Undo a pair")
    async def remove_pair(self, pair_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> None:
        """Its photos stay; who made it may, owners and managers."""
        await service.remove_pair(db, caller=caller, pair_id=pair_id)
