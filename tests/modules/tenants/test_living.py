"""How a company begins, what it may use, what being suspended means, and that its data stays where it is."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from click.testing import CliRunner
from tests.conftest import PASSWORD, Company, declare
from tests.modules.identity.test_invitations import Phone
from tests.modules.uploads.arriving import arrive, open_files, put, tell

from buildpeer.entrypoints.cli import main
from buildpeer.entrypoints.tenant_commands import read_count, read_size
from buildpeer.local.stack import Stack
from buildpeer.modules.identity import service as identity
from buildpeer.modules.tenants import service
from buildpeer.modules.tenants.rules import TenantError, emptying_order
from buildpeer.platform import clock
from buildpeer.platform.db import Database, Scope

REGIONS = frozenset({"us-east-1"})


async def create(db: Database, tenant_id: UUID, *, name: str = "Andes", email: str = "", **more: Any) -> Any:
    now = more.pop("now", clock.now())

    async def invite(tx: Any, tenant: str) -> bool:
        owner = email or f"{tenant_id}@example.test"
        return await identity.invite_first_owner(
            tx, email=owner, tenant=tenant, locale="pt", web_url="https://web", now=now
        )

    wanted = {"region": "us-east-1", "regions": REGIONS, "storage_limit_bytes": None, "uploads_per_day": None} | more
    return await service.create(db, tenant_id=tenant_id, name=name, invite_owner=invite, now=now, **wanted)


async def mails_to(admin: Any, tenant_id: UUID) -> list[Any]:
    rows = await admin.fetch("select template, facts from mails where recipient = $1", f"{tenant_id}@example.test")
    return [(row["template"], json.loads(row["facts"])) for row in rows]


async def test_a_new_company_invites_its_first_owner_who_joins_and_works(
    http: Any, admin: Any, operator_db: Database
) -> None:
    tenant_id = uuid4()
    created = await create(operator_db, tenant_id, uploads_per_day=7)
    assert (created.is_new, created.invited, created.tenant.uploads_per_day) == (True, True, 7)
    [(template, facts)] = await mails_to(admin, tenant_id)
    assert (template, facts["tenant"]) == ("first_owner", "Andes")
    joining = {"token": facts["link"].split("#")[1], "name": "Ana", "password": "correct horse battery"}
    answer = await http.post("/v1/invitations/acceptance", json=joining)
    assert answer.status_code in (200, 201), answer.text
    signed_in = answer.json()["signed_in"]
    assert (signed_in["tenant"]["name"], signed_in["tenant"]["role"]) == ("Andes", "owner")
    token = {"authorization": f"Bearer {signed_in['access_token']}"}
    assert (await http.get("/v1/storage", headers=token)).json()["used_bytes"] == 0
    assert not (await create(operator_db, tenant_id)).invited  # it has its owner


async def test_creating_again_changes_nothing_until_nobody_came_in_time(admin: Any, operator_db: Database) -> None:
    tenant_id = uuid4()
    first = await create(operator_db, tenant_id, storage_limit_bytes=5)
    again = await create(operator_db, tenant_id, storage_limit_bytes=9)
    assert (first.is_new, again.is_new, again.invited) == (True, False, False)
    assert again.tenant.storage_limit_bytes == 5
    assert len(await mails_to(admin, tenant_id)) == 1
    later = await create(operator_db, tenant_id, now=clock.now() + timedelta(days=8))
    assert (later.is_new, later.invited) == (False, True)
    assert len(await mails_to(admin, tenant_id)) == 2


async def test_two_who_create_the_same_company_at_once_make_one(admin: Any, operator_db: Database) -> None:
    tenant_id = uuid4()
    made = await asyncio.gather(*(create(operator_db, tenant_id) for _ in range(2)))
    assert [sum(c.is_new for c in made), sum(c.invited for c in made)] == [1, 1]
    assert len(await mails_to(admin, tenant_id)) == 1


async def test_an_id_that_is_taken_a_region_without_buckets_and_an_empty_name_are_refused(
    operator_db: Database,
) -> None:
    tenant_id = uuid4()
    await create(operator_db, tenant_id)
    for wrong in ({"name": "Otra"}, {"region": "sa-east-1"}, {"name": "  "}):
        with pytest.raises(TenantError):
            await create(operator_db, tenant_id, **wrong)


@pytest.mark.parametrize("role", ["owner", "app", "worker", "system", "audit", "operator", None])
async def test_a_data_region_is_for_good_whoever_asks(admin: Any, company: Company, role: str | None) -> None:
    for column, value in (("data_region", "sa-east-1"), ("tenant_id", str(uuid4()))):
        transaction = admin.transaction()
        await transaction.start()
        try:
            await admin.execute("select set_config('app.tenant_id', $1, true)", str(company.tenant_id))
            if role == "owner":
                await admin.execute("alter table tenants no force row level security")  # so that it gets that far
            if role:
                await admin.execute(f"set local role buildpeer_{role}")
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.RestrictViolationError)):
                await admin.execute(f"update tenants set {column} = '{value}' where tenant_id = '{company.tenant_id}'")
        finally:
            await transaction.rollback()


async def suspend(db: Database, company: Company) -> None:
    tenant = await service.suspend(db, tenant_id=company.tenant_id, now=clock.now())
    assert tenant.suspended_at is not None


async def test_a_suspended_company_is_read_downloaded_and_signed_in_to_but_not_written(
    http: Any, company: Company, worker_db: Database, operator_db: Database, admin: Any
) -> None:
    owner = await company.hire("owner")
    bearer = company.bearer(owner)
    file = await arrive(http, worker_db, company, owner, uuid4().bytes)
    await suspend(operator_db, company)
    for path in ("/v1/documents", "/v1/projects", "/v1/uploads", "/v1/members", "/v1/storage", "/v1/audit", "/v1/me"):
        assert (await http.get(path, headers=bearer)).status_code == 200, path
    document = f"/v1/documents/{file['upload_id']}"
    download = await http.post(f"{document}/downloads", json={"rendition": "original"}, headers=bearer)
    assert (await http.get(download.json()["url"])).status_code == 200
    assert await admin.fetchval(
        "select count(*) from audit.entries where tenant_id = $1 and action = 'download'", company.tenant_id
    )
    signed_in = await http.post("/v1/sessions", json={"email": company.emails[owner.person_id], "password": PASSWORD})
    assert signed_in.status_code in (200, 201)
    refreshed = await http.post("/v1/tokens", json={"refresh_token": signed_in.json()["refresh_token"]})
    assert refreshed.status_code == 200

    writes = {
        f"POST /v1/projects/{company.tower}/uploads": {"uploads": [declare(b"x")]},
        "POST /v1/invitations": {"kind": "email", "email": "a@example.test", "role": "residente"},
        "POST /v1/api-keys": {"name": "ERP", "tools": {"files": "read"}},
        f"DELETE {document}": None,
        f"PATCH /v1/members/{(await company.hire('manager')).person_id}": {"role": "residente"},
    }
    for language, words in (("es", "suspendida"), ("pt", "suspensa"), ("en", "suspended")):
        for route, body in writes.items():
            method, path = route.split(" ")
            answer = await http.request(
                method, path, headers=bearer | {"accept-language": language}, **({"json": body} if body else {})
            )
            assert (answer.status_code, answer.json().get("code")) == (403, "tenant_suspended"), route
            assert words in answer.json()["detail"]
    resumed = await service.resume(operator_db, tenant_id=company.tenant_id)
    assert resumed.suspended_at is None
    assert (await http.delete(document, headers=bearer)).status_code == 204


async def test_phones_and_machines_get_in_while_their_company_is_suspended(
    http: Any, company: Company, operator_db: Database
) -> None:
    owner, phone = await company.hire("owner"), Phone()
    bearer = company.bearer(owner)
    made = await http.post("/v1/invitations", json={"kind": "crew", "projects": [str(company.tower)]}, headers=bearer)
    assert (await phone.join(http, made.json()["link"].split("#")[1])).status_code == 201
    wanted = {"name": "ERP", "tools": {"projects": "read"}}
    secret = (await http.post("/v1/api-keys", json=wanted, headers=bearer)).json()["secret"]
    await suspend(operator_db, company)
    wrong = await phone.sign_in(http, "000000")
    assert wrong.json()["code"] == "pin_wrong"
    assert (await phone.sign_in(http)).status_code in (200, 201)
    assert (await http.get("/v1/projects", headers={"authorization": f"Bearer {secret}"})).status_code == 200


async def test_no_table_of_a_suspended_company_can_be_written_by_the_api(
    db: Database, company: Company, operator_db: Database, admin: Any
) -> None:
    """Whatever route there will be: what the api's role may write at all, it may not write now."""
    owner = await company.hire("owner")
    await suspend(operator_db, company)
    grants = await admin.fetch(
        """select c.oid::regclass::text as name, p.privilege, (select quote_ident(a.attname) from pg_attribute a
             where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
               and has_column_privilege('buildpeer_app', c.oid, a.attname, 'update') limit 1) as changed
        from pg_class c cross join unnest(array['INSERT', 'UPDATE', 'DELETE']) p (privilege)
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
          and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id')
          and case when p.privilege = 'DELETE' then has_table_privilege('buildpeer_app', c.oid, p.privilege)
            else has_any_column_privilege('buildpeer_app', c.oid, p.privilege) end"""
    )
    assert {"uploads", "documents", "memberships", "invitations", "outbox"} <= {row["name"] for row in grants}
    written = {
        "INSERT": "insert into {0} (tenant_id) select null where false",
        "UPDATE": "update {0} set {1} = {1} where false",
        "DELETE": "delete from {0} where false",
    }
    for row in grants:
        if row["name"] in ("sessions", "report_readings"):  # people sign in, and open what was published
            continue
        with pytest.raises(Exception, match="suspended") as caught:
            async with db.transaction(Scope(company.tenant_id, owner.person_id)) as tx:
                await tx.run(written[row["privilege"]].format(row["name"], row["changed"]))
        assert getattr(caught.value, "code", "") == "tenant_suspended", row


