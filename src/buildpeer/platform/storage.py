"""S3: signing URLs that phones use, and asking S3 what it holds.

Signing is our own SigV4 because a batch of 1,000 with the SDK would hold the event loop for 0.2 s; a property test
compares every signature with botocore's. Source: "Authenticating Requests: Using Query Parameters",
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import io
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import botocore.exceptions
import msgspec
from boto3.s3.transfer import TransferConfig

from buildpeer.platform import aws
from buildpeer.platform.config import Settings

WRITE_LIFE = timedelta(hours=6)  # at most; temporary credentials may end sooner
READ_LIFE = timedelta(minutes=5)
_DELETED_AT_ONCE = 1000  # as many as S3 takes
_COPIED_AT_ONCE = 1024 * 1024  # bytes
_WRITTEN_PART = 8 * 1024 * 1024  # bytes; 10,000 of them are 80 GB
_IN_THIS_THREAD = TransferConfig(use_threads=False)  # the threads are bounded, and ours


class StorageError(RuntimeError):
    """S3 did only a part of what it was asked for."""


class Credentials(msgspec.Struct, frozen=True):
    """What signs; `token` only with temporary credentials, which end at `expires_at`."""

    access_key: str
    secret_key: str
    token: str | None = None
    expires_at: datetime | None = None


class SignedUrl(msgspec.Struct, frozen=True):
    """A URL good for one request of `method`, with exactly these headers, until `expires_at`.

    `accelerated_url` asks the same of S3's faster door, where there is one.
    """

    method: str
    url: str
    headers: dict[str, str]
    expires_at: datetime
    accelerated_url: str | None = None


class StoredObject(msgspec.Struct, frozen=True):
    """One object version as S3 has it; `size` in bytes."""

    version_id: str
    size: int
    etag: str


def presign(
    *,
    method: str,
    url: str,
    credentials: Credentials,
    region: str,
    now: datetime,
    lifetime: timedelta,
    headers: Mapping[str, str],
    query: Mapping[str, str],
) -> str:
    """Sign a request to `url` (no query, path already percent-encoded) in its query string (SigV4).

    All `headers` are signed, names in lower case; whoever uses the URL must send them as they are.
    """
    parts = urlsplit(url)
    signed = {"host": parts.netloc, **headers}
    names = ";".join(sorted(signed))
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    params = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(int(lifetime.total_seconds())),
        "X-Amz-SignedHeaders": names,
        **({"X-Amz-Security-Token": credentials.token} if credentials.token else {}),
        **query,
    }
    canonical_query = "&".join(sorted(f"{_escape(k)}={_escape(v)}" for k, v in params.items()))
    canonical_headers = "".join(f"{k}:{' '.join(signed[k].split())}\n" for k in sorted(signed))
    canonical = f"{method}\n{parts.path}\n{canonical_query}\n{canonical_headers}\n{names}\nUNSIGNED-PAYLOAD"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = _signing_key(credentials.secret_key, stamp[:8], region)
    signature = hmac.new(key, to_sign.encode(), "sha256").hexdigest()
    return f"{url}?{canonical_query}&X-Amz-Signature={signature}"


def _escape(text: str) -> str:
    return quote(text, safe="-_.~")


@lru_cache(maxsize=64)
def _signing_key(secret: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return key


class StoredPart(msgspec.Struct, frozen=True):
    """One part of a multipart upload as S3 has it; `size` in bytes."""

    size: int
    etag: str
    modified: datetime


class Listed(msgspec.Struct, frozen=True):
    """One thing in a listing; `version_id` is empty without versions, the multipart upload's id for one of these."""

    key: str
    size: int
    modified: datetime
    version_id: str = ""


class _Listing(msgspec.Struct, frozen=True):
    operation: str
    items: tuple[str, ...]
    version: str = ""
    modified: str = "LastModified"


_LISTINGS = {
    "version": _Listing("list_object_versions", ("Versions", "DeleteMarkers"), "VersionId"),
    "multipart": _Listing("list_multipart_uploads", ("Uploads",), "UploadId", "Initiated"),
    "object": _Listing("list_objects_v2", ("Contents",)),
}


