"""Brings the bytes of many files to S3 over as many connections as the link bears.

One function, `_turn`, decides whenever anything has happened: which permitted piece flies next, and for which bytes
permission is asked ahead of need. Small files come first; what is left of one shares the link with the next. A piece
that fails rests, and takes nobody with it.
"""

import asyncio
import bisect
import contextlib
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Generator, Sequence
from typing import TypeVar

import msgspec

from buildpeer.client.api import Api
from buildpeer.client.delivery import Flight, PartsLostError, Pulse, StorageError, UrlRefusedError, deliver
from buildpeer.client.errors import ApiError, ClientError, NetworkError, SilenceError
from buildpeer.client.files import FileChangedError
from buildpeer.client.items import Board, Item
from buildpeer.client.learnt import Learnt, Network
from buildpeer.client.line import Line
from buildpeer.client.ranges import CELL, Range, total
from buildpeer.client.shapes import NewUpload, Opened, Put, Sent, Upload
from buildpeer.client.transfer import PART, Piece, Transfer

T = TypeVar("T")


class _Sending(msgspec.Struct, frozen=True):
    """What a flight carries, and the task that does."""

    item: Item
    piece: Piece
    put: Put
    task: asyncio.Task[None]


_REPORT_S = 4.0  # a report costs a slow link as much as a hundredth of what it carries meanwhile
_REPORTED = 200
_SIGNED = 64  # ranges at a time


