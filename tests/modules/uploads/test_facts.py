import hashlib
import itertools
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from tests.conftest import Company, eventually

from buildpeer import facts, wiring
from buildpeer.modules.documents.handlers import on_upload_ready, on_uploads_linked
from buildpeer.modules.notifications import service as notifications
from buildpeer.modules.uploads import handlers, rules, service
from buildpeer.modules.uploads.rules import NewUpload, Upload
from buildpeer.platform import clock
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database
from buildpeer.platform.ids import new_id
from buildpeer.platform.storage import Storage

CONTENT = b"\xff\xd8\xff bytes of a photo"
OPEN = Callable[..., Awaitable[Upload]]


@pytest.fixture
def opened(db: Database, storage: Storage, company: Company) -> OPEN:
    async def opened(caller: Caller, content: bytes = CONTENT) -> Upload:
        new = NewUpload(new_id(), "photo", "foto.jpg", len(content), "image/jpeg", hashlib.sha256(content).hexdigest())
        [answer] = await service.open_uploads(
            db,
            storage,
            caller=caller,
            project_id=company.tower,
            bucket="buildpeer-uploads",
            wanted=[new],
            on_linked=on_uploads_linked,
            now=clock.now(),
        )
        assert answer.upload is not None
        return answer.upload

    return opened


def created(upload: Upload, version: str = "v1") -> str:
    fact = facts.ObjectCreated(facts.Bucket(upload.bucket), facts.Object(upload.key, 9, "e", version))
    return as_message(facts.SOURCE_S3, facts.OBJECT_CREATED, fact)


def scanned(upload: Upload, verdict: Any = "clean", version: str = "v1") -> str:
    place = facts.Object(upload.key, 9, "e", version)
    fact = facts.FileScanned(facts.Bucket(upload.bucket), place, verdict, "yara", "eicar" if verdict != "clean" else "")
    return as_message(facts.SOURCE_SCAN, facts.FILE_SCANNED, fact)


def derived(upload: Upload, sha256: str | None = None, version: str = "v1") -> str:
    fact = facts.FileDerived(
        facts.Bucket(upload.bucket),
        facts.Object(upload.key, 9, "e", version),
        sha256 or upload.sha256.hex(),
        "image/jpeg",
        media=facts.Media(width=4000, height=3000, latitude=-33.4, longitude=-70.6),
        thumbnail=facts.Rendition("buildpeer-derived", f"{upload.key}/{version}/thumbnail.webp", 400, 300, 99),
    )
    return as_message(facts.SOURCE_DERIVE, facts.FILE_DERIVED, fact)


def as_message(source: str, kind: str, detail: Any) -> str:
    return msgspec.json.encode({"id": "x", "time": "now", **facts.event(source, kind, detail)}).decode()


async def tell(db: Database, *messages: str) -> None:
    storage: Any = None  # none of these facts has S3 asked
    for message in messages:
        await handlers.on_facts(db, storage, [message], on_ready=on_upload_ready, now=clock.now())


async def announced(admin: asyncpg.Connection, upload: Upload) -> list[str]:
    rows = await admin.fetch(
        """select type || ' ' || coalesce(body -> 'upload' ->> 'state', '') as line from
        (select type, body, outbox_id from outbox where tenant_id = $1
         union all select type, body, position from event_log where tenant_id = $1) all_news order by outbox_id""",
        upload.tenant_id,
    )
    return [row["line"].strip() for row in rows]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_facts_in_any_order_twice_over_end_in_one_ready_document(
    opened: OPEN, worker_db: Database, admin: asyncpg.Connection, company: Company, order: Any
) -> None:
    upload = await opened(await company.hire())
    messages = [created(upload), scanned(upload), derived(upload)]
    await tell(worker_db, *(messages[i] for i in order), *(messages[i] for i in reversed(order)))
    row = await admin.fetchrow("select * from uploads where upload_id = $1", upload.upload_id)
    assert (row["state"], row["version_id"], row["check_at"]) == ("ready", "v1", None)
    assert await admin.fetchval("select count(*) from documents where tenant_id = $1", company.tenant_id) == 1
    news = await announced(admin, upload)
    assert news.count("upload.changed ready") == 1
    assert news.count("document.added") == 1


