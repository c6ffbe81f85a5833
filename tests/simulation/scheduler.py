"""One seeded scheduler: everybody stops before each thing they do to the world, and one of them may go on.

Processes are tasks and threads of this one. Each call of AWS and each statement of SQL is a gate. The dice say whose
opens next and what happens there: it is done, it fails, or the process dies, before it or after it was done and before
anybody has heard of it. What one process does between two gates nobody can see, so this is every interleaving there is.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar, copy_context
from typing import Any

import asyncpg
from tests.simulation.fakes import Pages, refusal

from buildpeer.processing.children import ChildCrashedError

BLOCKED_AFTER_S = 0.004
END_S = 5.0


class Crashed(BaseException):
    """The process has ended here."""


class ChildDied(BaseException):
    """Only the child that a function runs in has."""


class Process:
    """One life of a process; who dies is started anew under the same name."""

    def __init__(self, name: str) -> None:
        self.name, self.alive = name, True


_running: ContextVar[Process] = ContextVar("process")
_flow: ContextVar["Flow"] = ContextVar("flow")


class Flow:
    """Who does something, named alike in every replay: whose child they are, and the how manieth."""

    def __init__(self, name: tuple[int, ...] = ()) -> None:
        self.name, self._children = name, 0

    def child(self) -> "Flow":
        self._children += 1
        return Flow((*self.name, self._children))


class Gate:
    """Somebody who waits to do something; without `work` they do it themselves."""

    def __init__(
        self,
        process: Process,
        label: str,
        opened: Any,
        work: Callable[[], Any] | None,
        *,
        about: int = -1,
        in_thread: bool = False,
    ) -> None:
        self.process, self.label, self.opened, self.work = process, label, opened, work
        self.place = (_flow.get().name, about, label)
        self.in_thread = in_thread


class Statement:
    """What Postgres does for somebody right now; `waits` once it was seen to wait for a lock."""

    def __init__(self, pid: int) -> None:
        self.pid, self.waits = pid, False


class Scheduler:
    """Lets one go on at a time. `calm`: nobody waits and nothing fails any more."""

    def __init__(self, dice: random.Random, observer: asyncpg.Connection, faults: float) -> None:
        self.dice, self._observer, self._faults = dice, observer, faults
        self.calm = False
        self.loop = asyncio.get_running_loop()
        self.gates: list[Gate] = []
        self.trace: list[str] = []
        self.writes = 0  # committed
        self._threads = 0
        self._statements: list[Statement] = []  # under way, the latest last
        self._tasks: set[asyncio.Task[Any]] = set()
        self._over = False
        self.transactions = 0
        self._last: Process | None = None
        self._root = Flow()
        self.names: list[str] = []  # by which to tell those apart who do the same at once
        self._moved = asyncio.Event()

    # -- who runs ---------------------------------------------------------------------------------------------------

    def start(self, process: Process, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine as a part of a process."""
        context = copy_context()
        context.run(_running.set, process)
        context.run(_flow.set, _flow.get(self._root).child())
        task = self.loop.create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def in_thread(self, work: Callable[[], Any]) -> Any:
        """Run what blocks, in a thread of the current process."""
        self._threads += 1
        try:
            return await asyncio.to_thread(work)
        finally:
            self._threads -= 1
            self._moved.set()

    def kill(self, process: Process) -> None:
        """End a process wherever it stands."""
        process.alive = False
        for gate in [gate for gate in self.gates if gate.process is process]:
            self._open(gate, Crashed())

    async def end(self) -> bool:
        """Let nobody go on, wherever they stand; False if somebody was given up, who did not end within `END_S`."""
        self._over = True
        for gate in list(self.gates):
            self._open(gate, Crashed())
        if not self._tasks:
            return True
        ended, others = await asyncio.wait(self._tasks, timeout=END_S)
        for task in others:
            task.cancel()
        for task in ended:
            _ = task.cancelled() or task.exception()  # which nobody else will look at
        return not others

    def standing(self) -> str:
        """Where everybody is, for whoever wonders what a life waits for."""
        gates = [f"{gate.process.name}: {gate.label}" for gate in self.gates]
        backends = [f"{each.pid}{' (waits)' if each.waits else ''}" for each in self._statements]
        return f"at gates: {gates}; in Postgres: {backends}; in threads: {self._threads}"

    async def settle(self) -> None:
        """Return when everybody waits: at a gate, or for a lock that somebody at a gate holds."""
        while True:
            while self.loop._ready:  # type: ignore[attr-defined]
                await asyncio.sleep(0)
            if not self._threads and all(statement.waits for statement in self._statements):
                if not self._statements or not await self._look_for_locks():
                    return
                continue
            self._moved.clear()
            try:
                async with asyncio.timeout(BLOCKED_AFTER_S if self._statements else None):
                    await self._moved.wait()
            except TimeoutError:
                await self._look_for_locks()

    async def _look_for_locks(self) -> bool:
        """Whether any statement under way does not wait for a lock.

        One at a time may wait: of two, Postgres would let either go on first, and no life would go the same way twice.
        The latest is told that its time is up, as it is after `lock_timeout`.
        """
        seen = list(self._statements)
        waiting = await self._observer.fetch(
            "select distinct pid from pg_locks where not granted and pid = any ($1)", [each.pid for each in seen]
        )
        blocked = {row["pid"] for row in waiting}
        for statement in seen:  # others that have begun meanwhile, of the same backends perhaps, were not asked about
            statement.waits = statement.pid in blocked
        if not all(statement.waits for statement in self._statements):
            return True
        if len(self._statements) < 2:
            return False
        # Only while nobody moves, and only one: a cancellation that comes too late would hit what comes next.
        latest = self._statements[-1]
        latest.waits = False
        await self._observer.execute("select pg_cancel_backend($1)", latest.pid)
        return True

    def step(self) -> None:
        """Open one gate; whoever holds a transaction open is likelier to go on."""
        self.gates.sort(key=lambda gate: gate.place)  # whom Postgres lets go on first is not ours to say
        mine = [gate for gate in self.gates if gate.process is self._last]
        among = mine if mine and self.transactions and self.dice.random() < 0.6 else self.gates
        gate = self.dice.choice(among)
        self._last = gate.process
        fate = self._fate(gate)
        self.trace.append(f"{gate.process.name}: {gate.label}{fate and f' [{fate}]'}")
        if fate == "crash before":
            self.kill(gate.process)
        elif fate == "child dies":
            self._open(gate, ChildDied())
        elif fate == "fails":
            self._open(gate, _failure(gate))
        elif gate.work is None:
            self._open(gate, fate)
        else:
            done = _outcome(gate)
            if fate == "crash after":
                self.kill(gate.process)
            elif fate == "answer lost":
                self._open(gate, _failure(gate))
            else:
                self._open(gate, done)

    def _fate(self, gate: Gate) -> str:
        if self.dice.random() >= self._faults:
            return ""
        fates = ["crash before", "crash after", "fails"]
        if gate.work is not None:
            fates += ["answer lost", "fails"]
            if gate.process.name == "functions" and "sqs" not in gate.label:
                fates += ["child dies"] * 2
        return self.dice.choice(fates)

    def let_go_on(self) -> None:
        """Open the first gate that there is; the dead learn that they are."""
        gate = min(self.gates, key=lambda gate: gate.place)
        self._open(gate, _outcome(gate) if gate.process.alive else Crashed())

    def _arrive(self, gate: Gate) -> None:
        """Wait for one's turn; the dead don't, nor does anybody when it is calm."""
        self.gates.append(gate)
        if gate.in_thread:
            self._threads -= 1
            self._moved.set()
        if self._over or not gate.process.alive:
            self._open(gate, Crashed())
        elif self.calm:
            self._open(gate, _outcome(gate))

    def _open(self, gate: Gate, result: Any) -> None:
        self.gates.remove(gate)
        if gate.in_thread:
            self._threads += 1
        if gate.opened.done():  # whoever waited was cancelled
            return
        if isinstance(result, BaseException):
            gate.opened.set_exception(result)
        else:
            gate.opened.set_result(result)

    # -- gates ------------------------------------------------------------------------------------------------------

    def about(self, *words: Any) -> int:
        """Which of the names occurs."""
        text = str(words)
        return next((number for number, name in enumerate(self.names) if name in text), -1)

    async def gate(self, label: str, *, about: int = -1) -> Callable[[], None]:
        """Wait for one's turn; gives what to call once it is done. Raises Crashed."""
        process = _running.get()
        opened: asyncio.Future[str] = self.loop.create_future()
        self._arrive(Gate(process, label, opened, None, about=about))
        fate = await opened

        def done() -> None:
            if fate == "crash after":
                self.kill(process)
            if self._over or not process.alive:
                raise Crashed

        return done

    def call(self, label: str, work: Callable[[], Any]) -> Any:
        """Do something in one's turn, from a thread of a process. Raises Crashed."""
        opened: Future[Any] = Future()
        # in the loop's thread, where nobody dies and no calm begins between a look at them and the wait
        self.loop.call_soon_threadsafe(self._arrive, Gate(_running.get(), label, opened, work, in_thread=True))
        return opened.result()

    def submit(self, label: str, work: Callable[[], Any], *, about: int = -1) -> Future[Any]:
        """Have something done in one's turn, and wait for it elsewhere."""
        opened: Future[Any] = Future()
        self._arrive(Gate(_running.get(), label, opened, work, about=about))
        return opened

    @contextmanager
    def statement(self, pid: int) -> Iterator[None]:
        """While Postgres works for somebody."""
        statement = Statement(pid)
        self._statements.append(statement)
        try:
            yield
        finally:
            self._statements.remove(statement)
            self._moved.set()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """While somebody may hold locks."""
        self.transactions += 1
        try:
            yield
        finally:
            self.transactions -= 1


