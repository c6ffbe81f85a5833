"""The services themselves: what ministack lets in, and what the set-up makes of it."""

import base64
import functools
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import msgspec
import pytest
import redis
from botocore.exceptions import ClientError
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.local.services import free_ports

from buildpeer.local import aws, ministack_launcher, postgres
from buildpeer.local.processes import Registry, StackError
from buildpeer.local.stack import Stack, StackConfig
from buildpeer.platform.config import Settings
from buildpeer.wiring import ASSEMBLE, DERIVE, LANES, SCAN, STATUS, queue_name, topology

SESSION = boto3.Session()
UPLOADS, CHUNKS, DERIVED, AUDIT = (
    Settings().uploads_bucket,
    Settings().chunks_bucket,
    Settings().derived_bucket,
    Settings().audit_bucket,
)


def client(stack: Stack, service: str, process: Any) -> Any:
    env = stack.env(process)
    return keyed(stack, service, env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"])


def keyed(stack: Stack, service: str, key: str, secret: str) -> Any:
    return keyed_at(stack.ministack.url, service, key, secret)


@functools.cache
def keyed_at(url: str, service: str, key: str, secret: str) -> Any:
    return SESSION.client(
        service,
        endpoint_url=url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name=aws.REGION,
        config=aws.client_config(service),
    )


def code(error: pytest.ExceptionInfo[ClientError]) -> int:
    return error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def checksum(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def put_url(stack: Stack, key: str, body: bytes) -> tuple[str, dict[str, str]]:
    """A write URL as the api gives it out: key, length, type and hash are signed, and it writes once."""
    headers = {
        "content-length": str(len(body)),
        "content-type": "image/jpeg",
        "if-none-match": "*",
        "x-amz-checksum-sha256": checksum(body),
    }
    signed = {
        "ContentLength": len(body),
        "ContentType": "image/jpeg",
        "IfNoneMatch": "*",
        "ChecksumSHA256": checksum(body),
    }
    s3 = client(stack, "s3", "api")
    return s3.generate_presigned_url("put_object", Params={"Bucket": UPLOADS, "Key": key, **signed}), headers


@pytest.fixture(autouse=True)
def empty_queues(stack: Stack) -> Iterator[None]:
    yield
    sqs = stack.ministack.client("sqs")
    for queue in stack.topology.queues:
        sqs.purge_queue(QueueUrl=sqs.get_queue_url(QueueName=queue.name)["QueueUrl"])


def arrived(stack: Stack, queue: str) -> list[dict[str, Any]]:
    sqs = stack.ministack.client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    found = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2, MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in found.get("Messages", [])]


def waiting(stack: Stack, queue: str) -> int:
    sqs = stack.ministack.client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(int(n) for n in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values())


# -- what ministack lets in ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/_ministack/reset",
        "//_ministack/reset",
        "/%5fministack/reset",
        "/_ministack/config",
        "/_localstack/x",
        "/_aws/x",
    ],
)
@pytest.mark.parametrize("signed", [False, True])
def test_administrative_paths_are_closed(stack: Stack, path: str, signed: bool):
    stack.ministack.client("s3").put_object(Bucket=DERIVED, Key="still-here", Body=b"1")
    headers = {"authorization": USERS_HEADER} if signed else {}
    assert httpx.post(stack.ministack.url + path, headers=headers).status_code == 403
    assert stack.ministack.client("s3").head_object(Bucket=DERIVED, Key="still-here")


def header(key: str) -> str:
    scope = "20260101/us-east-1/s3/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders=host, Signature={'0' * 64}"


def query(key: str, **changes: str) -> str:
    found = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{key}/20260101/us-east-1/s3/aws4_request",
        "X-Amz-Signature": "0" * 64,
    }
    return "&".join(f"{name}={value}" for name, value in (found | changes).items())


