"""S3, SQS and EventBridge in memory, as boto3's clients show them: just what we use, and held to the same tests.

They are as old as `now` says, and what a bus does to an event on its way is `deliver`'s affair.
"""

import base64
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import httpx
from botocore.credentials import Credentials as BotoCredentials
from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from buildpeer.platform import storage
from buildpeer.wiring import Queue, Topology

ENDPOINT = "http://aws.fake"
KEY = storage.Credentials("AKIAFAKE", "no secret at all")
Now = Callable[[], datetime]


def refusal(code: str, status: int, operation: str = "") -> ClientError:
    """What boto3 raises."""
    return ClientError(
        {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation
    )  # type: ignore[arg-type]


class Pages:
    """boto3's paginator of one operation."""

    def __init__(self, operation: Callable[..., dict[str, Any]]) -> None:
        self._operation = operation

    def paginate(self, **params: Any) -> Iterator[dict[str, Any]]:
        while True:
            page = self._operation(**params)
            yield page
            if not page.get("IsTruncated"):
                return
            params["ContinuationToken"] = page["NextContinuationToken"]


@dataclass
class Version:
    version_id: str
    body: bytes
    etag: str
    modified: datetime


@dataclass
class Part:
    body: bytes
    etag: str
    modified: datetime


@dataclass
class Multipart:
    key: str
    initiated: datetime
    parts: dict[int, Part] = field(default_factory=dict)


@dataclass
class Bucket:
    versioned: bool = False
    objects: dict[str, list[Version]] = field(default_factory=dict)
    multiparts: dict[str, Multipart] = field(default_factory=dict)


class S3:
    """Buckets; `created` hears of every object that has come to stand."""

    def __init__(self, now: Now, created: Callable[[str, str, Version], None]) -> None:
        self.now, self._created = now, created
        self.buckets: dict[str, Bucket] = {}
        self._count = 0
        self._request_signer = SimpleNamespace(_credentials=BotoCredentials(KEY.access_key, KEY.secret_key))

    def get_paginator(self, operation: str) -> Pages:
        return Pages(getattr(self, operation))

    def stored(self, bucket: str, key: str, version_id: str = "") -> Version | None:
        """One version, or the newest."""
        versions = self.buckets[bucket].objects.get(key, [])
        found = [each for each in versions if each.version_id == version_id] if version_id else versions
        return found[-1] if found else None

    def head_object(self, *, Bucket: str, Key: str, VersionId: str = "") -> dict[str, Any]:
        found = self.stored(Bucket, Key, VersionId)
        if found is None:
            raise refusal("404", 404, "HeadObject")
        return {"VersionId": found.version_id, "ContentLength": len(found.body), "ETag": found.etag}

    def get_object(self, *, Bucket: str, Key: str, VersionId: str = "", IfMatch: str = "") -> dict[str, Any]:
        found = self.stored(Bucket, Key, VersionId)
        if found is None:
            raise refusal("NoSuchVersion" if VersionId else "NoSuchKey", 404, "GetObject")
        if IfMatch and IfMatch != found.etag:
            raise refusal("PreconditionFailed", 412, "GetObject")
        body = StreamingBody(io.BytesIO(found.body), len(found.body))
        return self.head_object(Bucket=Bucket, Key=Key, VersionId=VersionId) | {"Body": body}

    def put_object(self, *, Bucket: str, Key: str, Body: Any, IfNoneMatch: str = "", **_: Any) -> dict[str, Any]:
        if IfNoneMatch and self.stored(Bucket, Key):
            raise refusal("PreconditionFailed", 412, "PutObject")
        made = self._make(Bucket, Key, Body if isinstance(Body, bytes) else Body.read())
        return {"VersionId": made.version_id, "ETag": made.etag}

    def delete_object(self, *, Bucket: str, Key: str, VersionId: str = "") -> dict[str, Any]:
        bucket = self.buckets[Bucket]
        assert bool(VersionId) == bucket.versioned, "we never leave a delete marker"
        left = [each for each in bucket.objects.pop(Key, []) if VersionId and each.version_id != VersionId]
        if left:
            bucket.objects[Key] = left
        return {}

    def delete_objects(self, *, Bucket: str, Delete: dict[str, Any]) -> dict[str, Any]:
        for each in Delete["Objects"]:
            self.delete_object(Bucket=Bucket, **each)
        return {}

    def list_objects_v2(
        self, *, Bucket: str, Prefix: str = "", MaxKeys: int = 1000, ContinuationToken: str = ""
    ) -> dict[str, Any]:
        objects = self.buckets[Bucket].objects
        keys = sorted(key for key in objects if key.startswith(Prefix) and key > ContinuationToken)
        page = [
            {"Key": key, "Size": len(last.body), "ETag": last.etag, "LastModified": last.modified}
            for key in keys[:MaxKeys]
            for last in [objects[key][-1]]
        ]
        more = len(keys) > MaxKeys
        token = {"NextContinuationToken": keys[MaxKeys - 1]} if more else {}
        return {"KeyCount": len(page), "Contents": page, "IsTruncated": more, **token}

    def list_object_versions(self, *, Bucket: str, Prefix: str = "") -> dict[str, Any]:
        found = [
            {"Key": key, "VersionId": each.version_id, "Size": len(each.body), "LastModified": each.modified}
            for key, versions in sorted(self.buckets[Bucket].objects.items())
            if key.startswith(Prefix)
            for each in reversed(versions)
        ]
        return {"Versions": found, "IsTruncated": False}

    def list_multipart_uploads(self, *, Bucket: str, Prefix: str = "") -> dict[str, Any]:
        found = [
            {"Key": each.key, "UploadId": multipart_id, "Initiated": each.initiated}
            for multipart_id, each in self.buckets[Bucket].multiparts.items()
            if each.key.startswith(Prefix)
        ]
        return {"Uploads": found, "IsTruncated": False}

    def create_multipart_upload(self, *, Bucket: str, Key: str, **_: Any) -> dict[str, Any]:
        multipart_id = self._new("multipart")
        self.buckets[Bucket].multiparts[multipart_id] = Multipart(Key, self.now())
        return {"UploadId": multipart_id}

    def upload_part(self, *, Bucket: str, Key: str, UploadId: str, PartNumber: int, Body: bytes) -> dict[str, Any]:
        part = Part(Body, _etag(Body), self.now())
        self._multipart(Bucket, Key, UploadId).parts[PartNumber] = part
        return {"ETag": part.etag}

    def list_parts(
        self, *, Bucket: str, Key: str, UploadId: str, PartNumberMarker: int = 0, MaxParts: int = 1000
    ) -> dict[str, Any]:
        parts = self._multipart(Bucket, Key, UploadId).parts
        numbers = sorted(number for number in parts if number > PartNumberMarker)
        page = [
            {"PartNumber": n, "Size": len(part.body), "ETag": part.etag, "LastModified": part.modified}
            for n in numbers[:MaxParts]
            for part in [parts[n]]
        ]
        return {
            "Parts": page,
            "IsTruncated": len(numbers) > MaxParts,
            "NextPartNumberMarker": numbers[:MaxParts][-1] if page else 0,
        }

    def complete_multipart_upload(
        self, *, Bucket: str, Key: str, UploadId: str, MultipartUpload: dict[str, Any], IfNoneMatch: str = ""
    ) -> dict[str, Any]:
        parts = self._multipart(Bucket, Key, UploadId).parts
        if IfNoneMatch and self.stored(Bucket, Key):
            raise refusal("PreconditionFailed", 412, "CompleteMultipartUpload")
        named = [(each["PartNumber"], each["ETag"]) for each in MultipartUpload["Parts"]]
        if any(number not in parts or parts[number].etag != etag for number, etag in named):
            raise refusal("InvalidPart", 400, "CompleteMultipartUpload")
        del self.buckets[Bucket].multiparts[UploadId]
        made = self._make(Bucket, Key, b"".join(parts[number].body for number, _ in named))
        return {"VersionId": made.version_id, "ETag": made.etag}

    def abort_multipart_upload(self, *, Bucket: str, Key: str, UploadId: str) -> dict[str, Any]:
        self._multipart(Bucket, Key, UploadId)
        del self.buckets[Bucket].multiparts[UploadId]
        return {}

    def answer(self, request: httpx.Request) -> httpx.Response:
        """A request by a signed URL, as a phone makes it."""
        parts = urlsplit(str(request.url))
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if not self._is_signed(request, query):
            return httpx.Response(403, text="SignatureDoesNotMatch")
        _, bucket, key = unquote(parts.path).split("/", 2)
        try:
            if request.method == "GET":
                return self._read(bucket, key, query)
            return self._write(bucket, key, query, request)
        except ClientError as exc:
            return httpx.Response(exc.response["ResponseMetadata"]["HTTPStatusCode"])

    def _read(self, bucket: str, key: str, query: dict[str, str]) -> httpx.Response:
        found = self.get_object(Bucket=bucket, Key=key, VersionId=query.get("versionId", ""))
        headers = {"content-disposition": query.get("response-content-disposition", "attachment")}
        return httpx.Response(200, content=found["Body"].read(), headers=headers)

    def _write(self, bucket: str, key: str, query: dict[str, str], request: httpx.Request) -> httpx.Response:
        body, named = request.content, request.headers
        if int(named["content-length"]) != len(body):
            return httpx.Response(400, text="IncompleteBody")
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        if named.get("x-amz-checksum-sha256", digest) != digest:
            return httpx.Response(400, text="BadDigest")
        if "uploadId" in query:
            part = {"UploadId": query["uploadId"], "PartNumber": int(query["partNumber"])}
            made = self.upload_part(Bucket=bucket, Key=key, Body=body, **part)
            return httpx.Response(200, headers={"etag": made["ETag"]})
        made = self.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch=named.get("if-none-match", ""))
        return httpx.Response(200, headers={"etag": made["ETag"], "x-amz-version-id": made["VersionId"]})

    def _is_signed(self, request: httpx.Request, query: dict[str, str]) -> bool:
        try:
            signed_at = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            lifetime = timedelta(seconds=int(query["X-Amz-Expires"]))
            names = query["X-Amz-SignedHeaders"].split(";")
            signature = query["X-Amz-Signature"]
            headers = {name: request.headers[name] for name in names if name != "host"}
        except KeyError:
            return False
        parts = urlsplit(str(request.url))
        again = storage.presign(
            method=request.method,
            url=f"{parts.scheme}://{parts.netloc}{quote(unquote(parts.path), safe='/-_.~')}",
            credentials=KEY,
            region=query["X-Amz-Credential"].split("/")[2],
            now=signed_at,
            lifetime=lifetime,
            headers=headers,
            query={name: value for name, value in query.items() if not name.startswith("X-Amz-")},
        )
        return again.endswith(f"X-Amz-Signature={signature}") and self.now() <= signed_at + lifetime

    def _make(self, bucket: str, key: str, body: bytes) -> Version:
        place = self.buckets[bucket]
        made = Version(self._new("version") if place.versioned else "", body, _etag(body), self.now())
        versions = place.objects.setdefault(key, [])
        versions[:] = [*versions, made] if place.versioned else [made]
        self._created(bucket, key, made)
        return made

    def _multipart(self, bucket: str, key: str, multipart_id: str) -> Multipart:
        found = self.buckets[bucket].multiparts.get(multipart_id)
        if found is None or found.key != key:
            raise refusal("NoSuchUpload", 404)
        return found

    def _new(self, what: str) -> str:
        self._count += 1
        return f"{what}-{self._count:04d}"


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


