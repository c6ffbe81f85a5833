"""A document's versions: its history, going back to an older one, and erasing it whole."""

from datetime import datetime
from uuid import UUID

from buildpeer.modules.documents import events
from buildpeer.modules.documents.service.documents import found
from buildpeer.modules.documents.store import documents
from buildpeer.modules.documents.store import versions as store
from buildpeer.modules.documents.store.documents import Document
from buildpeer.modules.identity import facade as identity
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import is_uuid7


async def list_versions(db: Database, *, caller: Caller, document_id: UUID) -> list[Document]:
    """All versions of a document, by the id of any of them, the newest first. Raises Problem not_found."""
    async with db.transaction(caller.scope) as tx:
        document = found(await documents.by_id(tx, document_id))
        return await store.versions(tx, document.series_id)


async def add_version(
    db: Database, *, caller: Caller, document_id: UUID, version_id: UUID, content_of: UUID, now: datetime
) -> Document:
    """A new version, `version_id`, with the content of another document of the project, or of an older version: so an
    older one is restored, and nothing is lost. Sent again, it is that.

    Raises Problem not_found, not_allowed, id_invalid, reference_unknown for content that isn't in sight, or id_taken.
    """
    if not is_uuid7(version_id):
        raise Problem("id_invalid")
    async with db.transaction(caller.scope) as tx:
        document = found(await documents.by_id(tx, document_id))
        identity.permit(tx, "files", "standard")
        content = await documents.by_id(tx, content_of)
        if content is None or content.project_id != document.project_id:
            raise Problem("reference_unknown", field="document_id")
        made = await store.copy(tx, content_of, made=version_id)
        if made and not await store.add(tx, version_id, to=document_id, at=now):
            raise Problem("changed_meanwhile")
        version = await documents.by_id(tx, version_id)
        if version is None or version.series_id != document.series_id or version.sha256 != content.sha256:
            raise Problem("id_taken")
        if made:
            await tx.announce([events.changed(events.DocumentsNews(document.project_id, [version_id]))])
    return version


async def erase(db: Database, *, caller: Caller, document_id: UUID) -> None:
    """Take a document away with all its versions, for everybody and at once; bytes follow when no other document has
    them. Owners and managers may, and who uploaded every one of them.

    Raises Problem not_found, not_allowed, or document_filed: published drawings are made of it.
    """
    async with db.transaction(caller.scope) as tx:
        document = found(await documents.by_id(tx, document_id))
        history = await store.versions(tx, document.series_id)
        own = all(version.created_by == caller.person_id for version in history)
        identity.permit(tx, "files", "standard" if own else "admin")
        gone = await store.erase(tx, document.series_id)
        if not gone:  # somebody else was faster
            raise Problem("not_found")
        await tx.announce([events.erased(news) for news in gone])