async def test_what_is_on_its_way_arrives_in_a_suspended_company_and_goes_on_once_it_works_again(
    http: Any, company: Company, worker_db: Database, operator_db: Database
) -> None:
    owner = await company.hire("owner")
    bearer, contents = company.bearer(owner), (uuid4().bytes, uuid4().bytes)
    one, two = await open_files(http, company, owner, *(declare(content) for content in contents))
    await suspend(operator_db, company)
    version = await put(http, one, contents[0])  # its URL was given out before
    await tell(worker_db, company, one["upload"], version, "created", "scanned", "derived")
    assert (await http.get(f"/v1/documents/{one['upload_id']}", headers=bearer)).status_code == 200
    urls = f"/v1/uploads/{two['upload_id']}/urls"
    refused = await http.post(urls, json={}, headers=bearer)
    assert (refused.status_code, refused.json()["code"]) == (403, "tenant_suspended")
    assert (await http.get(f"/v1/uploads/{two['upload_id']}", headers=bearer)).json()["state"] == "requested"
    await service.resume(operator_db, tenant_id=company.tenant_id)
    assert (await http.post(urls, json={}, headers=bearer)).status_code == 200


async def test_nobody_joins_a_suspended_company(http: Any, company: Company, operator_db: Database) -> None:
    owner = await company.hire("owner")
    wanted = {"kind": "crew", "projects": [str(company.tower)], "uses": 3}
    link = (await http.post("/v1/invitations", json=wanted, headers=company.bearer(owner))).json()["link"]
    await suspend(operator_db, company)
    key = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="
    joining = {
        "token": link.split("#")[1],
        "name": "Luz",
        "device": {"name": "Moto", "public_key": key, "pin": "123456"},
    }
    answer = await http.post("/v1/invitations/acceptance", json=joining)
    assert (answer.status_code, answer.json()["code"]) == (403, "tenant_suspended")
    await service.resume(operator_db, tenant_id=company.tenant_id)
    assert (await http.post("/v1/invitations/acceptance", json=joining)).status_code in (200, 201)