@pytest.mark.parametrize(
    ("last", "state"),
    [
        (lambda u: scanned(u, "infected"), "quarantined"),
        (lambda u: scanned(u, "unscannable"), "unscannable"),
        (lambda u: derived(u, sha256="00" * 32), "mismatched"),
    ],
)
async def test_a_bad_file_ends_in_a_state_of_its_own_and_is_no_document(
    opened: OPEN, worker_db: Database, admin: asyncpg.Connection, company: Company, last: Any, state: str
) -> None:
    upload = await opened(await company.hire())
    first = [created(upload)] if state != "mismatched" else [created(upload), scanned(upload)]
    await tell(worker_db, *first, last(upload), derived(upload), scanned(upload))
    assert await admin.fetchval("select state from uploads where upload_id = $1", upload.upload_id) == state
    assert await admin.fetchval("select count(*) from documents where tenant_id = $1", company.tenant_id) == 0


async def test_a_fact_of_another_version_is_dropped(
    opened: OPEN, worker_db: Database, admin: asyncpg.Connection, company: Company
) -> None:
    upload = await opened(await company.hire())
    await tell(worker_db, created(upload), scanned(upload, version="v2"), derived(upload, version="v2"))
    assert await admin.fetchval("select state from uploads where upload_id = $1", upload.upload_id) == "scanning"


async def test_guardduty_speaks_as_our_own_scanner_does(
    opened: OPEN, worker_db: Database, admin: asyncpg.Connection, company: Company
) -> None:
    states = {}
    for status in ("NO_THREATS_FOUND", "THREATS_FOUND", "UNSUPPORTED", "ACCESS_DENIED", "FAILED"):
        upload = await opened(await company.hire())
        detail = {
            "s3ObjectDetails": {"bucketName": upload.bucket, "objectKey": upload.key, "versionId": "v1"},
            "scanResultDetails": {"scanResultStatus": status},
        }
        await tell(worker_db, as_message(facts.SOURCE_GUARDDUTY, facts.GUARDDUTY_RESULT, detail))
        states[status] = await admin.fetchval("select state from uploads where upload_id = $1", upload.upload_id)
    assert states == {
        "NO_THREATS_FOUND": "deriving",
        "THREATS_FOUND": "quarantined",
        "UNSUPPORTED": "unscannable",
        "ACCESS_DENIED": "unscannable",
        "FAILED": "unscannable",
    }


@pytest.mark.parametrize(
    "body", ["", "{}", "[]", '{"source": "aws.s3", "detail-type": "Object Deleted", "detail": {}}']
)
async def test_a_message_that_is_none_of_ours_is_refused(worker_db: Database, body: str) -> None:
    with pytest.raises((ValueError, msgspec.DecodeError)):
        await tell(worker_db, body)


async def test_a_fact_about_an_unknown_upload_is_dropped(worker_db: Database, opened: OPEN, company: Company) -> None:
    upload = await opened(await company.hire())
    stranger = msgspec.structs.replace(upload, key=f"live/{company.tenant_id}/{uuid4()}")
    other_lane = msgspec.structs.replace(upload, key=upload.key.replace("live/", "bulk/"))
    await tell(worker_db, created(stranger), created(other_lane))


async def make_due(admin: asyncpg.Connection, upload: Upload, **columns: Any) -> None:
    for name, value in {"check_at": clock.now() - timedelta(seconds=1), **columns}.items():
        await admin.execute(f"update uploads set {name} = $2 where upload_id = $1", upload.upload_id, value)


async def sweep(db: Database, storage: Storage, *, waiting: int = 0) -> None:
    async def backlog(_queue: str) -> int:
        return waiting

    queues = frozenset(wiring.queue_name(step, lane) for step in wiring.STEPS for lane in wiring.LANES)
    while await service.sweep(db, storage, queues=queues, backlog=backlog, on_ready=on_upload_ready, now=clock.now()):
        pass


async def redriven(admin: asyncpg.Connection, tenant_id: UUID) -> list[tuple[str, Any]]:
    rows = await admin.fetch(
        "select destination, body from outbox where tenant_id = $1 and destination <> 'log' order by outbox_id",
        tenant_id,
    )
    return [(row["destination"], msgspec.json.decode(row["body"])) for row in rows]


async def put_in_s3(http: Any, storage: Storage, upload: Upload) -> None:
    signed = storage.sign_write(
        bucket=upload.bucket, key=upload.key, size=len(CONTENT), content_type="image/jpeg", sha256=upload.sha256
    )
    assert (await http.put(signed.url, content=CONTENT, headers=signed.headers)).status_code == 200


@pytest.fixture
def worker_storage(worker_clients: Any) -> Storage:
    return worker_clients.storage


