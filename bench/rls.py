"""`make bench-rls`: what row-level security costs, with 2,000,000 documents of 150 companies, then of 1,000.

`rls_ratio` is the time of a transaction with the policies over that of the same without:

* With: the api's own role, the statements of `store.py` as they are.
* Without: a role of the bench that no policy binds. So that both give the same rows, its statements have what a careful
  developer would write by hand: the tenant, which `store.py` names anyway, and for field workers `project_id = any
  (array(select …))` over the projects that they are in. For owners that is nothing more.

Both begin, say whom they serve (`app.enter`), run one statement, and end; reads commit, inserts are rolled back. The
documents' pages have 50 rows and one more: `list` of all projects that the caller sees, `project_list` of one;
`detail` is one document; `batch_insert` opens 500 uploads, with the triggers of audit and storage. Each is measured for
owners, who see all ten projects of their company, and for field workers, who are in three; a ratio is the geometric
mean of the two.

`settings_ratio` is what binding a transaction to its caller adds, where it shows most: the `detail` without policies
that begins with `app.enter`, over one that begins with a plain question for the role and the session.

Callers are drawn anewfor each round, and each does both sides at once, every other one the other way round. Both go
over one connection, which takes the one role and the other, since two processes are never equally lucky with their
core; every round has a new one. A ratio below 1 is no mistake: what is written by hand lets the planner hope for a
better plan with each set of arguments, so it plans the list anew each time. A round's ratio is that of the medians;
what is printed is the geometric mean of the rounds and, as `ci`, its 95 % interval.
"""

import argparse
import json
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec

from bench.site import run, running_site, say, stop_politely
from buildpeer.modules.documents.store import documents
from buildpeer.modules.uploads import store as uploads
from buildpeer.platform.db import FIRST_PAGE, Scope, Transaction

WITH, WITHOUT = "buildpeer_app", "bench_plain"
PAGE = 50
_PROJECTS, _OWN_PROJECTS = 10, 3
_WARM_UP = 8  # transactions of each kind, until the connection has its plans
_TABLES = ("documents", "project_members", "memberships", "projects", "people", "storage_totals", "tenants")

_PLAIN_ROLE = f"""
create role {WITHOUT} nologin bypassrls;
grant usage on schema public, app to {WITHOUT};
grant select, insert on all tables in schema public to {WITHOUT};
grant execute on all functions in schema app to {WITHOUT}
"""
_FILL_TENANTS = (
    "insert into tenants (tenant_id, name) select gen_random_uuid(), 'Bench ' || n from generate_series(1, $1) n"
)
_FILL_PROJECTS = """
insert into projects (tenant_id, project_id, code, name, timezone)
select tenant_id, gen_random_uuid(), 'P' || n, 'Obra ' || n, 'America/Lima' from tenants, generate_series(1, $1) n
"""
_FILL_PEOPLE = """
with hired as (
  insert into people (person_id, email, name, password_hash)
  select gen_random_uuid(), n || '@' || tenant_id, 'Alguien', '-' from tenants, generate_series(1, $1) n
  returning person_id, split_part(email, '@', 1)::int as n, split_part(email, '@', 2)::uuid as tenant_id
)
insert into memberships (tenant_id, person_id, role)
select tenant_id, person_id, case when n % 10 = 1 then 'owner' else 'empleado_obra' end from hired
"""
_FILL_CREWS = """
insert into project_members (tenant_id, project_id, person_id)
select m.tenant_id, p.project_id, m.person_id from memberships m cross join lateral (
  select project_id from projects p where p.tenant_id = m.tenant_id order by md5(p.project_id::text || m.person_id)
  limit $1) p
where m.role = 'empleado_obra'
"""
_FILL_DOCUMENTS = """
insert into documents (tenant_id, document_id, project_id, created_by, kind, name, size_bytes, content_type, sha256,
  bucket, key, version_id, media, thumbnail, preview, created_at)
select t.tenant_id, gen_random_uuid(), t.projects[1 + n % cardinality(t.projects)], t.owner, 'photo',
  'IMG_' || n || '.jpg', 3000000 + n, 'image/jpeg', sha256(n::text::bytea), 'buildpeer-uploads',
  'live/' || t.tenant_id || '/' || n, md5(n::text),
  '{"width": 4000, "height": 3000, "captured_at": "2026-03-04T10:20:30", "latitude": -33.4, "longitude": -70.6}',
  '{"bucket": "buildpeer-derived", "key": "thumbnail.webp", "width": 400, "height": 300, "size": 9000}',
  '{"bucket": "buildpeer-derived", "key": "preview.webp", "width": 1600, "height": 1200, "size": 90000}',
  now() - n * interval '1 minute'
from (
  select tenant_id, array(select project_id from projects p where p.tenant_id = t.tenant_id) as projects,
    (select min(person_id::text)::uuid from memberships m where m.tenant_id = t.tenant_id and role = 'owner') as owner
  from tenants t
) t cross join generate_series(1, $1::int) n
"""
_INDEXES = """
select indexdef, indexrelid::regclass::text as name
from pg_index join pg_indexes on indexname = indexrelid::regclass::text
where indrelid = 'documents'::regclass and not exists (select from pg_constraint where conindid = indexrelid)
"""
_CALLERS = """
select m.tenant_id, m.person_id, m.role, ps.ids[1] as project_id, array(
  select document_id from documents d where d.tenant_id = m.tenant_id and d.project_id = any (ps.ids)
  order by created_at desc limit 20) as documents
from (select * from memberships where role = $1 order by random() limit $2) m
cross join lateral (select array(
  select p.project_id from projects p where p.tenant_id = m.tenant_id and (m.role = 'owner' or exists (
    select from project_members pm where pm.tenant_id = m.tenant_id and pm.project_id = p.project_id
      and pm.person_id = m.person_id)) order by random()) as ids) ps
"""
_WHO = """
select m.role, $3::text as request, exists (select from sessions s
  where s.person_id = $2 and s.session_id = $4 and s.ended_at is not null) as session_ended
from memberships m where m.tenant_id = $1 and m.person_id = $2
"""


