"""`make bench-api`: what the api bears, with 450 tenants of 5,000 documents in it, and the worker beside it.

* `batch_uploads_per_s`, `single_uploads_per_s`: one phone opens 2,000 uploads, 500 a call and one a call, each as soon
  as the last is answered; `batch_ratio` is how much faster the former is.
* `audit_ratio`: the time of such batches over that of the same with the triggers of the audit trail on uploads
  disabled, in turns; the geometric mean of the rounds, half of which begin with either.
* `list_per_s`, `detail_per_s`: field workers of all tenants read pages of 50 documents, and single ones, over 32
  connections as fast as they can.
* `p99_ms`: at a steady 200 requests a second (90 % reads, 8 % single creates, 2 % batches of 50), counted from when
  each was due.
* `sse_p95_ms`: from the begin of the transaction in which a file changed to the event at a screen: 200 streams of 40
  people while 500 files that were announced before are sent, scanned and derived. `sse_lost` is what never came.
* `big_project_p99_ms`: the slowest first page of one project with 500,000 photos in it (see `big_project`).
* `presign_us`: one write URL as the api makes it, `presign_ratio`: what botocore takes for the same over that.

The load comes from a process of its own on the same machine (see `load`).
"""

import argparse
import asyncio
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import msgspec

from bench.big_project import big_project
from bench.load import Connection, Job, Member, declaration
from bench.samples import make_photo, vary
from bench.site import Site, run, running_site, say, stop_politely
from buildpeer.platform import aws, clock
from buildpeer.platform.auth import Caller, Tokens
from buildpeer.platform.config import Settings
from buildpeer.platform.storage import WRITE_LIFE, Storage

STREAMS_PER_PERSON = 5
_AT_ONCE = 25  # tenants filled in one statement
_SENDERS = 4

_TENANTS = "insert into tenants (tenant_id, name) select gen_random_uuid(), 'Bench ' || n from generate_series(1, $1) n"
_PROJECTS = """
insert into projects (tenant_id, project_id, code, name, timezone)
select tenant_id, gen_random_uuid(), 'P' || n, 'Obra ' || n, 'America/Lima'
from tenants, generate_series(1, 2) n where name like 'Bench %'
"""
_PEOPLE = """
with hired as (
  insert into people (person_id, email, name, password_hash)
  select gen_random_uuid(), tenant_id || '-' || n || '@bench.test', 'Alguien', '-'
  from tenants, generate_series(1, $2) n where name like $1 returning person_id, split_part(email, '@', 1) as place
), joined as (
  insert into memberships (tenant_id, person_id, role)
  select left(place, 36)::uuid, person_id, 'empleado_obra' from hired
)
insert into project_members (tenant_id, project_id, person_id)
select p.tenant_id, p.project_id, h.person_id from hired h join projects p on p.tenant_id = left(place, 36)::uuid
where p.code = 'P1'
"""
_DOCUMENTS = """
insert into documents (tenant_id, document_id, project_id, created_by, kind, name, size_bytes, content_type, sha256,
  bucket, key, version_id, media, thumbnail, preview, created_at)
select m.tenant_id, gen_random_uuid(), p.project_id, m.person_id, 'photo', 'IMG_' || n || '.jpg', 3000000 + n,
  'image/jpeg', sha256(n::text::bytea), 'buildpeer-uploads', 'live/' || m.tenant_id || '/' || n, md5(n::text),
  '{"width": 4000, "height": 3000, "captured_at": "2026-03-04T10:20:30", "latitude": -33.4, "longitude": -70.6}',
  '{"bucket": "buildpeer-derived", "key": "thumbnail.webp", "width": 400, "height": 300, "size": 9000}',
  '{"bucket": "buildpeer-derived", "key": "preview.webp", "width": 1600, "height": 1200, "size": 90000}',
  now() - n * interval '1 minute'
from project_members m
  join lateral (select array_agg(project_id) as ids from projects where tenant_id = m.tenant_id) ps on true
  cross join generate_series(1, $2) n
  join projects p on p.tenant_id = m.tenant_id and p.project_id = ps.ids[1 + n % 2]
where m.tenant_id = any ($1)
"""
_MEMBERS = """
select m.tenant_id, m.project_id, m.person_id, (
  select array_agg(document_id::text) from (select document_id from documents d
    where d.tenant_id = m.tenant_id and d.project_id = m.project_id order by created_at limit $2) d) as documents
from project_members m join tenants t using (tenant_id) where t.name like $1
"""
_OPEN = "select count(*) as files from uploads where tenant_id = $1 and check_at is not null"
_UNTOLD = "select exists (select from outbox)"
_UNSEALED = "select exists (select from audit.pending)"
_TOLD = "select count(*) as events from event_log where tenant_id = $1 and position > $2"
_HEAD = "select position from event_log_head"


