"""What keeps a push from waiting where nothing has to be waited for."""

import asyncio
import importlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_server import Fake, Fault
from test_commands import run

from buildpeer.client import delivery, sending
from buildpeer.client.api import Api
from buildpeer.client.delivery import Flight, Pulse
from buildpeer.client.errors import NetworkError
from buildpeer.client.items import Board, Item, Outcome, Silent
from buildpeer.client.journal import Journal
from buildpeer.client.learnt import Learnt
from buildpeer.client.line import Line
from buildpeer.client.push import push
from buildpeer.client.ranges import CELL
from buildpeer.client.shapes import Opened

pushing = importlib.import_module("buildpeer.client.push")


async def send(api: Api, *paths: Path, **options: Any) -> list[Outcome]:
    settings: dict[str, Any] = {"timeout_s": 8.0, "poll_s": 0.05} | options
    return await push(api, paths, "p-1", **settings)


def make(site: Path, name: str = "plano.pdf", cells: float = 4) -> Path:
    path = site / name
    path.write_bytes(os.urandom(int(cells * CELL)))
    return path


async def test_the_first_chunks_need_no_call_of_their_own(fake: Fake, api: Api, site: Path) -> None:
    path = make(site, cells=15.5)
    (outcome,) = await send(api, path)
    assert outcome.result == "ready"
    assert fake.objects[outcome.upload_id] == path.read_bytes()
    assert not fake.calls("POST", "/urls")
    assert sum(len(r.body) for r in fake.puts()) == path.stat().st_size


async def test_chunks_permitted_at_opening_that_are_there_already_are_not_sent(
    fake: Fake, api: Api, site: Path
) -> None:
    path = make(site, cells=15.5)
    fake.faults = [Fault("PUT", "/s3/", 400, times=99, body=b"<Error><Code>InvalidRequest</Code></Error>")]
    fake.faults[0].when = lambda request: request.query.get("offset") == str(14 * CELL)
    await send(api, path, parallel=1)
    fake.faults = []
    assert (await send(api, path))[0].result == "ready"
    assert sum(len(r.body) for r in fake.puts() if r.taken) == path.stat().st_size


async def test_files_are_announced_though_the_stream_does_not_open(fake: Fake, api: Api, site: Path) -> None:
    fake.faults = [Fault("GET", "/v1/events", "hang", times=99)]
    began = time.monotonic()
    assert (await send(api, make(site)))[0].result == "ready"
    assert time.monotonic() - began < 2


async def test_what_came_before_the_stream_stood_is_asked_for_once(fake: Fake, api: Api, site: Path) -> None:
    """Polling is off; the stream opens when the file is ready already."""
    path, other = make(site), make(site, "otro.pdf")

    def early(_request: Any) -> bool:
        return [u["state"] for u in fake.uploads.values()] != ["ready"] * 2

    fake.faults = [Fault("GET", "/v1/events", 500, times=10_000, when=early)]
    outcomes = await send(api, path, other, poll_s=1000.0)
    assert [outcome.result for outcome in outcomes] == ["ready", "ready"]
    assert len(fake.calls("GET", outcomes[0].upload_id)) == 1


def test_the_project_is_asked_for_once_and_again_when_it_is_gone(fake: Fake, site: Path) -> None:
    make(site, "a.jpg", 0.1)
    assert run(fake, "push", site, "--project", "TRM").exit_code == 0
    asked = len(fake.calls("GET", "/v1/projects"))
    make(site, "b.jpg", 0.1)
    again = run(fake, "push", site, "--project", " trm")
    assert (again.exit_code, len(fake.calls("GET", "/v1/projects"))) == (0, asked), "whatever the case"
    assert "Torre Río Magdalena" in again.stdout
    fake.projects[0]["project_id"] = "p-7"
    make(site, "c.jpg", 0.1)
    assert run(fake, "push", site / "c.jpg", "--project", "TRM").exit_code == 0
    assert fake.by_name("c.jpg")[0]["project_id"] == "p-7"
    del fake.projects[0]
    assert "TRM" in run(fake, "push", site, "--project", "TRM").output


async def test_connections_to_s3_are_open_before_the_opening_call_is_answered(fake: Fake, api: Api, site: Path) -> None:
    await send(api, make(site, cells=8))
    seen = fake.connections
    ready = 0

    async def wait() -> None:
        nonlocal ready
        async with asyncio.timeout(10):
            while fake.connections < seen + 4:  # the stream's is one
                await asyncio.sleep(0.001)
        ready = fake.connections

    fake.before_open = wait
    (outcome,) = await send(api, make(site, "otro.pdf", cells=40))
    assert outcome.result == "ready"
    assert {seen < put.connection <= ready for put in fake.puts("otro.pdf")[:3]} == {True}


async def test_an_address_that_nobody_answers_at_any_more_costs_nothing(
    fake: Fake, api: Api, site: Path, home: Path
) -> None:
    await send(api, make(site))
    with Journal(home / "state" / "buildpeer", pushing.scope_of(api, "p-1")) as journal:
        assert journal.place("storage", str) == fake.url
        journal.note_place("storage", "http://127.0.0.1:9")
    began = time.monotonic()
    assert (await send(api, make(site, "otro.pdf")))[0].result == "ready"
    assert time.monotonic() - began < 2


