import asyncio
import hashlib
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from tests.conftest import Company, declare, eventually

from buildpeer import wiring
from buildpeer.modules.documents.handlers import on_upload_ready
from buildpeer.modules.uploads import rules, service
from buildpeer.platform import clock
from buildpeer.platform.auth import Caller
from buildpeer.platform.storage import Storage

MIB = 1024 * 1024
CONTENT = bytes(range(256)) * (17 * MIB // 256) + b"the end"
PARTS = [CONTENT[start : start + 8 * MIB] for start in range(0, len(CONTENT), 8 * MIB)]


def spans(start: int, end: int) -> dict[str, int]:
    return {"offset": start, "length": end - start}


class Sender:
    """Somebody who sends one plan in three parts."""

    def __init__(self, http: httpx.AsyncClient, company: Company, caller: Caller) -> None:
        self.http, self.company, self.caller = http, company, caller
        self.upload_id = ""

    async def open(self) -> dict[str, Any]:
        item = declare(CONTENT, kind="plan", name="plano.pdf", content_type="application/pdf")
        path = f"/v1/projects/{self.company.tower}/uploads"
        answer = await self.http.post(path, json={"uploads": [item]}, headers=self.bearer)
        [result] = answer.json()["results"]
        self.upload_id = item["upload_id"]
        return result

    @property
    def bearer(self) -> dict[str, str]:
        return self.company.bearer(self.caller)

    async def post(self, what: str, body: Any = None) -> httpx.Response:
        json = {} if body is None else {"json": body}
        return await self.http.post(f"/v1/uploads/{self.upload_id}/{what}", headers=self.bearer, **json)

    async def state(self) -> dict[str, Any]:
        return (await self.http.get(f"/v1/uploads/{self.upload_id}", headers=self.bearer)).json()

    async def send(self, *numbers: int, content: bytes | None = None) -> list[int]:
        answer = await self.post("urls", {"parts": list(numbers)})
        assert answer.status_code == 200, answer.text
        statuses = []
        for signed in answer.json()["parts"]:
            part = PARTS[signed["part_number"] - 1] if content is None else content
            put = await self.http.put(signed["put"]["url"], content=part, headers=signed["put"]["headers"])
            statuses.append(put.status_code)
        return statuses


@pytest.fixture
async def sender(http: httpx.AsyncClient, company: Company) -> Sender:
    sender = Sender(http, company, await company.hire())
    await sender.open()
    return sender


async def test_a_plan_travels_in_parts_and_is_joined_when_all_have_arrived(
    http: httpx.AsyncClient, company: Company, worker_clients: Any
) -> None:
    sender = Sender(http, company, await company.hire())
    opened = await sender.open()
    assert opened["put"] is None
    assert opened["upload"]["parts"] == {"size": 8 * MIB, "count": 3}
    assert opened["upload"]["received"] is None
    assert (await sender.state())["received"] == []
    assert await sender.send(3, 1) == [200, 200]
    state = await sender.state()
    assert (state["state"], state["received"]) == ("receiving", [spans(0, 8 * MIB), spans(16 * MIB, len(CONTENT))])
    early = await sender.post("completion")
    assert (early.status_code, early.json()["code"]) == (409, "upload_incomplete")
    assert early.json()["missing"] == [spans(8 * MIB, 16 * MIB)]
    assert await sender.send(2) == [200]
    for _ in range(2):
        assert (await sender.post("completion")).json()["state"] == "stored"
    assert (await sender.state())["received"] == [spans(0, len(CONTENT))]
    upload = await sender.state()
    held = await worker_clients.storage.head(
        bucket="buildpeer-uploads", key=f"{upload['lane']}/{company.tenant_id}/{sender.upload_id}"
    )
    assert held.size == len(CONTENT)
    assert (await sender.post("urls", {"parts": [1]})).json()["code"] == "upload_closed"


async def test_what_is_joined_is_byte_for_byte_what_was_sent(sender: Sender, stack: Any) -> None:
    await sender.send(2, 3, 1)
    await sender.send(2)  # again, as a phone whose reply was lost does
    await sender.post("completion")
    upload = await sender.state()
    s3 = stack.ministack.client("s3")
    key = f"{upload['lane']}/{sender.company.tenant_id}/{sender.upload_id}"
    body = s3.get_object(Bucket="buildpeer-uploads", Key=key)["Body"].read()
    assert hashlib.sha256(body).hexdigest() == upload["sha256"]


@pytest.mark.parametrize("numbers", [[0], [4], [-1], [1, 99], list(range(1, 66))])
async def test_only_parts_that_the_file_has_are_signed(sender: Sender, numbers: list[int]) -> None:
    answer = await sender.post("urls", {"parts": numbers})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


async def test_a_part_of_another_length_is_refused_by_its_signature(sender: Sender) -> None:
    signed = (await sender.post("urls", {"parts": [1]})).json()["parts"][0]["put"]
    short = await sender.http.put(signed["url"], content=b"short", headers=signed["headers"] | {"content-length": "5"})
    assert short.status_code == 403
    assert (await sender.state())["received"] == []


async def test_a_file_of_one_part_takes_no_part_urls_and_a_large_one_no_whole_url(
    http: httpx.AsyncClient, sender: Sender
) -> None:
    assert (await sender.post("urls")).json()["code"] == "invalid"
    item = declare(b"small")
    path = f"/v1/projects/{sender.company.tower}/uploads"
    await http.post(path, json={"uploads": [item]}, headers=sender.bearer)
    answer = await http.post(f"/v1/uploads/{item['upload_id']}/urls", json={"parts": [1]}, headers=sender.bearer)
    assert answer.json()["code"] == "invalid"


async def test_calls_that_race_to_begin_share_one_multipart_upload(sender: Sender, stack: Any) -> None:
    answers = await asyncio.gather(*(sender.post("urls", {"parts": [1, 2]}) for _ in range(6)))
    ids = {httpx.URL(part["put"]["url"]).params["uploadId"] for a in answers for part in a.json()["parts"]}
    assert len(ids) == 1
    listed = stack.ministack.client("s3").list_multipart_uploads(Bucket="buildpeer-uploads").get("Uploads", [])
    assert len([u for u in listed if sender.upload_id in u["Key"]]) == 1


async def test_a_multipart_upload_that_s3_has_lost_is_sent_anew_under_the_same_id(sender: Sender, stack: Any) -> None:
    await sender.send(1, 2)
    s3 = stack.ministack.client("s3")
    [lost] = [
        u for u in s3.list_multipart_uploads(Bucket="buildpeer-uploads")["Uploads"] if sender.upload_id in u["Key"]
    ]
    s3.abort_multipart_upload(Bucket="buildpeer-uploads", Key=lost["Key"], UploadId=lost["UploadId"])
    assert (await sender.state())["received"] == []
    assert (await sender.post("completion")).json()["missing"] == [spans(0, len(CONTENT))]
    assert await sender.send(1, 2, 3) == [200, 200, 200]
    assert (await sender.post("completion")).json()["state"] == "stored"


async def test_cancelling_frees_the_parts(sender: Sender, stack: Any) -> None:
    await sender.send(1)
    assert (await sender.post("cancellation")).json()["state"] == "cancelled"
    uploads = stack.ministack.client("s3").list_multipart_uploads(Bucket="buildpeer-uploads").get("Uploads", [])
    assert not [u for u in uploads if sender.upload_id in u["Key"]]
    assert (await sender.post("completion")).json()["code"] == "upload_closed"


async def swept(worker_db: Any, storage: Storage, admin: asyncpg.Connection, upload_id: str, **columns: Any) -> str:
    for name, value in {"check_at": clock.now() - timedelta(seconds=1), **columns}.items():
        await admin.execute(f"update uploads set {name} = $2 where upload_id = $1", upload_id, value)
    names = frozenset(wiring.queue_name(step, lane) for step in wiring.STEPS for lane in wiring.LANES)

    async def backlog(_queue: str) -> int:
        return 0

    while await service.sweep(
        worker_db, storage, queues=names, backlog=backlog, on_ready=on_upload_ready, now=clock.now()
    ):
        pass
    return await admin.fetchval("select state from uploads where upload_id = $1", upload_id)


async def test_the_sweeper_joins_what_is_all_there_when_the_phone_is_gone(
    sender: Sender, worker_db: Any, worker_clients: Any, admin: asyncpg.Connection
) -> None:
    await sender.send(1, 2)
    assert await swept(worker_db, worker_clients.storage, admin, sender.upload_id) == "receiving"
    await sender.send(3)
    assert await swept(worker_db, worker_clients.storage, admin, sender.upload_id) == "scanning"


async def test_the_sweeper_gives_abandoned_parts_back(
    sender: Sender, worker_db: Any, worker_clients: Any, admin: asyncpg.Connection, stack: Any
) -> None:
    await sender.send(1)
    old = clock.now() - rules.IDLE_LIFE - timedelta(days=1)
    assert (
        await swept(worker_db, worker_clients.storage, admin, sender.upload_id, created_at=old - rules.LIFE)
        == "expired"
    )

    async def gone() -> bool:
        uploads = stack.ministack.client("s3").list_multipart_uploads(Bucket="buildpeer-uploads").get("Uploads", [])
        return not [u for u in uploads if sender.upload_id in u["Key"]]

    assert await eventually(gone)
