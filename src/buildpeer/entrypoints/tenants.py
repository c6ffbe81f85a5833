"""`buildpeer tenants`: a company's life, from its first owner's invitation to the certificate that it was erased; and
`buildpeer people`: what only operators can do for somebody.
"""

import contextlib
import getpass
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from buildpeer.modules.audit import service as audit
from buildpeer.modules.identity import service as identity
from buildpeer.modules.tenants import service
from buildpeer.modules.tenants.rules import Tenant, TenantError
from buildpeer.modules.tenants.service import Buckets
from buildpeer.platform import clock, messages
from buildpeer.platform.config import Settings
from buildpeer.platform.db import Database, Transaction
from buildpeer.platform.signing import SignatureError, Signer, public_keys
from buildpeer.platform.storage import Storage

OPERATOR = "buildpeer_operator"
_GIB = 1024**3
_WIDE = 400  # characters: a line stays one, also in a pipe


@contextlib.asynccontextmanager
async def operating(settings: Settings, *, snapshots: bool = False) -> AsyncGenerator[Database, None]:
    """Postgres as the operator's role."""
    db = await Database.connect(settings.admin_database_url, size=1, role=OPERATOR, snapshots=snapshots)
    try:
        yield db
    finally:
        await db.close()


@contextlib.contextmanager
def _storage(settings: Settings) -> Any:
    storage = Storage(settings, now=clock.now)
    try:
        yield storage
    finally:
        storage.close()


async def create(
    settings: Settings,
    *,
    tenant_id: UUID,
    name: str,
    owner: str,
    region: str | None,
    locale: str,
    storage: int | None,
    uploads_per_day: int | None,
) -> None:
    """Make a company, and invite its first owner; says what became of it. Raises TenantError or Problem."""
    now = clock.now()

    async def invite(tx: Transaction, tenant: str) -> bool:
        return await identity.invite_first_owner(
            tx, email=owner, tenant=tenant, locale=locale, web_url=settings.web_url, now=now
        )

    async with operating(settings) as db:
        created = await service.create(
            db,
            tenant_id=tenant_id,
            name=name,
            region=region or settings.aws_region,
            regions=frozenset({settings.aws_region}),
            storage_limit_bytes=storage,
            uploads_per_day=uploads_per_day,
            invite_owner=invite,
            now=now,
        )
    _show(created.tenant)
    _say("It is new." if created.is_new else "It was there already, and stays as it is.")
    if created.invited:
        _say(f"An invitation goes to {owner}.")


async def list_all(settings: Settings) -> None:
    """Print every company."""
    async with operating(settings) as db:
        found = await service.list_all(db)
    table = Table(box=None, pad_edge=False)
    for name in ("tenant", "name", "state"):
        table.add_column(name)
    for name in ("people", "files", "GiB", "of GiB", "last activity (UTC)"):
        table.add_column(name, justify="right")
    for each in found:
        most = "" if each.storage_limit_bytes is None else f"{each.storage_limit_bytes / _GIB:,.2f}"
        seen = f"{each.last_activity:%Y-%m-%d %H:%M}" if each.last_activity else ""
        counts = f"{each.people:,}", f"{each.files:,}", f"{each.used_bytes / _GIB:,.2f}", most, seen
        table.add_row(str(each.tenant_id), Text(each.name), each.state, *counts)
    Console(width=_WIDE, soft_wrap=True).print(table, markup=False, highlight=False)


async def suspend(settings: Settings, tenant_id: UUID) -> None:
    """Let nobody write to a company. Raises TenantError."""
    async with operating(settings) as db:
        _show(await service.suspend(db, tenant_id=tenant_id, now=clock.now()))


async def resume(settings: Settings, tenant_id: UUID) -> None:
    """Let it work again. Raises TenantError."""
    async with operating(settings) as db:
        _show(await service.resume(db, tenant_id=tenant_id))


async def remove_totp(settings: Settings, email: str) -> None:
    """Switch a person's second step off, and mail it to them. Raises TenantError where none is on."""
    async with operating(settings) as db:
        if not await identity.remove_totp_by_operator(db, email=email, by=f"terminal:{getpass.getuser()}"):
            raise TenantError(f"no account of {email} has a second step")
    _say(f"The second step of {email} is off. A mail tells them, and the trails of their companies name you.")


async def limits(settings: Settings, tenant_id: UUID, changes: Mapping[str, Any]) -> None:
    """Change its limits, and show what it uses. Raises TenantError."""
    async with operating(settings) as db:
        _show(await service.limit(db, tenant_id=tenant_id, **changes))