async def test_a_call_over_a_connection_that_was_closed_meanwhile_is_no_failure(fake: Fake, api: Api) -> None:
    api.patience = type(api.patience)(failures=1, away_s=0.0)
    await api.projects()
    fake.faults = [Fault("GET", "/v1/projects", "cut")]
    await api.projects()
    fake.faults = [Fault("GET", "/v1/projects", "cut", times=2)]
    with pytest.raises(NetworkError):
        await api.projects()


async def test_a_piece_over_a_connection_that_was_closed_meanwhile_goes_again_at_once(
    fake: Fake, api: Api, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls, stages = Line.put, list[int](), set[str]()

    async def put(self: Line, *words: Any) -> httpx.Response:
        calls.append(1)
        if len(calls) == 2:
            self.fresh = False
            raise httpx.ReadError("closed")
        return await real(self, *words)

    class Looking:
        def began(self, items: Sequence[Item]) -> None:
            pass

        def moved(self, item: Item) -> None:
            stages.add(item.stage)

    monkeypatch.setattr(Line, "put", put)
    (outcome,) = await send(api, make(site), parallel=1, view=Looking())
    assert outcome.result == "ready"
    assert len(calls) == len(fake.puts()) + 1
    assert "pausing" not in stages


class Told(Line):
    """A connection that says what a test wants."""

    acked: int | None = 0  # type: ignore[assignment]
    round_trip_s = 0.1  # type: ignore[assignment]

    def __init__(self) -> None:
        pass


@pytest.mark.parametrize(
    ("left", "acked", "expected_s", "perhaps"),
    [
        (CELL, CELL, 4.0, True),
        (CELL, CELL // 2, 4.0, False),
        (CELL // 2, CELL // 2, 4.0, False),
        (CELL, 0, 0.0, True),  # nothing is known of the link
    ],
)
async def test_only_what_may_have_arrived_is_asked_for(left: int, acked: int, expected_s: float, perhaps: bool) -> None:
    line = Told()
    flight = Flight(line, Pulse(), CELL, expected_s=expected_s, on_move=lambda sent: None)
    flight.left, line.acked = left, acked
    flight.look()
    line.acked = None  # closed, and it says no more
    flight.look()
    assert flight.sent == min(left, acked)
    assert flight.perhaps_there == perhaps


async def test_several_pieces_share_one_question(fake: Fake, api: Api, site: Path, home: Path) -> None:
    (outcome,) = await send(api, make(site))
    asked = len(fake.calls("GET", outcome.upload_id))
    with Journal(home / "other", "x") as journal:
        sender = sending.Sender(api, Board(Silent()), Learnt(journal, 4, lambda: "here"))
        item = Item(site, "plan", pushing.Fingerprint(4 * CELL, 0, ""), upload_id=outcome.upload_id)
        await asyncio.gather(*(sender._ask(item) for _ in range(5)))
        assert len(fake.calls("GET", outcome.upload_id)) == asked + 1
        await sender._ask(item)
        assert len(fake.calls("GET", outcome.upload_id)) == asked + 2


async def test_the_last_chunk_goes_by_another_connection_when_it_stalls(fake: Fake, api: Api, site: Path) -> None:
    path = make(site, cells=8)
    fake.rate = 1_000_000
    fake.faults = [Fault("PUT", "/s3/", "hang", after=CELL // 4)]
    fake.faults[0].when = lambda request: request.query.get("offset") == str(7 * CELL)
    given_up_s, began = delivery._BEHIND_S, time.monotonic()
    (outcome,) = await send(api, path, timeout_s=30.0)
    assert outcome.result == "ready"
    assert fake.objects[outcome.upload_id] == path.read_bytes()
    assert time.monotonic() - began < given_up_s
    assert sum(len(r.body) for r in fake.puts()) == path.stat().st_size, "nothing else was sent twice"


async def test_chunks_are_short_towards_the_end(fake: Fake, api: Api, site: Path) -> None:
    """A link that bears chunks of 1 MiB: the last ones are shorter, and all connections have some."""
    proof, path = make(site, "antes.pdf", cells=40), make(site, cells=60)
    await send(api, proof)
    fake.part_size = 2 * CELL * 8  # so that nothing is whole
    (outcome,) = await send(api, path)
    assert outcome.result == "ready"
    assert fake.objects[outcome.upload_id] == path.read_bytes()
    lengths = [len(r.body) for r in fake.puts("plano.pdf")]
    assert max(lengths[-3:]) <= 2 * CELL


async def test_a_whole_file_of_which_s3_s_word_was_lost_is_looked_at_soon(
    fake: Fake, api: Api, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushing, "_LOOK_S", 0.3)
    fake.deaf = True
    (outcome,) = await send(api, make(site, "foto.jpg", 0.5))
    assert outcome.result == "ready"
    assert fake.calls("GET", outcome.upload_id), "first it is only asked"
    assert len(fake.calls("POST", "/completion")) == 1


async def test_a_server_that_knows_nothing_of_chunks_at_opening_is_asked_for_urls(
    fake: Fake, api: Api, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Api.open_uploads

    async def plain(self: Api, *words: Any, chunk_length: int = 0) -> list[Opened]:
        assert chunk_length == CELL
        return await real(self, *words)

    monkeypatch.setattr(Api, "open_uploads", plain)
    assert (await send(api, make(site)))[0].result == "ready"
    assert fake.calls("POST", "/urls")