USER, ROOT, TOKEN = "AKIA0123456789ABCDEF", "buildpeer-root", "t" * 64
USERS_HEADER = header(USER)
ADMIN = (b"X-BuildPeer-Admin", TOKEN.encode())
REQUESTS = {
    # name: (path, Authorization headers, query string, admin headers, may pass)
    "a user's header": ("/b/k", [header(USER)], "", [], True),
    "a session's header": ("/", [header("ASIA0123456789ABCDEF")], "", [], True),
    "a user's link": ("/b/k", [], query(USER), [], True),
    "root with the token": ("/", [header(ROOT)], "", [ADMIN], True),
    "root without it": ("/", [header(ROOT)], "", [], False),
    "root with another": ("/", [header(ROOT)], "", [(ADMIN[0], b"x" * 64)], False),
    "root with two": ("/", [header(ROOT)], "", [(ADMIN[0], b"x" * 64), ADMIN], False),
    "root's link": ("/b/k", [], query(ROOT), [], False),
    "test": ("/", [header("test")], "", [], False),
    "an account number": ("/", [header("123456789012")], "", [], False),
    "no key": ("/", [header("")], "", [], False),
    "nothing": ("/", [], "", [], False),
    "an old signature": ("/", ["AWS AKIA0123456789ABCDEF:x"], "", [], False),
    "an old link": ("/b/k", [], f"AWSAccessKeyId={USER}&Signature=x&Expires=1", [], False),
    "a signature of the other kind": ("/", [header(USER).replace("HMAC-SHA256", "ECDSA-P256-SHA256")], "", [], False),
    "two headers": ("/", [header(USER), header(USER)], "", [], False),
    "two credentials in one header": ("/", [header(USER) + f", Credential={ROOT}/x"], "", [], False),
    "a header and a link": ("/b/k", [header(USER)], query(ROOT), [], False),
    "another header and a link": ("/b/k", ["Bearer x"], query(USER), [], False),
    "two links": ("/b/k", [], query(USER) + "&" + query(USER), [], False),
    "a second credential": ("/b/k", [], query(USER) + f"&x-amz-credential={ROOT}/x", [], False),
    "an old key in a link": ("/b/k", [], query(USER) + f"&AWSAccessKeyId={ROOT}", [], False),
    "a link without its algorithm": ("/b/k", [], query(USER, **{"X-Amz-Algorithm": ""}), [], False),
    "a link of another service": ("/b/k", [], query(USER).replace("/s3/", "/iam/"), [], False),
    "an administrative path, as root": ("/_ministack/reset", [header(ROOT)], "", [ADMIN], False),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_passes_only_when_signed_in_one_way_by_a_user(name: str, monkeypatch: pytest.MonkeyPatch):
    path, signed, query_string, admin, may_pass = REQUESTS[name]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ROOT)
    headers = [(b"Authorization", value.encode()) for value in signed] + admin
    scope = {"path": path, "method": "PUT", "headers": headers, "query_string": query_string.encode()}
    assert (ministack_launcher.refusal(scope, TOKEN) is None) is may_pass


def test_health_answers_anybody(stack: Stack):
    assert httpx.get(stack.ministack.url + "/_ministack/health").text == "ok"


@pytest.mark.parametrize("key", [aws.ROOT_KEY, "test", "000000000000", "123456789012", ""])
@pytest.mark.parametrize("secret", ["test", "the real one"])
def test_root_keys_are_refused_even_with_the_right_secret(stack: Stack, key: str, secret: str):
    secret = stack.secrets.ministack_root_secret if secret == "the real one" else secret
    for service, call in (("s3", "list_buckets"), ("sqs", "list_queues"), ("iam", "list_users")):
        request = keyed(stack, service, key or "blank", secret)
        if not key:
            request.meta.events.register("before-send", blank_key)
        with pytest.raises(ClientError) as refused:
            getattr(request, call)()
        assert code(refused) == 403


def blank_key(request: Any, **_: Any) -> None:
    signed = request.headers["Authorization"].decode()
    request.headers["Authorization"] = signed.replace("Credential=blank/", "Credential=/")


def test_a_root_key_with_a_wrong_admin_token_is_refused(stack: Stack):
    s3 = keyed_at.__wrapped__(stack.ministack.url, "s3", aws.ROOT_KEY, stack.secrets.ministack_root_secret)
    s3.meta.events.register("before-send", lambda request, **_: request.headers.update({"x-buildpeer-admin": "no"}))
    with pytest.raises(ClientError) as refused:
        s3.list_buckets()
    assert code(refused) == 403


