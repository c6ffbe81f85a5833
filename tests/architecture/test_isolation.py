"""Isolation as data: `tests/isolation.yaml` says who may reach what, and this asks the database."""

import contextlib
import hashlib
import json
import re
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
import yaml
from tests.conftest import Company

from buildpeer.facts import Media, Rendition
from buildpeer.modules.documents.rules import Capture, Location
from buildpeer.modules.documents.store import documents
from buildpeer.modules.reports.rules import bitacora
from buildpeer.modules.reports.rules.progress import Content, Page, Progress
from buildpeer.modules.uploads.facade import ReadyFile
from buildpeer.platform import clock
from buildpeer.platform.auth import Caller
from buildpeer.platform.db import Database, Scope
from buildpeer.platform.ids import new_id

TABLE = yaml.safe_load((Path(__file__).parents[1] / "isolation.yaml").read_text())
TABLES: dict[str, Any] = TABLE["tables"]
CASES = [
    (table, operation, who, expected if isinstance(expected, str) else expected[who])
    for table, operations in TABLES.items()
    for operation, expected in operations.items()
    for who in ("owner", "manager", "field", "investor", "rival", "nobody")
]


class Undone(Exception):  # noqa: N818
    """Rolls a transaction back."""


class World:
    """A tenant with one row of every table in each of two projects, its people, and strangers."""

    company: Company
    callers: dict[str, Caller]


@pytest.fixture(scope="module")
async def world(
    admin: asyncpg.Connection, worker_db: Database, tokens: Any, password_hash: str
) -> AsyncIterator[World]:
    world = World()
    company = world.company = await Company(admin, tokens, password_hash).found()
    rival = await Company(admin, tokens, password_hash).found()
    field = await company.hire("empleado_obra", company.tower)
    foreign = await rival.hire("owner")
    world.callers = {
        "owner": await company.hire("owner"),
        "manager": await company.hire("manager"),
        "field": field,
        "investor": await company.hire("inversionista", company.tower),
        # Both name the tenant under attack, as a forged setting would.
        "rival": Caller(foreign.person_id, rival.tenant_id, uuid4()),
        "nobody": Caller(uuid4(), company.tenant_id, uuid4()),
    }
    await company.hire("residente", company.school)
    await admin.execute("insert into sessions values ($1, $2, $3)", field.person_id, uuid4(), company.tenant_id)
    await admin.execute("insert into totps values ($1, '', now(), now())", field.person_id)
    await admin.execute("insert into recovery_codes values ($1, '')", field.person_id)
    await admin.execute(
        """insert into devices (tenant_id, person_id, device_id, name, public_key, pin_hash, created_at)
        values ($1, $2, $3, 'Moto G', '', '', now())""",
        *(company.tenant_id, field.person_id, uuid4()),
    )
    await admin.execute(
        """insert into invitations values ($1, $2, 'crew', null, null, 'empleado_obra', '{}', $3, now(),
        now() + interval '1 day', 1, null)""",
        *(company.tenant_id, uuid4(), world.callers["owner"].person_id),
    )
    await admin.execute(
        "insert into api_keys values ($1, $2, $3, 'ERP', '{}', now())",
        *(company.tenant_id, uuid4(), world.callers["owner"].person_id),
    )
    for project in (company.tower, company.school):
        document = await fill(admin, worker_db, company, project, field.person_id)
        await file_away(admin, company, project, field.person_id, document)
        await add_rfi(admin, company.tenant_id, project, field.person_id)
        await add_job(admin, field, project)
        await add_webhook(admin, company)
        await add_notice(admin, field, project)
        drawn = await fill(admin, worker_db, company, project, field.person_id)
        await add_drawing(admin, company, project, field.person_id, document=drawn)
        await admin.execute(
            "insert into event_log select $1, coalesce(max(position), 0) + 1, $2, 'test', '{}', now() from event_log",
            *(company.tenant_id, project),
        )
    await worker_db.call("select audit.seal($1)", company.tenant_id)
    yield world


