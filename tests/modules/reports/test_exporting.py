"""Daily logs and bitácoras on paper, and whether a bitácora is what was exported."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pypdfium2 as pdfium
import pytest
import pyvips
from click.testing import CliRunner
from tests.architecture.test_isolation import fill
from tests.modules.reports.conftest import Book, Site, entry, note, today

from buildpeer import layout
from buildpeer.entrypoints.cli import main
from buildpeer.modules.jobs import service as jobs
from buildpeer.modules.reports.rules.paper import Bundle, BundledNote
from buildpeer.modules.reports.service import exporting
from buildpeer.modules.reports.service.verifying import check_file
from buildpeer.platform import clock
from buildpeer.platform.auth import Caller
from buildpeer.platform.ids import new_id
from buildpeer.platform.signing import Signer

Printing = Callable[[str, Caller], Awaitable[bytes]]


@pytest.fixture
async def printed(http, company, db, worker_db, worker_clients, settings) -> AsyncIterator[Printing]:
    """Order a paper over HTTP, do the job as the worker would, and read its file."""
    signer, bucket = Signer(settings.audit_key), worker_clients.settings.derived_bucket
    handlers = {
        exporting.DAILY_LOG: exporting.print_log,
        exporting.BITACORA: exporting.print_bitacora(signer),
    }

    async def order(path: str, who: Caller) -> bytes:
        headers = company.bearer(who) | {"accept-language": "es"}
        body = {"job_id": str(new_id())}
        ordered = [await http.post(f"{path}/exports", json=body, headers=headers) for _ in range(2)]
        assert [answer.status_code for answer in ordered] == [201, 201], ordered[0].text
        state = "queued"
        while state in ("queued", "running"):  # other tests' jobs may come first
            await jobs.work(worker_db, db, worker_clients.storage, handlers, bucket=bucket, now=clock.now)
            job = (await http.get(f"/v1/jobs/{body['job_id']}", headers=headers)).json()
            state = job["state"]
        assert state == "done", job
        async with httpx.AsyncClient() as plain:
            return (await plain.get(job["result"]["url"])).content

    yield order


def text_of(content: bytes) -> str:
    with pdfium.PdfDocument(content) as pdf:
        return "\n".join(page.get_textpage().get_text_bounded() for page in pdf)


def pictures_in(content: bytes) -> int:
    with pdfium.PdfDocument(content) as pdf:
        return sum(len(list(page.get_objects(filter=[pdfium.raw.FPDF_PAGEOBJ_IMAGE]))) for page in pdf)


async def test_a_day_is_printed_with_its_photos_previews(
    site: Site, printed: Printing, admin, worker_db, worker_clients
) -> None:
    resident = await site.company.hire("residente")
    photo = await fill(admin, worker_db, site.company, site.project, resident.person_id)
    bucket, key = worker_clients.settings.derived_bucket, layout.job_key(site.company.tenant_id, photo, 1)
    picture = pyvips.Image.black(64, 48).webpsave_buffer()
    await worker_clients.storage.put_once(bucket=bucket, key=key, content=picture, content_type="image/webp")
    preview = msgspec.json.encode({"bucket": bucket, "key": key, "width": 64, "height": 48, "size": len(picture)})
    await admin.execute("update documents set preview = $2 where document_id = $1", photo, preview.decode())
    day = today() - timedelta(days=1)
    added = await site.add(
        resident,
        entry("weather", sky="storm", rain=38, is_weather_delay=True),
        entry("manpower", company="Aceros del Bajío", workers=14, hours=8),
        entry("note", text="#strong[esto no es marcado] $x$ ñ"),
        entry("photo", attachments=[photo], caption="Armado de losa"),
        day=day,
    )
    assert {r["verdict"] for r in added.json()["results"]} == {"added"}
    await site.post(resident, "completion", day=day)
    paper = await printed(site.day(day), resident)
    text = text_of(paper)
    for words in (
        "Parte diario de obra",
        "Aceros del Bajío",
        "tormenta",
        "#strong[esto no es marcado]",
        "Armado de losa",
    ):
        assert words in text
    assert pictures_in(paper) == 1


async def test_an_exported_bitacora_proves_itself_and_tells_what_was_changed(
    http, book: Book, printed: Printing, company, settings, worker_db, tmp_path: Path
) -> None:
    opened = (await book.issue(book.resident, note("opening"))).json()
    await book.sign(book.builder, 1, opened["hash"])
    await book.issue(book.builder, note("request", subject="Lluvia en el colado", cause="Lluvia de 38 mm"))
    paper, public = await printed(book.path, book.resident), Signer(settings.audit_key).public
    text = text_of(paper)
    for words in ("Bitácora de obra", "LPN-014/2026", "Lluvia de 38 mm", "por firmar hasta el", opened["hash"]):
        assert words in text
    good = await check_file(paper, [public])
    assert (good.problems, good.trusted) == ([], True)
    assert good.bundle is not None
    assert good.statement is not None
    assert (good.statement.notes, good.statement.signatures) == (2, 3)
    for problem, changed in changes(good.bundle):
        found = await check_file(msgspec.json.encode(changed), [public])
        assert any(problem in told for told in found.problems), (problem, found.problems)
    stranger = Signer("A" * 43 + "=").public
    assert (await check_file(paper, [stranger])).problems == ["the statement is not signed by the key that was given"]
    # A page that says something else, with the true bundle attached.
    lying = good.bundle, msgspec.structs.replace(good.statement, title="Otra obra")
    forged = await check_file(await exporting.print_bundle(*lying), [public])
    assert "page 1 does not say what was signed" in forged.problems
    assert (await check_file(b"%PDF-1.7 nothing", None)).problems
    await tell_trail(http, book, company, worker_db, tmp_path)
    (tmp_path / "bitacora.pdf").write_bytes(paper)
    (tmp_path / "keys.json").write_bytes(msgspec.json.encode({"keys": [public]}))
    files = [str(tmp_path / name) for name in ("bitacora.pdf", "keys.json", "trail.json", "other.json")]
    command = ["bitacora", "verify", files[0], "--public-key", files[1]]
    told = await in_a_thread([*command, "--trail", files[2]])
    assert (told.exit_code, "2. " in told.output) == (0, True), told.output
    wrong = await in_a_thread([*command, "--trail", files[3]])
    assert (wrong.exit_code, "note 1 is not in the trail as it is here" in wrong.output) == (1, True), wrong.output


async def tell_trail(http: Any, book: Book, company: Any, worker_db: Any, folder: Path) -> None:
    """The company's trail, of notes and of projects."""
    while (await worker_db.call("select audit.seal($1)", company.tenant_id))[0][0]:
        pass
    owner = company.bearer(await company.hire("owner"))
    for name, kind in (("trail", "bitacora_notes"), ("other", "bitacoras")):
        answer = await http.get(f"/v1/audit/export?format=json&object_type={kind}", headers=owner)
        (folder / f"{name}.json").write_bytes(answer.content)


