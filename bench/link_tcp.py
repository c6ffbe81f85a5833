"""A phone's bad link as a TCP proxy: slow, far away, cut in the middle, silent for a while, refused by S3 at times.

No root needed, and no packet loss: for that see `link_tun`. The uplink is shared by all connections of a link, turn by
turn; each begins with a handshake and slow start, so new connections cost what they cost out there. Answers come back
late but at any rate, since they are small.
"""

import asyncio
import contextlib
import random
import re
import socket
import struct
from collections.abc import Mapping
from typing import Any

from bench.weather import Outages, Weather

_FIRST_WINDOW = 10 * 1460  # RFC 6928
_LARGEST_WINDOW = 256 * 1024
_TURN_S = 0.008  # of the uplink that one connection gets at a time
_LARGEST_TURN = 16 * 1024
_BURST_S = 0.02  # a timer that fired late is made up for
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
_UPLOAD = re.compile(rb"(PUT|PATCH) ")
_REFUSALS = ((403, "Forbidden", "AccessDenied"), (500, "Internal", "InternalError"), (503, "Slow Down", "SlowDown"))


class TcpLink:
    """One link, on an address of its own; `ports` says which port there leads to which port of this machine.

    `crossed` counts the bytes that have used the uplink. Use it as `async with`.
    """

    def __init__(self, weather: Weather, *, address: str, ports: Mapping[int, int], seed: int) -> None:
        self.weather = weather
        self.address = address
        self.crossed = 0
        self.dice = random.Random(seed)
        self.loop = asyncio.get_running_loop()
        self.outages = Outages(weather, random.Random(seed + 1), now=self.loop.time())
        self._ports = ports
        self._turn = asyncio.Lock()  # first come, first served: each connection waits for one turn at a time
        self._free = 0.0
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "TcpLink":
        for port, to_port in self._ports.items():
            listener = socket.create_server((self.address, port), backlog=64)
            # what a phone has handed over but not sent must not look sent
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)

            def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: int = to_port) -> None:
                task = self.loop.create_task(_Connection(self, reader, writer).carry(to))
                self._connections.add(task)
                task.add_done_callback(self._connections.discard)

            self._servers.append(await asyncio.start_server(connected, sock=listener, limit=self.piece))
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def piece(self) -> int:
        """Bytes that one connection sends in its turn."""
        return min(_LARGEST_TURN, max(1460, int(self.weather.up_rate * _TURN_S)))

    @property
    def delay_s(self) -> float:
        """One way."""
        return self.weather.rtt_s / 2

    async def send(self, size: int) -> float:
        """Use the uplink for so many bytes, after those who came before; the time when the last of them left."""
        async with self._turn:
            now = self.loop.time()
            begin = self.outages.up_again(max(self._free, now - _BURST_S))
            self._free = begin + size / self.weather.up_rate
            if (left := self._free - now) > 0:
                await asyncio.sleep(left)
            self.crossed += size
            return max(self._free, now)


class _Connection:
    def __init__(self, link: TcpLink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._link = link
        self._reader, self._writer = reader, writer
        mean = link.weather.cut_bytes
        self._lives = link.dice.expovariate(1 / mean) if mean else float("inf")
        self._window, self._flying, self._room = _FIRST_WINDOW, 0, asyncio.Event()
        self._over = False
        self._last_down = 0.0
        self._head, self._body_left, self._swallow = b"", 0, False

    async def carry(self, to_port: int) -> None:
        there = None
        transport: Any = self._writer.transport
        transport.max_size = self._link.piece  # it would take more, and not notice when the phone drops that
        try:
            there_reader, there = await asyncio.open_connection("127.0.0.1", to_port, limit=256 * 1024)
            self._there = there
            pumps = [asyncio.create_task(self._up()), asyncio.create_task(self._down(there_reader))]
            try:
                _, unfinished = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                if unfinished and not self._over:  # one side has said all; the other may still answer
                    await asyncio.wait(pumps, timeout=5)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass
        finally:
            self._cut()

    def _cut(self) -> None:
        """Reset both ends."""
        self._over = True
        for writer in (self._writer, getattr(self, "_there", None)):
            if writer is not None:
                with contextlib.suppress(OSError):
                    end: socket.socket = writer.get_extra_info("socket")
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

    async def _up(self) -> None:
        loop, link = self._link.loop, self._link
        handshake = link.outages.up_again(loop.time()) + link.weather.rtt_s - loop.time()
        await asyncio.sleep(handshake)
        with contextlib.suppress(OSError):
            while data := await self._reader.read(link.piece):
                while self._flying and self._flying + len(data) > self._window:
                    self._room.clear()
                    await self._room.wait()
                self._flying += len(data)
                left = await link.send(len(data))
                self._live(len(data))
                if self._over:
                    return
                loop.call_at(left + link.delay_s, self._arrive, data)
        await asyncio.sleep(link.delay_s + 0.001)
        if not self._over and self._there.can_write_eof():
            with contextlib.suppress(OSError):
                self._there.write_eof()

    async def _down(self, there: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await there.read(64 * 1024):
                self._answer(data)
        await asyncio.sleep(max(0.0, self._last_down - self._link.loop.time()) + 0.001)
        self._writer.close()

    def _live(self, size: int) -> None:
        self._lives -= size
        if self._lives <= 0:
            self._cut()

    def _answer(self, data: bytes) -> None:
        link = self._link
        self._last_down = max(self._last_down, link.outages.up_again(link.loop.time()) + link.delay_s)
        link.loop.call_at(self._last_down, self._come_back, data)

    def _come_back(self, data: bytes) -> None:
        if not self._over:
            self._writer.write(data)

    def _arrive(self, data: bytes) -> None:
        """At the far end; acknowledged half a round trip later."""
        self._link.loop.call_later(self._link.delay_s, self._acknowledged, len(data))
        while data and not self._over:
            if self._body_left:
                piece, data = data[: self._body_left], data[self._body_left :]
                self._body_left -= len(piece)
                if not self._swallow:
                    self._there.write(piece)
                continue
            head, end, rest = (self._head + data).partition(b"\r\n\r\n")
            if not end:
                self._head = head
                return
            self._head, data = b"", rest
            length = _LENGTH.search(head)
            self._body_left = int(length[1]) if length else 0
            self._swallow = bool(self._body_left and _UPLOAD.match(head)) and self._refuse()
            if not self._swallow:
                self._there.write(head + end)

    def _acknowledged(self, size: int) -> None:
        self._flying -= size
        self._window = min(self._window + size, _LARGEST_WINDOW)
        self._room.set()

    def _refuse(self) -> bool:
        """Now and then answer in S3's place; what the phone still sends of that request goes nowhere."""
        if self._link.dice.random() >= self._link.weather.refused:
            return False
        status, reason, code = self._link.dice.choice(_REFUSALS)
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'.encode()
        head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
        self._answer(head.encode() + body)
        return True