async def fill(
    admin: Any,
    worker_db: Database,
    company: Company,
    project: UUID,
    person: UUID,
    *,
    name: str = "a",
    content: str = "",
) -> UUID:
    """An upload and its document; gives the id of the upload, which is that of its document."""
    upload_id, tenant_id = new_id(), company.tenant_id
    digest, size_bytes = hashlib.sha256(content.encode()).digest(), 3
    key = f"live/{tenant_id}/{upload_id}"
    await admin.execute(
        """insert into uploads (tenant_id, upload_id, project_id, created_by, kind, name, size_bytes, content_type,
        sha256, lane, bucket, key)
        values ($1, $2, $3, $4, 'photo', $7, $8, 'a/b', $5, 'live', 'buildpeer-uploads', $6)""",
        *(tenant_id, upload_id, project, person, digest, key, name, size_bytes),
    )
    file = ReadyFile(
        upload_id=upload_id,
        project_id=project,
        created_by=person,
        kind="photo",
        name=name,
        size_bytes=size_bytes,
        content_type="a/b",
        sha256=digest,
        bucket="buildpeer-uploads",
        key=key,
        version_id="v",
        media=Media(),
        thumbnail=None,
        preview=Rendition("buildpeer-derived", "preview", 4, 3, 9),
        preview_reason="",
        created_at=clock.now(),
        settled_at=clock.now(),
    )
    async with worker_db.transaction(Scope(tenant_id, None)) as tx:
        await documents.insert(tx, file, Capture(), Location())
    await furnish(admin, company, project, upload_id, name=name)
    await write_logs(admin, company, project, person, name=name)
    await add_report(admin, company, project, person, name=name)
    return upload_id


async def add_job(admin: Any, caller: Caller, project: UUID, job_id: UUID | None = None) -> UUID:
    """A job that somebody has ordered, and no handler knows."""
    job_id = job_id or new_id()
    await admin.execute(
        """insert into jobs (tenant_id, job_id, project_id, created_by, kind, wanted, language)
        values ($1, $2, $3, $4, 'test.none', '{}', 'es')""",
        *(caller.tenant_id, job_id, project, caller.person_id),
    )
    return job_id


async def add_webhook(admin: Any, company: Company) -> tuple[UUID, UUID]:
    """An endpoint to which a message was delivered; the ids of both."""
    endpoint_id, message_id = new_id(), new_id()
    for statement in (
        """insert into webhook_endpoints (tenant_id, endpoint_id, url, description, types, secret, created_by,
          created_at) values ($1, $2, 'https://example.com/', $3::uuid::text, '{}', '', $2, now())""",
        """with m as (insert into webhook_messages (tenant_id, message_id, type, payload, occurred_at)
          values ($1, $3, 'test', '{}', now()) returning *)
        insert into webhook_deliveries (tenant_id, endpoint_id, message_id, occurred_at, state)
        select tenant_id, $2, message_id, occurred_at, 'delivered' from m""",
        """insert into webhook_attempts (tenant_id, endpoint_id, message_id, number, began_at, duration_ms, answer)
        values ($1, $2, $3, 1, now(), 1, '')""",
    ):
        await admin.execute(statement, company.tenant_id, endpoint_id, message_id)
    return endpoint_id, message_id


