"""Plays scenarios, one after the other, with a client that may be any command."""

import asyncio
import contextlib
import hashlib
import os
import secrets
import signal
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import msgspec

from buildpeer.conformance.proxy import Proxy
from buildpeer.conformance.rules import RULES, Seen
from buildpeer.conformance.scenarios import Scenario
from buildpeer.conformance.traffic import Traffic

_ENDS = frozenset(("ready", "duplicate", "quarantined", "unscannable", "mismatched", "failed", "cancelled", "expired"))
_TAIL = 600  # characters of what the client said that are shown when it failed


class SetupError(Exception):
    """The scenarios can't begin: wrong address, sign-in or project."""


class Broken(msgspec.Struct, frozen=True):
    """A rule, or the scenario itself, that was not kept, and what was seen."""

    rule: str
    seen: list[str]


class Verdict(msgspec.Struct, frozen=True):
    """What a scenario came to; `met`: its fault came up at all. Bytes are those of bodies sent to S3."""

    name: str
    sentence: str
    broken: list[Broken]
    met: bool
    seconds: float
    requests: int
    faults: int
    sent_bytes: int
    wasted_bytes: int
    said: str = ""

    @property
    def held(self) -> bool:
        """Whether the client kept the protocol."""
        return not self.broken


class Client(msgspec.Struct, frozen=True):
    """The command to judge, and the environment it gets beside BUILDPEER_API and BUILDPEER_PROJECT.

    `{files}`, `{state}`, `{api}` and `{project}` in its words stand for the folder of files, a folder that survives a
    kill, the API's address and the project's id.
    """

    command: Sequence[str]
    env: Mapping[str, str]
    timeout_s: float = 180.0
    settle_s: float = 60.0


