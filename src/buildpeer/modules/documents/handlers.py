"""Doors for events: a ready upload becomes a document."""

from buildpeer.modules.documents import events, store
from buildpeer.modules.uploads.facade import ReadyFile
from buildpeer.platform.db import Transaction


async def on_upload_ready(tx: Transaction, file: ReadyFile) -> None:
    """Make the document, and announce it, in the transaction that makes the upload ready; twice changes nothing."""
    if await store.insert(tx, file):
        news = events.DocumentNews(file.upload_id, file.project_id, file.kind, file.name)
        await tx.announce([events.added(news)])
