"""Doors for events: an upload that is ready, or whose content is known, becomes a document."""

from collections.abc import Sequence

from buildpeer.modules.documents import events, rules, store
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.uploads.facade import LinkedFile, ReadyFile
from buildpeer.platform.db import Transaction


async def on_upload_ready(tx: Transaction, file: ReadyFile) -> None:
    """Make the document, and announce it, in the transaction that makes the upload ready; twice changes nothing."""
    project = await projects.find_project(tx, file.project_id)
    capture = rules.captured(file.media, said=file.said_captured_at, zone=project.timezone)
    location = rules.located(file.media, latitude=file.said_latitude, longitude=file.said_longitude)
    if await store.insert(tx, file, capture, location):
        news = events.DocumentNews(file.upload_id, file.project_id, file.kind, file.name)
        await tx.announce([events.added(news)])


async def on_uploads_linked(tx: Transaction, files: Sequence[LinkedFile]) -> None:
    """Announce documents that this transaction has made of known content."""
    await tx.announce(
        events.added(events.DocumentNews(file.document_id, file.project_id, file.kind, file.name)) for file in files
    )
