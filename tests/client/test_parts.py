import asyncio
import importlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_server import Fake, Fault, Request

from buildpeer.client import files
from buildpeer.client.api import Api
from buildpeer.client.items import Item, Outcome
from buildpeer.client.push import push
from buildpeer.client.ranges import CELL, Range, total

pushing = importlib.import_module("buildpeer.client.push")

PART = 2 * CELL
REFUSED = b"<Error><Code>InvalidRequest</Code></Error>"
PROGRAM = """
import asyncio, json, sys, tracemalloc
from pathlib import Path
from buildpeer.client import push
from buildpeer.client.session import connect
async def main():
    async with await connect(sys.argv[1], lang="es") as api:
        return await push(api, [Path(sys.argv[2])], "p-1", poll_s=0.05)
tracemalloc.start()
outcomes = asyncio.run(main())
print(json.dumps({"results": [o.result for o in outcomes], "peak": tracemalloc.get_traced_memory()[1]}))
"""


@pytest.fixture(autouse=True)
def small_parts(fake: Fake) -> None:
    fake.part_size = PART


async def send(api: Api, *paths: Path, **options: Any) -> list[Outcome]:
    settings: dict[str, Any] = {"timeout_s": 5.0, "poll_s": 0.05} | options
    return await push(api, paths, "p-1", **settings)


def make(site: Path, name: str = "plano.pdf", *, parts: float = 4.5) -> Path:
    path = site / name
    path.write_bytes(os.urandom(int(parts * PART)))
    return path


