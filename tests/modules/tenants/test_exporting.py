"""What a company takes away: everything, of one moment, without secrets, and such that it proves itself."""

import asyncio
import hashlib
import json
import re
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import yaml
from click.testing import CliRunner
from tests.architecture.test_isolation import (
    add_drawing,
    add_job,
    add_notice,
    add_report,
    add_rfi,
    add_webhook,
    file_away,
    furnish,
    write_logs,
)
from tests.conftest import Clients, Company
from tests.modules.tenants.conftest import silent
from tests.modules.uploads.arriving import arrive, open_files

from buildpeer.entrypoints.cli import main
from buildpeer.local.stack import Stack
from buildpeer.modules.audit import service as audit
from buildpeer.modules.tenants import service, store
from buildpeer.modules.tenants.rules import TenantError
from buildpeer.modules.tenants.service.exporting import WITHOUT, digest, file_lines
from buildpeer.platform import clock
from buildpeer.platform.db import Database, Scope
from buildpeer.platform.signing import Signer

LOOKS_SECRET = re.compile(
    r"hash|secret|token|pass|pin\b|_pin|otp|key|salt|code|seed|private|credential|signature|nonce"
)
ISOLATION = yaml.safe_load((Path(__file__).parents[2] / "isolation.yaml").read_text())


class Exporting:
    def __init__(self, db: Database, operator: Clients, signer: Signer) -> None:
        self.db, self.storage, self.signer = db, operator.storage, signer

    async def run(self, tenant_id: UUID, out: Path, *, with_files: bool = True, between: Any = None) -> Any:
        """`between` happens after the tables were written, and before the rest."""

        async def trail(tx: Any) -> Any:
            if between is not None:
                await between()
            async for piece in audit.whole_trail(tx, self.signer, now=clock.now()):
                yield piece

        return await service.export(
            self.db,
            self.storage,
            tenant_id=tenant_id,
            out=out,
            with_files=with_files,
            trail=trail,
            signer=self.signer,
            progress=silent,
        )


@pytest.fixture
def exporting(snapshots_db: Database, operator: Clients, signer: Signer) -> Exporting:
    return Exporting(snapshots_db, operator, signer)


async def live(http: Any, company: Company, worker_db: Database, admin: Any) -> dict[str, Any]:
    """A company with a row in every table, or nearly."""
    owner = await company.hire("owner")
    left, field = await company.hire("empleado_obra"), await company.hire("empleado_obra")
    content = uuid4().bytes
    file = await arrive(http, worker_db, company, owner, content)
    await open_files(http, company, owner, {**_declared(content)}, project=company.school)  # known: a link
    doomed = await arrive(http, worker_db, company, owner, uuid4().bytes)
    await http.delete(f"/v1/documents/{doomed['upload_id']}", headers=company.bearer(owner))
    invited = {"kind": "email", "email": f"{uuid4()}@example.test", "role": "residente"}
    await http.post("/v1/invitations", json=invited, headers=company.bearer(owner))
    await add_drawing(admin, company, company.tower, owner.person_id, document=UUID(file["upload_id"]))
    await http.post("/v1/api-keys", json={"name": "ERP", "tools": {"files": "read"}}, headers=company.bearer(owner))
    await admin.execute(
        """insert into devices (tenant_id, person_id, device_id, name, public_key, pin_hash, created_at)
        values ($1, $2, $3, 'Moto G', '', 'pin-hash-of-somebody', now())""",
        *(company.tenant_id, owner.person_id, uuid4()),
    )
    await admin.execute("insert into sessions values ($1, $2, $3)", owner.person_id, uuid4(), company.tenant_id)
    await company.dismiss(left)
    await admin.execute(
        "insert into event_log select $1, coalesce(max(position), 0) + 1, $2, 'test', '{}', now() from event_log",
        *(company.tenant_id, company.tower),
    )
    await write_logs(admin, company, company.tower, field.person_id, name="a")
    await add_report(admin, company, company.tower, field.person_id, name="a")
    await furnish(admin, company, company.tower, UUID(file["upload_id"]), name="obra")
    await admin.execute("set session_replication_role = replica")  # a pair takes two photos, and there is one
    await file_away(admin, company, company.tower, field.person_id, UUID(file["upload_id"]), after=uuid4())
    await admin.execute("reset session_replication_role")
    await add_job(admin, owner, company.tower)
    await add_webhook(admin, company)
    await add_notice(admin, owner, company.tower)
    await add_rfi(admin, company.tenant_id, company.tower, owner.person_id)
    await admin.execute(
        "insert into releases (tenant_id, release_id, upload_id, wanted_by) values ($1, $2, $3, 'ops')",
        *(company.tenant_id, uuid4(), UUID(file["upload_id"])),
    )
    return {"owner": owner, "left": left, "field": field, "content": content, "file": file}


def _declared(content: bytes) -> dict[str, Any]:
    from tests.conftest import declare

    return declare(content)


def rows_of(out: Path, table: str) -> list[Any]:
    return [json.loads(line) for line in (out / "tables" / f"{table}.jsonl").read_text().splitlines()]


