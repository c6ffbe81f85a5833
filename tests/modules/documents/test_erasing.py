import asyncio
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from botocore.exceptions import ClientError
from tests.conftest import Company, declare, eventually
from tests.modules.uploads.arriving import BUCKET, arrive, open_files
from tests.modules.uploads.test_known_content import news

from buildpeer.modules.uploads import service
from buildpeer.platform.auth import Caller

DERIVED = "buildpeer-derived"


async def erase(http: Any, company: Company, caller: Caller, document_id: str) -> int:
    answer = await http.delete(f"/v1/documents/{document_id}", headers=company.bearer(caller))
    return answer.status_code


def exists(stack: Any, bucket: str, key: str, **version: str) -> bool:
    try:
        stack.ministack.client("s3").head_object(Bucket=bucket, Key=key, **version)
    except ClientError as exc:
        assert exc.response["ResponseMetadata"]["HTTPStatusCode"] == 404
        return False
    return True


class Linked:
    """One content in two documents: `first` in the tower, `second` in the school."""

    def __init__(self, stack: Any, company: Company, caller: Caller, first: Any, second: str) -> None:
        self.stack, self.company, self.caller = stack, company, caller
        self.first, self.second = first["upload_id"], second
        self.key, self.version = first["key"], first["version"]
        self.picture = f"{self.key}/{self.version}/thumbnail.webp"
        self.page = f"{self.key}/{self.version}/page-3.pmtiles"  # which no row names

    def there(self) -> tuple[bool, bool]:
        """Whether S3 has the original and its picture."""
        original = exists(self.stack, BUCKET, self.key, VersionId=self.version)
        pictures = {exists(self.stack, DERIVED, key) for key in (self.picture, self.page)}
        assert len(pictures) == 1
        return original, pictures.pop()


@pytest.fixture
async def linked(http, worker_db, company, stack) -> Linked:
    caller, photo = await company.hire("manager"), b"\xff\xd8\xff " + uuid4().bytes
    first = await arrive(http, worker_db, company, caller, photo)
    [result] = await open_files(http, company, caller, declare(photo), project=company.school)
    pair = Linked(stack, company, caller, first, result["upload"]["document_id"])
    for key in (pair.picture, pair.page):
        stack.ministack.client("s3").put_object(Bucket=DERIVED, Key=key, Body=b"picture")
    return pair


async def swept(worker_db: Any, worker_clients: Any, admin: asyncpg.Connection, tenant_id: Any) -> int:
    """Erase what is due, and count what is left to do for the tenant."""
    await admin.execute("update erasures set check_at = now() where tenant_id = $1", tenant_id)
    while await service.delete_erased(worker_db, worker_clients.storage):
        pass
    return await admin.fetchval("select count(*) from erasures where tenant_id = $1", tenant_id)


async def test_a_machine_erases_only_with_a_key_that_decides_over_files(http, worker_db, company) -> None:
    owner = await company.hire("owner")
    file = await arrive(http, worker_db, company, await company.hire(), uuid4().bytes)
    answers: list[int] = []
    for level in ("standard", "admin"):
        made = await http.post(
            "/v1/api-keys", json={"name": "ERP", "tools": {"files": level}}, headers=company.bearer(owner)
        )
        machine = {"authorization": f"Bearer {made.json()['secret']}"}
        answers.append((await http.delete(f"/v1/documents/{file['upload_id']}", headers=machine)).status_code)
    assert answers == [403, 204]


async def test_an_erased_document_is_gone_at_once_told_and_audited(http, worker_db, company, admin) -> None:
    caller = await company.hire()
    file = await arrive(http, worker_db, company, caller, uuid4().bytes)
    document_id = file["upload_id"]
    assert await erase(http, company, caller, document_id) == 204
    for path in (f"/v1/documents/{document_id}", f"/v1/documents?project_id={company.tower}"):
        answer = await http.get(path, headers=company.bearer(caller))
        assert answer.status_code == 404 or answer.json()["items"] == []
    upload = (await http.get(f"/v1/uploads/{document_id}", headers=company.bearer(caller))).json()
    assert (upload["state"], upload["document_id"]) == ("ready", None)
    [told] = await news(admin, company.tenant_id, "document.erased")
    assert told["document"]["document_id"] == document_id
    entry = await admin.fetchrow(
        """select person_id, changes ->> 'key' as key from audit.entries
        where tenant_id = $1 and object_type = 'documents' and action = 'delete'""",
        company.tenant_id,
    )
    assert (entry["person_id"], entry["key"]) == (caller.person_id, file["key"])
    assert await erase(http, company, caller, document_id) == 404


