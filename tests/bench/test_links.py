"""The links are as bad as they are asked to be: rate, delay, cuts, refusals, outages and loss, each measured."""

import asyncio
import contextlib
import random
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Sequence

import pytest
from bench.link_tcp import TcpLink
from bench.link_tun import Far, TunLink, why_not
from bench.weather import Outages, Weather

MBIT = 1e6
CALM = Weather(up_bps=4 * MBIT, down_bps=20 * MBIT, rtt_s=0.1)
LOSSY = Weather(up_bps=1 * MBIT, down_bps=4 * MBIT, rtt_s=0.2, loss=0.03)
netlink = pytest.mark.skipif(bool(why_not()), reason=why_not())

# Sends `size` bytes over `count` connections at once; prints the seconds until each was answered "got it".
SEND = """
import socket, sys, threading, time
host, port, size, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
def send():
    with socket.create_connection((host, port)) as s:
        s.sendall(bytes(size // count)); s.shutdown(socket.SHUT_WR); assert s.recv(9) == b"got it"
began = time.monotonic()
threads = [threading.Thread(target=send) for _ in range(count)]
[t.start() for t in threads]; [t.join() for t in threads]
print(time.monotonic() - began)
"""


@contextlib.asynccontextmanager
async def sink() -> AsyncGenerator[tuple[int, list[int]]]:
    """A server that takes what comes; its port, and how much each connection brought."""
    got: list[int] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(got)
        got.append(0)
        with contextlib.suppress(OSError):
            while data := await reader.read(64 * 1024):
                got[number] += len(data)
            writer.write(b"got it")
        writer.close()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], got


