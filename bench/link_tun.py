"""A phone's bad link made of real packets: a tun device in the phone's network namespace, one in the far one's.

Each packet waits its turn at the link's rate, is lost by chance, and arrives half a round trip later; the kernel's own
TCP (reno) copes with it. Needs root. The namespaces have no names: they end with this process, however it ends.
"""

import asyncio
import collections
import contextlib
import ctypes
import fcntl
import os
import random
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from bench.weather import Outages, Weather

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_SMALLEST_QUEUE = 64 * 1024
_libc = ctypes.CDLL(None, use_errno=True)


def why_not() -> str:
    """Why this machine can't have such links; empty if it can."""
    if os.geteuid() != 0:
        return "not root"
    if not Path("/dev/net/tun").exists():
        return "no /dev/net/tun"
    try:
        Namespace().close()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespace: {error}"
    return ""


class Namespace:
    """A network namespace without a name, in which TCP is reno."""

    def __init__(self) -> None:
        def make() -> int:
            _checked(_libc.unshare(_CLONE_NEWNET))
            Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text("reno")
            with contextlib.suppress(FileNotFoundError):  # its chatter would count as crossed
                Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True, capture_output=True)
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

        self._fd = _in_a_thread(make)

    def close(self) -> None:
        """Let go of it; it ends with the last process in it."""
        os.close(self._fd)

    @property
    def entry(self) -> list[str]:
        """Words before a command that make it run in here."""
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self._fd}", "--"]

    def within(self, work: Callable[[], T]) -> T:
        """What `work` gives when done in here; sockets and devices that it opens stay in here."""

        def enter() -> T:
            _checked(_libc.setns(self._fd, _CLONE_NEWNET))
            return work()

        return _in_a_thread(enter)

    def tun(self, name: str, *, address: str, peer: str, default: bool = False) -> int:
        """The file descriptor of a new tun device in here; `default` makes it the way to everywhere."""

        def make() -> int:
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
            words = [f"addr add {address} peer {peer} dev {name}", f"link set {name} up mtu 1500"]
            words += [f"route add default dev {name}"] if default else []
            batch = "".join(f"{line}\n" for line in words).encode()
            subprocess.run(["ip", "-batch", "-"], input=batch, check=True, capture_output=True)
            return fd

        return self.within(make)


class Far:
    """Where links of this kind end: a namespace that passes on to this machine what comes in on `ports`."""

    def __init__(self, ports: Mapping[int, int]) -> None:
        self.namespace = Namespace()
        self.count = 0
        self._ports = ports
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Far":
        for port, to_port in self._ports.items():
            listener = self.namespace.within(lambda port=port: socket.create_server(("0.0.0.0", port), backlog=256))

            def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: int = to_port) -> None:
                task = asyncio.get_running_loop().create_task(_forward(reader, writer, to))
                self._connections.add(task)
                task.add_done_callback(self._connections.discard)

            self._servers.append(await asyncio.start_server(connected, sock=listener))
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.namespace.close()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to_port: int) -> None:
    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(64 * 1024):
                sink.write(data)
                await sink.drain()
        with contextlib.suppress(OSError, RuntimeError):
            sink.write_eof()

    with contextlib.suppress(OSError):
        there_reader, there = await asyncio.open_connection("127.0.0.1", to_port)
        try:
            await asyncio.gather(pump(reader, there), pump(there_reader, writer))
        finally:
            there.close()
    writer.close()


class TunLink:
    """One link between a phone's namespace and the far one; `address` is the far end. Use it as `async with`."""

    def __init__(self, weather: Weather, far: Far, *, seed: int) -> None:
        far.count += 1
        number = far.count
        self.weather = weather
        self.namespace = Namespace()
        self.address, phone = f"10.77.{number}.1", f"10.77.{number}.2"
        self.loop = asyncio.get_running_loop()
        self.outages = Outages(weather, random.Random(seed + 1), now=self.loop.time())
        near_fd = self.namespace.tun("phone", address=phone, peer=self.address, default=True)
        far_fd = far.namespace.tun(f"link{number}", address=self.address, peer=phone)
        self._fds = (near_fd, far_fd)
        common: Any = {"weather": weather, "outages": self.outages, "dice": random.Random(seed)}
        self._up = _Way(near_fd, far_fd, rate=weather.up_rate, **common)
        self._down = _Way(far_fd, near_fd, rate=weather.down_bps / 8, **common)

    @property
    def crossed(self) -> int:
        """Bytes that have used the uplink, whether they arrived or not."""
        return self._up.crossed

    async def __aenter__(self) -> "TunLink":
        self._up.open()
        self._down.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._up.close()
        self._down.close()
        for fd in self._fds:
            os.close(fd)
        self.namespace.close()


class _Way:
    """One direction of a link."""

    def __init__(
        self, source: int, sink: int, *, rate: float, weather: Weather, outages: Outages, dice: random.Random
    ) -> None:
        self.crossed = 0
        self._source, self._sink = source, sink
        self._rate = rate
        self._loss = weather.loss
        self._delay_s = weather.rtt_s / 2
        self._queue_s = max(_SMALLEST_QUEUE, 2 * rate * weather.rtt_s) / rate
        self._outages = outages
        self._dice = dice
        self._loop = asyncio.get_running_loop()
        self._free = 0.0
        self._flying: collections.deque[tuple[float, bytes]] = collections.deque()

    def open(self) -> None:
        self._loop.add_reader(self._source, self._take)

    def close(self) -> None:
        self._loop.remove_reader(self._source)
        self._flying.clear()

    def _take(self) -> None:
        now = self._loop.time()
        with contextlib.suppress(BlockingIOError):
            for _ in range(64):
                self._offer(os.read(self._source, 2048), now)

    def _offer(self, packet: bytes, now: float) -> None:
        begin = max(now, self._free)
        if begin - now > self._queue_s or self._outages.up_again(now) > now:
            return
        self._free = begin + len(packet) / self._rate
        self.crossed += len(packet)
        if self._dice.random() < self._loss:
            return
        if not self._flying:
            self._loop.call_at(self._free + self._delay_s, self._give)
        self._flying.append((self._free + self._delay_s, packet))

    def _give(self) -> None:
        now = self._loop.time()
        down = self._outages.up_again(now) > now
        while self._flying and self._flying[0][0] <= now + 0.0005:
            _, packet = self._flying.popleft()
            if not down:
                with contextlib.suppress(OSError):  # the device is gone, or full
                    os.write(self._sink, packet)
        if self._flying:
            self._loop.call_at(self._flying[0][0], self._give)


def _in_a_thread(work: Callable[[], T]) -> T:
    """Do it in a thread that ends then: a namespace is a thread's, and this process must stay in its own."""
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


def _checked(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