async def test_an_export_holds_every_row_of_every_table_of_that_company_alone(
    http: Any,
    company: Company,
    worker_db: Database,
    admin: Any,
    exporting: Exporting,
    tmp_path: Path,
    found_company: Any,
) -> None:
    world = await live(http, company, worker_db, admin)
    other = await found_company()
    await other.hire("owner")
    said = await exporting.run(company.tenant_id, tmp_path)
    found = await admin.fetch(
        """select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
        join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
        where c.relkind in ('r', 'p') and not c.relispartition and n.nspname !~ '^(pg_|information_schema)'"""
    )
    tables = {row["name"] for row in found} - WITHOUT - {"public.tenant_erasures"}
    assert {path.stem for path in (tmp_path / "tables").iterdir()} == tables | {"public.people"}
    for name in tables:
        count = await admin.fetchval(f"select count(*) from {name} where tenant_id = $1", company.tenant_id)
        assert len(rows_of(tmp_path, name)) == count, name
    filled = {name for name in tables if rows_of(tmp_path, name)}
    # Nothing of these is in this company; everything else has been seen to be exported.
    assert tables - filled == {"audit.pending"}
    assert {row["person_id"] for row in rows_of(tmp_path, "public.people")} == {
        str(world["owner"].person_id),
        str(world["left"].person_id),
        str(world["field"].person_id),
    }
    text = "\n".join(path.read_text() for path in (tmp_path / "tables").iterdir())
    assert str(other.tenant_id) not in text
    assert said.files == 2
    assert said.tables == len(tables) + 1


async def test_no_secret_leaves(
    http: Any,
    company: Company,
    worker_db: Database,
    admin: Any,
    exporting: Exporting,
    tmp_path: Path,
    password_hash: str,
) -> None:
    await live(http, company, worker_db, admin)
    hashes = await admin.fetch("select encode(token_hash, 'hex') from tokens where tenant_id = $1", company.tenant_id)
    await exporting.run(company.tenant_id, tmp_path)
    everything = "\n".join(path.read_text() for path in tmp_path.rglob("*.json*"))
    assert len(hashes) == 2
    for secret in ("pin-hash-of-somebody", password_hash, *(row[0] for row in hashes)):
        assert secret not in everything
    for path in (tmp_path / "tables").iterdir():
        schema, name = path.stem.split(".")
        if schema == "audit":  # batches are hashes, and no secrets
            continue
        told = set(ISOLATION["told_although_they_look_secret"].get(name, []))
        columns = {column for row in rows_of(tmp_path, path.stem) for column in row}
        assert {column for column in columns if LOOKS_SECRET.search(column)} <= told, name


async def test_a_table_that_nobody_told_of_is_exported_all_the_same(
    company: Company, admin: Any, operator_db: Database
) -> None:
    transaction = admin.transaction()
    await transaction.start()
    try:
        await admin.execute("create table later (tenant_id uuid primary key, secret_hash text, note text)")
        await admin.execute("select audit.watch('later', 'tenant_id', '', 'secret_hash')")
        [table] = [t for t in await admin.fetch(store.TABLES) if t["name"] == "public.later"]
        await admin.execute("insert into later values ($1, 'xyz', 'hola')", company.tenant_id)
        [row] = await admin.fetch(table["fetch"], company.tenant_id)
        assert json.loads(row[0]) == {"tenant_id": str(company.tenant_id), "note": "hola"}
    finally:
        await transaction.rollback()


async def test_every_table_of_a_company_lives_with_it(admin: Any) -> None:
    """What a migration forgets to bind would miss in exports, outlive its company, or be written while suspended."""
    for table in await admin.fetch(store.TABLES):
        policies = await admin.fetch(
            "select cmd from pg_policies where schemaname || '.' || tablename = $1 and roles = '{buildpeer_operator}'",
            table["name"],
        )
        commands = {row["cmd"] for row in policies}
        may = [
            await admin.fetchval("select has_table_privilege('buildpeer_operator', $1, $2)", table["name"], what)
            for what in ("select", "delete")
        ]
        if table["name"].startswith("audit."):  # audit.erase() does that
            assert ("SELECT" in commands, may) == (True, [True, False]), table["name"]
            continue
        assert ({"SELECT", "DELETE"} <= commands, may) == (True, [True, True]), table["name"]
        bound = await admin.fetchval(
            "select count(*) from pg_trigger where tgname = 'suspended' and tgrelid = $1::regclass", table["name"]
        )
        assert bound == (table["name"] not in ("public.sessions", "public.report_readings")), table["name"]


