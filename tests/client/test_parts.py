import asyncio
import importlib
import json
import os
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
from buildpeer.client.shapes import Parts
from buildpeer.client.delivery import Piece, pieces_of
from buildpeer.client.items import Item, Outcome
from buildpeer.client.push import push

pushing = importlib.import_module("buildpeer.client.push")

PART = 200_000
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


def first_time(number: int) -> Callable[[Request], bool]:
    return lambda request: request.query.get("partNumber") == str(number)


def test_pieces_cover_the_file_without_a_gap() -> None:
    assert pieces_of(500, None) == [Piece(WHOLE, 0, 500)]
    assert pieces_of(500, Parts(200, 3)) == [Piece(1, 0, 200), Piece(2, 200, 200), Piece(3, 400, 100)]
    assert pieces_of(400, Parts(200, 2)) == [Piece(1, 0, 200), Piece(2, 200, 200)]


async def test_a_big_file_arrives_in_parts_of_eight_mib(fake: Fake, api: Api, site: Path) -> None:
    fake.part_size = 8 * 1024 * 1024
    path = site / "plano.pdf"
    path.write_bytes(os.urandom(2 * fake.part_size + 5))
    assert arrived(fake, path, await send(api, path))
    assert sorted(fake.parts_sent("plano.pdf")) == [1, 2, 3]
    assert sorted(len(r.body) for r in fake.puts()) == [5, fake.part_size, fake.part_size]
    assert len(fake.calls("POST", "/completion")) == 1


async def test_a_file_of_just_one_part_travels_whole(fake: Fake, api: Api, site: Path) -> None:
    path = make(site, parts=1)
    assert arrived(fake, path, await send(api, path))
    assert not fake.calls("POST", "/completion")


async def test_urls_are_asked_for_in_runs(fake: Fake, api: Api, site: Path) -> None:
    path = make(site, parts=20)
    assert arrived(fake, path, await send(api, path, parallel=3))
    assert [r.json["parts"] for r in fake.calls("POST", "/urls")] == [
        [1, 2, 3, 4, 5, 6, 7, 8],
        [9, 10, 11, 12, 13, 14, 15, 16],
        [17, 18, 19, 20],
    ]
    assert fake.most_at_once == 3, "parts of one file travel side by side, over no more connections than asked"


async def test_a_part_whose_answer_was_lost_is_not_sent_again(fake: Fake, api: Api, site: Path) -> None:
    path = make(site)
    fake.faults = [Fault("PUT", "/s3/", "lost", when=first_time(2))]
    assert arrived(fake, path, await send(api, path))
    assert Counter(fake.parts_sent("plano.pdf")) == dict.fromkeys(range(1, 6), 1)


async def test_expired_urls_are_replaced(fake: Fake, api: Api, site: Path) -> None:
    path = make(site)
    fake.expired_urls = {f"s{n}" for n in range(5)}
    assert arrived(fake, path, await send(api, path, parallel=2))
    refused, *rest = fake.calls("POST", "/urls")
    assert refused.json["parts"] == [1, 2, 3, 4, 5]
    assert len(rest) == 1, "what expired together is asked for again together"
    assert len(fake.puts()) == 7


