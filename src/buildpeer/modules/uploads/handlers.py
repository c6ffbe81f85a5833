"""Doors for events: what S3 and the functions say of a file."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from buildpeer import facts
from buildpeer.modules.uploads import service
from buildpeer.modules.uploads.rules import place_of
from buildpeer.platform.db import Database
from buildpeer.platform.storage import Storage

_GUARDDUTY_VERDICTS = {"NO_THREATS_FOUND": "clean", "THREATS_FOUND": "infected"}


async def on_facts(
    db: Database, storage: Storage, bodies: Sequence[str], *, on_ready: service.OnReady, now: datetime
) -> None:
    """Take messages of a status queue, those on files of one tenant in one transaction; the same message twice changes
    nothing.

    Raises msgspec.ValidationError or ValueError for a message that is none of ours, so that it ends in the dead-letter
    queue, where people look. When it raises over several, each may or may not have been taken: take them one by one.
    """
    by_tenant: defaultdict[UUID, list[service.Told]] = defaultdict(list)
    parts: list[facts.PartAssembled] = []
    for body in bodies:
        # No text of ours holds NUL, and Postgres keeps none; a camera or a scanner may say it all the same.
        event = msgspec.json.decode(body.replace("\\u0000", ""), type=facts.Event)
        if (event.source, event.detail_type) == (facts.SOURCE_ASSEMBLE, facts.PART_ASSEMBLED):
            parts.append(msgspec.json.decode(event.detail, type=facts.PartAssembled))
            continue
        read = _READERS.get((event.source, event.detail_type))
        if read is None:
            raise ValueError(f"no fact of ours: {event.source} {event.detail_type}")
        bucket, key, known = read(event.detail)
        told = service.Told(bucket, place_of(key), known)
        by_tenant[told.place.tenant_id].append(told)
    for told in by_tenant.values():
        await service.learn(db, told, on_ready=on_ready, now=now)
    for part in parts:
        place = place_of(part.object.key)
        await service.part_assembled(db, storage, bucket=part.bucket.name, place=place, outcome=part.outcome, now=now)


Known = tuple[str, str, dict[str, Any]]


def _created(detail: msgspec.Raw) -> Known:
    fact = msgspec.json.decode(detail, type=facts.ObjectCreated)
    return fact.bucket.name, fact.object.key, {"version_id": fact.object.version_id}


def _scanned(detail: msgspec.Raw) -> Known:
    fact = msgspec.json.decode(detail, type=facts.FileScanned)
    known: dict[str, Any] = {
        "version_id": fact.object.version_id,
        "verdict": fact.verdict,
        "scan_reason": fact.reason,
        "scanner": fact.scanner,
    }
    if fact.order:
        known["order"] = UUID(fact.order)
    return fact.bucket.name, fact.object.key, known


def _derived(detail: msgspec.Raw) -> Known:
    fact = msgspec.json.decode(detail, type=facts.FileDerived)
    known = {
        "version_id": fact.object.version_id,
        "derived": msgspec.structs.replace(fact, text="", renews=""),
        "text": fact.text,
        "renews": fact.renews,
    }
    return fact.bucket.name, fact.object.key, known


def _guardduty(detail: msgspec.Raw) -> Known:
    fact = msgspec.json.decode(detail)
    place, status = fact["s3ObjectDetails"], fact["scanResultDetails"]["scanResultStatus"]
    verdict = _GUARDDUTY_VERDICTS.get(status, "unscannable")
    known = {"version_id": place["versionId"], "verdict": verdict, "scanner": "guardduty"}
    return place["bucketName"], place["objectKey"], known


_READERS: dict[tuple[str, str], Callable[[msgspec.Raw], Known]] = {
    (facts.SOURCE_S3, facts.OBJECT_CREATED): _created,
    (facts.SOURCE_SCAN, facts.FILE_SCANNED): _scanned,
    (facts.SOURCE_DERIVE, facts.FILE_DERIVED): _derived,
    (facts.SOURCE_GUARDDUTY, facts.GUARDDUTY_RESULT): _guardduty,
}
