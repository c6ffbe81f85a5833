"""Known content: what the caller may read already is linked, and no byte of it is sent."""

from collections.abc import Awaitable, Callable, Sequence

from buildpeer.modules.uploads import events, store
from buildpeer.modules.uploads.facade import LinkedFile
from buildpeer.modules.uploads.rules import Upload
from buildpeer.platform.db import Transaction

OnLinked = Callable[[Transaction, Sequence[LinkedFile]], Awaitable[None]]


async def link_known(tx: Transaction, fresh: Sequence[Upload], *, on_linked: OnLinked) -> None:
    """End those of these uploads, opened in this transaction, as duplicates whose content the caller may read already.

    Content is the same when size and hash are, of which we computed the document's ourselves. What the caller may not
    read is as good as unknown: one statement looks for all, and finds it no more than what nobody has.
    """
    links = await store.link_known(tx, [upload.upload_id for upload in fresh]) if fresh else []
    if not links:
        return
    ended = {upload.upload_id: upload for upload in await store.by_ids(tx, [link.upload_id for link in links])}
    await tx.announce(events.news(events.CHANGED, ended[link.upload_id]) for link in links)
    added = [ended[link.upload_id] for link in links if link.added]
    await on_linked(tx, [LinkedFile(u.upload_id, u.project_id, u.kind, u.name) for u in added])
