import asyncio
import hashlib
import time
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from tests.conftest import declare
from tests.modules.uploads.arriving import arrive, digest, open_files, put, tell

from buildpeer.platform.db import Scope


def content() -> bytes:
    return b"\xff\xd8\xff " + uuid4().bytes


async def news(admin: asyncpg.Connection, tenant_id: Any, kind: str) -> list[Any]:
    rows = await admin.fetch(
        """select body from (select tenant_id, type, body, outbox_id as place from outbox
          union all select tenant_id, type, body, position from event_log) told
        where tenant_id = $1 and type = $2 order by place""",
        *(tenant_id, kind),
    )
    return [msgspec.json.decode(row["body"]) for row in rows]


async def test_known_content_of_the_same_project_is_linked_and_not_sent_again(
    http, worker_db, company, admin: asyncpg.Connection
) -> None:
    caller, colleague, photo = await company.hire(), await company.hire(), content()
    original = await arrive(http, worker_db, company, caller, photo)
    item = declare(photo, name="otra vez.jpg")
    [result] = await open_files(http, company, colleague, item)
    upload = result["upload"]
    assert (result["verdict"], upload["state"], result["put"]) == ("duplicate", "duplicate", None)
    assert (upload["document_id"], upload["verified"]) == (original["upload_id"], True)
    [again] = await open_files(http, company, colleague, item)
    assert (again["verdict"], again["upload"]) == ("known", upload)
    assert await admin.fetchval("select count(*) from documents where tenant_id = $1", company.tenant_id) == 1
    assert len(await news(admin, company.tenant_id, "document.added")) == 1
    states = [body["upload"]["state"] for body in await news(admin, company.tenant_id, "upload.changed")]
    assert states[-1] == "duplicate"
    closed = await http.post(f"/v1/uploads/{upload['upload_id']}/urls", headers=company.bearer(colleague))
    assert closed.json()["code"] == "upload_closed"


async def test_known_content_of_another_project_becomes_a_document_there_with_the_same_bytes(
    http, worker_db, company, admin: asyncpg.Connection
) -> None:
    caller, photo = await company.hire("empleado_obra", company.tower, company.school), content()
    original = await arrive(http, worker_db, company, caller, photo)
    items = [declare(photo, name=f"copia {i}.jpg") for i in range(3)]
    results = await open_files(http, company, caller, *items, project=company.school)
    documents = {result["upload"]["document_id"] for result in results}
    assert [result["verdict"] for result in results] == ["duplicate"] * 3
    assert len(documents) == 1
    [copy] = documents
    shown = (await http.get(f"/v1/documents/{copy}", headers=company.bearer(caller))).json()
    assert shown["project_id"] == str(company.school)
    assert (shown["sha256"], shown["renditions"]) == (digest(photo), ["original", "thumbnail"])
    answer = await http.post(f"/v1/documents/{copy}/downloads", json={}, headers=company.bearer(caller))
    assert (await http.get(answer.json()["url"])).content == photo
    key = await admin.fetchval("select key from documents where document_id = $1", copy)
    assert key == original["key"]
    added = [body["document"]["document_id"] for body in await news(admin, company.tenant_id, "document.added")]
    assert added == [original["upload_id"], copy]


async def test_what_the_caller_may_not_read_is_as_good_as_unknown(http, worker_db, company, found_company) -> None:
    photo, rivals = content(), await found_company()
    await arrive(http, worker_db, company, await company.hire(), photo)
    outside = await company.hire("residente", company.school)
    stranger = await rivals.hire("owner")
    for where, who, project in ((company, outside, company.school), (rivals, stranger, rivals.tower)):
        seen, unseen = await open_files(http, where, who, declare(photo), declare(content()), project=project)
        for result in (seen, unseen):
            assert (result["verdict"], result["upload"]["state"]) == ("opened", "requested")
            assert result["upload"]["document_id"] is None
            assert result["put"]


@pytest.mark.parametrize("kinds", [(), ("created",), ("created", "scanned")])
async def test_content_that_is_not_ready_is_not_known(http, worker_db, company, kinds: Any) -> None:
    caller, photo = await company.hire(), content()
    [first] = await open_files(http, company, caller, declare(photo))
    await tell(worker_db, company, first["upload"], await put(http, first, photo), *kinds)
    [second] = await open_files(http, company, caller, declare(photo))
    assert second["verdict"] == "opened"


async def test_the_same_hash_with_another_size_is_not_known(http, worker_db, company) -> None:
    caller, photo = await company.hire(), content()
    await arrive(http, worker_db, company, caller, photo)
    [result] = await open_files(http, company, caller, declare(photo, size_bytes=len(photo) + 1))
    assert result["verdict"] == "opened"


