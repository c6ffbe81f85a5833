"""The handlers against real S3 and a real bus, with the functions' own rights."""

import hashlib
import io
import json
import tracemalloc
from typing import Any
from uuid import uuid4

import pytest
from botocore.response import StreamingBody
from PIL import Image
from tests.processing.plans import five_sheets

from buildpeer.entrypoints.functions import assemble, aws, derive, scan
from buildpeer.facts import FileScanned, overlay_key, sheets_key
from buildpeer.layout import CELL, Range, chunk_key
from buildpeer.processing.scanners import ScannerUnavailableError

UPLOADS, CHUNKS, DERIVED = "buildpeer-uploads", "buildpeer-chunks", "buildpeer-derived"
# in pieces, so that no scanner takes this file for the test file itself
EICAR = ("X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS" + "-TEST-FILE!$H+H*").encode()
FINE: dict[str, Any] = {"batchItemFailures": []}


def photo(width: int = 800, height: int = 600) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(out, "JPEG")
    return out.getvalue()


def new_key(lane: str = "live") -> str:
    return f"{lane}/{uuid4()}/{uuid4()}"


def event(source: str, detail_type: str, **detail: Any) -> str:
    return json.dumps({"source": source, "detail-type": detail_type, "detail": detail})


def created(thing: dict[str, Any]) -> str:
    return event("aws.s3", "Object Created", bucket={"name": UPLOADS}, object=thing)


def scanned(thing: dict[str, Any], verdict: str = "clean") -> str:
    detail = {"bucket": {"name": UPLOADS}, "object": thing, "verdict": verdict, "scanner": "yara-x"}
    return event("buildpeer.scan", "File Scanned", **detail)


def sqs(*bodies: str) -> dict[str, Any]:
    return {"Records": [{"messageId": f"m{n}", "body": body} for n, body in enumerate(bodies)]}


def failed(answer: dict[str, Any]) -> list[str]:
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def test_scan_tells_clean_from_infected(act_as, bucket, bus):
    act_as("scan")
    clean, infected = bucket.put(new_key(), photo()), bucket.put(new_key("bulk"), EICAR)
    assert scan.handler(sqs(created(clean), created(infected)), None) == FINE
    assert bus.details(clean["key"], "File Scanned") == [
        {
            "bucket": {"name": UPLOADS},
            "object": clean,
            "verdict": "clean",
            "scanner": "yara-x",
            "reason": "",
            "order": "",
        }
    ]
    (found,) = bus.details(infected["key"], "File Scanned")
    assert (found["verdict"], found["reason"]) == ("infected", "Eicar_Test_File")


def test_a_scan_that_was_asked_for_again_tells_only_what_it_finds(act_as, bucket, bus):
    act_as("scan")
    clean, infected = bucket.put(new_key(), photo()), bucket.put(new_key("bulk"), EICAR)

    def again(thing: dict[str, Any], **more: str) -> str:
        return event("buildpeer.uploads", "Rescan Wanted", bucket={"name": UPLOADS}, object=thing, **more)

    assert scan.handler(sqs(again(clean), again(infected)), None) == FINE
    (found,) = bus.details(infected["key"], "File Scanned")
    assert (found["verdict"], found["object"]) == ("infected", infected)
    bus.receive()
    assert [
        e for e in bus.events if e["detail"]["object"]["key"] == clean["key"] and "Scanned" in e["detail-type"]
    ] == []
    assert scan.handler(sqs(again(clean, order="o-1")), None) == FINE
    (answer,) = bus.details(clean["key"], "File Scanned")
    assert (answer["verdict"], answer["order"]) == ("clean", "o-1")


def test_the_verdict_is_on_the_version_that_the_event_names(act_as, bucket, bus):
    act_as("scan")
    key = new_key()
    infected, clean = bucket.put(key, EICAR), bucket.put(key, b"harmless")
    assert scan.handler(sqs(created(infected)), None) == FINE
    (found,) = bus.details(key, "File Scanned")
    assert found["object"] == infected != clean and found["verdict"] == "infected"


def test_derive_makes_pictures_and_says_what_the_file_is(act_as, bucket, bus):
    act_as("derive")
    data = photo()
    thing = bucket.put(new_key(), data)
    assert derive.handler(sqs(scanned(thing)), None) == FINE
    (found,) = bus.details(thing["key"], "File Derived")
    assert found["object"] == thing and found["reason"] == ""
    assert found["sha256"] == hashlib.sha256(data).hexdigest() and found["content_type"] == "image/jpeg"
    assert found["media"] == {"width": 800, "height": 600}
    for name, size in (("preview", (800, 600)), ("thumbnail", (400, 300))):
        rendition = found[name]
        assert rendition["key"] == f"{thing['key']}/{thing['version-id']}/{name}.webp"
        stored = bucket.s3.get_object(Bucket=DERIVED, Key=rendition["key"])
        body = stored["Body"].read()
        assert Image.open(io.BytesIO(body)).size == size == (rendition["width"], rendition["height"])
        assert len(body) == rendition["size"] and stored["ContentType"] == "image/webp"
        assert stored["CacheControl"] == "private, max-age=31536000, immutable"


