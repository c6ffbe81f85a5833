"""What a company's files weigh, and what happens when they weigh too much."""

import asyncio
import random
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.conftest import Company, declare, eventually
from tests.modules.uploads.arriving import arrive, open_files

from buildpeer.modules.uploads import service


async def limit(admin: Any, company: Company, size: int | None) -> None:
    await admin.execute("update tenants set storage_limit_bytes = $2 where tenant_id = $1", company.tenant_id, size)


async def used(http: Any, company: Company, caller: Any) -> int:
    answer = await http.get("/v1/storage", headers=company.bearer(caller))
    assert answer.status_code == 200
    return answer.json()["used_bytes"]


async def weight_of_rows(admin: Any, tenant_id: UUID) -> int:
    """What the uploads' own rows say, bytes that wait for their deletion included."""
    return await admin.fetchval(
        """select coalesce(sum(size_bytes), 0)::bigint from uploads u where tenant_id = $1
        and state not in ('duplicate', 'mismatched', 'cancelled', 'expired')
        and (erased_at is null
          or exists (select from documents d where d.tenant_id = $1 and d.key = u.key)
          or exists (select from erasures e where e.tenant_id = $1 and e.key = u.key))""",
        tenant_id,
    )


async def test_a_file_weighs_from_its_opening_until_it_is_called_off(http: Any, company: Company) -> None:
    owner = await company.hire("owner")
    [one, _two] = await open_files(http, company, owner, declare(b"a" * 10), declare(b"b" * 32))
    assert await used(http, company, owner) == 42
    for _ in range(2):
        await http.post(f"/v1/uploads/{one['upload_id']}/cancellation", headers=company.bearer(owner))
        assert await used(http, company, owner) == 32


async def test_a_full_company_takes_what_fits_and_says_why_not_the_rest(
    http: Any, company: Company, admin: Any
) -> None:
    owner = await company.hire("owner")
    await limit(admin, company, 100)
    items = [declare(bytes([n]) * size) for n, size in enumerate((60, 50, 40, 1))]
    results = await open_files(http, company, owner, *items)
    assert [r["verdict"] for r in results] == ["opened", "rejected", "opened", "rejected"]
    assert results[1]["problem"]["code"] == "quota_exceeded"
    assert results[1]["problem"]["status"] == 403
    again = await open_files(http, company, owner, *items)
    assert [r["verdict"] for r in again] == ["known", "rejected", "known", "rejected"]
    await limit(admin, company, None)
    assert [r["verdict"] for r in await open_files(http, company, owner, *items)][1::2] == ["opened", "opened"]


async def test_two_calls_at_once_never_take_the_same_room(http: Any, company: Company, admin: Any) -> None:
    owner = await company.hire("owner")
    await limit(admin, company, 100)
    calls = [open_files(http, company, owner, declare(uuid4().bytes + b"x" * 24)) for _ in range(12)]
    verdicts = [result["verdict"] for [result] in await asyncio.gather(*calls)]
    assert sorted(verdicts) == ["opened"] * 2 + ["rejected"] * 10
    assert await used(http, company, owner) == 80


async def test_a_link_weighs_nothing_and_the_bytes_until_they_are_deleted(
    http: Any, company: Company, worker_db: Any, worker_clients: Any
) -> None:
    owner, content = await company.hire("owner"), uuid4().bytes
    file = await arrive(http, worker_db, company, owner, content)
    [linked] = await open_files(http, company, owner, declare(content), project=company.school)
    assert linked["verdict"] == "duplicate"
    weights = [await used(http, company, owner)]
    for document in (file["upload_id"], linked["upload"]["document_id"]):
        answer = await http.delete(f"/v1/documents/{document}", headers=company.bearer(owner))
        assert answer.status_code == 204
        weights.append(await used(http, company, owner))
        while await service.delete_erased(worker_db, worker_clients.storage):
            pass
        weights.append(await used(http, company, owner))
    assert weights == [16, 16, 16, 16, 0]


@pytest.mark.parametrize("seed", range(3))
async def test_the_ledger_says_what_the_rows_say_whatever_happens(
    http: Any, company: Company, admin: Any, worker_db: Any, worker_clients: Any, seed: int
) -> None:
    chance, owner = random.Random(seed), await company.hire("owner")
    contents = [bytes([n]) * chance.randint(1, 50) for n in range(4)]
    documents, opened = list[str](), list[str]()
    for _ in range(25):
        match chance.randrange(5):
            case 0:
                [result] = await open_files(http, company, owner, declare(chance.choice(contents)))
                if result["verdict"] == "opened":
                    opened.append(result["upload_id"])
            case 1:
                documents.append((await arrive(http, worker_db, company, owner, chance.randbytes(20)))["upload_id"])
            case 2 if opened:
                upload = chance.choice(opened)
                await http.post(f"/v1/uploads/{upload}/cancellation", headers=company.bearer(owner))
            case 3 if documents:
                await http.delete(f"/v1/documents/{chance.choice(documents)}", headers=company.bearer(owner))
            case _:
                await service.delete_erased(worker_db, worker_clients.storage)
        assert await used(http, company, owner) == await weight_of_rows(admin, company.tenant_id)
    entries = await admin.fetchval(
        "select coalesce(sum(bytes), 0)::bigint from storage_entries where tenant_id = $1", company.tenant_id
    )
    assert entries == await used(http, company, owner)


async def test_bytes_that_two_workers_delete_at_once_are_given_back_once(
    http: Any, company: Company, worker_db: Any, admin: Any
) -> None:
    owner = await company.hire("owner")
    [opened, _kept] = await open_files(http, company, owner, declare(b"a" * 10), declare(b"b" * 32))
    upload_id = UUID(opened["upload_id"])
    await admin.execute("update uploads set version_id = 'v', state = 'ready' where upload_id = $1", upload_id)
    orders = [  # one for each document that linked them
        await admin.fetchval(
            """insert into erasures (tenant_id, bucket, key, version_id)
            select tenant_id, bucket, key, version_id from uploads where upload_id = $1 returning erasure_id""",
            upload_id,
        )
        for _ in range(2)
    ]

    async def waiting() -> bool:
        return await admin.fetchval(
            "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and query like '%app.erased%')"
        )

    async with worker_db.across_tenants() as tx:
        await tx.value("select app.erased($1)", orders[:1])
        second = asyncio.create_task(worker_db.call("select app.erased($1)", orders[1:]))
        await eventually(waiting)
    await second
    assert await used(http, company, owner) == 32


async def test_what_the_company_stores_is_its_owners_and_managers_affair(http: Any, company: Company) -> None:
    for role, status in (("owner", 200), ("manager", 200), ("empleado_obra", 404), ("inversionista", 404)):
        answer = await http.get("/v1/storage", headers=company.bearer(await company.hire(role)))
        assert answer.status_code == status, role
