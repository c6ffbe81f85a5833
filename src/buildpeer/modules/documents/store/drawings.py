"""SQL of drawings, their revisions, areas and sets: one function, one statement."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from uuid import UUID

import asyncpg
import msgspec

from buildpeer.facts import Media
from buildpeer.modules.documents.rules.drawings import Discipline, Issue, SetKind, ordered, plain
from buildpeer.platform.db import FIRST_PAGE, Transaction, record, records
from buildpeer.platform.errors import Problem


class Area(msgspec.Struct, frozen=True):
    """A part of a project that has drawings of its own: a tower, a stage."""

    area_id: UUID
    name: str


class DrawingSet(msgspec.Struct, frozen=True):
    """What drawings were issued for, and when; `position` puts sets in order, the smallest first."""

    set_id: UUID
    kind: SetKind
    name: str
    set_date: date
    position: int


class Drawing(msgspec.Struct, frozen=True, kw_only=True):
    """A drawing with its current revision."""

    drawing_id: UUID
    project_id: UUID
    area_id: UUID | None
    number: str
    title: str
    discipline: Discipline
    obsolete: bool
    version: int
    revision_id: UUID
    revision_number: str
    drawing_date: date | None
    received_date: date
    set_id: UUID | None
    document_id: UUID
    page: int
    published_at: datetime


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """A revision of a drawing: a page of one version of a file. `current`: the most recent one."""

    revision_id: UUID
    project_id: UUID
    drawing_id: UUID
    revision_number: str
    drawing_date: date | None
    received_date: date
    set_id: UUID | None
    title: str
    document_id: UUID
    page: int
    current: bool
    published_by: UUID
    published_at: datetime

    @property
    def issue(self) -> Issue:
        """What its place among the others depends on."""
        return Issue(self.revision_number, self.drawing_date, self.received_date, self.set_id)


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which drawings a list holds; None: any. `words` are all in number or title."""

    discipline: Discipline | None = None
    area_id: UUID | None = None
    set_id: UUID | None = None
    obsolete: bool | None = None
    words: Sequence[str] = ()


class Known(msgspec.Struct, frozen=True):
    """A drawing that is locked, with its number as numbers are told apart."""

    drawing_id: UUID
    plain_number: str
    obsolete: bool


class SheetPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where the bytes of a revision's sheet are."""

    revision_id: UUID
    drawing_id: UUID
    project_id: UUID
    document_id: UUID
    page: int
    name: str
    bucket: str
    key: str
    version_id: str
    size_bytes: int
    media: Media