async def add_notice(admin: Any, reader: Caller, project: UUID) -> int:
    """A notice and a wish of somebody's about a project, and a burst of it; gives the notice's position."""
    place = (reader.tenant_id, reader.person_id, project)
    await admin.execute(
        """insert into notice_preferences (tenant_id, person_id, project_id, mail, muted)
        values ($1, $2, $3, 'never', false) on conflict do nothing""",
        *place,
    )
    await admin.execute(
        """insert into bursts (tenant_id, project_id, topic, first_position, last_position, began_at, ended_at, due_at,
          count, facts, ids) values ($1, $2, 'documents.added', 1, 1, now(), now(), 'infinity', 1, '{}', '[]')
        on conflict do nothing""",
        *(reader.tenant_id, project),
    )
    return await admin.fetchval(
        """insert into notices (tenant_id, person_id, project_id, position, topic, count, facts, occurred_at)
        select $1, $2, $3, greatest(max(position), 10::bigint ^ 12) + 1, 'rfi.changed', 1, '{}', now() from notices
        returning position""",
        *place,
    )


async def file_away(
    admin: Any,
    company: Company,
    project: UUID,
    person: UUID,
    before: UUID,
    *,
    name: str = "a",
    after: UUID | None = None,
) -> dict[str, UUID]:
    """A folder, an album, a pair of this photo and another one, a share link, and a placement; gives their ids."""
    if after is None:
        after = new_id()
        await admin.execute(
            """insert into documents (tenant_id, document_id, project_id, created_by, kind, name, size_bytes,
              content_type, sha256, bucket, key, version_id, media)
            select tenant_id, $2, project_id, created_by, kind, $3, size_bytes, content_type, sha256, bucket, key,
              version_id, media from documents where document_id = $1""",
            *(before, after, f"{name} after"),
        )
    made = {key: new_id() for key in ("folder_id", "album_id", "pair_id", "link_id")} | {"after_id": after}
    place = (company.tenant_id, project, person)
    for statement, arguments in (
        (
            """folders (tenant_id, project_id, created_by, folder_id, name, created_at)
         values ($1, $2, $3, $4, $5, now())""",
            (made["folder_id"], f"{name} {made['folder_id']}"),
        ),
        (
            "albums (tenant_id, project_id, created_by, album_id, name, created_at) values ($1, $2, $3, $4, $5, now())",
            (made["album_id"], f"{name} {made['album_id']}"),
        ),
        (
            """photo_pairs (tenant_id, project_id, created_by, pair_id, before_id, after_id, title, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, now())""",
            (made["pair_id"], before, after, name),
        ),
        (
            """share_links (tenant_id, project_id, created_by, link_id, document_id, note, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, now(), now() + interval '1 day')""",
            (made["link_id"], before, name),
        ),
        (
            """placements (tenant_id, project_id, created_by, upload_id, tags, private)
         values ($1, $2, $3, $4, '{}', false)""",
            (before,),
        ),
    ):
        await admin.execute(f"insert into {statement}", *place, *arguments)
    return made


async def add_drawing(
    admin: Any, company: Company, project: UUID, person: UUID, *, document: UUID, name: str = "a"
) -> dict[str, str]:
    """A drawing with its area and set, a revision and a pin, and what is filed of a document; gives their ids."""
    ids = {part: new_id() for part in ("area_id", "set_id", "drawing_id", "revision_id", "filing_id", "pin_id")}
    place, who = {"tenant_id": company.tenant_id, "project_id": project}, {"created_by": person}
    area, of_set, drawing, revision, filing, pin = ({each: ids[each]} for each in ids)
    day, now = date(2026, 3, 1), clock.now()
    called = {"title": name, "discipline": "other"}
    number = dict.fromkeys(("number", "plain_number", "ordered_number", "found_by"), name)
    sheet = {"document_id": document, "received_date": day}
    for table, row in (
        ("drawing_areas", area | who | {"name": f"{name} {area}"[:200]}),
        ("drawing_sets", of_set | who | {"kind": "ifc", "name": f"{name} {of_set}"[:200], "set_date": day}),
        ("drawings", drawing | area | number | called),
        (
            "drawing_revisions",
            revision
            | drawing
            | of_set
            | sheet
            | {"title": name, "revision_number": "0", "page": 1, "current": True}
            | {"published_by": person, "published_at": now},
        ),
        ("drawing_filings", filing | sheet | who | {"revision_number": "1", "pages": 1, "created_at": now}),
        (
            "drawing_sheets",
            filing
            | called
            | {"number": f"{name} 2", "page": 1, "revision_number": "1", "skipped": False}
            | {"reviewed_by": person},
        ),
        (
            "drawing_pins",
            pin
            | revision
            | who
            | {"pos_x": 0.0, "pos_y": 1.0, "kind": "rfi", "target_id": new_id(), "label": name}
            | {"created_at": now},
        ),
    ):
        values = place | row
        marks = ", ".join(f"${number}" for number in range(1, len(values) + 1))
        await admin.execute(f"insert into {table} ({', '.join(values)}) values ({marks})", *values.values())
    return {part: str(value) for part, value in ids.items()}