class Caller(msgspec.Struct, frozen=True):
    """Somebody, with a project and documents that they see."""

    tenant_id: UUID
    person_id: UUID
    role: str
    project_id: UUID
    documents: Sequence[UUID]

    @property
    def scope(self) -> Scope:
        """Theirs, by a session that hasn't ended."""
        return Scope(self.tenant_id, self.person_id, "bench", self.person_id)


class Work(msgspec.Struct, frozen=True):
    """A statement, its arguments for a caller, and what a developer adds by hand for whoever isn't an owner."""

    sql: str
    args: Callable[[Caller], Sequence[Any]]
    by_hand: Callable[[str, str], str]
    keep: bool = True

    def plain(self, caller: Caller) -> tuple[str, Sequence[Any]]:
        """The statement without policies; the comment gives it plans of its own."""
        args = self.args(caller)
        if caller.role == "owner":
            return f"/* plain */ {self.sql}", args
        own = f"select m.project_id from project_members m where m.tenant_id = $1 and m.person_id = ${len(args) + 1}"
        return self.by_hand(self.sql, own), (*args, caller.person_id)


def _in_own_projects(sql: str, own: str) -> str:
    return sql.replace("where tenant_id = $1", f"where tenant_id = $1 and project_id = any (array({own}))")


def _into_own_projects(sql: str, own: str) -> str:
    return sql.replace("on conflict", f"where $2 = any (array({own})) on conflict")


def _batch(caller: Caller, size: int = 500) -> Sequence[Any]:
    ids = sorted(uuid4() for _ in range(size))
    columns = ("photo", "IMG_0001.jpg", 3_000_000, "image/jpeg", bytes(32), None, None, None)
    keys = [f"live/{caller.tenant_id}/{each}" for each in ids]
    head = (caller.tenant_id, caller.project_id, caller.person_id, "buildpeer-uploads", "live", ids, keys)
    return (*head, *([each] * size for each in columns))


WORKS = {
    "list": Work(documents.PAGE, lambda c: (c.tenant_id, *FIRST_PAGE, PAGE + 1), _in_own_projects),
    "project_list": Work(
        documents.PAGE_OF_PROJECT, lambda c: (c.tenant_id, *FIRST_PAGE, PAGE + 1, c.project_id), _in_own_projects
    ),
    "detail": Work(documents.BY_ID, lambda c: (c.tenant_id, random.choice(c.documents)), _in_own_projects),
    "batch_insert": Work(uploads.INSERT, _batch, _into_own_projects, keep=False),
}


def main() -> None:
    """Print the line."""
    parser = argparse.ArgumentParser(description="What row-level security costs")
    parser.add_argument("--short", action="store_true", help="a few rows and rounds, to see that it works")
    asked = parser.parse_args()
    sizes, rows, people, rounds, callers = (150, 1000), 2_000_000, 10_000, 24, 60
    if asked.short:
        sizes, rows, people, rounds, callers = (2, 6), 1200, 120, 2, 6
    stop_politely()
    with tempfile.TemporaryDirectory(prefix="buildpeer-bench-") as place, running_site(Path(place, "data")) as site:
        at = run(_at(site.admin_url, sizes, rows=rows, people=people, rounds=rounds, callers=callers))
    print(json.dumps({"tenants": sizes[-1], **at[sizes[-1]], "at": at}))


