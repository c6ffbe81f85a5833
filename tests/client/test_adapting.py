"""How a push lives with networks and servers as they are."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from bench.link_tcp import TcpLink
from bench.weather import Weather
from fake_server import Fake, Fault, Request
from test_commands import make as make_files
from test_commands import run

from buildpeer.client import delivery, sending
from buildpeer.client.api import Api
from buildpeer.client.fronts import Fronts
from buildpeer.client.items import Item, Outcome
from buildpeer.client.network import fingerprint
from buildpeer.client.push import push
from buildpeer.client.ranges import CELL
from buildpeer.client.sending import Sender


async def send(api: Api, *paths: Path, **options: Any) -> list[Outcome]:
    settings: dict[str, Any] = {"timeout_s": 5.0, "poll_s": 0.05} | options
    return await push(api, paths, "p-1", **settings)


def make(site: Path, name: str, cells: float) -> Path:
    path = site / name
    path.write_bytes(os.urandom(int(cells * CELL)))
    return path


async def test_a_connection_that_falls_silent_keeps_nobody_back(fake: Fake, api: Api, site: Path) -> None:
    """The silent one is no longer counted, so even over a single connection the rest goes on."""
    path = make(site, "plano.pdf", 60)
    other = make(site, "foto.jpg", 0.5)
    fake.rate = 2_000_000
    fake.faults = [Fault("PUT", "/s3/", "hang", after=CELL // 4, when=lambda request: "offset" in request.query)]
    sending = asyncio.create_task(send(api, path, other, parallel=1))
    async with asyncio.timeout(25):  # sooner than the silent one is given up
        while len(fake.objects) < 1 or sum(r.taken for r in fake.puts("plano.pdf")) < 5:
            await asyncio.sleep(0.01)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_a_slow_link_is_borne(fake: Fake, api: Api, site: Path) -> None:
    """256 kB/s for all connections together: each piece takes long, and none is given up."""
    path = make(site, "plano.pdf", 8)
    fake.rate = 256_000
    (outcome,) = await send(api, path)
    assert outcome.result == "ready"
    assert sum(len(r.body) for r in fake.puts()) == path.stat().st_size


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender whose patience with silence is a tenth of what it is, as if time went ten times as fast."""
    for name in ("_TICK_S", "_STILL_S", "_LATE_S", "_BEHIND_S", "_DEAD_S", "_UNKNOWN_S"):
        monkeypatch.setattr(delivery, name, getattr(delivery, name) / 10)


@contextlib.asynccontextmanager
async def far_away(fake: Fake, **weather: float) -> AsyncGenerator[TcpLink]:
    """Storage behind a link whose nearest hop takes and confirms far more than it has passed on."""
    port = int(fake.url.rsplit(":", 1)[1])
    slow = Weather(up_bps=2.56e6, down_bps=1e7, rtt_s=0.06, **weather)
    async with TcpLink(slow, address="127.99.1.1", ports={port: port}, seed=1) as link:
        fake.url = f"http://{link.address}:{port}"
        yield link


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("away_s", [0, 5], ids=["slow", "and away for long"])
async def test_what_waits_in_a_link_is_not_sent_twice(fake: Fake, api: Api, site: Path, away_s: float) -> None:
    path = make(site, "plano.pdf", 8)
    async with far_away(fake) as link:
        link.outages.add(link.loop.time() + 1.5, away_s)
        (outcome,) = await send(api, path)
        assert outcome.result == "ready"
        probe = CELL if away_s else 0  # one chunk alone finds out whether the link is away
        assert link.crossed < 1.08 * path.stat().st_size + probe


@pytest.mark.usefixtures("hasty")
async def test_what_was_refused_goes_no_further(fake: Fake, api: Api, site: Path) -> None:
    path = make(site, "plano.pdf", 12)
    api.patience = msgspec.structs.replace(api.patience, failures=40)
    async with far_away(fake, refused=0.4) as link:
        (outcome,) = await send(api, path)
        assert outcome.result == "ready"
        assert link.crossed < 1.4 * path.stat().st_size, "each try in full would make it 1.67"


async def test_a_network_away_longer_than_many_failures_is_waited_for(fake: Fake, api: Api, site: Path) -> None:
    path = make(site, "plano.pdf", 20)
    began: list[float] = []

    def away(request: Request) -> bool:
        began.append(time.monotonic())
        return began[-1] - began[0] < 0.3

    fake.faults = [
        Fault("PUT", "/s3/", "cut", times=10_000, when=away),
        Fault("GET", "/v1/uploads/", "cut", times=10_000, when=away),
    ]
    (outcome,) = await send(api, path)
    assert outcome.result == "ready"
    assert 20_000 - sum(fault.times for fault in fake.faults) > api.patience.failures


async def test_retry_after_of_s3_is_honoured_and_others_go_on(fake: Fake, api: Api, site: Path) -> None:
    bad, good = make(site, "a.jpg", 0.5), make(site, "b.jpg", 0.6)
    fake.faults = [Fault("PUT", "/s3/", 503, headers={"Retry-After": "1"})]
    began = time.monotonic()
    outcomes = await send(api, bad, good, parallel=1)
    assert [outcome.result for outcome in outcomes] == ["ready", "ready"]
    assert time.monotonic() - began >= 1
    first, second, _ = (len(r.body) for r in fake.puts())
    assert first != second, "the other file did not wait"