_DRAWING = """
d.drawing_id, d.project_id, d.area_id, d.number, d.title, d.discipline, d.obsolete, d.version, r.revision_id,
r.revision_number, r.drawing_date, r.received_date, r.set_id, r.document_id, r.page, r.published_at
"""
_REVISION = """
revision_id, project_id, drawing_id, revision_number, drawing_date, received_date, set_id, title, document_id, page,
current, published_by, published_at
"""
AREAS = "select area_id, name from drawing_areas where tenant_id = $1 and project_id = $2 order by name, area_id"
PUT_AREA = """
insert into drawing_areas (tenant_id, project_id, area_id, name, created_by) values ($1, $2, $3, $4, $5)
on conflict (tenant_id, project_id, area_id) do update set name = excluded.name
"""
SETS = """
select set_id, kind, name, set_date, position from drawing_sets where tenant_id = $1 and project_id = $2
order by position, set_date, set_id
"""
PUT_SET = """
insert into drawing_sets (tenant_id, project_id, set_id, kind, name, set_date, position, created_by)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (tenant_id, project_id, set_id) do update
set kind = excluded.kind, name = excluded.name, set_date = excluded.set_date, position = excluded.position
"""
MISSING = """
select 'area_id' where $3::uuid is not null and not exists (
  select from drawing_areas where tenant_id = $1 and project_id = $2 and area_id = $3)
union all select 'set_id' where $4::uuid is not null and not exists (
  select from drawing_sets where tenant_id = $1 and project_id = $2 and set_id = $4)
"""
_CHOSEN = """
d.tenant_id = $1 and d.project_id = $2 and ($6::text is null or d.discipline = $6)
and ($7::uuid is null or d.area_id = $7) and ($8::bool is null or d.obsolete = $8)
and ($9::uuid is null or exists (
  select from drawing_revisions s where s.tenant_id = $1 and s.set_id = $9 and s.drawing_id = d.drawing_id))
and ($10::text[] is null or d.found_by like all ($10))
"""
BY_NUMBER = f"""
select {_DRAWING} from drawings d
join drawing_revisions r on r.tenant_id = d.tenant_id and r.drawing_id = d.drawing_id and r.current
where {_CHOSEN} and (d.ordered_number, d.drawing_id) > ($3, $4) order by d.ordered_number, d.drawing_id limit $5
"""  # noqa: S608
NEWEST = f"""
select {_DRAWING} from drawing_revisions r
join drawings d on d.tenant_id = r.tenant_id and d.drawing_id = r.drawing_id
where r.tenant_id = $1 and r.project_id = $2 and r.current and (r.published_at, r.revision_id) < ($3, $4) and {_CHOSEN}
order by r.published_at desc, r.revision_id desc limit $5
"""  # noqa: S608
BY_ID = f"""
select {_DRAWING} from drawings d
join drawing_revisions r on r.tenant_id = d.tenant_id and r.drawing_id = d.drawing_id and r.current
where d.tenant_id = $1 and d.drawing_id = $2
"""  # noqa: S608
CHANGE = """
update drawings set number = $4, plain_number = $5, ordered_number = $6, title = $7, discipline = $8, area_id = $9,
  obsolete = $10, found_by = $11, version = version + 1
where tenant_id = $1 and drawing_id = $2 and version = $3
"""
REVISIONS = f"select {_REVISION} from drawing_revisions where tenant_id = $1 and drawing_id = any ($2)"  # noqa: S608
REVISIONS_BY_ID = f"select {_REVISION} from drawing_revisions where tenant_id = $1 and revision_id = any ($2)"  # noqa: S608
# In the order of numbers, like the locks below, so that two who publish the same drawings wait for each other in turn.
ADD = """
insert into drawings (tenant_id, drawing_id, project_id, area_id, number, plain_number, ordered_number, title,
  discipline, found_by)
select $1, n.drawing_id, $2, $3, n.number, n.plain_number, n.ordered_number, n.title, n.discipline, n.found_by
from unnest($4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[])
  as n (drawing_id, number, plain_number, ordered_number, title, discipline, found_by)
order by n.plain_number on conflict do nothing
"""
LOCK = """
select drawing_id, plain_number, obsolete from drawings
where tenant_id = $1 and project_id = $2 and area_id is not distinct from $3 and plain_number = any ($4)
order by plain_number for update
"""
ADD_REVISIONS = """
insert into drawing_revisions (tenant_id, project_id, revision_id, drawing_id, revision_number, drawing_date,
  received_date, set_id, title, document_id, page, published_by, published_at)
select $1, $2, n.revision_id, n.drawing_id, n.revision_number, n.drawing_date, $3, $4, n.title, $5, n.page, $6, $7
from unnest($8::uuid[], $9::uuid[], $10::text[], $11::date[], $12::text[], $13::bigint[])
  as n (revision_id, drawing_id, revision_number, drawing_date, title, page)
"""
SUPERSEDE = """
update drawing_revisions set current = false
where tenant_id = $1 and drawing_id = any ($2) and current and revision_id <> all ($3)
"""
MAKE_CURRENT = (
    "update drawing_revisions set current = true where tenant_id = $1 and revision_id = any ($2) and not current"
)
# The drawing is called what its current revision calls it.
BRING_BACK = """
update drawings d set title = n.title, discipline = n.discipline, found_by = n.found_by, obsolete = n.obsolete,
  version = d.version + 1
from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::bool[])
  as n (drawing_id, title, discipline, found_by, obsolete)
where d.tenant_id = $1 and d.drawing_id = n.drawing_id
"""
PLACE = """
select r.revision_id, r.drawing_id, r.project_id, r.document_id, r.page, d.name, d.bucket, d.key, d.version_id,
  d.size_bytes, d.media
from drawing_revisions r join documents d on d.tenant_id = r.tenant_id and d.document_id = r.document_id
where r.tenant_id = $1 and r.revision_id = $2 and d.preview is not null
"""
AUDIT = "select audit.record($1, $2, $3, $4, $5)"