async def export(settings: Settings, tenant_id: UUID, out: Path, *, with_files: bool) -> None:
    """Write everything of a company into a directory. Raises TenantError."""
    signer, now = Signer(settings.audit_key), clock.now()

    def trail(tx: Transaction) -> AsyncIterator[bytes]:
        return audit.whole_trail(tx, signer, now=now)

    async with operating(settings, snapshots=True) as db:
        with _storage(settings) as storage, _bar() as bar:
            said = await service.export(
                db,
                storage,
                tenant_id=tenant_id,
                out=out,
                with_files=with_files,
                trail=trail,
                signer=signer,
                progress=_progress(bar),
            )
    _say(f"{said.rows:,} rows of {said.tables} tables and {said.files:,} files ({said.size / _GIB:,.2f} GiB) in {out}.")
    _say("With the files' bytes." if with_files else "Of the files there is the list; --files brings their bytes.")


def verify(out: Path, public_key: Path | None) -> bool:
    """Print what an export is and what is wrong with it; True if nothing is."""
    try:
        keys = public_keys(public_key.read_bytes()) if public_key else None
    except SignatureError as exc:
        _say(str(exc))
        return False
    with _bar() as bar:
        checked = service.check_export(out, keys, progress=_progress(bar))
    problems = list(checked.problems)
    if not problems:
        found = audit.check_bundle((out / service.TRAIL).read_bytes(), keys)
        problems += [f"{service.TRAIL}: {problem}" for problem in found.problems]
    for problem in problems:
        _say(problem)
    if problems:
        _say(f"{len(problems)} problems")
        return False
    what = f"{checked.rows:,} rows and {checked.files:,} files of {checked.name}"
    _say(f"{what}, as of {checked.at:%Y-%m-%d %H:%M:%S} UTC, are as they were signed.")
    if not checked.with_files:
        _say("The files' bytes are not part of it.")
    if keys is None:
        _say("Who signed is not known: give --public-key, from GET /v1/audit/keys, to know.")
    return True


async def erase(settings: Settings, tenant_id: UUID, *, name: str | None, locale: str, place: Path) -> bool:
    """Erase a company, once its name has been given; False while write URLs may still bring bytes.

    Raises TenantError for another name, or if there is no such company.
    """
    buckets = Buckets(settings.uploads_bucket, settings.chunks_bucket, settings.derived_bucket)
    signer, now = Signer(settings.audit_key), clock.now()
    async with operating(settings) as db:
        doomed = await service.doomed(db, tenant_id=tenant_id)
        if doomed.certificate is None:
            typed = name or click.prompt(f"This erases {doomed.name} for good. Its name, to go on")
            if typed != doomed.name:
                raise TenantError(f"{typed!r} is not its name; nothing was erased")
        with _storage(settings) as storage, _bar() as bar:
            erased = await service.erase(
                db, storage, tenant_id=tenant_id, buckets=buckets, signer=signer, progress=_progress(bar), now=now
            )
    if erased.certificate is None:
        until = f"{erased.writable_until:%Y-%m-%d %H:%M} UTC"
        _say(f"All that was there is erased. Write URLs given out before may still bring bytes, until {until}.")
        _say("Run this again after that, for what they brought and for the certificate.")
        return False
    _hand_over(erased.certificate, signer, place, locale)
    return True


def _hand_over(certificate: str, signer: Signer, place: Path, locale: str) -> None:
    text = messages.CERTIFICATES[locale].format(**service.certified(certificate, signer.public))
    Path(f"{place}.json").write_bytes(service.certificate_file(certificate, signer.public))
    Path(f"{place}.txt").write_text(text)
    _say(text)
    _say(f"In {place}.json and {place}.txt.")


def _progress(bar: Progress) -> service.Report:
    tasks: dict[str, Any] = {}

    def report(what: str, done: int, total: int | None) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total)
        bar.update(tasks[what], completed=done, total=total)

    return report


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _show(tenant: Tenant) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    most = "no limit" if tenant.storage_limit_bytes is None else f"of {tenant.storage_limit_bytes / _GIB:,.2f} GiB"
    a_day = "no limit" if tenant.uploads_per_day is None else f"of {tenant.uploads_per_day:,}"
    rows = {
        "tenant": str(tenant.tenant_id),
        "name": tenant.name,
        "data region": tenant.data_region,
        "state": f"suspended since {tenant.suspended_at:%Y-%m-%d %H:%M} UTC" if tenant.suspended_at else "active",
        "storage": f"{tenant.used_bytes / _GIB:,.2f} GiB, {most}",
        "uploads today": f"{tenant.opened_today:,}, {a_day}",
    }
    for row in rows.items():
        table.add_row(*row)
    Console(soft_wrap=True).print(table, markup=False, highlight=False)


def _say(text: str) -> None:
    Console(soft_wrap=True).print(text, markup=False, highlight=False)
