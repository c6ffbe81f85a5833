"""Photos: by time, by place, in albums, before and after."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from buildpeer.modules.documents import rules
from buildpeer.modules.documents.rules import Grid
from buildpeer.modules.documents.store import documents
from buildpeer.modules.documents.store import photos as store
from buildpeer.modules.documents.store.documents import Document
from buildpeer.modules.documents.store.photos import Album, AlbumTakenError, Cluster, PhotoPair, PhotoSelection
from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import facade as projects
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import is_uuid7

AlbumName = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class NewAlbum(msgspec.Struct, frozen=True, kw_only=True):
    """An album to make; `album_id` is a UUIDv7 of the client's making."""

    album_id: UUID
    name: AlbumName
    private: bool = False
    position: float = 0


class AlbumChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes different; `cover_id` null: the newest photo."""

    name: AlbumName | None = None
    private: bool | None = None
    cover_id: UUID | UnsetType | None = UNSET
    position: float | None = None


class NewPair(msgspec.Struct, frozen=True, kw_only=True):
    """Two photos of a project; `pair_id` is a UUIDv7 of the client's making."""

    pair_id: UUID
    before_id: UUID
    after_id: UUID
    title: Annotated[str, msgspec.Meta(max_length=200)] = ""


async def list_photos(
    db: Database,
    *,
    caller: Caller,
    project_id: UUID,
    wanted: PhotoSelection,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> Sequence[Document]:
    """Photos that the caller may see, by when they were taken (or sent), latest first. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        await _enter(tx, project_id)
        return await store.page(tx, project_id, wanted, after=after, limit=limit)


async def photo_map(db: Database, *, caller: Caller, project_id: UUID, grid: Grid) -> Sequence[Cluster]:
    """Photos that the caller may see, put together by the cells of a grid. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        await _enter(tx, project_id)
        return await store.clusters(tx, project_id, grid)


async def list_albums(
    db: Database, *, caller: Caller, project_id: UUID, after: tuple[float, UUID] | None, limit: int
) -> Sequence[Album]:
    """Albums that the caller may see, in order. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        await _enter(tx, project_id)
        return await store.albums(tx, project_id, after=after, limit=limit)


async def make_album(db: Database, *, caller: Caller, project_id: UUID, wanted: NewAlbum, now: datetime) -> Album:
    """Make an album; again, with the same content, it is that.

    Raises Problem not_found, not_allowed, id_invalid, id_taken or name_taken.
    """
    if not is_uuid7(wanted.album_id):
        raise Problem("id_invalid")
    name = rules.tidy_name(wanted.name)
    async with db.transaction(caller.scope) as tx:
        await _enter(tx, project_id)
        identity.permit(tx, "files", "standard")
        if (there := await store.album(tx, wanted.album_id)) is not None:
            if (there.project_id, there.name, there.private) != (project_id, name, wanted.private):
                raise Problem("id_taken")
            return there
        try:
            made = await store.add_album(
                tx,
                wanted.album_id,
                project_id=project_id,
                name=name,
                private=wanted.private,
                position=wanted.position,
                at=now,
            )
        except AlbumTakenError as exc:
            raise Problem("name_taken") from exc
    if made is None:
        raise Problem("id_taken")
    return made


async def change_album(
    db: Database, *, caller: Caller, album_id: UUID, version: int | None, changes: AlbumChanges
) -> Album:
    """Change an album, if it still has that `version`; who made it may, owners and managers.

    Raises Problem not_found, not_allowed, reference_unknown for a cover that is no photo of the project, name_taken or
    changed_meanwhile.
    """
    async with db.transaction(caller.scope) as tx:
        album = await _find_own(tx, album_id)
        cover_id = None if changes.cover_id is UNSET else changes.cover_id
        if cover_id is not None:
            await _check_photo(tx, album.project_id, cover_id, field="cover_id")
        try:
            changed = await store.change_album(
                tx,
                album_id,
                version=version,
                name=None if changes.name is None else rules.tidy_name(changes.name),
                private=changes.private,
                covered=changes.cover_id is not UNSET,
                cover_id=cover_id,
                position=changes.position,
            )
        except AlbumTakenError as exc:
            raise Problem("name_taken") from exc
        if changed is None:
            raise Problem("changed_meanwhile")
    return changed


async def remove_album(db: Database, *, caller: Caller, album_id: UUID) -> None:
    """Remove an album; its photos stay, and those of a private one stay private. Who made it may, owners and managers.

    Raises Problem not_found or not_allowed.
    """
    async with db.transaction(caller.scope) as tx:
        await _find_own(tx, album_id)
        await store.remove_album(tx, album_id)


async def list_pairs(
    db: Database, *, caller: Caller, project_id: UUID, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[PhotoPair]:
    """Pairs whose photos the caller may see, the newest first. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        await _enter(tx, project_id)
        return await store.pairs(tx, project_id, after=after, limit=limit)


async def make_pair(db: Database, *, caller: Caller, project_id: UUID, wanted: NewPair, now: datetime) -> PhotoPair:
    """Put two photos beside each other; again, with the same content, it is that.

    Raises Problem not_found, not_allowed, id_invalid, invalid for a photo beside itself, reference_unknown, or
    id_taken, also where the two are a pair already.
    """
    if not is_uuid7(wanted.pair_id):
        raise Problem("id_invalid")
    async with db.transaction(caller.scope) as tx:
        await _enter(tx, project_id)
        identity.permit(tx, "files", "standard")
        if wanted.before_id == wanted.after_id:
            raise Problem("invalid", "before_id and after_id are the same photo")
        await _check_photo(tx, project_id, wanted.before_id, field="before_id")
        await _check_photo(tx, project_id, wanted.after_id, field="after_id")
        made = await store.add_pair(
            tx,
            wanted.pair_id,
            project_id=project_id,
            before_id=wanted.before_id,
            after_id=wanted.after_id,
            title=wanted.title,
            at=now,
        )
        there = made or await store.pair(tx, wanted.pair_id)
    if there is None or (there.before_id, there.after_id) != (wanted.before_id, wanted.after_id):
        raise Problem("id_taken")
    return there


async def remove_pair(db: Database, *, caller: Caller, pair_id: UUID) -> None:
    """Undo a pair; who made it may, owners and managers. Raises Problem not_found or not_allowed."""
    async with db.transaction(caller.scope) as tx:
        pair = await store.pair(tx, pair_id)
        if pair is None:
            raise Problem("not_found")
        identity.permit(tx, "files", "standard" if pair.created_by == caller.person_id else "admin")
        await store.remove_pair(tx, pair_id)


async def _enter(tx: Transaction, project_id: UUID) -> None:
    await projects.find_project(tx, project_id)
    identity.permit(tx, "files", "read")


async def _find_own(tx: Transaction, album_id: UUID) -> Album:
    album = await store.album(tx, album_id)
    if album is None:
        raise Problem("not_found")
    identity.permit(tx, "files", "standard" if album.created_by == tx.person_id else "admin")
    return album


async def _check_photo(tx: Transaction, project_id: UUID, document_id: UUID, *, field: str) -> None:
    photo = await documents.by_id(tx, document_id)
    if photo is None or photo.project_id != project_id or photo.kind != "photo":
        raise Problem("reference_unknown", field=field)
