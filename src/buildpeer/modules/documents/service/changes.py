"""What people say of documents, of one or of many at once, and where files go."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET

from buildpeer.modules.documents import events, rules
from buildpeer.modules.documents.service.documents import found
from buildpeer.modules.documents.store import changes as store
from buildpeer.modules.documents.store import documents, folders, photos, versions
from buildpeer.modules.documents.store.changes import Changes, Placement
from buildpeer.modules.documents.store.documents import Document
from buildpeer.modules.identity import facade as identity
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.uploads import facade as uploads
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem

C = TypeVar("C", bound=Changes)


class DocumentChanges(Changes, frozen=True, kw_only=True):
    """What becomes different of one document, which has a name and a description of its own."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = None
    description: Annotated[str, msgspec.Meta(max_length=4000)] | None = None


async def change_document(
    db: Database, *, caller: Caller, document_id: UUID, version: int | None, changes: DocumentChanges, now: datetime
) -> Document:
    """Change what is named, if the document still has that `version`; None: whatever it is.

    Raises Problem not_found, not_allowed, reference_unknown, name_invalid, invalid, or changed_meanwhile, also for a
    version of it that was superseded.
    """
    async with db.transaction(caller.scope) as tx:
        document = found(await documents.by_id(tx, document_id))
        changes = await _checked(tx, [document], changes)
        changed = await store.change(
            tx,
            [document_id],
            changes,
            version=version,
            name=None if changes.name is None else rules.tidy_name(changes.name),
            description=changes.description,
            at=now,
        )
        if not changed:
            raise Problem("changed_meanwhile")
        await tx.announce([events.changed(events.DocumentsNews(document.project_id, [document_id]))])
    return changed[0]


async def change_documents(
    db: Database, *, caller: Caller, document_ids: Sequence[UUID], changes: Changes, now: datetime
) -> Sequence[Document]:
    """Change what is named of all these documents of one project, or of none of them.

    Raises Problem not_found, with those `documents` that aren't there, not_allowed, reference_unknown or invalid.
    """
    if not 1 <= len(document_ids) <= rules.MOST_AT_ONCE:
        raise Problem("invalid", f"document_ids are 1 to {rules.MOST_AT_ONCE}")
    async with db.transaction(caller.scope) as tx:
        held = await store.lock(tx, document_ids)
        if missing := set(document_ids) - {document.document_id for document in held}:
            raise Problem("not_found", documents=sorted(missing))
        changes = await _checked(tx, held, changes)
        changed = await store.change(tx, document_ids, changes, at=now)
        await tx.announce([events.changed(events.DocumentsNews(held[0].project_id, list(document_ids)))])
    return changed


async def place(db: Database, *, caller: Caller, placements: Sequence[Placement], now: datetime) -> None:
    """Say where the caller's files go once they are ready; those that are, go there at once. A duplicate becomes a
    document of its own there.

    Raises Problem not_found, with those `uploads` that aren't the caller's, reference_unknown or invalid.
    """
    if not 1 <= len(placements) <= rules.MOST_AT_ONCE:
        raise Problem("invalid", f"placements are 1 to {rules.MOST_AT_ONCE}")
    wanted = {p.upload_id: msgspec.structs.replace(p, tags=rules.tidy_tags(p.tags)) for p in placements}
    async with db.transaction(caller.scope) as tx:
        sent = await uploads.sent_by_caller(tx, list(wanted))
        if missing := set(wanted) - set(sent):
            raise Problem("not_found", uploads=sorted(missing))
        identity.permit(tx, "files", "standard")
        for upload_id, placement in wanted.items():
            await _check_places(tx, sent[upload_id].project_id, placement)
            if placement.version_of is not None:
                document = await documents.by_id(tx, placement.version_of)
                if document is None or document.project_id != sent[upload_id].project_id:
                    raise Problem("reference_unknown", field="version_of")
            await store.place(tx, sent[upload_id].project_id, placement)
        # Whoever makes a file ready holds its upload, which the placement's foreign key waits for, and looks for a
        # placement: so by now either it is ready, or its placement will be found.
        for file in (await uploads.sent_by_caller(tx, list(wanted))).values():
            if file.state not in ("ready", "duplicate"):
                continue
            placement = await store.take_placement(tx, file.upload_id)
            if file.document_id is not None:
                await versions.copy(tx, file.document_id, made=file.upload_id)
            if placement is not None:
                await _put(tx, file.project_id, placement, at=now)


async def _put(tx: Transaction, project_id: UUID, placement: Placement, *, at: datetime) -> None:
    document = await documents.by_id(tx, placement.upload_id)
    if document is None or document.version_number > 1:
        return  # erased since, or placed already
    changes = Changes(
        folder_id=placement.folder_id,
        album_id=placement.album_id,
        location_id=placement.location_id,
        trade_id=placement.trade_id,
        add_tags=placement.tags,
        private=placement.private,
    )
    await store.change(tx, [placement.upload_id], changes, at=at)
    if placement.version_of is not None:
        await versions.add(tx, placement.upload_id, to=placement.version_of, at=at)
    await tx.announce([events.changed(events.DocumentsNews(project_id, [placement.upload_id]))])


async def _checked(tx: Transaction, held: Sequence[Document], changes: C) -> C:
    """Whether the caller may change these documents so, and what is named is there."""
    identity.permit(tx, "files", "standard")
    others = any(document.created_by != tx.person_id for document in held)
    if others and (changes.archived is not None or changes.private is not None):
        identity.permit(tx, "files", "admin")
    project_id = held[0].project_id
    if any(document.project_id != project_id for document in held):
        raise Problem("invalid", "the documents belong to several projects")
    await _check_places(tx, project_id, changes)
    return msgspec.structs.replace(changes, add_tags=rules.tidy_tags(changes.add_tags))


async def _check_places(tx: Transaction, project_id: UUID, places: Changes | Placement) -> None:
    folder_id, album_id, location_id, trade_id = (
        None if place is UNSET else place
        for place in (places.folder_id, places.album_id, places.location_id, places.trade_id)
    )
    if folder_id is not None:
        folder = await folders.hold(tx, folder_id)
        if folder is None or folder.project_id != project_id:
            raise Problem("reference_unknown", field="folder_id")
    if album_id is not None:
        album = await photos.album(tx, album_id)
        if album is None or album.project_id != project_id:
            raise Problem("reference_unknown", field="album_id")
    await projects.check_references(
        tx,
        project_id,
        locations=[] if location_id is None else [location_id],
        trades=[] if trade_id is None else [trade_id],
    )