class PartWriter(io.RawIOBase):
    """An object that is written as a stream: a multipart upload that holds one part in memory, and no more.

    Its calls block, so it belongs in a thread. `complete()` makes the object; without it there is none, and `abort()`
    frees what was sent. `written` counts bytes.
    """

    def __init__(self, s3: Any, *, bucket: str, key: str, content_type: str) -> None:
        super().__init__()
        self._s3, self._place = s3, {"Bucket": bucket, "Key": key}
        begun = s3.create_multipart_upload(**self._place, ContentType=content_type, ContentDisposition="attachment")
        self._id: str = begun["UploadId"]
        self._part = bytearray()
        self._etags: list[str] = []
        self.written = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any, /) -> int:
        """Take bytes, and send each part once it is full."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        while rest:
            taken = min(_WRITTEN_PART - len(self._part), len(rest))
            self._part += rest[:taken]
            rest = rest[taken:]
            if len(self._part) == _WRITTEN_PART:
                self._send()
        self.written += size
        return size

    def complete(self) -> None:
        """Send the last part, and make the object."""
        if self._part or not self._etags:
            self._send()
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(self._etags, 1)]
        self._s3.complete_multipart_upload(**self._place, UploadId=self._id, MultipartUpload={"Parts": parts})

    def abort(self) -> None:
        """Give up, and free what was sent; after `complete()` that changes nothing."""
        with contextlib.suppress(botocore.exceptions.ClientError):  # or else the bucket's lifecycle does
            self._s3.abort_multipart_upload(**self._place, UploadId=self._id)

    def _send(self) -> None:
        sent = self._s3.upload_part(
            **self._place, UploadId=self._id, PartNumber=len(self._etags) + 1, Body=bytes(self._part)
        )
        self._etags.append(sent["ETag"])
        self._part = bytearray()


class Storage:
    """The buckets of one data region.

    `now` is the clock that signatures carry. `chunks_bucket` is where pieces of originals wait to be joined.
    """

    def __init__(self, settings: Settings, *, now: Callable[[], datetime], threads: int = 8) -> None:
        self._s3 = aws.client("s3", settings, pool=threads)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="s3")
        self._credentials = self._s3._request_signer._credentials
        self._region = settings.aws_region
        self.chunks_bucket = settings.chunks_bucket
        at_home = f"https://{{bucket}}.s3.{settings.aws_region}.amazonaws.com"
        self._door: str = settings.public_s3_url or settings.aws_endpoint_url or at_home
        self._faster_door = settings.s3_accelerated_url
        self._now = now

    def sign_write(self, *, bucket: str, key: str, size: int, content_type: str, sha256: bytes) -> SignedUrl:
        """A URL that can write `key` once, with exactly these bytes: length, type and SHA-256 are signed.

        What is written is an attachment for ever, so no browser shows it as a page, by whatever URL it is read.
        """
        headers = {
            "content-disposition": "attachment",
            "content-length": str(size),
            "content-type": content_type,
            "if-none-match": "*",
            "x-amz-checksum-sha256": _base64(sha256),
        }
        return self._sign_put(bucket=bucket, key=key, headers=headers)

    def sign_chunk(self, *, bucket: str, key: str, size: int) -> SignedUrl:
        """A URL that can write `key` once, with `size` bytes."""
        return self._sign_put(bucket=bucket, key=key, headers={"content-length": str(size), "if-none-match": "*"})

    def sign_part(self, *, bucket: str, key: str, multipart_id: str, number: int, size: int) -> SignedUrl:
        """A URL that can write one part of a multipart upload, of exactly `size` bytes."""
        query = {"partNumber": str(number), "uploadId": multipart_id}
        return self._sign_put(bucket=bucket, key=key, headers={"content-length": str(size)}, query=query)

    def sign_read(
        self,
        *,
        bucket: str,
        key: str,
        version_id: str | None,
        filename: str,
        content_type: str,
        lifetime: timedelta = READ_LIFE,
    ) -> SignedUrl:
        """A URL that reads one version as an attachment named `filename`, whatever letters it has (RFC 6266)."""
        query = {
            "response-content-disposition": f"attachment; filename*=UTF-8''{_escape(filename)}",
            "response-content-type": content_type,
            **({"versionId": version_id} if version_id else {}),
        }
        url, expires_at = self._sign("GET", self._door, bucket, key, lifetime=lifetime, headers={}, query=query)
        return SignedUrl("GET", url, {}, expires_at)

    async def head(self, *, bucket: str, key: str) -> StoredObject | None:
        """The newest version of an object, or None when there is none."""
        try:
            found = await self._call("head_object", Bucket=bucket, Key=key)
        except botocore.exceptions.ClientError as exc:
            if exc.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise
        return StoredObject(found.get("VersionId", ""), found["ContentLength"], found["ETag"].strip('"'))

    async def read(self, *, bucket: str, key: str, most: int) -> bytes | None:
        """The first `most` bytes of an object's newest version, or None when there is none.

        S3 says 403 of what isn't there to who may not list the bucket, so that counts as none too.
        """
        try:
            found = await self._call("get_object", Bucket=bucket, Key=key, Range=f"bytes=0-{most - 1}")
        except botocore.exceptions.ClientError as exc:
            if exc.response["ResponseMetadata"]["HTTPStatusCode"] in (403, 404):
                return None
            raise
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, found["Body"].read)

    async def holds(self, *, bucket: str, key: str, version_id: str) -> bool:
        """Whether S3 has this very version for us; what we may not look at is as good as gone."""
        try:
            await self._call("head_object", Bucket=bucket, Key=key, VersionId=version_id)
        except botocore.exceptions.ClientError as exc:
            if exc.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403, 404):  # 400: no version id of S3's
                return False
            raise
        return True

    async def walk(
        self, what: Literal["version", "multipart", "object"], *, bucket: str, prefix: str = ""
    ) -> AsyncIterator[list[Listed]]:
        """Everything whose key begins with `prefix`, a page at a time: versions, unfinished multipart uploads, or
        (without versions) objects.
        """
        listing = _LISTINGS[what]
        pages: Any = iter(self._s3.get_paginator(listing.operation).paginate(Bucket=bucket, Prefix=prefix))
        loop = asyncio.get_running_loop()
        while True:
            page = await loop.run_in_executor(self._threads, next, pages, None)
            if page is None:
                return
            yield [
                Listed(each["Key"], each.get("Size", 0), each[listing.modified], each.get(listing.version, ""))
                for name in listing.items
                for each in page.get(name, [])
            ]

    async def delete(self, *, bucket: str, key: str, version_id: str | None) -> None:
        """Remove one version, or the object of a bucket without versions; what is gone already is fine."""
        version = {"VersionId": version_id} if version_id else {}
        await self._call("delete_object", Bucket=bucket, Key=key, **version)

    async def delete_versions(self, *, bucket: str, doomed: Sequence[Listed]) -> None:
        """Remove what a listing has shown: versions, or objects of a bucket without them; what is gone is fine."""
        for start in range(0, len(doomed), _DELETED_AT_ONCE):
            names = [
                {"Key": each.key, **({"VersionId": each.version_id} if each.version_id else {})}
                for each in doomed[start : start + _DELETED_AT_ONCE]
            ]
            answer = await self._call("delete_objects", Bucket=bucket, Delete={"Objects": names, "Quiet": True})
            if refused := answer.get("Errors"):
                raise StorageError(f"{len(refused)} of {len(names)} versions not deleted: {refused[0].get('Code')}")

    async def fetch(self, *, bucket: str, key: str, version_id: str, to: Path) -> str:
        """Write one version's bytes to a file, and give their SHA-256 in hex."""

        def copy() -> str:
            digest = hashlib.sha256()
            body = self._s3.get_object(Bucket=bucket, Key=key, VersionId=version_id)["Body"]
            with contextlib.closing(body), to.open("wb") as file:
                for piece in body.iter_chunks(_COPIED_AT_ONCE):
                    digest.update(piece)
                    file.write(piece)
            return digest.hexdigest()

        return await asyncio.get_running_loop().run_in_executor(self._threads, copy)

    async def write_parts(self, *, bucket: str, key: str, content_type: str) -> PartWriter:
        """Begin an object that is written as a stream."""
        begin = partial(PartWriter, self._s3, bucket=bucket, key=key, content_type=content_type)
        return await asyncio.get_running_loop().run_in_executor(self._threads, begin)

    def pieces(self, *, bucket: str, key: str, version_id: str) -> Iterator[bytes]:
        """One version's bytes, a piece at a time. Each piece blocks, so it belongs in a thread."""
        body = self._s3.get_object(Bucket=bucket, Key=key, VersionId=version_id)["Body"]
        with contextlib.closing(body):
            yield from body.iter_chunks(_COPIED_AT_ONCE)

    async def begin_multipart(self, *, bucket: str, key: str, content_type: str) -> str:
        """Begin a multipart upload; returns its id."""
        begun = await self._call(
            "create_multipart_upload",
            Bucket=bucket,
            Key=key,
            ContentType=content_type,
            ContentDisposition="attachment",
        )
        return begun["UploadId"]

    async def list_parts(self, *, bucket: str, key: str, multipart_id: str) -> dict[int, StoredPart] | None:
        """The parts that S3 holds, by number; None when S3 knows no such multipart upload (any more)."""
        parts: dict[int, StoredPart] = {}
        marker = 0
        while True:
            try:
                page = await self._call(
                    "list_parts", Bucket=bucket, Key=key, UploadId=multipart_id, PartNumberMarker=marker
                )
            except botocore.exceptions.ClientError as exc:
                if exc.response["Error"]["Code"] == "NoSuchUpload":
                    return None
                raise
            parts |= {part["PartNumber"]: _stored_part(part) for part in page.get("Parts", [])}
            if not page.get("IsTruncated"):
                return parts
            marker = page["NextPartNumberMarker"]

    async def list_objects(self, *, bucket: str, prefix: str) -> list[Listed]:
        """Every object whose key begins with `prefix`, in the order of keys."""
        return [each async for page in self.walk("object", bucket=bucket, prefix=prefix) for each in page]

    async def delete_objects(self, *, bucket: str, keys: Sequence[str]) -> None:
        """Remove objects of a bucket without versions; those that are gone already are fine."""
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            doomed = [{"Key": key} for key in keys[start : start + _DELETED_AT_ONCE]]
            answer = await self._call("delete_objects", Bucket=bucket, Delete={"Objects": doomed, "Quiet": True})
            if refused := answer.get("Errors"):
                raise StorageError(f"{len(refused)} of {len(doomed)} objects not deleted: {refused[0].get('Code')}")

    async def complete_multipart(
        self, *, bucket: str, key: str, multipart_id: str, parts: Mapping[int, StoredPart]
    ) -> bool:
        """Join the parts, in order, into the object, once: False when S3 has no such multipart upload (any more), or
        the object is there already.
        """
        joined = [{"PartNumber": number, "ETag": parts[number].etag} for number in sorted(parts)]
        try:
            await self._call(
                "complete_multipart_upload",
                Bucket=bucket,
                Key=key,
                UploadId=multipart_id,
                MultipartUpload={"Parts": joined},
                IfNoneMatch="*",
            )
        except botocore.exceptions.ClientError as exc:
            if exc.response["Error"]["Code"] in ("NoSuchUpload", "PreconditionFailed"):
                return False
            raise
        return True

    async def abort_multipart(self, *, bucket: str, key: str, multipart_id: str) -> None:
        """Give a multipart upload up and free its parts; one that is gone already is fine."""
        try:
            await self._call("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=multipart_id)
        except botocore.exceptions.ClientError as exc:
            if exc.response["Error"]["Code"] != "NoSuchUpload":
                raise

    async def put_file(self, *, bucket: str, key: str, file: Path, content_type: str) -> None:
        """Write a file of any size, over what is there; a large one goes in parts."""

        def copy() -> None:
            extra = {"ContentType": content_type, "ContentDisposition": "attachment"}
            self._s3.upload_file(str(file), bucket, key, ExtraArgs=extra, Config=_IN_THIS_THREAD)

        await asyncio.get_running_loop().run_in_executor(self._threads, copy)

    async def put_once(self, *, bucket: str, key: str, content: bytes, content_type: str) -> bool:
        """Write a small object; False when the key is taken, and stays as it is."""
        try:
            await self._call(
                "put_object", Bucket=bucket, Key=key, Body=content, ContentType=content_type, IfNoneMatch="*"
            )
        except botocore.exceptions.ClientError as exc:
            if exc.response["ResponseMetadata"]["HTTPStatusCode"] == 412:
                return False
            raise
        return True

    def close(self) -> None:
        """Let go of the threads; calls under way are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _sign_put(
        self, *, bucket: str, key: str, headers: dict[str, str], query: Mapping[str, str] | None = None
    ) -> SignedUrl:
        def signed(door: str) -> tuple[str, datetime]:
            return self._sign("PUT", door, bucket, key, lifetime=WRITE_LIFE, headers=headers, query=query or {})

        url, expires_at = signed(self._door)
        faster = signed(self._faster_door)[0] if self._faster_door else None
        return SignedUrl("PUT", url, headers, expires_at, faster)

    def _sign(
        self,
        method: str,
        door: str,
        bucket: str,
        key: str,
        *,
        lifetime: timedelta,
        headers: Mapping[str, str],
        query: Mapping[str, str],
    ) -> tuple[str, datetime]:
        now = self._now()
        credentials = self._current_credentials()
        if credentials.expires_at is not None:
            lifetime = min(lifetime, credentials.expires_at - now)
        url = presign(
            method=method,
            url=f"{_at(door, bucket)}/{quote(key, safe='/-_.~')}",
            credentials=credentials,
            region=self._region,
            now=now,
            lifetime=lifetime,
            headers=headers,
            query=query,
        )
        expires_at = now.replace(microsecond=0) + timedelta(seconds=int(lifetime.total_seconds()))
        return url, expires_at.astimezone(UTC)

    def _current_credentials(self) -> Credentials:
        source = self._credentials
        frozen = source.get_frozen_credentials()
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token, getattr(source, "_expiry_time", None))

    async def _call(self, operation: str, **params: Any) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: getattr(self._s3, operation)(**params))


def _at(door: str, bucket: str) -> str:
    """A bucket behind a door: by its own host where the door has a place for the name, else by path."""
    return door.replace("{bucket}", bucket) if "{bucket}" in door else f"{door}/{bucket}"


def _stored_part(part: Mapping[str, Any]) -> StoredPart:
    return StoredPart(part["Size"], part["ETag"], part["LastModified"])


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