@pytest.mark.parametrize("hidden", ["test", aws.ROOT_KEY])
def test_a_second_signature_does_not_hide_a_root_key(stack: Stack, hidden: str):
    url, headers = put_url(stack, "live/hidden", b"x")
    for name in ("X-Amz-Credential", "x-amz-credential", "AWSAccessKeyId"):
        answer = httpx.put(
            f"{url}&{name}={hidden}%2F20260101%2Fus-east-1%2Fs3%2Faws4_request", content=b"x", headers=headers
        )
        assert answer.status_code == 403
    answer = httpx.put(url, content=b"x", headers=headers | {"authorization": f"AWS {hidden}:x"})
    assert answer.status_code == 403


def test_nothing_anonymous_is_answered(stack: Stack):
    url = f"{stack.ministack.url}/{UPLOADS}"
    assert httpx.get(url).status_code == 403
    assert httpx.put(f"{url}/live/x", content=b"x").status_code == 403
    assert httpx.post(url, data={"key": "x"}, files={"file": b"x"}).status_code == 403
    assert httpx.post(stack.ministack.url, data={"Action": "ListUsers"}).status_code == 403


def test_a_users_key_works_and_a_wrong_secret_does_not(stack: Stack):
    env = stack.env("api")
    client(stack, "s3", "api").put_object(Bucket=UPLOADS, Key="live/mine", Body=b"1")
    with pytest.raises(ClientError) as refused:
        keyed(stack, "s3", env["AWS_ACCESS_KEY_ID"], "wrong").put_object(Bucket=UPLOADS, Key="live/other", Body=b"1")
    assert code(refused) == 403


def test_only_loopback_listens(stack: Stack):
    ports = {stack.config.ports.s3, stack.config.ports.postgres, stack.config.ports.valkey}
    local = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            host, port = address.split(":")
            if state == "0A" and int(port, 16) in ports:
                local.add(host)
    assert local == {"0100007F"}


# -- presigned uploads -----------------------------------------------------------------------------------------


def test_a_write_url_writes_its_key_once(stack: Stack):
    url, headers = put_url(stack, "live/once", b"photo")
    first = httpx.put(url, content=b"photo", headers=headers)
    assert first.status_code == 200
    assert first.headers["x-amz-version-id"]
    assert httpx.put(url, content=b"photo", headers=headers).status_code == 412


def test_other_bytes_than_declared_are_refused(stack: Stack):
    url, headers = put_url(stack, "live/other", b"photo")
    answer = httpx.put(url, content=b"ph0t0", headers=headers)
    assert answer.status_code == 400
    assert "BadDigest" in answer.text


def test_another_length_than_declared_is_refused(stack: Stack):
    url, headers = put_url(stack, "live/length", b"photo")
    assert httpx.put(url, content=b"photos", headers=headers | {"content-length": "6"}).status_code == 403
    unsigned = {name: value for name, value in headers.items() if name != "if-none-match"}
    assert httpx.put(url, content=b"photo", headers=unsigned).status_code == 403


@pytest.mark.parametrize("origin", ["http://localhost:5173", "http://127.0.0.1:8000", "http://localhost"])
def test_a_page_on_loopback_may_put_and_read_the_answer(stack: Stack, origin: str):
    url, headers = put_url(stack, f"live/cors{hash(origin)}", b"photo")
    asked = {
        "origin": origin,
        "access-control-request-method": "PUT",
        "access-control-request-headers": ",".join(headers),
    }
    assert httpx.options(url, headers=asked).headers["access-control-allow-origin"] == origin
    for expected in (200, 412):
        answer = httpx.put(url, content=b"photo", headers=headers | {"origin": origin})
        assert answer.status_code == expected
        assert answer.headers["access-control-allow-origin"] == origin
        assert "x-amz-version-id" in answer.headers["access-control-expose-headers"]


def test_a_page_elsewhere_may_not(stack: Stack):
    asked = {"origin": "http://localhost.evil.test", "access-control-request-method": "PUT"}
    answer = httpx.options(f"{stack.ministack.url}/{UPLOADS}/live/x", headers=asked)
    assert answer.status_code == 403


# -- events, queues, rules -------------------------------------------------------------------------------------