async def test_an_export_proves_itself_and_shows_what_was_done_to_it(
    http: Any, company: Company, worker_db: Database, admin: Any, exporting: Exporting, tmp_path: Path
) -> None:
    world = await live(http, company, worker_db, admin)
    await exporting.run(company.tenant_id, tmp_path)
    keys = [exporting.signer.public]
    good = service.check_export(tmp_path, keys, progress=silent)
    assert (good.problems, good.files, good.with_files) == ([], 2, True)
    bundle = audit.check_bundle((tmp_path / service.TRAIL).read_bytes(), keys)
    assert bundle.problems == []
    assert bundle.entries == len(rows_of(tmp_path, "audit.entries"))
    [path] = {line.path for line in file_lines(tmp_path)}  # two documents, one content
    assert (tmp_path / path).read_bytes() == world["content"]
    assert file_lines(tmp_path)[0].sha256 == hashlib.sha256(world["content"]).hexdigest()

    def problems_after(path: Path, content: bytes | None) -> list[str]:
        before = path.read_bytes() if path.exists() else None
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        found = service.check_export(tmp_path, keys, progress=silent).problems
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)
        return found

    table = tmp_path / "tables" / "public.documents.jsonl"
    assert problems_after(table, table.read_bytes().replace(b"photo", b"plan "))
    assert problems_after(table, None) == ["tables/public.documents.jsonl is missing"]
    assert problems_after(tmp_path / path, b"other bytes")
    assert problems_after(tmp_path / path, None)
    assert problems_after(tmp_path / "tables" / "public.more.jsonl", b"{}\n")
    manifest = tmp_path / "manifest.json"
    assert problems_after(manifest, manifest.read_bytes().replace(b"Obra", b"Otra"))
    assert problems_after(manifest, None)[0].startswith("this is no whole export")
    stranger = service.check_export(tmp_path, [Signer("A" * 43 + "=").public], progress=silent)
    assert stranger.problems == ["manifest.json is not signed by the key that was given"]
    assert service.check_export(tmp_path, keys, progress=silent).problems == []


async def test_an_export_is_of_one_moment(
    http: Any, company: Company, worker_db: Database, admin: Any, exporting: Exporting, tmp_path: Path
) -> None:
    world = await live(http, company, worker_db, admin)

    async def write_on() -> None:
        await arrive(http, worker_db, company, world["owner"], uuid4().bytes)
        await worker_db.call("select audit.seal($1)", company.tenant_id)

    await exporting.run(company.tenant_id, tmp_path, between=write_on)
    documents = {row["document_id"] for row in rows_of(tmp_path, "public.documents")}
    assert {str(line.document_id) for line in file_lines(tmp_path)} == documents
    bundle = audit.check_bundle((tmp_path / service.TRAIL).read_bytes(), None)
    assert (bundle.problems, bundle.entries) == ([], len(rows_of(tmp_path, "audit.entries")))
    assert len(documents) < await admin.fetchval(
        "select count(*) from documents where tenant_id = $1", company.tenant_id
    )


async def test_exporting_again_goes_on_with_what_is_missing_and_spares_anothers(
    http: Any,
    company: Company,
    worker_db: Database,
    admin: Any,
    exporting: Exporting,
    tmp_path: Path,
    found_company: Any,
) -> None:
    await live(http, company, worker_db, admin)
    await exporting.run(company.tenant_id, tmp_path, with_files=False)
    assert not list(tmp_path.glob("files/*"))
    assert not service.check_export(tmp_path, None, progress=silent).with_files
    await exporting.run(company.tenant_id, tmp_path)
    [file] = tmp_path.glob("files/*")
    age = file.stat().st_mtime_ns
    await exporting.run(company.tenant_id, tmp_path)
    assert file.stat().st_mtime_ns == age  # what is there isn't fetched again
    assert digest(file) == file.name[:64]
    other = await found_company()
    with pytest.raises(TenantError, match="take another directory"):
        await exporting.run(other.tenant_id, tmp_path)
    with pytest.raises(TenantError, match="no tenant"):
        await exporting.run(uuid4(), tmp_path / "none")


async def test_who_exported_is_in_the_trail(company: Company, exporting: Exporting, tmp_path: Path, admin: Any) -> None:
    await exporting.run(company.tenant_id, tmp_path)
    [row] = await admin.fetch(
        "select object_type, changes from audit.entries where tenant_id = $1 and action = 'export'", company.tenant_id
    )
    assert (row["object_type"], json.loads(row["changes"])["what"]) == ("tenants", "everything")


async def test_the_command_line_exports_and_verifies(
    company: Company, stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await company.hire("owner")
    for name, value in stack.env("operator").items():
        monkeypatch.setenv(name, value)

    async def run(*words: str) -> Any:
        return await asyncio.to_thread(CliRunner().invoke, main, ["tenants", *words])

    out = str(tmp_path / "obra")
    made = await run("export", str(company.tenant_id), out, "--files")
    assert made.exit_code == 0, made.output
    good = await run("verify", out)
    assert (good.exit_code, "are as they were signed" in good.output) == (0, True), good.output
    (tmp_path / "obra" / "files.jsonl").write_text("{}\n")
    bad = await run("verify", out)
    assert (bad.exit_code, "files.jsonl was changed" in bad.output) == (1, True), bad.output


async def test_an_operator_sees_the_company_that_it_names_and_no_other(
    company: Company, found_company: Any, operator_db: Database
) -> None:
    other = await found_company()
    await other.hire("owner")
    async with operator_db.transaction(Scope(company.tenant_id, None)) as tx:
        for table in await store.tables(tx):
            assert await tx.all(f"select from {table.name} where tenant_id = $1", other.tenant_id) == [], table.name
        assert await tx.all("select person_id from people") == []