async def test_the_sweeper_finds_bytes_whose_event_was_lost_and_drives_them_to_the_scanner(
    opened: OPEN,
    http: Any,
    storage: Storage,
    worker_storage: Storage,
    worker_db: Database,
    admin: Any,
    company: Company,
) -> None:
    upload = await opened(await company.hire())
    await put_in_s3(http, storage, upload)
    await make_due(admin, upload)
    await sweep(worker_db, worker_storage)
    row = await admin.fetchrow("select * from uploads where upload_id = $1", upload.upload_id)
    assert row["state"] == "scanning"
    assert row["check_at"] > clock.now()
    [(queue, event)] = await redriven(admin, company.tenant_id)
    assert queue == wiring.queue_name(wiring.SCAN, upload.lane)
    fact = msgspec.convert(event["detail"], facts.ObjectCreated)
    assert (fact.object.key, fact.object.version_id, fact.object.size) == (upload.key, row["version_id"], len(CONTENT))


async def test_an_upload_that_cannot_be_looked_at_holds_no_other_up(
    opened: OPEN,
    http: Any,
    storage: Storage,
    worker_storage: Storage,
    worker_db: Database,
    admin: Any,
    company: Company,
) -> None:
    broken, good = await opened(await company.hire()), await opened(await company.hire())
    await put_in_s3(http, storage, good)

    async def swept() -> bool:
        await make_due(admin, broken, bucket="no such bucket")
        await make_due(admin, good)
        await sweep(worker_db, worker_storage)
        return await admin.fetchval("select state from uploads where upload_id = $1", good.upload_id) == "scanning"

    await eventually(swept)  # S3 may be too busy to answer once; every look is as good as the one before


async def test_the_sweeper_drives_a_clean_file_to_derive_and_waits_while_the_queue_is_long(
    opened: OPEN,
    http: Any,
    storage: Storage,
    worker_storage: Storage,
    worker_db: Database,
    admin: Any,
    company: Company,
) -> None:
    upload = await opened(await company.hire())
    await put_in_s3(http, storage, upload)
    held = await worker_storage.head(bucket=upload.bucket, key=upload.key)
    assert held is not None
    await tell(worker_db, scanned(upload, version=held.version_id))
    await make_due(admin, upload)
    await sweep(worker_db, worker_storage, waiting=7)
    assert await redriven(admin, company.tenant_id) == []
    await make_due(admin, upload)
    await sweep(worker_db, worker_storage)
    [(queue, event)] = await redriven(admin, company.tenant_id)
    assert queue == wiring.queue_name(wiring.DERIVE, upload.lane)
    assert msgspec.convert(event["detail"], facts.FileScanned).verdict == "clean"


async def test_a_sweep_asks_each_queue_once_and_s3_nothing_about_what_waits_in_line(
    opened: OPEN, worker_db: Database, admin: Any, company: Company
) -> None:
    uploads = [await opened(await company.hire()) for _ in range(3)]
    for upload in uploads:
        await tell(worker_db, created(upload))
        await make_due(admin, upload, updated_at=clock.now() - timedelta(seconds=40))
    asked: list[str] = []

    async def backlog(queue: str) -> int:
        asked.append(queue)
        return 7

    nothing: Any = None  # there is no S3 to ask
    queues = frozenset([wiring.queue_name(wiring.SCAN, "live")])
    await service.sweep(worker_db, nothing, queues=queues, backlog=backlog, on_ready=on_upload_ready, now=clock.now())
    assert asked == [*queues]
    for upload in uploads:
        row = await admin.fetchrow("select check_at, redrives from uploads where upload_id = $1", upload.upload_id)
        assert 30 < (row["check_at"] - clock.now()).total_seconds() < 45
        assert row["redrives"] == 0
    assert await redriven(admin, company.tenant_id) == []


async def test_what_could_not_be_looked_at_is_looked_at_again_within_seconds(
    opened: OPEN, worker_db: Database, admin: Any, company: Company
) -> None:
    upload = await opened(await company.hire())
    await tell(worker_db, created(upload))
    await make_due(admin, upload)

    async def away(_queue: str) -> int:
        raise ConnectionError

    nothing: Any = None  # S3 is away as well
    queues = frozenset([wiring.queue_name(wiring.SCAN, "live")])
    await service.sweep(worker_db, nothing, queues=queues, backlog=away, on_ready=on_upload_ready, now=clock.now())
    row = await admin.fetchrow("select check_at, redrives from uploads where upload_id = $1", upload.upload_id)
    assert 5 < (row["check_at"] - clock.now()).total_seconds() < 15
    assert row["redrives"] == 0


