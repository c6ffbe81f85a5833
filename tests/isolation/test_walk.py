"""Random walks through the api, by people of three companies, in which nobody may learn what isn't for them."""

import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from tests.isolation.calls import routes
from tests.isolation.walk import Leak, Walk

from buildpeer.modules.notifications.service import feed

STEPS, LONG_STEPS = 2 * len(routes()), 4000  # a walk begins with each route twice
SEED = int(os.environ.get("BUILDPEER_ISOLATION_SEED", "0")) or random.randrange(1, 2**31)


@pytest.fixture
async def walk(
    http, admin, worker_db, wakeups, tokens, settings, password_hash, monkeypatch
) -> AsyncIterator[Callable[..., Walk]]:
    monkeypatch.setattr(feed, "PING_S", 0.05)
    walks: list[Walk] = []

    def make(seed: int = SEED, only: tuple[str, ...] = ()) -> Walk:
        print(f"BUILDPEER_ISOLATION_SEED={seed}")
        walks.append(Walk(seed, http, admin, worker_db, wakeups, tokens, settings, password_hash, only))
        return walks[-1]

    yield make
    for each in walks:
        await each.end()


@pytest.mark.parametrize(
    "steps", [pytest.param(STEPS, id="short"), pytest.param(LONG_STEPS, id="long", marks=pytest.mark.long)]
)
async def test_nothing_leaks_to_whom_it_is_not_for(walk: Any, steps: int) -> None:
    each = walk()
    await each.begin()
    steps = max(steps, len(each.coming))  # every route, also when there are more
    await each.run(steps)
    assert set(each.calls) == set(routes())
    with_others_ids = sum(each.compared.values())
    print(f"{steps} calls, {with_others_ids} compared with nobody's, {dict(sorted(each.statuses.items()))}")
    assert with_others_ids > steps / 5
    assert each.statuses[200] > steps / 10
    assert not any(status >= 500 for status in each.statuses)


@asynccontextmanager
async def open_to_all(admin: asyncpg.Connection, *policies: str) -> AsyncIterator[None]:
    """Policies, as "name on table", that for a while let everything pass."""
    found = {}
    for each in policies:
        name, _, table = each.partition(" on ")
        found[each] = await admin.fetchval(
            "select qual from pg_policies where policyname = $1 and tablename = $2", name, table
        )
        await admin.execute(f"alter policy {each} using (true)")
    try:
        yield
    finally:
        for each, condition in found.items():
            await admin.execute(f"alter policy {each} using ({condition})")


@asynccontextmanager
async def rewritten(admin: asyncpg.Connection, function: str, part: str, by: str) -> AsyncIterator[None]:
    """A function that for a while does something else."""
    definition = await admin.fetchval("select pg_get_functiondef($1::regproc)", function)
    assert part in definition
    await admin.execute(definition.replace(part, by))
    try:
        yield
    finally:
        await admin.execute(definition)


BROKEN = {
    "documents of other projects": (
        lambda admin: open_to_all(admin, "visible on documents"),
        ("GET /v1/documents", "GET /v1/documents/{document_id}"),
        "told",
    ),
    "projects of other companies": (
        lambda admin: open_to_all(admin, "tenant on projects", "visible on projects"),
        ("GET /v1/projects", "GET /v1/projects/{project_id}"),
        "told",
    ),
    "whether another company has a project": (
        lambda admin: open_to_all(admin, "tenant on projects", "visible on projects"),
        ("PATCH /v1/projects/{project_id}",),
        "differs",
    ),
    "news of other projects": (
        lambda admin: open_to_all(admin, "visible on event_log"),
        ("GET /v1/events",),
        "told",
    ),
    "RFIs that are confided": (
        lambda admin: open_to_all(admin, "confided on rfis"),
        ("GET /v1/projects/{project_id}/rfis", "GET /v1/rfis/{rfi_id}"),
        "told",
    ),
    "content that others have": (
        lambda admin: rewritten(
            admin, "app.link_known", "app.file_projects()", "array(select project_id from public.projects)"
        ),
        ("POST /v1/projects/{project_id}/uploads",),
        'told|"duplicate"',
    ),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_walk_finds_what_is_broken(walk: Any, admin: asyncpg.Connection, what: str) -> None:
    broken, where, how = BROKEN[what]
    each = walk(only=where)
    await each.begin()
    async with broken(admin):
        with pytest.raises(Leak, match=how):
            await each.run(1000)
    await each.run(20)  # and nothing any more