async def test_only_so_many_uploads_a_day_in_batches_and_at_once(
    http: Any, company: Company, operator_db: Database, admin: Any
) -> None:
    owner = await company.hire("owner")
    await service.limit(operator_db, tenant_id=company.tenant_id, uploads_per_day=1005)
    thousand = [declare(uuid4().bytes) for _ in range(1000)]
    assert {r["verdict"] for r in await open_files(http, company, owner, *thousand)} == {"opened"}
    batches = [[declare(uuid4().bytes) for _ in range(2)] for _ in range(5)]
    path, bearer = f"/v1/projects/{company.tower}/uploads", company.bearer(owner)
    answers = await asyncio.gather(*(http.post(path, json={"uploads": b}, headers=bearer) for b in batches))
    verdicts = [r["verdict"] for a in answers if a.status_code == 200 for r in a.json()["results"]]
    assert verdicts.count("opened") == 5
    full = [a for a in answers if a.status_code == 429]
    assert len(full) == 2
    assert full[0].json()["code"] == "too_many_uploads_today"
    assert 0 < int(full[0].headers["retry-after"]) <= 86_400
    partly = next(r for a in answers if a.status_code == 200 for r in a.json()["results"] if r["verdict"] == "rejected")
    assert partly["problem"]["code"] == "too_many_uploads_today"
    # What is open already is answered as ever, and a new day brings new room.
    assert {r["verdict"] for r in await open_files(http, company, owner, *thousand[:3])} == {"known"}
    await admin.execute("update storage_totals set opened_on = opened_on - 1 where tenant_id = $1", company.tenant_id)
    [fresh] = await open_files(http, company, owner, declare(uuid4().bytes))
    assert fresh["verdict"] == "opened"
    assert (await service.find(operator_db, tenant_id=company.tenant_id)).opened_today == 1