async def seconds(entry: Sequence[str], address: str, port: int, size: int, *, connections: int = 1) -> float:
    command = [*entry, sys.executable, "-c", SEND, address, str(port), str(size), str(connections)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        out, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    return float(out)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.mark.parametrize("connections", [1, 4])
async def test_the_tcp_link_carries_its_rate_however_many_connections_share_it(connections: int) -> None:
    port = free_port()
    async with sink() as (to, _), TcpLink(CALM, address="127.77.1.1", ports={port: to}, seed=1) as link:
        took = await seconds([], link.address, port, 1_500_000, connections=connections)
    assert took == pytest.approx(1_500_000 / CALM.up_rate + 2 * CALM.rtt_s, rel=0.1)
    assert link.crossed == pytest.approx(1_500_000, rel=0.001)


async def test_a_word_over_the_tcp_link_takes_a_handshake_and_a_round_trip() -> None:
    port = free_port()
    async with sink() as (to, _), TcpLink(CALM, address="127.77.2.1", ports={port: to}, seed=1) as link:
        took = min([await seconds([], link.address, port, 1) for _ in range(3)])  # other work may hold one up
        assert took == pytest.approx(2 * CALM.rtt_s, abs=0.03)


async def test_connections_are_cut_after_the_mean_that_was_asked() -> None:
    port = free_port()
    weather = Weather(up_bps=800 * MBIT, down_bps=800 * MBIT, rtt_s=0, cut_bytes=300_000)
    async with sink() as (to, _), TcpLink(weather, address="127.77.3.1", ports={port: to}, seed=1) as link:
        lived: list[int] = []
        for _ in range(150):
            before = link.crossed
            _, writer = await asyncio.open_connection(link.address, port)
            with pytest.raises(OSError):
                while True:
                    writer.write(bytes(16_000))
                    await writer.drain()
                    await asyncio.sleep(0)
            writer.close()
            lived.append(link.crossed - before)
    assert sum(lived) / len(lived) == pytest.approx(300_000, rel=0.35)  # four standard errors
    assert min(lived) < 60_000 < 600_000 < max(lived)


async def test_some_uploads_are_refused_in_s3s_place_and_nothing_else_is() -> None:
    port = free_port()
    weather = Weather(up_bps=800 * MBIT, down_bps=800 * MBIT, rtt_s=0, refused=0.2)
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                seen.append((await reader.readuntil(b"\r\n\r\n")).split(b" ")[0])
                await reader.readexactly(5)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with (
        await asyncio.start_server(answer, "127.0.0.1", 0) as server,
        TcpLink(weather, address="127.77.4.1", ports={port: server.sockets[0].getsockname()[1]}, seed=1) as link,
    ):
        reader, writer = await asyncio.open_connection(link.address, port)
        told: dict[bytes, list[int]] = {b"PUT": [], b"POST": []}
        for number in range(400):
            method = (b"PUT", b"POST")[number % 2]
            writer.write(method + b" /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello")
            head = await reader.readuntil(b"\r\n\r\n")
            told[method].append(int(head.split(b" ")[1]))
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()
    refused = [status for status in told[b"PUT"] if status != 200]
    assert set(told[b"POST"]) == {200}
    assert set(refused) == {403, 500, 503}
    assert 20 <= len(refused) <= 60
    assert len(seen) == 400 - len(refused)  # S3 has heard nothing of those


async def test_a_link_that_is_down_delivers_later() -> None:
    port = free_port()
    async with sink() as (to, _), TcpLink(CALM, address="127.77.5.1", ports={port: to}, seed=1) as link:
        link.outages.add(asyncio.get_running_loop().time() + 0.3, 1.0)
        began = time.monotonic()
        took = await seconds([], link.address, port, 400_000)
        assert took == pytest.approx(400_000 / CALM.up_rate + 2 * CALM.rtt_s + 1, rel=0.1)
        assert link.outages.within(began, time.monotonic()) == pytest.approx(1, abs=0.01)


def test_outages_come_as_often_as_asked() -> None:
    weather = Weather(up_bps=1, down_bps=1, rtt_s=0, outage_s=3, outage_every_s=60)
    outages = Outages(weather, random.Random(1), now=0)
    assert outages.within(0, 63_000) == pytest.approx(3000, rel=0.12)
    down = next(t for t in range(1000) if outages.up_again(t) > t)
    assert 0 < outages.up_again(down) - down <= 3


@netlink
async def test_the_tun_link_carries_its_rate_and_counts_every_packet() -> None:
    async with sink() as (to, _), Far({4000: to}) as far, TunLink(CALM, far, seed=1) as link:
        took = await seconds(link.namespace.entry, link.address, 4000, 1_500_000)
    assert took == pytest.approx(1_500_000 * 1500 / 1448 / CALM.up_rate + 3 * CALM.rtt_s, rel=0.1)
    assert link.crossed == pytest.approx(1_500_000 * 1500 / 1448, rel=0.02)


@netlink
async def test_a_word_over_the_tun_link_takes_a_handshake_and_a_round_trip() -> None:
    async with sink() as (to, _), Far({4000: to}) as far, TunLink(CALM, far, seed=1) as link:
        took = min(
            [await seconds(link.namespace.entry, link.address, 4000, 1) for _ in range(3)]
        )  # other work may hold one up
        assert took == pytest.approx(2 * CALM.rtt_s, abs=0.03)


@netlink
async def test_loss_holds_one_connection_below_half_of_the_rate_and_eight_fill_it() -> None:
    async with sink() as (to, _), Far({4000: to}) as far, contextlib.AsyncExitStack() as stack:
        links = [await stack.enter_async_context(TunLink(LOSSY, far, seed=seed)) for seed in range(6)]
        alone, eight = await asyncio.gather(
            asyncio.gather(*(seconds(x.namespace.entry, x.address, 4000, 400_000) for x in links[:3])),
            asyncio.gather(*(seconds(x.namespace.entry, x.address, 4000, 1_600_000, connections=8) for x in links[3:])),
        )
    assert sum(400_000 / took for took in alone) / 3 < LOSSY.up_rate / 2
    assert sum(1_600_000 / took for took in eight) / 3 > LOSSY.up_rate * 0.6
    assert sum(x.crossed for x in links[3:]) == pytest.approx(3 * 1_600_000 * 1.07, rel=0.06)


@netlink
async def test_links_leave_nothing_behind() -> None:
    def seen() -> list[str]:
        return sorted(subprocess.run(["ip", "-br", "link"], check=True, capture_output=True, text=True).stdout.split())

    before = seen()
    async with Far({}) as far, TunLink(CALM, far, seed=1):
        assert seen() == before
    assert seen() == before
    assert not subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout.strip()


def test_a_faster_clock_divides_every_pause_and_timeout_alike() -> None:
    script = """
import asyncio, time
from bench.peers import clock
clock.run_faster(10)
async def work():
    await asyncio.sleep(2)
    try:
        async with asyncio.timeout(1):
            await asyncio.sleep(60)
    except TimeoutError:
        return time.monotonic()
began, felt = clock.true_s(), time.monotonic()
print(asyncio.run(work()) - felt, clock.true_s() - began)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    felt, took = map(float, done.stdout.split())
    assert felt == pytest.approx(3, abs=1)
    assert took == pytest.approx(felt / 10, abs=0.1)
