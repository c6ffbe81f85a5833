"""A push of many files while everything is killed: client, api, worker, functions, S3, Postgres, Valkey.

`make test-chaos` is short enough for every change, `make test-long` is ten minutes of it. The seed is printed first;
BUILDPEER_CHAOS_SEED=<seed> draws the same files and the same kills again.
"""

import asyncio
import collections
import contextlib
import hashlib
import os
import secrets
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from tests.chaos.plan import Kill, draw
from tests.chaos.samples import make_folder
from tests.conftest import eventually
from tests.journeys.site import FIELD, Site

from buildpeer import wiring
from buildpeer.local.aws import Ministack
from buildpeer.local.processes import Registry
from buildpeer.local.stack import Secrets, default_ministack_python

PROGRESS = """
select count(*) filter (where size_bytes > 8388608 and state <> 'requested') as receiving,
  count(*) filter (where version_id is not null) as arrived, count(*) filter (where verdict is not null) as scanned,
  count(*) filter (where state = 'ready') as ready, count(*) filter (where state = 'receiving') as in_parts
from uploads
"""
OPENINGS = """
select object_id, count(*) as times from audit.entries where object_type = 'uploads' and action = 'insert' group by 1
"""
PARTS_LOST = """
select count(*) from audit.entries where object_type = 'uploads' and action = 'update'
  and changes -> 'multipart_id' ->> 0 is not null and changes -> 'multipart_id' ->> 1 is null
"""
TOLD_READY = """
select body -> 'upload' ->> 'upload_id' as upload_id, count(*) as times from event_log
where type = 'upload.changed' and body -> 'upload' ->> 'state' = 'ready' group by 1
"""
PUSHES = 40  # more starts than this, and the client gives up where it should go on


class Storm:
    """One push, started again until all is there, and the kills that come due as it gets on."""

    def __init__(self, site: Site, folder: Path, kills: list[Kill], admin_url: str) -> None:
        self.site = site
        self.folder = folder
        self.left = kills
        self.pushes = 0
        self._admin_url = admin_url
        self._killed: dict[str, int] = {}
        self._began = time.monotonic()

    async def rage(self) -> None:
        """Return when nothing is left to kill and a push has said that all files are there."""
        async with contextlib.AsyncExitStack() as held:
            pushing = held.enter_context(self._push())
            while True:
                progress = await self._progress()
                for kill in [kill for kill in self.left if progress and self._due(kill, progress)]:
                    if self._strike(kill, pushing):
                        self.left.remove(kill)
                        self.say(f"killed {kill.target} at {kill.count} {kill.milestone}; {progress}")
                code = pushing.poll()
                if code == 0 and not self.left:
                    return
                if code is not None:
                    self.say(f"push {self.pushes} ended with {code}")
                    assert self.pushes < PUSHES, self.said()
                    pushing = held.enter_context(self._push())
                await asyncio.sleep(0.01)

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {text}", flush=True)

    def said(self) -> str:
        """What the last push wrote."""
        return self._log().read_text()

    def _push(self) -> "subprocess.Popen[str]":
        self.pushes += 1
        with self._log().open("w") as log:
            return self.site.command(FIELD, "push", str(self.folder), "--project", "TAL", "--lang", "en", stdout=log)

    def _log(self) -> Path:
        return self.site.data.parent / f"push-{self.pushes}.log"

    async def _progress(self) -> dict[str, int] | None:
        """How far the files are; None while Postgres is away."""
        try:
            async with asking(self._admin_url) as admin:
                return dict(await admin.fetchrow(PROGRESS))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            return None

    def _due(self, kill: Kill, progress: dict[str, int]) -> bool:
        if kill.milestone == "receiving" and not progress["in_parts"]:
            return False  # its moment is while S3 has parts in memory
        return progress[kill.milestone] >= kill.count

    def _strike(self, kill: Kill, pushing: "subprocess.Popen[str]") -> bool:
        """kill -9, once the one killed before has been replaced; False if that has yet to happen."""
        if kill.target == "client":
            alive = pushing.poll() is None
            pushing.kill()
            return alive
        try:
            pid = self.site.pid_of(kill.target)
        except LookupError:
            return False
        if pid == self._killed.get(kill.target):
            return False
        self._killed[kill.target] = self.site.kill(kill.target)
        return True


@contextlib.asynccontextmanager
async def asking(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url, timeout=2, command_timeout=5)
    try:
        yield connection
    finally:
        connection.terminate()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "data")
    try:
        site.start()
        yield site
    finally:
        site.stop()