class Account:
    """The API as the client's person sees it, past the proxy."""

    def __init__(self, http: httpx.AsyncClient, project_id: str) -> None:
        self._http = http
        self.project_id = project_id

    @classmethod
    @contextlib.asynccontextmanager
    async def signed_in(cls, url: str, env: Mapping[str, str], project: str | None) -> AsyncGenerator["Account"]:
        """Sign in with BUILDPEER_EMAIL and BUILDPEER_PASSWORD; `project` by id, code or name, else the first.

        Raises SetupError.
        """
        body = {"email": env.get("BUILDPEER_EMAIL", ""), "password": env.get("BUILDPEER_PASSWORD", "")}
        try:
            async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as http:
                answer = (await http.post("/v1/sessions", json=body)).raise_for_status()
                http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
                projects = (await http.get("/v1/projects", params={"limit": 200})).raise_for_status().json()["items"]
                wanted = [p for p in projects if project in (None, p["project_id"], p["code"], p["name"])]
                if not wanted:
                    raise SetupError(f"There is no project {project}")
                yield cls(http, wanted[0]["project_id"])
        except (httpx.HTTPError, ValueError, KeyError) as exc:
            raise SetupError(f"{url}: {exc}. BUILDPEER_EMAIL and BUILDPEER_PASSWORD say who signs in") from exc

    async def uploads(self, hashes: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """The uploads of these contents in any project, by hash; there are few others between now and their making."""
        found: dict[str, list[dict[str, Any]]] = {}
        answer = await self._http.get("/v1/uploads", params={"limit": 200})
        for upload in answer.raise_for_status().json()["items"]:
            if upload["sha256"] in hashes:
                found.setdefault(upload["sha256"], []).append(upload)
        return found


class Play:
    """One scenario with one client: a `Stage`."""

    def __init__(self, scenario: Scenario, client: Client, project_id: str, folder: Path) -> None:
        self.traffic = Traffic()
        self.exit_code: int | None = None
        self.log = folder / "client.log"
        self.hashes: list[tuple[str, ...]] = []
        self.proxy: Proxy
        self._client = client
        self._project_id = project_id
        self._files = folder / "files"
        self._state = folder / "state"
        self._process: asyncio.subprocess.Process | None = None
        self._files.mkdir()
        self._state.mkdir()
        for number, size in enumerate(scenario.files):
            self._make(number, size)

    def _make(self, number: int, size: int) -> None:
        mark, name = (b"%PDF-1.7\n", "plano.pdf") if size > 8 << 20 else (b"\xff\xd8\xff\xe0", "foto.jpg")
        self._last = self._files / f"{number:02d} {secrets.token_hex(4)} {name}"
        content = mark + os.urandom(size - len(mark))
        self._last.write_bytes(content)
        self.hashes.append((hashlib.sha256(content).hexdigest(),))

    async def start(self) -> None:
        """See Stage."""
        words = {
            "files": str(self._files),
            "state": str(self._state),
            "api": self.proxy.url,
            "project": self._project_id,
        }
        command = [_filled(word, words) for word in self._client.command]
        env = {
            **self._client.env,
            "BUILDPEER_API": self.proxy.url,
            "BUILDPEER_PROJECT": self._project_id,
            "XDG_CONFIG_HOME": str(self._state / "config"),
            "XDG_STATE_HOME": str(self._state / "state"),
        }
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    async def finish(self) -> None:
        """See Stage."""
        if self._process is not None:
            self.exit_code = await self._process.wait()

    async def until(self, condition: Callable[[], bool]) -> None:
        """See Stage."""
        assert self._process is not None  # noqa: S101  (only a client that was started is waited for)
        ways = [asyncio.ensure_future(self.traffic.until(condition)), asyncio.ensure_future(self._process.wait())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()

    async def kill(self) -> None:
        """See Stage; fine when it has ended already."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # its own session: the group has its id
            await self._process.wait()

    async def close_api(self, seconds: float) -> None:
        """See Stage."""
        await self.proxy.api.close()
        await asyncio.sleep(seconds)
        await self.proxy.api.open()

    def change_a_file(self) -> None:
        """See Stage."""
        content = self._last.read_bytes() + b"more"
        self._last.write_bytes(content)
        self.hashes[-1] = (*self.hashes[-1], hashlib.sha256(content).hexdigest())


async def play(scenario: Scenario, client: Client, *, url: str, project: str | None) -> Verdict:
    """Play one scenario with fresh files, and judge it. Raises SetupError when the client can't be started."""
    loop = asyncio.get_running_loop()
    with TemporaryDirectory(prefix="conformance-") as folder:
        async with Account.signed_in(url, client.env, project) as account:
            stage = Play(scenario, client, account.project_id, Path(folder))
            began = loop.time()
            async with Proxy(url, stage.traffic, scenario.fault) as stage.proxy:
                try:
                    await _perform(scenario, stage, client.timeout_s)
                except OSError as exc:
                    raise SetupError(f"{client.command[0]}: {exc}") from exc
                finally:
                    await stage.kill()
            uploads = await _settled(account, stage, client.settle_s)
        seen = Seen(stage.traffic, scenario.files, stage.hashes, uploads, stage.exit_code, excused=scenario.excused)
        return _verdict(scenario, seen, loop.time() - began, stage.log.read_text(errors="replace"))


async def _perform(scenario: Scenario, stage: Play, timeout_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await scenario.play(stage)


async def _settled(account: Account, stage: Play, within_s: float) -> dict[str, list[dict[str, Any]]]:
    """The uploads once all have ended, or as they are when the time is over."""
    hashes = [sha256 for each in stage.hashes for sha256 in each]
    ends = asyncio.get_running_loop().time() + within_s
    while True:
        uploads = await account.uploads(hashes)
        arriving = any(upload["state"] not in _ENDS for each in uploads.values() for upload in each)
        if not arriving or stage.exit_code != 0 or asyncio.get_running_loop().time() > ends:
            return uploads
        await asyncio.sleep(0.2)


def _verdict(scenario: Scenario, seen: Seen, seconds: float, said: str) -> Verdict:
    broken = [Broken(rule.name, found) for rule in RULES if (found := list(rule.broken_by(seen)))]
    if found := list(scenario.judge(seen.traffic)):
        broken.append(Broken(scenario.name, found))
    faults = sum(bool(x.fault) for x in seen.traffic.exchanges)
    met = scenario.faultless or faults > 0
    if not met and not scenario.optional:
        broken.append(Broken(scenario.name, ["what it is about never came up"]))
    return Verdict(
        name=scenario.name,
        sentence=scenario.sentence,
        broken=broken,
        met=met,
        seconds=round(seconds, 1),
        requests=len(seen.traffic.exchanges),
        faults=faults,
        sent_bytes=seen.sent,
        wasted_bytes=seen.wasted,
        said=said[-_TAIL:] if broken else "",
    )


def _filled(word: str, words: Mapping[str, str]) -> str:
    for name, value in words.items():
        word = word.replace(f"{{{name}}}", value)
    return word
