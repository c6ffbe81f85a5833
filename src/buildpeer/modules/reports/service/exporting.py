"""Daily logs and bitácoras on paper, made as jobs.

A bitácora's PDF holds the signed bundle that it was printed from, so that it can be checked without us: the bundle's
signature, the chain of notes, and that the pages say what the bundle says (`verifying.py`).
"""

import hashlib
from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

import msgspec

from buildpeer.modules.documents import facade as documents
from buildpeer.modules.documents.facade import Described
from buildpeer.modules.jobs import facade as jobs
from buildpeer.modules.jobs.facade import Handler, JobStarted, Outcome, Work
from buildpeer.modules.projects import facade as projects
from buildpeer.modules.reports.rules import paper as rules
from buildpeer.modules.reports.rules.bitacora import Signature
from buildpeer.modules.reports.rules.daily_logs import Entry
from buildpeer.modules.reports.rules.paper import Bundle, BundledNote, Paper, Statement
from buildpeer.modules.reports.service import bitacora as bitacoras
from buildpeer.modules.reports.service.daily_logs import find
from buildpeer.modules.reports.store import bitacora as notes_store
from buildpeer.modules.reports.store import daily_logs as store
from buildpeer.platform import clock
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.paper import Letterhead, print_pdf
from buildpeer.platform.signing import Signer

DAILY_LOG, BITACORA = "daily_log", "bitacora"
MOST_PHOTOS = 60
_MOST_PHOTO_BYTES = 8 * 1024 * 1024
_ENTRIES = 10_000
_NOTES_AT_ONCE = 500


async def order_log(
    db: Database, *, caller: Caller, project_id: UUID, log_date: date, job_id: UUID, language: str
) -> JobStarted:
    """Order a day as a PDF. Raises Problem not_found, and what `jobs.start` does."""
    async with db.transaction(caller.scope) as tx:
        await find(tx, project_id)
        wanted = {"log_date": log_date}
        return await jobs.start(
            tx, job_id=job_id, kind=DAILY_LOG, wanted=wanted, language=language, project_id=project_id
        )


async def order_bitacora(db: Database, *, caller: Caller, bitacora_id: UUID, job_id: UUID, language: str) -> JobStarted:
    """Order a bitácora as a PDF that can be verified. Raises Problem not_found, and what `jobs.start` does."""
    async with db.transaction(caller.scope) as tx:
        bitacora = await bitacoras.find(tx, bitacora_id)
        wanted = {"bitacora_id": bitacora_id}
        return await jobs.start(
            tx, job_id=job_id, kind=BITACORA, wanted=wanted, language=language, project_id=bitacora.project_id
        )


async def print_log(work: Work) -> Outcome:
    """The day as a PDF: what its entries say, and their photos as previews, never the originals.

    Raises Problem not_found for who may not read it any more.
    """
    assert work.project_id is not None  # noqa: S101 - `order_log` gave it
    log_date, now = date.fromisoformat(work.wanted["log_date"]), clock.now()
    async with work.transaction() as tx:
        project = await find(tx, work.project_id)
        log = await store.log(tx, work.project_id, log_date) or store.DailyLog(
            project_id=work.project_id, log_date=log_date
        )
        entries = await store.page(tx, work.project_id, log_date, after=None, kind=None, deleted=False, limit=_ENTRIES)
        found = await documents.described(tx, [a for entry in entries for a in entry.attachments])
        named = await _names(tx, entries)
        people = await store.names(tx, {e.created_by for e in entries} | {p for p in (log.completed_by,) if p})
        company, country = await store.company(tx), (await projects.calendar_of(tx, work.project_id)).country
    photos, files = await _photos(work, entries, {each.document_id: each for each in found}, project.timezone)
    title, data = rules.log_data(
        log, entries, names=named | people, photos=photos, zone=project.timezone, language=work.language
    )
    letterhead = Letterhead(
        company=company,
        project_code=project.code,
        project=project.name,
        title=title,
        subtitle=rules.day_text(log_date, work.language),
        printed_at=now,
        timezone=project.timezone,
        language=work.language,
        country=country,
    )
    pdf = await print_pdf(rules.LOG_TEMPLATE, data, letterhead, pictures=files)
    return _outcome(work, pdf, f"{project.code} {title} {log_date}.pdf", {"entries": len(entries)})