async def furnish(admin: Any, company: Company, project: UUID, document: UUID, *, name: str) -> None:
    """A place, a trade, a company, a day off, a budget and a cover for a project; again changes nothing."""
    named = f"{name} {document.hex}"
    for statement, arguments in (
        ("calendar_days (tenant_id, project_id, day, works, name) values ($1, $2, '2026-12-24', false, $3)", (named,)),
        ("project_budgets (tenant_id, project_id, amount) values ($1, $2, 1)", ()),
        ("project_covers (tenant_id, project_id, document_id) values ($1, $2, $3)", (document,)),
    ):
        await admin.execute(f"insert into {statement} on conflict do nothing", company.tenant_id, project, *arguments)
    await add_location(admin, company, project, named)
    await add_trade(admin, company, named)
    await add_company(admin, company, project, named)


async def add_location(admin: Any, company: Company, project: UUID, name: str) -> UUID:
    location_id = new_id()
    await admin.execute(
        """insert into locations (tenant_id, project_id, location_id, name) values ($1, $2, $3, $4)
        on conflict do nothing""",
        *(company.tenant_id, project, location_id, name),
    )
    return location_id


async def add_trade(admin: Any, company: Company, name: str) -> UUID:
    trade_id = new_id()
    await admin.execute(
        "insert into trades (tenant_id, trade_id, name) values ($1, $2, $3) on conflict do nothing",
        *(company.tenant_id, trade_id, name),
    )
    return trade_id


async def add_company(admin: Any, company: Company, project: UUID, name: str) -> UUID:
    """A company that works on a project."""
    company_id = new_id()
    await admin.execute(
        """with made as (insert into companies (tenant_id, company_id, name) values ($1, $2, $3)
          on conflict do nothing returning company_id)
        insert into project_companies (tenant_id, project_id, company_id, duty)
        select $1, $4, m.company_id, 'contractor' from made m""",
        *(company.tenant_id, company_id, name, project),
    )
    return company_id


async def add_rfi(
    admin: Any, tenant_id: UUID, project: UUID, person: UUID, *, name: str = "a", private: bool = False
) -> UUID:
    """An open RFI of somebody's, with a reply and a transition."""
    rfi_id = new_id()
    await admin.execute(
        """insert into rfi_settings as s (tenant_id, project_id, last_number) values ($1, $2, 1)
        on conflict (tenant_id, project_id) do update set last_number = s.last_number + 1""",
        *(tenant_id, project),
    )
    await admin.execute(
        """insert into rfis (tenant_id, rfi_id, project_id, number, status, subject, private, created_by, assignees,
          manager_id, created_at, updated_at, words, made_of)
        select $1, $2, $3, s.last_number, 'open', $4, $5, $6::uuid, array[$6::uuid],
          (select m.person_id from memberships m where m.tenant_id = $1 and m.role = 'owner' limit 1),
          now(), now(), '', ''
        from rfi_settings s where s.tenant_id = $1 and s.project_id = $3""",
        *(tenant_id, rfi_id, project, name, private, person),
    )
    await admin.execute(
        """insert into rfi_replies (tenant_id, rfi_id, reply_id, project_id, created_by, body, created_at)
        values ($1, $2, $3, $4, $5, $6, now())""",
        *(tenant_id, rfi_id, new_id(), project, person, name),
    )
    await admin.execute(
        """insert into rfi_transitions (tenant_id, rfi_id, version, project_id, verb, by_person, occurred_at,
          status_after, ball_before, ball_after) values ($1, $2, 1, $3, 'open', $4, now(), 'open', '{}', '{}')""",
        *(tenant_id, rfi_id, project, person),
    )
    return rfi_id


