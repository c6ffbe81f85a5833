"""What owners and managers read and take away, and that it proves itself."""

import base64
import csv
import io
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from click.testing import CliRunner
from tests.conftest import PASSWORD, Company, declare
from tests.modules.audit.conftest import Trail
from tests.modules.identity.test_invitations import Phone, crew_token

from buildpeer.entrypoints.cli import main
from buildpeer.local.stack import Stack
from buildpeer.modules.audit import service
from buildpeer.modules.audit.rules import Wanted
from buildpeer.modules.identity import service as identity
from buildpeer.platform import clock
from buildpeer.platform.auth import Caller, Tokens
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem


async def trail_of(http: httpx.AsyncClient, company: Company, caller: Caller, **params: Any) -> list[dict[str, Any]]:
    answer = await http.get("/v1/audit", params=params, headers=company.bearer(caller) | {"accept-language": "en"})
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def rename(admin: Any, company: Company, person: Caller, name: str) -> None:
    """Change the tower's name, as somebody of the company would."""
    async with admin.transaction():
        await admin.execute(
            "select set_config('app.tenant_id', $1, true), set_config('app.person_id', $2, true)",
            *(str(company.tenant_id), str(person.person_id)),
        )
        await admin.execute("update projects set name = $2 where project_id = $1", company.tower, name)


async def test_an_entry_says_who_did_what_when_with_before_and_after(http, company: Company, admin) -> None:
    owner = await company.hire("owner")
    await rename(admin, company, owner, "Torre Ñuñoa")
    (entry,) = await trail_of(http, company, owner, action="update")
    assert entry["person"] == {"person_id": str(owner.person_id), "name": "Alguien"}
    assert (entry["object_type"], entry["object_id"], entry["project_id"]) == ("projects", *2 * (str(company.tower),))
    assert (entry["before"], entry["after"], entry["details"]) == ({"name": "TOR"}, {"name": "Torre Ñuñoa"}, None)
    assert (entry["action_text"], entry["timezone"]) == ("Changed", "America/Lima")
    assert entry["occurred_at"].endswith("Z")
    assert entry["local_time"].endswith("-05:00")


async def test_whoever_has_left_keeps_their_name_in_the_trail(http, company: Company, admin) -> None:
    owner, worker = await company.hire("owner"), await company.hire()
    await rename(admin, company, worker, "Otra")
    await company.dismiss(worker)
    (entry,) = await trail_of(http, company, owner, person_id=str(worker.person_id))
    assert entry["person"]["name"] == "Alguien"
    deleted = await trail_of(http, company, owner, action="delete", object_type="memberships")
    assert deleted[0]["before"]["role"] == "empleado_obra"


