"""Doors for events: an upload that is ready, or whose content is known, becomes a document."""

from collections.abc import Sequence

from buildpeer.modules.documents import events, rules
from buildpeer.modules.documents.service import documents as service
from buildpeer.modules.documents.store import changes, versions
from buildpeer.modules.documents.store import documents as store
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.uploads.facade import LinkedFile, ReadyFile
from buildpeer.platform.db import Transaction


async def on_upload_ready(tx: Transaction, file: ReadyFile) -> None:
    """Make the document, and announce it, in the transaction that makes the upload ready; twice changes nothing.

    What is known of a file that was ready is renewed in each of its documents, and one that was erased stays so. Every
    document of a file that is infected after all is withdrawn, and given back if that was a false alarm.
    """
    if file.infected:
        while gone := await store.withdraw(tx, file, at=file.settled_at):  # again: one more may just have been linked
            await tx.announce(events.withdrawn(news) for news in gone)
        return
    if file.released:
        await tx.announce(events.returned(news) for news in await store.give_back(tx, file))
        return
    if file.renews:
        await service.renew(tx, file)
        return
    project = await projects.find_project(tx, file.project_id)
    capture = rules.captured(file.media, said=file.said_captured_at, zone=project.timezone)
    location = rules.located(file.media, latitude=file.said_latitude, longitude=file.said_longitude)
    if await store.insert(tx, file, capture, location):
        placement = await changes.take_placement(tx, file.upload_id)
        if placement is not None:
            await changes.put(tx, file.upload_id, placement)
            if placement.version_of is not None:  # of what is gone by now it becomes no version, but a document
                await versions.add(tx, file.upload_id, to=placement.version_of, at=file.settled_at)
        if placement is None or not placement.private:
            news = events.DocumentNews(file.upload_id, file.project_id, file.kind, file.name)
            await tx.announce([events.added(news)])


async def on_uploads_linked(tx: Transaction, files: Sequence[LinkedFile]) -> None:
    """Announce documents that this transaction has made of known content."""
    await tx.announce(
        events.added(events.DocumentNews(file.document_id, file.project_id, file.kind, file.name)) for file in files
    )