def test_derive_says_again_what_a_file_is_and_what_of_it_was_wanted(act_as, bucket, bus):
    act_as("derive")
    thing = bucket.put(new_key(), photo())
    wanted = event("buildpeer.uploads", "Derive Wanted", bucket={"name": UPLOADS}, object=thing, renews="media")
    assert derive.handler(sqs(scanned(thing), wanted), None) == FINE
    first, again = sorted(bus.details(thing["key"], "File Derived", count=2), key=lambda found: found["renews"])
    assert (first["renews"], again["renews"]) == ("", "media")
    assert first | {"renews": ""} == again | {"renews": ""}


def test_derive_reads_guardduty_s_verdict(act_as, bucket, bus):
    act_as("derive")
    thing = bucket.put(new_key(), b"%PDF-1.7\n")

    def result(status: str) -> str:
        place = {
            "bucketName": UPLOADS,
            "objectKey": thing["key"],
            "eTag": thing["etag"],
            "versionId": thing["version-id"],
        }
        return event(
            "aws.guardduty",
            "GuardDuty Malware Protection Object Scan Result",
            s3ObjectDetails=place,
            scanResultDetails={"scanResultStatus": status},
        )

    assert derive.handler(sqs(result("THREATS_FOUND"), result("NO_THREATS_FOUND")), None) == FINE
    (found,) = bus.details(thing["key"], "File Derived")
    assert found["object"] == thing
    assert (found["content_type"], found["reason"]) == ("application/pdf", "pdf_damaged")
    assert found["thumbnail"] is found["preview"] is None


def wanted(thing: dict[str, Any], **changes: Any) -> str:
    detail = {"bucket": {"name": UPLOADS}, "object": thing, "part": 1, "content_type": "image/jpeg"}
    return event("buildpeer.uploads", "Part Wanted", **detail | changes)


def test_assemble_joins_chunks_and_says_so(act_as, bucket, bus):
    act_as("assemble")
    data = photo()
    thing = {"key": new_key("bulk"), "size": len(data)}
    for offset in range(0, len(data), CELL):
        chunk = data[offset : offset + CELL]
        key = chunk_key(thing["key"], Range(offset, len(chunk)))
        bucket.s3.put_object(Bucket=CHUNKS, Key=key, Body=chunk)
    assert assemble.handler(sqs(wanted(thing), wanted(thing)), None) == FINE
    for told in bus.details(thing["key"], "Part Assembled", count=2):
        place = thing | {"etag": "", "version-id": ""}
        assert told == {"bucket": {"name": UPLOADS}, "object": place, "part": 1, "outcome": "joined"}
    assert bucket.s3.get_object(Bucket=UPLOADS, Key=thing["key"])["Body"].read() == data
    assert bucket.s3.list_objects_v2(Bucket=CHUNKS)["KeyCount"] == 0


def test_assemble_says_when_there_is_nothing_to_join(act_as, bus):
    act_as("assemble")
    thing = {"key": new_key(), "size": 5}
    assert assemble.handler(sqs(wanted(thing)), None) == FINE
    [told] = bus.details(thing["key"], "Part Assembled")
    assert told["outcome"] == "incomplete"


def test_assemble_works_in_the_configured_bucket_for_our_keys_only(act_as):
    act_as("assemble")
    thing = {"key": new_key(), "size": 5}
    lies = [
        wanted(thing, bucket={"name": DERIVED}),
        wanted(thing | {"key": "live/../x"}),
        wanted(thing, part=2),
        wanted(thing, multipart_id="of a file of one part"),
        created(thing),
    ]
    assert failed(assemble.handler(sqs(*lies), None)) == ["m0", "m1", "m2", "m3", "m4"]


def page_wanted(thing: dict[str, Any], page: int = 1, **changes: Any) -> str:
    detail = {"bucket": {"name": UPLOADS}, "object": thing, "page": page}
    return event("buildpeer.documents", "Page Wanted", **detail | changes)


