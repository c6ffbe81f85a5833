"""A file in which a scanner finds something when it was ready already, and steps done again."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import msgspec
import pytest
from click.testing import CliRunner
from tests.conftest import OPERATOR_KEY, Clients, Company, declare
from tests.modules.uploads.arriving import BUCKET, arrive, key_of, message, open_files, put, tell

from buildpeer import facts, wiring
from buildpeer.entrypoints.cli import main
from buildpeer.local.stack import Stack
from buildpeer.modules.documents.handlers import on_upload_ready
from buildpeer.modules.uploads import handlers, service
from buildpeer.platform import clock
from buildpeer.platform.db import Database
from buildpeer.platform.ids import new_id

pytestmark = pytest.mark.xdist_group("withdrawing")
OPERATOR = {"authorization": f"Bearer {OPERATOR_KEY}"}


def content() -> bytes:
    return f"a plan {new_id()}".encode()


async def say(worker_db: Database, source: str, kind: str, fact: Any) -> None:
    nothing: Any = None
    body = message(source, kind, fact)
    await handlers.on_facts(worker_db, nothing, [body], on_ready=on_upload_ready, now=clock.now())


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
    derived = facts.FileDerived(*place(upload), upload["sha256"], "image/jpeg", preview=picture(upload))
    await say(worker_db, facts.SOURCE_DERIVE, facts.FILE_DERIVED, derived)  # the first word, once more and late
    assert [d["renditions"] for d in await listed(http, company, caller)] == [["original", "thumbnail"]] * 2
    for _ in range(2):
        await renew(worker_db, upload, "preview", preview=picture(upload))
    assert [d["renditions"] for d in await listed(http, company, caller)] == [["original", "preview"]] * 2
    renewed = await admin.fetchval(
        "select count(*) from outbox where tenant_id = $1 and type = 'document.renewed'", company.tenant_id
    )
    logged = await admin.fetchval(
        "select count(*) from event_log where tenant_id = $1 and type = 'document.renewed'", company.tenant_id
    )
    assert renewed + logged == 2


def picture(upload: dict[str, Any]) -> facts.Rendition:
    return facts.Rendition("buildpeer-derived", f"{upload['key']}/{upload['version']}/preview.webp", 8, 6, 9)


async def renew(worker_db: Database, upload: dict[str, Any], step: Any, **told: Any) -> None:
    """What derive says of a file that is ready."""
    told = {"content_type": "image/jpeg"} | told
    fact = facts.FileDerived(*place(upload), upload["sha256"], renews=step, **told)
    await say(worker_db, facts.SOURCE_DERIVE, facts.FILE_DERIVED, fact)


CLOCK = datetime(2026, 11, 23, 7, 30)
MEDIA = facts.Media(width=8, height=6, captured_at=CLOCK, latitude=-33.4, longitude=-70.6)


async def test_all_that_derive_says_is_renewed_by_steps_and_what_people_said_stays(
    http: httpx.AsyncClient, worker_db: Database, company: Company, admin: asyncpg.Connection
) -> None:
    caller, data = await company.hire("manager"), content()
    upload = await arrive(http, worker_db, company, caller, data)
    await open_files(http, company, caller, declare(data) | {"name": "patio.jpg"}, project=company.school)
    for project, zone in ((company.tower, "America/Santiago"), (company.school, "America/Bogota")):
        await admin.execute("update projects set timezone = $2 where project_id = $1", project, zone)
    told: Any = {
        "content_type": "image/heic",
        "media": MEDIA,
        "preview": picture(upload),
        "icon": "photo",
        "text": "Losa",
    }

    async def seen(q: str | None = None) -> list[dict[str, Any]]:
        params = {"q": q} if q else {}
        answer = await http.get("/v1/documents", params=params, headers=company.bearer(caller))
        return sorted(answer.json()["items"], key=lambda d: d["document_id"])

    before = await seen()
    names = ("document_id", "project_id", "kind", "name", "created_by", "created_at", "sha256")
    await renew(worker_db, upload, "words", **told)
    assert await seen() == before and await seen("losa") == before
    assert [d["name"] for d in await seen("losa patio")] == ["patio.jpg"]  # by its own name, not by the first one's
    await renew(worker_db, upload, "media", **told)
    for document, zone in zip(read := await seen(), ("-03:00", "-05:00"), strict=True):
        assert (document["content_type"], document["icon"], document["captured_from"]) == (
            "image/heic",
            "photo",
            "project",
        )
        assert datetime.fromisoformat(document["captured_at"]) == datetime.fromisoformat(f"{CLOCK.isoformat()}{zone}")
        assert (document["latitude"], document["located_from"]) == (-33.4, "camera")
        assert document["renditions"] == ["original", "thumbnail"] and document["media"]["width"] == 8
    assert [[d[name] for name in names] for d in read] == [[d[name] for name in names] for d in before]
    await admin.execute(
        "update documents set captured_at = $2, captured_from = 'client' where tenant_id = $1",
        company.tenant_id,
        CLOCK.replace(tzinfo=UTC),
    )
    await renew(worker_db, upload, "all", **told | {"text": "Muro", "icon": "other"})
    for document in await seen("muro"):
        assert (document["captured_at"], document["captured_from"]) == ("2026-11-23T07:30:00Z", "client")
        assert (document["icon"], document["renditions"]) == ("other", ["original", "preview"])
    assert await seen("losa") == [] and len(await seen("muro")) == 2


async def test_a_document_that_was_erased_or_withdrawn_does_not_come_back_with_a_renewal(
    http: httpx.AsyncClient, worker_db: Database, company: Company
) -> None:
    caller, data = await company.hire("manager"), content()
    upload = await arrive(http, worker_db, company, caller, data)
    [linked] = await open_files(http, company, caller, declare(data), project=company.school)
    bearer = company.bearer(caller)
    assert (await http.delete(f"/v1/documents/{upload['upload_id']}", headers=bearer)).status_code == 204
    await renew(worker_db, upload, "all", preview=picture(upload))
    assert [d["document_id"] for d in await listed(http, company, caller)] == [linked["upload_id"]]
    await find(worker_db, upload)
    await renew(worker_db, upload, "all")
    assert await listed(http, company, caller) == []


@pytest.fixture
async def asked(stack: Stack, worker_db: Database, worker_clients: Clients) -> Callable[[], Awaitable[list[Any]]]:
    """What the worker asks the scanner because somebody wants files released."""
    sqs = stack.ministack.client("sqs")
    url = sqs.get_queue_url(QueueName=wiring.queue_name(wiring.SCAN, "live"))["QueueUrl"]
    sqs.purge_queue(QueueUrl=url)

    async def ask() -> list[Any]:
        await service.ask_scanner(worker_db, worker_clients.queues)
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        events = [msgspec.json.decode(m["Body"], type=facts.Event) for m in found]
        wanted = [event.detail for event in events if event.detail_type == facts.RESCAN_WANTED]
        return [msgspec.json.decode(each, type=facts.RescanWanted) for each in wanted]

    return ask


async def answer(worker_db: Database, upload: dict[str, Any], verdict: Any, order: str = "") -> None:
    fact = facts.FileScanned(*place(upload), verdict, "newest", "Trojan" if verdict == "infected" else "", order)
    await say(worker_db, facts.SOURCE_SCAN, facts.FILE_SCANNED, fact)


async def test_a_false_alarm_is_undone_by_an_operator_and_the_scanner_s_answer_to_that_very_order(
    http: httpx.AsyncClient, worker_db: Database, company: Company, admin: asyncpg.Connection, asked: Any
) -> None:
    caller, data = await company.hire("manager"), content()
    upload = await arrive(http, worker_db, company, caller, data)
    [linked] = await open_files(http, company, caller, declare(data), project=company.school)
    path = f"/v1/ops/quarantine/{company.tenant_id}/{upload['upload_id']}/release"
    assert (await http.post(path, headers=OPERATOR)).status_code == 404  # it isn't locked away
    before = await listed(http, company, caller)
    await find(worker_db, upload)
    assert await asked() == []  # and nobody asks by himself
    for _ in range(2):
        told = await http.post(path, headers=OPERATOR)
        assert (told.status_code, told.json()["wanted_by"], told.json()["verdict"]) == (202, "marta", None)
    [question] = await asked()
    assert (question.object.key, question.object.version_id, await asked()) == (upload["key"], upload["version"], [])
    other = await arrive(http, worker_db, company, caller, content())
    for _ in range(2):  # an older verdict that comes late, one to nobody's order, and one on other bytes
        await answer(worker_db, upload, "clean")
        await answer(worker_db, upload, "clean", str(new_id()))
        await answer(worker_db, other, "clean", question.order)
    assert len(await listed(http, company, caller)) == 1
    for _ in range(2):
        await answer(worker_db, upload, "clean", question.order)
    after = {each["document_id"]: each for each in await listed(http, company, caller)}
    assert {d["document_id"]: d for d in before}.items() <= after.items() and len(after) == 3
    seen = (await http.get(f"/v1/uploads/{upload['upload_id']}", headers=company.bearer(caller))).json()
    assert (seen["state"], seen["reason"]) == ("ready", None)
    files = {"files": [{"upload_id": linked["upload_id"], "sha256": declare(data)["sha256"]}]}
    assert (await http.post("/v1/manifests", json=files, headers=company.bearer(caller))).json()["safe"] == 1
    trail = await admin.fetch(
        "select action, request_id, changes::text from audit.entries where tenant_id = $1 and object_type = 'releases'",
        company.tenant_id,
    )
    ordered, ended = sorted(trail, key=lambda entry: entry["action"])
    assert ordered["request_id"] == "operator:marta" and '"marta"' in ordered["changes"]
    assert '"clean"' in ended["changes"]
    told = await admin.fetch(
        """select type from outbox where tenant_id = $1 and type like 'document.ret%'
        union all select type from event_log where tenant_id = $1 and type like 'document.ret%'""",
        company.tenant_id,
    )
    assert len(told) == 2


async def test_what_is_still_infected_stays_locked_and_says_so(
    http: httpx.AsyncClient, worker_db: Database, company: Company, asked: Any
) -> None:
    caller = await company.hire("manager")
    upload = await arrive(http, worker_db, company, caller, content())
    await find(worker_db, upload)
    path = f"/v1/ops/quarantine/{company.tenant_id}/{upload['upload_id']}/release"
    for verdict in ("infected", "unscannable"):
        await http.post(path, headers=OPERATOR)
        [question] = await asked()
        await answer(worker_db, upload, verdict, question.order)
        await answer(worker_db, upload, "clean", question.order)  # too late: the order has ended
        items = (await http.get("/v1/ops/quarantine?limit=200", headers=OPERATOR)).json()["items"]
        [row] = [each for each in items if each["upload_id"] == upload["upload_id"]]
        assert (row["verdict"], row["signature"], bool(row["ended_at"])) == (verdict, "Trojan", True)
    assert await listed(http, company, caller) == []


async def test_a_file_that_was_never_ready_goes_on_where_the_alarm_stopped_it(
    http: httpx.AsyncClient, worker_db: Database, company: Company, admin: asyncpg.Connection, asked: Any, stack: Stack
) -> None:
    caller, data = await company.hire(), content()
    [result] = await open_files(http, company, caller, declare(data))
    version = await put(http, result, data)
    upload = result["upload"] | {"version": version, "key": key_of(company, result["upload"])}
    await find(worker_db, upload)
    words = ["quarantine", "release", str(company.tenant_id), upload["upload_id"]]
    told = await asyncio.to_thread(CliRunner().invoke, main, words, env=stack.env("worker"))
    assert (told.exit_code, "wanted by terminal:" in told.output) == (0, True), told.output
    await admin.execute("update releases set asked_at = now() - interval '11 minutes' where ended_at is null")
    questions = [*await asked(), *await asked()]
    await answer(worker_db, upload, "clean", next(q.order for q in questions if q.object.key == upload["key"]))
    await tell(worker_db, company, result["upload"], version, "derived")
    assert [d["document_id"] for d in await listed(http, company, caller)] == [upload["upload_id"]]


async def test_the_scanner_is_asked_again_but_not_for_ever(
    http: httpx.AsyncClient, worker_db: Database, company: Company, admin: asyncpg.Connection, asked: Any
) -> None:
    caller = await company.hire("manager")
    upload = await arrive(http, worker_db, company, caller, content())
    await find(worker_db, upload)
    path = f"/v1/ops/quarantine/{company.tenant_id}/{upload['upload_id']}/release"
    await http.post(path, headers=OPERATOR)
    for asks, count in ((0, 1), (11, 1), (12, 0)):
        await admin.execute(
            "update releases set asked_at = now() - interval '11 minutes', asks = $2 where tenant_id = $1",
            *(company.tenant_id, asks),
        )
        assert len([q for q in await asked() if q.object.key == upload["key"]]) == count
    assert (await http.post(path, headers=OPERATOR)).json()["ended_at"] is None  # but may be wanted anew


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
        (["quarantine", "list"], 0, "locked away|files"),
        (["quarantine", "release", str(UUID(int=1)), str(UUID(int=2))], 1, "is locked away"),
    ],
)
def test_the_commands_say_how_far_they_are(
    stack: Stack, admin_url: str, words: list[str], code: int, said: str
) -> None:
    told = CliRunner().invoke(main, words, env=stack.env("worker"))
    assert (told.exit_code, bool(re.search(said, told.output))) == (code, True), told.output


def test_with_guardduty_there_is_nobody_to_scan_again(stack: Stack) -> None:
    env = stack.env("worker") | {"BUILDPEER_VERDICTS": "guardduty"}
    assert CliRunner().invoke(main, ["rescan", "--since", "1h"], env=env).exit_code == 2
    told = CliRunner().invoke(main, ["quarantine", "release", str(UUID(int=1)), str(UUID(int=2))], env=env)
    assert told.exit_code == 1 and "GuardDuty" in told.output


def _key(body: str, step: str) -> str:
    event = msgspec.json.decode(body, type=facts.Event)
    assert event.detail_type == (facts.RESCAN_WANTED if step == "scan" else facts.DERIVE_WANTED)
    return msgspec.json.decode(event.detail)["object"]["key"]
