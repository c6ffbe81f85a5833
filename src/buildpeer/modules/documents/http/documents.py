"""Doors for documents."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import Controller, Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody, QueryParameter

from buildpeer.modules.documents import service
from buildpeer.modules.documents.http.views import DocumentView, view, views
from buildpeer.modules.documents.service import DocumentChanges, NewArchive, RenditionName
from buildpeer.modules.documents.store.changes import Changes, Placement
from buildpeer.modules.documents.store.documents import Selection
from buildpeer.modules.jobs.facade import JobStarted
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem
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
    ThrottleDep,
    page,
    read_cursor,
    read_if_match,
    tagged,
    used_with,
)
from buildpeer.platform.messages import reason_text
from buildpeer.platform.storage import SignedUrl

Kind = Literal["plan", "photo", "report"]
PageState = Literal["ready", "making", "failed"]


class ManyChanges(msgspec.Struct):
    """What becomes different of which documents."""

    document_ids: list[UUID]
    changes: Changes


class Placements(msgspec.Struct):
    """Where which files go."""

    placements: list[Placement]


class NewVersion(msgspec.Struct):
    """A version to make, `version_id` being a UUIDv7 of the client's making, with the content of `document_id`."""

    version_id: UUID
    document_id: UUID


class Wanted(msgspec.Struct):
    """Which rendition to download."""

    rendition: RenditionName = "original"


class PageView(msgspec.Struct, kw_only=True):
    """A page: `ready`, `making` (ask again in a second or two), or `failed`, with a `reason`.

    `tiles` is there when the page holds more than its picture shows: a PMTiles file (version 3, JPEG tiles of 512 px)
    to be read by ranges; `tiles_width` and `tiles_height` are the pixels of its finest level.
    """

    number: int
    state: PageState
    label: str | None
    sheet_size_mm: tuple[int, int] | None
    reason: str | None
    reason_text: str | None
    picture: SignedUrl | None
    width: int | None
    height: int | None
    tiles: SignedUrl | None
    tiles_width: int | None
    tiles_height: int | None
    tiles_size_bytes: int | None


