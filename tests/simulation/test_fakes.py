"""The queues and the bus of the simulation do what the real ones do; its S3 is held to `tests/platform/test_s3.py`."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.local.services import running_services
from tests.simulation.fakes import Cloud

from buildpeer import wiring
from buildpeer.platform import clock
from buildpeer.platform.ids import new_id

UPLOADS = "buildpeer-uploads"
TOPOLOGY = wiring.topology(uploads_bucket=UPLOADS, verdicts="scan")
QUEUE = next(queue for queue in TOPOLOGY.queues if queue.name == "buildpeer-assemble-live")
Client = Callable[[str], Any]


@pytest.fixture(scope="module", params=["ministack", "fake"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Clients of services that nobody else uses."""
    if request.param == "fake":
        yield Cloud(TOPOLOGY, clock.now).client
        return
    with running_services(tmp_path_factory.mktemp("fakes-stack")) as stack:
        yield stack.ministack.client


def url(client: Client, queue: str) -> str:
    return client("sqs").get_queue_url(QueueName=queue)["QueueUrl"]


def receive(client: Client, queue: str, **params: Any) -> list[dict[str, Any]]:
    answer = client("sqs").receive_message(
        QueueUrl=url(client, queue),
        MaxNumberOfMessages=10,
        MessageSystemAttributeNames=["ApproximateReceiveCount"],
        **params,
    )
    return answer.get("Messages", [])


def waiting(client: Client, queue: str) -> tuple[int, int]:
    """How many can be received, and how many are with somebody."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    told = client("sqs").get_queue_attributes(QueueUrl=url(client, queue), AttributeNames=names)["Attributes"]
    return int(told[names[0]]), int(told[names[1]])


def reached(client: Client, count: int) -> dict[str, Any]:
    """What lies in which queue, once that many do; the queues are empty after."""
    found: dict[str, Any] = {}
    deadline = time.monotonic() + 10
    while len(found) < count and time.monotonic() < deadline:
        for queue in TOPOLOGY.queues:
            for message in receive(client, queue.name):
                found[queue.name] = json.loads(message["Body"])
    for queue in TOPOLOGY.queues:
        client("sqs").purge_queue(QueueUrl=url(client, queue.name))
    return found


def put(client: Client, source: str, kind: str, lane: str = "live", **detail: Any) -> None:
    detail = {"bucket": {"name": UPLOADS}, "object": {"key": f"{lane}/{new_id()}", "size": 1}} | detail
    entry = {"Source": source, "DetailType": kind, "Detail": json.dumps(detail)}
    assert client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0


@pytest.mark.parametrize(
    ("event", "steps"),
    [
        (("buildpeer.scan", "File Scanned", {"verdict": "clean"}), ["derive", "status"]),
        (("buildpeer.scan", "File Scanned", {"verdict": "infected"}), ["status"]),
        (("buildpeer.derive", "File Derived", {}), ["status"]),
        (("buildpeer.assemble", "Part Assembled", {}), ["status"]),
        (("buildpeer.derive", "File Scanned", {"verdict": "clean"}), []),
        (("buildpeer.scan", "File Scanned", {"verdict": "clean", "bucket": {"name": "elsewhere"}}), []),
    ],
)
@pytest.mark.parametrize("lane", ["live", "bulk", "other"])
def test_the_bus_routes_by_source_content_and_lane(client: Client, event: Any, steps: list[str], lane: str) -> None:
    source, kind, detail = event
    put(client, source, kind, lane, **detail)
    wanted = {f"buildpeer-{step}-{lane}" for step in steps if lane != "other"}
    found = reached(client, max(len(wanted), 0))
    assert set(found) == wanted
    assert all((body["source"], body["detail-type"]) == (source, kind) for body in found.values())


@pytest.mark.parametrize("way", ["whole", "parts"])
def test_an_object_that_stands_is_told_of_with_its_version(client: Client, way: str) -> None:
    s3, key = client("s3"), f"bulk/{new_id()}"
    if way == "whole":
        version = s3.put_object(Bucket=UPLOADS, Key=key, Body=b"abc")["VersionId"]
    else:
        begun = s3.create_multipart_upload(Bucket=UPLOADS, Key=key)["UploadId"]
        part = s3.upload_part(Bucket=UPLOADS, Key=key, UploadId=begun, PartNumber=1, Body=b"abc")
        joined = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        made = s3.complete_multipart_upload(Bucket=UPLOADS, Key=key, UploadId=begun, MultipartUpload=joined)
        version = made["VersionId"]
    found = reached(client, 2)
    assert set(found) == {"buildpeer-status-bulk", "buildpeer-scan-bulk"}
    for body in found.values():
        thing = body["detail"]["object"]
        assert (thing["key"], thing["size"], thing["version-id"]) == (key, 3, version)


def test_what_is_received_is_hidden_until_it_is_shown_again_and_counted(client: Client) -> None:
    sent = client("sqs").send_message_batch(
        QueueUrl=url(client, QUEUE.name), Entries=[{"Id": str(n), "MessageBody": f"m{n}"} for n in range(3)]
    )
    assert [each["Id"] for each in sent["Successful"]] == ["0", "1", "2"]
    assert waiting(client, QUEUE.name) == (3, 0)
    first = receive(client, QUEUE.name)
    assert {each["Body"] for each in first} == {"m0", "m1", "m2"}
    assert receive(client, QUEUE.name) == []
    assert waiting(client, QUEUE.name) == (0, 3)
    again = next(each for each in first if each["Body"] == "m1")
    client("sqs").change_message_visibility(
        QueueUrl=url(client, QUEUE.name), ReceiptHandle=again["ReceiptHandle"], VisibilityTimeout=0
    )
    [second] = receive(client, QUEUE.name)
    assert (second["MessageId"], second["Attributes"]["ApproximateReceiveCount"]) == (again["MessageId"], "2")
    done = [*(each for each in first if each is not again), second]
    entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(done)]
    client("sqs").delete_message_batch(QueueUrl=url(client, QUEUE.name), Entries=entries)
    assert waiting(client, QUEUE.name) == (0, 0)


def test_what_fails_five_times_ends_among_the_dead(client: Client) -> None:
    client("sqs").send_message(QueueUrl=url(client, QUEUE.name), MessageBody="poison")
    for _ in range(QUEUE.max_receives):
        assert len(receive(client, QUEUE.name, VisibilityTimeout=0)) == 1
    assert receive(client, QUEUE.name) == []
    [dead] = receive(client, QUEUE.dead_letters)
    assert dead["Body"] == "poison"
    client("sqs").delete_message(QueueUrl=url(client, QUEUE.dead_letters), ReceiptHandle=dead["ReceiptHandle"])
    assert waiting(client, QUEUE.dead_letters) == (0, 0)