def program(fake: Fake, path: Path) -> "subprocess.Popen[str]":
    env = os.environ | {
        "BUILDPEER_EMAIL": "ana@andes.co",
        "BUILDPEER_PASSWORD": "secreto",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-c", PROGRAM, fake.url, str(path)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def arrived(fake: Fake, path: Path, outcomes: Sequence[Outcome]) -> bool:
    outcome = next(outcome for outcome in outcomes if outcome.path == path)
    assert outcome.result == "ready", outcome
    return fake.objects[outcome.upload_id] == path.read_bytes()


def span(fake: Fake, request: Request) -> Range:
    """Which bytes of its file a PUT brings."""
    length = int(request.headers["content-length"])
    if "partNumber" in request.query:
        return Range((int(request.query["partNumber"]) - 1) * fake.part_size, length)
    return Range(int(request.query.get("offset", 0)), length)


def times_sent(fake: Fake, name: str) -> Counter[int]:
    """How often each cell of the file was sent in full."""
    cells: Counter[int] = Counter()
    for request in fake.puts(name):
        what = span(fake, request)
        cells.update(range(what.offset // CELL, -(-what.end // CELL)))
    return cells


def once(parts: float) -> Counter[int]:
    return Counter(range(math.ceil(int(parts * PART) / CELL)))


def at(fake: Fake, offset: int, name: str = "") -> Callable[[Request], bool]:
    def hit(request: Request) -> bool:
        what = span(fake, request)
        mine = not name or fake.uploads[fake.signed[request.query["sig"]][0]]["name"] == name
        return mine and what.offset <= offset < what.end

    return hit


async def test_an_unknown_link_gets_chunks_and_a_proven_one_whole_parts(fake: Fake, api: Api, site: Path) -> None:
    fake.part_size = 8 * 1024 * 1024
    path, again = make(site, parts=80), make(site, "otro.pdf", parts=72.1)
    assert arrived(fake, path, await send(api, path))
    first = [r for r in fake.puts() if "offset" in r.query]
    assert sum(len(r.body) for r in first) >= 8 * 1024 * 1024, "nothing is whole before so much was carried"
    assert arrived(fake, again, await send(api, again))
    assert not [r for r in fake.puts("otro.pdf") if "offset" in r.query and len(r.body) == 8 * CELL], (
        "what this network bore is remembered"
    )
    assert sorted(fake.parts_sent("otro.pdf")) == [1, 2, 3]
    assert times_sent(fake, "plano.pdf") == once(80)


async def test_a_file_of_just_one_part_travels_whole_where_the_link_is_proven(fake: Fake, api: Api, site: Path) -> None:
    fake.part_size = 8 * 1024 * 1024
    big, small = make(site, parts=40), make(site, "foto.jpg", parts=10)
    assert arrived(fake, big, await send(api, big))
    completions = len(fake.calls("POST", "/completion"))
    assert arrived(fake, small, await send(api, small))
    assert [len(r.body) for r in fake.puts("foto.jpg")] == [small.stat().st_size]
    assert len(fake.calls("POST", "/completion")) == completions, "S3 tells the server"


async def test_urls_are_asked_for_ahead_and_in_runs(fake: Fake, api: Api, site: Path) -> None:
    path = make(site, parts=20)
    assert arrived(fake, path, await send(api, path, parallel=3))
    asked = [len(r.json.get("chunks", [])) for r in fake.calls("POST", "/urls")]
    assert len(asked) <= 12, "not one call for each chunk"
    assert times_sent(fake, "plano.pdf") == once(20)
    assert 1 < fake.most_at_once <= 3, "pieces of one file travel side by side, over no more connections than asked"


async def test_a_part_whose_answer_was_lost_is_not_sent_again(fake: Fake, api: Api, site: Path) -> None:
    path = make(site)
    fake.faults = [Fault("PUT", "/s3/", "lost", when=at(fake, 3 * CELL))]
    assert arrived(fake, path, await send(api, path))
    assert times_sent(fake, "plano.pdf") == once(4.5)


async def test_expired_urls_are_replaced(fake: Fake, api: Api, site: Path) -> None:
    path = make(site)
    fake.expired_urls = {f"s{n}" for n in range(5)}
    assert arrived(fake, path, await send(api, path, parallel=2))
    assert set(times_sent(fake, "plano.pdf").values()) <= {1, 2}
    assert len(fake.calls("POST", "/urls")) <= 7, "what expired together is asked for again together"


@pytest.mark.parametrize("how", [500, "cut", 200])
async def test_a_part_that_was_cut_is_sent_again_and_no_other(fake: Fake, api: Api, site: Path, how: str | int) -> None:
    path = make(site)
    fake.faults = [Fault("PUT", "/s3/", how, times=3, after=CELL // 2, when=at(fake, 3 * CELL))]
    assert arrived(fake, path, await send(api, path))
    assert fake.faults[0].times == 0
    others = {cell: n for cell, n in times_sent(fake, "plano.pdf").items() if n > 1}
    assert set(others) <= {3}


async def test_a_part_that_fails_for_ever_keeps_no_other_file_back(fake: Fake, api: Api, site: Path) -> None:
    bad, good = make(site, "malo.pdf"), make(site, "bueno.pdf")
    small = make(site, "foto.jpg", parts=0.1)

    fake.faults = [Fault("PUT", "/s3/", 500, times=10_000, when=at(fake, 2 * CELL, "malo.pdf"))]
    outcomes = await send(api, bad, good, small, parallel=1)
    assert outcomes[0].result == "failed"
    assert arrived(fake, good, outcomes)
    assert arrived(fake, small, outcomes)


def test_what_arrived_before_a_kill_is_never_sent_again(fake: Fake, site: Path) -> None:
    """Killed at random points, again and again: each cell is acknowledged once."""
    path = make(site, parts=30.5)
    fake.rate = 8_000_000
    dice = random.Random(7)
    held = 0
    for _ in range(5):
        running = program(fake, path)
        more = held + dice.randrange(1, 6) * CELL
        wait_for(lambda: sum(len(r.body) for r in fake.puts() if r.taken) >= more or running.poll() is not None)  # noqa: B023
        os.kill(running.pid, signal.SIGKILL)
        running.communicate()
        held = sum(len(r.body) for r in fake.puts() if r.taken)
    fake.rate = 0.0
    out, _ = program(fake, path).communicate(timeout=60)
    assert json.loads(out)["results"] == ["ready"]
    assert times_sent(fake, "plano.pdf") == once(30.5)
    assert list(fake.objects.values()) == [path.read_bytes()]
    assert len(fake.uploads) == 1


async def test_progress_begins_at_what_has_arrived(fake: Fake, api: Api, site: Path) -> None:
    path = make(site)
    fake.faults = [Fault("PUT", "/s3/", 400, times=99, body=REFUSED, when=at(fake, 6 * CELL))]
    await send(api, path, parallel=1)
    (upload_id,) = fake.uploads
    there = total(fake.received(upload_id))
    assert there >= 6 * CELL
    fake.faults = []
    seen: list[int] = []

    class Looking:
        def began(self, items: Sequence[Item]) -> None:
            pass

        def moved(self, item: Item) -> None:
            if item.stage == "sending":
                seen.append(item.sent)

    assert arrived(fake, path, await send(api, path, view=Looking()))
    assert seen[0] == there
    assert seen == sorted(seen)
    assert seen[-1] == path.stat().st_size


async def test_everything_arrived_and_only_completion_was_missing(fake: Fake, api: Api, site: Path) -> None:
    path = make(site)
    fake.faults = [Fault("POST", "/completion", 500, times=4)]
    (outcome,) = await send(api, path)
    assert outcome.result == "failed"
    assert arrived(fake, path, await send(api, path))
    assert times_sent(fake, "plano.pdf") == once(4.5)


async def test_parts_that_completion_misses_are_sent_again(fake: Fake, api: Api, site: Path) -> None:
    path = make(site)
    losses = iter([(2 * CELL, 4 * CELL), (2 * CELL,), ()])

    def lose(upload_id: str) -> None:
        fake.lose_chunks(upload_id, *next(losses))

    fake.before_join = lose
    assert arrived(fake, path, await send(api, path))
    assert times_sent(fake, "plano.pdf") == once(4.5) + Counter([2, 4, 2])


async def test_a_storage_that_loses_parts_for_ever_is_given_up(fake: Fake, api: Api, site: Path) -> None:
    bad, good = make(site), make(site, "bueno.pdf")

    def lose(upload_id: str) -> None:
        if fake.uploads[upload_id]["name"] == "plano.pdf":
            fake.lose_chunks(upload_id, 2 * CELL)

    fake.before_join = lose
    outcomes = await send(api, bad, good)
    assert outcomes[0].result == "failed"
    assert "perdió partes" in outcomes[0].reason
    assert arrived(fake, good, outcomes)
    assert times_sent(fake, "plano.pdf")[2] == 1 + api.patience.failures


async def test_a_lost_multipart_upload_is_begun_anew(fake: Fake, api: Api, site: Path) -> None:
    fake.part_size = 8 * 1024 * 1024
    proof, path = make(site, "antes.pdf", parts=40), make(site, parts=70)
    await send(api, proof)
    lost: list[str] = []

    async def lose(request: Request) -> None:
        if not lost and request.query["partNumber"] == "2":
            lost.append(fake.signed[request.query["sig"]][0])
            fake.lose_parts(lost[0])

    fake.before_part = lose
    assert arrived(fake, path, await send(api, path, parallel=1))
    assert lost
    assert len(fake.by_name("plano.pdf")) == 1, "it is the same upload still"


async def test_what_s3_loses_after_it_had_all_is_sent_again(fake: Fake, api: Api, site: Path) -> None:
    path = make(site)
    fake.loses_stored.add("plano.pdf")
    assert arrived(fake, path, await send(api, path))
    assert times_sent(fake, "plano.pdf") == Counter(dict.fromkeys(once(4.5), 2))


async def test_a_lost_answer_to_completion_is_asked_for_again(fake: Fake, api: Api, site: Path) -> None:
    path = make(site)
    fake.faults = [Fault("POST", "/completion", "lost", times=2)]
    assert arrived(fake, path, await send(api, path))
    assert len(fake.calls("POST", "/completion")) == 3
    assert times_sent(fake, "plano.pdf") == once(4.5)


async def test_an_upload_that_was_cancelled_meanwhile_is_told(fake: Fake, api: Api, site: Path) -> None:
    path = make(site)

    async def cancel(request: Request) -> None:
        if span(fake, request).offset >= 2 * CELL:
            await fake._cancel(fake.signed[request.query["sig"]][0])

    fake.before_part = cancel
    (outcome,) = await send(api, path, parallel=1)
    assert outcome.result == "cancelled"


async def test_a_small_file_overtakes_a_big_one(
    fake: Fake, api: Api, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The small one is found when the big one is on its way already, and all connections are taken."""
    monkeypatch.setattr(pushing, "_GATHER_S", 0.0)
    big, small = make(site, "grande.pdf", parts=20), make(site, "chica.jpg", parts=0.1)
    under_way = threading.Event()
    real = files.fingerprint

    def later(path: Path) -> files.Fingerprint:
        assert path != small or under_way.wait(10)
        return real(path)

    async def hold(request: Request) -> None:
        under_way.set()
        while not fake.by_name("chica.jpg"):
            await asyncio.sleep(0.001)

    monkeypatch.setattr(files, "fingerprint", later)
    fake.before_part = hold
    outcomes = await send(api, big, small, parallel=2)
    assert arrived(fake, big, outcomes)
    assert arrived(fake, small, outcomes)
    order = ["offset" in r.query for r in fake.puts()]
    assert order.index(False) < 15


@pytest.mark.parametrize("times", [1, 9])
async def test_a_big_file_that_changes_is_sent_as_what_it_is_now(fake: Fake, api: Api, site: Path, times: int) -> None:
    path, other = make(site), make(site, "otro.pdf")
    left = [times]

    async def change(request: Request) -> None:
        name = fake.uploads[fake.signed[request.query["sig"]][0]]["name"]
        if left[0] and name == "plano.pdf" and span(fake, request).offset >= 2 * CELL:
            left[0] -= 1
            make(site)

    fake.before_part = change
    outcomes = await send(api, path, other, parallel=1)
    assert arrived(fake, other, outcomes)
    states = [u["state"] for u in fake.by_name("plano.pdf")]
    if times == 1:
        assert arrived(fake, path, outcomes)
        assert states == ["cancelled", "ready"]
    else:
        assert "dos veces" in outcomes[0].reason
        assert states == ["cancelled", "cancelled"]


async def test_after_a_mismatch_the_file_is_read_anew(fake: Fake, api: Api, site: Path) -> None:
    """Same size and time, other bytes: for parts, only the server's check tells."""
    path = make(site)
    info = path.stat()
    fake.faults = [Fault("PUT", "/s3/", 400, times=99, body=REFUSED)]
    await send(api, path)  # leaves id and hash in the journal
    make(site)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    fake.faults = []
    assert [o.result for o in await send(api, path)] == ["mismatched"]
    assert arrived(fake, path, await send(api, path))


def test_a_hundred_megabytes_are_never_held_in_memory(fake: Fake, site: Path) -> None:
    fake.part_size, fake.forgetful = 8 * 1024 * 1024, True
    path = site / "grande.pdf"
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    process = program(fake, path)
    out, _ = process.communicate(timeout=120)
    told = json.loads(out)
    assert told["results"] == ["ready"]
    assert sum(span(fake, request).length for request in fake.puts()) == path.stat().st_size
    assert told["peak"] < 6 * 1024 * 1024, "less than one part, all connections together"