async def _at(
    admin_url: str, sizes: Sequence[int], *, rows: int, people: int, rounds: int, callers: int
) -> dict[int, dict[str, Any]]:
    admin = await asyncpg.connect(admin_url)
    await admin.execute("set session_replication_role = replica; set synchronous_commit = off")
    await admin.execute(_PLAIN_ROLE)
    at: dict[int, dict[str, Any]] = {}
    for tenants in sizes:
        filled = await fill(admin, tenants=tenants, rows=rows, people=people)
        at[tenants] = {"rows": filled} | await measure(admin_url, rounds=rounds, callers=callers)
    await admin.close()
    return at


async def fill(admin: Any, *, tenants: int, rows: int, people: int) -> int:
    """Companies that share the documents and the people evenly, instead of those before; triggers rest meanwhile."""
    began = time.monotonic()
    await admin.execute(f"truncate {', '.join(_TABLES)} cascade")
    await admin.execute(_FILL_TENANTS, tenants)
    await admin.execute(_FILL_PROJECTS, _PROJECTS)
    await admin.execute(_FILL_PEOPLE, people // tenants)
    await admin.execute(_FILL_CREWS, _OWN_PROJECTS)
    indexes = await admin.fetch(_INDEXES)
    for index in indexes:
        await admin.execute(f"drop index {index['name']}")
    done = await admin.execute(_FILL_DOCUMENTS, rows // tenants)
    for index in indexes:
        await admin.execute(index["indexdef"])
    await admin.execute("vacuum (analyze)")
    await admin.execute("checkpoint")
    say(f"{tenants} tenants, {done.split()[-1]} documents in {time.monotonic() - began:.0f} s")
    return int(done.split()[-1])


async def measure(admin_url: str, *, rounds: int, callers: int) -> dict[str, Any]:
    """The ratios, and their intervals."""
    names = [*WORKS, "settings"]
    logs: dict[str, dict[str, list[float]]] = {
        role: {name: [] for name in names} for role in ("owner", "empleado_obra")
    }
    for number in range(rounds):
        connection = await asyncpg.connect(admin_url, server_settings={"timezone": "UTC"})
        await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=str)
        for role, of_role in logs.items():
            found = [Caller(**dict(row)) for row in await connection.fetch(_CALLERS, role, callers + _WARM_UP)]
            for name in names:
                of_role[name].append(math.log(await _ratio(connection, name, found)))
        await connection.close()
        say(f"round {number + 1} of {rounds}")
    for role, of_role in logs.items():
        say(f"{role}: { {name: round(math.exp(statistics.mean(each)), 3) for name, each in of_role.items()} }")
    pairs = {name: list(zip(*(of_role[name] for of_role in logs.values()), strict=True)) for name in names}
    told = {name: _told([statistics.mean(pair) for pair in each]) for name, each in pairs.items()}
    return {
        "rls_ratio": {name: told[name][0] for name in WORKS},
        "rls_ci": {name: told[name][1] for name in WORKS},
        "settings_ratio": told["settings"][0],
        "settings_ci": told["settings"][1],
    }


def _told(logs: Sequence[float]) -> tuple[float, tuple[float, float]]:
    mean, error = statistics.mean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    low, middle, high = (round(math.exp(mean + side * error), 3) for side in (-1.96, 0, 1.96))
    return middle, (low, high)


async def _ratio(connection: Any, name: str, callers: Sequence[Caller]) -> float:
    """Of the medians of one round."""
    if name == "batch_insert":
        callers = callers[: _WARM_UP + len(callers) // 10]
    times: tuple[list[float], list[float]] = ([], [])
    for number, caller in enumerate(callers):
        for side in (0, 1) if number % 2 else (1, 0):
            seconds = await (_settings if name == "settings" else _work)(connection, name, caller, first=side == 0)
            if number >= _WARM_UP:
                times[side].append(seconds)
    return statistics.median(times[0]) / statistics.median(times[1])


async def _work(connection: Any, name: str, caller: Caller, *, first: bool) -> float:
    work = WORKS[name]
    sql, args = (work.sql, work.args(caller)) if first else work.plain(caller)
    await connection.execute(f"set role {WITH if first else WITHOUT}")
    began = time.perf_counter()
    transaction = connection.transaction()
    await transaction.start()
    tx = Transaction(connection, caller.scope)
    await tx.serve(caller.scope)
    await tx.all(sql, *args)
    await (transaction.commit() if work.keep else transaction.rollback())
    return time.perf_counter() - began


async def _settings(connection: Any, _name: str, caller: Caller, *, first: bool) -> float:
    sql, args = WORKS["detail"].plain(caller)
    await connection.execute(f"set role {WITHOUT}")
    began = time.perf_counter()
    async with connection.transaction():
        tx = Transaction(connection, caller.scope)
        if first:
            await tx.serve(caller.scope)
        else:
            await tx.one(_WHO, caller.tenant_id, caller.person_id, "bench", caller.person_id)
        await tx.all(sql, *args)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