async def test_the_sweeper_gives_up_on_what_processing_never_answers(
    opened: OPEN,
    http: Any,
    storage: Storage,
    worker_storage: Storage,
    worker_db: Database,
    admin: Any,
    company: Company,
) -> None:
    upload = await opened(await company.hire())
    await put_in_s3(http, storage, upload)
    await make_due(admin, upload)
    await sweep(worker_db, worker_storage)
    await make_due(admin, upload, redrives=rules.MAX_REDRIVES)
    await sweep(worker_db, worker_storage)
    row = await admin.fetchrow("select state, reason, check_at from uploads where upload_id = $1", upload.upload_id)
    assert tuple(row) == ("failed", "processing_failed", None)


async def test_what_never_arrives_is_waited_for_a_week_and_then_expires(
    opened: OPEN, worker_storage: Storage, worker_db: Database, admin: Any, company: Company
) -> None:
    upload = await opened(await company.hire())
    await make_due(admin, upload, **dict.fromkeys(("created_at", "updated_at"), clock.now() - timedelta(days=6)))
    await sweep(worker_db, worker_storage)
    assert await admin.fetchval("select state from uploads where upload_id = $1", upload.upload_id) == "requested"
    await make_due(admin, upload, **dict.fromkeys(("created_at", "updated_at"), clock.now() - timedelta(days=8)))
    await sweep(worker_db, worker_storage)
    assert await admin.fetchval("select state from uploads where upload_id = $1", upload.upload_id) == "expired"


async def test_a_redrive_leaves_the_outbox_only_once_the_queue_has_it(
    opened: OPEN,
    http: Any,
    storage: Storage,
    worker_clients: Any,
    worker_db: Database,
    admin: Any,
    company: Company,
) -> None:
    upload = await opened(await company.hire())
    await put_in_s3(http, storage, upload)
    await make_due(admin, upload)
    await sweep(worker_db, worker_clients.storage)

    class Away:
        async def send(self, *_args: Any) -> list[int]:
            raise ConnectionError

    await notifications.relay_messages(worker_db, Away())  # type: ignore[arg-type]
    assert len(await redriven(admin, company.tenant_id)) == 1
    while await notifications.relay_messages(worker_db, worker_clients.queues):
        pass
    assert await redriven(admin, company.tenant_id) == []


async def test_an_infected_verdict_replaces_a_clean_one(
    opened: OPEN, worker_db: Database, admin: asyncpg.Connection, company: Company
) -> None:
    upload = await opened(await company.hire())
    await tell(worker_db, scanned(upload), scanned(upload, "infected"), derived(upload), scanned(upload))
    assert await admin.fetchval("select state from uploads where upload_id = $1", upload.upload_id) == "quarantined"


@pytest.mark.parametrize("how", ["another's picture", "an original", "another bucket"])
async def test_derive_can_speak_only_of_its_own_pictures(
    opened: OPEN, worker_db: Database, admin: asyncpg.Connection, company: Company, how: str
) -> None:
    upload, other = await opened(await company.hire()), await opened(await company.hire())
    await tell(worker_db, scanned(upload))
    fact = msgspec.json.decode(derived(upload))
    if how == "another's picture":
        fact["detail"]["thumbnail"]["key"] = f"{other.key}/v1/thumbnail.webp"
    elif how == "an original":
        fact["detail"]["thumbnail"] |= {"bucket": other.bucket, "key": other.key}
    else:
        fact["detail"]["bucket"]["name"] = "elsewhere"
    message = msgspec.json.encode(fact).decode()
    if how == "another bucket":
        await tell(worker_db, message)
    else:
        with pytest.raises(ValueError, match="no picture of"):
            await tell(worker_db, message)
    assert await admin.fetchval("select state from uploads where upload_id = $1", upload.upload_id) == "deriving"


async def test_a_nul_in_a_fact_is_left_out(
    opened: OPEN, worker_db: Database, admin: asyncpg.Connection, company: Company
) -> None:
    upload = await opened(await company.hire())
    fact = msgspec.json.decode(derived(upload))
    fact["detail"]["media"]["camera"] = "Can\x00on"
    await tell(worker_db, scanned(upload), msgspec.json.encode(fact).decode())
    media = await admin.fetchval("select media ->> 'camera' from documents where tenant_id = $1", company.tenant_id)
    assert media == "Canon"
