"""From an SQS batch to single events and back to what SQS must bring again.

The answer is Lambda's partial batch response: one bad message never fails the others
(https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html).
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog

from buildpeer import facts

log = structlog.get_logger("buildpeer.functions")


class UnknownEventError(ValueError):
    """The message isn't one of the events that this step takes."""


class GoneError(LookupError):
    """The object version that an event names is no longer there; there is nothing left to do."""


class Event(msgspec.Struct, frozen=True):
    """An EventBridge event, its detail not yet read."""

    source: str
    detail_type: str = msgspec.field(name="detail-type")
    detail: msgspec.Raw


class Location(msgspec.Struct, frozen=True):
    """The object version an event is about; `size` is 0 where the event doesn't say.

    `clean` is what a scan event says of it, None for any other.
    """

    bucket: str
    key: str
    version_id: str
    etag: str
    size: int
    clean: bool | None = None


class _S3Details(msgspec.Struct, frozen=True, rename="camel"):
    bucket_name: str
    object_key: str
    version_id: str = ""
    e_tag: str = ""


class _ScanDetails(msgspec.Struct, frozen=True, rename="camel"):
    scan_result_status: str = ""


class _GuardDutyResult(msgspec.Struct, frozen=True, rename="camel"):
    s3_object_details: _S3Details = msgspec.field(name="s3ObjectDetails")
    scan_result_details: _ScanDetails = _ScanDetails()


def read_event(body: str | bytes) -> Event:
    """Read a message's body; raises UnknownEventError."""
    try:
        return msgspec.json.decode(body, type=Event)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise UnknownEventError(f"Not an event: {exc}") from exc


def location_of(event: Event) -> Location:
    """The object version that an event is about, be it S3's, our scanner's, GuardDuty's, or an order.

    Raises UnknownEventError.
    """
    try:
        match event.source, event.detail_type:
            case (facts.SOURCE_S3, facts.OBJECT_CREATED) | (facts.SOURCE_UPLOADS, facts.RESCAN_WANTED):
                created = msgspec.json.decode(event.detail, type=facts.ObjectCreated)
                return _location(created.bucket, created.object, clean=None)
            case facts.SOURCE_UPLOADS, facts.DERIVE_WANTED:
                renewed = msgspec.json.decode(event.detail, type=facts.DeriveWanted)
                return _location(renewed.bucket, renewed.object, clean=True)
            case facts.SOURCE_SCAN, facts.FILE_SCANNED:
                scanned = msgspec.json.decode(event.detail, type=facts.FileScanned)
                return _location(scanned.bucket, scanned.object, clean=scanned.verdict == "clean")
            case facts.SOURCE_UPLOADS, facts.PART_WANTED:
                wanted = msgspec.json.decode(event.detail, type=facts.PartWanted)
                return _location(wanted.bucket, wanted.object, clean=None)
            case facts.SOURCE_DOCUMENTS, facts.PAGE_WANTED | facts.SHEETS_WANTED | facts.OVERLAY_WANTED:
                page = msgspec.json.decode(event.detail, type=facts.SheetsWanted)  # all of them name it alike
                return _location(page.bucket, page.object, clean=None)
            case facts.SOURCE_GUARDDUTY, facts.GUARDDUTY_RESULT:
                result = msgspec.json.decode(event.detail, type=_GuardDutyResult)
                place, clean = result.s3_object_details, result.scan_result_details.scan_result_status
                return Location(
                    bucket=place.bucket_name,
                    key=place.object_key,
                    version_id=place.version_id,
                    etag=place.e_tag,
                    size=0,
                    clean=clean == "NO_THREATS_FOUND",
                )
            case _:
                raise UnknownEventError(f"{event.source}: {event.detail_type}")
    except msgspec.DecodeError as exc:
        raise UnknownEventError(f"{event.detail_type}: {exc}") from exc


def run_batch(step: str, batch: Mapping[str, Any], work: Callable[[Event, Location], str]) -> dict[str, Any]:
    """Give each event of an SQS batch to `work`, which returns the outcome's name for the log.

    Whatever it raises makes that message come back, but for GoneError, which ends it.
    """
    failed = [record["messageId"] for record in batch["Records"] if not _run_one(step, record, work)]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _run_one(step: str, record: Mapping[str, Any], work: Callable[[Event, Location], str]) -> bool:
    started = time.monotonic()
    entry = log.bind(step=step, message_id=record["messageId"])
    try:
        event = read_event(record["body"])
        location = location_of(event)
        entry = entry.bind(key=location.key, version_id=location.version_id)
        outcome = work(event, location)
    except GoneError:
        outcome = "gone"
    except Exception as exc:
        entry.warning("function.failed", ms=_ms(started), outcome="failed", error=str(exc), exc_info=True)
        return False
    entry.info("function.done", ms=_ms(started), outcome=outcome)
    return True


def _location(bucket: facts.Bucket, thing: facts.Object, *, clean: bool | None) -> Location:
    return Location(bucket.name, thing.key, thing.version_id, thing.etag, thing.size, clean)


def _ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