async def write_logs(admin: Any, company: Company, project: UUID, person: UUID, *, name: str) -> dict[str, str]:
    """A completed day with an entry, an edit and a conflict, and a bitácora with a party and a signed note."""
    place = (company.tenant_id, project)
    ids = {key: new_id() for key in ("entry_id", "conflict_id", "bitacora_id", "note_id")}
    day = await admin.fetchval("select (now() at time zone 'America/Lima')::date")
    await admin.execute(
        """insert into daily_logs (tenant_id, project_id, log_date, state, completed_by, completed_at)
        values ($1, $2, $3, 'completed', $4, now()) on conflict do nothing""",
        *(*place, day, person),
    )
    await admin.execute(
        """insert into daily_log_entries (tenant_id, project_id, log_date, entry_id, kind, fields, digest, created_by,
        noted_at) values ($1, $2, $3, $4, 'note', jsonb_build_object('text', $5::text), '', $6, now())""",
        *(*place, day, ids["entry_id"], name, person),
    )
    await admin.execute(
        """insert into daily_log_edits (tenant_id, project_id, entry_id, installation_id, sequence, created_by,
        noted_at, base_version, change) values ($1, $2, $3, $3, 1, $4, now(), 1, '{}')""",
        *(*place, ids["entry_id"], person),
    )
    await admin.execute(
        """insert into daily_log_conflicts (tenant_id, project_id, log_date, entry_id, conflict_id, field, value,
        written_by, reason) values ($1, $2, $3, $4, $5, 'text', to_jsonb($6::text), $7, 'concurrent')""",
        *(*place, day, ids["entry_id"], ids["conflict_id"], name, person),
    )
    contract = json.dumps({"number": "1", "works": name, "client": name, "contractor": name})
    await admin.execute(
        """insert into bitacoras (tenant_id, project_id, bitacora_id, title, contract, signing_days, created_by)
        values ($1, $2, $3, $4, $5, 3, $6)""",
        *(*place, ids["bitacora_id"], name, contract, person),
    )
    await admin.execute(
        """insert into bitacora_parties (tenant_id, project_id, bitacora_id, role, person_id, named_by)
        values ($1, $2, $3, 'residente', $3, $4)""",
        *(*place, ids["bitacora_id"], person),
    )
    content = opening(company.tenant_id, project, person, ids, name)
    await admin.execute(
        """insert into bitacora_notes (tenant_id, project_id, bitacora_id, folio, note_id, class, author_id, issued_at,
        digest, content, previous_hash, hash) values ($1, $2, $3, 1, $4, 'opening', $5, now(), '', $6, $7, $8)""",
        *(*place, ids["bitacora_id"], ids["note_id"], person, content, bytes(32), bitacora.note_hash(content)),
    )
    await admin.execute(
        """insert into bitacora_signatures (tenant_id, project_id, bitacora_id, folio, role, person_id, person_name,
        signed_at, note_hash) values ($1, $2, $3, 1, 'residente', $4, 'Ana', now(), $5)""",
        *(*place, ids["bitacora_id"], person, bitacora.note_hash(content)),
    )
    return {key: str(value) for key, value in ids.items()} | {"log_date": day.isoformat()}


