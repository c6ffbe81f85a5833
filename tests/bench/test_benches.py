"""The benches run, at a tiny size, and say what they promise; numbers are for `make bench-kickoff` and `bench-api`."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyvips
from bench.relay import Meter
from bench.samples import make_files

ROOT = Path(__file__).parents[2]


def bench(name: str, *words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", f"bench.{name}", *words]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_kickoff_counts_every_file_and_no_byte_of_them_in_the_api() -> None:
    told = bench("kickoff", "--files", "2")
    assert (told["files"], told["lost"], told["api_bytes"], told["scanner"]) == (2, 0, 0, "yara-x")
    assert told["files_per_hour"] > 0
    assert 0 < told["p50_s"] <= told["p95_s"] <= told["p99_s"]
    assert {"api", "worker", "functions", "ministack", "postgres"} <= set(told["cpu_s"]) & set(told["peak_mb"])
    assert told["overhead"] > 0
    assert told["plain"]["pictured"] == told["pictured"]


def test_the_api_bench_tells_every_number() -> None:
    sizes = {"tenants": 2, "documents": 20, "uploads": 20, "seconds": 0.6, "files": 1, "people": 2}
    told = bench("api", *(word for name, size in sizes.items() for word in (f"--{name}", str(size))))
    rates = {f"{what}_per_s" for what in ("batch_uploads", "single_uploads", "list", "detail")}
    times = {"p99_ms", "sse_p95_ms", "presign_us", "presign_ratio", "batch_ratio", "audit_ratio"}
    assert all(told[name] > 0 for name in rates | times)
    assert told["sse_lost"] == 0


def test_samples_are_valid_and_differ_and_come_again(tmp_path: Path) -> None:
    make_files(tmp_path / "a", 8, seed=1)
    make_files(tmp_path / "b", 8, seed=1)
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "a").iterdir()}
    assert len(set(hashes.values())) == 8
    assert hashes == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "b").iterdir()}
    for path in (tmp_path / "a").glob("*.jpg"):
        picture = pyvips.Image.new_from_file(str(path), fail_on="warning")
        assert picture.avg() > 0
        assert "Phone" in picture.get("exif-ifd0-Model")


def test_the_wire_tap_tells_files_from_talk() -> None:
    file = b"\xff\xd8" + bytes(5000)
    sent = (
        b"POST /v1/sessions HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        b"PUT /x HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b"
        b"POST /y?uploadId=1 HTTP/1.1\r\ncontent-length: 7\r\n\r\n<Parts>" % (len(file), file)
    )
    for size in (1, 7, 10_000):
        meter = Meter()
        for start in range(0, len(sent), size):
            meter.feed(sent[start : start + size])
        assert (meter.files, meter.traffic) == (len(file), len(sent))