def main() -> None:
    """Print the line."""
    parser = argparse.ArgumentParser(description="What the api bears", formatter_class=_Defaults)
    parser.add_argument("--tenants", type=int, default=450)
    parser.add_argument("--documents", type=int, default=5000, help="of each tenant")
    parser.add_argument("--uploads", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=20, help="of the steady load; half as long for each read")
    parser.add_argument("--files", type=int, default=500, help="in flight while the streams are measured")
    parser.add_argument("--people", type=int, default=40, help=f"with {STREAMS_PER_PERSON} streams each")
    parser.add_argument("--photos", type=int, default=500_000, help="in the big project")
    parser.add_argument("--requests", type=int, default=200, help="of each of its pages")
    asked = parser.parse_args()
    stop_politely()
    result = presigning()
    with tempfile.TemporaryDirectory(prefix="buildpeer-bench-") as place, running_site(Path(place, "data")) as site:
        run(fill(site.admin_url, tenants=asked.tenants, documents=asked.documents))
        site.start("api")
        site.start("worker")
        result |= throughput(site, uploads=asked.uploads, seconds=asked.seconds)
        result |= run(big_project(site, photos=asked.photos, requests=asked.requests))
        site.start("functions")
        result |= run(screens(site, people=asked.people, files=asked.files))
    print(json.dumps(result))


class _Defaults(argparse.ArgumentDefaultsHelpFormatter): ...