@pytest.mark.parametrize("how", [500, "cut", 200])
async def test_a_part_that_was_cut_is_sent_again_and_no_other(fake: Fake, api: Api, site: Path, how: str | int) -> None:
    path = make(site)
    fake.faults = [Fault("PUT", "/s3/", how, times=3, after=PART // 2, when=first_time(3))]
    assert arrived(fake, path, await send(api, path))
    assert fake.faults[0].times == 0
    stored = [r for r in fake.puts() if r.query["partNumber"] != "3"]
    assert len(stored) == 4


async def test_a_part_that_fails_for_ever_keeps_no_other_file_back(fake: Fake, api: Api, site: Path) -> None:
    bad, good = make(site, "malo.pdf"), make(site, "bueno.pdf")
    small = make(site, "foto.jpg", parts=0.1)

    def hit(request: Request) -> bool:
        name = fake.uploads[fake.signed[request.query["sig"]][0]]["name"]
        return name == "malo.pdf" and request.query["partNumber"] == "2"

    fake.faults = [Fault("PUT", "/s3/", 500, times=10_000, when=hit)]
    outcomes = await send(api, bad, good, small, parallel=1)
    assert outcomes[0].result == "failed"
    assert arrived(fake, good, outcomes)
    assert arrived(fake, small, outcomes)


def test_what_arrived_before_a_kill_is_never_sent_again(fake: Fake, site: Path) -> None:
    path = make(site, parts=9.5)
    fake.faults = [Fault("PUT", "/s3/", "hang", times=99, when=lambda request: int(request.query["partNumber"]) > 5)]
    first = program(fake, path)
    wait_for(lambda: sorted(fake.parts_sent("plano.pdf")) == [1, 2, 3, 4, 5] and fake.faults[0].times < 99)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    fake.faults = []
    second = program(fake, path)
    out, _ = second.communicate(timeout=60)
    assert json.loads(out)["results"] == ["ready"]
    bytes_of: Counter[str] = Counter()
    for request in fake.puts():
        bytes_of[request.query["partNumber"]] += len(request.body)
    assert bytes_of == {str(n): PART for n in range(1, 10)} | {"10": PART // 2}
    assert list(fake.objects.values()) == [path.read_bytes()]
    assert len(fake.uploads) == 1


async def test_progress_begins_at_what_has_arrived(fake: Fake, api: Api, site: Path) -> None:
    path = make(site)
    fake.faults = [Fault("PUT", "/s3/", 400, times=99, when=first_time(4))]
    await send(api, path, parallel=1)
    fake.faults = []
    seen: list[int] = []

    class Looking:
        def began(self, items: Sequence[Item]) -> None:
            pass

        def moved(self, item: Item) -> None:
            if item.stage == "sending":
                seen.append(item.sent)

    assert arrived(fake, path, await send(api, path, view=Looking()))
    assert seen[0] == 3 * PART
    assert seen == sorted(seen)
    assert seen[-1] == path.stat().st_size


async def test_everything_arrived_and_only_completion_was_missing(fake: Fake, api: Api, site: Path) -> None:
    path = make(site)
    fake.faults = [Fault("POST", "/completion", 500, times=4)]
    (outcome,) = await send(api, path)
    assert outcome.result == "failed"
    assert arrived(fake, path, await send(api, path))
    assert len(fake.puts()) == 5


async def test_parts_that_completion_misses_are_sent_again(fake: Fake, api: Api, site: Path) -> None:
    path = make(site)
    losses = iter([(2, 4), (2,), ()])

    def lose(upload_id: str) -> None:
        if numbers := next(losses):
            fake.lose_parts(upload_id, *numbers)

    fake.before_join = lose
    assert arrived(fake, path, await send(api, path))
    assert Counter(fake.parts_sent("plano.pdf")) == {1: 1, 2: 3, 3: 1, 4: 2, 5: 1}


async def test_a_storage_that_loses_parts_for_ever_is_given_up(fake: Fake, api: Api, site: Path) -> None:
    bad, good = make(site), make(site, "bueno.pdf")

    def lose(upload_id: str) -> None:
        if fake.uploads[upload_id]["name"] == "plano.pdf":
            fake.lose_parts(upload_id, 2)

    fake.before_join = lose
    outcomes = await send(api, bad, good)
    assert outcomes[0].result == "failed"
    assert "perdió partes" in outcomes[0].reason
    assert arrived(fake, good, outcomes)
    assert len(fake.parts_sent("plano.pdf")) == 5 + api.patience.failures


async def test_a_lost_multipart_upload_is_begun_anew(fake: Fake, api: Api, site: Path) -> None:
    path = make(site)
    lost: list[str] = []

    async def lose(request: Request) -> None:
        if not lost and request.query["partNumber"] == "3":
            lost.append(fake.signed[request.query["sig"]][0])
            fake.lose_parts(lost[0])

    fake.before_part = lose
    assert arrived(fake, path, await send(api, path, parallel=1))
    assert fake.parts_sent("plano.pdf") == [1, 2, 3, 1, 2, 3, 4, 5]
    assert len(fake.uploads) == 1, "it is the same upload still"


async def test_a_lost_answer_to_completion_is_asked_for_again(fake: Fake, api: Api, site: Path) -> None:
    path = make(site)
    fake.faults = [Fault("POST", "/completion", "lost", times=2)]
    assert arrived(fake, path, await send(api, path))
    assert len(fake.calls("POST", "/completion")) == 3
    assert len(fake.puts()) == 5


async def test_an_upload_that_was_cancelled_meanwhile_is_told(fake: Fake, api: Api, site: Path) -> None:
    path = make(site)

    async def cancel(request: Request) -> None:
        if request.query["partNumber"] == "3":
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
    order = ["partNumber" in r.query for r in fake.puts()]
    assert order.index(False) < 15


@pytest.mark.parametrize("times", [1, 9])
async def test_a_big_file_that_changes_is_sent_as_what_it_is_now(fake: Fake, api: Api, site: Path, times: int) -> None:
    path, other = make(site), make(site, "otro.pdf")
    left = [times]

    async def change(request: Request) -> None:
        name = fake.uploads[fake.signed[request.query["sig"]][0]]["name"]
        if left[0] and name == "plano.pdf" and request.query["partNumber"] == "2":
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
    fake.faults = [Fault("PUT", "/s3/", 400, times=99)]
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
    assert len(fake.puts()) == 13
    assert told["peak"] < 6 * 1024 * 1024, "less than one part, four connections together"
