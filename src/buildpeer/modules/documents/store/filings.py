"""SQL of filings, whose sheets people review and publish, and of pins: one function, one statement."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from uuid import UUID

import msgspec

from buildpeer.modules.documents.rules.drawings import Discipline, PinKind
from buildpeer.platform.db import FIRST_PAGE, Transaction, record, records


class Filing(msgspec.Struct, frozen=True, kw_only=True):
    """A file whose pages are to become revisions, and what holds for each where its sheet doesn't say."""

    filing_id: UUID
    project_id: UUID
    document_id: UUID
    area_id: UUID | None
    set_id: UUID | None
    revision_number: str
    drawing_date: date | None
    received_date: date
    pages: int
    version: int
    created_by: UUID
    created_at: datetime


class ReviewedSheet(msgspec.Struct, frozen=True, kw_only=True):
    """What a person said of a page; `revision_id` is what it was published as."""

    page: int
    number: str
    title: str
    discipline: Discipline
    revision_number: str
    drawing_date: date | None
    skipped: bool
    revision_id: UUID | None = None


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """Where on a revision's sheet something is. `carried_over`: a newer revision is current by now."""

    pin_id: UUID
    project_id: UUID
    drawing_id: UUID
    revision_id: UUID
    pos_x: float
    pos_y: float
    kind: PinKind
    target_id: UUID
    label: str
    created_by: UUID
    created_at: datetime
    carried_over: bool


_FILING = """
filing_id, project_id, document_id, area_id, set_id, revision_number, drawing_date, received_date, pages, version,
created_by, created_at
"""
_PIN = """
p.pin_id, p.project_id, r.drawing_id, p.revision_id, p.pos_x, p.pos_y, p.kind, p.target_id, p.label, p.created_by,
p.created_at, not r.current as carried_over
"""
INSERT = """
insert into drawing_filings (tenant_id, filing_id, project_id, document_id, area_id, set_id, revision_number,
  drawing_date, received_date, pages, created_by, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) on conflict do nothing returning true
"""
BY_ID = f"select {_FILING} from drawing_filings where tenant_id = $1 and filing_id = $2"  # noqa: S608
LOCK = f"select {_FILING} from drawing_filings where tenant_id = $1 and filing_id = $2 for update"  # noqa: S608
PAGE = f"""
select {_FILING} from drawing_filings
where tenant_id = $1 and project_id = $2 and (created_at, filing_id) < ($3, $4)
order by created_at desc, filing_id desc limit $5
"""  # noqa: S608
BUMP = "update drawing_filings set version = version + 1 where tenant_id = $1 and filing_id = $2"
DISCARD = "delete from drawing_filings where tenant_id = $1 and filing_id = $2"
SHEETS = """
select page, number, title, discipline, revision_number, drawing_date, skipped, revision_id from drawing_sheets
where tenant_id = $1 and filing_id = $2 order by page
"""
REVIEW = """
insert into drawing_sheets (tenant_id, filing_id, project_id, page, number, title, discipline, revision_number,
  drawing_date, skipped, reviewed_by)
select $1, $2, $3, n.page, n.number, n.title, n.discipline, n.revision_number, n.drawing_date, n.skipped, $4
from unnest($5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[], $10::date[], $11::bool[])
  as n (page, number, title, discipline, revision_number, drawing_date, skipped)
on conflict (tenant_id, filing_id, page) do update set number = excluded.number, title = excluded.title,
  discipline = excluded.discipline, revision_number = excluded.revision_number, drawing_date = excluded.drawing_date,
  skipped = excluded.skipped, reviewed_by = excluded.reviewed_by
"""
PUBLISHED = """
update drawing_sheets s set revision_id = n.revision_id from unnest($3::bigint[], $4::uuid[]) as n (page, revision_id)
where s.tenant_id = $1 and s.filing_id = $2 and s.page = n.page
"""
ADD_PIN = """
insert into drawing_pins (tenant_id, pin_id, project_id, revision_id, pos_x, pos_y, kind, target_id, label, created_by,
  created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict do nothing returning true
"""
PIN = f"""
select {_PIN} from drawing_pins p
join drawing_revisions r on r.tenant_id = p.tenant_id and r.revision_id = p.revision_id
where p.tenant_id = $1 and p.pin_id = $2
"""  # noqa: S608
PINS_OF_DRAWING = f"""
select {_PIN} from drawing_revisions r
join drawing_pins p on p.tenant_id = r.tenant_id and p.project_id = r.project_id and p.revision_id = r.revision_id
where r.tenant_id = $1 and r.drawing_id = $2 and p.pin_id > $3 order by p.pin_id limit $4
"""  # noqa: S608
PINS_OF_TARGET = f"""
select {_PIN} from drawing_pins p
join drawing_revisions r on r.tenant_id = p.tenant_id and r.revision_id = p.revision_id
where p.tenant_id = $1 and p.project_id = $2 and p.target_id = $3 and p.pin_id > $4 order by p.pin_id limit $5
"""  # noqa: S608
REMOVE_PIN = "delete from drawing_pins where tenant_id = $1 and pin_id = $2 returning true"
_FIRST = UUID(int=0)