@pytest.mark.parametrize("lane", LANES)
def test_an_object_reaches_both_queues_of_its_lane_and_no_other(stack: Stack, lane: Any):
    key = f"{lane}/obra 1/foto ñ+.jpg"
    version = stack.ministack.client("s3").put_object(Bucket=UPLOADS, Key=key, Body=b"photo")["VersionId"]
    for step in (SCAN, STATUS):
        [event] = arrived(stack, queue_name(step, lane))
        assert (event["source"], event["detail-type"]) == ("aws.s3", "Object Created")
        assert event["detail"]["object"]["key"] == key
        assert event["detail"]["object"]["version-id"] == version
        assert event["detail"]["bucket"]["name"] == UPLOADS
    others = [queue.name for queue in stack.topology.queues if queue.lane != lane or queue.step is DERIVE]
    assert [waiting(stack, name) for name in others] == [0] * len(others)


def test_only_clean_files_are_derived(stack: Stack):
    events = client(stack, "events", "scan")
    for verdict in ("clean", "infected"):
        events.put_events(Entries=[entry("buildpeer.scan", "File Scanned", verdict=verdict)])
    assert [event["detail"]["verdict"] for event in arrived(stack, queue_name(DERIVE, "live"))] == ["clean"]
    assert waiting(stack, queue_name(STATUS, "live")) == 2


def entry(source: str, kind: str, **detail: str) -> dict[str, str]:
    where = {"bucket": {"name": UPLOADS}, "object": {"key": "live/a", "size": 1}}
    return {"Source": source, "DetailType": kind, "Detail": json.dumps(where | detail)}


def test_a_failing_message_ends_in_the_dead_letter_queue(stack: Stack):
    sqs = stack.ministack.client("sqs")
    queue = stack.topology.queues[0]
    url = sqs.get_queue_url(QueueName=queue.name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["VisibilityTimeout"] == str(queue.visibility_s)
    sqs.send_message(QueueUrl=url, MessageBody="poison")
    for _ in range(queue.max_receives):
        [message] = sqs.receive_message(QueueUrl=url)["Messages"]
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    assert waiting(stack, queue.dead_letters) == 1
    sqs.purge_queue(QueueUrl=sqs.get_queue_url(QueueName=queue.dead_letters)["QueueUrl"])


def test_set_up_is_repeatable_and_removes_what_the_table_no_longer_has(stack: Stack, tmp_path: Path):
    events, sqs = stack.ministack.client("events"), stack.ministack.client("sqs")

    def state() -> Any:
        rules = events.list_rules()["Rules"]
        targets = {r["Name"]: events.list_targets_by_rule(Rule=r["Name"])["Targets"] for r in rules}
        queues = {
            url: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout", "RedrivePolicy"])[
                "Attributes"
            ]
            for url in sqs.list_queues()["QueueUrls"]
        }
        return {r["Name"]: json.loads(r["EventPattern"]) for r in rules}, targets, queues

    def again(wanted: Any) -> dict[Any, aws.Key]:
        keys_file = stack.config.data_dir / "aws-keys.json"
        return aws.bootstrap(
            stack.ministack,
            wanted,
            uploads=UPLOADS,
            chunks=CHUNKS,
            derived=DERIVED,
            audit=AUDIT,
            keys_file=keys_file,
        )

    before, kept = state(), stack.env("api")["AWS_ACCESS_KEY_ID"]
    assert before[0] == {rule.name: rule.pattern for rule in stack.topology.rules}
    arn = sqs.get_queue_attributes(
        QueueUrl=sqs.get_queue_url(QueueName=queue_name(STATUS, "live"))["QueueUrl"], AttributeNames=["QueueArn"]
    )["Attributes"]["QueueArn"]
    events.put_rule(Name="buildpeer-stale", EventPattern='{"source": ["old"]}')
    events.put_targets(Rule="buildpeer-stale", Targets=[{"Id": "1", "Arn": arn}])
    events.put_rule(Name="somebody-elses", EventPattern='{"source": ["old"]}')
    events.put_targets(Rule=stack.topology.rules[0].name, Targets=[{"Id": "stale", "Arn": arn}])
    assert again(stack.topology)["api"].key_id == kept
    events.delete_rule(Name="somebody-elses")
    assert state() == before

    changed = msgspec.structs.replace(stack.topology.queues[0], visibility_s=77)
    again(msgspec.structs.replace(stack.topology, queues=(changed, *stack.topology.queues[1:])))
    assert "77" in {attributes["VisibilityTimeout"] for attributes in state()[2].values()}
    again(stack.topology)
    assert state() == before