def test_derive_makes_a_page_once_and_says_so_last(act_as, bucket, monkeypatch):
    act_as("derive")
    thing = bucket.put(new_key(), photo(3400, 200))
    kept: list[str] = []
    keep = aws.Aws.keep
    monkeypatch.setattr(aws.Aws, "keep", lambda self, path, **how: kept.append(how["key"]) or keep(self, path, **how))
    monkeypatch.setattr(aws.Aws, "announce", lambda *_, **__: pytest.fail("announced"))
    assert derive.handler(sqs(page_wanted(thing), page_wanted(thing)), None) == FINE
    place = f"{thing['key']}/{thing['version-id']}/page-1"
    assert kept == [f"{place}.webp", f"{place}.pmtiles", f"{place}.json"]
    told = json.loads(bucket.s3.get_object(Bucket=DERIVED, Key=f"{place}.json")["Body"].read())
    tiles = bucket.s3.get_object(Bucket=DERIVED, Key=f"{place}.pmtiles")
    assert told["reason"] == "" and told["picture"]["width"] == 1600
    assert told["tiles"] == {"width": 3400, "height": 200, "size": tiles["ContentLength"]}
    assert tiles["ContentType"] == "application/vnd.pmtiles"


def test_derive_says_why_there_is_no_page_and_ends_what_is_gone(act_as, bucket):
    act_as("derive")
    thing = bucket.put(new_key(), photo()[:2000])
    never = thing | {"key": new_key()}
    assert derive.handler(sqs(page_wanted(thing), page_wanted(never)), None) == FINE
    key = f"{thing['key']}/{thing['version-id']}/page-1.json"
    told = json.loads(bucket.s3.get_object(Bucket=DERIVED, Key=key)["Body"].read())
    assert told == {"picture": None, "tiles": None, "reason": "image_damaged"}


def test_derive_makes_pages_of_the_configured_bucket_only(act_as, bucket):
    act_as("derive")
    thing = bucket.put(new_key(), photo())
    lies = [page_wanted(thing, bucket={"name": DERIVED}), page_wanted(thing, 0), page_wanted(thing, page="one")]
    assert failed(derive.handler(sqs(*lies), None)) == ["m0", "m1", "m2"]


def test_derive_reads_sheets_and_lays_them_over_each_other_once(act_as, bucket, monkeypatch):
    act_as("derive")
    older, newer = bucket.put(new_key(), five_sheets()), bucket.put(new_key(), five_sheets())
    monkeypatch.setattr(aws.Aws, "announce", lambda *_, **__: pytest.fail("announced"))
    place = {"bucket": {"name": UPLOADS}, "object": newer}
    read = event("buildpeer.documents", "Sheets Wanted", **place)
    lay = event("buildpeer.documents", "Overlay Wanted", **place, page=1, older=older, older_page=2)
    assert derive.handler(sqs(read, lay, lay), None) == FINE

    def told(key: str) -> dict[str, Any]:
        return json.loads(bucket.s3.get_object(Bucket=DERIVED, Key=key)["Body"].read())

    said = told(sheets_key(newer["key"], newer["version-id"]))
    assert [sheet["lines"][-1]["text"] for sheet in said["sheets"]][:2] == ["A-101", "EST-02"]
    below = (older["key"], older["version-id"], 2)
    made = told(overlay_key(newer["key"], newer["version-id"], 1, older=below, ending="json"))
    assert (made["reason"], made["alignment"], made["tiles"]["width"]) == ("", "same_size", 5000)
    for ending in ("webp", "pmtiles"):
        key = overlay_key(newer["key"], newer["version-id"], 1, older=below, ending=ending)
        assert bucket.s3.head_object(Bucket=DERIVED, Key=key)["ContentLength"] > 1000
    lies = [
        event("buildpeer.documents", "Overlay Wanted", **place, page=1, older=older, older_page=0),
        event("buildpeer.documents", "Overlay Wanted", **place, page=1),
        event("buildpeer.documents", "Sheets Wanted", bucket={"name": DERIVED}, object=newer),
    ]
    assert failed(derive.handler(sqs(*lies), None)) == ["m0", "m1", "m2"]


def test_what_a_file_is_found_by_travels_with_its_facts(act_as, bucket, bus):
    act_as("derive")
    model = b"ISO-10303-21;\nHEADER;\nFILE_SCHEMA(('IFC4'));\nENDSEC;\nDATA;\n"
    model += b"#1=IFCPROJECT('0YvctVUKr0kugbFTf53O9L',$,'Torre',$);\nENDSEC;\nEND-ISO-10303-21;\n"
    thing = bucket.put(new_key(), model)
    assert derive.handler(sqs(scanned(thing)), None) == FINE
    (found,) = bus.details(thing["key"], "File Derived")
    assert (found["icon"], found["text"], found["media"]["model"]["project"]) == ("model", "Torre", "Torre")


def test_an_archive_that_cant_be_looked_into_is_not_clean(act_as, bucket, bus):
    act_as("scan")
    thing = bucket.put(new_key(), b"Rar!\x1a\x07\x01\0" + bytes(60))
    assert scan.handler(sqs(created(thing)), None) == FINE
    (found,) = bus.details(thing["key"], "File Scanned")
    assert (found["verdict"], found["reason"]) == ("unscannable", "archive_unsupported")