def presigning(times: int = 2000) -> dict[str, float]:
    """Microseconds for a write URL by us and by botocore, in turns; the medians of five rounds."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}
    storage, s3 = Storage(Settings(), now=clock.now), aws.client("s3", Settings())
    digest = hashlib.sha256(b"").digest()
    params = {
        "Bucket": "buildpeer-uploads",
        "ContentDisposition": "attachment",
        "ContentLength": 3_000_000,
        "ContentType": "image/jpeg",
        "IfNoneMatch": "*",
        "ChecksumSHA256": digest.hex(),
    }
    keys = [f"live/{uuid4()}/{uuid4()}" for _ in range(times)]

    def ours(key: str) -> None:
        storage.sign_write(
            bucket="buildpeer-uploads", key=key, size=3_000_000, content_type="image/jpeg", sha256=digest
        )

    def botocores(key: str) -> None:
        s3.generate_presigned_url("put_object", params | {"Key": key}, int(WRITE_LIFE.total_seconds()))

    rounds = [(_each_us(ours, keys), _each_us(botocores, keys[: times // 10])) for _ in range(5)]
    mine, theirs = (statistics.median(round_[side] for round_ in rounds) for side in (0, 1))
    storage.close()
    return {"presign_us": round(mine, 1), "presign_ratio": round(theirs / mine, 1)}


def _each_us(sign: Callable[[str], None], keys: Sequence[str]) -> float:
    began = time.perf_counter()
    for key in keys:
        sign(key)
    return (time.perf_counter() - began) / len(keys) * 1e6


async def fill(admin_url: str, *, tenants: int, documents: int) -> None:
    """Tenants with two projects, a field worker in one of them, and documents in both; triggers rest meanwhile."""
    began = time.monotonic()
    admin = await asyncpg.connect(admin_url)
    await admin.execute("set session_replication_role = replica; set synchronous_commit = off")
    await admin.execute(_TENANTS, tenants)
    await admin.execute(_PROJECTS)
    await admin.execute(_PEOPLE, "Bench %", 1)
    ids = [row["tenant_id"] for row in await admin.fetch("select tenant_id from tenants where name like 'Bench %'")]
    rows = 0
    for start in range(0, len(ids), _AT_ONCE):
        done = await admin.execute(_DOCUMENTS, ids[start : start + _AT_ONCE], documents)
        rows += int(done.split()[-1])
        say(f"filled {start + len(ids[start : start + _AT_ONCE])} of {tenants} tenants")
    await admin.execute("vacuum (analyze)")
    await admin.execute("checkpoint")
    await admin.close()
    say(f"{rows} documents in {time.monotonic() - began:.0f} s")


def throughput(site: Site, *, uploads: int, seconds: float) -> dict[str, float]:
    """The rates, and the times at a steady rate."""
    members = _members(site, "Bench %")
    batches = _load(site, "batches", members[:1], uploads=uploads)["per_s"]
    singles = _load(site, "singles", members[1:2], uploads=uploads)["per_s"]
    audited = audit_ratio(site, members[:1], uploads=uploads)
    _settle(site)
    lists = _load(site, "lists", members, seconds=seconds / 2)["per_s"]
    details = _load(site, "details", members, seconds=seconds / 2)["per_s"]
    steady = _load(site, "steady", members, seconds=seconds)
    return {
        "batch_uploads_per_s": round(batches),
        "single_uploads_per_s": round(singles),
        "batch_ratio": round(batches / singles, 1),
        "audit_ratio": round(audited, 2),
        "list_per_s": round(lists),
        "detail_per_s": round(details),
        "p50_ms": round(steady["p50_ms"], 1),
        "p99_ms": round(steady["p99_ms"], 1),
    }


def audit_ratio(site: Site, members: list[Member], *, uploads: int, rounds: int = 8) -> float:
    """How much longer batches take with the audit trail than without; every round does both, in turns."""
    ratios: list[float] = []
    for number in range(rounds):
        per_s: dict[str, float] = {}
        for how in ("enable", "disable") if number % 2 else ("disable", "enable"):
            site.query(f"alter table uploads {how} trigger audit_insert")
            per_s[how] = _load(site, "batches", members, uploads=uploads, seed=uuid4().int % 2**32)["per_s"]
        ratios.append(per_s["disable"] / per_s["enable"])
    site.query("alter table uploads enable trigger audit_insert")
    say(f"audit: {[round(ratio, 3) for ratio in ratios]}")
    return statistics.geometric_mean(ratios)


def _settle(site: Site) -> None:
    """Let nothing of what was opened and never sent, many times what a day brings, lie in the way of what follows."""
    site.query("update uploads set check_at = null")
    _until(lambda: not _value(site, _UNTOLD) and not _value(site, _UNSEALED))


def _members(site: Site, tenants: str) -> list[Member]:
    """Everybody of these tenants, with fresh tokens and some documents to read."""
    tokens = Tokens(site.stack.secrets.token_key)
    found = site.query(_MEMBERS, tenants, 100)
    callers = [Caller(row["person_id"], row["tenant_id"], uuid4()) for row in found]
    return [
        Member(tokens.access(caller, now=clock.now()), str(row["project_id"]), row["documents"] or [])
        for caller, row in zip(callers, found, strict=True)
    ]


def _load(site: Site, do: str, members: list[Member], **job: Any) -> dict[str, float]:
    with _generator(site, do, members, **job) as process:
        told, _ = process.communicate()
    numbers = json.loads(told)
    say(f"{do}: {numbers}")
    return numbers


def _generator(site: Site, do: str, members: list[Member], **job: Any) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    wanted = Job(do, site.stack.config.ports.api, members, **job)
    assert process.stdin
    process.stdin.write(msgspec.json.encode(wanted).decode() + "\n")
    process.stdin.flush()
    return process


async def screens(site: Site, *, people: int, files: int) -> dict[str, float]:
    """Times from commit to screen while the files of one project are sent and worked on."""
    tenant_id, members = await asyncio.to_thread(_crew, site, people)
    dice = random.Random(3)
    photo = make_photo(dice, size=60_000, width=800, height=600)
    photos = [vary(photo, dice) for _ in range(files)]
    api = _Api(site, members[0])
    puts = await api.open_uploads(photos)
    await asyncio.to_thread(_until, lambda: not _value(site, _UNTOLD))
    head = await asyncio.to_thread(_value, site, _HEAD)
    with _generator(site, "streams", members * STREAMS_PER_PERSON) as process:
        assert process.stdout and process.stdin
        try:
            assert await asyncio.to_thread(process.stdout.readline) == "open\n"
            began = time.monotonic()
            waiting = iter(puts)
            await asyncio.gather(*(api.send(waiting) for _ in range(_SENDERS)))
            sent_s = time.monotonic() - began
            await asyncio.to_thread(_until, lambda: not (_value(site, _OPEN, tenant_id) or _value(site, _UNTOLD)))
            seconds = time.monotonic() - began
            await asyncio.sleep(1)  # what is committed is on its way, or lost
            told, _ = await asyncio.to_thread(process.communicate, "")
        finally:
            process.kill()
    events = await asyncio.to_thread(_value, site, _TOLD, tenant_id, head)
    numbers = json.loads(told)
    say(f"streams: {numbers}, {events} events, sent in {sent_s:.1f} s, ready after {seconds:.1f} s")
    return {
        "sse_p50_ms": round(numbers["p50_ms"]),
        "sse_p95_ms": round(numbers["p95_ms"]),
        "sse_lost": events * people * STREAMS_PER_PERSON - round(numbers["arrived"]),
    }


def _crew(site: Site, people: int) -> tuple[UUID, list[Member]]:
    async def found() -> UUID:
        admin = await asyncpg.connect(site.admin_url)
        tenant_id = await admin.fetchval(
            "insert into tenants (tenant_id, name) values (gen_random_uuid(), 'Screens') returning tenant_id"
        )
        await admin.execute(_PROJECTS.replace("Bench %", "Screens"))
        await admin.execute(_PEOPLE, "Screens", people)
        await admin.close()
        return tenant_id

    return run(found()), _members(site, "Screens")


class _Api:
    """What one phone does: announce all, then send one after the other."""

    def __init__(self, site: Site, member: Member) -> None:
        self._ports = site.stack.config.ports
        self._member = member

    async def open_uploads(self, photos: Sequence[bytes]) -> list[tuple[str, Any, bytes]]:
        """Announce photos; each one's id, where to send it if that was said, and its bytes."""
        wanted = [
            declaration(random.Random()) | {"size_bytes": len(photo), "sha256": hashlib.sha256(photo).hexdigest()}
            for photo in photos
        ]
        target = f"/v1/projects/{self._member.project_id}/uploads"
        answer = await self._ask(Connection(self._ports.api), target, {"uploads": wanted})
        return [(r["upload_id"], r["put"], p) for r, p in zip(answer["results"], photos, strict=True)]

    async def send(self, waiting: Any) -> None:
        """Send photos until none is left."""
        api, s3 = Connection(self._ports.api), Connection(self._ports.s3)
        for upload_id, put, photo in waiting:
            where = put or (await self._ask(api, f"/v1/uploads/{upload_id}/urls", None))["put"]
            parts = urlsplit(where["url"])
            status, said = await s3.ask("PUT", f"{parts.path}?{parts.query}", where["headers"], photo)
            if status != 200:
                raise RuntimeError(f"S3: {status}: {said[:300]!r}")
        api.close()
        s3.close()

    async def _ask(self, api: Connection, target: str, body: Any) -> Any:
        content = msgspec.json.encode(body) if body else b""
        headers = {"Authorization": f"Bearer {self._member.token}", "Content-Length": str(len(content))}
        if content:
            headers["Content-Type"] = "application/json"
        status, answer = await api.ask("POST", target, headers, content)
        if status != 200:
            raise RuntimeError(f"{status}: {answer[:300]!r}")
        return json.loads(answer)


def _value(site: Site, sql: str, *args: Any) -> Any:
    return site.query(sql, *args)[0][0]


def _until(condition: Callable[[], bool], *, within_s: float = 300) -> None:
    ends = time.monotonic() + within_s
    while not condition():  # seldom: each look is a connection
        if time.monotonic() > ends:
            raise TimeoutError("the files don't come to their end")
        time.sleep(0.5)


if __name__ == "__main__":
    main()