async def test_opens_of_the_same_content_at_once_make_one_document(http, worker_db, company, admin) -> None:
    caller, photos = await company.hire("empleado_obra", company.tower, company.school), [content() for _ in range(5)]
    for photo in photos:
        await arrive(http, worker_db, company, caller, photo)
    orders = [photos, photos[::-1]] * 4
    answers = await asyncio.gather(
        *(open_files(http, company, caller, *map(declare, order), project=company.school) for order in orders)
    )
    linked = {(r["upload"]["sha256"], r["upload"]["document_id"]) for results in answers for r in results}
    assert {r["verdict"] for results in answers for r in results} == {"duplicate"}
    assert len(linked) == len(photos)
    count = await admin.fetchval("select count(*) from documents where project_id = $1", company.school)
    assert count == len(photos)


async def test_a_link_waits_for_an_erasure_that_is_under_way(http, db, worker_db, company) -> None:
    caller, photo = await company.hire("manager"), content()
    original = await arrive(http, worker_db, company, caller, photo)
    async with db.transaction(caller.scope) as tx:
        await tx.run("delete from documents where document_id = $1", original["upload_id"])
        opening = asyncio.create_task(open_files(http, company, caller, declare(photo)))
        await asyncio.sleep(0.2)
        assert not opening.done()
    [result] = await opening
    assert (result["verdict"], result["upload"]["state"]) == ("opened", "requested")


async def test_an_erasure_waits_for_a_link_that_is_under_way_and_the_upload_says_so(
    http, db, worker_db, company
) -> None:
    caller, photo = await company.hire("manager"), content()
    original = await arrive(http, worker_db, company, caller, photo)
    item = declare(photo)
    async with db.transaction(Scope(company.tenant_id, caller.person_id)) as tx:
        await tx.run(
            """insert into uploads (tenant_id, upload_id, project_id, created_by, kind, name, size_bytes, content_type,
              sha256, lane, bucket, key)
            values ($1, $2, $3, $4, 'photo', $5, $6, $7, $8, 'live', 'buildpeer-uploads', $9)""",
            *(company.tenant_id, item["upload_id"], company.tower, caller.person_id),
            *(item["name"], item["size_bytes"], item["content_type"], hashlib.sha256(photo).digest()),
            f"live/{company.tenant_id}/{item['upload_id']}",
        )
        assert await tx.value("select added from app.link_known($1)", [item["upload_id"]]) is False
        path = f"/v1/documents/{original['upload_id']}"
        erasing = asyncio.create_task(http.delete(path, headers=company.bearer(caller)))
        await asyncio.sleep(0.2)
        assert not erasing.done()
    assert (await erasing).status_code == 204
    shown = await http.get(f"/v1/uploads/{item['upload_id']}", headers=company.bearer(caller))
    assert (shown.json()["state"], shown.json()["document_id"]) == ("duplicate", None)


async def test_the_api_cannot_link_for_somebody_else_nor_an_upload_under_way(
    http, db, worker_db, company, admin
) -> None:
    photo, owner, other = content(), await company.hire(), await company.hire()
    [opened] = await open_files(http, company, owner, declare(photo))
    await arrive_elsewhere(http, worker_db, company, photo)
    async with db.transaction(other.scope) as tx:
        assert await tx.all("select * from app.link_known($1)", [opened["upload_id"]]) == []
    await admin.execute("update uploads set state = 'receiving' where upload_id = $1", opened["upload_id"])
    async with db.transaction(owner.scope) as tx:
        assert await tx.all("select * from app.link_known($1)", [opened["upload_id"]]) == []


async def arrive_elsewhere(http: Any, worker_db: Any, company: Any, photo: bytes) -> None:
    manager = await company.hire("manager")
    await arrive(http, worker_db, company, manager, photo, project=company.school)


async def test_a_thousand_known_files_are_linked_in_one_call(http, worker_db, company, admin) -> None:
    caller, photo = await company.hire("empleado_obra", company.tower, company.school), content()
    original = await arrive(http, worker_db, company, caller, photo)
    photos = [content() for _ in range(1000)]
    await admin.execute(
        """insert into documents (tenant_id, document_id, project_id, created_by, kind, name, size_bytes, content_type,
          sha256, bucket, key, version_id, media)
        select tenant_id, gen_random_uuid(), project_id, created_by, kind, name, n.size, content_type, n.sha, bucket,
          key, version_id, media
        from documents, unnest($2::bytea[], $3::bigint[]) as n (sha, size) where document_id = $1""",
        *(original["upload_id"], [hashlib.sha256(p).digest() for p in photos], [len(p) for p in photos]),
    )
    await admin.execute("analyze documents, uploads")
    began = time.monotonic()
    results = await open_files(http, company, caller, *map(declare, photos), project=company.school)
    print(f"1,000 linked in {time.monotonic() - began:.2f} s")
    assert {r["verdict"] for r in results} == {"duplicate"}
    assert len({r["upload"]["document_id"] for r in results}) == 1000
