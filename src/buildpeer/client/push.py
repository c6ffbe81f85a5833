"""Sends files and stays with them until each has come to its end.

Every file goes its own way, in `_Push._carry`: hash it, announce it, send it, wait for its end. They meet in
three places only: announcements are made in batches, a few files are sent at a time, and one stream of events
(with polling as the net below it) tells all of them what became of them.
"""

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from buildpeer.client import files
from buildpeer.client.api import Api
from buildpeer.client.errors import ApiError, ClientError, NetworkError
from buildpeer.client.files import FileChangedError, Fingerprint, Kind
from buildpeer.client.items import Board, Item, Outcome, Silent, View
from buildpeer.client.journal import Entry, Journal, new_id
from buildpeer.client.learnt import Learnt
from buildpeer.client.messages import explain, text
from buildpeer.client.network import fingerprint
from buildpeer.client.sending import Sender, plainly
from buildpeer.client.session import address, state_dir
from buildpeer.client.shapes import NewUpload, Opened, Upload, event_of

_SETTLED = frozenset(("ready", "duplicate"))  # ends that a later push leaves alone; after others it tries anew
_BATCH = 200
_GATHER_S = 0.1  # a batch waits this long for more files to be hashed
_HASHING = 2  # files hashed at a time: more only makes the disk seek
_POLLING = 20  # files asked for in one round of polling
_SOON_S = 1.0  # what the stream may have missed is asked for as soon as this
_LOOK_S = 10.0  # after this, S3's own word of a file that went whole is taken for lost


