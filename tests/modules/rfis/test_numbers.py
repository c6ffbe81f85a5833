import asyncio
from uuid import UUID

import pytest

from buildpeer.modules.rfis import service, store
from buildpeer.platform.errors import Problem


async def numbers(site) -> list[int]:
    rows = await site.admin.fetch(
        "select number from rfis where tenant_id = $1 and number is not null order by number", site.company.tenant_id
    )
    return [row["number"] for row in rows]


async def test_many_who_submit_at_once_get_numbers_without_gaps_whoever_fails(site, monkeypatch) -> None:
    drafts = [(await site.create()).rfi.rfi_id for _ in range(24)]
    broken = set(drafts[::4])
    saved = store.save

    async def save(tx, rfi) -> None:
        await saved(tx, rfi)
        if rfi.rfi_id in broken:  # after its number was given
            raise RuntimeError("the process dies")

    monkeypatch.setattr("buildpeer.modules.rfis.service.keeping.store.save", save)

    async def submit(rfi_id: UUID) -> int | None:
        try:
            return (await site.act(site.creator, rfi_id, "submit")).rfi.number
        except RuntimeError:
            return None

    given = await asyncio.gather(*(submit(rfi_id) for rfi_id in [*drafts, *drafts]))  # each twice, as phones do
    assert [n for n in given if n is None] == [None] * 12
    assert await numbers(site) == list(range(1, 19))
    broken.clear()
    for rfi_id in drafts[::4]:
        await submit(rfi_id)
    assert await numbers(site) == list(range(1, 25))


async def test_projects_count_apart_and_a_number_stays_through_rejection(site) -> None:
    one = (await site.create()).rfi.rfi_id
    assert (await site.act(site.creator, one, "submit")).full_number == "TOR-RFI-001"
    await site.act(site.manager, one, "reject", note="Falta el plano")
    assert (await site.act(site.creator, one, "revise")).rfi.status == "draft"
    two = (await site.create()).rfi.rfi_id
    assert (await site.act(site.creator, two, "submit")).rfi.number == 2
    assert (await site.act(site.creator, one, "submit")).rfi.number == 1
    elsewhere = await service.create(
        site.db,
        caller=site.owner,
        project_id=site.company.school,
        new=site.new(manager_id=None, assignees=[]),
        now=site.now,
    )
    assert (await site.act(site.owner, elsewhere.rfi.rfi_id, "submit")).full_number == "ESC-RFI-001"


async def test_a_draft_that_is_given_up_takes_no_number(site) -> None:
    one = (await site.create()).rfi.rfi_id
    assert (await site.act(site.creator, one, "void")).rfi.number is None
    two = (await site.create()).rfi.rfi_id
    assert (await site.act(site.creator, two, "submit")).rfi.number == 1


async def test_nobody_to_go_to_is_said_before_a_number_is_given(site) -> None:
    rfi_id = (await site.create(manager_id=None)).rfi.rfi_id
    with pytest.raises(Problem, match="rfi_manager_missing"):
        await site.act(site.creator, rfi_id, "submit")
    await service.change_settings(
        site.db,
        caller=site.owner,
        project_id=site.company.tower,
        version=0,
        manager_id=site.manager.person_id,
        due_days=3,
    )
    shown = await site.act(site.creator, rfi_id, "submit")
    assert (shown.rfi.number, shown.rfi.ball_in_court) == (1, (site.manager.person_id,))
    assert str((await site.act(site.manager, rfi_id, "open")).rfi.due_date) == "2026-11-27"
    with pytest.raises(Problem, match="changed_meanwhile"):
        await service.change_settings(
            site.db, caller=site.owner, project_id=site.company.tower, version=0, manager_id=None, due_days=3
        )
