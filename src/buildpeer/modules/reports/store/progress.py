"""SQL of progress and of the reports that tell it: one function, one statement."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from buildpeer.modules.reports.rules.progress import Content, Measured, Page, Point
from buildpeer.platform.db import Transaction, record, records


class Baseline(msgspec.Struct, frozen=True):
    """A project's plan; none yet: no points, version 0."""

    points: list[Point]
    version: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A report; `page` None: a draft. `corrected_by` is the published one that came in its place."""

    report_id: UUID
    project_id: UUID
    content: Content
    corrects: UUID | None
    edition: int
    version: int
    digest: bytes
    created_by: UUID
    created_at: datetime
    page: Page | None
    published_by: UUID | None
    published_at: datetime | None
    corrected_by: UUID | None


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """When somebody opened a report."""

    person_id: UUID
    name: str
    first_at: datetime
    last_at: datetime
    times: int


_REPORT = """
select r.report_id, r.project_id, r.content, r.corrects, r.edition, r.version, r.digest, r.created_by, r.created_at,
  r.page, r.published_by, r.published_at, n.report_id as corrected_by
from progress_reports r left join progress_reports n
  on n.tenant_id = r.tenant_id and n.corrects = r.report_id and n.published_at is not null
"""
BASELINE = "select points, version from baselines where tenant_id = $1 and project_id = $2"
FIRST_BASELINE = """
insert into baselines (tenant_id, project_id, points, updated_by, updated_at) values ($1, $2, $3, $4, $5)
on conflict do nothing returning version
"""
CHANGE_BASELINE = """
update baselines set points = $3, version = version + 1, updated_by = $4, updated_at = $5
where tenant_id = $1 and project_id = $2 and ($6::bigint is null or version = $6) returning version
"""
ENTRIES = """
select measured_on, physical, cost, comments from progress_entries where tenant_id = $1 and project_id = $2
order by measured_on
"""
WRITE_ENTRY = """
insert into progress_entries (tenant_id, project_id, measured_on, physical, cost, comments, updated_by, updated_at)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (tenant_id, project_id, measured_on) do update
set physical = excluded.physical, cost = case when $9 then excluded.cost else progress_entries.cost end,
  comments = excluded.comments, updated_by = excluded.updated_by, updated_at = excluded.updated_at
