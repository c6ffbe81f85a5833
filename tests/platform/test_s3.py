"""What our uploads and their joining need of S3, asked of the server that `S3_TARGET` names.

It is ministack (as always), or seaweedfs. SeaweedFS raises no events, but enforces the order and the least
size of parts, which ministack doesn't. The S3 of the simulation answers the same questions beside them.
"""

import base64
import hashlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import msgspec
import pytest
from botocore.config import Config
from tests.conftest import acting_as, eventually
from tests.simulation import fakes

from buildpeer import facts, wiring
from buildpeer.entrypoints.functions import aws as functions_aws
from buildpeer.entrypoints.functions.assemble import make_part
from buildpeer.entrypoints.functions.aws import Aws
from buildpeer.entrypoints.functions.batch import GoneError
from buildpeer.layout import CELL, PART_SIZE, Range, chunk_key, chunks_prefix, part_range
from buildpeer.local.stack import Stack
from buildpeer.platform import aws, clock
from buildpeer.platform.config import Settings
from buildpeer.platform.ids import new_id
from buildpeer.platform.storage import SignedUrl, Storage, StoredPart

TARGET = os.environ.get("S3_TARGET", "ministack")
FAKE = fakes.Cloud(wiring.topology(uploads_bucket="buildpeer-uploads", verdicts="scan"), clock.now)
WEB = httpx.Client(mounts={fakes.ENDPOINT: httpx.MockTransport(FAKE.s3.answer)}, timeout=60)
CONTENT = b"\xff\xd8\xff a photo, more or less"
MIB = 1024 * 1024