async def add_report(admin: Any, company: Company, project: UUID, person: UUID, *, name: str) -> UUID:
    """A plan and a measurement, and a published report that somebody has opened."""
    place, report_id = (company.tenant_id, project), new_id()
    await admin.execute(
        """insert into baselines (tenant_id, project_id, points, updated_by) values ($1, $2, '[]', $3)
        on conflict do nothing""",
        *(*place, person),
    )
    await admin.execute(
        """insert into progress_entries (tenant_id, project_id, measured_on, physical, updated_by)
        values ($1, $2, '2026-10-01', 1, $3) on conflict do nothing""",
        *(*place, person),
    )
    day = date(2026, 10, 1)
    content = Content(title=name, first=day, last=day)
    page = Page(
        company=name,
        project_code=name,
        project=name,
        timezone="America/Lima",
        currency="PEN",
        country=None,
        title=name,
        first=day,
        last=day,
        text=name,
        physical=Progress(1, 1),
        financial=None,
        money=None,
        curve=[],
        milestones=[],
        photos=[],
    )
    await admin.execute(
        """insert into progress_reports (tenant_id, project_id, report_id, content, digest, created_by, page,
        published_by, published_at) values ($1, $2, $3, $4, '', $5, $6, $5, now())""",
        *(*place, report_id, msgspec.json.encode(content).decode(), person, msgspec.json.encode(page).decode()),
    )
    await admin.execute(
        """insert into report_readings (tenant_id, project_id, report_id, person_id, first_at, last_at)
        values ($1, $2, $3, $4, now(), now())""",
        *(*place, report_id, person),
    )
    return report_id


def opening(tenant: UUID, project: UUID, person: UUID, ids: dict[str, UUID], name: str) -> str:
    """The opening note of a bitácora."""
    contract = bitacora.Contract(number="1", works=name, client=name, contractor=name)
    book = bitacora.Bitacora(
        bitacora_id=ids["bitacora_id"],
        project_id=project,
        title=name,
        contract=contract,
        signing_days=3,
        created_by=person,
        created_at=clock.now(),
        folio=0,
        last_class=None,
        last_hash=bytes(32),
    )
    note = bitacora.NewNote(note_id=ids["note_id"], note_class="opening", subject=name, text=name)
    party = bitacora.Party("residente", person, "Ana")
    said = bitacora.said(
        book,
        note,
        tenant_id=tenant,
        author=party,
        parties=[party],
        attachments=[],
        zone="America/Lima",
        now=clock.now(),
    )
    return bitacora.canonical(said)


MEMBERS = "person_id in (select person_id from memberships where tenant_id = $1)"
TENANT_COLUMN = {"people": MEMBERS, "totps": MEMBERS, "recovery_codes": MEMBERS}
SEEN_COLUMNS = {"people": "person_id, email, name, locale", "devices": "person_id, device_id, approved_at"}
CHANGED_COLUMN = {
    "sessions": "ended_at",
    "uploads": "updated_at",
    "documents": "name",
    "folders": "name",
    "albums": "name",
    "placements": "private",
    "share_links": "revoked_at",
    "jobs": "state",
    "drawing_areas": "name",
    "drawing_sets": "name",
    "drawings": "title",
    "drawing_revisions": "current",
    "drawing_filings": "version",
    "drawing_sheets": "title",
    "people": "name",
    "projects": "name",
    "project_members": "company_id",
    "project_budgets": "amount",
    "project_companies": "duty",
    "project_covers": "document_id",
    "locations": "name",
    "trades": "name",
    "companies": "name",
    "calendar_days": "name",
    "rfi_settings": "due_days",
    "rfis": "subject",
    "rfi_replies": "official",
    "daily_logs": "version",
    "daily_log_entries": "version",
    "daily_log_conflicts": "resolution",
    "bitacora_parties": "until",
    "baselines": "points",
    "progress_entries": "physical",
    "progress_reports": "version",
    "report_readings": "times",
    "memberships": "role",
    "invitations": "revoked_at",
    "api_keys": "revoked_at",
    "devices": "revoked_at",
    "totps": "last_step",
    "recovery_codes": "used_at",
    "webhook_endpoints": "description",
    "webhook_deliveries": "state",
    "notices": "read_at",
    "notice_preferences": "muted",
}