"""
MAKE = """
insert into progress_reports (tenant_id, report_id, project_id, content, corrects, edition, digest, created_by,
  created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing returning true
"""
REPORT = f"{_REPORT} where r.tenant_id = $1 and r.report_id = $2"
REPORTS = f"""
{_REPORT} where r.tenant_id = $1 and r.project_id = $2 and r.report_id < $3 order by r.report_id desc limit $4
"""
LOCK = "select true from progress_reports where tenant_id = $1 and report_id = $2 for update"
EDIT = """
update progress_reports set content = $3, version = version + 1
where tenant_id = $1 and report_id = $2 and published_at is null and ($4::bigint is null or version = $4)
returning version
"""
PUBLISH = """
update progress_reports r set page = $3, published_by = $4, published_at = $5, version = version + 1
where tenant_id = $1 and report_id = $2 and published_at is null and version = $6 returning true
"""
QUEUE = "select pg_advisory_xact_lock(hashtextextended('corrects/' || $1::uuid::text, 0))"
READ = """
insert into report_readings as r (tenant_id, report_id, person_id, project_id, first_at, last_at)
values ($1, $2, $3, $4, $5, $5)
on conflict (tenant_id, report_id, person_id) do update
set last_at = greatest(r.last_at, excluded.last_at), times = r.times + 1
"""
READINGS = """
select r.person_id, p.name, r.first_at, r.last_at, r.times from report_readings r join people p using (person_id)
where r.tenant_id = $1 and r.report_id = $2 order by r.first_at, r.person_id
"""
INVESTORS = """
select m.person_id from project_members m join memberships s on s.tenant_id = m.tenant_id and s.person_id = m.person_id
where m.tenant_id = $1 and m.project_id = $2 and s.role = 'inversionista' order by m.person_id
"""


async def baseline(tx: Transaction, project_id: UUID) -> Baseline:
    """A project's plan."""
    row = await tx.one(BASELINE, tx.tenant_id, project_id)
    return Baseline([], 0) if row is None else record(row, Baseline)


async def set_baseline(
    tx: Transaction, project_id: UUID, points: Sequence[Point], *, version: int | None, now: datetime
) -> int | None:
    """Say what is planned; gives the new version, None where the plan has another one by now."""
    said = (tx.tenant_id, project_id, msgspec.to_builtins(points), tx.person_id, now)
    if not version:
        first = await tx.value(FIRST_BASELINE, *said)
        if first is not None or version == 0:
            return first
    return await tx.value(CHANGE_BASELINE, *said, version)


async def entries(tx: Transaction, project_id: UUID) -> list[Measured]:
    """What was measured, by day."""
    return records(await tx.all(ENTRIES, tx.tenant_id, project_id), Measured)


async def write_entry(tx: Transaction, project_id: UUID, entry: Measured, *, with_cost: bool, now: datetime) -> None:
    """Write what was measured by a day, in place of what was; `with_cost` False leaves what was said of money."""
    said = (entry.measured_on, entry.physical, entry.cost, entry.comments)
    await tx.run(WRITE_ENTRY, tx.tenant_id, project_id, *said, tx.person_id, now, with_cost)


async def make(
    tx: Transaction,
    report_id: UUID,
    project_id: UUID,
    content: Content,
    *,
    corrects: UUID | None,
    edition: int,
    digest: bytes,
    now: datetime,
) -> bool:
    """Make a draft in the caller's name; False if there is something by this id."""
    said = (msgspec.to_builtins(content), corrects, edition, digest, tx.person_id, now)
    return bool(await tx.value(MAKE, tx.tenant_id, report_id, project_id, *said))


async def report(tx: Transaction, report_id: UUID) -> Report | None:
    """A report that the caller may see."""
    row = await tx.one(REPORT, tx.tenant_id, report_id)
    return None if row is None else record(row, Report)


async def reports(tx: Transaction, project_id: UUID, *, before: UUID, limit: int) -> list[Report]:
    """Reports of a project that the caller may see, the newest first."""
    return records(await tx.all(REPORTS, tx.tenant_id, project_id, before, limit), Report)


async def lock(tx: Transaction, report_id: UUID) -> None:
    """Wait for whoever edits or publishes it."""
    await tx.run(LOCK, tx.tenant_id, report_id)


async def queue(tx: Transaction, corrected: UUID) -> None:
    """Wait for whoever publishes another correction of the same report."""
    await tx.run(QUEUE, corrected)


async def edit(tx: Transaction, report_id: UUID, content: Content, *, version: int | None) -> int | None:
    """Change a draft; gives its new version, None where it has another one by now, or is no draft any more."""
    return await tx.value(EDIT, tx.tenant_id, report_id, msgspec.to_builtins(content), version)


async def publish(tx: Transaction, report: Report, page: Page, *, now: datetime) -> bool:
    """Publish a draft as it was read; False where somebody has changed or published it since."""
    told: Any = msgspec.to_builtins(page)
    return bool(await tx.value(PUBLISH, tx.tenant_id, report.report_id, told, tx.person_id, now, report.version))


async def note_reading(tx: Transaction, report: Report, *, now: datetime) -> None:
    """The caller opens a report."""
    await tx.run(READ, tx.tenant_id, report.report_id, tx.person_id, report.project_id, now)


async def readings(tx: Transaction, report_id: UUID) -> list[Reading]:
    """Who has opened a report, in the order in which they first did."""
    return records(await tx.all(READINGS, tx.tenant_id, report_id), Reading)


async def investors(tx: Transaction, project_id: UUID) -> list[UUID]:
    """Who is told of what is published."""
    return [row["person_id"] for row in await tx.all(INVESTORS, tx.tenant_id, project_id)]
