"""What functions do with AWS: fetch a version, keep a picture, announce a fact."""

from contextlib import closing
from functools import cache
from pathlib import Path

import msgspec
from botocore.exceptions import ClientError

from buildpeer import facts
from buildpeer.entrypoints.functions.batch import GoneError, Location
from buildpeer.platform.aws import client
from buildpeer.platform.config import Settings
from buildpeer.platform.telemetry import configure_logging
from buildpeer.processing.identify import CHUNK, copy_and_hash

_GONE = ("NoSuchKey", "NoSuchVersion", "404")
_FOREVER = "private, max-age=31536000, immutable"  # a version's pictures never change


class PublishError(RuntimeError):
    """The bus didn't take an event."""


class Fetched(msgspec.Struct, frozen=True):
    """An object version that lies in a local file now; `sha256` (hex) is that of the bytes read."""

    bucket: facts.Bucket
    object: facts.Object
    sha256: str


class Aws:
    """S3 and the event bus, with this process's own credentials."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._s3 = client("s3", settings)
        self._events = client("events", settings)

    def fetch(self, location: Location, to: Path) -> Fetched:
        """Stream exactly that version into a file.

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
            sha256 = copy_and_hash(body.iter_chunks(CHUNK), file)
        return Fetched(
            facts.Bucket(location.bucket),
            facts.Object(
                key=location.key,
                size=found["ContentLength"],
                etag=found["ETag"].strip('"'),
                version_id=location.version_id or found.get("VersionId", ""),
            ),
            sha256,
        )

    def keep_picture(self, path: Path, *, key: str) -> None:
        """Put a WebP file into the derived bucket, again if need be; raises botocore's errors."""
        with path.open("rb") as file:
            self._s3.put_object(
                Bucket=self.settings.derived_bucket,
                Key=key,
                Body=file,
                ContentType="image/webp",
                CacheControl=_FOREVER,
            )

    def announce(self, detail: facts.FileScanned | facts.FileDerived, *, source: str, detail_type: str) -> None:
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
