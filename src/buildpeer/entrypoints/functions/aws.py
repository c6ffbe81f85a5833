"""What functions do with AWS: fetch a version, keep a picture, read chunks and write parts, announce a fact."""

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from buildpeer import facts
from buildpeer.entrypoints.functions.batch import GoneError, Location
from buildpeer.platform.aws import client
from buildpeer.platform.config import Settings
from buildpeer.platform.telemetry import configure_logging

_CHUNK = 1024 * 1024
_GONE = ("NoSuchKey", "NoSuchVersion", "404")
_FOREVER = "private, max-age=31536000, immutable"  # what is made of a version never changes


class PublishError(RuntimeError):
    """The bus didn't take an event."""


class Fetched(msgspec.Struct, frozen=True):
    """An object version that lies in a local file now."""

    bucket: facts.Bucket
    object: facts.Object


class Aws:
    """S3 and the event bus, with this process's own credentials."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._s3 = client("s3", settings)
        self._events = client("events", settings)

    def fetch(self, location: Location, to: Path, *, read: Callable[[bytes], object] | None = None) -> Fetched:
        """Stream exactly that version into a file; `read`, a hash say, is given each piece too.

        Raises GoneError when it isn't there any more, and botocore's errors.
        """
        version = {"VersionId": location.version_id} if location.version_id else {}
        try:
            found = self._s3.get_object(Bucket=location.bucket, Key=location.key, **version)
        except ClientError as exc:
            if exc.response["Error"]["Code"] in _GONE:
                raise GoneError(location.key) from exc
            raise
        # its own context manager hands out the raw stream, which takes an early end for the end
        with closing(found["Body"]) as body, to.open("wb") as file:
            for piece in body.iter_chunks(_CHUNK):
                file.write(piece)
                if read:
                    read(piece)
        return Fetched(
            facts.Bucket(location.bucket),
            facts.Object(
                key=location.key,
                size=found["ContentLength"],
                etag=found["ETag"].strip('"'),
                version_id=location.version_id or found.get("VersionId", ""),
            ),
        )

    def keep(self, path: Path, *, key: str, content_type: str) -> None:
        """Put a file into the derived bucket, again if need be; raises botocore's errors."""
        with path.open("rb") as file:
            self._s3.put_object(
                Bucket=self.settings.derived_bucket,
                Key=key,
                Body=file,
                ContentType=content_type,
                CacheControl=_FOREVER,
            )

    def list_chunks(self, prefix: str) -> list[dict[str, Any]]:
        """What lies in the chunks bucket under `prefix`, as S3 lists it: Key, Size, ETag."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.settings.chunks_bucket, Prefix=prefix)
        return [each for page in pages for each in page.get("Contents", [])]

    def read_chunk(self, key: str, *, etag: str) -> bytes:
        """Just that writing of a chunk; raises GoneError when it isn't there any more, and botocore's errors."""
        try:
            found = self._s3.get_object(Bucket=self.settings.chunks_bucket, Key=key, IfMatch=etag)
        except ClientError as exc:
            if exc.response["Error"]["Code"] in (*_GONE, "PreconditionFailed"):
                raise GoneError(key) from exc
            raise
        with closing(found["Body"]) as body:
            return body.read()

    def delete_chunks(self, keys: Sequence[str]) -> None:
        """Remove the chunks of one part; what is gone already is fine, what stays is left to the bucket's lifecycle."""
        if keys:
            doomed = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
            self._s3.delete_objects(Bucket=self.settings.chunks_bucket, Delete=doomed)

    def size_of(self, bucket: str, key: str) -> int | None:
        """The bytes of an object's newest version; None when there is none."""
        try:
            return self._s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
        except ClientError as exc:
            if exc.response["Error"]["Code"] in _GONE:
                return None
            raise

    def part_size(self, bucket: str, key: str, multipart_id: str, number: int) -> int | None:
        """The bytes of a part of a multipart upload; None when the part or the upload isn't there."""
        try:
            # one page of one, which is the part if it is there
            found = self._s3.list_parts(
                Bucket=bucket, Key=key, UploadId=multipart_id, PartNumberMarker=number - 1, MaxParts=1
            )
        except ClientError as exc:
            if exc.response["Error"]["Code"] == "NoSuchUpload":
                return None
            raise
        return next((part["Size"] for part in found.get("Parts", []) if part["PartNumber"] == number), None)

    def write_part(self, bucket: str, key: str, part: bytes, multipart_id: str, number: int) -> None:
        """Write a part of a multipart upload, again if need be; raises botocore's errors."""
        self._s3.upload_part(Bucket=bucket, Key=key, UploadId=multipart_id, PartNumber=number, Body=part)

    def write_whole(self, bucket: str, key: str, content: bytes, *, content_type: str) -> None:
        """Write an object, once: raises botocore's ClientError PreconditionFailed when it stands, and its others."""
        self._s3.put_object(
            Bucket=bucket,
            Key=key,
            Body=content,
            ContentType=content_type,
            ContentDisposition="attachment",
            IfNoneMatch="*",
        )

    def announce(self, detail: facts.Fact, *, source: str, detail_type: str) -> None:
        """Put a fact on the bus; raises PublishError when the bus refuses it, and botocore's errors."""
        entry = {"Source": source, "DetailType": detail_type, "Detail": msgspec.json.encode(detail).decode()}
        answer = self._events.put_events(Entries=[entry])
        if answer["FailedEntryCount"]:
            refused = answer["Entries"][0]
            raise PublishError(f"{refused.get('ErrorCode')}: {refused.get('ErrorMessage')}")


@cache
def aws() -> Aws:
    """This process's clients, made from its environment at the first event; also sets up its logs."""
    settings = Settings.from_env()
    configure_logging(settings, process="functions")
    return Aws(settings)
