from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner
from rich.console import Console
from tests.conftest import acting_as, declare
from tests.modules.uploads.arriving import BUCKET, arrive, key_of, open_files, put, tell

from buildpeer import layout
from buildpeer.entrypoints import orphans as command
from buildpeer.entrypoints.cli import main
from buildpeer.modules.uploads import rules, service
from buildpeer.modules.uploads.service import Buckets, Orphan
from buildpeer.platform import clock
from buildpeer.platform.ids import new_id

CHUNKS, DERIVED = "buildpeer-chunks", "buildpeer-derived"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def s3(stack: Any) -> Any:
    client = stack.ministack.client("s3")
    if CHUNKS not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=CHUNKS)
    return client


async def found(worker_db: Any, worker_clients: Any, tenant_id: Any, *, later: timedelta = 2 * DAY) -> list[Orphan]:
    """What the hunt finds of one tenant, as it would `later`."""
    now = clock.now() + later
    looked = service.find_orphans(
        worker_db, worker_clients.storage, buckets=Buckets(BUCKET, CHUNKS, DERIVED), older_than=now - DAY, now=now
    )
    return [orphan async for page in looked for orphan in page.orphans if str(tenant_id) in orphan.key]


def kinds(orphans: list[Orphan]) -> list[tuple[str, str]]:
    return sorted((orphan.kind, orphan.reason) for orphan in orphans)


async def litter(s3: Any, http: Any, company: Any, caller: Any, worker_db: Any, admin: Any, state: str | None) -> None:
    """One upload's version, multipart, chunk and picture; its state as given, or no such upload at all."""
    [result] = await open_files(http, company, caller, declare(uuid4().bytes))
    upload_id, key = result["upload_id"], key_of(company, result["upload"])
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"version")
    s3.create_multipart_upload(Bucket=BUCKET, Key=key)
    s3.put_object(Bucket=CHUNKS, Key=f"{company.tenant_id}/{upload_id}/00001/0131072-0131072", Body=b"chunk")
    s3.put_object(Bucket=DERIVED, Key=f"{key}/v1/thumbnail.webp", Body=b"picture")
    if state is None:
        await admin.execute("delete from uploads where upload_id = $1", upload_id)
    else:
        await admin.execute("update uploads set state = $2 where upload_id = $1", upload_id, state)


EVERYTHING = ["chunk", "multipart", "picture", "version"]


@pytest.mark.parametrize(
    ("state", "needless"),
    [
        (None, EVERYTHING),
        *((state, EVERYTHING) for state in ("cancelled", "expired", "mismatched", "duplicate", "ready")),
        *((state, []) for state in ("requested", "receiving", "stored", "scanning", "deriving")),
        *((state, EVERYTHING[:3]) for state in ("quarantined", "unscannable", "failed")),
    ],
)
async def test_what_is_needless_follows_from_the_state_and_is_reaped(
    http, worker_db, worker_clients, company, admin, s3, state: str | None, needless: list[str]
) -> None:
    await litter(s3, http, company, await company.hire(), worker_db, admin, state)
    orphans = await found(worker_db, worker_clients, company.tenant_id)
    assert kinds(orphans) == [(kind, state or "no upload") for kind in needless]
    gone = await service.reap(worker_db, worker_clients.storage, orphans, now=clock.now() + 2 * DAY)
    assert kinds(gone) == kinds(orphans)
    assert await found(worker_db, worker_clients, company.tenant_id) == []
    kept = s3.list_object_versions(Bucket=BUCKET, Prefix=f"live/{company.tenant_id}/").get("Versions", [])
    assert len(kept) == ("version" not in needless)


async def test_what_is_young_or_may_still_be_written_is_never_an_orphan(
    http, worker_db, worker_clients, company, admin, s3
) -> None:
    await litter(s3, http, company, await company.hire(), worker_db, admin, "cancelled")
    assert await found(worker_db, worker_clients, company.tenant_id, later=DAY - timedelta(minutes=1)) == []
    await admin.execute("update uploads set updated_at = $2 where tenant_id = $1", company.tenant_id, clock.now() + DAY)
    just_before = DAY + timedelta(hours=5, minutes=59)
    assert await found(worker_db, worker_clients, company.tenant_id, later=just_before) == []
    assert len(await found(worker_db, worker_clients, company.tenant_id, later=just_before + timedelta(hours=1))) == 4


async def test_bytes_that_a_document_links_are_no_orphans_whatever_became_of_the_first_document(
    http, worker_db, worker_clients, company, s3
) -> None:
    caller, photo = await company.hire("manager"), uuid4().bytes
    first = await arrive(http, worker_db, company, caller, photo)
    s3.put_object(Bucket=DERIVED, Key=f"{first['key']}/{first['version']}/thumbnail.webp", Body=b"picture")
    await open_files(http, company, caller, declare(photo), project=company.school)
    await http.delete(f"/v1/documents/{first['upload_id']}", headers=company.bearer(caller))
    assert await found(worker_db, worker_clients, company.tenant_id) == []


