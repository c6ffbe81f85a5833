"""A file in which a scanner finds something when it was ready already, and steps done again."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import msgspec
import pytest
from click.testing import CliRunner
from tests.conftest import Clients, Company, declare
from tests.modules.uploads.arriving import BUCKET, arrive, message, open_files

from buildpeer import facts, wiring
from buildpeer.entrypoints.cli import main
from buildpeer.local.stack import Stack
from buildpeer.modules.documents.handlers import on_upload_ready
from buildpeer.modules.uploads import handlers, service
from buildpeer.platform import clock
from buildpeer.platform.db import Database
from buildpeer.platform.ids import new_id

pytestmark = pytest.mark.xdist_group("withdrawing")


def content() -> bytes:
    return f"a plan {new_id()}".encode()


async def say(worker_db: Database, source: str, kind: str, fact: Any) -> None:
    nothing: Any = None
    body = message(source, kind, fact)
    await handlers.on_fact(worker_db, nothing, body, on_ready=on_upload_ready, now=clock.now())


def place(upload: dict[str, Any], version: str = "") -> Any:
    return facts.Bucket(BUCKET), facts.Object(upload["key"], upload["size_bytes"], "e", version or upload["version"])


async def find(worker_db: Database, upload: dict[str, Any], *, version: str = "") -> None:
    fact = facts.FileScanned(*place(upload, version), "infected", "newer", "Trojan")
    await say(worker_db, facts.SOURCE_SCAN, facts.FILE_SCANNED, fact)


async def test_what_is_infected_after_all_is_taken_from_everybody_and_told_once(
    http: httpx.AsyncClient, worker_db: Database, company: Company, admin: asyncpg.Connection
) -> None:
    caller, data = await company.hire("manager"), content()
    upload = await arrive(http, worker_db, company, caller, data)
    [linked] = await open_files(http, company, caller, declare(data), project=company.school)
    assert linked["verdict"] == "duplicate"
    ids = {upload["upload_id"], linked["upload_id"]}
    await find(worker_db, upload, version="another")
    assert {d["document_id"] for d in await listed(http, company, caller)} == ids
    for _ in range(2):
        await find(worker_db, upload)
    assert await listed(http, company, caller) == []
    bearer = company.bearer(caller)
    for document_id in ids:
        assert (await http.get(f"/v1/documents/{document_id}", headers=bearer)).status_code == 404
        assert (await http.delete(f"/v1/documents/{document_id}", headers=bearer)).status_code == 404
        path = f"/v1/documents/{document_id}/downloads"
        assert (await http.post(path, json={"rendition": "original"}, headers=bearer)).status_code == 404
    seen = (await http.get(f"/v1/uploads/{upload['upload_id']}", headers=bearer)).json()
    assert (seen["state"], seen["reason"]) == ("quarantined", "infected")
    told = await admin.fetch(
        """select type, body #>> '{upload,state}' as state from outbox where tenant_id = $1
        union all select type, body #>> '{upload,state}' from event_log where tenant_id = $1""",
        company.tenant_id,
    )
    told = [tuple(row) for row in told]
    assert told.count(("document.withdrawn", None)) == 2
    assert told.count(("upload.changed", "quarantined")) == 1
    trail = await admin.fetch(
        """select object_type from audit.entries where tenant_id = $1 and action = 'update'
        and (changes ? 'withdrawn_at' or changes #>> '{state,1}' = 'quarantined')""",
        company.tenant_id,
    )
    assert sorted(row["object_type"] for row in trail) == ["documents", "documents", "uploads"]
    held = await admin.fetchval("select count(*) from erasures where tenant_id = $1", company.tenant_id)
    assert held == 0  # the bytes stay, locked away: the scanner may have been wrong


async def listed(http: httpx.AsyncClient, company: Company, caller: Any) -> list[dict[str, Any]]:
    return (await http.get("/v1/documents", headers=company.bearer(caller))).json()["items"]


async def test_nobody_is_linked_to_what_was_withdrawn(
    http: httpx.AsyncClient, worker_db: Database, company: Company
) -> None:
    caller, data = await company.hire(), content()
    upload = await arrive(http, worker_db, company, caller, data)
    await find(worker_db, upload)
    [again] = await open_files(http, company, caller, declare(data))
    assert again["verdict"] == "opened"
    files = {"files": [{"upload_id": upload["upload_id"], "sha256": declare(data)["sha256"]}]}
    answer = await http.post("/v1/manifests", json=files, headers=company.bearer(caller))
    assert "refused" in answer.text