async def _reach(tx: Any, table: str, operation: str, tenant_id: UUID) -> list[Any]:
    where = TENANT_COLUMN.get(table, "tenant_id = $1")
    if operation == "select":
        columns = SEEN_COLUMNS.get(table, "*")
        return await tx.all(f"select {columns} from {table} where {where}", tenant_id)
    if operation == "update":
        column = CHANGED_COLUMN.get(table, "tenant_id")
        return await tx.all(
            f"update {table} set {column} = {column} where {where} returning {SEEN_COLUMNS.get(table, '*')}", tenant_id
        )
    if operation == "delete":
        await tx.run("set constraints all deferred")  # what may be deleted, not what hangs on it
        return await tx.all(f"delete from {table} where {where} returning *", tenant_id)
    column = "person_id" if table in TENANT_COLUMN else "tenant_id"
    return await tx.all(f"insert into {table} ({column}) values ($1) returning *", tenant_id)


@pytest.mark.parametrize(("table", "operation", "who", "expected"), CASES)
async def test_each_cell(db: Database, world: World, table: str, operation: str, who: str, expected: str) -> None:
    company, caller = world.company, world.callers[who]
    rows: list[Any] | None = None
    with contextlib.suppress(asyncpg.InsufficientPrivilegeError, Undone):
        async with db.transaction(Scope(caller.tenant_id, caller.person_id)) as tx:
            rows = await _reach(tx, table, operation, company.tenant_id)
            raise Undone  # what one cell may change or delete, the next one must still find
    if expected == "denied":
        assert rows is None
        return
    assert rows is not None, "the caller lacks the right altogether"
    if expected == "none":
        assert rows == []
        return
    assert rows
    projects = {row["project_id"] for row in rows if row.get("project_id")}  # the trail also tells of the company
    if projects:
        assert projects == ({company.tower, company.school} if expected == "all" else {company.tower})
    if expected == "own":
        column = "created_by" if "created_by" in rows[0] else "person_id"
        assert {row[column] for row in rows} == {caller.person_id}


async def test_every_table_has_its_rows_here(admin: asyncpg.Connection) -> None:
    found = await admin.fetch(
        """select case when n.nspname = 'public' then c.relname else n.nspname || '.' || c.relname end as name
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and not c.relispartition and n.nspname in ('public', 'app', 'audit')"""
    )
    assert {row["name"] for row in found} == set(TABLES) | set(TABLE["untenanted"])
    for table, operations in TABLES.items():
        missing = {"select", "insert", "update", "delete"} - set(operations)
        assert missing <= {"insert"}, table  # inserts of one's own rows have tests of their own


async def test_every_tenant_table_forces_row_level_security_and_begins_with_the_tenant(admin: Any) -> None:
    rows = await admin.fetch(
        """select c.relname, c.relrowsecurity, c.relforcerowsecurity, (
             select a.attname from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
             where i.indrelid = c.oid and i.indisprimary) as leading
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and n.nspname in ('public', 'audit') and c.relname <> all ($1)""",
        TABLE["untenanted"],
    )
    for row in rows:
        assert (row["relrowsecurity"], row["relforcerowsecurity"]) == (True, True), row["relname"]
        if row["relname"] not in ("people", "sessions", "totps", "recovery_codes"):
            assert row["leading"] == "tenant_id", row["relname"]


