"""Reading events: the three shapes, and that anything else is refused and nothing worse."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildpeer.entrypoints.functions.batch import (
    GoneError,
    Location,
    UnknownEventError,
    location_of,
    read_event,
    run_batch,
)

OBJECT = {"key": "live/a ü+/b", "size": 7, "etag": "e", "version-id": "v1"}
CREATED = {
    "version": "0",
    "source": "aws.s3",
    "detail-type": "Object Created",
    "detail": {"version": "0", "bucket": {"name": "b"}, "object": OBJECT | {"sequencer": "0"}, "reason": "PutObject"},
}
SCANNED = {
    "source": "buildpeer.scan",
    "detail-type": "File Scanned",
    "detail": {"bucket": {"name": "b"}, "object": OBJECT, "verdict": "clean", "scanner": "yara-x"},
}
GUARDDUTY = {
    "source": "aws.guardduty",
    "detail-type": "GuardDuty Malware Protection Object Scan Result",
    "detail": {
        "schemaVersion": "1.0",
        "scanStatus": "COMPLETED",
        "s3ObjectDetails": {
            "bucketName": "b",
            "objectKey": "live/a ü+/b",
            "eTag": "e",
            "versionId": "v1",
            "s3Throttled": False,
        },
        "scanResultDetails": {"scanResultStatus": "NO_THREATS_FOUND", "threats": None},
    },
}


def changed(event: dict[str, Any], part: str, **values: Any) -> dict[str, Any]:
    copy = json.loads(json.dumps(event))
    (copy["detail"][part] if part else copy["detail"]).update(values)
    return copy


@pytest.mark.parametrize(
    ("event", "size", "clean"),
    [
        (CREATED, 7, None),
        (SCANNED, 7, True),
        (changed(SCANNED, "", verdict="infected"), 7, False),
        (changed(SCANNED, "", verdict="unscannable"), 7, False),
        (GUARDDUTY, 0, True),
        (changed(GUARDDUTY, "scanResultDetails", scanResultStatus="THREATS_FOUND"), 0, False),
        (changed(GUARDDUTY, "scanResultDetails", scanResultStatus="UNSUPPORTED"), 0, False),
        (changed(GUARDDUTY, "", scanResultDetails={}), 0, False),
    ],
)
def test_where_and_what(event, size, clean):
    assert location_of(read_event(json.dumps(event))) == Location("b", "live/a ü+/b", "v1", "e", size, clean)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        "{}",
        '{"source":"aws.s3","detail-type":"Object Created"}',
        '{"source":"aws.s3","detail-type":"Object Created","detail":{}}',
        json.dumps(CREATED | {"source": "buildpeer.scan"}),
        json.dumps(SCANNED | {"source": "buildpeer.derive"}),
        json.dumps(SCANNED | {"source": "aws.guardduty"}),
        json.dumps(CREATED | {"source": "buildpeer.uploads", "detail-type": "Part Wanted"}),
        json.dumps(CREATED | {"detail-type": "Object Deleted"}),
        json.dumps(changed(SCANNED, "", verdict="perhaps")),
        json.dumps(changed(CREATED, "object", size="many")),
    ],
)
def test_anything_else_is_refused(body):
    with pytest.raises(UnknownEventError):
        location_of(read_event(body))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda part: st.lists(part) | st.dictionaries(st.text(), part),
)


@given(st.sampled_from([CREATED, SCANNED, GUARDDUTY]), json_values, st.text())
def test_no_detail_does_worse_than_be_refused(event, detail, garbage):
    for body in (json.dumps(event | {"detail": detail}), garbage):
        with contextlib.suppress(UnknownEventError):
            location_of(read_event(body))


def test_one_bad_message_fails_alone():
    def work(event: object, location: Location) -> str:
        if location.key == "gone":
            raise GoneError
        if location.key == "bad":
            raise RuntimeError
        return "done"

    bodies = [
        *(json.dumps(changed(CREATED, "object", key=key)) for key in ("fine", "bad", "gone", "fine")),
        "garbage",
    ]
    records = [{"messageId": f"m{number}", "body": body} for number, body in enumerate(bodies)]
    assert run_batch("scan", {"Records": records}, work) == {
        "batchItemFailures": [{"itemIdentifier": "m1"}, {"itemIdentifier": "m4"}]
    }