@dataclass
class Waiting:
    """A message in a queue."""

    id: str
    body: str
    visible_at: datetime
    receives: int = 0


class Sqs:
    """Queues; `mixed` gives the order in which what waits is received."""

    def __init__(self, queues: Iterable[Queue], now: Now) -> None:
        self.now = now
        self.mixed: Callable[[list[Waiting]], list[Waiting]] = lambda waiting: waiting
        self.queues: dict[str, list[Waiting]] = {}
        self._of = {queue.name: queue for queue in queues}
        for queue in self._of.values():
            self.queues |= {queue.name: [], queue.dead_letters: []}
        self._count = 0

    def get_queue_url(self, *, QueueName: str) -> dict[str, Any]:
        if QueueName not in self.queues:
            raise refusal("AWS.SimpleQueueService.NonExistentQueue", 400, "GetQueueUrl")
        return {"QueueUrl": f"{ENDPOINT}/{QueueName}"}

    def put(self, queue: str, body: str, *, delay_s: float = 0) -> str:
        """Let a message wait."""
        self._count += 1
        message = Waiting(f"message-{self._count:05d}", body, self.now() + timedelta(seconds=delay_s))
        self.queues[queue].append(message)
        return message.id

    def visible(self, queue: str) -> list[Waiting]:
        """What could be received right now."""
        return [message for message in self.queues[queue] if message.visible_at <= self.now()]

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> dict[str, Any]:
        return {"MessageId": self.put(_name(QueueUrl), MessageBody)}

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        sent = [{"Id": e["Id"], "MessageId": self.put(_name(QueueUrl), e["MessageBody"])} for e in Entries]
        return {"Successful": sent}

    def receive_message(
        self,
        *,
        QueueUrl: str,
        MaxNumberOfMessages: int = 1,
        WaitTimeSeconds: int = 0,
        VisibilityTimeout: int | None = None,
        MessageSystemAttributeNames: Any = (),
    ) -> dict[str, Any]:
        name = _name(QueueUrl)
        queue = self._of.get(name)
        hidden = VisibilityTimeout if VisibilityTimeout is not None else queue.visibility_s if queue else 30
        got: list[dict[str, Any]] = []
        for message in self.mixed(self.visible(name)):
            if len(got) == MaxNumberOfMessages:
                break
            if queue and message.receives >= queue.max_receives:
                self.queues[name].remove(message)
                self.queues[queue.dead_letters].append(message)
                continue
            message.receives += 1
            message.visible_at = self.now() + timedelta(seconds=hidden)
            receipt, told = f"{message.id}#{message.receives}", {"ApproximateReceiveCount": str(message.receives)}
            got.append({"MessageId": message.id, "ReceiptHandle": receipt, "Body": message.body, "Attributes": told})
        return {"Messages": got} if got else {}

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> dict[str, Any]:
        waiting = self.queues[_name(QueueUrl)]
        waiting[:] = [each for each in waiting if f"{each.id}#{each.receives}" != ReceiptHandle]
        return {}

    def delete_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        for each in Entries:
            self.delete_message(QueueUrl=QueueUrl, ReceiptHandle=each["ReceiptHandle"])
        return {"Successful": [{"Id": each["Id"]} for each in Entries]}

    def change_message_visibility(self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> dict[str, Any]:
        for each in self.queues[_name(QueueUrl)]:
            if f"{each.id}#{each.receives}" == ReceiptHandle:
                each.visible_at = self.now() + timedelta(seconds=VisibilityTimeout)
        return {}

    def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: list[str]) -> dict[str, Any]:
        name = _name(QueueUrl)
        visible = len(self.visible(name))
        told = {
            "ApproximateNumberOfMessages": visible,
            "ApproximateNumberOfMessagesNotVisible": len(self.queues[name]) - visible,
        }
        return {"Attributes": {each: str(told[each]) for each in AttributeNames}}

    def purge_queue(self, *, QueueUrl: str) -> dict[str, Any]:
        self.queues[_name(QueueUrl)].clear()
        return {}