async def insert(tx: Transaction, filing: Filing) -> bool:
    """Begin a filing; False if the id is taken."""
    values = (
        filing.filing_id,
        filing.project_id,
        filing.document_id,
        filing.area_id,
        filing.set_id,
        filing.revision_number,
        filing.drawing_date,
        filing.received_date,
        filing.pages,
        filing.created_by,
        filing.created_at,
    )
    return bool(await tx.value(INSERT, tx.tenant_id, *values))


async def by_id(tx: Transaction, filing_id: UUID) -> Filing | None:
    """A filing that the caller may see."""
    return _filing(await tx.one(BY_ID, tx.tenant_id, filing_id))


async def lock(tx: Transaction, filing_id: UUID) -> Filing | None:
    """The same, and nobody else reviews or publishes it until this transaction ends."""
    return _filing(await tx.one(LOCK, tx.tenant_id, filing_id))


async def page(tx: Transaction, project_id: UUID, *, after: tuple[datetime, UUID] | None, limit: int) -> list[Filing]:
    """A project's filings that the caller may see, newest first, after a time and id."""
    return records(await tx.all(PAGE, tx.tenant_id, project_id, *(after or FIRST_PAGE), limit), Filing)


async def bump(tx: Transaction, filing_id: UUID) -> None:
    """Give a filing that this transaction has locked its next version."""
    await tx.run(BUMP, tx.tenant_id, filing_id)


async def discard(tx: Transaction, filing_id: UUID) -> None:
    """Remove a filing and what was said of its sheets."""
    await tx.run(DISCARD, tx.tenant_id, filing_id)


async def sheets(tx: Transaction, filing_id: UUID) -> list[ReviewedSheet]:
    """The sheets of a filing that somebody has looked at, by page."""
    return records(await tx.all(SHEETS, tx.tenant_id, filing_id), ReviewedSheet)


async def review(tx: Transaction, filing: Filing, reviewed: Sequence[ReviewedSheet]) -> None:
    """Keep what a person says of sheets that aren't published."""
    await tx.run(
        REVIEW,
        tx.tenant_id,
        filing.filing_id,
        filing.project_id,
        tx.person_id,
        [each.page for each in reviewed],
        [each.number for each in reviewed],
        [each.title for each in reviewed],
        [each.discipline for each in reviewed],
        [each.revision_number for each in reviewed],
        [each.drawing_date for each in reviewed],
        [each.skipped for each in reviewed],
    )


async def published(tx: Transaction, filing_id: UUID, revisions: Iterable[tuple[int, UUID]]) -> None:
    """Note as which revision each page was published."""
    pages, ids = zip(*revisions, strict=True)
    await tx.run(PUBLISHED, tx.tenant_id, filing_id, list(pages), list(ids))


async def add_pin(tx: Transaction, pin: Pin) -> bool:
    """Stick a pin; False if the id is taken."""
    values = (pin.pos_x, pin.pos_y, pin.kind, pin.target_id, pin.label, pin.created_by, pin.created_at)
    return bool(await tx.value(ADD_PIN, tx.tenant_id, pin.pin_id, pin.project_id, pin.revision_id, *values))


async def pin(tx: Transaction, pin_id: UUID) -> Pin | None:
    """A pin that the caller may see."""
    row = await tx.one(PIN, tx.tenant_id, pin_id)
    return None if row is None else record(row, Pin)


async def pins_of_drawing(tx: Transaction, drawing_id: UUID, *, after: UUID | None, limit: int) -> list[Pin]:
    """The pins on all revisions of a drawing, in the order in which they were made."""
    return records(await tx.all(PINS_OF_DRAWING, tx.tenant_id, drawing_id, after or _FIRST, limit), Pin)


async def pins_of_target(
    tx: Transaction, project_id: UUID, target_id: UUID, *, after: UUID | None, limit: int
) -> list[Pin]:
    """The pins of one thing, on whichever drawings, in the order in which they were made."""
    rows = await tx.all(PINS_OF_TARGET, tx.tenant_id, project_id, target_id, after or _FIRST, limit)
    return records(rows, Pin)


async def remove_pin(tx: Transaction, pin_id: UUID) -> bool:
    """Take a pin off; False if it is gone."""
    return bool(await tx.value(REMOVE_PIN, tx.tenant_id, pin_id))


def _filing(row: object | None) -> Filing | None:
    return None if row is None else record(row, Filing)
