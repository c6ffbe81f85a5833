"""Tables of places and people: what is wrong is named, what is right is written as asked, and twice is once."""

import csv
import functools
import io
from typing import Any

import httpx
import pytest
from tests.conftest import Company

from buildpeer.modules.identity import service as identity
from buildpeer.modules.jobs import service as jobs
from buildpeer.modules.projects import handlers
from buildpeer.modules.projects.service import importing
from buildpeer.platform import clock
from buildpeer.platform.auth import Caller
from buildpeer.platform.ids import new_id


class Importer:
    """Orders an import, does it as the worker would, and gives the job as its orderer sees it."""

    def __init__(self, http: Any, db: Any, worker_db: Any, clients: Any, company: Company) -> None:
        self.http, self.company = http, company
        self._db, self._worker_db, self._clients = db, worker_db, clients

    async def run(self, caller: Caller, path: str, table: str, mode: str, language: str = "es") -> dict[str, Any]:
        headers = self.company.bearer(caller) | {"accept-language": language}
        wanted = {"job_id": str(new_id()), "csv": table, "mode": mode}
        answers = [await self.http.post(path, json=wanted, headers=headers) for _ in range(2)]
        assert [a.status_code for a in answers] == [202, 202], answers[0].text
        await self.work()
        job = (await self.http.get(f"/v1/jobs/{wanted['job_id']}", headers=headers)).json()
        assert job["state"] == "done", job
        return job

    async def work(self) -> None:
        known = {
            importing.LOCATIONS: handlers.on_locations_import,
            importing.PEOPLE: functools.partial(handlers.on_people_import, invite=identity.invite_by_mail),
        }
        storage, bucket = self._clients.storage, self._clients.settings.derived_bucket
        await jobs.work(self._worker_db, self._db, storage, known, bucket=bucket, now=clock.now)


@pytest.fixture
def importer(http, db, worker_db, worker_clients, company) -> Importer:
    return Importer(http, db, worker_db, worker_clients, company)


async def faults_of(job: dict[str, Any]) -> list[list[str]]:
    async with httpx.AsyncClient() as client:
        text = (await client.get(job["result"]["url"])).content.decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline="")))


def with_forty_bad(rows: int) -> str:
    """So many lines of places, of which 40 are wrong, in four ways."""
    lines = [f"Torre {n // 500} / Piso {n // 25 % 20} / {n}" for n in range(rows)]
    for place in range(10):
        lines[100 * place + 7] = "x" * 101
        lines[100 * place + 27] = "Torre 0 // 3"
        lines[100 * place + 47] = " / ".join("abcdefghijk")
        lines[100 * place + 67] = lines[0]
    return "Lugar;Nota\n" + "".join(f"{line};\n" for line in lines)


async def test_of_5000_places_40_wrong_ones_are_each_named_and_the_rest_is_written_only_as_asked(
    importer, admin, company
) -> None:
    manager, path = await company.hire("manager"), f"/v1/projects/{company.tower}/locations/imports"
    table, count = with_forty_bad(5000), "select count(*) from locations where project_id = $1"
    for mode in ("check", "all"):
        job = await importer.run(manager, path, table, mode)
        assert job["state"] == "done", job
        told = {name: job["summary"][name] for name in ("lines", "created", "known", "bad", "written")}
        assert told == {"lines": 5000, "created": 4960, "known": 0, "bad": 40, "written": False}
        assert await admin.fetchval(count, company.tower) == 0
    head, *faults = await faults_of(job)
    assert head == ["Fila", "Columna", "Valor", "Motivo"]
    assert len(faults) == len(job["summary"]["faults"]) == 40
    assert faults[:4] == [
        ["9", "Lugar", "x" * 100, "Es demasiado larga: 100 caracteres como máximo."],
        ["29", "Lugar", "Torre 0 // 3", "Está vacía y es obligatoria."],
        ["49", "Lugar", " / ".join("abcdefghijk"), "Los lugares admiten 10 niveles como máximo."],
        ["69", "Lugar", "Torre 0 / Piso 0 / 0", "“Torre 0 / Piso 0 / 0” ya aparece en la fila 2."],
    ]
    job = await importer.run(manager, path, table, "good", "pt")
    assert job["summary"]["written"] is True
    assert (await faults_of(job))[1][3] == "É longa demais: no máximo 100 caracteres."
    written = await admin.fetchval(count, company.tower)
    assert written == 4960 + 10 + 200  # with their towers and floors
    again = await importer.run(manager, path, table, "good")
    assert (again["summary"]["created"], again["summary"]["known"]) == (0, 4960)
    assert await admin.fetchval(count, company.tower) == written


