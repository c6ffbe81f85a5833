"""The function assemble: "Part Wanted" in, a part joined of its chunks into S3, "Part Assembled" out.

Whatever happens twice, late or at once ends alike: chunks are written once and deleted only when what they make
stands, and what stands is never made again.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from buildpeer import facts
from buildpeer.entrypoints.functions.aws import Aws, aws
from buildpeer.entrypoints.functions.batch import Event, GoneError, Location, UnknownEventError, run_batch
from buildpeer.layout import Range, chunk_of, chunks_prefix, part_count, part_range
from buildpeer.processing.joining import join
from buildpeer.wiring import ASSEMBLE


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Join the parts that an SQS batch of "Part Wanted" names; Lambda's entry."""
    aws()  # before the first line is logged
    return run_batch(ASSEMBLE.name, event, assemble)


def assemble(event: Event, location: Location) -> str:
    """Join one part, announce what came of it, and return that; twice gives the same.

    Raises UnknownEventError also for another bucket than the configured one, and what S3 and the bus raise.
    """
    if event.detail_type != facts.PART_WANTED or location.bucket != aws().settings.uploads_bucket:
        raise UnknownEventError(f"{event.detail_type} in {location.bucket}")
    wanted = msgspec.json.decode(event.detail, type=facts.PartWanted)
    outcome = make_part(aws(), wanted)
    fact = facts.PartAssembled(bucket=wanted.bucket, object=wanted.object, part=wanted.part, outcome=outcome)
    aws().announce(fact, source=facts.SOURCE_ASSEMBLE, detail_type=facts.PART_ASSEMBLED)
    return outcome


def make_part(s3: Aws, wanted: facts.PartWanted) -> facts.Assembly:
    """Join the chunks of a part, write it, and delete them once it stands; no key outside the upload's is touched.

    Raises ValueError for a part or key that can't be, and what S3 raises.
    """
    place = part_range(wanted.object.size, wanted.part)
    if bool(wanted.multipart_id) == (part_count(wanted.object.size) == 1):
        raise ValueError("a file has a multipart upload just when it has several parts")
    chunks = _chunks(s3, wanted)
    outcome = "joined" if _stands(s3, wanted, place) else _join(s3, wanted, place, chunks)
    if outcome == "joined":
        s3.delete_chunks(list(chunks))
    return outcome


def _join(s3: Aws, wanted: facts.PartWanted, place: Range, chunks: dict[str, tuple[Range, str]]) -> facts.Assembly:
    def read() -> Iterator[tuple[int, bytes]]:
        for key, (chunk, etag) in sorted(chunks.items(), key=lambda each: each[1][0]):
            yield chunk.offset - place.offset, s3.read_chunk(key, etag=etag)

    try:
        part = join(place.length, read())
    except GoneError:  # somebody else was faster
        return "joined" if _stands(s3, wanted, place) else "incomplete"
    return _write(s3, wanted, part) if isinstance(part, bytes) else part


def _write(s3: Aws, wanted: facts.PartWanted, part: bytes) -> facts.Assembly:
    try:
        if wanted.multipart_id:
            s3.write_part(wanted.bucket.name, wanted.object.key, part, wanted.multipart_id, wanted.part)
        else:
            s3.write_whole(wanted.bucket.name, wanted.object.key, part, content_type=wanted.content_type)
    except ClientError as exc:
        match exc.response["Error"]["Code"]:
            case "PreconditionFailed":  # the object stands
                return "joined"
            case "NoSuchUpload":
                return "joined" if s3.size_of(wanted.bucket.name, wanted.object.key) is not None else "lost"
            case _:
                raise
    return "joined"


def _stands(s3: Aws, wanted: facts.PartWanted, place: Range) -> bool:
    """Whether the part is there already, or the whole object is."""
    bucket, key = wanted.bucket.name, wanted.object.key
    # The part first: when the object is completed in between, it is the object that is found.
    part = s3.part_size(bucket, key, wanted.multipart_id, wanted.part) if wanted.multipart_id else None
    return part == place.length or s3.size_of(bucket, key) is not None


def _chunks(s3: Aws, wanted: facts.PartWanted) -> dict[str, tuple[Range, str]]:
    """The chunks of the part by key, each with its place in the file and its ETag."""
    key, size = wanted.object.key, wanted.object.size
    listed = s3.list_chunks(chunks_prefix(key, wanted.part))
    placed = ((each["Key"], chunk_of(key, size, each["Key"]), each) for each in listed)
    return {name: (chunk, each["ETag"]) for name, chunk, each in placed if chunk and each["Size"] == chunk.length}
