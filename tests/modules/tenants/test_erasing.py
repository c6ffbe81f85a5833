"""Nothing is left of an erased company but proof that it was erased, however often the erasing was killed."""

import asyncio
import contextlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from click.testing import CliRunner
from tests.conftest import PASSWORD, Clients, Company, declare
from tests.modules.tenants.conftest import BUCKETS, silent, verified
from tests.modules.tenants.test_exporting import live
from tests.modules.uploads.arriving import arrive, open_files, put, tell

from buildpeer.entrypoints.cli import main
from buildpeer.local.stack import Stack
from buildpeer.modules.operations import service as operations_service
from buildpeer.modules.operations import store as operations
from buildpeer.modules.tenants import service, store
from buildpeer.modules.tenants.rules import TenantError
from buildpeer.platform import clock
from buildpeer.platform.db import Database, Scope
from buildpeer.platform.messaging import Message
from buildpeer.platform.signing import Signer, read_signed
from buildpeer.platform.storage import WRITE_LIFE, Storage


class Killed(BaseException):
    """The process is no more."""


class Dying:
    """The database or S3, of a process that is killed after some number of calls, before or after one took effect."""

    def __init__(self, real: Any, life: "Life") -> None:
        self._real, self._life = real, life

    @contextlib.asynccontextmanager
    async def transaction(self, scope: Scope) -> Any:
        self._life.spend()
        async with self._real.transaction(scope) as tx:
            yield tx
        self._life.spend()

    def walk(self, *args: Any, **more: Any) -> Any:
        self._life.spend()
        return self._real.walk(*args, **more)

    def __getattr__(self, name: str) -> Any:
        async def call(**more: Any) -> Any:
            self._life.spend()
            found = await getattr(self._real, name)(**more)
            self._life.spend()
            return found

        return call


class Life:
    def __init__(self, calls: int) -> None:
        self.left = calls

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


class Erasing:
    def __init__(self, db: Database, operator: Clients, signer: Signer, admin: Any, auditor_db: Database) -> None:
        self.db, self.storage, self.signer, self.admin, self.auditor_db = (
            db,
            operator.storage,
            signer,
            admin,
            auditor_db,
        )

    async def run(self, tenant_id: UUID, *, after: timedelta = timedelta(0), life: int | None = None) -> Any:
        db, storage = self.db, self.storage
        if life is not None:
            one = Life(life)
            db, storage = Dying(db, one), Dying(storage, one)  # type: ignore[assignment]
        return await service.erase(
            db,
            storage,
            tenant_id=tenant_id,
            buckets=BUCKETS,
            signer=self.signer,
            progress=silent,
            now=clock.now() + after,
        )

    def says(self, erased: Any) -> dict[str, Any]:
        return json.loads(read_signed(erased.certificate, self.signer.public))

    async def left(self, tenant_id: UUID) -> dict[str, int]:
        """What there still is, in the database and in S3."""
        found = {}
        for table in await self.admin.fetch(store.TABLES):
            if table["name"] in ("audit.batches", "audit.heads"):
                continue
            found[table["name"]] = await self.admin.fetchval(
                f"select count(*) from {table['name']} where tenant_id = $1", tenant_id
            )
        found["leaves"] = await self.admin.fetchval(
            "select count(*) from audit.batches where tenant_id = $1 and (leaves <> '' or entry_ids <> '{}')", tenant_id
        )
        for listing, bucket in (("version", "uploads"), ("multipart", "uploads"), ("object", "derived")):
            for prefix in (f"live/{tenant_id}/", f"bulk/{tenant_id}/"):
                pages = self.storage.walk(listing, bucket=f"buildpeer-{bucket}", prefix=prefix)  # type: ignore[arg-type]
                found[f"{listing} {prefix}"] = sum([len(page) async for page in pages])
        found["chunks"] = len(await self.storage.list_objects(bucket="buildpeer-chunks", prefix=f"{tenant_id}/"))
        return {name: count for name, count in found.items() if count}

    async def trail(self, tenant_id: UUID, seals: Storage) -> list[str]:
        return await verified(self.auditor_db, seals, tenant_id, clock.now())


@pytest.fixture
def erasing(operator_db: Database, operator: Clients, signer: Signer, admin: Any, auditor_db: Database) -> Erasing:
    return Erasing(operator_db, operator, signer, admin, auditor_db)