class DocumentsController(Controller):
    """Files that people work with."""

    path = "/v1/documents"
    tags = ("documents",)
    opt = used_with("files")

    @get(summary="List documents")
    async def list_documents(
        self,
        *,
        caller: CallerDep,
        db: DatabaseDep,
        language: LanguageDep,
        project_id: Annotated[UUID | None, QueryParameter(name="project_id", required=False)] = None,
        q: Annotated[str, QueryParameter(name="q", required=False, max_length=200)] = "",
        tag: Annotated[list[str] | None, QueryParameter(name="tag", required=False, max_items=10)] = None,
        kind: Annotated[Kind | None, QueryParameter(name="kind", required=False)] = None,
        folder_id: Annotated[UUID | None, QueryParameter(name="folder_id", required=False)] = None,
        archived: Annotated[bool, QueryParameter(name="archived", required=False)] = False,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[DocumentView]:
        """Documents that the caller may see, newest first; versions that were superseded are left out.

        With `q`, those whose name, description, tags or text has all of its words: neither accents nor endings count,
        "…" is a phrase, and - means without. Where nothing has them, those with words that come close. With `tag`,
        those with all of these tags. Other filters go with `project_id`, unless there is a `q` or `tag`; a folder is
        listed by name.
        """
        wanted = Selection(
            project_id=project_id, words=q.strip(), tags=tag or (), kind=kind, folder_id=folder_id, archived=archived
        )
        if project_id is None and (folder_id or kind or archived) and not (wanted.words or wanted.tags):
            raise Problem("invalid", "project_id is missing")
        if folder_id is not None and not (wanted.words or wanted.tags):
            return await _folder(db, caller=caller, language=language, wanted=wanted, cursor=cursor, limit=limit)
        after = read_cursor(cursor, tuple[datetime, UUID])
        found = await service.list_documents(db, caller=caller, wanted=wanted, after=after, limit=limit + 1)
        return page(views(found, language), limit, lambda d: [d.created_at, d.document_id])

    @get("/{document_id:uuid}", summary="One document")
    async def get_document(
        self, document_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep, language: LanguageDep
    ) -> Response[DocumentView]:
        """A document, or a version of it, and what is known of its content."""
        document = await service.get_document(db, caller=caller, document_id=document_id)
        return tagged(view(document, language), document.version)

    @patch("/{document_id:uuid}", summary="Change a document")
    async def change_document(
        self,
        *,
        document_id: FromPath[UUID],
        data: JSONBody[DocumentChanges],
        caller: CallerDep,
        db: DatabaseDep,
        language: LanguageDep,
        now: NowDep,
        if_match: IfMatch = None,
    ) -> Response[DocumentView]:
        """Change what is named; others' documents are archived and made private by owners and managers alone."""
        version = read_if_match(if_match)
        document = await service.change_document(
            db, caller=caller, document_id=document_id, version=version, changes=data, now=now
        )
        return tagged(view(document, language), document.version)

    @post("/changes", summary="Change many documents", status_code=200)
    async def change_documents(
        self,
        data: JSONBody[ManyChanges],
        caller: CallerDep,
        db: DatabaseDep,
        language: LanguageDep,
        now: NowDep,
    ) -> list[DocumentView]:
        """Move, tag, archive, star or hide up to 500 documents of one project: all of them, or none."""
        changed = await service.change_documents(
            db, caller=caller, document_ids=data.document_ids, changes=data.changes, now=now
        )
        return views(changed, language)

    @post("/placements", summary="Say where files go", status_code=204)
    async def place(self, data: JSONBody[Placements], caller: CallerDep, db: DatabaseDep, now: NowDep) -> None:
        """Say of up to 500 of one's own uploads where they go once they are ready: into a folder, an album or a place,
        or as the next version of a document. Said again, the later word counts. What is ready goes there at once.
        """
        await service.place(db, caller=caller, placements=data.placements, now=now)

    @get("/{document_id:uuid}/versions", summary="A document's versions")
    async def list_versions(
        self, document_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep, language: LanguageDep
    ) -> list[DocumentView]:
        """All versions of a document, by the id of any of them, the newest first."""
        return views(await service.list_versions(db, caller=caller, document_id=document_id), language)

    @post("/{document_id:uuid}/versions", summary="Make a version")
    async def add_version(
        self,
        *,
        document_id: FromPath[UUID],
        data: JSONBody[NewVersion],
        caller: CallerDep,
        db: DatabaseDep,
        language: LanguageDep,
        now: NowDep,
    ) -> DocumentView:
        """Make a new version with the content of an older one, which restores it, or of another document."""
        made = await service.add_version(
            db,
            caller=caller,
            document_id=document_id,
            version_id=data.version_id,
            content_of=data.document_id,
            now=now,
        )
        return view(made, language)

    @get("/{document_id:uuid}/pages/{number:int}", summary="One page")
    async def look_at_page(
        self,
        *,
        document_id: FromPath[UUID],
        number: FromPath[int],
        caller: CallerDep,
        db: DatabaseDep,
        storage: StorageDep,
        throttle: ThrottleDep,
        settings: SettingsDep,
        language: LanguageDep,
    ) -> PageView:
        """A page of a PDF, drawing or picture, counted from 1, made when somebody first asks for it."""
        found = await service.look_at(
            db,
            storage,
            throttle,
            derived_bucket=settings.derived_bucket,
            caller=caller,
            document_id=document_id,
            number=number,
        )
        return _page_view(found, language)

    @delete("/{document_id:uuid}", summary="Erase a document", opt=used_with("files", write="admin"))
    async def erase(self, document_id: FromPath[UUID], caller: CallerDep, db: DatabaseDep) -> None:
        """Take a document away with all its versions; owners and managers may, and who sent every one of them."""
        await service.erase(db, caller=caller, document_id=document_id)

    @post("/{document_id:uuid}/downloads", summary="A read URL")
    async def download(
        self,
        document_id: FromPath[UUID],
        data: JSONBody[Wanted],
        caller: CallerDep,
        db: DatabaseDep,
        storage: StorageDep,
    ) -> SignedUrl:
        """A URL for the original or a picture of it, good for five minutes; the audit trail says who asked."""
        return await service.download(db, storage, caller=caller, document_id=document_id, rendition=data.rendition)


class ProjectDocumentsController(Controller):
    """Documents of one project."""

    path = "/v1/projects/{project_id:uuid}"
    tags = ("documents",)
    opt = used_with("files")

    @get("/unfiled-documents", summary="List what lies in no folder")
    async def list_unfiled(
        self,
        *,
        project_id: FromPath[UUID],
        caller: CallerDep,
        db: DatabaseDep,
        language: LanguageDep,
        kind: Annotated[Kind | None, QueryParameter(name="kind", required=False)] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[DocumentView]:
        """What lies in the project itself, by name as people order names."""
        wanted = Selection(project_id=project_id, kind=kind)
        return await _folder(db, caller=caller, language=language, wanted=wanted, cursor=cursor, limit=limit)

    @post("/archives", summary="Order a ZIP file", opt=used_with("files", write="read"))
    async def order_archive(
        self,
        project_id: FromPath[UUID],
        data: JSONBody[NewArchive],
        caller: CallerDep,
        db: DatabaseDep,
        language: LanguageDep,
    ) -> JobStarted:
        """A folder with all that lies in it, or up to 500 documents of a project, as one file: `GET /v1/jobs/{job_id}`
        says when it is there. What is still being checked, or locked away meanwhile, is left out, and named in it.
        """
        return await service.order_archive(db, caller=caller, project_id=project_id, wanted=data, language=language)


async def _folder(
    db: Database, *, caller: Caller, language: str, wanted: Selection, cursor: str | None, limit: int
) -> Page[DocumentView]:
    after = read_cursor(cursor, tuple[str, UUID])
    found = await service.list_folder(db, caller=caller, wanted=wanted, after=after, limit=limit + 1)
    names = {document.document_id: document.ordered_name for document in found}
    return page(views(found, language), limit, lambda d: [names[d.document_id], d.document_id])


def _page_view(found: service.Page, language: str) -> PageView:
    media, made, place = found.document.media, found.made, found.number - 1
    labels, sheets = media.page_labels or [], media.sheet_sizes_mm or []
    picture, tiles = (made.picture, made.tiles) if made else (None, None)
    return PageView(
        number=found.number,
        state="making" if made is None else "ready" if picture else "failed",
        label=(labels[place] or None) if place < len(labels) else None,
        sheet_size_mm=sheets[place] if place < len(sheets) else None,
        reason=(made.reason or None) if made else None,
        reason_text=reason_text(made.reason, language) if made else None,
        picture=found.picture,
        width=picture.width if picture else None,
        height=picture.height if picture else None,
        tiles=found.tiles,
        tiles_width=tiles.width if tiles else None,
        tiles_height=tiles.height if tiles else None,
        tiles_size_bytes=tiles.size if tiles else None,
    )
