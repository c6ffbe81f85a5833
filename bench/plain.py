"""What the same work costs with no BuildPeer in it: the other side of `overhead`.

Each file is put into S3, read back once, scanned and hashed, its picture decoded once and written back in two sizes.
As many files are under way as BuildPeer sends at a time, each in a process of its own, so that no two wait for
Python's lock.
"""

import argparse
import hashlib
import json
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import boto3
import pyvips
import yara_x
from botocore.config import Config

ORIGINALS, PICTURES = "plain", "plain-pictures"
_CHUNK = 1024 * 1024
_PX, _SMALL_PX = 1600, 400


def main() -> None:
    """Treat every file of a folder; prints seconds, CPU seconds and how many have pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--parallel", type=int, default=4)
    asked = parser.parse_args()
    paths = sorted(asked.folder.iterdir())
    began = time.perf_counter()
    with ProcessPoolExecutor(asked.parallel) as pool:
        pictured = sum(pool.map(treat, paths, [asked.endpoint] * len(paths)))
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    json.dump({"seconds": seconds, "cpu_s": used.ru_utime + used.ru_stime, "pictured": pictured}, sys.stdout)


def treat(path: Path, endpoint: str) -> bool:
    """Everything that has to be done with one file; whether it has pictures."""
    s3 = _s3(endpoint)
    with path.open("rb") as body:
        s3.put_object(Bucket=ORIGINALS, Key=path.name, Body=body)
    with tempfile.NamedTemporaryFile() as file:
        digest = hashlib.sha256()
        for chunk in s3.get_object(Bucket=ORIGINALS, Key=path.name)["Body"].iter_chunks(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        found = yara_x.Scanner(_rules()).scan_file(file.name).matching_rules
        if found:
            raise ValueError(f"{path}: {found[0].identifier}")
        preview = _preview(file.name, path.suffix)
    if preview is None:
        return False
    for name, image, quality in (("preview", preview, 80), ("thumbnail", _fit(preview), 75)):
        picture = image.webpsave_buffer(Q=quality, effort=2, keep=0)
        s3.put_object(Bucket=PICTURES, Key=f"{digest.hexdigest()}/{name}.webp", Body=picture, ContentType="image/webp")
    return True


def _preview(path: str, suffix: str) -> Any:
    if suffix == ".jpg":
        profiled = pyvips.Image.new_from_file(path, access="sequential").get_typeof("icc-profile-data")
        convert: dict[str, Any] = {"output_profile": "srgb"} if profiled else {}
        return pyvips.Image.thumbnail(path, _PX, height=_PX, size="down", **convert).copy_memory()
    return _page(path)


def _page(path: str) -> Any:
    try:
        import pypdfium2  # noqa: PLC0415 # without it BuildPeer makes no pictures of PDFs, and neither do we
    except ImportError:
        return None
    with pypdfium2.PdfDocument(path) as document:
        page = document[0]
        bitmap = page.render(scale=_PX / max(page.get_size()), rev_byteorder=True)
        width = bitmap.stride // bitmap.n_channels
        pixels = pyvips.Image.new_from_memory(bytes(bitmap.buffer), width, bitmap.height, bitmap.n_channels, "uchar")
        return pixels.crop(0, 0, bitmap.width, bitmap.height).copy(interpretation="srgb").copy_memory()


def _fit(image: Any) -> Any:
    return image.thumbnail_image(_SMALL_PX, height=_SMALL_PX, size="down")


@cache
def _rules() -> yara_x.Rules:
    return yara_x.compile(files("buildpeer.processing").joinpath("eicar.yar").read_text())


@cache
def _s3(endpoint: str) -> Any:
    config = Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
    return boto3.client("s3", endpoint_url=endpoint, config=config)


if __name__ == "__main__":
    main()