async def areas(tx: Transaction, project_id: UUID) -> list[Area]:
    """A project's areas by name."""
    return records(await tx.all(AREAS, tx.tenant_id, project_id), Area)


async def put_area(tx: Transaction, project_id: UUID, area: Area) -> None:
    """Make an area or name it anew. Raises Problem name_taken."""
    try:
        await tx.run(PUT_AREA, tx.tenant_id, project_id, area.area_id, area.name, tx.person_id)
    except asyncpg.UniqueViolationError as exc:
        raise Problem("name_taken") from exc


async def sets(tx: Transaction, project_id: UUID) -> list[DrawingSet]:
    """A project's sets in their order."""
    return records(await tx.all(SETS, tx.tenant_id, project_id), DrawingSet)


async def put_set(tx: Transaction, project_id: UUID, made: DrawingSet) -> None:
    """Make a set or change it. Raises Problem name_taken."""
    values = (made.set_id, made.kind, made.name, made.set_date, made.position)
    try:
        await tx.run(PUT_SET, tx.tenant_id, project_id, *values, tx.person_id)
    except asyncpg.UniqueViolationError as exc:
        raise Problem("name_taken") from exc


async def missing(tx: Transaction, project_id: UUID, *, area_id: UUID | None, set_id: UUID | None) -> str | None:
    """Which of the two isn't the project's, by its name; None: neither."""
    return await tx.value(MISSING, tx.tenant_id, project_id, area_id, set_id)


async def by_number(
    tx: Transaction, project_id: UUID, chosen: Filter, *, after: tuple[str, UUID] | None, limit: int
) -> list[Drawing]:
    """Drawings by number as people count, after a number so ordered and an id."""
    place = after or ("", UUID(int=0))
    rows = await tx.all(BY_NUMBER, tx.tenant_id, project_id, *place, limit, *_values(chosen))
    return records(rows, Drawing)


