"""The function scan: a new object version in, "File Scanned" out."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from buildpeer import facts
from buildpeer.entrypoints.functions.aws import aws
from buildpeer.entrypoints.functions.batch import Event, Location, UnknownEventError, run_batch
from buildpeer.processing.scanners import DeepScanner, scanner_for
from buildpeer.wiring import SCAN


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Scan what an SQS batch of "Object Created" names; Lambda's entry."""
    aws()  # before the first line is logged
    return run_batch(SCAN.name, event, scan)


def scan(event: Event, location: Location) -> str:
    """Announce the verdict on one version and return it; the same event twice announces the same twice.

    Of what is scanned once more only an infection is told: the rest is known, and would be derived anew. But an order
    to release a file is answered, whatever the verdict. Raises GoneError, UnknownEventError, ScannerUnavailableError,
    ChildStartError, and what S3 and the bus raise.
    """
    if event.detail_type not in (facts.OBJECT_CREATED, facts.RESCAN_WANTED):
        raise UnknownEventError(event.detail_type)
    with tempfile.TemporaryDirectory(prefix="buildpeer-scan-") as folder:
        path = Path(folder, "file")
        fetched = aws().fetch(location, path)
        outcome = _scanner().scan(path)
    again = event.detail_type == facts.RESCAN_WANTED
    order = msgspec.json.decode(event.detail, type=facts.RescanWanted).order if again else ""
    if again and not order and outcome.verdict != "infected":
        return f"still_{outcome.verdict}"
    fact = facts.FileScanned(
        bucket=fetched.bucket,
        object=fetched.object,
        verdict=outcome.verdict,
        scanner=outcome.scanner,
        reason=outcome.reason,
        order=order,
    )
    aws().announce(fact, source=facts.SOURCE_SCAN, detail_type=facts.FILE_SCANNED)
    return outcome.verdict


@cache
def _scanner() -> DeepScanner:
    return scanner_for(aws().settings.clamd, timeout_s=SCAN.timeout_s - 10)