async def test_limits_are_shown_set_and_lifted_from_the_command_line(
    company: Company, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stack.env("operator").items():
        monkeypatch.setenv(name, value)

    async def run(*words: str) -> Any:
        return await asyncio.to_thread(CliRunner().invoke, main, ["tenants", *words])

    tenant = str(company.tenant_id)
    shown = await run("limits", tenant, "--storage", "2GiB", "--uploads-per-day", "5000")
    assert shown.exit_code == 0, shown.output
    assert "of 2.00 GiB" in shown.output
    assert "of 5,000" in (await run("limits", tenant)).output
    lifted = await run("limits", tenant, "--storage", "none")
    assert "0.00 GiB, no limit" in lifted.output
    assert "of 5,000" in lifted.output
    assert "suspended since" in (await run("suspend", tenant)).output
    assert "active" in (await run("resume", tenant)).output
    missing = await run("limits", str(uuid4()))
    assert (missing.exit_code, "there is no tenant" in missing.output) == (1, True)
    assert (await run("limits", tenant, "--storage", "much")).exit_code == 2


async def test_all_companies_are_listed_with_what_they_hold(
    http: Any,
    company: Company,
    found_company: Any,
    worker_db: Database,
    operator_db: Database,
    admin: Any,
    stack: Stack,
) -> None:
    owner, other, quiet = await company.hire("owner"), await found_company(), await found_company()
    await arrive(http, worker_db, company, owner, uuid4().bytes)
    await company.hire()
    await service.limit(operator_db, tenant_id=company.tenant_id, storage_limit_bytes=3 * 1024**3)
    await service.suspend(operator_db, tenant_id=other.tenant_id, now=clock.now())
    await admin.execute(
        """insert into tenant_erasures (tenant_id, name, data_region, began_at, writable_until, people)
        values ($1, 'Ida', 'us-east-1', now(), now(), '{}')""",
        (gone := uuid4()),
    )
    listed = {each.tenant_id: each for each in await service.list_all(operator_db)}
    here = listed[company.tenant_id]
    assert (here.name, here.state, here.people, here.files) == ("Obra", "active", 2, 1)
    assert (here.used_bytes, here.storage_limit_bytes) == (16, 3 * 1024**3)
    last = "select max(occurred_at) from audit.entries where tenant_id = $1 and person_id = $2"
    assert here.last_activity == await admin.fetchval(last, company.tenant_id, owner.person_id)
    there = listed[other.tenant_id]
    assert (there.state, there.people, there.files, there.used_bytes) == ("suspended", 0, 0, 0)
    assert (listed[quiet.tenant_id].last_activity, listed[gone].state, listed[gone].name) == (None, "erasing", "Ida")
    env = stack.env("operator")
    said = await asyncio.to_thread(lambda: CliRunner(env=env).invoke(main, ["tenants", "list"]))
    assert said.exit_code == 0, said.output
    [line] = [line for line in said.output.splitlines() if str(company.tenant_id) in line]
    assert line.split()[1:] == [
        "Obra",
        "active",
        "2",
        "1",
        "0.00",
        "3.00",
        f"{here.last_activity:%Y-%m-%d}",
        f"{here.last_activity:%H:%M}",
    ]
    await admin.execute("delete from tenant_erasures where tenant_id = $1", gone)


async def test_the_worker_and_the_api_may_do_none_of_it(db: Database, worker_db: Database, company: Company) -> None:
    for base in (db, worker_db):
        for statement in (
            "update tenants set suspended_at = now()",
            "select app.shut_tenant()",
            "select app.erase_people()",
            "select audit.erase(1)",
            "delete from tenants",
            "select from tenant_erasures",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with base.transaction(Scope(company.tenant_id, None)) as tx:
                    await tx.run(statement)


async def test_an_operator_deletes_nothing_before_an_erasing_has_begun(
    operator_db: Database, company: Company, admin: Any
) -> None:
    async with operator_db.transaction(Scope(company.tenant_id, None)) as tx:
        await tx.run("delete from projects where tenant_id = $1", company.tenant_id)
        await tx.run("select audit.erase(100)")
    assert await admin.fetchval("select count(*) from projects where tenant_id = $1", company.tenant_id) == 2
    assert await admin.fetchval("select count(*) from audit.entries where tenant_id = $1", company.tenant_id) > 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with operator_db.transaction(Scope(company.tenant_id, None)) as tx:
            await tx.run("select app.shut_tenant()")


def test_sizes_and_numbers_are_read_as_people_write_them() -> None:
    assert [read_size(text) for text in ("0", "7", "500MiB", "2 tib")] == [0, 7, 500 * 1024**2, 2 * 1024**4]
    assert read_count("5000") == 5000
    for wrong in ("", "-1", "1.5GiB", "GiB", "1GB"):
        with pytest.raises(ValueError, match="write it as"):
            read_size(wrong)
    with pytest.raises(ValueError, match="whole number"):
        read_count("many")


def test_a_table_is_emptied_before_those_that_it_refers_to() -> None:
    order = emptying_order("abcd", [("a", "b"), ("b", "c"), ("a", "c"), ("d", "d"), ("a", "elsewhere")])
    assert order.index("a") < order.index("b") < order.index("c")
    assert sorted(order) == list("abcd")
