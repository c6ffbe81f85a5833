"""RFIs out as a log, and in from a table."""

import io
import re
import zipfile
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pypdfium2 as pdfium
import pytest

from buildpeer.modules.jobs import service as jobs
from buildpeer.modules.rfis import service
from buildpeer.modules.rfis.handlers import on_import, on_log
from buildpeer.modules.rfis.service import LogWanted, NewRfiImport
from buildpeer.modules.rfis.store import Filters
from buildpeer.platform import clock
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import new_id
from buildpeer.platform.messages import LANGUAGES, RFI_LOG


async def done(site, http, worker_db, worker_clients, by, job_id: UUID) -> Any:
    """Have the worker do a job; gives what its orderer is told."""
    await site.admin.execute(
        """update jobs set due_at = now() + interval '1 day'
        where kind like 'rfis.%' and due_at is not null and job_id <> $1""",
        job_id,
    )
    handlers = {service.LOG: on_log, service.IMPORT: on_import}
    bucket = worker_clients.settings.derived_bucket
    await jobs.work(worker_db, site.db, worker_clients.storage, handlers, bucket=bucket, now=clock.now)
    return (await http.get(f"/v1/jobs/{job_id}", headers=site.company.bearer(by))).json()


async def logged(site, http, worker_db, worker_clients, by, wanted: LogWanted, language: str = "es") -> Any:
    job_id = new_id()
    await service.order_log(
        site.db, caller=by, project_id=site.company.tower, job_id=job_id, wanted=wanted, language=language
    )
    job = await done(site, http, worker_db, worker_clients, by, job_id)
    assert job["state"] == "done", job
    return (await http.get(job["result"]["url"])).content, job


async def test_the_log_is_written_as_pdf_and_tables_for_what_its_orderer_sees(
    site, http, worker_db, worker_clients
) -> None:
    await site.opened(subject="Losa de 20 cm", due_date=date(2024, 11, 25))
    await site.opened(subject="Confidencial", private=True)
    await site.create(subject="Borrador")
    resident = await site.company.hire("residente")
    pdf, job = await logged(site, http, worker_db, worker_clients, resident, LogWanted("pdf"))
    assert job["summary"] == {"rfis": 1}
    assert re.fullmatch(r"TOR Registro de RFI \d{4}-\d\d-\d\d\.pdf", job["filename"])
    document = pdfium.PdfDocument(pdf)
    text = document[0].get_textpage().get_text_range()
    document.close()
    for word in ("Registro de RFI", "TOR-RFI-001", "Losa de 20 cm", "Abierta", "25/11/2024", "Vencida", "Alguien"):
        assert word in text, word
    assert "Confidencial" not in text
    table, job = await logged(site, http, worker_db, worker_clients, site.owner, LogWanted("csv", ["open"]), "pt")
    lines = table.decode("utf-8-sig").splitlines()
    assert lines[0].split(",") == RFI_LOG["pt"]["columns"].split("|")
    assert ["Confidencial" in line for line in lines] == [False, False, True]
    book, job = await logged(site, http, worker_db, worker_clients, site.owner, LogWanted("xlsx", ["closed"]), "en")
    assert job["summary"] == {"rfis": 0}
    assert b"RFI manager" in zipfile.ZipFile(io.BytesIO(book)).read("xl/worksheets/sheet1.xml")
    with pytest.raises(Problem, match="not_found"):  # it names people
        await service.order_log(
            site.db,
            caller=site.first,
            project_id=site.company.tower,
            job_id=new_id(),
            wanted=LogWanted("csv"),
            language="es",
        )


def test_the_words_of_a_log_fit_in_every_language() -> None:
    for language in LANGUAGES:
        words = RFI_LOG[language]
        assert [words[name].count("|") for name in ("states", "facts", "paper", "columns")] == [6, 5, 9, 20]