def test_derive_leaves_alone_what_is_not_clean(act_as, bucket, monkeypatch):
    act_as("derive")
    thing = bucket.put(new_key(), photo())
    monkeypatch.setattr(aws.Aws, "announce", lambda *_, **__: pytest.fail("announced"))
    assert derive.handler(sqs(scanned(thing, "infected"), scanned(thing, "unscannable")), None) == FINE


def test_one_poison_message_fails_alone(act_as, bucket, bus):
    act_as("scan")
    first, last = bucket.put(new_key(), b"one"), bucket.put(new_key(), b"two")
    answer = scan.handler(sqs(created(first), "poison", scanned(first), created(last)), None)
    assert failed(answer) == ["m1", "m2"]
    assert bus.details(first["key"], "File Scanned") and bus.details(last["key"], "File Scanned")

    act_as("derive")
    answer = derive.handler(sqs("{}", scanned(first), created(first), scanned(last)), None)
    assert failed(answer) == ["m0", "m2"]
    assert bus.details(first["key"], "File Derived") and bus.details(last["key"], "File Derived")


def test_what_is_gone_is_finished(act_as, bucket):
    thing = bucket.put(new_key(), b"short life")
    bucket.s3.delete_object(Bucket=UPLOADS, Key=thing["key"], VersionId=thing["version-id"])
    never = thing | {"key": new_key()}
    for function, body in ((scan, created), (derive, scanned)):
        act_as(function.__name__.rpartition(".")[2])
        assert function.handler(sqs(body(thing), body(never)), None) == FINE


def test_twice_gives_the_same_twice(act_as, bucket, bus):
    thing = bucket.put(new_key(), photo())
    act_as("scan")
    scan.handler(sqs(created(thing), created(thing)), None)
    act_as("derive")
    derive.handler(sqs(scanned(thing), scanned(thing)), None)
    for detail_type in ("File Scanned", "File Derived"):
        one, two = bus.details(thing["key"], detail_type, count=2)
        assert one == two


def test_a_fact_that_the_bus_refuses_fails_its_message(act_as, bucket, monkeypatch):
    act_as("scan")
    thing = bucket.put(new_key(), b"data")
    refusal = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure", "ErrorMessage": "later"}]}
    monkeypatch.setattr(aws.aws()._events, "put_events", lambda **_: refusal)
    assert failed(scan.handler(sqs(created(thing)), None)) == ["m0"]
    with pytest.raises(aws.PublishError, match="InternalFailure: later"):
        aws.aws().announce(FileScanned(None, None, "clean", "x"), source="s", detail_type="d")  # type: ignore[arg-type]


def test_a_scanner_out_of_reach_fails_its_message_and_gives_no_verdict(act_as, bucket, monkeypatch, tmp_path):
    act_as("scan", BUILDPEER_CLAMD=str(tmp_path / "none.sock"))
    thing = bucket.put(new_key(), b"data")
    monkeypatch.setattr(aws.Aws, "announce", lambda *_, **__: pytest.fail("announced"))
    assert failed(scan.handler(sqs(created(thing)), None)) == ["m0"]
    assert issubclass(ScannerUnavailableError, OSError)


def test_an_early_end_is_no_whole_file(act_as, monkeypatch):
    act_as("derive")
    body = StreamingBody(io.BytesIO(b"half"), 8)
    found = {"Body": body, "ContentLength": 8, "ETag": "e", "VersionId": "v"}
    monkeypatch.setattr(aws.aws()._s3, "get_object", lambda **_: found)
    monkeypatch.setattr(aws.Aws, "announce", lambda *_, **__: pytest.fail("announced"))
    thing = {"key": new_key(), "size": 8, "etag": "e", "version-id": "v"}
    assert failed(derive.handler(sqs(scanned(thing)), None)) == ["m0"]


def test_a_large_file_is_never_whole_in_memory(act_as, bucket, bus, tmp_path):
    size = 64 * 1024 * 1024
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(size)
    with path.open("rb") as file:
        thing = bucket.put(new_key(), file)
    for function, body, detail_type in ((scan, created, "File Scanned"), (derive, scanned, "File Derived")):
        act_as(function.__name__.rpartition(".")[2])
        tracemalloc.start()
        try:
            assert function.handler(sqs(body(thing)), None) == FINE
            assert tracemalloc.get_traced_memory()[1] < 24 * 1024 * 1024
        finally:
            tracemalloc.stop()
        assert bus.details(thing["key"], detail_type)[0]["object"]["size"] == size
    assert bus.details(thing["key"], "File Derived")[0]["sha256"] == hashlib.sha256(bytes(size)).hexdigest()