async def test_what_the_server_has_already_is_not_sent(fake: Fake, api: Api, site: Path) -> None:
    path = make(site, "igual.jpg", 3)
    fake.duplicates = {"igual.jpg"}
    (outcome,) = await send(api, path)
    assert (outcome.result, outcome.fine) == ("duplicate", True)
    assert not fake.puts()


async def test_progress_is_told_now_and_then_and_its_loss_harms_nobody(
    fake: Fake, api: Api, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_REPORT_S", 0.2)
    path = make(site, "plano.pdf", 40)
    fake.rate = 3_000_000
    fake.faults = [Fault("POST", "/v1/progress", 500)]
    (outcome,) = await send(api, path)
    assert outcome.result == "ready"
    assert 1 <= len(fake.progress) <= 12, "not for every piece"
    assert 0 < fake.progress[0][1] < path.stat().st_size


async def test_the_faster_front_door_is_used_and_left_when_it_fails(fake: Fake, api: Api, site: Path) -> None:
    fake.accelerated = True

    def by(request: Request) -> bool:
        return request.query.get("front") == "accelerated"

    fake.faults = [Fault("PUT", "/s3/", "cut", times=10_000, after=10, when=by)]
    (outcome,) = await send(api, make(site, "plano.pdf", 40))
    assert outcome.result == "ready"
    assert 10_000 - fake.faults[0].times <= 8, "those that flew when the first one failed"
    assert any("front" not in r.query for r in fake.puts())


def test_both_front_doors_are_timed_and_the_slower_tried_again() -> None:
    fronts = Fronts()
    picked = []
    for second in range(200):
        front = fronts.pick(second)
        fronts.arrived(front, 900.0 if front == "accelerated" else 300.0)
        picked.append(front)
    assert 3 < picked.count("plain") < 10
    fronts.failed("accelerated", 200.0)
    assert fronts.pick(201.0) == "plain"
    assert Fronts({"plain": 300.0, "accelerated": 900.0}).pick(0.0) == "accelerated"


def test_a_network_is_known_by_its_default_route(tmp_path: Path) -> None:
    head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    home = head + "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
    subnet = "wlan0\t0001A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0\n"
    names = set()
    for text in (home, home + subnet, home.replace("0101A8C0", "010011AC") + subnet):
        (tmp_path / "route").write_text(text)
        names.add(fingerprint("http://127.0.0.1:1", tmp_path / "route"))
    assert len(names) == 3
    assert fingerprint("http://127.0.0.1:1", tmp_path / "none"), "the local address has to do"


async def test_people_are_told_what_is_waited_for(fake: Fake, api: Api, site: Path) -> None:
    waits: list[str] = []

    class Looking:
        def began(self, items: Sequence[Item]) -> None:
            pass

        def moved(self, item: Item) -> None:
            if item.stage == "pausing":
                waits.append(item.waits_for)

    path = make(site, "a.jpg", 0.5)
    # Twice: an old connection that is cut before a byte got anywhere is replaced, and nobody waits for that.
    fake.faults = [Fault("PUT", "/s3/", 503), Fault("PUT", "/s3/", "cut", times=2)]
    await send(api, path, view=Looking())
    assert (waits[0], set(waits[1:])) == ("server", {"network"})


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("es", "2 de 2 fotos de hoy están a salvo\n"),
        ("pt", "2 de 2 fotos de hoje estão a salvo\n"),
        ("en", "2 of 2 photos of today are safe\n"),
    ],
)
def test_a_manifest_says_that_today_s_photos_are_safe(fake: Fake, site: Path, lang: str, words: str) -> None:
    make_files(site, "a.jpg", "b.jpg")
    assert run(fake, "push", site, "--project", "TRM").exit_code == 0
    result = run(fake, "manifest", "--lang", lang)
    assert (result.exit_code, result.stdout) == (0, words)


def test_a_manifest_names_what_is_not_safe_and_ends_with_1(fake: Fake, site: Path) -> None:
    make_files(site, "a.jpg", "b.pdf")
    run(fake, "push", site, "--project", "TRM")
    fake.safe = {"a.jpg"}
    result = run(fake, "manifest", "--project", "TRM")
    assert result.exit_code == 1
    assert "b.pdf: llegó, en revisión" in result.stdout
    assert result.stdout.endswith("1 de 2 archivos de hoy están a salvo\n")
    assert run(fake, "manifest", "--project", "ESJ").stdout == "Desde este equipo no se envió nada de hoy.\n"
    assert "2020-01-02" in run(fake, "manifest", "--day", "2020-01-02").stdout


class Airborne:
    silent = False


@pytest.mark.parametrize(("given_up", "most"), [(0, 4), (1, 2), (4, 2), (5, 1), (99, 1)])
def test_after_rounds_in_vain_fewer_fly_until_one_arrives(given_up: int, most: int) -> None:
    """On a link so slow that all pieces in the air were given up, they had kept each other from arriving."""
    sender = Sender.__new__(Sender)
    sender.lost, sender._blocked_until, sender._flights, sender._given_up = False, 0.0, {}, given_up
    sender._network = cast(Any, SimpleNamespace(link=SimpleNamespace(connections=4)))
    while sender._room(4):
        sender._flights[cast(Any, Airborne())] = cast(Any, None)
        assert len(sender._flights) < 9
    assert len(sender._flights) == most