async def test_a_document_whose_bytes_are_gone_is_shown_and_never_reaped(
    http, worker_db, worker_clients, company, s3, admin
) -> None:
    file = await arrive(http, worker_db, company, await company.hire(), uuid4().bytes)
    s3.delete_object(Bucket=BUCKET, Key=file["key"], VersionId=file["version"])
    looked = service.find_bytes_gone(worker_db, worker_clients.storage)
    orphans = [orphan async for page in looked for orphan in page.orphans if orphan.key == file["key"]]
    assert kinds(orphans) == [("document", "bytes gone")]
    assert await service.reap(worker_db, worker_clients.storage, orphans, now=clock.now() + 2 * DAY) == []
    assert await admin.fetchval("select count(*) from documents where tenant_id = $1", company.tenant_id) == 1


async def test_what_has_become_needed_since_it_was_found_is_not_reaped(
    http, worker_db, worker_clients, company, admin, s3
) -> None:
    await litter(s3, http, company, await company.hire(), worker_db, admin, "cancelled")
    orphans = await found(worker_db, worker_clients, company.tenant_id)
    await admin.execute("update uploads set state = 'scanning' where tenant_id = $1", company.tenant_id)
    assert await service.reap(worker_db, worker_clients.storage, orphans, now=clock.now() + 2 * DAY) == []
    assert s3.list_object_versions(Bucket=BUCKET, Prefix=f"live/{company.tenant_id}/")["Versions"]


async def test_keys_that_are_not_ours_are_left_alone(worker_db, worker_clients, company, s3) -> None:
    tenant, upload = company.tenant_id, new_id()
    for bucket, key in (
        (BUCKET, f"live/{tenant}/notes.txt"),
        (BUCKET, f"live/{tenant}/{upload}/more"),
        (BUCKET, f"LIVE/{str(tenant).upper()}/{upload}"),
        (CHUNKS, f"{tenant}/{upload}/1/0-1"),
        (DERIVED, f"live/{tenant}/{upload}"),
    ):
        s3.put_object(Bucket=bucket, Key=key, Body=b"somebody's")
    assert await found(worker_db, worker_clients, tenant) == []


@pytest.mark.parametrize("state", ["cancelled", "expired"])
async def test_bytes_that_arrive_after_the_end_are_removed_by_the_sweeper(
    http, worker_db, worker_clients, company, admin, s3, state: str
) -> None:
    caller, photo = await company.hire(), uuid4().bytes
    [result] = await open_files(http, company, caller, declare(photo))
    await admin.execute(
        "update uploads set state = $2, check_at = null where upload_id = $1", result["upload_id"], state
    )
    version = await put(http, result, photo)
    facts = ("created", "scanned", "derived", "created")
    await tell(worker_db, company, result["upload"], version, *facts)
    while await service.delete_erased(worker_db, worker_clients.storage):
        pass
    listed = s3.list_object_versions(Bucket=BUCKET, Prefix=key_of(company, result["upload"]))
    assert (listed.get("Versions"), listed.get("DeleteMarkers")) == (None, None)
    assert await admin.fetchval("select state from uploads where upload_id = $1", result["upload_id"]) == state
    assert await admin.fetchval("select count(*) from erasures where tenant_id = $1", company.tenant_id) == 0


async def test_the_command_shows_a_table_and_reaps_only_when_asked(
    http, stack, worker_clients, worker_db, company, admin, s3, monkeypatch: pytest.MonkeyPatch
) -> None:
    await litter(s3, http, company, await company.hire(), worker_db, admin, "cancelled")
    now = clock.now() + 2 * DAY
    monkeypatch.setattr(clock, "now", lambda: now)
    printed = StringIO()
    for reap in (False, True):
        with acting_as(stack.env("worker")) as settings:
            console = Console(file=printed, width=100)
            await command.run(settings, older_than=DAY, reap=reap, console=console)
        shown = [line.split() for line in printed.getvalue().splitlines() if "cancelled" in line]
        assert len(shown) >= 4
        printed.seek(0)
    monkeypatch.undo()
    assert await found(worker_db, worker_clients, company.tenant_id) == []


@pytest.mark.parametrize("age", ["5h", "0d", "a day", "-24h", "24"])
def test_an_age_below_the_life_of_a_write_url_is_refused(age: str) -> None:
    answer = CliRunner().invoke(main, ["uploads", "orphans", f"--older-than={age}"])
    assert answer.exit_code == 2
    assert "--older-than" in answer.output


def test_ages_are_hours_or_days() -> None:
    assert [command.read_age(text) for text in ("6h", "24h", "7d")] == [timedelta(hours=6), DAY, 7 * DAY]


def test_keys_of_chunks_and_pictures_are_read_strictly() -> None:
    tenant, upload = uuid4(), new_id()
    assert layout.chunk_owner(f"{tenant}/{upload}/00003/0131072-1048576") == (tenant, upload)
    assert rules.pictured(f"live/{tenant}/{upload}/v1/preview.webp") == (f"live/{tenant}/{upload}", "v1")
    for key in (f"{tenant}/{upload}/3/0-1", f"{tenant}/{upload}/00003/0131072-1048576/x", "x"):
        with pytest.raises(ValueError, match=r"not|unpack|enough"):
            layout.chunk_owner(key)
    for key in (f"live/{tenant}/{upload}", f"live/{tenant}/{upload}//preview.webp", "preview.webp"):
        with pytest.raises(ValueError, match=r"not|unpack|enough|badly"):
            rules.pictured(key)