class Sender:
    """Sends files while `at_work`; `lost` says that nothing gets through any more."""

    def __init__(self, api: Api, board: Board, learnt: Learnt) -> None:
        self._api = api
        self._board = board
        self._learnt = learnt
        self._network: Network = learnt.here()
        self._files: list[tuple[int, int, Item]] = []  # by size, then in order of arrival
        self._count = 0
        self._flights: dict[Flight, _Sending] = {}
        self._signing: set[Item] = set()
        self._asking: dict[Item, asyncio.Future[Upload]] = {}
        self._ahead = 0  # pieces that have permission and don't fly yet
        self._lines: list[Line] = []
        self._pulse = Pulse()
        self._delivered = 0
        self._progress_at = time.monotonic()
        self._given_up = 0  # pieces in a row, for their silence
        self._silence = 0  # network failures in a row, of whichever pieces
        self._blocked_until = 0.0
        self._reported: dict[str, int] = {}
        self._group: asyncio.TaskGroup
        self.lost = False

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncGenerator[None]:
        """Files can be sent in here."""
        self._progress_at = time.monotonic()
        try:
            async with asyncio.TaskGroup() as self._group:
                reporting = self._group.create_task(self._report())
                yield
                reporting.cancel()
        finally:
            self._learnt.keep()
            for line in self._lines:
                await line.close()

    def warm(self, sizes: Sequence[int]) -> None:
        """Connect to where S3 was last time while these files are hashed and opened; nothing is sent there."""
        link = self._network.link
        pieces = sum(1 if link.whole(size) else math.ceil(size / link.chunk) for size in sizes)
        for _ in range(min(link.connections, pieces) if self._learnt.storage else 0):
            line = Line(self._api.tls)
            line.dial(self._learnt.storage)
            self._lines.append(line)

    async def open(self, project_id: str, uploads: Sequence[NewUpload]) -> list[Opened]:
        """Announce these files, with the wish for their first chunks where they will travel in chunks."""
        link = self._network.link
        cut = any(not link.whole(min(new.size_bytes, PART)) for new in uploads)
        call = self._api.open_uploads(project_id, uploads, chunk_length=link.chunk if cut else 0)
        return await self.reaching(call)

    async def send(self, item: Item, opened: Opened) -> None:
        """Send what the server lacks; on return it has all of the file's bytes, or has closed the upload.

        Raises FileChangedError, OSError and ClientError.
        """
        parts = opened.upload.parts if opened.upload else None
        size = item.file.size
        item.transfer = Transfer(size, parts.size if parts else PART, opened.put)
        if opened.verdict == "known":  # an earlier push may have sent some of it
            await self._ask(item)
        self._take(item.transfer, opened)
        failures, fewest = 0, size + 1
        while True:
            with contextlib.suppress(PartsLostError):  # completion tells what is left
                await self._carry(item)
            if item.transfer.sent_whole or item.arrived:
                return
            error = await self._complete(item)
            if error is None:
                return
            item.transfer.lacks(error.missing)
            left = total(error.missing)
            failures = 0 if left < fewest else failures + 1
            fewest = min(left, fewest)
            if failures >= self._api.patience.failures:
                raise error
            if failures:
                await asyncio.sleep(self._api.patience.pause_s(failures))

    async def reaching(self, call: Awaitable[T]) -> T:
        """Await a call of the api, which has a patience of its own: when that ends, nothing gets through."""
        try:
            return await call
        except NetworkError:
            self._lose()
            raise

    # one file

    async def _carry(self, item: Item) -> None:
        """Wait until every byte of the file is there, or the server needs no more of them."""
        transfer = item.transfer
        if transfer.complete or item.arrived:
            return
        if self.lost:
            raise NetworkError("lost")
        transfer.done = asyncio.get_running_loop().create_future()
        self._count += 1
        place = (item.file.size, self._count, item)
        bisect.insort(self._files, place)
        self._ahead += len(transfer.permitted)
        self._board.stage(item, "queued")
        self._turn()
        try:
            await transfer.done
        finally:
            self._files.remove(place)
            self._ahead -= len(transfer.permitted)
            transfer.permitted = []
            for sending in self._flights.values():
                if sending.item is item and not sending.task.cancelling():  # twice, and its connection isn't closed
                    sending.task.cancel()
            self._turn()

    def _take(self, transfer: Transfer, opened: Opened) -> None:
        """Use what was permitted at opening, but for what had better be cut shorter: see `_longest`."""
        link = self._network.link
        if link.whole(min(transfer.size, transfer.part)):
            return
        for each in opened.chunks:
            piece = Piece("chunk", Range(each.offset, each.length))
            short = each.length <= max(CELL, (transfer.size - each.offset) // link.connections)
            if short and transfer.needs(piece):
                transfer.permitted.append((piece, each.put))

    async def _complete(self, item: Item) -> ApiError | None:
        """Have the pieces joined; the error if some have to be sent again."""
        try:
            self._board.heard(await self.reaching(self._api.complete(item.upload_id)))
        except ApiError as error:
            if error.code == "upload_incomplete":
                return error
            if error.code != "upload_closed":
                raise
            await self._ask(item)
        return None

    async def _ask(self, item: Item) -> None:
        """Hear what S3 holds of it; who asks meanwhile, for another piece, shares the answer."""
        if item not in self._asking:
            asking = asyncio.ensure_future(self.reaching(self._api.upload(item.upload_id)))
            asking.add_done_callback(lambda _: self._asking.pop(item))
            self._asking[item] = asking
        upload = await asyncio.shield(self._asking[item])
        self._board.heard(upload)
        item.transfer.has(upload.received or ())

    # what happens next

    def _turn(self) -> None:
        """Let fly what may fly, and ask for what will be needed soon. Called after every change."""
        link = self._network.link
        while self._ahead and self._room(link.connections) and (found := self._permitted()):
            self._launch(*found)
        wanted = 2 * link.connections
        for _, _, item in self._files:
            if self.lost or self._ahead + len(self._signing) >= wanted or len(self._signing) >= link.connections:
                break
            if item not in self._signing and not item.transfer.done.done():
                self._permit(item, min(_SIGNED, wanted))
        if not self._ahead and not self._signing and self._room(link.connections):
            self._double()
        self._pulse.waiting = self._ahead > 0 or bool(self._signing)

    def _longest(self) -> int:
        """How long the next chunks may be: shorter towards the end, so that all connections end at the same time."""
        link = self._network.link
        if len(self._files) > link.connections:
            return link.chunk
        left = sum(total(item.transfer.uncut()) for _, _, item in self._files)
        return max(CELL, min(link.chunk, left // (2 * link.connections) // CELL * CELL))

    def _double(self) -> None:
        """Send a chunk that stands still once more by an idle connection, when it is all that is left; once at most.

        Where others get on, one that has long been behind them. Where none does, one alone: by that it shows whether
        the link is away or only these connections are.
        """
        wanted = [
            (flight, sending)
            for flight, sending in self._flights.items()
            if flight.silent
            and sending.piece.form == "chunk"
            and not sending.task.cancelling()
            and not sending.item.transfer.done.done()
        ]
        if not self._pulse.alive:
            adrift = len(wanted) == len(self._flights) and all(f.adrift for f, _ in wanted)
            if not adrift or any(self._twins(s.item, s.piece, f) for f, s in wanted):
                return
            wanted = wanted[:1]
        else:
            wanted = [(f, s) for f, s in wanted if f.behind and not self._twins(s.item, s.piece, f)]
        for _, sending in wanted[:1]:
            self._launch(sending.item, sending.piece, sending.put)

    def _twins(self, item: Item, piece: Piece, flight: Flight) -> list[_Sending]:
        """The other flights that carry the same piece."""
        return [
            other
            for other_flight, other in self._flights.items()
            if other_flight is not flight and other.item is item and other.piece == piece
        ]

    def _room(self, connections: int) -> bool:
        """Whether one more may fly. A connection that has fallen silent doesn't count: another may get through.

        When all that flew was given up, fewer fly and are borne longer: on a link as slow as that, they kept each
        other from arriving.
        """
        connections = max(1, connections >> self._rounds_in_vain)
        if self.lost or time.monotonic() < self._blocked_until or len(self._flights) >= 2 * connections:
            return False
        return sum(not flight.silent for flight in self._flights) < connections

    @property
    def _rounds_in_vain(self) -> int:
        return math.ceil(self._given_up / self._network.link.connections)

    def _permitted(self) -> tuple[Item, Piece, Put] | None:
        link = self._network.link
        for _, _, item in self._files:
            transfer = item.transfer
            while transfer.permitted and not transfer.done.done():
                piece, put = transfer.permitted.pop(0)
                self._ahead -= 1
                if piece.form == "chunk" or link.whole(piece.what.length):
                    return item, piece, put
                if piece.form == "whole":
                    transfer.whole = put
        return None

    def _permit(self, item: Item, most: int) -> None:
        """Have the next pieces of this file permitted."""
        transfer = item.transfer
        pieces = transfer.cut(self._network.link, most, self._longest())
        if not pieces:
            return
        if pieces[0].form == "whole" and transfer.whole:
            transfer.permitted.append((pieces[0], transfer.whole))
            transfer.whole = None
            self._ahead += 1
            self._later(0.0)
            return
        transfer.asked.update(pieces)
        self._signing.add(item)
        self._group.create_task(self._sign(item, pieces))

    async def _sign(self, item: Item, pieces: list[Piece]) -> None:
        transfer = item.transfer
        puts: list[Put] = []
        try:
            parts = [piece.part for piece in pieces if piece.form == "part"]
            chunks = [piece.what for piece in pieces if piece.form == "chunk"]
            urls = await self.reaching(self._api.urls(item.upload_id, parts=parts, chunks=chunks))
            by_part = {each.part_number: each.put for each in urls.parts}
            by_offset = {each.offset: each.put for each in urls.chunks}
            for piece in pieces:
                found = by_part.get(piece.part) if piece.form == "part" else by_offset.get(piece.what.offset)
                put = urls.put if piece.form == "whole" else found
                if put is None:
                    raise NetworkError("not BuildPeer's answer: URLs are missing")
                puts.append(put)
        except ApiError as error:
            if error.code == "upload_closed":
                await self._closed(item)
            else:
                _fail(transfer, error)
        except ClientError as error:
            _fail(transfer, error)
        finally:
            transfer.asked.difference_update(pieces)
            self._signing.discard(item)
            if not transfer.done.done():
                transfer.permitted += zip(pieces, puts, strict=False)
                self._ahead += len(puts)
            self._turn()

    async def _closed(self, item: Item) -> None:
        """The server says that no more bytes are needed."""
        try:
            await self._ask(item)
        except ClientError as error:
            _fail(item.transfer, error)
        _end(item.transfer)

    def _launch(self, item: Item, piece: Piece, put: Put) -> None:
        line = self._lines.pop() if self._lines else Line(self._api.tls)
        item.transfer.flying.setdefault(piece, 0)

        def moved(sent: int) -> None:
            if piece in item.transfer.flying:
                item.transfer.flying[piece] = max(sent, item.transfer.flying[piece])
                self._board.sent(item)

        size = piece.what.length
        expected_s, grace = self._network.link.expected_s(size), 2 ** min(self._rounds_in_vain, 4)
        only = piece.form != "chunk"
        flight = Flight(line, self._pulse, size, expected_s=expected_s, on_move=moved, grace=grace, only=only)
        flight.on_silence = self._turn
        self._network.link.began(time.monotonic())
        task = self._group.create_task(self._fly(item, piece, put, flight))
        self._flights[flight] = _Sending(item, piece, put, task)
        self._board.stage(item, "sending")

    # one piece

    async def _fly(self, item: Item, piece: Piece, put: Put, flight: Flight) -> None:
        transfer, network = item.transfer, self._network
        front = network.fronts.pick(time.monotonic()) if put.accelerated_url else ""
        url = put.accelerated_url if front == "accelerated" and put.accelerated_url else put.url
        error: Exception | None = None
        ended = False
        try:
            await deliver(flight, put, url, piece.what, path=item.path, wanted=item.file)
            ended = True
            self._learnt.went_to(url)
        except (ClientError, FileChangedError, OSError) as exc:
            error = exc
            ended = isinstance(error, NetworkError) and flight.left > 0
        finally:  # the connection is free, whatever is still to be done about the piece
            del self._flights[flight]
            twins = self._twins(item, piece, flight)
            if not twins:
                transfer.flying.pop(piece, None)
            if not ended:
                network.link.refused(time.monotonic())
            if error:
                network.fronts.failed(front, time.monotonic())
            self._lines.append(flight.line)
        if error and ended:
            network.link.cut(time.monotonic(), flight.sent)
        if error is None:
            self._arrived(item, piece, flight, network, front)
        elif twins:  # the other one may still make it
            await flight.line.renew()
            self._pause(self._api.patience.pause_s(1))
        elif isinstance(error, NetworkError):
            await self._cut(item, piece, put, flight, error)
        elif isinstance(error, UrlRefusedError | StorageError):
            self._silence = 0
            await self._refused(item, piece, put, error)
        else:
            _fail(transfer, error)
        self._turn()

    def _arrived(self, item: Item, piece: Piece, flight: Flight, network: Network, front: str) -> None:
        for twin in self._twins(item, piece, flight):
            twin.task.cancel()
        now = time.monotonic()
        seconds = now - flight.began
        network.link.arrived(now, piece.what.length, seconds, flight.line.round_trip_s)
        if front:
            network.fronts.arrived(front, piece.what.length / max(seconds, 1e-3))
        self._delivered, self._silence, self._blocked_until, self._progress_at = self._delivered + 1, 0, 0.0, now
        self._given_up = 0
        transfer = item.transfer
        transfer.has([piece.what])
        transfer.sent_whole = piece.form == "whole"
        self._board.sent(item)
        if transfer.complete:
            _end(transfer)

    async def _cut(self, item: Item, piece: Piece, put: Put, flight: Flight, error: NetworkError) -> None:
        """The network failed this piece. One cut is nobody's fault; several in a row mean that nothing gets through."""
        transfer, perhaps_there = item.transfer, flight.perhaps_there
        transfer.resting.add(piece)
        try:
            await flight.line.renew()
            now = time.monotonic()
            self._given_up += isinstance(error, SilenceError)
            if self._pulse.moved_at <= flight.moved_at:  # nobody else got on since
                self._silence += 1
            if now - self._progress_at >= self._api.patience.away_s:
                self._lose()
            elif self._silence:
                rounds = math.ceil(self._silence / self._network.link.connections)
                self._pause(self._api.patience.pause_s(rounds, error))
                self._wait(item, "network")
            self._network = self._learnt.here()
            if perhaps_there:  # and only the answer was lost
                await self._ask(item)
                if item.arrived or transfer.complete:
                    _end(transfer)
        except ClientError as lost:
            _fail(transfer, lost)
        finally:
            transfer.resting.discard(piece)
        if piece.form == "chunk" and not transfer.done.done() and transfer.needs(piece):
            transfer.permitted.insert(0, (piece, put))
            self._ahead += 1

    async def _refused(self, item: Item, piece: Piece, put: Put, error: UrlRefusedError | StorageError) -> None:
        """S3 said no. Others getting through shows that it lives: then the count of failures begins anew."""
        transfer = item.transfer
        failures, delivered = transfer.failures.get(piece.what.offset, (0, -1))
        failures = 1 if self._delivered != delivered else failures + 1
        transfer.failures[piece.what.offset] = (failures, self._delivered)
        passing = isinstance(error, UrlRefusedError) or error.passing
        if not passing or failures >= self._api.patience.failures:
            _fail(transfer, error)
            return
        refused = isinstance(error, UrlRefusedError)
        if refused and failures == 1:  # what was signed together has expired together
            self._ahead -= len(transfer.permitted)
            transfer.permitted = []
            return
        transfer.resting.add(piece)
        self._wait(item, "server")
        self._turn()
        pause_s = self._api.patience.pause_s(failures - refused, error)
        await asyncio.wait({transfer.done}, timeout=pause_s)  # when the file has ended, nothing holds the push up
        transfer.resting.discard(piece)
        if not refused and not transfer.done.done() and transfer.needs(piece):
            transfer.permitted.insert(0, (piece, put))
            self._ahead += 1

    def _wait(self, item: Item, what: str) -> None:
        item.waits_for = what
        if not item.transfer.flying:
            self._board.stage(item, "pausing")

    def _pause(self, seconds: float) -> None:
        """Begin nothing for so long: what was begun last did not get through."""
        self._blocked_until = time.monotonic() + seconds
        self._later(seconds)

    def _later(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._turn)

    def _lose(self) -> None:
        """Nothing has got through for the whole patience: it is over for all."""
        self.lost = True
        for _, _, item in self._files:
            _fail(item.transfer, NetworkError("lost"))

    async def _report(self) -> None:
        """Tell the server how far the files have come that are not there yet, best effort; keep what was learnt."""
        while True:
            await asyncio.sleep(_REPORT_S)
            self._learnt.keep()
            there = {item.upload_id: total(item.transfer.there) for _, _, item in self._files}
            news = [Sent(key, sent) for key, sent in there.items() if sent and self._reported.get(key) != sent]
            self._reported = {key: sent for key, sent in self._reported.items() if key in there}
            try:
                if news:
                    await self._api.progress(news[:_REPORTED])
            except NetworkError:
                continue
            except ApiError as error:
                if error.passing:
                    continue
                # a server without this door loses nothing: as if it had been told
            self._reported |= {sent.upload_id: sent.sent_bytes for sent in news[:_REPORTED]}


def _end(transfer: Transfer) -> None:
    if not transfer.done.done():
        transfer.done.set_result(None)


def _fail(transfer: Transfer, error: Exception) -> None:
    if not transfer.done.done():
        transfer.done.set_exception(error)


@contextlib.contextmanager
def plainly() -> Generator[None]:
    """Raise what went wrong instead of the groups that task groups wrap it in."""
    try:
        yield
    except ExceptionGroup as group:
        first: Exception = group
        while isinstance(first, ExceptionGroup):
            first = first.exceptions[0]
        raise first from None