async def test_pictures_made_anew_replace_those_of_every_document_with_the_bytes(
    http: httpx.AsyncClient, worker_db: Database, company: Company, admin: asyncpg.Connection
) -> None:
    caller, data = await company.hire("manager"), content()
    upload = await arrive(http, worker_db, company, caller, data)
    await open_files(http, company, caller, declare(data), project=company.school)
    picture = facts.Rendition("buildpeer-derived", f"{upload['key']}/{upload['version']}/preview.webp", 8, 6, 9)
    derived = facts.FileDerived(*place(upload), upload["sha256"], "image/jpeg", preview=picture)
    for _ in range(2):
        await say(worker_db, facts.SOURCE_DERIVE, facts.FILE_DERIVED, derived)
    assert [d["renditions"] for d in await listed(http, company, caller)] == [["original", "preview"]] * 2
    renewed = await admin.fetchval(
        "select count(*) from outbox where tenant_id = $1 and type = 'document.renewed'", company.tenant_id
    )
    logged = await admin.fetchval(
        "select count(*) from event_log where tenant_id = $1 and type = 'document.renewed'", company.tenant_id
    )
    assert renewed + logged == 2


@pytest.mark.parametrize("step", ["scan", "preview"])
async def test_a_step_is_asked_for_again_file_by_file_and_goes_on_where_it_stopped(
    http: httpx.AsyncClient,
    stack: Stack,
    worker_db: Database,
    worker_clients: Clients,
    company: Company,
    step: Any,
) -> None:
    def asked_for() -> list[str]:
        url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        batches = (sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10) for _ in range(4))
        return [_key(message["Body"], step) for batch in batches for message in batch.get("Messages", [])]

    caller = await company.hire()
    before = clock.now() - timedelta(seconds=1)
    ready = [await arrive(http, worker_db, company, caller, content()) for _ in range(12)]
    await find(worker_db, ready.pop())
    queue = wiring.queue_name(wiring.SCAN if step == "scan" else wiring.DERIVE, "bulk")
    sqs = stack.ministack.client("sqs")
    sqs.purge_queue(QueueUrl=sqs.get_queue_url(QueueName=queue)["QueueUrl"])

    async def go(after: tuple[UUID, UUID] = (UUID(int=0), UUID(int=0))) -> list[service.Asked]:
        named: Any = {"step": step, "kind": "photo", "since": before, "rate": 1e6, "after": after}
        return [asked async for asked in service.do_again(worker_db, worker_clients.queues, **named)]

    steps = await go((company.tenant_id, UUID(int=0)))
    assert steps[0].count == 10
    assert {upload["key"] for upload in ready} <= set(asked_for())
    await go(steps[0].last)
    assert len([key for key in asked_for() if str(company.tenant_id) in key]) == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["rescan", "--since", "1h", "--rate", "100000"], 0, "files asked for"),
        (["reprocess", "--kind", "plan", "--step", "preview", "--since", "0h"], 0, "0 files asked for"),
        (["rescan", "--since", "lately"], 2, "write it as 24h or 7d"),
        (["rescan", "--since", "1h", "--rate", "0"], 2, "more than 0"),
        (["reprocess", "--step", "preview", "--after", "there"], 2, "take what was printed"),
    ],
)
def test_the_commands_say_how_far_they_are(
    stack: Stack, admin_url: str, words: list[str], code: int, said: str
) -> None:
    told = CliRunner().invoke(main, words, env=stack.env("worker"))
    assert (told.exit_code, said in told.output) == (code, True), told.output


def test_with_guardduty_there_is_nobody_to_scan_again(stack: Stack) -> None:
    env = stack.env("worker") | {"BUILDPEER_VERDICTS": "guardduty"}
    assert CliRunner().invoke(main, ["rescan", "--since", "1h"], env=env).exit_code == 2


def _key(body: str, step: str) -> str:
    event = msgspec.json.decode(body, type=facts.Event)
    assert event.detail_type == (facts.RESCAN_WANTED if step == "scan" else facts.FILE_SCANNED)
    return msgspec.json.decode(event.detail)["object"]["key"]
