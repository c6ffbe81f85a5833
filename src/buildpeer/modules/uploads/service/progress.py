"""How far files are on their way, as their senders say."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from buildpeer.modules.identity import facade as identity
from buildpeer.modules.uploads import events, rules, store
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database


async def note_progress(db: Database, *, caller: Caller, sent: Sequence[tuple[UUID, int]], now: datetime) -> None:
    """Note how many bytes of the caller's own uploads have been sent; anything else is passed over.

    It only goes forward, up to the file's size, while bytes are awaited, and means nothing but news for people: what
    has arrived is what S3 holds. An upload's progress is told at most every PROGRESS_TOLD_EVERY.

    Raises Problem not_found or not_allowed for who may send no files.
    """
    async with db.transaction(caller.scope) as tx:
        identity.permit(tx, "files", "standard")
        begun, telling = await store.progress(tx, sent, now=now, told_before=now - rules.PROGRESS_TOLD_EVERY)
        await tx.announce(
            [events.news(events.CHANGED, upload) for upload in begun]
            + [events.news(events.PROGRESSED, upload) for upload in telling]
        )
