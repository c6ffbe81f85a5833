"""Reading documents: lists, pages, downloads; and renewing what is known of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from buildpeer.facts import PageMade, page_key
from buildpeer.modules.documents import events, rules
from buildpeer.modules.documents.store import documents as store
from buildpeer.modules.documents.store.documents import Document, Selection
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.uploads.facade import ReadyFile
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.errors import Problem
from buildpeer.platform.storage import SignedUrl, Storage
from buildpeer.platform.throttle import Throttle

MAX_PAGE_BYTES = 4096  # of what derive says of a page
RenditionName = Literal["original", "preview", "thumbnail"]


class Page(msgspec.Struct, frozen=True):
    """A page of a document; `made` is None while it isn't there yet."""

    document: Document
    number: int
    made: PageMade | None = None
    picture: SignedUrl | None = None
    tiles: SignedUrl | None = None


async def list_documents(
    db: Database, *, caller: Caller, wanted: Selection, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Document]:
    """Documents that the caller may see, newest first; superseded versions are left out."""
    async with db.transaction(caller.scope) as tx:
        return await store.page(tx, wanted, after=after, limit=limit)


async def list_folder(
    db: Database, *, caller: Caller, wanted: Selection, after: tuple[str, UUID] | None, limit: int
) -> Sequence[Document]:
    """What lies in the wanted folder, or in none, by name as people order names. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        if wanted.project_id is not None:
            await projects.find_project(tx, wanted.project_id)
        return await store.page_of_folder(tx, wanted, after=after, limit=limit)


async def get_document(db: Database, *, caller: Caller, document_id: UUID) -> Document:
    """One document that the caller may see.

    Raises Problem not_found.
    """
    async with db.transaction(caller.scope) as tx:
        return found(await store.by_id(tx, document_id))


def found(document: Document | None) -> Document:
    """What a lookup gave. Raises Problem not_found where that was nothing."""
    if document is None:
        raise Problem("not_found")
    return document


async def download(
    db: Database, storage: Storage, *, caller: Caller, document_id: UUID, rendition: RenditionName
) -> SignedUrl:
    """A read URL for the original or one of its pictures; the audit trail says who asked.

    Raises Problem not_found, also for a picture that could not be made.
    """
    async with db.transaction(caller.scope) as tx:
        document = found(await store.by_id(tx, document_id))
        signed = _sign(storage, document, rendition)
        await store.audit_download(tx, document, rendition)
    return signed


async def look_at(
    db: Database,
    storage: Storage,
    throttle: Throttle,
    *,
    derived_bucket: str,
    caller: Caller,
    document_id: UUID,
    number: int,
) -> Page:
    """A page, counted from 1: its picture and tiles, or the word that they are being made, which this call asks for.

    However many look at once, the page is ordered once; should that order be lost, who still asks after a minute
    orders it again. The audit trail says who looked. Raises Problem not_found, also for what has no pages to show.
    """
    async with db.transaction(caller.scope) as tx:
        document = found(await store.by_id(tx, document_id))
    if not rules.has_page(number, document.media, shown=document.preview is not None):
        raise Problem("not_found")
    made = await _made(storage, derived_bucket, document, number)
    bytes_and_page = f"{document.key}/{document.version_id}/{number}"
    orders = made is None and await throttle.is_first(rules.PAGE_ORDERS, bytes_and_page)
    # S3 was asked in between, with no transaction open: the right to look is asked for once more
    async with db.transaction(caller.scope) as tx:
        found(await store.by_id(tx, document_id))
        if orders:
            order = events.page_wanted(document.bucket, document.key, document.version_id, document.size_bytes, number)
            await tx.announce([order])
        if made is None:
            return Page(document, number)
        await store.audit_download(tx, document, f"page {number}")

    def sign(ending: str, content_type: str) -> SignedUrl:
        return storage.sign_read(
            bucket=derived_bucket,
            key=page_key(document.key, document.version_id, number, ending),
            version_id=None,
            filename=f"{document.name}.{number}.{ending}",
            content_type=content_type,
        )

    return Page(
        document,
        number,
        made=made,
        picture=sign("webp", "image/webp") if made.picture else None,
        tiles=sign("pmtiles", "application/vnd.pmtiles") if made.tiles else None,
    )


async def _made(storage: Storage, bucket: str, document: Document, number: int) -> PageMade | None:
    found = await storage.read(
        bucket=bucket, key=page_key(document.key, document.version_id, number, "json"), most=MAX_PAGE_BYTES
    )
    return None if found is None else msgspec.json.decode(found, type=PageMade)


async def renew(tx: Transaction, file: ReadyFile) -> None:
    """Give every document with these bytes what derive says of them now, as far as `file.renews` asks, and announce it.

    What people or a scanner have decided stays: its name, kind and project, a withdrawal, and a time or place that its
    own sender said. Where nothing changes nothing is announced.
    """
    for document in await store.lock_by_bytes(tx, file.key, file.version_id):
        new, words = document, None
        if file.renews in ("all", "preview"):
            new = msgspec.structs.replace(
                new, thumbnail=file.thumbnail, preview=file.preview, preview_reason=file.preview_reason
            )
        if file.renews in ("all", "media"):
            project = await projects.find_project(tx, document.project_id)
            new = _read_anew(new, file, project.timezone)
        if file.renews in ("all", "words"):
            words = file.text
        if await store.renew(tx, new, words=words):
            news = events.DocumentNews(document.document_id, document.project_id, document.kind, document.name)
            await tx.announce([events.renewed(news)])


def _read_anew(document: Document, file: ReadyFile, zone: str) -> Document:
    said_at = document.captured_at if document.captured_from == "client" else file.said_captured_at
    said = document.latitude, document.longitude
    if document.located_from != "client":
        said = file.said_latitude, file.said_longitude
    capture = rules.captured(file.media, said=said_at, zone=zone)
    location = rules.located(file.media, latitude=said[0], longitude=said[1])
    return msgspec.structs.replace(
        document,
        content_type=file.content_type,
        media=file.media,
        icon=file.icon,
        captured_at=capture.at,
        captured_from=capture.source,
        latitude=location.latitude,
        longitude=location.longitude,
        located_from=location.source,
    )


def _sign(storage: Storage, document: Document, rendition: RenditionName) -> SignedUrl:
    if rendition == "original":
        return storage.sign_read(
            bucket=document.bucket,
            key=document.key,
            version_id=document.version_id,
            filename=document.name,
            content_type=document.content_type,
        )
    picture = document.thumbnail if rendition == "thumbnail" else document.preview
    if picture is None:
        raise Problem("not_found")
    return storage.sign_read(
        bucket=picture.bucket,
        key=picture.key,
        version_id=None,
        filename=f"{document.name}.{rendition}.webp",
        content_type=picture.content_type,
    )