def print_bitacora(signer: Signer) -> Handler:
    """The handler that makes a bitácora's PDF, with the bundle that `signer` signs in it.

    It raises Problem not_found for who may not read it any more.
    """

    async def handle(work: Work) -> Outcome:
        now, bitacora_id = clock.now(), UUID(work.wanted["bitacora_id"])
        async with work.transaction() as tx:
            bitacora = await bitacoras.find(tx, bitacora_id)
            project = await projects.find_project(tx, bitacora.project_id)
            company, country = await store.company(tx), (await projects.calendar_of(tx, project.project_id)).country
            notes = await _notes(tx, bitacora_id)
            found = await notes_store.signatures(tx, bitacora_id, list(range(1, len(notes) + 1)))
        signatures = [signature for signed in found.values() for signature in signed]
        paper = Paper(
            company=company,
            project_code=project.code,
            project=project.name,
            timezone=project.timezone,
            country=country,
            language=work.language,
        )
        statement = Statement(
            format=rules.FORMAT,
            tenant_id=work.tenant_id,
            project_id=bitacora.project_id,
            bitacora_id=bitacora_id,
            title=bitacora.title,
            signing_days=bitacora.signing_days,
            exported_at=now,
            exported_by=work.person_id,
            notes=len(notes),
            head=notes[-1].hash if notes else "",
            signatures=len(signatures),
            signatures_hash=signatures_hash(signatures),
            paper=paper,
        )
        bundle = Bundle(
            format=rules.FORMAT,
            notes=notes,
            signatures=signatures,
            statement=signer.sign(msgspec.json.encode(statement)),
            public_key=signer.public,
        )
        pdf = await print_bundle(bundle, statement)
        return _outcome(work, pdf, f"{project.code} {bitacora.title}.pdf", {"notes": len(notes)})

    return handle


async def print_bundle(bundle: Bundle, statement: Statement) -> bytes:
    """The PDF of a bundle, which is attached to it: the same bundle gives the same pages."""
    title, data = rules.bitacora_data(bundle, statement)
    paper = statement.paper
    letterhead = Letterhead(
        company=paper.company,
        project_code=paper.project_code,
        project=paper.project,
        title=title,
        subtitle=statement.title,
        printed_at=statement.exported_at,
        timezone=paper.timezone,
        language=paper.language,
        country=paper.country,
    )
    attached = {rules.BUNDLE_FILE: msgspec.json.encode(bundle)}
    return await print_pdf(rules.BITACORA_TEMPLATE, data, letterhead, pictures=attached)


def signatures_hash(signatures: Sequence[Signature]) -> str:
    """SHA-256 (hex) over all signatures, by which the statement names them."""
    return hashlib.sha256(msgspec.json.encode(signatures)).hexdigest()


async def _notes(tx: Transaction, bitacora_id: UUID) -> list[BundledNote]:
    notes: list[BundledNote] = []
    while True:
        found = await notes_store.notes(tx, bitacora_id, after=len(notes), note_class=None, limit=_NOTES_AT_ONCE)
        notes += [BundledNote(note.content, note.hash.hex()) for note in found]
        if len(found) < _NOTES_AT_ONCE:
            return notes


async def _names(tx: Transaction, entries: Sequence[Entry]) -> dict[UUID, str]:
    named = {
        name: {UUID(e.fields[name]) for e in entries if e.fields.get(name)}
        for name in ("location_id", "trade_id", "company_id")
    }
    return await projects.names_of(
        tx, locations=named["location_id"], trades=named["trade_id"], companies=named["company_id"]
    )


async def _photos(
    work: Work, entries: Sequence[Entry], found: dict[UUID, Described], zone: str
) -> tuple[list[rules.PrintedPhoto], dict[str, bytes]]:
    """The pictures of attached documents, each once, and their files by name."""
    photos: list[rules.PrintedPhoto] = []
    files: dict[str, bytes] = {}
    for entry in entries:
        for document_id in entry.attachments:
            file = f"{document_id}.webp"
            document = found.get(document_id)
            if document is None or document.preview is None or file in files or len(files) == MOST_PHOTOS:
                continue
            preview = document.preview
            content = await work.storage.read(bucket=preview.bucket, key=preview.key, most=_MOST_PHOTO_BYTES)
            if content is not None:
                files[file] = content
                photos.append(rules.photo(file, entry, document.captured_at, zone=zone, language=work.language))
                await work.tell(len(files), min(len(found), MOST_PHOTOS))
    return photos, files


def _outcome(work: Work, pdf: bytes, filename: str, summary: dict[str, Any]) -> Outcome:
    file = work.folder / "paper.pdf"
    file.write_bytes(pdf)
    return Outcome(file=file, filename=filename, content_type="application/pdf", summary=summary)
