"""The api of whoever lets phones send straight to S3: it signs PUTs and parts, and joins the parts.

    python -m bench.peers.signer --port … --public … --endpoint … --bucket …

Keys are read from the environment, as the AWS SDK does.
"""

import argparse
import asyncio
from typing import Any

import boto3
import msgspec
from botocore.config import Config
from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar, post

_LIVES_S = 3600


class Put(msgspec.Struct, frozen=True):
    """Wants to send a whole file."""

    name: str
    size: int


class Begin(msgspec.Struct, frozen=True):
    """Wants to send a file in so many parts."""

    name: str
    parts: int


class Multipart(msgspec.Struct, frozen=True):
    """An upload in parts, with URLs of some."""

    name: str
    upload_id: str
    parts: list[int] = []
    urls: dict[str, str] = {}
    etags: list[str] = []


def create_app(*, endpoint: str, public: str, bucket: str) -> Litestar:
    """Sign for `public`, where phones reach S3; speak to S3 at `endpoint`."""
    signer, s3 = _client(public), _client(endpoint)

    def urls(name: str, upload_id: str, parts: list[int]) -> dict[str, str]:
        where = {"Bucket": bucket, "Key": name, "UploadId": upload_id}
        return {
            str(n): signer.generate_presigned_url("upload_part", Params=where | {"PartNumber": n}, ExpiresIn=_LIVES_S)
            for n in parts
        }

    @post("/puts", sync_to_thread=False)
    def sign(data: Put) -> dict[str, str]:
        params = {"Bucket": bucket, "Key": data.name, "ContentLength": data.size}
        return {"url": signer.generate_presigned_url("put_object", Params=params, ExpiresIn=_LIVES_S)}

    @post("/multiparts", sync_to_thread=True)
    def begin(data: Begin) -> Multipart:
        upload_id: str = s3.create_multipart_upload(Bucket=bucket, Key=data.name)["UploadId"]
        parts = list(range(1, data.parts + 1))
        return Multipart(data.name, upload_id, parts, urls(data.name, upload_id, parts))

    @post("/parts", sync_to_thread=False)
    def sign_parts(data: Multipart) -> Multipart:
        return msgspec.structs.replace(data, urls=urls(data.name, data.upload_id, data.parts))

    @post("/completions", sync_to_thread=True)
    def complete(data: Multipart) -> dict[str, str]:
        joined = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(data.etags, 1)]
        try:
            s3.complete_multipart_upload(
                Bucket=bucket, Key=data.name, UploadId=data.upload_id, MultipartUpload={"Parts": joined}
            )
        except s3.exceptions.NoSuchUpload:  # the answer to an earlier call was lost
            s3.head_object(Bucket=bucket, Key=data.name)
        return {"name": data.name}

    return Litestar([sign, begin, sign_parts, complete], openapi_config=None, logging_config=None)


def _client(endpoint: str) -> Any:
    config = Config(
        signature_version="s3v4", s3={"addressing_style": "path"}, request_checksum_calculation="when_required"
    )
    return boto3.client("s3", endpoint_url=endpoint, config=config)


async def serve(app: Litestar, port: int) -> None:
    """Serve until the process is ended."""
    server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, websockets=False, log_access=False)
    await server.serve()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for word in ("--port", "--public", "--endpoint", "--bucket"):
        parser.add_argument(word, required=True)
    asked = parser.parse_args()
    asyncio.run(
        serve(create_app(endpoint=asked.endpoint, public=asked.public, bucket=asked.bucket), port=int(asked.port))
    )
