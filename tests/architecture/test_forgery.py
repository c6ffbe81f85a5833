"""What somebody could do who runs SQL of their own as the api's role: see the tenant they name, and forge nothing."""

from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from tests.conftest import Company

from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Scope

UPLOAD = """insert into uploads (tenant_id, upload_id, project_id, created_by, kind, name, size_bytes, content_type,
  sha256, lane, bucket, key)
  values ($1, $2, $3, $4, 'photo', 'a', 1, 'a/b', decode(repeat('00', 32), 'hex'), 'live', 'b', $5)"""


async def refused(db: Database, caller: Caller, sql: str, *args: Any) -> None:
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.RaiseError)):
        async with db.transaction(Scope(caller.tenant_id, caller.person_id)) as tx:
            await tx.run(sql, *args)


async def test_nothing_can_be_put_on_a_queue_or_told_of_another_project(db: Database, company: Company) -> None:
    caller = await company.hire()
    outbox = "insert into outbox (tenant_id, destination, project_id, type, body) values ($1, $2, $3, 't', '{}')"
    await refused(db, caller, outbox, company.tenant_id, "buildpeer-status-live", company.tower)
    await refused(db, caller, outbox, company.tenant_id, "log", company.school)
    await refused(db, caller, outbox, uuid4(), "log", company.tower)
    async with db.transaction(Scope(caller.tenant_id, caller.person_id)) as tx:
        await tx.run(outbox, company.tenant_id, "log", company.tower)


WANTED = {"source": "buildpeer.uploads", "detail-type": "Part Wanted"}


async def test_assembly_is_asked_only_for_an_open_upload_of_ones_own(
    db: Database, company: Company, found_company: Any, admin: asyncpg.Connection
) -> None:
    caller, colleague, rival = await company.hire(), await company.hire(), await found_company()
    stranger = await rival.hire()
    keys: dict[Caller, str] = {}
    for person, project in ((caller, company.tower), (colleague, company.tower), (stranger, rival.tower)):
        upload_id = uuid4()
        keys[person] = f"live/{person.tenant_id}/{upload_id}"
        async with db.transaction(Scope(person.tenant_id, person.person_id)) as tx:
            await tx.run(UPLOAD, person.tenant_id, upload_id, project, person.person_id, keys[person])
    outbox = "insert into outbox (tenant_id, destination, type, body) values ($1, $2, 't', $3)"

    def ask(key: str = keys[caller], bucket: str = "b", **other: str) -> dict[str, Any]:
        return WANTED | {"detail": {"bucket": {"name": bucket}, "object": {"key": key}}} | other

    ours, queue = company.tenant_id, "buildpeer-assemble-live"
    await refused(db, caller, outbox, ours, queue, ask(keys[colleague]))
    await refused(db, caller, outbox, ours, queue, ask(keys[stranger]))
    await refused(db, caller, outbox, rival.tenant_id, queue, ask(keys[stranger]))
    await refused(db, caller, outbox, ours, queue, ask(keys[caller] + "/x"))
    await refused(db, caller, outbox, ours, queue, ask(keys[caller].replace("live/", "bulk/")))
    await refused(db, caller, outbox, ours, queue, ask(bucket="elsewhere"))
    await refused(db, caller, outbox, ours, queue, ask(source="buildpeer.scan"))
    await refused(db, caller, outbox, ours, queue, ask() | {"detail-type": "Object Created"})
    await refused(db, caller, outbox, ours, queue, {})
    await refused(db, caller, outbox, ours, "buildpeer-assemble-bulk", ask())
    await refused(db, caller, outbox, ours, "buildpeer-scan-live", ask())
    async with db.transaction(Scope(ours, caller.person_id)) as tx:
        await tx.run(outbox, ours, queue, ask())
    await admin.execute("update uploads set state = 'ready' where key = $1", keys[caller])
    await refused(db, caller, outbox, ours, queue, ask())
    await admin.execute("update uploads set state = 'receiving' where key = $1", keys[caller])
    await company.dismiss(caller)  # who loses access loses the open uploads
    await refused(db, caller, outbox, ours, queue, ask())


async def test_an_upload_is_opened_only_as_oneself_and_under_its_own_key(db: Database, company: Company) -> None:
    caller, colleague = await company.hire(), await company.hire()
    ours, upload_id = company.tenant_id, uuid4()
    key = f"live/{ours}/{upload_id}"
    await refused(db, caller, UPLOAD, ours, upload_id, company.tower, colleague.person_id, key)
    await refused(db, caller, UPLOAD, ours, upload_id, company.school, caller.person_id, key)
    await refused(db, caller, UPLOAD, ours, upload_id, company.tower, caller.person_id, f"live/{uuid4()}/{upload_id}")
    async with db.transaction(Scope(ours, caller.person_id)) as tx:
        await tx.run(UPLOAD, ours, upload_id, company.tower, caller.person_id, key)


