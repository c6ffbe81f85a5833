"""`buildpeer uploads orphans`: shows an operator what S3 holds for nobody, what it has lost, and cleans up."""

import re
from collections import Counter
from datetime import timedelta

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from buildpeer.modules.uploads import service
from buildpeer.modules.uploads.service import Buckets, Looked, Orphan
from buildpeer.platform import clock
from buildpeer.platform.config import Settings
from buildpeer.platform.db import Database
from buildpeer.platform.storage import WRITE_LIFE, Storage

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1)}
_MIB = 1024 * 1024


def read_age(text: str) -> timedelta:
    """An age such as `24h` or `7d`.

    Raises ValueError for anything else, and for less than a write URL lives.
    """
    found = re.fullmatch(r"(\d{1,5})([hd])", text)
    if found is None:
        raise ValueError("write it as 24h or 7d")
    age = int(found[1]) * _UNITS[found[2]]
    if age < WRITE_LIFE:
        raise ValueError(f"write URLs live {WRITE_LIFE // _UNITS['h']}h; what is younger may still be on its way")
    return age


async def run(settings: Settings, *, older_than: timedelta, reap: bool, console: Console | None = None) -> None:
    """Search everything, reap what may go if asked to, and print a table of it."""
    console = console or Console()
    db = await Database.connect(settings.database_url, size=2)
    storage = Storage(settings, now=clock.now)
    try:
        totals = await _search(db, storage, settings, older_than=older_than, reap=reap, console=console)
    finally:
        storage.close()
        await db.close()
    console.print(_table(totals, reap=reap))


class _Totals:
    """Counts and bytes by (kind, reason); never the things themselves, of which there may be millions."""

    def __init__(self) -> None:
        self.found: Counter[tuple[str, str]] = Counter()
        self.sizes: Counter[tuple[str, str]] = Counter()
        self.reaped: Counter[tuple[str, str]] = Counter()

    def add(self, looked: Looked) -> None:
        """Count what one step has found."""
        for orphan in looked.orphans:
            self.found[_row(orphan)] += 1
            self.sizes[_row(orphan)] += orphan.size


async def _search(
    db: Database, storage: Storage, settings: Settings, *, older_than: timedelta, reap: bool, console: Console
) -> _Totals:
    totals, now = _Totals(), clock.now()
    buckets = Buckets(settings.uploads_bucket, settings.chunks_bucket, settings.derived_bucket)
    searches = (
        service.find_orphans(db, storage, buckets=buckets, older_than=now - older_than, now=now),
        service.find_bytes_gone(db, storage),
    )
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed:,.0f}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        bars: dict[str, TaskID] = {}
        for search in searches:
            async for looked in search:
                if looked.place not in bars:
                    bars[looked.place] = progress.add_task(looked.place, total=None)
                progress.advance(bars[looked.place], looked.count)
                totals.add(looked)
                for orphan in looked.orphans:
                    if orphan.kind == "document":
                        where = f"{orphan.bucket}/{orphan.key} version {orphan.version_id}"
                        console.print(f"no bytes: {where}", soft_wrap=True, highlight=False)
                if reap:
                    totals.reaped.update(map(_row, await service.reap(db, storage, looked.orphans, now=now)))
    return totals


def _row(orphan: Orphan) -> tuple[str, str]:
    return orphan.kind, orphan.reason


def _table(totals: _Totals, *, reap: bool) -> Table:
    table = Table(title="Orphans" if totals.found else "No orphans")
    for name in ("kind", "of"):
        table.add_column(name)
    for name in ("found", "MiB", "reaped"):
        table.add_column(name, justify="right")
    for (kind, reason), count in sorted(totals.found.items()):
        reaped = f"{totals.reaped[kind, reason]:,}" if reap and kind != "document" else "-"
        table.add_row(kind, reason, f"{count:,}", f"{totals.sizes[kind, reason] / _MIB:,.1f}", reaped)
    return table
