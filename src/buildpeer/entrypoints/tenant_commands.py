"""The command lines of `buildpeer tenants` and `people`; `tenants.py` does the work, and is loaded only for it."""

import asyncio
import os
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import click

from buildpeer.platform.config import ConfigError, Settings
from buildpeer.platform.errors import Problem
from buildpeer.platform.messages import LANGUAGES

_UNITS = {"": 1, "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3, "TIB": 1024**4}


def read_size(text: str) -> int:
    """A size such as `500GiB`, in bytes. Raises ValueError for anything else."""
    found = re.fullmatch(r"(\d{1,15})\s*([KMGT]iB)?", text, re.IGNORECASE)
    if found is None:
        raise ValueError("write it as 500GiB, 2TiB, in bytes, or none")
    return int(found[1]) * _UNITS[(found[2] or "").upper()]


def read_count(text: str) -> int:
    """A whole number from 0 on. Raises ValueError for anything else."""
    if not re.fullmatch(r"\d{1,9}", text):
        raise ValueError("write it as a whole number, or none")
    return int(text)


class _Limit(click.ParamType[int | str]):
    """A limit, or the word `none`."""

    def __init__(self, name: str, read: Callable[[str], int]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value == "none" or isinstance(value, int):
            return value
        try:
            return self._read(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


_tenant = click.argument("tenant_id", type=click.UUID, metavar="TENANT")
_storage = click.option("--storage", type=_Limit("size", read_size), help="What its files may weigh: 500GiB, none.")
_per_day = click.option(
    "--uploads-per-day", type=_Limit("number", read_count), help="How many it may open in a day, by UTC: 5000, none."
)


_data = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Act on what `buildpeer up` keeps there, instead of where the settings say.",
)


@click.group()
@_data
@click.pass_context
def tenants(ctx: click.Context, data: Path | None) -> None:
    """Look after companies, as their operator. Takes the administrator's database settings and the operator's keys."""
    ctx.obj = data


@tenants.command()
@click.argument("name")
@click.option("--owner", required=True, metavar="EMAIL", help="Its first owner, who is invited.")
@click.option("--id", "tenant_id", type=click.UUID, help="Its id: the same again changes nothing.  [default: random]")
@click.option("--region", help="Where its data stays, for good.  [default: the settings']")
@click.option("--locale", type=click.Choice(LANGUAGES), default="es", show_default=True, help="Of the invitation.")
@_storage
@_per_day
@click.pass_obj
def create(
    data: Path | None,
    *,
    name: str,
    owner: str,
    tenant_id: UUID | None,
    region: str | None,
    locale: str,
    storage: int | str | None,
    uploads_per_day: int | str | None,
) -> None:
    """Make a company, and invite its first owner by e-mail."""
    from buildpeer.entrypoints import tenants as work

    _run(
        work.create(
            _settings(data),
            tenant_id=tenant_id or uuid4(),
            name=name,
            owner=owner,
            region=region,
            locale=locale,
            storage=None if isinstance(storage, str) else storage,
            uploads_per_day=None if isinstance(uploads_per_day, str) else uploads_per_day,
        )
    )


@tenants.command("list")
@click.pass_obj
def list_all(data: Path | None) -> None:
    """Show every company: state, people, files and what they weigh, and when somebody there last did something."""
    from buildpeer.entrypoints import tenants as work

    _run(work.list_all(_settings(data)))


@tenants.command()
@_tenant
@click.pass_obj
def suspend(data: Path | None, tenant_id: UUID) -> None:
    """Let nobody write to a company: it is read and downloaded as before."""
    from buildpeer.entrypoints import tenants as work

    _run(work.suspend(_settings(data), tenant_id))


@tenants.command()
@_tenant
@click.pass_obj
def resume(data: Path | None, tenant_id: UUID) -> None:
    """Let a suspended company work again."""
    from buildpeer.entrypoints import tenants as work

    _run(work.resume(_settings(data), tenant_id))


@tenants.command()
@_tenant
@_storage
@_per_day
@click.pass_obj
def limits(data: Path | None, *, tenant_id: UUID, storage: int | str | None, uploads_per_day: int | str | None) -> None:
    """Show what a company uses and may use; with an option, change it."""
    from buildpeer.entrypoints import tenants as work

    given = {"storage_limit_bytes": storage, "uploads_per_day": uploads_per_day}
    changes = {name: None if value == "none" else value for name, value in given.items() if value is not None}
    _run(work.limits(_settings(data), tenant_id, changes))


@tenants.command()
@_tenant
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--files", is_flag=True, help="With the files' bytes, not only the list of them.")
@click.pass_obj
def export(data: Path | None, *, tenant_id: UUID, out: Path, files: bool) -> None:
    """Write everything of a company into the directory OUT, as of one moment. Again goes on with what is missing."""
    from buildpeer.entrypoints import tenants as work

    _run(work.export(_settings(data, "audit_key"), tenant_id, out, with_files=files))


@tenants.command()
@click.argument("export", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--public-key",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="JSON of GET /v1/audit/keys; without it, who signed is not known.",
)
def verify(export: Path, public_key: Path | None) -> None:
    """Check an export, with no access to the system; exit code 1 if anything is wrong with it."""
    from buildpeer.entrypoints import tenants as work

    click.get_current_context().exit(0 if work.verify(export, public_key) else 1)


@tenants.command()
@_tenant
@click.option("--yes", metavar="NAME", help="The company's name, instead of being asked for it.")
@click.option("--locale", type=click.Choice(LANGUAGES), default="es", show_default=True, help="Of the certificate.")
@click.option(
    "--certificate",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where it goes: FILE.json and FILE.txt.  [default: erased-TENANT]",
)
@click.pass_obj
def erase(data: Path | None, *, tenant_id: UUID, yes: str | None, locale: str, certificate: Path | None) -> None:
    """Erase a company and everything of it, for good. Killed at any moment, it goes on where it was. Exit code 3:
    erased, but write URLs may be alive still; run it again after the time that it tells, for the certificate.
    """
    from buildpeer.entrypoints import tenants as work

    place = certificate or Path(f"erased-{tenant_id}")
    done = _run(work.erase(_settings(data, "audit_key"), tenant_id, name=yes, locale=locale, place=place))
    click.get_current_context().exit(0 if done else 3)


@click.group()
@_data
@click.pass_context
def people(ctx: click.Context, data: Path | None) -> None:
    """Do for people what nobody in their companies can. Takes the administrator's database settings."""
    ctx.obj = data


@people.command("totp-off")
@click.argument("email")
@click.pass_obj
def totp_off(data: Path | None, email: str) -> None:
    """Switch somebody's second step off, who has lost phone and recovery codes: first be sure who is asking. A mail
    tells them, and every company of theirs finds it in its trail.
    """
    from buildpeer.entrypoints import tenants as work

    _run(work.remove_totp(_settings(data), email))


def _settings(data: Path | None, *needed: str) -> Settings:
    """The settings of an operator; those of `buildpeer up`, with its AWS keys, where `data` says so."""
    if data is not None:
        from buildpeer.local.stack import Ports, Stack, StackConfig, StackError

        try:
            os.environ |= Stack(StackConfig(data_dir=data, ports=Ports.from_env(os.environ))).known_env("operator")
        except StackError as exc:
            raise click.ClickException(str(exc)) from exc
    try:
        return Settings.from_env().require("admin_database_url", *needed)
    except ConfigError as exc:
        raise click.UsageError(str(exc)) from exc


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    from buildpeer.modules.tenants.rules import TenantError

    try:
        return asyncio.run(work)
    except TenantError as exc:
        raise click.ClickException(str(exc)) from exc
    except Problem as exc:
        raise click.ClickException(exc.detail("en")) from exc