async def test_no_state_or_verdict_can_be_claimed(db: Database, company: Company, admin: asyncpg.Connection) -> None:
    caller = await company.hire()
    ours, upload_id = company.tenant_id, uuid4()
    async with db.transaction(Scope(ours, caller.person_id)) as tx:
        await tx.run(UPLOAD, ours, upload_id, company.tower, caller.person_id, f"live/{ours}/{upload_id}")
    for change in ("state = 'ready'", "verdict = 'clean'", "version_id = 'v'", "derived = '{}'", "key = 'x'"):
        await refused(db, caller, f"update uploads set {change} where upload_id = $1", upload_id)
    await admin.execute("update uploads set state = 'quarantined' where upload_id = $1", upload_id)
    async with db.transaction(Scope(ours, caller.person_id)) as tx:
        await tx.run("update uploads set state = 'cancelled' where upload_id = $1", upload_id)
    assert await admin.fetchval("select state from uploads where upload_id = $1", upload_id) == "quarantined"


async def test_the_audit_trail_takes_no_forged_change_and_tells_who_it_really_was(
    db: Database, company: Company, admin: asyncpg.Connection
) -> None:
    caller = await company.hire()
    for action in ("insert", "update", "delete"):
        await refused(db, caller, "select audit.record($1, 'documents', 'x', '{}')", action)
    await refused(db, caller, "insert into audit.entries (tenant_id) values ($1)", company.tenant_id)
    await refused(db, caller, "delete from audit.entries where tenant_id = $1", company.tenant_id)
    async with db.transaction(Scope(company.tenant_id, caller.person_id, "r-1")) as tx:
        await tx.run("select audit.record('export', 'documents', 'x', '{}')")
    row = await admin.fetchrow(
        "select person_id, request_id, database_role from audit.entries where tenant_id = $1 and action = 'export'",
        company.tenant_id,
    )
    assert tuple(row) == (caller.person_id, "r-1", "buildpeer_app")


CLOSED = (
    "select * from mails",
    "select * from password_resets",
    "select * from tokens",
    "select * from failed_sign_ins",
    "select * from dead_letters",
    "select * from tenant_erasures",
    "select password_hash from people",
    "select pin_hash from devices",
    "update memberships set tenant_id = gen_random_uuid()",
    "update api_keys set tools = '{}'",
    "select app.list_tenants()",
    "select app.remove_totp('a@b.test', 'me')",
    "select app.shut_tenant()",
    "select app.erase_people()",
    "select app.lend_mails(1)",
    "select app.relay_messages(1)",
    "select app.due_uploads(1)",
    "select audit.seal(gen_random_uuid())",
    "select audit.erase(1)",
    "select audit.note(gen_random_uuid(), null, 'x', 'x', 'x', '{}', null)",
    "truncate uploads",
    "drop policy tenant on documents",
    "alter table documents disable row level security",
    "set local role buildpeer_worker",
    "set local role buildpeer_operator",
    "set local role buildpeer_system",
    "set local session_replication_role = 'replica'",
    "select rolpassword from pg_authid",
    "select pg_read_file('/etc/passwd')",
    "select pg_ls_dir('.')",
    "select lo_import('/etc/passwd')",
    "copy (select 1) to program 'id'",
    "copy (select 1) to '/tmp/x'",
)


@pytest.mark.parametrize("sql", CLOSED)
async def test_what_stays_closed_whomever_one_names(db: Database, company: Company, sql: str) -> None:
    """Who runs SQL as this role may name anybody; these are beyond the owner of a company, too."""
    await refused(db, await company.hire("owner"), sql)


@pytest.mark.parametrize("sql", ["select 1 from documents", "delete from sessions", "select 1 from audit.entries"])
async def test_the_policies_cannot_be_switched_off(db: Database, company: Company, sql: str) -> None:
    caller = await company.hire("owner")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with db.transaction(Scope(caller.tenant_id, caller.person_id)) as tx:
            await tx.run("set local row_security = off")
            await tx.run(sql)


async def test_no_code_of_the_callers_runs_in_a_function_that_sees_further(db: Database, company: Company) -> None:
    """A type in pg_temp would be found first by a function without a fixed search_path, and its check would run."""
    caller = await company.hire()
    await refused(db, caller, "create temporary table uuid (x int)")
    await refused(db, caller, "create function public.evil() returns bool language sql return true")


async def test_changes_are_recorded_with_before_and_after(
    db: Database, company: Company, admin: asyncpg.Connection
) -> None:
    caller = await company.hire()
    ours, upload_id = company.tenant_id, uuid4()
    async with db.transaction(Scope(ours, caller.person_id, "r-2")) as tx:
        await tx.run(UPLOAD, ours, upload_id, company.tower, caller.person_id, f"live/{ours}/{upload_id}")
        await tx.run("update uploads set state = 'cancelled', check_at = null where upload_id = $1", upload_id)
    rows = await admin.fetch(
        "select action, person_id, request_id, changes from audit.entries where object_id = $1 order by entry_id",
        str(upload_id),
    )
    assert [(row["action"], row["person_id"], row["request_id"]) for row in rows] == [
        ("insert", caller.person_id, "r-2"),
        ("update", caller.person_id, "r-2"),
    ]
    assert rows[1]["changes"] == '{"state": ["requested", "cancelled"]}'