async def newest(
    tx: Transaction, project_id: UUID, chosen: Filter, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[Drawing]:
    """Drawings, the most recently published first, after a time and the id of a revision."""
    rows = await tx.all(NEWEST, tx.tenant_id, project_id, *(after or FIRST_PAGE), limit, *_values(chosen))
    return records(rows, Drawing)


async def by_id(tx: Transaction, drawing_id: UUID) -> Drawing | None:
    """A drawing that the caller may see."""
    row = await tx.one(BY_ID, tx.tenant_id, drawing_id)
    return None if row is None else record(row, Drawing)


async def change(tx: Transaction, drawing: Drawing) -> bool:
    """Write what people may change of a drawing; False if it isn't `drawing.version` any more.

    Raises Problem drawing_taken where another drawing of the area has the number.
    """
    values = (
        drawing.number,
        plain(drawing.number),
        ordered(drawing.number),
        drawing.title,
        drawing.discipline,
        drawing.area_id,
        drawing.obsolete,
        found_by(drawing.number, drawing.title),
    )
    try:
        done = await tx.execute(CHANGE, tx.tenant_id, drawing.drawing_id, drawing.version, *values)
    except asyncpg.UniqueViolationError as exc:
        raise Problem("drawing_taken", number=drawing.number) from exc
    return done == "UPDATE 1"


async def revisions(tx: Transaction, drawing_ids: Sequence[UUID]) -> list[Revision]:
    """Every revision of these drawings."""
    return records(await tx.all(REVISIONS, tx.tenant_id, drawing_ids), Revision)


async def revisions_by_id(tx: Transaction, revision_ids: Sequence[UUID]) -> list[Revision]:
    """These revisions."""
    return records(await tx.all(REVISIONS_BY_ID, tx.tenant_id, revision_ids), Revision)


async def add(
    tx: Transaction, project_id: UUID, area_id: UUID | None, new: Iterable[tuple[UUID, str, str, str]]
) -> None:
    """Insert drawings (id, number, title, discipline) whose numbers the area doesn't have yet."""
    rows = [
        (drawing_id, number, plain(number), ordered(number), title, discipline, found_by(number, title))
        for drawing_id, number, title, discipline in new
    ]
    await tx.run(ADD, tx.tenant_id, project_id, area_id, *map(list, zip(*rows, strict=True)))


async def lock(tx: Transaction, project_id: UUID, area_id: UUID | None, numbers: Iterable[str]) -> list[Known]:
    """Lock an area's drawings by their numbers, as they are compared, in one order for everybody."""
    return records(await tx.all(LOCK, tx.tenant_id, project_id, area_id, sorted(set(numbers))), Known)


async def add_revisions(tx: Transaction, new: Sequence[Revision]) -> None:
    """Insert revisions of one filing, none of them current yet."""
    shared = new[0]
    await tx.run(
        ADD_REVISIONS,
        tx.tenant_id,
        shared.project_id,
        shared.received_date,
        shared.set_id,
        shared.document_id,
        shared.published_by,
        shared.published_at,
        [each.revision_id for each in new],
        [each.drawing_id for each in new],
        [each.revision_number for each in new],
        [each.drawing_date for each in new],
        [each.title for each in new],
        [each.page for each in new],
    )


async def make_current(tx: Transaction, drawing_ids: Sequence[UUID], revision_ids: Sequence[UUID]) -> None:
    """Let these revisions be the current ones of these drawings, which this transaction has locked."""
    await tx.run(SUPERSEDE, tx.tenant_id, drawing_ids, revision_ids)
    await tx.run(MAKE_CURRENT, tx.tenant_id, revision_ids)


async def bring_back(tx: Transaction, renewed: Iterable[tuple[UUID, str, str, str, bool]]) -> None:
    """Call drawings (id, number, title, discipline, obsolete) what their new current revisions call them."""
    rows = [(each, title, what, found_by(number, title), old) for each, number, title, what, old in renewed]
    await tx.run(BRING_BACK, tx.tenant_id, *map(list, zip(*rows, strict=True)))


async def place(tx: Transaction, revision_id: UUID) -> SheetPlace | None:
    """Where a revision's sheet is; None if the caller may not see it, or its file was locked away."""
    row = await tx.one(PLACE, tx.tenant_id, revision_id)
    return None if row is None else record(row, SheetPlace)


async def audit_overlay(tx: Transaction, newer: SheetPlace, older: SheetPlace) -> None:
    """Put into the audit trail that somebody looked at one sheet over another."""
    details = {"rendition": "overlay", "older_id": str(older.revision_id)}
    await tx.run(AUDIT, "download", "drawing_revisions", str(newer.revision_id), details, newer.project_id)


def found_by(number: str, title: str) -> str:
    """Number and title as they are searched."""
    return plain(f"{number} {title}")


def _values(chosen: Filter) -> tuple[object, ...]:
    patterns = [f"%{_escaped(plain(word))}%" for word in chosen.words] or None
    return chosen.discipline, chosen.area_id, chosen.obsolete, chosen.set_id, patterns


def _escaped(word: str) -> str:
    return word.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
