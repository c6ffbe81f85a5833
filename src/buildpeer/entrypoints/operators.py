"""What operators do at the terminal: dead letters, steps done again, and files that are locked away."""

import contextlib
import getpass
import re
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from uuid import UUID

import click
import msgspec
from rich.console import Console
from rich.table import Table

from buildpeer.modules.operations import service as operations
from buildpeer.modules.operations.store import Verb
from buildpeer.modules.uploads import service as uploads
from buildpeer.modules.uploads.service.again import Again
from buildpeer.platform import clock
from buildpeer.platform.config import Settings
from buildpeer.platform.db import Database
from buildpeer.platform.errors import Problem
from buildpeer.platform.messaging import Queues

MOST_SHOWN = 200
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1)}
_FIRST = UUID(int=0)


async def list_letters(settings: Settings, *, queue: str | None, console: Console | None = None) -> None:
    """Print the oldest open letters."""
    async with _database(settings) as db:
        found = await operations.list_letters(db, queue=queue, after=None, limit=MOST_SHOWN)
        counts = await operations.count(db)
    table = Table(title=f"{sum(counts.values())} dead letters" if counts else "No dead letters")
    for name in ("letter", "queue", "since", "ordered"):
        table.add_column(name)
    for letter in found:
        since = f"{letter.collected_at:%Y-%m-%d %H:%M}"
        table.add_row(
            str(letter.letter_id), letter.queue, since, f"{letter.verb} by {letter.wanted_by}" if letter.verb else ""
        )
    (console or Console()).print(table)


async def show_letter(settings: Settings, letter_id: UUID) -> None:
    """Print one letter as JSON.

    Raises ClickException when there is none.
    """
    async with _database(settings) as db:
        try:
            found = await operations.get_letter(db, letter_id=letter_id)
        except Problem as exc:
            raise click.ClickException(f"There is no letter {letter_id}") from exc
    click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())


async def order_letters(settings: Settings, verb: Verb, letters: Sequence[UUID], *, queue: str | None) -> None:
    """Order something to be done about letters, or about all of a queue, in the name of who is signed in here.

    Raises UsageError when neither is named, or both are, ClickException for a letter that isn't there.
    """
    if bool(letters) == bool(queue):
        raise click.UsageError("Name letters, or a queue")
    by = f"terminal:{getpass.getuser()}"
    async with _database(settings) as db:
        if queue:
            click.echo(f"{verb}: {await operations.order_all(db, queue=queue, verb=verb, by=by)} letters of {queue}")
        for letter_id in letters:
            try:
                told = await operations.order(db, letter_id=letter_id, verb=verb, by=by)
            except Problem as exc:
                raise click.ClickException(f"There is no letter {letter_id}") from exc
            click.echo(f"{told.verb}: {letter_id}, wanted by {told.wanted_by}")


async def ask_again(settings: Settings, *, step: Again, kind: str | None, since: str, rate: float, after: str) -> None:
    """Have a step done again for files that are ready, and tell how far it is, with the word by which to go on there.

    Raises BadParameter for an age, a rate or a word that can't be read.
    """
    begin = clock.now() - _read_age(since)
    if rate <= 0:
        raise click.BadParameter("more than 0", param_hint="--rate")
    last = _read_place(after)
    queues = Queues(settings, threads=2)
    count = 0
    try:
        async with _database(settings) as db:
            steps = uploads.do_again(db, queues, step=step, kind=kind, since=begin, rate=rate, after=last)
            async for asked in steps:
                count = asked.count
                click.echo(f"{count} files; to go on from here: --after {asked.last[0]}/{asked.last[1]}")
    finally:
        queues.close()
    click.echo(f"{count} files asked for")


async def list_quarantined(settings: Settings, *, console: Console | None = None) -> None:
    """Print files that are locked away, and what was wanted of them."""
    async with _database(settings) as db:
        found = await operations.list_quarantined(db, after=None, limit=MOST_SHOWN)
    table = Table(title=f"{len(found)} files" if found else "No file is locked away")
    for name in ("tenant", "upload", "since", "found", "by", "release"):
        table.add_column(name)
    for each in found:
        answer = (each.verdict or ("no answer" if each.ended_at else "asked")) if each.release_id else ""
        order = f"{answer}, wanted by {each.wanted_by}" if answer else ""
        since = f"{each.since:%Y-%m-%d %H:%M}"
        table.add_row(str(each.tenant_id), str(each.upload_id), since, each.signature, each.scanner, order)
    (console or Console()).print(table)


async def release(settings: Settings, tenant_id: UUID, upload_id: UUID) -> None:
    """Have a file scanned again and released if it is clean, in the name of who is signed in here.

    Raises ClickException for what isn't locked away, or can't be scanned again.
    """
    by = f"terminal:{getpass.getuser()}"
    async with _database(settings) as db:
        try:
            told = await operations.release(
                db, verdicts=settings.verdicts, tenant_id=tenant_id, upload_id=upload_id, by=by
            )
        except Problem as exc:
            raise click.ClickException(f"{upload_id}: {exc.detail('en')}") from exc
    click.echo(f"scanned again: {upload_id}, wanted by {told.wanted_by}")


def _read_age(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,5})([hd])", text)
    if found is None:
        raise click.BadParameter("write it as 24h or 7d", param_hint="--since")
    return int(found[1]) * _UNITS[found[2]]


def _read_place(text: str) -> tuple[UUID, UUID]:
    if not text:
        return _FIRST, _FIRST
    try:
        tenant_id, upload_id = (UUID(each) for each in text.split("/"))
    except ValueError as exc:
        raise click.BadParameter("take what was printed", param_hint="--after") from exc
    return tenant_id, upload_id


@contextlib.asynccontextmanager
async def _database(settings: Settings) -> AsyncGenerator[Database, None]:
    db = await Database.connect(settings.database_url, size=2)
    try:
        yield db
    finally:
        await db.close()
