"""A wire-tap in front of the api and behind it: how much of what passes is files.

What phones and the api, and the api and S3, say to each other goes through here. Bodies that are not JSON, XML or
events count as files; `traffic` is everything, so that files dressed up as JSON would show.
"""

import asyncio
import contextlib
import re
import socket
import threading

_HARMLESS = re.compile(rb"content-type: *(application/(problem\+)?json|application/xml|text/(xml|event-stream))", re.I)
_TYPE = re.compile(rb"content-type:", re.I)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.I)
_CHUNKED = re.compile(rb"transfer-encoding: *chunked", re.I)


class Meter:
    """Counts one direction of one HTTP/1.1 connection; `asker` is the other one's meter, for answers."""

    def __init__(self, asker: "Meter | None" = None) -> None:
        self.traffic = self.files = 0
        self.method = b""
        self._asker = asker
        self._head = b""
        self._body_left = 0.0
        self._counts: bool | None = False

    def feed(self, data: bytes) -> None:
        """Look at what passes."""
        self.traffic += len(data)
        while data:
            if self._body_left:
                body = data[: int(min(self._body_left, len(data)))]
                if self._counts is None:  # boto3 doesn't say that its XML is XML
                    self._counts = not body.startswith(b"<")
                self._body_left -= len(body)
                self.files += len(body) if self._counts else 0
                data = data[len(body) :]
                continue
            head, end, rest = (self._head + data).partition(b"\r\n\r\n")
            if not end:
                self._head = head
                return
            self._head, data = b"", rest
            self.method = head.split(b" ", 1)[0]
            self._begin_body(head)

    def _begin_body(self, head: bytes) -> None:
        length = _LENGTH.search(head)
        # of a body in chunks only the beginning is known: what follows it is taken to be like it
        self._body_left = float("inf") if _CHUNKED.search(head) else int(length[1]) if length else 0
        if self._asker and self._asker.method == b"HEAD":
            self._body_left = 0
        self._counts = not _HARMLESS.search(head) if _TYPE.search(head) else None


class Relay:
    """Listens on a free port of its own and passes everything on to another, in a thread of its own."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._meters: list[Meter] = []
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), daemon=True)

    def __enter__(self) -> "Relay":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    @property
    def traffic(self) -> int:
        """Every byte that has passed."""
        return sum(meter.traffic for meter in self._meters)

    @property
    def files(self) -> int:
        """Bytes of bodies that are files."""
        return sum(meter.files for meter in self._meters)

    async def _serve(self) -> None:
        async with await asyncio.start_server(self._connected, sock=self._listener):
            await self._over.wait()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
        asking = Meter()
        answering = Meter(asking)
        self._meters += [asking, answering]
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(self._pass(reader, there_writer, asking), self._pass(there_reader, writer, answering))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, meter: Meter) -> None:
        try:
            while data := await reader.read(64 * 1024):
                meter.feed(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            return
        finally:
            writer.close()