# -- who may do what -------------------------------------------------------------------------------------------


def refused(call: Any, **arguments: Any) -> None:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    assert code(error) in (400, 403)
    assert "AccessDenied" in error.value.response["Error"]["Code"]


def test_the_api_writes_and_reads_objects_and_nothing_else(stack: Stack):
    s3 = client(stack, "s3", "api")
    version = s3.put_object(Bucket=UPLOADS, Key="live/r", Body=b"1")["VersionId"]
    assert s3.get_object(Bucket=UPLOADS, Key="live/r", VersionId=version)
    refused(s3.put_object_tagging, Bucket=UPLOADS, Key="live/r", Tagging={"TagSet": []})
    refused(s3.put_object, Bucket=DERIVED, Key="live/r", Body=b"1")
    refused(s3.delete_object, Bucket=UPLOADS, Key="live/r")
    refused(s3.list_objects_v2, Bucket=DERIVED)
    s3.put_object(Bucket=CHUNKS, Key="a/r", Body=b"1")
    assert s3.list_objects_v2(Bucket=CHUNKS, Prefix="a/")["KeyCount"] == 1
    refused(s3.get_object, Bucket=CHUNKS, Key="a/r")
    s3.delete_objects(Bucket=CHUNKS, Delete={"Objects": [{"Key": "a/r"}]})
    refused(client(stack, "sqs", "api").list_queues)
    refused(client(stack, "iam", "api").list_users)
    refused(
        client(stack, "events", "api").put_events, Entries=[entry("buildpeer.scan", "File Scanned", verdict="clean")]
    )


def test_each_function_publishes_only_in_its_own_name(stack: Stack):
    scan, derive = client(stack, "events", "scan"), client(stack, "events", "derive")
    assemble, joined = client(stack, "events", "assemble"), entry("buildpeer.assemble", "Part Assembled")
    verdict, derived = (
        entry("buildpeer.scan", "File Scanned", verdict="clean"),
        entry("buildpeer.derive", "File Derived"),
    )
    assert scan.put_events(Entries=[verdict])["FailedEntryCount"] == 0
    assert derive.put_events(Entries=[derived])["FailedEntryCount"] == 0
    assert assemble.put_events(Entries=[joined])["FailedEntryCount"] == 0
    refused(derive.put_events, Entries=[verdict])
    refused(assemble.put_events, Entries=[derived])
    refused(derive.put_events, Entries=[joined])
    refused(derive.put_events, Entries=[derived, verdict])
    refused(scan.put_events, Entries=[derived])
    refused(client(stack, "events", "worker").put_events, Entries=[verdict])


def test_queues_are_worked_on_by_their_own_step(stack: Stack):
    own: dict[Any, Any] = {"scan": SCAN, "derive": DERIVE, "assemble": ASSEMBLE, "worker": STATUS}
    for process, step in own.items():
        sqs = client(stack, "sqs", process)
        for queue in stack.topology.queues:
            url = f"{stack.ministack.url}/{aws.ACCOUNT}/{queue.name}"
            if step is queue.step:
                sqs.receive_message(QueueUrl=url)
                assert sqs.get_queue_url(QueueName=queue.name)
            else:
                refused(sqs.receive_message, QueueUrl=url)
            if process == "worker":
                sqs.send_message(QueueUrl=url, MessageBody="again")
            else:
                refused(sqs.send_message, QueueUrl=url, MessageBody="again")


def test_functions_read_versions_and_only_derive_writes_pictures(stack: Stack):
    version = stack.ministack.client("s3").put_object(Bucket=UPLOADS, Key="live/v", Body=b"1")["VersionId"]
    for process in ("scan", "derive", "worker"):
        assert client(stack, "s3", process).get_object(Bucket=UPLOADS, Key="live/v", VersionId=version)
    for process in ("scan", "derive"):
        refused(client(stack, "s3", process).put_object, Bucket=UPLOADS, Key="live/w", Body=b"1")
    assert client(stack, "s3", "worker").list_objects_v2(Bucket=UPLOADS)
    client(stack, "s3", "derive").put_object(Bucket=DERIVED, Key="p", Body=b"1")
    refused(client(stack, "s3", "scan").put_object, Bucket=DERIVED, Key="p", Body=b"1")