def _outcome(gate: Gate) -> Any:
    """What comes of that which somebody waits to do; an error is given back."""
    if gate.work is None:
        return ""
    try:
        return gate.work()
    except BaseException as exc:
        return exc


def _failure(gate: Gate) -> BaseException:
    return OSError("Postgres is away") if gate.work is None else refusal("InternalError", 500, gate.label)


class Gated:
    """A boto3 client for threads, each of whose calls is a gate."""

    def __init__(self, scheduler: Scheduler, service: str, client: Any) -> None:
        self._scheduler, self._service, self._client = scheduler, service, client

    def get_paginator(self, operation: str) -> Pages:
        return Pages(getattr(self, operation))

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        method = getattr(self._client, operation)

        def call(**params: Any) -> Any:
            return self._scheduler.call(f"{self._service}.{operation}", lambda: method(**params))

        return call


class Turns(Executor):
    """Takes the place of the threads in which Storage and Queues call boto3."""

    def __init__(self, scheduler: Scheduler, service: str) -> None:
        self._scheduler, self._service = scheduler, service

    def submit(self, fn: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
        code = getattr(fn, "__closure__", None) or ()
        said = [each.cell_contents for each in code]
        operation = next((word for word in said if isinstance(word, str)), "call")
        about = self._scheduler.about(*said)
        return self._scheduler.submit(f"{self._service}.{operation}", lambda: fn(*args), about=about)


class Pool:
    """asyncpg's pool, of connections that stop at each statement."""

    def __init__(self, scheduler: Scheduler, free: list[asyncpg.Connection]) -> None:
        self._scheduler, self._free = scheduler, free

    @asynccontextmanager
    async def acquire(self, *, timeout: float) -> AsyncIterator["Connection"]:
        connection = self._free.pop()
        try:
            yield Connection(self._scheduler, connection)
        finally:
            self._free.append(connection)


class Connection:
    """As much of a connection as `platform.db` uses."""

    def __init__(self, scheduler: Scheduler, real: asyncpg.Connection) -> None:
        self._scheduler, self._real, self._pid = scheduler, real, real.get_server_pid()
        self._about = -1
        self._writes = False

    async def fetch(self, sql: str, *args: Any) -> Any:
        return await self._run(sql, self._real.fetch, *args)

    async def fetchrow(self, sql: str, *args: Any) -> Any:
        return await self._run(sql, self._real.fetchrow, *args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        return await self._run(sql, self._real.fetchval, *args)

    async def execute(self, sql: str, *args: Any) -> Any:
        return await self._run(sql, self._real.execute, *args)

    async def _run(self, sql: str, method: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        self._about = max(self._about, self._scheduler.about(*args))
        words = sql.split()
        # of the functions that a select calls, this one alone changes the state of an upload
        self._writes |= words[0] != "select" or "app.link_known" in sql
        done = await self._scheduler.gate(" ".join(words[:4]), about=self._about)
        with self._scheduler.statement(self._pid):
            found = await method(sql, *args)
        self._scheduler.writes += self._writes and not self._real.is_in_transaction()
        done()
        return found

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        real = self._real.transaction()
        with self._scheduler.statement(self._pid):
            await real.start()
        with self._scheduler.transaction():
            try:
                yield
                done = await self._scheduler.gate("commit", about=self._about)
            except BaseException:
                with self._scheduler.statement(self._pid):
                    await real.rollback()
                raise
            with self._scheduler.statement(self._pid):
                await real.commit()
        self._scheduler.writes += self._writes
        done()


def child(work: Callable[[], Any]) -> Any:
    """Run a function's handler as in a child process, of whose death the runner hears."""
    try:
        return work()
    except ChildDied as exc:
        raise ChildCrashedError("it died") from exc