@pytest.fixture(scope="session")
def seals(stack: Stack, admin_url: str) -> Any:
    clients = Clients(stack.env("auditor"))
    yield clients.storage
    clients.close()


async def send_on(http: Any, company: Company, owner: Any, stack: Stack) -> None:
    """Bytes in every place: a chunk, an unfinished multipart upload, a picture, a newer version of an original."""
    big = declare(b"x" * 10, size_bytes=9 * 1024 * 1024, kind="plan")
    [opened] = await open_files(http, company, owner, big)
    path = f"/v1/uploads/{opened['upload_id']}/urls"
    wanted = {"parts": [2], "chunks": [{"offset": 0, "length": 131072}]}
    urls = (await http.post(path, json=wanted, headers=company.bearer(owner))).json()
    for url, size in ((urls["parts"][0]["put"], 1024 * 1024), (urls["chunks"][0]["put"], 131072)):
        assert (await http.put(url["url"], content=b"y" * size, headers=url["headers"])).status_code == 200
    s3 = stack.ministack.client("s3")
    place = f"live/{company.tenant_id}/{uuid4()}"
    for content in (b"one", b"two"):
        s3.put_object(Bucket="buildpeer-uploads", Key=place, Body=content)
    s3.delete_object(Bucket="buildpeer-uploads", Key=place)  # leaves a marker
    s3.put_object(Bucket="buildpeer-derived", Key=f"{place}/v/thumbnail.webp", Body=b"picture")


async def test_nothing_is_left_and_a_certificate_says_what_went(
    http: Any, company: Company, worker_db: Database, admin: Any, erasing: Erasing, stack: Stack, seals: Storage
) -> None:
    world = await live(http, company, worker_db, admin)
    await send_on(http, company, world["owner"], stack)
    first = await erasing.run(company.tenant_id)
    assert first.certificate is None  # write URLs are alive
    assert WRITE_LIFE - (first.writable_until - clock.now()) < timedelta(minutes=1)
    assert await erasing.left(company.tenant_id) == {}
    late = stack.ministack.client("s3")
    late.put_object(Bucket="buildpeer-uploads", Key=f"live/{company.tenant_id}/{uuid4()}", Body=b"late")
    assert (await erasing.run(company.tenant_id)).certificate is None
    late.put_object(Bucket="buildpeer-uploads", Key=f"live/{company.tenant_id}/{uuid4()}", Body=b"later")
    done = await erasing.run(company.tenant_id, after=WRITE_LIFE + timedelta(minutes=1))
    assert await erasing.left(company.tenant_id) == {}
    says = erasing.says(done)
    assert (says["tenant_id"], says["name"]) == (str(company.tenant_id), "Obra")
    # Two originals and two thumbnails said to be, of which none was put; the chunk, the multipart, three versions and
    # the picture of `send_on`; two that came late.
    assert says["removed"]["objects"] == 2 + 1 + 1 + 3 + 1 + 2
    assert says["removed"]["documents"] == 2
    assert says["people"] == {"people": 3, "people_kept": 0}
    assert says["audit"]["batches"] >= 1
    assert says["backups_gone_by"] == f"{done.ended_at + timedelta(days=35):%Y-%m-%d}"
    again = await erasing.run(company.tenant_id)
    assert again.certificate == done.certificate
    assert await erasing.trail(company.tenant_id, seals) == []
    remains = await admin.fetchrow("select * from tenant_erasures where tenant_id = $1", company.tenant_id)
    assert remains["people"] == []


async def test_the_certificate_comes_at_once_when_no_write_url_can_be_alive(
    company: Company, erasing: Erasing, admin: Any
) -> None:
    await company.hire("owner")
    done = await erasing.run(company.tenant_id)
    assert done.certificate is not None
    assert await erasing.left(company.tenant_id) == {}


async def test_a_company_suspended_for_long_has_no_write_urls_alive(
    http: Any, company: Company, worker_db: Database, erasing: Erasing, admin: Any
) -> None:
    owner = await company.hire("owner")
    await arrive(http, worker_db, company, owner, uuid4().bytes)
    await service.suspend(erasing.db, tenant_id=company.tenant_id, now=clock.now() - WRITE_LIFE * 2)
    await admin.execute(
        "update uploads set updated_at = now() - interval '1 day' where tenant_id = $1", company.tenant_id
    )
    done = await erasing.run(company.tenant_id)
    assert done.certificate is not None
    assert await erasing.left(company.tenant_id) == {}