def _name(url: str) -> str:
    return url.rpartition("/")[2]


class Events:
    """The default bus with the rules of a topology."""

    def __init__(self, topology: Topology, deliver: Callable[[str, str], None]) -> None:
        self._rules, self._deliver = topology.rules, deliver
        self._count = 0

    def put_events(self, *, Entries: list[dict[str, str]]) -> dict[str, Any]:
        for entry in Entries:
            self.put(entry["Source"], entry["DetailType"], json.loads(entry["Detail"]))
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "e"} for _ in Entries]}

    def put(self, source: str, detail_type: str, detail: dict[str, Any]) -> None:
        """Route one event."""
        self._count += 1
        event = {
            "version": "0",
            "id": f"event-{self._count:05d}",
            "source": source,
            "detail-type": detail_type,
            "detail": detail,
        }
        for rule in self._rules:
            if _matches(rule.pattern, event):
                self._deliver(rule.queue, json.dumps(event))


def _matches(pattern: Any, value: Any) -> bool:
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            name in value and _matches(p, value[name]) for name, p in pattern.items()
        )
    return any(str(value).startswith(each["prefix"]) if isinstance(each, dict) else value == each for each in pattern)


class Cloud:
    """The three together, with the buckets and queues of a topology."""

    def __init__(self, topology: Topology, now: Now) -> None:
        self.sqs = Sqs(topology.queues, now)
        self.deliver: Callable[[str, str], object] = self.sqs.put
        self.events = Events(topology, lambda queue, body: self.deliver(queue, body) and None)
        self.s3 = S3(now, self._created)
        self.s3.buckets = {
            "buildpeer-uploads": Bucket(versioned=True),
            "buildpeer-chunks": Bucket(),
            "buildpeer-derived": Bucket(),
        }

    def client(self, service: str, *_: Any, **__: Any) -> Any:
        """As `platform.aws.client` gives one."""
        return {"s3": self.s3, "sqs": self.sqs, "events": self.events}[service]

    def _created(self, bucket: str, key: str, made: Version) -> None:
        if self.s3.buckets[bucket].versioned:
            thing = {
                "key": key,
                "size": len(made.body),
                "etag": made.etag.strip('"'),
                "version-id": made.version_id,
                "sequencer": "0",
            }
            detail = {"version": "0", "bucket": {"name": bucket}, "object": thing, "reason": "PutObject"}
            self.events.put("aws.s3", "Object Created", detail)