async def test_every_filter_filters_and_pages_follow_each_other(http, company: Company, admin) -> None:
    owner, other = await company.hire("owner"), await company.hire("manager")
    for n in range(3):
        await rename(admin, company, owner, f"A{n}")
    await rename(admin, company, other, "B")
    everything = await trail_of(http, company, owner, limit=200)
    times = [entry["occurred_at"] for entry in everything]
    assert times == sorted(times, reverse=True)
    assert len(await trail_of(http, company, owner, person_id=str(owner.person_id))) == 3
    assert len(await trail_of(http, company, owner, object_type="projects", object_id=str(company.tower))) == 5
    assert len(await trail_of(http, company, owner, project_id=str(company.school))) == 1
    assert len(await trail_of(http, company, owner, action="update")) == 4
    middle = everything[2]["occurred_at"]
    assert await trail_of(http, company, owner, to=middle) == everything[3:]
    assert (await trail_of(http, company, owner, **{"from": middle})) == everything[:3]
    seen, cursor = [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        answer = (await http.get("/v1/audit", params=params, headers=company.bearer(owner))).json()
        seen += [entry["entry_id"] for entry in answer["items"]]
        if not (cursor := answer["next_cursor"]):
            break
    assert seen == [entry["entry_id"] for entry in everything]


@pytest.mark.parametrize("path", ["/v1/audit", "/v1/audit/export"])
async def test_only_owners_and_managers_read_the_trail(http, company: Company, path: str) -> None:
    for role, status in (
        ("owner", 200),
        ("manager", 200),
        ("residente", 404),
        ("inversionista", 404),
        ("empleado_obra", 404),
    ):
        answer = await http.get(path, headers=company.bearer(await company.hire(role)))
        assert answer.status_code == status, role
    stranger = Caller(uuid4(), company.tenant_id, uuid4())
    assert (await http.get(path, headers=company.bearer(stranger))).status_code == 404


async def test_a_time_without_a_zone_and_a_forged_cursor_are_refused(http, company: Company) -> None:
    bearer = company.bearer(await company.hire("owner"))
    for params in ({"from": "2026-01-01T00:00:00"}, {"cursor": "x"}, {"person_id": "x"}):
        assert (await http.get("/v1/audit", params=params, headers=bearer)).status_code == 422


# ----------------------------------------------------------------------------------------------------------------------


async def export(http: httpx.AsyncClient, company: Company, caller: Caller, **params: Any) -> httpx.Response:
    answer = await http.get("/v1/audit/export", params=params, headers=company.bearer(caller))
    assert answer.status_code == 200, answer.text
    return answer


async def keys(http: httpx.AsyncClient) -> bytes:
    return (await http.get("/v1/audit/keys")).content


async def bundle_of(http, company: Company, trail: Trail, admin) -> tuple[Caller, bytes]:
    owner = await company.hire("owner")
    for n in range(3):
        await rename(admin, company, owner, f"Torre {n}")
        await admin.fetchval("select audit.seal($1)", company.tenant_id)
    return owner, (await export(http, company, owner, format="json")).content


async def test_a_bundle_verifies_alone_and_by_the_published_key(http, company, trail, admin, tmp_path: Path) -> None:
    owner, content = await bundle_of(http, company, trail, admin)
    whole = service.check_bundle(content, json.loads(await keys(http))["keys"])
    assert (whole.problems, whole.trusted, whole.tenant_id) == ([], True, company.tenant_id)
    assert whole.entries == await admin.fetchval(
        "select sum(entries) from audit.batches where tenant_id = $1", company.tenant_id
    )
    alone = service.check_bundle(content, None)
    assert (alone.problems, alone.trusted) == ([], False)
    path, key = tmp_path / "bundle.json", tmp_path / "keys.json"
    path.write_bytes(content)
    key.write_bytes(await keys(http))
    assert CliRunner().invoke(main, ["audit", "check", str(path), "--public-key", str(key)]).exit_code == 0
    part = (await export(http, company, owner, format="json", action="update")).content
    assert service.check_bundle(part, None).problems == []
    assert service.check_bundle(part, None).entries == 3


def spoil(content: bytes, how: str) -> bytes:
    bundle = json.loads(content)
    match how:
        case "entry changed":
            bundle["entries"][1]["entry"] = bundle["entries"][1]["entry"].replace("insert", "delete")
        case "entry removed":
            del bundle["entries"][1]
        case "entries exchanged":
            bundle["entries"][0:2] = reversed(bundle["entries"][0:2])
        case "entry repeated":
            bundle["entries"].append(bundle["entries"][0])
        case "batch changed":
            bundle["batches"][0]["root"] = "00" * 32
        case "batch removed":
            del bundle["batches"][1]
        case "last batch removed":
            del bundle["batches"][-1]
        case "proof changed":
            bundle["entries"][0]["proof"][0] = "11" * 32
        case "statement changed":
            head, payload, signature = bundle["statement"].split(".")
            bundle["statement"] = ".".join((head, payload[:-2] + "AA", signature))
        case _:
            bundle["entries"][0]["batch"] = 999
    return json.dumps(bundle).encode()


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("entry changed", "was changed, or is not of batch 1"),
        ("entry removed", "entries that were signed"),
        ("entries exchanged", "entries that were signed"),
        ("entry repeated", "is there twice"),
        ("batch changed", "batch 1 was changed"),
        ("batch removed", "batch 3 does not follow on batch 1"),
        ("last batch removed", "the chain does not end with the batch that was signed"),
        ("proof changed", "was changed, or is not of batch 1"),
        ("statement changed", "not signed by the key"),
        ("batch unknown", "is said to be in batch 999, which is not there"),
    ],
)
async def test_a_spoilt_bundle_is_found_out(
    http, company, trail, admin, tmp_path: Path, how: str, problem: str
) -> None:
    _, content = await bundle_of(http, company, trail, admin)
    spoilt = spoil(content, how)
    assert any(problem in told for told in service.check_bundle(spoilt, None).problems)
    path = tmp_path / "bundle.json"
    path.write_bytes(spoilt)
    assert CliRunner().invoke(main, ["audit", "check", str(path)]).exit_code == 1