@pytest.mark.parametrize("life", [*range(0, 26, 2), *range(27, 110, 6)])
async def test_killed_at_any_moment_it_goes_on_where_it_was(
    http: Any,
    company: Company,
    worker_db: Database,
    erasing: Erasing,
    admin: Any,
    stack: Stack,
    seals: Storage,
    life: int,
) -> None:
    owner = await company.hire("owner")
    file = await arrive(http, worker_db, company, owner, uuid4().bytes)
    await http.delete(f"/v1/documents/{file['upload_id']}", headers=company.bearer(owner))
    await arrive(http, worker_db, company, owner, uuid4().bytes)
    await send_on(http, company, owner, stack)
    documents = await admin.fetchval("select count(*) from documents where tenant_id = $1", company.tenant_id)
    later = WRITE_LIFE + timedelta(minutes=1)
    with contextlib.suppress(Killed):
        await erasing.run(company.tenant_id, life=life)
    with contextlib.suppress(Killed):
        await erasing.run(company.tenant_id, life=life // 2, after=later)
    for days in range(1, 4):  # each may be the one in which it begins
        done = await erasing.run(company.tenant_id, after=days * later)
    assert await erasing.left(company.tenant_id) == {}
    says = erasing.says(done)
    assert says["removed"]["objects"] == 2 + 1 + 1 + 3 + 1
    assert says["removed"]["documents"] == documents
    assert says["people"]["people"] == 1
    assert await erasing.trail(company.tenant_id, seals) == []


async def test_nobody_reads_or_writes_it_from_the_first_step_on(
    http: Any, company: Company, worker_db: Database, erasing: Erasing
) -> None:
    owner = await company.hire("owner")
    file = await arrive(http, worker_db, company, owner, uuid4().bytes)
    with pytest.raises(Killed):
        await erasing.run(company.tenant_id, life=2)  # begun, and no more
    bearer = company.bearer(owner)
    assert (await http.get(f"/v1/documents/{file['upload_id']}", headers=bearer)).status_code == 404
    opened = await http.post(f"/v1/projects/{company.tower}/uploads", json={"uploads": [declare(b"x")]}, headers=bearer)
    assert opened.status_code == 404
    signed_in = await http.post("/v1/sessions", json={"email": company.emails[owner.person_id], "password": PASSWORD})
    assert signed_in.status_code >= 400
    for verb in (service.suspend(erasing.db, tenant_id=company.tenant_id, now=clock.now()),):
        with pytest.raises(TenantError):
            await verb


async def test_whoever_belongs_to_another_company_stays_and_other_companies_are_untouched(
    http: Any, company: Company, found_company: Any, worker_db: Database, erasing: Erasing, admin: Any
) -> None:
    other: Company = await found_company()
    both, gone, former = await company.hire("owner"), await company.hire("residente"), await company.hire("manager")
    await admin.execute(
        "insert into memberships (tenant_id, person_id, role) values ($1, $2, 'owner')",
        *(other.tenant_id, both.person_id),
    )
    # Has left the other company, and left a file there.
    await admin.execute(
        "insert into memberships (tenant_id, person_id, role) values ($1, $2, 'manager')",
        *(other.tenant_id, former.person_id),
    )
    elsewhere = type(both)(both.person_id, other.tenant_id, uuid4())
    file = await arrive(http, worker_db, other, elsewhere, uuid4().bytes)
    leaver = type(both)(former.person_id, other.tenant_id, uuid4())
    await arrive(http, worker_db, other, leaver, uuid4().bytes)
    await admin.execute(
        "delete from memberships where tenant_id = $1 and person_id = $2", other.tenant_id, former.person_id
    )
    done = await erasing.run(company.tenant_id)
    assert erasing.says(done)["people"] == {"people": 1, "people_kept": 2}
    people = await admin.fetch(
        "select person_id from people where person_id = any ($1)", [p.person_id for p in (both, gone, former)]
    )
    assert {row["person_id"] for row in people} == {both.person_id, former.person_id}
    download = await http.post(
        f"/v1/documents/{file['upload_id']}/downloads", json={"rendition": "original"}, headers=other.bearer(elsewhere)
    )
    assert (await http.get(download.json()["url"])).status_code == 200


async def test_late_facts_about_an_erased_company_bring_nothing_back(
    http: Any, company: Company, worker_db: Database, erasing: Erasing
) -> None:
    owner = await company.hire("owner")
    content = uuid4().bytes
    [opened] = await open_files(http, company, owner, declare(content))
    version = await put(http, opened, content)
    await erasing.run(company.tenant_id)
    await tell(worker_db, company, opened["upload"], version, "created", "scanned", "derived")
    assert await erasing.left(company.tenant_id) == {}


async def test_mails_and_resets_of_those_who_went_go_too(
    http: Any, company: Company, erasing: Erasing, admin: Any
) -> None:
    owner = await company.hire("owner")
    address, guest = company.emails[owner.person_id], f"{uuid4()}@example.test"
    await http.post("/v1/password-resets", json={"email": address})
    wanted = {"kind": "email", "email": guest, "role": "residente"}
    await http.post("/v1/invitations", json=wanted, headers=company.bearer(owner))
    waiting = """
    select (select count(*) from mails where recipient = any ($1))
      + (select count(*) from password_resets where email = any ($1))"""
    assert await admin.fetchval(waiting, [address, guest]) == 3
    await erasing.run(company.tenant_id)
    assert await admin.fetchval(waiting, [address, guest]) == 0


async def test_its_dead_letters_go_too_and_none_is_kept_afterwards(
    company: Company, found_company: Any, erasing: Erasing, worker_db: Database, admin: Any
) -> None:
    other = await found_company()
    queue, texts = f"q-{uuid4()}", {}

    async def die(tenant_id: UUID) -> UUID:
        body = json.dumps({"detail": {"object": {"key": f"live/{tenant_id}/{uuid4()}"}}})
        letter = Message(id=str(uuid4()), body=body, receipt="", receives=5)
        await operations.keep(worker_db, queue, [letter])
        texts[letter.id] = tenant_id
        return tenant_id

    async def kept() -> list[UUID]:
        return [
            texts[row["message_id"]] for row in await admin.fetch("select * from dead_letters where queue = $1", queue)
        ]

    ours, theirs = [await die(each.tenant_id) for each in (company, other)]
    await die(ours)
    ended = "update dead_letters set verb = 'drop', wanted_by = 't', ended_at = now() where message_id = $1"
    await admin.execute(ended, next(iter(texts)))  # a record that would stay for 400 days
    done = await erasing.run(ours)
    assert await kept() == [theirs]
    assert erasing.says(done)["removed"]["rows"] >= 2
    await die(ours)  # a message that was in a queue until now
    assert await kept() == [theirs]
    # One that was being kept in the very moment goes with the next housekeeping.
    await admin.execute(
        "insert into dead_letters (letter_id, queue, message_id, body) values ($1, $2, $3, $4)",
        *(uuid4(), queue, next(iter(texts)), f"live/{ours}/x"),
    )
    await operations_service.prune(worker_db)
    assert await kept() == [theirs]


async def test_an_operator_erases_no_letters_of_a_company_that_lives(
    company: Company, operator_db: Database, worker_db: Database, admin: Any
) -> None:
    message = Message(id=str(uuid4()), body=f"live/{company.tenant_id}/x", receipt="", receives=5)
    await operations.keep(worker_db, "q", [message])
    async with operator_db.transaction(Scope(company.tenant_id, None)) as tx:
        assert await store.erase_letters(tx) == 0
    assert await admin.fetchval("delete from dead_letters where message_id = $1 returning true", message.id)


async def test_adopted_bytes_that_lie_elsewhere_are_erased_as_well(
    http: Any, company: Company, worker_db: Database, erasing: Erasing, admin: Any, stack: Stack
) -> None:
    owner = await company.hire("owner")
    file = await arrive(http, worker_db, company, owner, uuid4().bytes)
    s3, key = stack.ministack.client("s3"), f"monolith/{uuid4()}.jpg"
    version = s3.put_object(Bucket="buildpeer-uploads", Key=key, Body=b"adopted")["VersionId"]
    await admin.execute(
        "update documents set key = $2, version_id = $3 where document_id = $1", UUID(file["upload_id"]), key, version
    )
    await erasing.run(company.tenant_id)
    assert not s3.list_object_versions(Bucket="buildpeer-uploads", Prefix=key).get("Versions")


async def test_an_erased_id_is_never_used_again_and_what_was_erased_is_told_by_the_verifier(
    company: Company, erasing: Erasing, admin: Any, worker_db: Database, seals: Storage
) -> None:
    await company.hire("owner")
    await worker_db.call("select audit.seal($1)", company.tenant_id)
    await erasing.run(company.tenant_id)
    with pytest.raises(TenantError, match="was erased"):
        await service.create(
            erasing.db,
            tenant_id=company.tenant_id,
            name="Otra",
            region="us-east-1",
            regions=frozenset({"us-east-1"}),
            storage_limit_bytes=None,
            uploads_per_day=None,
            invite_owner=lambda _tx, _name: asyncio.sleep(0, result=False),
            now=clock.now(),
        )
    assert await erasing.trail(company.tenant_id, seals) == []
    # Its seals are still sealed: a root that is changed shows, and so does a company that only looks erased.
    await admin.execute("update audit.batches set root = sha256('x') where tenant_id = $1", company.tenant_id)
    assert any("was changed" in finding for finding in await erasing.trail(company.tenant_id, seals))


async def test_a_company_that_only_looks_erased_is_found_out(
    company: Company, admin: Any, worker_db: Database, erasing: Erasing, seals: Storage
) -> None:
    await company.hire("owner")
    await worker_db.call("select audit.seal($1)", company.tenant_id)
    await admin.execute("delete from audit.entries where tenant_id = $1", company.tenant_id)
    await admin.execute(
        "update audit.batches set entry_ids = '{}', entry_times = '{}', leaves = '' where tenant_id = $1",
        company.tenant_id,
    )
    assert any("was changed" in finding for finding in await erasing.trail(company.tenant_id, seals))


async def test_not_even_the_owner_of_the_trail_erases_entries_of_a_company_that_lives(
    company: Company, found_company: Any, auditor_db: Database, erasing: Erasing, admin: Any
) -> None:
    other: Company = await found_company()
    await erasing.run(other.tenant_id)
    for tenant in (company, other):  # the other has ended
        async with auditor_db.across_tenants() as tx:
            await tx.run("delete from audit.entries where tenant_id = $1", tenant.tenant_id)
            await tx.run("update audit.batches set entry_ids = '{}', entry_times = '{}', leaves = ''")
    assert await admin.fetchval("select count(*) from audit.entries where tenant_id = $1", company.tenant_id) > 0


async def test_a_batch_of_a_company_that_is_being_erased_can_only_be_emptied(
    company: Company, auditor_db: Database, erasing: Erasing, worker_db: Database
) -> None:
    await company.hire("owner")
    await worker_db.call("select audit.seal($1)", company.tenant_id)
    with pytest.raises(Killed):
        await erasing.run(company.tenant_id, life=2)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with auditor_db.across_tenants() as tx:
            await tx.run("update audit.batches set leaves = 'x' where tenant_id = $1", company.tenant_id)


async def test_the_command_line_asks_for_the_name_and_hands_over_the_certificate(
    company: Company, stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, http: Any
) -> None:
    owner = await company.hire("owner")
    for name, value in stack.env("operator").items():
        monkeypatch.setenv(name, value)
    place = tmp_path / "constancia"

    async def run(*words: str, typed: str = "") -> Any:
        words = ("tenants", "erase", str(company.tenant_id), "--certificate", str(place), *words)
        return await asyncio.to_thread(CliRunner().invoke, main, words, typed)

    for refused in (await run(typed="Otra\n"), await run("--yes", "obra")):
        assert (refused.exit_code, "nothing was erased" in refused.output) == (1, True)
    assert (await http.get("/v1/projects", headers=company.bearer(owner))).status_code == 200
    done = await run(typed="Obra\n")
    assert done.exit_code == 0, done.output
    assert "Constancia de borrado" in done.output
    assert str(company.tenant_id) in place.with_suffix(".txt").read_text()
    kept = json.loads(place.with_suffix(".json").read_text())
    assert json.loads(read_signed(kept["signed"], kept["public_key"])) == kept["says"]
    again = await run("--locale", "pt")  # a name is not asked for any more
    assert (again.exit_code, "Certificado de exclusão" in again.output) == (0, True), again.output


async def test_the_command_line_says_when_to_come_again(
    company: Company, stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, http: Any
) -> None:
    owner = await company.hire("owner")
    await open_files(http, company, owner, declare(b"x"))
    for name, value in stack.env("operator").items():
        monkeypatch.setenv(name, value)
    words = ["tenants", "erase", str(company.tenant_id), "--yes", "Obra", "--certificate", str(tmp_path / "c")]
    done = await asyncio.to_thread(CliRunner().invoke, main, words)
    assert (done.exit_code, "Run this again after that" in done.output) == (3, True), done.output
    assert list(tmp_path.iterdir()) == []
