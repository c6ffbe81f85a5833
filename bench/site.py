"""A whole BuildPeer of its own for a bench, and what its processes cost. Ends what it started, and nothing else."""

import asyncio
import contextlib
import json
import signal
import sys
import threading
from collections.abc import Coroutine, Generator, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import asyncpg
import httpx
import psutil
from tests.local.services import running_services

from buildpeer.local import demo
from buildpeer.local.processes import Child, Registry, start, wait_until
from buildpeer.local.stack import Program, Stack, command_line
from buildpeer.platform import migrate

T = TypeVar("T")
SAMPLE_S = 0.5


def say(text: str) -> None:
    """Tell the people who wait; stdout is for the result."""
    print(text, file=sys.stderr, flush=True)


def stop_politely() -> None:
    """Make SIGTERM end the bench as Ctrl-C does: with everything stopped and removed."""

    def end(_number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)


class Site:
    """Services that are ready, a migrated database with the demo tenant, and our processes as they are started."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.admin_url = stack.env("admin")["BUILDPEER_ADMIN_DATABASE_URL"]
        self.api = stack.api_url
        self._registry = Registry(stack.config.data_dir / "bench-processes.json")
        self._children: dict[str, Child] = {}

    def start(self, name: Program, settings: Mapping[str, str] | None = None) -> None:
        """Start the api, the worker or the functions, with further settings; the api answers when this returns."""
        env, log = self.stack.env(name) | dict(settings or {}), self.stack.config.data_dir / "logs" / f"{name}.log"
        self._children[name] = start(name, command_line(name), env=env, log=log, registry=self._registry)
        if name == "api":
            wait_until(self._is_up, what="The api", timeout_s=30)

    def _is_up(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.api}/healthz", trust_env=False).status_code == 200
        return False

    def stop(self) -> None:
        """Stop our processes, by their ids."""
        for child in self._children.values():
            child.ask_to_stop()
        for child in self._children.values():
            child.end(timeout_s=10)

    def pids(self) -> dict[str, int]:
        """Who runs: ours and the services, by name."""
        services = json.loads((self.stack.config.data_dir / "processes.json").read_text())
        return {each["name"]: each["pid"] for each in services} | {
            name: child.pid for name, child in self._children.items()
        }

    def query(self, sql: str, *args: Any) -> list[Any]:
        """Ask Postgres as its administrator."""

        async def ask() -> list[Any]:
            connection = await asyncpg.connect(self.admin_url)
            try:
                return await connection.fetch(sql, *args)
            finally:
                await connection.close()

        return run(ask())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end."""
    return asyncio.run(work)


@contextlib.contextmanager
def running_site(folder: Path) -> Generator[Site]:
    """Services and database under `folder`; stopped and removed at the end."""
    with running_services(folder) as stack:
        site = Site(stack)
        with contextlib.redirect_stdout(sys.stderr):  # what the migrations log
            run(migrate.migrate(site.admin_url, migrate.read()))
        stack.set_role_passwords()
        run(demo.seed(site.admin_url, password=stack.secrets.demo_password))
        try:
            yield site
        finally:
            site.stop()


class Costs:
    """CPU seconds and peak memory of processes with all they start, while the block lasts; from /proc.

    Memory is the proportional set size (shared pages are counted once), looked at twice a second.
    """

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._before = {name: _cpu_s(pid) for name, pid in pids.items()}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.peak_mb = dict.fromkeys(pids, 0.0)
        self.cpu_s = dict.fromkeys(pids, 0.0)

    def __enter__(self) -> "Costs":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_S):
            self._look()

    def _look(self) -> None:
        for name, pid in self._pids.items():
            self.peak_mb[name] = max(self.peak_mb[name], round(_memory_mb(pid), 1))
            self.cpu_s[name] = max(self.cpu_s[name], round(_cpu_s(pid) - self._before[name], 2))


def _tree(pid: int) -> Iterator[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        yield root
        yield from root.children(recursive=True)


def _cpu_s(pid: int) -> float:
    """Of the living, and of the dead whom their parents have collected."""
    total = 0.0
    for process in _tree(pid):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _memory_mb(pid: int) -> float:
    total = 0
    for process in _tree(pid):
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / 1e6
