"""Sends files and stays with them until each has come to its end.

Every file goes its own way, in `_Push._carry`: hash it, announce it, send it, wait for its end. They meet in
three places only: announcements are made in batches, a few files are sent at a time, and one stream of events
(with polling as the net below it) tells all of them what became of them.
"""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Generator, Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import msgspec

from buildpeer.client import files
from buildpeer.client.api import (
    Api,
    ApiError,
    ClientError,
    NetworkError,
    NewUpload,
    Opened,
    Put,
    Upload,
    event_of,
)
from buildpeer.client.delivery import StorageError, UrlRefusedError, deliver
from buildpeer.client.files import FileChangedError, Fingerprint, Kind
from buildpeer.client.journal import Entry, Journal, new_id
from buildpeer.client.messages import explain, text
from buildpeer.client.session import address, state_dir

T = TypeVar("T")
Stage = Literal["waiting", "hashing", "announcing", "queued", "sending", "pausing", "checking", "done"]

FINE = frozenset(("ready", "known", "duplicate", "skipped"))
_SETTLED = frozenset(("ready", "duplicate"))  # ends that a later push leaves alone; after others it tries anew
_BATCH = 200
_GATHER_S = 0.1  # a batch waits this long for more files to be hashed
_HASHING = 2  # files hashed at a time: more only makes the disk seek
_POLLING = 20  # files asked for in one round of polling
_STREAM_S = 5.0  # how long the event stream may take to open before we start without it


class Outcome(msgspec.Struct, frozen=True):
    """What became of a file. `size` in bytes.

    `result` is a state in which uploads end, or `known` (there already since an earlier push), `skipped`, or
    `pending` (safe on the server, but no news of its end). `reason` is a sentence for people, or empty.
    """

    path: Path
    size: int
    result: str
    reason: str = ""
    upload_id: str = ""
    document_id: str | None = None

    @property
    def fine(self) -> bool:
        """Whether nobody has to do anything about it."""
        return self.result in FINE


class Item(msgspec.Struct, eq=False):
    """A file on its way; `sent` counts bytes of the present try."""

    path: Path
    kind: str
    file: Fingerprint
    stage: Stage = "waiting"
    sent: int = 0
    upload_id: str = ""
    upload: Upload | None = None
    put: Put | None = None
    outcome: Outcome | None = None
    asked_at: float = 0.0
    moved: asyncio.Event = msgspec.field(default_factory=asyncio.Event)

    @property
    def arrived(self) -> bool:
        """Whether the server needs no more bytes of it."""
        return self.upload is not None and self.upload.arrived


class View(Protocol):
    """Who looks on; `ui` has one for terminals and one for logs."""

    def began(self, items: Sequence[Item]) -> None:
        """These files are to be sent."""
        ...

    def moved(self, item: Item) -> None:
        """Something about this file has changed."""
        ...


class Silent:
    """Nobody looks on."""

    def began(self, items: Sequence[Item]) -> None:
        """See View."""

    def moved(self, item: Item) -> None:
        """See View."""


async def push(
    api: Api,
    paths: Sequence[Path],
    project_id: str,
    *,
    kind: Kind | None = None,
    parallel: int = 4,
    timeout_s: float = 300.0,
    poll_s: float = 5.0,
    view: View | None = None,
    folder: Path | None = None,
) -> list[Outcome]:
    """Send files and folders to a project; one outcome per file, in the order in which they were found.

    What goes wrong with one file is its outcome and never keeps back another. `kind` overrides the guess by
    name; `timeout_s` is how long to wait without any news once everything is sent; `folder` holds the journal
    by which a push that was killed goes on where it was. Raises ApiError when nothing can be done at all:
    the sign-in has ended, or the project is gone.
    """
    found = await asyncio.to_thread(files.collect, paths)
    items = [
        Item(entry.path, kind or files.kind_of(entry.path), Fingerprint(entry.size, entry.mtime_ns, ""))
        for entry in found
    ]
    for item, entry in zip(items, found, strict=True):
        if entry.problem:
            result = "skipped" if entry.skipped else "failed"
            item.outcome = Outcome(entry.path, entry.size, result, text(api.lang, entry.problem))
            item.stage = "done"
    view = view or Silent()
    view.began(items)
    scope = f"{address(api.base_url)} {api.session.person.person_id} {project_id}"
    todo = [item for item in items if item.outcome is None]
    with Journal(folder or state_dir(), scope) as journal:
        work = _Push(
            api=api,
            project_id=project_id,
            journal=journal,
            view=view,
            parallel=parallel,
            timeout_s=timeout_s,
            poll_s=poll_s,
        )
        await work.run(todo)
    return [item.outcome for item in items if item.outcome]