@pytest.fixture
def imported(site, http, worker_db, worker_clients) -> Any:
    """Imports a table, and gives what its orderer is told."""

    async def run(by, table: str, mode: str = "good", import_id: UUID | None = None) -> Any:
        wanted = NewRfiImport(job_id=new_id(), csv=table, mode=mode, import_id=import_id)
        await service.order_import(site.db, caller=by, project_id=site.company.tower, wanted=wanted, language="es")
        job = await done(site, http, worker_db, worker_clients, by, wanted.job_id)
        assert job["state"] == "done", job
        return job["summary"]

    return run


async def drafts(site) -> list[Any]:
    found = await service.list_rfis(
        site.db,
        caller=site.owner,
        project_id=site.company.tower,
        filters=Filters(status=["draft"]),
        location_id=None,
        overdue=False,
        sort="updated_at",
        after=None,
        limit=6000,
        now=site.now,
    )
    return [shown.rfi for shown in found]


async def test_of_five_thousand_rows_with_forty_bad_ones_the_bad_are_told_and_the_others_made(site, imported) -> None:
    email = site.company.emails[site.first.person_id]
    good = [f"Consulta {n};¿Qué hacemos?;25/12/2026;{email}" for n in range(4960)]
    bad = [f";Sin asunto {n};;" if n % 2 else f"Mala {n};;mañana;nadie@example.test" for n in range(40)]
    head, import_id = "Asunto;Pregunta;Vence;Asignados", new_id()
    table = "\n".join([head, *good[:2000], *bad, *good[2000:]])
    for mode in ("check", "all"):
        told = await imported(site.manager, table, mode, import_id)
        assert (told["written"], told["lines"], told["created"], told["bad"]) == (False, 5000, 4960, 40)
        assert await drafts(site) == []
    first = told["faults"][0]
    assert (first["line"], first["column"], first["code"]) == (2002, "vence", "no_choice")
    began = clock.now()
    told = await imported(site.manager, table, "good", import_id)
    print(f"4,960 of 5,000 rows made in {(clock.now() - began).total_seconds():.1f} s")
    assert (told["written"], told["created"], told["known"]) == (True, 4960, 0)
    mended = "\n".join([head, *good[:2000], *(f"Buena {n};;;" for n in range(40)), *good[2000:]])
    told = await imported(site.manager, mended, "all", import_id)
    assert (told["created"], told["known"], told["bad"]) == (40, 4960, 0)
    rfis = await drafts(site)
    assert len(rfis) == 5000
    one = next(rfi for rfi in rfis if rfi.subject == "Consulta 7")
    assert (one.due_date, one.assignees) == (date(2026, 12, 25), (site.first.person_id,))
    assert (one.created_by, one.ball_in_court) == (site.manager.person_id, (site.manager.person_id,))
    history = await service.list_transitions(site.db, caller=site.owner, rfi_id=one.rfi_id, after=0, limit=9)
    assert [t.verb for t in history] == ["create"]


async def test_a_table_names_things_as_people_do(site, imported) -> None:
    company, admin = site.company, site.admin
    tower, floor = uuid4(), uuid4()
    for place, above, name in ((tower, None, "Torre A"), (floor, tower, "Nivel 3")):
        await admin.execute(
            "insert into locations (tenant_id, project_id, location_id, parent_id, name) values ($1, $2, $3, $4, $5)",
            *(company.tenant_id, company.tower, place, above, name),
        )
    table = "subject,location,private,due date\nA,torre a / NIVEL 3,sí,2026-12-06\nB,Nivel 9,no,\nC,,quizás,\n"
    told = await imported(site.manager, table)
    assert [(fault["line"], fault["column"], fault["code"]) for fault in told["faults"]] == [
        (3, "ubicación", "unknown"),
        (4, "privada", "no_choice"),
    ]
    [rfi] = await drafts(site)
    assert (rfi.location_id, rfi.private, rfi.due_date) == (floor, True, date(2026, 12, 7))  # the 6th is a Sunday
    with pytest.raises(Problem, match="not_found"):
        await imported(site.first, table)
    assert (await imported(site.manager, "nada\n1\n"))["faults"][0]["code"] == "missing_column"