def test_only_assemble_reads_chunks_and_only_it_the_api_and_the_worker_delete_them(stack: Stack):
    root = stack.ministack.client("s3")
    for process in ("scan", "derive", "worker", "assemble"):
        root.put_object(Bucket=CHUNKS, Key="a/c", Body=b"1")
        s3 = client(stack, "s3", process)
        if process == "assemble":
            assert s3.get_object(Bucket=CHUNKS, Key="a/c")["Body"].read() == b"1"
        else:
            refused(s3.get_object, Bucket=CHUNKS, Key="a/c")
        refused(s3.put_object, Bucket=CHUNKS, Key="a/d", Body=b"1")
        deleted = s3.delete_objects if process in ("worker", "assemble") else None
        if deleted:
            deleted(Bucket=CHUNKS, Delete={"Objects": [{"Key": "a/c"}]})
            assert root.list_objects_v2(Bucket=CHUNKS, Prefix="a/c")["KeyCount"] == 0
        else:
            refused(s3.delete_object, Bucket=CHUNKS, Key="a/c")
    refused(client(stack, "s3", "assemble").delete_object, Bucket=UPLOADS, Key="live/v")


def test_what_lies_in_chunks_raises_no_event_and_is_not_kept_for_ever(stack: Stack):
    s3 = stack.ministack.client("s3")
    assert "EventBridgeConfiguration" not in s3.get_bucket_notification_configuration(Bucket=CHUNKS)
    [rule] = s3.get_bucket_lifecycle_configuration(Bucket=CHUNKS)["Rules"]
    assert rule["Expiration"]["Days"] == rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 16
    [rule] = s3.get_bucket_lifecycle_configuration(Bucket=UPLOADS)["Rules"]
    assert "Expiration" not in rule


def test_policies_of_the_aws_topology_name_only_queues_that_exist():
    guarded = topology(uploads_bucket="u", verdicts="guardduty")
    buckets = {"uploads": "u", "chunks": "c", "derived": "d", "audit": "a"}
    text = json.dumps(aws.policies(guarded, **buckets, region="sa-east-1", account="1" * 12))
    assert "buildpeer-scan-live" not in text
    assert "arn:aws:sqs:sa-east-1:111111111111:buildpeer-status-live" in text


# -- memory, environments, the other services ------------------------------------------------------------------


def test_bodies_of_versions_do_not_stay_in_memory(stack: Stack):
    def resident_kib() -> int:
        known = json.loads((stack.config.data_dir / "processes.json").read_bytes())
        [pid] = [each["pid"] for each in known if each["name"] == "ministack"]
        [line] = [ln for ln in Path(f"/proc/{pid}/status").read_text().splitlines() if ln.startswith("VmRSS")]
        return int(line.split()[1])

    s3 = stack.ministack.client("s3")
    body = os.urandom(4 * 1024 * 1024)
    s3.put_object(Bucket=UPLOADS, Key="live/big", Body=body)
    before = resident_kib()
    versions = [s3.put_object(Bucket=UPLOADS, Key="live/big", Body=body + bytes([n]))["VersionId"] for n in range(25)]
    assert resident_kib() - before < 50 * 1024  # of the 100 MiB that were sent
    for n, version in enumerate(versions):
        found = s3.get_object(Bucket=UPLOADS, Key="live/big", VersionId=version)
        assert found["Body"].read()[-1] == n