async def test_a_table_without_its_column_is_one_fault_and_an_import_is_for_managers(importer, http, company) -> None:
    path = f"/v1/projects/{company.tower}/locations/imports"
    job = await importer.run(await company.hire("manager"), path, "Piso\n3\n", "good", "en")
    [fault] = job["summary"]["faults"]
    assert (fault["line"], fault["column"], fault["reason"]) == (1, "Lugar", "The first row doesn't have this column.")
    wanted = {"job_id": str(new_id()), "csv": "Lugar\nA", "mode": "all"}
    residente = company.bearer(await company.hire("residente"))
    assert (await http.post(path, json=wanted, headers=residente)).status_code == 403


async def test_people_are_invited_once_with_their_roles_and_projects(importer, admin, company) -> None:
    manager = await company.hire("manager")
    member = company.emails[(await company.hire()).person_id]
    ana, luis = f"ana-{company.tenant_id}@example.test", f"luis-{company.tenant_id}@example.test"
    table = (
        "E-mail;Papel;Obras\n"
        f"{ana.upper()};Engenheiro residente;tor | ESC\n"
        f"{member};;TOR\n"
        "nadie;;\n"
        f"{luis};dueño;\n"
        f"{ana};;\n"
        f"otro-{company.tenant_id}@example.test;;XYZ\n"
        f"{luis};investidor;ESC\n"
    )
    job = await importer.run(manager, "/v1/people/imports", table, "good")
    told = job["summary"]
    assert [(f["line"], f["column"], f["code"]) for f in told["faults"]] == [
        (4, "Correo", "no_email"),
        (5, "Rol", "no_choice"),
        (6, "Correo", "repeated"),
        (7, "Obras", "unknown"),
    ]
    assert (told["created"], told["known"], told["bad"], told["lines"]) == (2, 1, 4, 7)
    rows = await admin.fetch(
        "select email, role, cardinality(projects) as projects, created_by from invitations where tenant_id = $1"
        " order by email",
        company.tenant_id,
    )
    assert [tuple(row) for row in rows] == [
        (ana, "residente", 2, manager.person_id),
        (luis, "inversionista", 1, manager.person_id),
    ]
    again = (await importer.run(manager, "/v1/people/imports", table, "good"))["summary"]
    assert (again["created"], again["known"]) == (0, 3)
    mails = await admin.fetchval("select count(*) from mails where recipient = any ($1)", [ana, luis])
    assert mails == 2


async def test_who_may_no_longer_invite_by_the_time_it_is_done_invites_nobody(importer, admin, company) -> None:
    manager = await company.hire("manager")
    headers = company.bearer(manager)
    wanted = {"job_id": str(new_id()), "csv": f"Correo\nx-{company.tenant_id}@example.test\n", "mode": "all"}
    assert (await importer.http.post("/v1/people/imports", json=wanted, headers=headers)).status_code == 202
    await admin.execute("update memberships set role = 'residente' where person_id = $1", manager.person_id)
    await importer.work()
    job = (await importer.http.get(f"/v1/jobs/{wanted['job_id']}", headers=headers)).json()
    assert (job["state"], job["reason"]) == ("failed", "not_allowed")
    assert await admin.fetchval("select count(*) from invitations where tenant_id = $1", company.tenant_id) == 0
