"""What becomes of an upload as facts about it come in."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec
import structlog

from buildpeer.facts import FileDerived
from buildpeer.modules.uploads import events, rules, store
from buildpeer.modules.uploads.facade import ReadyFile, ready_file
from buildpeer.modules.uploads.rules import Place, Upload
from buildpeer.platform.db import Database, Scope, Transaction

# Called when a file becomes ready, when what is known of it is renewed, when it turns out to be infected, or not to be.
OnReady = Callable[[Transaction, ReadyFile], Awaitable[None]]

_log = structlog.get_logger()


class Told(msgspec.Struct, frozen=True):
    """What a function or S3 says of one version of an object."""

    bucket: str
    place: Place
    facts: dict[str, Any]


async def learn(db: Database, told: Sequence[Told], *, on_ready: OnReady, now: datetime) -> None:
    """Add what was said of files of one tenant, all of it or nothing, and announce what changed.

    Late, repeated and unordered facts change nothing. A fact about another version than the one we hold is dropped:
    verdict, hash and previews are all bound to one version; so is one about an upload that we don't know. Raises
    ValueError for pictures that are not the upload's own.
    """
    ids = sorted({each.place.upload_id for each in told})
    request = f"fact:{ids[0]}" if len(ids) == 1 else f"facts:{len(told)}"
    async with db.transaction(Scope(told[0].place.tenant_id, None, request)) as tx:
        # all rows before anything is written, which locks more: two of these wait for each other, and never for good
        uploads = {upload.upload_id: upload for upload in await store.lock_all(tx, ids)}
        for each in told:
            upload = uploads.get(each.place.upload_id)
            if upload is None or (upload.bucket, upload.key) != (each.bucket, each.place.key):
                _log.warning("fact_without_upload", key=each.place.key)
            else:
                uploads[upload.upload_id] = await _learn(tx, upload, each.facts, on_ready=on_ready, now=now)


async def _learn(tx: Transaction, upload: Upload, facts: dict[str, Any], *, on_ready: OnReady, now: datetime) -> Upload:
    if upload.state in rules.KEEPS_NOTHING:
        await _doom(tx, upload, **facts)
        return upload
    if upload.version_id not in (None, facts["version_id"]):
        _log.warning("fact_of_other_version", key=upload.key, version_id=facts["version_id"])
        return upload
    rules.check_pictures(upload, **facts)
    if upload.state == "quarantined" and "order" in facts:
        return await _release(tx, upload, facts, on_ready=on_ready, now=now)
    return await become(tx, upload, facts, on_ready=on_ready, now=now)


async def _doom(
    tx: Transaction,
    upload: Upload,
    *,
    version_id: str,
    verdict: str | None = None,
    derived: FileDerived | None = None,
    **_others: Any,
) -> None:
    """Have bytes deleted that came when nobody wanted them any more; a verdict on them brings nothing new."""
    if verdict is None:
        rules.check_pictures(upload, version_id=version_id, derived=derived)
        pictures = (derived.thumbnail, derived.preview) if derived else (None, None)
        await store.doom(
            tx,
            bucket=upload.bucket,
            key=upload.key,
            version_id=version_id,
            thumbnail=pictures[0],
            preview=pictures[1],
        )


async def _release(
    tx: Transaction, upload: Upload, facts: dict[str, Any], *, on_ready: OnReady, now: datetime
) -> Upload:
    """End an operator's order with what the scanner has answered to it; a verdict that answers no open order, an older
    one that comes late above all, releases nothing.
    """
    answered = await store.answer_release(
        tx,
        facts["order"],
        upload.upload_id,
        verdict=facts["verdict"],
        scanner=facts["scanner"],
        reason=facts["scan_reason"],
        now=now,
    )
    after = rules.released(upload, **facts) if answered else upload
    if after is upload:
        return upload
    after = msgspec.structs.replace(after, updated_at=now, redrives=0)
    await store.save(tx, after, now=now, check_at=rules.next_check(after.state, redrives=0, now=now))
    await tx.announce([events.news(events.CHANGED, after)])
    if after.state == "ready":
        await on_ready(tx, ready_file(after, released=True))
    return after


async def become(tx: Transaction, upload: Upload, facts: dict[str, Any], *, on_ready: OnReady, now: datetime) -> Upload:
    """Add facts to an upload that this transaction has locked; writes and announces what changed."""
    after = rules.learn(upload, **facts)
    if after is upload:
        return upload
    after = msgspec.structs.replace(after, updated_at=now, redrives=0)
    check_at = rules.next_check(after.state, redrives=after.redrives, now=now)
    await store.save(tx, after, now=now, check_at=check_at)
    if after.state != upload.state:
        await tx.announce([events.news(events.CHANGED, after)])
    if after.state == "ready" or upload.state == "ready":
        await on_ready(tx, ready_file(after, renews=facts.get("renews", "") if upload.state == "ready" else ""))
    return after


async def end(tx: Transaction, upload: Upload, state: rules.State, reason: str, *, now: datetime) -> None:
    """End an upload that this transaction has locked, and announce it."""
    ended = msgspec.structs.replace(upload, state=state, reason=reason, updated_at=now)
    await store.save(tx, ended, now=now, check_at=None)
    await tx.announce([events.news(events.CHANGED, ended)])
