"""The benches run, at a tiny size, and say what they promise; `make bench-…` tells the numbers."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pyvips
from bench.field import Sent, quantile, tell, wilson
from bench.link_tun import why_not
from bench.relay import Meter
from bench.samples import make_files

ROOT = Path(__file__).parents[2]


def bench(name: str, *words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", f"bench.{name}", *words]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=240)
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
    sizes = {"tenants": 2, "documents": 20, "uploads": 20, "seconds": 0.6, "files": 1, "people": 2, "photos": 6000}
    sizes |= {"requests": 5}
    told = bench("api", *(word for name, size in sizes.items() for word in (f"--{name}", str(size))))
    rates = {f"{what}_per_s" for what in ("batch_uploads", "single_uploads", "list", "detail")}
    times = {"p99_ms", "sse_p95_ms", "presign_us", "presign_ratio", "batch_ratio", "audit_ratio"}
    times |= {"big_project_p99_ms"}
    assert all(told[name] > 0 for name in rates | times)
    assert told["sse_lost"] == 0


def test_the_processing_bench_tells_every_format() -> None:
    told = bench("processing", "--short")
    formats = told["formats"]
    assert {"jpeg", "png", "webp", "tiff", "avif", "report", "plan", "plan_tiles", "dxf", "ifc", "word", "zip"} <= set(
        formats
    )
    for name, cell in formats.items():
        assert cell.keys() == {"files_per_s", "cpu_ms", "vs_bare", "vs_sharp", "peak_mb"}
        assert cell["files_per_s"] > 0
        assert cell["cpu_ms"] >= 0
        assert (cell["vs_bare"] is None) == (name in ("dxf", "ifc"))
        assert (cell["vs_sharp"] is None) == (
            name not in ("jpeg", "png", "webp", "tiff", "avif") or bool(told["skipped"])
        )
        assert 20 < cell["peak_mb"] < 600


def test_the_fairness_bench_tells_what_a_kickoff_costs_somebody_else() -> None:
    told = bench("fairness", "--short")
    assert (told["files"], told["lost"], told["photos_alone"]) == (60, 0, 3)
    assert told["photos_during"] > 0
    assert told["alone_p95_s"] > 0
    assert told["ratio"] == pytest.approx(told["during_p95_s"] / told["alone_p95_s"], abs=0.1)


def test_the_field_bench_tells_every_cell() -> None:
    told = bench("field", "--short")
    profiles = {"obra-3g"} if why_not() else {"obra-3g", "lte-moving"}
    clients = {"buildpeer", "put", "multipart", "tus"} - set(told["skipped"])
    assert set(told["profiles"]) == profiles
    assert {"buildpeer", "put", "multipart"} <= clients
    assert told["machine_busy"] > 0
    numbers = {"files", "success", "p50_s", "p95_s", "waste", "api_cpu_ms", "api_bytes", "of_limit", "busy"}
    for profile in told["profiles"].values():
        assert profile.keys() == clients | {"faster", "links"}
        for client in clients:
            cell = profile[client]
            assert cell.keys() == numbers | {"success_ci", "p50_ci_s", "p95_ci_s"}
            assert (cell["files"], cell["success"]) == (2, 1)
            assert 0 < cell["p50_s"] <= cell["p95_s"]
            assert cell["waste"] > 1
            assert (cell["api_bytes"] > 0) == (client == "tus")


def test_the_bench_of_row_level_security_tells_both_sizes() -> None:
    told = bench("rls", "--short")
    works = {"list", "project_list", "detail", "batch_insert"}
    assert (told["tenants"], told["rows"], set(told["at"])) == (6, 1200, {"2", "6"})
    assert told["at"]["6"].items() <= told.items()
    for at in told["at"].values():
        assert at["rls_ratio"].keys() == at["rls_ci"].keys() == works
        assert all(at["rls_ci"][work][0] <= at["rls_ratio"][work] <= at["rls_ci"][work][1] for work in works)
        assert at["settings_ratio"] > 0


def test_a_file_that_failed_took_for_ever() -> None:
    sent = [Sent(size=100, seconds=10, least_s=8)] * 9 + [Sent(size=100, seconds=float("inf"), least_s=8)]
    told = tell(sent, crossed=1080, seed=1)
    assert (told["success"], told["p50_s"], told["p95_s"], told["of_limit"]) == (0.9, 10, None, None)
    assert told["p50_ci_s"] == [10, 10]
    assert told["waste"] == 1.2  # over what arrived
    assert told["success_ci"] == [0.5958, 0.9821]  # as in Wilson's tables
    assert wilson(10, 10)[1] == 1
    assert [quantile(range(1, 101), share) for share in (0.5, 0.95, 1)] == [50, 95, 100]


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