async def in_a_thread(command: list[str]) -> Any:
    """A command that runs an event loop of its own."""

    return await asyncio.to_thread(CliRunner().invoke, main, command)


def changes(bundle: Bundle) -> list[tuple[str, Bundle]]:
    """What somebody may do to a bundle, and what is said of it."""
    first, second = bundle.notes
    rewritten = BundledNote(second.content.replace("38 mm", "3 mm"), second.hash)
    elsewhere = BundledNote(second.content.replace(str(bundle_id(first)), str(UUID(int=7))), second.hash)

    def changed(**fields: Any) -> Bundle:
        return msgspec.structs.replace(bundle, **fields)

    return [
        ("note 2 was changed", changed(notes=[first, rewritten])),
        ("these are not the 2 notes", changed(notes=[first])),
        ("does not follow", changed(notes=[second, first])),
        ("is of another bitácora", changed(notes=[first, elsewhere])),
        ("these are not the 3 signatures", changed(signatures=bundle.signatures[:-1])),
        ("not signed by the key", changed(statement=bundle.statement[:-4] + "AAAA")),
    ]


def bundle_id(first: BundledNote) -> str:
    return msgspec.json.decode(first.content)["bitacora_id"]


async def test_a_bitacora_is_exported_to_who_may_read_it_then(book: Book, company, http) -> None:
    await book.issue(book.resident, note("opening"))
    field = company.bearer(await company.hire())
    refused = await http.post(f"{book.path}/exports", json={"job_id": str(new_id())}, headers=field)
    assert refused.status_code == 404