class _Push:
    def __init__(
        self,
        *,
        api: Api,
        project_id: str,
        journal: Journal,
        view: View,
        parallel: int,
        timeout_s: float,
        poll_s: float,
    ) -> None:
        self.api = api
        self.project_id = project_id
        self.journal = journal
        self.view = view
        self.timeout_s = timeout_s
        self.poll_s = poll_s
        self.hashers = asyncio.Semaphore(_HASHING)
        self.parallel = parallel
        self.senders = asyncio.Semaphore(parallel)
        self.announcing: asyncio.Queue[tuple[Item, asyncio.Future[Opened]]] = asyncio.Queue()
        self.items: dict[str, Item] = {}  # by upload id
        self.listening = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.last_news = 0.0
        self.delivered = 0
        self.silence = 0  # network failures in a row, of whichever files
        self.lost = False  # nothing gets through any more: no use in trying the rest

    async def run(self, items: Sequence[Item]) -> None:
        """Carry every item to its outcome."""
        if not items:
            return
        with _plainly():
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(helper) for helper in (self._listen(), self._poll(), self._announce())]
                # only now announce anything: the stream begins at "now", and what came before is not told
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.listening.wait(), _STREAM_S)
                async with asyncio.TaskGroup() as carriers:
                    for item in items:
                        carriers.create_task(self._carry(item))
                for helper in helpers:
                    helper.cancel()

    # one file's way

    async def _carry(self, item: Item) -> None:
        try:
            try:
                await self._bring(item)
            except FileChangedError:  # somebody is working on it: once more, as what it is now
                item.upload_id, item.upload = "", None
                await self._bring(item)
            await self._settle(item)
        except FileChangedError:
            self._end(item, "failed", text(self.api.lang, "problem.changed"))
        except OSError as error:
            self._end(item, "failed", text(self.api.lang, "problem.unreadable_why", why=error.strerror or ""))
        except NetworkError:
            self._end(item, "failed", text(self.api.lang, "problem.lost"))
        except ClientError as error:
            if _hopeless(error):
                raise
            self._end(item, "failed", explain(self.api.lang, error))

    async def _bring(self, item: Item) -> None:
        """Hash, announce and send it; on return the server has its bytes or has closed it."""
        known = await self._identify(item)
        opened = await self._open(item)
        again = opened.verdict == "conflict" or (item.upload and item.upload.ended and not _settled(item))
        if known and again:  # an earlier push left it in a bad way: this one starts over
            self._name(item)
            known, opened = False, await self._open(item)
        if opened.verdict in ("conflict", "rejected"):
            problem = opened.problem
            why = (problem.detail or problem.title) if problem else opened.verdict
            self._end(item, "failed", why)
        elif known and _settled(item):
            self._end(item, "known", document_id=item.upload.document_id if item.upload else None)
        elif not item.arrived:
            item.put = opened.put
            await self._send(item)

    async def _identify(self, item: Item) -> bool:
        """Give the item its hash and id; True if both are those of an earlier push."""
        self._stage(item, "waiting")
        async with self.hashers:
            self._stage(item, "hashing")
            info = await asyncio.to_thread(item.path.stat)
            entry = self.journal.find(item.path, info.st_size, info.st_mtime_ns, item.kind)
            if entry and not item.file.sha256:
                item.file = Fingerprint(info.st_size, info.st_mtime_ns, entry.sha256)
                item.upload_id = entry.upload_id
                return True
            item.file = await asyncio.to_thread(files.fingerprint, item.path)
            self._name(item)
            return False

    def _name(self, item: Item) -> None:
        item.upload_id, item.upload = new_id(), None
        entry = Entry(item.upload_id, item.file.sha256)
        self.journal.note(item.path, item.file.size, item.file.mtime_ns, item.kind, entry)

    async def _open(self, item: Item) -> Opened:
        self.items[item.upload_id] = item
        self._stage(item, "announcing")
        answer: asyncio.Future[Opened] = self.loop.create_future()
        self.announcing.put_nowait((item, answer))
        opened = await answer
        if opened.upload:
            self._heard(opened.upload)
        return opened

    async def _send(self, item: Item) -> None:
        """Try until the bytes are there, or until nothing has got through for the whole patience.

        A file that failed goes to the back of the queue, so that it never keeps back the others.
        """
        failures, delivered = 0, self.delivered
        while not item.arrived:
            self._stage(item, "queued")
            async with self.senders:
                error = await self._try(item)
                if error is None:
                    self.delivered, self.silence = self.delivered + 1, 0
                    return
                # others getting through shows that the link lives: the count begins anew
                failures = 1 if self.delivered != delivered else failures + 1
                delivered = self.delivered
                if failures >= self.api.patience.failures:
                    raise error
                if isinstance(error, NetworkError):
                    await self._wait_for_link(item, failures)
            if self.lost:
                raise error
            if not isinstance(error, NetworkError):
                self.silence = 0
                await self._pause(item, failures - isinstance(error, UrlRefusedError))
            self._heard(await self._ask(item))  # perhaps only the answer was lost

    async def _wait_for_link(self, item: Item, failures: int) -> None:
        """Pause in place of sending: without a link, the next file would fare no better."""
        self.silence += 1
        rounds = math.ceil(self.silence / self.parallel)
        if rounds >= self.api.patience.failures:
            self.lost = True
        if not self.lost:
            await self._pause(item, max(rounds, failures))

    async def _pause(self, item: Item, failures: int) -> None:
        if failures:
            self._stage(item, "pausing")
            await asyncio.sleep(self.api.patience.pause_s(failures))

    async def _try(self, item: Item) -> ClientError | None:
        """Send the file once; the error if it is worth another try."""
        if self.lost:
            raise NetworkError("lost")
        try:
            put = item.put or await self._url(item)
            if put is None:
                return None
            item.sent = 0
            self._stage(item, "sending")
            await deliver(self.api.storage, put, item.path, item.file, lambda sent: self._sent(item, sent))
        except UrlRefusedError as error:
            item.put = None
            return error
        except NetworkError as error:
            return error
        except StorageError as error:
            if not error.passing:
                raise
            return error
        return None

    async def _url(self, item: Item) -> Put | None:
        """A signed URL; None when the server has the bytes already."""
        try:
            item.put = await self._reaching(self.api.put_for(item.upload_id))
        except ApiError as error:
            if error.code != "upload_closed":
                raise
            return None
        return item.put

    async def _settle(self, item: Item) -> None:
        """Wait for the item's end, as long as there is news of any file."""
        self.last_news = self.loop.time()
        while item.outcome is None:
            upload = item.upload
            if upload is not None and upload.ended:
                await self._conclude(item, upload)
                return
            self._stage(item, "checking")
            left = self.last_news + self.timeout_s - self.loop.time()
            if left <= 0:
                self._end(item, "pending", text(self.api.lang, "problem.pending"))
                return
            item.moved.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await item.moved.wait()

    async def _conclude(self, item: Item, upload: Upload) -> None:
        if upload.reason and not upload.reason_text:  # events carry the code only
            with contextlib.suppress(ClientError):
                upload = await self.api.upload(upload.upload_id)
        reason = upload.reason_text or upload.reason or ""
        self._end(item, upload.state, reason, upload.document_id)

    def _end(self, item: Item, result: str, reason: str = "", document_id: str | None = None) -> None:
        item.outcome = Outcome(item.path, item.file.size, result, reason, item.upload_id, document_id)
        self._stage(item, "done")

    def _stage(self, item: Item, stage: Stage) -> None:
        if item.stage != stage:
            item.stage = stage
            self.view.moved(item)

    def _sent(self, item: Item, sent: int) -> None:
        item.sent = sent
        self.last_news = self.loop.time()
        self.view.moved(item)

    # what serves all of them

    async def _announce(self) -> None:
        while True:
            batch = [await self.announcing.get()]
            await asyncio.sleep(_GATHER_S)
            while len(batch) < _BATCH and not self.announcing.empty():
                batch.append(self.announcing.get_nowait())
            await self._post(batch)

    async def _post(self, batch: list[tuple[Item, asyncio.Future[Opened]]]) -> None:
        """Announce these files; a call refused for one file's sake is split until that one stands alone."""
        uploads = [_declaration(item) for item, _ in batch]
        answers: dict[str, Opened] = {}
        error: ClientError = NetworkError("lost")
        try:
            if not self.lost:
                found = await self._reaching(self.api.open_uploads(self.project_id, uploads))
                answers = {opened.upload_id: opened for opened in found}
        except ApiError as exc:
            if exc.status in (401, 403, 404):
                raise  # the sign-in or the project, so it is the same for every file
            if exc.status in (400, 413, 422) and len(batch) > 1:
                middle = len(batch) // 2
                await self._post(batch[:middle])
                await self._post(batch[middle:])
                return
            error = exc
        except NetworkError as exc:
            error = exc
        for item, answer in batch:
            if answer.done():
                continue  # its carrier was cancelled
            if item.upload_id in answers:
                answer.set_result(answers[item.upload_id])
            else:
                answer.set_exception(error)

    async def _listen(self) -> None:
        """Hear of every change; if there is no stream for us, polling has to do."""

        def link(up: bool) -> None:
            if up:
                self.listening.set()

        try:
            async with contextlib.aclosing(self.api.events(on_link=link)) as frames:
                async for frame in frames:
                    event = event_of(frame)
                    if event and event.upload:
                        self._heard(event.upload)
        except ApiError as error:
            if _hopeless(error):
                raise
            self.listening.set()

    async def _poll(self) -> None:
        """Ask after the files of which nothing was heard for longest: an event may have been lost."""
        while True:
            await asyncio.sleep(self.poll_s)
            waiting = [item for item in self.items.values() if item.stage == "checking"]
            waiting.sort(key=lambda item: item.asked_at)
            for item in waiting[:_POLLING]:
                item.asked_at = self.loop.time()
                try:
                    self._heard(await self.api.upload(item.upload_id))
                except ClientError as error:
                    if _hopeless(error):
                        raise

    async def _ask(self, item: Item) -> Upload:
        return await self._reaching(self.api.upload(item.upload_id))

    async def _reaching(self, call: Awaitable[T]) -> T:
        """Await a call of the api, which has a patience of its own: when that ends, nothing gets through."""
        try:
            return await call
        except NetworkError:
            self.lost = True
            raise

    def _heard(self, upload: Upload) -> None:
        item = self.items.get(upload.upload_id)
        if item is None or item.upload_id != upload.upload_id or not upload.newer_than(item.upload):
            return
        item.upload = upload
        item.asked_at = self.last_news = self.loop.time()
        item.moved.set()
        self.view.moved(item)


def _declaration(item: Item) -> NewUpload:
    return NewUpload(
        upload_id=item.upload_id,
        kind=item.kind,
        name=item.path.name,
        size_bytes=item.file.size,
        content_type=files.content_type_of(item.path),
        sha256=item.file.sha256,
    )


def _settled(item: Item) -> bool:
    return item.upload is not None and item.upload.state in _SETTLED


def _hopeless(error: ClientError) -> bool:
    return isinstance(error, ApiError) and error.status == 401


@contextlib.contextmanager
def _plainly() -> Generator[None]:
    """Raise what went wrong instead of the groups that task groups wrap it in."""
    try:
        yield
    except ExceptionGroup as group:
        first: Exception = group
        while isinstance(first, ExceptionGroup):
            first = first.exceptions[0]
        raise first from None