def admin_url(site: Site) -> str:
    kept = msgspec.json.decode((site.data / "secrets.json").read_bytes(), type=Secrets)
    return f"postgresql://postgres:{kept.postgres_password}@127.0.0.1:{site.ports.postgres}/buildpeer"


def queues_of(site: Site) -> dict[str, dict[str, int]]:
    """How many messages each queue and dead-letter queue holds: waiting, and lent to somebody."""
    kept = msgspec.json.decode((site.data / "secrets.json").read_bytes(), type=Secrets)
    sqs = Ministack(
        home=site.data / "ministack",
        python=default_ministack_python(),
        port=site.ports.s3,
        root_secret=kept.ministack_root_secret,
        admin_token=kept.admin_token,
        log=site.data / "logs" / "ministack.log",
        registry=Registry(site.data / "none.json"),
    ).client("sqs")
    found: dict[str, dict[str, int]] = {}
    for queue in wiring.topology(uploads_bucket="buildpeer-uploads", verdicts="scan").queues:
        for name in (queue.name, queue.dead_letters):
            url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
            told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            found[name] = {
                "waiting": int(told["ApproximateNumberOfMessages"]) + int(told["ApproximateNumberOfMessagesDelayed"]),
                "lent": int(told["ApproximateNumberOfMessagesNotVisible"]),
            }
    return found


def downloaded(site: Site) -> collections.Counter[tuple[str, str]]:
    """Name and SHA-256 of each document's original, as a person downloads it."""
    found: collections.Counter[tuple[str, str]] = collections.Counter()
    with site.signed_in(FIELD) as client:
        params: dict[str, Any] = {"limit": 200}
        while True:
            page = client.get("/v1/documents", params=params).json()
            for item in page["items"]:
                where = f"/v1/documents/{item['document_id']}/downloads"
                signed = client.post(where, json={"rendition": "original"}).json()
                content = httpx.get(signed["url"]).raise_for_status().content
                found[item["name"], hashlib.sha256(content).hexdigest()] += 1
            if not page["next_cursor"]:
                return found
            params["cursor"] = page["next_cursor"]


@pytest.mark.parametrize(
    ("files", "plans", "rounds", "drains_within_s"),
    [
        pytest.param(60, 5, 2, 30, id="short", marks=pytest.mark.chaos),
        pytest.param(500, 12, 6, 420, id="long", marks=pytest.mark.long),
    ],
)
async def test_every_file_is_ready_once_and_byte_for_byte_whatever_is_killed_on_the_way(
    site: Site, tmp_path: Path, files: int, plans: int, rounds: int, drains_within_s: int
) -> None:
    seed = int(os.environ.get("BUILDPEER_CHAOS_SEED") or secrets.randbelow(2**32))
    print(f"\nBUILDPEER_CHAOS_SEED={seed}", flush=True)
    paths = make_folder(tmp_path / "obra", files, plans=plans, seed=seed)
    sent = collections.Counter((path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths)
    storm = Storm(site, tmp_path / "obra", draw(seed, files=files, plans=plans, rounds=rounds), admin_url(site))
    await storm.rage()
    storm.say(f"all there after {storm.pushes} pushes")
    code, said = site.run(FIELD, "push", str(tmp_path / "obra"), "--project", "TAL", "--lang", "en")
    assert code == 0, said

    assert downloaded(site) == sent
    async with asking(admin_url(site)) as admin:
        uploads = {str(row["upload_id"]): row["state"] for row in await admin.fetch("select * from uploads")}
        assert list(uploads.values()) == ["ready"] * files
        once = dict.fromkeys(uploads, 1)
        assert {row["object_id"]: row["times"] for row in await admin.fetch(OPENINGS)} == once
        await eventually(lambda: no_more_of(admin, "outbox"))
        assert {row["upload_id"]: row["times"] for row in await admin.fetch(TOLD_READY)} == once
        lost = await admin.fetchval(PARTS_LOST)  # whether S3 held parts when it was killed is chance
    storm.say(f"checked; S3 had lost parts of {lost} uploads; waiting for the queues")
    await eventually(lambda: drained(site, lent=drains_within_s < 360), within_s=drains_within_s)
    assert not {name: held for name, held in queues_of(site).items() if name.endswith("-dlq") and any(held.values())}
    storm.say("the queues are empty")


async def no_more_of(admin: asyncpg.Connection, table: str) -> bool:
    return not await admin.fetchval(f"select count(*) from {table}")


async def drained(site: Site, *, lent: bool) -> bool:
    """Nothing waits; `lent` allows what a killed process had taken, which stays hidden for up to six minutes."""
    held = queues_of(site).values()
    return not any(each["waiting"] or (each["lent"] and not lent) for each in held)