async def test_a_bundle_of_another_signer_is_not_trusted(http, company, trail, admin) -> None:
    _, content = await bundle_of(http, company, trail, admin)
    other = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert service.check_bundle(content, [other]).problems == ["the statement is not signed by the key that was given"]
    assert service.check_bundle(b"{}", None).problems != []
    assert service.check_bundle(b"\xff", None).problems != []


async def test_csv_holds_what_the_bundle_holds_and_no_formula(http, company: Company, trail, admin) -> None:
    owner = await company.hire("owner")
    await rename(admin, company, owner, "Torre\n“3ª”, norte")
    await admin.execute("update people set name = '=HYPERLINK(\"x\")' where person_id = $1", owner.person_id)
    await admin.fetchval("select audit.seal($1)", company.tenant_id)
    answer = await export(http, company, owner, format="csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].endswith('.csv"')
    table = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    bundle = json.loads((await export(http, company, owner, format="json")).content)
    assert [int(row["entry_id"]) for row in table] == [json.loads(e["entry"])["entry_id"] for e in bundle["entries"]]
    (row,) = [row for row in table if row["action"] == "update"]
    assert row["person"] == '\'=HYPERLINK("x")'
    assert json.loads(row["after"]) == {"name": "Torre\n“3ª”, norte"}
    assert row["timezone"] == "America/Lima"


async def test_an_export_is_itself_in_the_trail(http, company: Company) -> None:
    owner = await company.hire("owner")
    await export(http, company, owner, format="csv", action="update")
    (entry,) = await trail_of(http, company, owner, action="export")
    assert (entry["object_type"], entry["object_id"]) == ("audit", "csv")
    assert entry["details"]["filters"] == {"action": "update"}
    assert entry["person"]["person_id"] == str(owner.person_id)


async def test_an_export_longer_than_a_page_is_whole_and_ends_with_the_right_to_read(
    http, company: Company, db: Database, admin
) -> None:
    await admin.execute(
        """insert into projects (tenant_id, project_id, code, name, timezone)
        select $1, gen_random_uuid(), 'C' || n, 'C', 'America/Lima' from generate_series(1, 1300) n""",
        company.tenant_id,
    )
    while await admin.fetchval("select audit.seal($1)", company.tenant_id):
        pass
    owner = await company.hire("owner")
    content = (await export(http, company, owner)).content
    checked = service.check_bundle(content, None)
    assert (checked.problems, checked.entries) == ([], 1303)
    begun = await service.begin_export(db, caller=owner, wanted=Wanted(), form="csv", now=clock.now())
    lines = service.csv_export(db, begun)
    for _ in range(2):
        await anext(lines)
    await company.dismiss(owner)
    with pytest.raises(Problem, match="not_found"):
        _ = [line async for line in lines]


# ----------------------------------------------------------------------------------------------------------------------


async def test_failed_sign_ins_are_in_the_trail_and_name_no_actor(http, company: Company, worker_db: Database) -> None:
    owner, worker = await company.hire("owner"), await company.hire()
    for email in (company.emails[worker.person_id], "nobody@example.test"):
        answer = await http.post("/v1/sessions", json={"email": email, "password": "wrong"})
        assert answer.status_code == 401
        request_id = answer.json()["request_id"] if email != "nobody@example.test" else request_id  # noqa: F821
    before = clock.now()
    while await identity.trail_failed_sign_ins(worker_db):
        pass
    (entry,) = await trail_of(http, company, owner, action="sign_in_failed")
    assert (entry["object_type"], entry["object_id"]) == ("people", str(worker.person_id))
    assert (entry["person"], entry["request_id"], entry["process"]) == (None, request_id, "app")
    assert datetime.fromisoformat(entry["occurred_at"]) <= before, "when it happened, not when it was moved"


async def test_a_phones_life_is_in_the_trail_without_its_pin(http, company: Company, admin: Any) -> None:
    owner, phone = await company.hire("owner"), Phone()
    await phone.join(http, await crew_token(http, company))
    assert (await phone.sign_in(http, "000000")).json()["code"] == "pin_wrong"
    assert (await phone.sign_in(http)).status_code == 201
    entries = await trail_of(http, company, owner, object_type="devices", object_id=phone.device_id)
    assert [entry["action"] for entry in entries] == ["sign_in_failed", "device_joined", "insert"]
    assert entries[0]["person"] is None
    assert entries[2]["after"]["name"] == "Moto G"
    kept = await admin.fetchval("select pin_hash from devices where device_id = $1", UUID(phone.device_id))
    assert kept
    told = await admin.fetch("select changes::text from audit.entries where tenant_id = $1", company.tenant_id)
    assert not any("pin_hash" in row["changes"] or kept in row["changes"] for row in told)


async def test_a_machine_reads_the_trail_only_with_a_key_for_it(http, company: Company) -> None:
    owner = await company.hire("owner")
    statuses: list[int] = []
    for tools in ({"audit": "read"}, {"files": "admin"}):
        made = await http.post("/v1/api-keys", json={"name": "SIEM", "tools": tools}, headers=company.bearer(owner))
        machine = {"authorization": f"Bearer {made.json()['secret']}"}
        statuses.append((await http.get("/v1/audit", headers=machine)).status_code)
    assert statuses == [200, 403]


async def test_the_end_of_a_session_by_reuse_is_in_the_trail(http, company: Company, db, tokens: Tokens) -> None:
    owner = await company.hire("owner")
    credentials = {"email": company.emails[owner.person_id], "password": PASSWORD}
    stolen = (await http.post("/v1/sessions", json=credentials)).json()["refresh_token"]
    for seconds in (0, 61):
        now = clock.now() + timedelta(seconds=seconds)
        try:
            await identity.refresh(db, tokens, token=stolen, now=now, request_id="r-9")
        except Problem as problem:
            assert problem.code == "session_ended"
    (entry,) = await trail_of(http, company, owner, action="session_reused")
    assert (entry["person"]["person_id"], entry["request_id"]) == (str(owner.person_id), "r-9")


async def test_the_verifier_says_so_by_its_exit_code(
    company: Company, trail: Trail, stack: Stack, admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    await company.hire("owner")
    await trail.seal()
    for name, value in stack.env("auditor").items():
        monkeypatch.setenv(name, value)

    async def verify() -> Any:
        return await asyncio.to_thread(
            CliRunner().invoke, main, ["audit", "verify", "--tenant", str(company.tenant_id)]
        )

    good = await verify()
    assert (good.exit_code, "as it was sealed" in good.output) == (0, True), good.output
    entry_id = await admin.fetchval(
        "update audit.entries set action = 'x' where tenant_id = $1 and object_type = 'tenants' returning entry_id",
        company.tenant_id,
    )
    bad = await verify()
    assert bad.exit_code == 1
    assert f"entry {entry_id} was changed" in bad.output


class Erp:
    """A machine with a key, and the owner who made it."""

    def __init__(self, owner: Caller, made: dict[str, Any]) -> None:
        self.owner = owner
        self.key_id: str = made["key"]["key_id"]
        self.headers = {"authorization": f"Bearer {made['secret']}"}
        self.shown = {"key_id": self.key_id, "name": "ERP de obra"}


async def erp_of(http: httpx.AsyncClient, company: Company) -> Erp:
    owner = await company.hire("owner")
    wanted = {"name": "ERP de obra", "tools": {"files": "standard", "people": "admin", "audit": "read"}}
    made = await http.post("/v1/api-keys", json=wanted, headers=company.bearer(owner))
    return Erp(owner, made.json())


async def test_what_a_machine_did_is_its_own_and_names_who_made_its_key(http, company: Company, trail, admin) -> None:
    erp = await erp_of(http, company)
    worker, manager = await company.hire(), await company.hire("manager")
    await http.patch(f"/v1/members/{worker.person_id}", json={"role": "residente"}, headers=erp.headers)
    path = f"/v1/projects/{company.tower}/uploads"
    opened = await http.post(path, json={"uploads": [declare(b"abc")]}, headers=erp.headers)
    await http.get("/v1/audit/export", headers=erp.headers)
    person = {"person_id": str(erp.owner.person_id), "name": "Alguien"}
    entries = await trail_of(http, company, manager, key_id=erp.key_id)
    assert [(e["action"], e["object_type"]) for e in entries] == [
        ("export", "audit"),
        ("insert", "uploads"),
        ("update", "memberships"),
    ]
    assert entries[1]["object_id"] == opened.json()["results"][0]["upload"]["upload_id"]
    assert all((e["machine"], e["person"]) == (erp.shown, person) for e in entries)
    others = [e for e in await trail_of(http, company, manager, limit=200) if e not in entries]
    assert others
    assert all(e["machine"] is None for e in others)
    assert {e["entry_id"] for e in entries} <= {
        e["entry_id"] for e in await trail_of(http, company, manager, person_id=str(erp.owner.person_id))
    }
    await http.delete(f"/v1/api-keys/{erp.key_id}", headers=company.bearer(erp.owner))
    assert (await trail_of(http, company, manager, key_id=erp.key_id))[0]["machine"] == erp.shown


async def test_a_machines_entries_are_sealed_exported_and_can_not_pass_for_a_persons(
    http, company: Company, trail: Trail, admin
) -> None:
    erp = await erp_of(http, company)
    worker = await company.hire()
    for role in ("residente", "manager"):
        await http.patch(f"/v1/members/{worker.person_id}", json={"role": role}, headers=erp.headers)
    while await trail.seal():
        pass
    assert await trail.findings() == []
    content = (await export(http, company, erp.owner, format="json")).content
    assert service.check_bundle(content, json.loads(await keys(http))["keys"]).problems == []
    bundle = json.loads(content)
    mine = [json.loads(e["entry"]) for e in bundle["entries"] if erp.key_id in e["entry"]]
    assert [(e["v"], e.get("key_id")) for e in mine if e["action"] == "update"] == [(2, erp.key_id)] * 2
    assert {e["v"] for each in bundle["entries"] if "key_id" not in (e := json.loads(each["entry"]))} == {1}
    statement = json.loads(base64.urlsafe_b64decode(bundle["statement"].split(".")[1] + "=="))
    assert statement["keys"] == {erp.key_id: "ERP de obra"}
    table = csv.DictReader(
        io.StringIO((await export(http, company, erp.owner, format="csv")).content.decode("utf-8-sig"))
    )
    rows = [row for row in table if row["action"] == "update"]
    assert [(row["machine"], row["key_id"], row["person"]) for row in rows] == [
        ("ERP de obra", erp.key_id, "Alguien")
    ] * 2
    changed = "update audit.entries set key_id = $2 where tenant_id = $1 and action = 'update'"
    for other in (None, uuid4()):
        await admin.execute(changed, company.tenant_id, other)
        assert [" was changed " in finding for finding in await trail.findings()] == [True, True]
    await admin.execute(changed, company.tenant_id, UUID(erp.key_id))
    assert await trail.findings() == []
