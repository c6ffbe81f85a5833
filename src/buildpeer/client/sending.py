"""Brings the bytes of many files to S3 over a few connections.

A file is a list of pieces: itself, or the parts that the server cut it into. Pieces fly side by side, and
each is tried until it is there or nothing has got through for the whole patience.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Awaitable, Generator
from typing import TypeVar

from buildpeer.client.api import WHOLE, Api, ApiError, ClientError, NetworkError, Opened, Put, Upload
from buildpeer.client.delivery import PartsLostError, Piece, StorageError, UrlRefusedError, deliver, pieces_of
from buildpeer.client.items import Board, Item, Transfer

T = TypeVar("T")

_URLS = 8  # asked for at a time: more of them would grow old unused on a slow link


class Sender:
    """Sends files over `connections` at a time; `lost` says that nothing gets through any more."""

    def __init__(self, api: Api, board: Board, connections: int) -> None:
        self._api = api
        self._board = board
        self._connections = connections
        self._free = asyncio.Semaphore(connections)
        self._delivered = 0
        self._silence = 0  # network failures in a row, of whichever pieces
        self.lost = False

    async def send(self, item: Item, opened: Opened) -> None:
        """Send what the server lacks; on return it has all of the file's bytes, or has closed the upload.

        Raises FileChangedError, OSError and ClientError.
        """
        parts = opened.upload.parts if opened.upload else None
        item.transfer = Transfer(pieces_of(item.file.size, parts), puts={WHOLE: opened.put} if opened.put else {})
        if parts is None:
            await self._send_missing(item)
            return
        if opened.verdict == "known":  # an earlier push may have sent some of it
            await self._ask(item)
        failures, fewest = 0, parts.count
        while True:
            with contextlib.suppress(PartsLostError):  # completion tells what is left
                await self._send_missing(item)
            error = await self._complete(item)
            if error is None:
                return
            item.transfer.lacks(error.missing_parts)
            left = len(error.missing_parts)
            failures = 0 if left < fewest else failures + 1
            fewest = min(left, fewest)
            if failures >= self._api.patience.failures:
                raise error
            await self._pause(item, failures)

    async def reaching(self, call: Awaitable[T]) -> T:
        """Await a call of the api, which has a patience of its own: when that ends, nothing gets through."""
        try:
            return await call
        except NetworkError:
            self.lost = True
            raise

    async def _send_missing(self, item: Item) -> None:
        with plainly():
            async with asyncio.TaskGroup() as group:
                for piece in item.transfer.missing:
                    group.create_task(self._bring(item, piece))

    async def _complete(self, item: Item) -> ApiError | None:
        """Have the parts joined; the error if some have to be sent again."""
        try:
            self._board.heard(await self.reaching(self._api.complete(item.upload_id)))
        except ApiError as error:
            if error.code == "upload_incomplete":
                return error
            if error.code != "upload_closed":
                raise
            await self._ask(item)
        return None

    async def _bring(self, item: Item, piece: Piece) -> None:
        """Try until the piece is there.

        One that failed goes to the back of the queue, so that it never keeps back the others.
        """
        failures, delivered = 0, self._delivered
        while item.needs(piece):
            if not item.transfer.flying:
                self._board.stage(item, "queued")
            async with self._connection(item):
                error = await self._try(item, piece)
                if error is None:
                    item.transfer.has([piece.number])
                    self._delivered, self._silence = self._delivered + 1, 0
                    return
                # others getting through shows that the link lives: the count begins anew
                failures = 1 if self._delivered != delivered else failures + 1
                delivered = self._delivered
                if failures >= self._api.patience.failures:
                    raise error
                if isinstance(error, NetworkError):
                    await self._wait_for_link(item, failures)
            if self.lost:
                raise error
            if not isinstance(error, NetworkError):
                self._silence = 0
                await self._pause(item, failures - isinstance(error, UrlRefusedError))
            await self._ask(item)  # perhaps only the answer was lost

    @contextlib.asynccontextmanager
    async def _connection(self, item: Item) -> AsyncGenerator[None]:
        """One of the connections. Of each file one piece at most waits for it, so a big one keeps nobody back."""
        async with item.transfer.line:
            await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()

    async def _wait_for_link(self, item: Item, failures: int) -> None:
        """Pause in place of sending: without a link, the next piece would fare no better."""
        self._silence += 1
        rounds = math.ceil(self._silence / self._connections)
        if rounds >= self._api.patience.failures:
            self.lost = True
        if not self.lost:
            await self._pause(item, max(rounds, failures))

    async def _pause(self, item: Item, failures: int) -> None:
        if failures:
            if not item.transfer.flying:
                self._board.stage(item, "pausing")
            await asyncio.sleep(self._api.patience.pause_s(failures))

    async def _try(self, item: Item, piece: Piece) -> ClientError | None:
        """Send the piece once; the error if it is worth another try."""
        if self.lost:
            raise NetworkError("lost")
        if not item.needs(piece):  # it was heard of while this waited for a connection
            return None
        put: Put | None = None
        try:
            put = await self._url(item, piece)
            if put is not None:
                await self._fly(item, piece, put)
        except UrlRefusedError as error:
            if item.transfer.puts.get(piece.number) is put:  # or another piece got fresh ones meanwhile
                item.transfer.puts.clear()
            return error
        except NetworkError as error:
            return error
        except StorageError as error:
            if not error.passing:
                raise
            return error
        return None

    async def _fly(self, item: Item, piece: Piece, put: Put) -> None:
        item.transfer.sent[piece.number] = 0
        item.transfer.flying += 1
        self._board.stage(item, "sending")
        try:
            await deliver(
                self._api.storage,
                put,
                piece,
                path=item.path,
                wanted=item.file,
                on_sent=lambda sent: self._board.sent(item, piece, sent),
            )
        finally:
            item.transfer.flying -= 1

    async def _url(self, item: Item, piece: Piece) -> Put | None:
        """A signed URL; None when the server needs no more bytes."""
        transfer = item.transfer
        async with transfer.signing:
            if piece.number not in transfer.puts:
                others = [p.number for p in transfer.missing if p != piece and p.number not in transfer.puts]
                wanted = [number for number in (piece.number, *others) if number != WHOLE][:_URLS]
                try:
                    transfer.puts |= await self.reaching(self._api.urls(item.upload_id, wanted))
                except ApiError as error:
                    if error.code != "upload_closed":
                        raise
                    return None
            return transfer.puts[piece.number]

    async def _ask(self, item: Item) -> None:
        upload: Upload = await self.reaching(self._api.upload(item.upload_id))
        self._board.heard(upload)
        if upload.parts and upload.parts.received:
            item.transfer.has(upload.parts.received)


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