async def test_every_table_of_a_project_is_closed_with_it(admin: asyncpg.Connection) -> None:
    rows = await admin.fetch(
        """select case when n.nspname = 'public' then c.relname else n.nspname || '.' || c.relname end as name,
          array(select t.tgname::text from pg_trigger t where t.tgrelid = c.oid and t.tgname like 'archived%') as kept
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and not c.relispartition and n.nspname in ('public', 'app', 'audit')
          and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'project_id')"""
    )
    closed = {"archived_insert", "archived_update", "archived_delete"}
    for row in rows:
        if row["name"] not in (*TABLE["written_when_archived"], "projects"):
            assert set(row["kept"]) == closed, row["name"]


async def test_every_tenant_table_is_audited_but_for_the_logs_themselves(admin: Any) -> None:
    rows = await admin.fetch("select tgrelid::regclass::text as name from pg_trigger where tgname = 'audit_change'")
    own_record = {"outbox", "event_log", "people", "sessions", "storage_entries", "storage_totals"}
    own_record |= {"totps", "recovery_codes", "tenant_erasures"}
    own_record |= {"bursts", "webhook_messages", "webhook_deliveries", "webhook_attempts", "notices"}
    own_record |= {name for name in TABLES if name.startswith("audit.")}
    assert {row["name"] for row in rows} == set(TABLES) - own_record


async def test_a_column_that_looks_secret_is_kept_from_the_trail_or_said_to_be_none(admin: Any) -> None:
    rows = await admin.fetch(
        """select t.tgrelid::regclass::text as name, string_to_array(encode(t.tgargs, 'escape'), '\\000') as words,
             (select array_agg(a.attname::text) from pg_attribute a
              where a.attrelid = t.tgrelid and a.attnum > 0 and not a.attisdropped) as columns
        from pg_trigger t where t.tgname in ('audit_insert', 'audit_delete', 'audit_change')"""
    )
    looks = re.compile(r"hash|secret|token|pass|pin\b|_pin|otp|key|salt|code|seed|private|credential|signature|nonce")
    for row in rows:
        secret = set(row["words"][2].split(",")) - {""}
        told = set(TABLE["told_although_they_look_secret"].get(row["name"], []))
        assert not secret & told, row["name"]
        assert {c for c in row["columns"] if looks.search(c)} == {c for c in secret | told if looks.search(c)}, row[
            "name"
        ]
        assert secret <= set(row["columns"]), row["name"]


async def test_the_roles_that_serve_people_own_nothing_and_bypass_nothing(admin: Any) -> None:
    roles = await admin.fetch(
        """select rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb from pg_roles
        where rolname like 'buildpeer%'"""
    )
    assert {row["rolname"] for row in roles} == {
        f"buildpeer_{name}" for name in ("owner", "app", "worker", "system", "audit", "operator")
    }
    assert not any(flag for row in roles for flag in tuple(row)[1:])
    owned = await admin.fetchval(
        """select count(*) from pg_class c join pg_roles r on r.oid = c.relowner
        where r.rolname in ('buildpeer_app', 'buildpeer_worker')"""
    )
    assert owned == 0
    memberships = await admin.fetchval(
        """select count(*) from pg_auth_members m join pg_roles r on r.oid = m.member
        where r.rolname in ('buildpeer_app', 'buildpeer_worker')"""
    )
    assert memberships == 0


async def test_the_functions_that_see_further_are_those_listed_and_fenced(admin: Any) -> None:
    rows = await admin.fetch(
        """select n.nspname || '.' || p.proname as name, r.rolname as owner, p.proconfig,
          (select array_agg(g.grantee::regrole::text order by 1) from aclexplode(p.proacl) g
           where g.privilege_type = 'EXECUTE' and g.grantee <> p.proowner) as callers
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_roles r on r.oid = p.proowner
        where p.prosecdef and n.nspname not in ('pg_catalog', 'information_schema')"""
    )
    found = {row["name"]: [row["owner"], *(row["callers"] or [])] for row in rows}
    assert found == TABLE["definer_functions"]
    assert all("search_path=pg_catalog, pg_temp" in row["proconfig"] for row in rows)