def test_a_process_gets_what_it_needs_and_nothing_else(stack: Stack, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("SOME_SECRET", "mine")
    processes: list[Any] = [*aws.PEOPLE, "functions", "mail", "admin"]
    envs = {process: stack.env(process) for process in processes}
    kept = msgspec.to_builtins(stack.secrets)
    holders = {
        name: {process for process, env in envs.items() if any(secret in value for value in env.values())}
        for name, secret in kept.items()
    }
    assert holders == {
        "postgres_password": {"admin", "auditor", "operator"},
        "app_password": {"api", "worker"},  # which does what people have ordered under their own sight
        "worker_password": {"worker"},
        "valkey_password": {"api", "worker"},
        "token_key": {"api"},
        "audit_key": {"api", "worker", "operator"},
        "totp_key": {"api"},
        "webhook_key": {"api", "worker"},  # which signs what is sent
        "ministack_root_secret": set(),
        "admin_token": set(),
        "demo_password": {"admin"},
        "place_id": set(),
    }
    assert not {"AWS_PROFILE", "SOME_SECRET"} & {name for env in envs.values() for name in env}
    assert "AWS_ACCESS_KEY_ID" not in envs["functions"]
    assert envs["functions"]["BUILDPEER_SCAN_AWS_SECRET_ACCESS_KEY"] == envs["scan"]["AWS_SECRET_ACCESS_KEY"]
    assert len({env.get("AWS_ACCESS_KEY_ID") for env in envs.values()}) == 1 + len(aws.PEOPLE)
    Settings.from_env(envs["api"]).require("database_url", "valkey_url", "token_key", "aws_endpoint_url")


def test_secrets_are_the_owners_alone(stack: Stack):
    for name in ("secrets.json", "aws-keys.json", "processes.json", "valkey/valkey.conf"):
        assert (stack.config.data_dir / name).stat().st_mode & 0o077 == 0
    for name in ("logs", "ministack", "valkey", "home"):
        assert (stack.config.data_dir / name).stat().st_mode & 0o077 == 0
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = process.read_text(errors="replace")
        except OSError:
            continue
        assert stack.secrets.valkey_password not in text
        assert stack.secrets.postgres_password not in text


async def test_postgres_wants_a_password_and_is_version_18(stack: Stack):
    import asyncpg

    admin = await asyncpg.connect(stack.env("admin")["BUILDPEER_ADMIN_DATABASE_URL"])
    assert (await admin.fetchval("show server_version")).startswith("18.")
    assert await admin.fetchval("select datcollate from pg_database where datname = 'buildpeer'") == "C"
    await admin.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(stack.postgres.url("postgres", "wrong"))


def test_valkey_wants_a_password(stack: Stack):
    with redis.Redis.from_url(stack.env("api")["BUILDPEER_VALKEY_URL"]) as open_door:
        assert open_door.config_get("appendonly") == {"appendonly": "yes"}
    with (
        redis.Redis(port=stack.config.ports.valkey, retry=Retry(NoBackoff(), 0)) as closed,
        pytest.raises(redis.AuthenticationError),
    ):
        closed.ping()


def test_ministack_does_not_start_without_its_environment(stack: Stack, tmp_path: Path):
    other = Stack(StackConfig(data_dir=tmp_path, ministack_python=tmp_path / ".venv-ministack/bin/python"))
    with pytest.raises(StackError, match=r"ministack isn't installed.*make setup"):
        other.start_services()


def test_as_root_programs_and_data_move_to_where_the_server_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A fresh clone in root's own home, which nobody else may enter."""
    if os.geteuid() != 0:
        pytest.skip("only root needs it")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for part in postgres._PARTS:
        shutil.copytree(postgres._wheel() / part, closed / part, symlinks=True)
    shared = Path(tempfile.mkdtemp(prefix="buildpeer-test-", dir="/var/tmp")) / "shared"
    shared.parent.chmod(0o755)
    monkeypatch.setattr(postgres, "SHARED_PLACE", shared)
    monkeypatch.setattr(postgres, "_wheel", lambda: closed)
    try:
        for _ in range(2):
            registry = Registry(tmp_path / "processes.json")
            port = free_ports().postgres
            server = postgres.Postgres(
                home=closed / "postgres",
                place_id="x",
                port=port,
                password="word",
                log=tmp_path / "log",
                registry=registry,
            )
            assert server.home == shared / "x"
            server.prepare()
            child = server.start_until_ready(server.start())
            assert str(shared / "postgres") in Path(f"/proc/{child.pid}/cmdline").read_text()
            child.ask_to_stop()
            child.end(timeout_s=5)
            (shared / "postgres" / postgres._PROGRAMS / "postgres").unlink()  # the next start mends the copy
        assert postgres._can_enter(postgres._system_user(), shared / "x")
        assert (shared / "x").stat().st_mode & 0o077 == 0
        assert not (closed / "postgres").exists()
    finally:
        shutil.rmtree(shared.parent)


def test_a_place_that_closed_behind_the_data_is_not_replaced_by_an_empty_one(tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("only root needs it")
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    with pytest.raises(StackError, match=r"chmod o\+x"):
        postgres._reachable(postgres._system_user(), tmp_path / "postgres", tmp_path / "nowhere")