async def push(
    api: Api,
    paths: Sequence[Path],
    project_id: str,
    *,
    kind: Kind | None = None,
    parallel: int = 8,
    timeout_s: float = 300.0,
    poll_s: float = 5.0,
    view: View | None = None,
    folder: Path | None = None,
) -> list[Outcome]:
    """Send files and folders to a project; one outcome per file, in the order in which they were found.

    What goes wrong with one file is its outcome and never keeps back another. `kind` overrides the guess by
    name; `parallel` is the most connections that may send; `timeout_s` is how long to wait without any news once
    everything is sent; `folder` holds the journal
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
    scope = scope_of(api, project_id)
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


def scope_of(api: Api, project_id: str = "") -> str:
    """What the journal calls a person's files in a project; without one, how all of these begin."""
    return f"{address(api.base_url)} {api.session.person.person_id} {project_id}"


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
        self.board = Board(view)
        self.sender = Sender(api, self.board, Learnt(journal, parallel, lambda: fingerprint(api.base_url)))
        self.timeout_s = timeout_s
        self.poll_s = poll_s
        self.hashers = asyncio.Semaphore(_HASHING)
        self.announcing: asyncio.Queue[tuple[Item, asyncio.Future[Opened]]] = asyncio.Queue()
        self.hashed = asyncio.Event()  # nothing is being hashed
        self.hashing = 0
        self.missed: set[Item] = set()  # announced before the stream stood, and nothing was heard of it since
        self.gap = asyncio.Event()

    async def run(self, items: Sequence[Item]) -> None:
        """Carry every item to its outcome."""
        if not items:
            return
        with plainly():
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(helper) for helper in self._helpers()]
                async with self.sender.at_work(), asyncio.TaskGroup() as carriers:
                    self.sender.warm([item.file.size for item in items])
                    for item in items:
                        carriers.create_task(self._carry(item))
                for helper in helpers:
                    helper.cancel()

    def _helpers(self) -> list[Coroutine[Any, Any, None]]:
        return [self._listen(), self._catch_up(), self._poll(), self._announce()]

    # one file's way

    async def _carry(self, item: Item) -> None:
        try:
            try:
                await self._bring(item)
            except FileChangedError:  # somebody is working on it: once more, as what it is now
                await self._give_up(item)
                item.upload_id, item.upload = "", None
                await self._bring(item)
            while not await self._settle(item):
                await self.sender.send(item, Opened(item.upload_id, "known", item.upload))
        except FileChangedError:
            await self._give_up(item)
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
            if item.upload and item.upload.state == "mismatched":
                raise FileChangedError(item.path)  # the journal's hash is not that of these bytes
            self._name(item)
            known, opened = False, await self._open(item)
        if opened.verdict in ("conflict", "rejected"):
            problem = opened.problem
            why = (problem.detail or problem.title) if problem else opened.verdict
            self._end(item, "failed", why)
        elif known and _settled(item):
            self._end(item, "known", document_id=item.upload.document_id if item.upload else None)
        elif not item.arrived:
            await self.sender.send(item, opened)

    async def _identify(self, item: Item) -> bool:
        """Give the item its hash and id; True if both are those of an earlier push."""
        self.board.stage(item, "waiting")
        with self._hashing():
            async with self.hashers:
                self.board.stage(item, "hashing")
                info = await asyncio.to_thread(item.path.stat)
                entry = self.journal.find(item.path, info.st_size, info.st_mtime_ns, item.kind)
                if entry and not item.file.sha256:
                    item.file = Fingerprint(info.st_size, info.st_mtime_ns, entry.sha256)
                    item.upload_id = entry.upload_id
                    return True
                item.file = await asyncio.to_thread(files.fingerprint, item.path)
                self._name(item)
                return False

    @contextlib.contextmanager
    def _hashing(self) -> Generator[None]:
        self.hashing += 1
        self.hashed.clear()
        try:
            yield
        finally:
            self.hashing -= 1
            if not self.hashing:
                self.hashed.set()

    def _name(self, item: Item) -> None:
        item.upload_id, item.upload = new_id(), None
        entry = Entry(item.upload_id, item.file.sha256)
        self.journal.note(item.path, item.file.size, item.file.mtime_ns, item.kind, entry)

    async def _open(self, item: Item) -> Opened:
        self.board.announced(item)
        self.board.stage(item, "announcing")
        answer: asyncio.Future[Opened] = asyncio.get_running_loop().create_future()
        self.announcing.put_nowait((item, answer))
        opened = await answer
        if opened.upload:
            self.board.heard(opened.upload)
        return opened

    async def _give_up(self, item: Item) -> None:
        """Nobody will send what the upload declares: let the server forget it. Else it expires by itself."""
        if item.upload and not item.arrived and not self.sender.lost:
            try:
                await self.sender.reaching(self.api.cancel(item.upload_id))
            except ClientError as error:
                if _hopeless(error):
                    raise

    async def _settle(self, item: Item) -> bool:
        """Wait for the item's end, as long as there is news of any file; False when S3 has lost bytes of it."""
        self.board.news_at = time.monotonic()
        while item.outcome is None:
            upload = item.upload
            if upload is not None and upload.ended:
                await self._conclude(item, upload)
                return True
            if item.reopened:
                item.reopened = False
                return False
            if item.stage != "checking":
                item.checking_at = time.monotonic()
            self.board.stage(item, "checking")
            left = self.board.news_at + self.timeout_s - time.monotonic()
            if left <= 0:
                self._end(item, "pending", text(self.api.lang, "problem.pending"))
                return True
            item.moved.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await item.moved.wait()
        return True

    async def _conclude(self, item: Item, upload: Upload) -> None:
        if upload.reason and not upload.reason_text:  # events carry the code only
            with contextlib.suppress(ClientError):
                upload = await self.api.upload(upload.upload_id)
        reason = upload.reason_text or upload.reason or ""
        self._end(item, upload.state, reason, upload.document_id)

    def _end(self, item: Item, result: str, reason: str = "", document_id: str | None = None) -> None:
        item.outcome = Outcome(item.path, item.file.size, result, reason, item.upload_id, document_id)
        self.board.stage(item, "done")

    # what serves all of them

    async def _announce(self) -> None:
        while True:
            batch = [await self.announcing.get()]
            with contextlib.suppress(TimeoutError):  # more may be hashed in a moment
                async with asyncio.timeout(_GATHER_S):
                    await self.hashed.wait()
            while len(batch) < _BATCH and not self.announcing.empty():
                batch.append(self.announcing.get_nowait())
            await self._post(batch)

    async def _post(self, batch: list[tuple[Item, asyncio.Future[Opened]]]) -> None:
        """Announce these files; a call refused for one file's sake is split until that one stands alone."""
        uploads = [_declaration(item) for item, _ in batch]
        answers: dict[str, Opened] = {}
        error: ClientError = NetworkError("lost")
        try:
            if not self.sender.lost:
                found = await self.sender.open(self.project_id, uploads)
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
        placed = False

        def link(up: bool) -> None:
            if up and not placed:  # it begins at "now", and doesn't tell what came before
                self.missed = set(self.board.unfinished())
                self.gap.set()

        try:
            async with contextlib.aclosing(self.api.events(on_link=link)) as frames:
                async for frame in frames:
                    placed = True
                    event = event_of(frame)
                    if event and event.upload:
                        self.missed -= {item for item in self.missed if item.upload_id == event.upload.upload_id}
                        self.board.heard(event.upload)
        except ApiError as error:
            if _hopeless(error):
                raise

    async def _catch_up(self) -> None:
        """Ask once after each file, when it has been sent, whose news may have come before the stream stood."""
        while True:
            await self.gap.wait()
            await asyncio.sleep(_SOON_S)
            for item in [item for item in self.missed if item.stage == "checking"]:
                self.missed.discard(item)
                await self._ask_after(item)
            self.missed = {item for item in self.missed if item.outcome is None}
            if not self.missed:
                self.gap.clear()

    async def _poll(self) -> None:
        """Ask after the files of which nothing was heard for longest: an event may have been lost."""
        while True:
            await asyncio.sleep(self.poll_s)
            waiting = sorted(self.board.at("checking"), key=lambda item: item.asked_at)
            for item in waiting[:_POLLING]:
                await self._ask_after(item)

    async def _ask_after(self, item: Item) -> None:
        item.asked_at = time.monotonic()
        lost = item.transfer.sent_whole and not item.arrived and item.asked_at - item.checking_at >= _LOOK_S
        try:
            # completion has the server look at S3 at once, though no event came from there
            self.board.heard(await (self.api.complete if lost else self.api.upload)(item.upload_id))
        except ClientError as error:
            if _hopeless(error):
                raise


def _declaration(item: Item) -> NewUpload:
    return NewUpload(
        upload_id=item.upload_id,
        kind=item.kind,
        name=item.path.name,
        size_bytes=item.file.size,
        content_type=files.content_type_of(item.path),
        sha256=item.file.sha256,
        captured_at=files.written_at(item.file, now=datetime.now(UTC)) if item.kind == "photo" else None,
    )


def _settled(item: Item) -> bool:
    return item.upload is not None and item.upload.state in _SETTLED


def _hopeless(error: ClientError) -> bool:
    return isinstance(error, ApiError) and error.status == 401