@pytest.mark.parametrize(
    ("role", "status"),
    [("owner", 204), ("manager", 204), ("residente", 403), ("empleado_obra", 403), ("inversionista", 404)],
)
async def test_who_may_erase_what_somebody_else_uploaded(http, worker_db, company, role: str, status: int) -> None:
    file = await arrive(http, worker_db, company, await company.hire(), uuid4().bytes)
    assert await erase(http, company, await company.hire(role), file["upload_id"]) == status


async def test_who_has_left_the_project_erases_nothing_of_it(http, worker_db, company, admin) -> None:
    uploader = await company.hire("residente", company.tower, company.school)
    file = await arrive(http, worker_db, company, uploader, uuid4().bytes)
    await admin.execute("delete from project_members where project_id = $1", company.tower)
    assert await erase(http, company, uploader, file["upload_id"]) == 404


@pytest.mark.parametrize("order", [("first", "second"), ("second", "first")])
async def test_bytes_go_with_the_last_document_that_links_them(
    linked: Linked, http, worker_db, worker_clients, admin, order: Any
) -> None:
    for last, name in enumerate(order):
        assert linked.there() == (True, True)
        assert await erase(http, linked.company, linked.caller, getattr(linked, name)) == 204
        assert await swept(worker_db, worker_clients, admin, linked.company.tenant_id) == 0
        assert linked.there() == (not last, not last)


async def test_documents_erased_at_once_take_their_bytes_with_them(
    linked: Linked, http, worker_db, worker_clients, admin
) -> None:
    async def sweep() -> int:
        return await service.delete_erased(worker_db, worker_clients.storage)

    erasing = [erase(http, linked.company, linked.caller, each) for each in (linked.first, linked.second)]
    answers = await asyncio.gather(*erasing, sweep(), sweep(), *erasing_again(linked, http))
    assert answers[:2].count(204) + answers[4:].count(204) == 2
    assert await swept(worker_db, worker_clients, admin, linked.company.tenant_id) == 0
    assert linked.there() == (False, False)


def erasing_again(linked: Linked, http: Any) -> list[Any]:
    return [erase(http, linked.company, linked.caller, each) for each in (linked.first, linked.second)]


async def test_links_and_erasures_at_once_never_leave_a_document_without_its_bytes(
    http, worker_db, worker_clients, company, stack, admin
) -> None:
    caller, photo = await company.hire("manager"), b"\xff\xd8\xff " + uuid4().bytes
    file = await arrive(http, worker_db, company, caller, photo)

    async def link(project: Any) -> None:
        for _ in range(6):
            await open_files(http, company, caller, declare(photo), project=project)

    async def erase_all() -> None:
        for _ in range(12):
            listed = await http.get("/v1/documents", headers=company.bearer(caller))
            for document in listed.json()["items"][:1]:
                await erase(http, company, caller, document["document_id"])
            await service.delete_erased(worker_db, worker_clients.storage)

    await asyncio.gather(link(company.tower), link(company.school), link(company.school), erase_all())
    assert await swept(worker_db, worker_clients, admin, company.tenant_id) == 0
    left = await admin.fetchval("select count(*) from documents where tenant_id = $1", company.tenant_id)
    assert exists(stack, BUCKET, file["key"], VersionId=file["version"]) == (left > 0)


async def test_a_crash_after_deleting_only_means_doing_it_again(
    linked: Linked, http, worker_db, worker_clients, admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in (linked.first, linked.second):
        await erase(http, linked.company, linked.caller, each)

    async def crash(*_args: Any) -> None:
        raise ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr("buildpeer.modules.uploads.store.erased", crash)
        with pytest.raises(ConnectionError):
            await service.delete_erased(worker_db, worker_clients.storage)
    assert linked.there() == (False, False)
    assert await swept(worker_db, worker_clients, admin, linked.company.tenant_id) == 0


async def test_while_s3_is_away_the_order_to_erase_stays(
    linked: Linked, http, worker_db, worker_clients, admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in (linked.first, linked.second):
        await erase(http, linked.company, linked.caller, each)

    async def away(**_: Any) -> None:
        raise ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr(worker_clients.storage, "delete", away)
        assert await swept(worker_db, worker_clients, admin, linked.company.tenant_id) == 2
    assert linked.there() == (True, True)

    async def gone() -> bool:
        return await swept(worker_db, worker_clients, admin, linked.company.tenant_id) == 0

    assert await eventually(gone)
    assert linked.there() == (False, False)