class Seaweed:
    """A SeaweedFS of our own on free ports, with one user."""

    def __init__(self, folder: Path) -> None:
        self.key, self.secret = "local", secrets.token_hex(16)
        with socket.create_server(("127.0.0.1", 0)):
            pass
        master, volume, filer, s3, iceberg, lance = (str(_free_port()) for _ in range(6))
        self.url = f"http://127.0.0.1:{s3}"
        identity = {
            "name": "local",
            "credentials": [{"accessKey": self.key, "secretKey": self.secret}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        config = folder / "s3.json"
        config.write_bytes(msgspec.json.encode({"identities": [identity]}))
        program = shutil.which("weed", path=str(Path(sys.executable).parent)) or "weed"
        ports = [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={s3}"]
        more = [
            f"-s3.port.iceberg={iceberg}",
            f"-s3.port.lance={lance}",
            "-volume.max=0",
            "-master.volumeSizeLimitMB=64",
        ]
        where = [f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={config}"]
        with (folder / "weed.log").open("wb") as log:
            self.process = subprocess.Popen(
                [program, "server", "-filer", "-s3", *where, *ports, *more], stdout=log, stderr=log, cwd=folder
            )

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def _free_port() -> int:
    # its gRPC port is 10,000 higher, so both must exist
    while True:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            if (port := probe.getsockname()[1]) < 50_000:
                return port


@pytest.fixture(scope="module", params=[TARGET, "fake"])
async def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """Settings and keys of the S3 under test, with its bucket made."""
    if request.param == "fake":
        key = {"AWS_ACCESS_KEY_ID": fakes.KEY.access_key, "AWS_SECRET_ACCESS_KEY": fakes.KEY.secret_key}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(aws, "client", FAKE.client)
            patch.setattr(functions_aws, "client", FAKE.client)
            yield key | {"BUILDPEER_AWS_ENDPOINT_URL": fakes.ENDPOINT}
        return
    yield await _real_target(request, tmp_path_factory)


async def _real_target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if TARGET == "ministack":
        stack: Stack = request.getfixturevalue("stack")
        return stack.env("api")
    seaweed = Seaweed(tmp_path_factory.mktemp("seaweed"))
    request.addfinalizer(seaweed.stop)
    env = {
        "AWS_ACCESS_KEY_ID": seaweed.key,
        "AWS_SECRET_ACCESS_KEY": seaweed.secret,
        "BUILDPEER_AWS_ENDPOINT_URL": seaweed.url,
    }
    s3 = boto3.client(
        "s3",
        endpoint_url=seaweed.url,
        aws_access_key_id=seaweed.key,
        aws_secret_access_key=seaweed.secret,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )

    async def made() -> bool:
        try:
            s3.create_bucket(Bucket="buildpeer-uploads")
            s3.create_bucket(Bucket="buildpeer-chunks")
            s3.put_bucket_versioning(Bucket="buildpeer-uploads", VersioningConfiguration={"Status": "Enabled"})
            s3.put_object(Bucket="buildpeer-uploads", Key="probe", Body=b"x")
        except Exception:
            return False
        return True

    await eventually(made, within_s=60)
    return env


@pytest.fixture(scope="module")
def s3(target: dict[str, str]) -> Iterator[Storage]:
    with acting_as(target) as settings:
        storage = Storage(settings, now=clock.now)
    yield storage
    storage.close()


@pytest.fixture(scope="module")
def functions(target: dict[str, str], request: pytest.FixtureRequest) -> Aws:
    """S3 as assemble may use it."""
    env = dict(target)
    if TARGET == "ministack" and target["BUILDPEER_AWS_ENDPOINT_URL"] != fakes.ENDPOINT:
        env = request.getfixturevalue("stack").env("assemble") | {
            "BUILDPEER_AWS_ENDPOINT_URL": target["BUILDPEER_AWS_ENDPOINT_URL"]
        }
    with acting_as(env) as settings:
        return Aws(settings)


@pytest.fixture
def place() -> dict[str, str]:
    return {"bucket": Settings().uploads_bucket, "key": f"live/{new_id()}/{new_id()}"}


def send(signed: SignedUrl, content: bytes, **changes: str) -> httpx.Response:
    return WEB.put(signed.url, content=content, headers=signed.headers | changes, timeout=60)


def whole(s3: Storage, place: dict[str, str]) -> SignedUrl:
    digest = hashlib.sha256(CONTENT).digest()
    return s3.sign_write(**place, size=len(CONTENT), content_type="image/jpeg", sha256=digest)


async def test_exactly_the_signed_bytes_are_taken_once(s3: Storage, place: dict[str, str]) -> None:
    signed = whole(s3, place)
    assert send(signed, CONTENT + b"!", **{"content-length": str(len(CONTENT) + 1)}).status_code == 403
    assert send(signed, CONTENT, **{"content-type": "text/html"}).status_code == 403
    assert send(signed, b"?" * len(CONTENT)).status_code == 400
    lie = base64.b64encode(hashlib.sha256(b"?" * len(CONTENT)).digest()).decode()
    assert send(signed, b"?" * len(CONTENT), **{"x-amz-checksum-sha256": lie}).status_code == 403
    assert await s3.head(**place) is None
    assert send(signed, CONTENT).status_code == 200
    assert send(signed, CONTENT).status_code == 412
    held = await s3.head(**place)
    assert held is not None
    assert held.size == len(CONTENT)


async def test_a_read_url_reads_that_version_as_an_attachment(s3: Storage, place: dict[str, str]) -> None:
    send(whole(s3, place), CONTENT)
    held = await s3.head(**place)
    assert held is not None
    signed = s3.sign_read(**place, version_id=held.version_id, filename="Ñandú 3ª.jpg", content_type="image/jpeg")
    answer = WEB.get(signed.url)
    assert answer.content == CONTENT
    assert answer.headers["content-disposition"].startswith("attachment")
    assert WEB.get(signed.url.replace("versionId=", "versionId=0")).status_code in (400, 403)


async def begin(s3: Storage, place: dict[str, str]) -> str:
    return await s3.begin_multipart(**place, content_type="application/pdf")


def send_part(s3: Storage, place: dict[str, str], multipart_id: str, number: int, content: bytes) -> httpx.Response:
    return send(s3.sign_part(**place, multipart_id=multipart_id, number=number, size=len(content)), content)


async def test_parts_sent_in_any_order_are_joined_in_theirs_and_once(s3: Storage, place: dict[str, str]) -> None:
    multipart_id = await begin(s3, place)
    first, second = b"a" * (5 * MIB), b"b" * 1000
    for number, content in ((2, second), (1, first), (1, first)):  # a part may be sent again
        assert send_part(s3, place, multipart_id, number, content).status_code == 200
    parts = await s3.list_parts(**place, multipart_id=multipart_id)
    assert parts is not None
    assert {number: part.size for number, part in parts.items()} == {1: len(first), 2: len(second)}
    assert await s3.complete_multipart(**place, multipart_id=multipart_id, parts=parts)
    assert not await s3.complete_multipart(**place, multipart_id=multipart_id, parts=parts) or TARGET == "ministack"
    held = await s3.head(**place)
    assert held is not None
    signed = s3.sign_read(**place, version_id=held.version_id, filename="a", content_type="application/pdf")
    assert WEB.get(signed.url, timeout=60).content == first + second


async def test_what_stands_is_never_replaced_by_parts(s3: Storage, place: dict[str, str]) -> None:
    send(whole(s3, place), CONTENT)
    multipart_id = await begin(s3, place)
    send_part(s3, place, multipart_id, 1, b"other")
    parts = await s3.list_parts(**place, multipart_id=multipart_id)
    assert not await s3.complete_multipart(**place, multipart_id=multipart_id, parts=parts or {})
    held = await s3.head(**place)
    assert held is not None
    assert held.size == len(CONTENT)


async def test_a_part_of_another_length_is_refused(s3: Storage, place: dict[str, str]) -> None:
    multipart_id = await begin(s3, place)
    signed = s3.sign_part(**place, multipart_id=multipart_id, number=1, size=10)
    assert send(signed, b"123", **{"content-length": "3"}).status_code == 403
    assert await s3.list_parts(**place, multipart_id=multipart_id) == {}


async def test_a_multipart_upload_that_was_given_up_is_gone(s3: Storage, place: dict[str, str]) -> None:
    multipart_id = await begin(s3, place)
    send_part(s3, place, multipart_id, 1, b"x")
    for _ in range(2):
        await s3.abort_multipart(**place, multipart_id=multipart_id)
    assert await s3.list_parts(**place, multipart_id=multipart_id) is None
    assert not await s3.complete_multipart(
        **place, multipart_id=multipart_id, parts={1: StoredPart(1, "e", clock.now())}
    )


class Joined:
    """A file that travels in chunks, and the part that is made of them."""

    def __init__(self, s3: Storage, functions: Aws, place: dict[str, str], size: int) -> None:
        self.s3, self.functions, self.place = s3, functions, place
        self.content = os.urandom(size)

    def send(self, *chunks: Range, content: bytes | None = None) -> list[int]:
        source = self.content if content is None else content
        return [send(self.sign(chunk), source[chunk.offset : chunk.end]).status_code for chunk in chunks]

    def sign(self, chunk: Range) -> SignedUrl:
        key = chunk_key(self.place["key"], chunk)
        return self.s3.sign_chunk(bucket=self.s3.chunks_bucket, key=key, size=chunk.length)

    def fill(self, part: int) -> list[Range]:
        place = part_range(len(self.content), part)
        return [Range(at, min(8 * CELL, place.end - at)) for at in range(place.offset, place.end, 8 * CELL)]

    def make(self, part: int = 1, multipart_id: str = "") -> str:
        wanted = facts.PartWanted(
            bucket=facts.Bucket(self.place["bucket"]),
            object=facts.Object(self.place["key"], len(self.content)),
            part=part,
            multipart_id=multipart_id,
            content_type="image/jpeg",
        )
        return make_part(self.functions, wanted)

    async def chunks(self) -> list[Range]:
        listed = await self.s3.list_objects(bucket=self.s3.chunks_bucket, prefix=chunks_prefix(self.place["key"]))
        return [Range(0, each.size) for each in listed]

    async def stored(self) -> bytes | None:
        held = await self.s3.head(**self.place)
        if held is None:
            return None
        signed = self.s3.sign_read(
            **self.place, version_id=held.version_id, filename="a", content_type="application/pdf"
        )
        return WEB.get(signed.url, timeout=60).content


async def test_exactly_the_signed_bytes_of_a_chunk_are_taken_once(
    s3: Storage, functions: Aws, place: dict[str, str]
) -> None:
    file = Joined(s3, functions, place, 3 * CELL)
    signed = file.sign(Range(0, CELL))
    assert send(signed, b"short", **{"content-length": "5"}).status_code == 403
    assert file.send(Range(0, CELL), Range(0, CELL)) == [200, 412]
    [listed] = await s3.list_objects(bucket=s3.chunks_bucket, prefix=chunks_prefix(place["key"]))
    assert (listed.key, listed.size) == (chunk_key(place["key"], Range(0, CELL)), CELL)
    assert abs((clock.now() - listed.modified).total_seconds()) < 60


async def test_chunks_become_the_whole_once(s3: Storage, functions: Aws, place: dict[str, str]) -> None:
    file = Joined(s3, functions, place, 3 * CELL + 5)
    file.send(Range(2 * CELL, CELL + 5), Range(0, CELL))
    assert file.make() == "incomplete"
    assert len(await file.chunks()) == 2
    file.send(Range(0, 3 * CELL))
    assert [file.make(), file.make()] == ["joined", "joined"]
    assert (await file.stored(), await file.chunks()) == (file.content, [])
    assert file.send(Range(0, CELL), content=bytes(CELL)) == [200]  # too late to change anything
    assert file.make() == "joined"
    assert (await file.stored(), await file.chunks()) == (file.content, [])


async def test_chunks_become_parts_beside_parts_that_came_whole(
    s3: Storage, functions: Aws, place: dict[str, str]
) -> None:
    file = Joined(s3, functions, place, 2 * PART_SIZE + 9)
    multipart_id = await begin(s3, place)
    send_part(s3, place, multipart_id, 2, file.content[PART_SIZE : 2 * PART_SIZE])
    for part in (3, 1):
        file.send(*file.fill(part))
        assert file.make(part, multipart_id) == "joined"
        assert file.make(part, multipart_id) == "joined"
    assert file.make(2, multipart_id) == "joined"  # it stands
    parts = await s3.list_parts(**place, multipart_id=multipart_id)
    assert parts is not None
    assert await s3.complete_multipart(**place, multipart_id=multipart_id, parts=parts)
    assert file.make(1, multipart_id) == "joined"  # too late
    assert (await file.stored(), await file.chunks()) == (file.content, [])


async def test_chunks_that_differ_and_chunks_without_a_multipart_upload_stay_where_they_are(
    s3: Storage, functions: Aws, place: dict[str, str]
) -> None:
    file = Joined(s3, functions, place, PART_SIZE + CELL)
    multipart_id = await begin(s3, place)
    file.send(*file.fill(1), *file.fill(2))
    await s3.abort_multipart(**place, multipart_id=multipart_id)
    assert file.make(2, multipart_id) == "lost"
    file.send(Range(0, CELL), content=bytes(CELL))
    assert file.make(1, multipart_id) == "differ"
    assert len(await file.chunks()) == 10


async def test_only_the_listed_writing_of_a_chunk_is_read(s3: Storage, functions: Aws, place: dict[str, str]) -> None:
    file = Joined(s3, functions, place, CELL)
    file.send(Range(0, CELL))
    key = chunk_key(place["key"], Range(0, CELL))
    [listed] = functions.list_chunks(chunks_prefix(place["key"]))
    assert functions.read_chunk(key, etag=listed["ETag"]) == file.content
    with pytest.raises(GoneError):
        functions.read_chunk(key, etag='"of another writing"')
    await s3.delete_objects(bucket=s3.chunks_bucket, keys=[key, key + "-gone"])
    with pytest.raises(GoneError):
        functions.read_chunk(key, etag=listed["ETag"])


async def test_a_listing_is_whole_however_long_it_is(s3: Storage, functions: Aws, place: dict[str, str]) -> None:
    prefix = chunks_prefix(place["key"])
    listing = s3._s3.list_objects_v2

    def two_at_a_time(**params: Any) -> Any:
        return listing(**params, MaxKeys=2)

    file = Joined(s3, functions, place, 5 * CELL)
    file.send(*(Range(n * CELL, CELL) for n in range(5)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3._s3, "list_objects_v2", two_at_a_time)
        listed = await s3.list_objects(bucket=s3.chunks_bucket, prefix=prefix)
    assert [each.key for each in listed] == [chunk_key(place["key"], Range(n * CELL, CELL)) for n in range(5)]


async def test_the_faster_door_takes_the_same_request(target: dict[str, str], place: dict[str, str]) -> None:
    by_path = target | {
        "BUILDPEER_S3_ACCELERATED_URL": target["BUILDPEER_AWS_ENDPOINT_URL"].replace("127.0.0.1", "localhost")
    }
    with acting_as(by_path) as settings:
        storage = Storage(settings, now=clock.now)
    signed = whole(storage, place)
    assert signed.accelerated_url is not None
    assert signed.accelerated_url.startswith(f"{settings.s3_accelerated_url}/{place['bucket']}/live/")
    assert WEB.put(signed.accelerated_url, content=CONTENT, headers=signed.headers).status_code == 200
    storage.close()
    by_host = target | {"BUILDPEER_S3_ACCELERATED_URL": "https://{bucket}.s3-accelerate.amazonaws.com"}
    with acting_as(by_host) as settings:
        storage = Storage(settings, now=clock.now)
    url = whole(storage, place).accelerated_url or ""
    assert url.startswith(f"https://{place['bucket']}.s3-accelerate.amazonaws.com/live/")
    storage.close()
