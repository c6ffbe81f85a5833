"""`buildpeer`: every process and every command, each loading only what it needs."""

import asyncio
import json
import logging
import os
import sys
from pathlib import Path
from typing import Literal
from uuid import UUID

import click

from buildpeer.client.commands import COMMANDS
from buildpeer.conformance.command import conformance
from buildpeer.entrypoints.tenant_commands import people, tenants
from buildpeer.platform.config import ConfigError, Settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Construction projects whose files always arrive."""


for _command in COMMANDS:
    main.add_command(_command)
main.add_command(conformance)
main.add_command(tenants)
main.add_command(people)


def _settings(*needed: str) -> Settings:
    try:
        return Settings.from_env().require(*needed)
    except ConfigError as exc:
        raise click.UsageError(str(exc)) from exc


@main.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".buildpeer"),
    show_default=True,
    help="Where everything is kept.",
)
def up(data: Path) -> None:
    """Bring up everything on this machine: database, S3, queues, api, worker, functions."""
    from buildpeer.local.stack import Ports, Stack, StackConfig, StackError

    try:
        passed = {k: v for k, v in os.environ.items() if k in ("BUILDPEER_CLAMD", "BUILDPEER_LOG_LEVEL")}
        Stack(StackConfig(data_dir=data, ports=Ports.from_env(os.environ), settings=passed)).run()
    except StackError as exc:
        raise click.ClickException(str(exc)) from exc


@main.command()
def api() -> None:
    """Serve the HTTP API."""
    from buildpeer.entrypoints.api import serve

    asyncio.run(serve(_settings("database_url", "valkey_url", "token_key", "audit_key", "totp_key", "webhook_key")))


@main.command()
def worker() -> None:
    """Take facts from the queues, relay the outbox, sweep what was lost."""
    from buildpeer.entrypoints.worker import run

    asyncio.run(run(_settings("database_url", "valkey_url")))
    logging.shutdown()
    os._exit(0)  # threads that still wait for a queue would hold the exit up, and have nothing to lose


@main.command()
def functions() -> None:
    """Run scan, derive and assemble against their queues, as Lambda does on AWS."""
    from buildpeer.entrypoints.functions.runner import run

    run(_settings())


@main.group()
def uploads() -> None:
    """Look after the files of all tenants, as their operator."""


@uploads.command()
@click.option("--reap", is_flag=True, help="Remove the bytes that no row needs.")
@click.option(
    "--older-than", default="24h", show_default=True, help="Only what S3 has had for so long: 30h, 7d; at least 6h."
)
def orphans(reap: bool, older_than: str) -> None:
    """Find bytes in S3 that no row needs, and documents whose bytes S3 doesn't hold. Takes the worker's settings."""
    from buildpeer.entrypoints.orphans import read_age, run

    try:
        age = read_age(older_than)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="--older-than") from exc
    asyncio.run(run(_settings("database_url"), older_than=age, reap=reap))


@main.command()
@click.option("--since", required=True, help="Files that became ready no longer ago: 30h, 90d.")
@click.option("--rate", default=5.0, show_default=True, help="Files a second at most.")
@click.option("--after", default="", help="Go on where an earlier one stopped.")
def rescan(since: str, rate: float, after: str) -> None:
    """Scan files again, and withdraw what is infected by what the scanner knows now. Takes the worker's settings."""
    from buildpeer.entrypoints.operators import ask_again

    settings = _settings("database_url")
    if settings.verdicts != "scan":
        raise click.UsageError("GuardDuty gives the verdicts here; have it scan the bucket on demand")
    asyncio.run(ask_again(settings, step="scan", kind=None, since=since, rate=rate, after=after))


@main.command()
@click.option("--kind", type=click.Choice(["plan", "photo", "report"]), help="Only files of this kind.")
@click.option(
    "--step",
    type=click.Choice(["all", "preview", "media", "words"]),
    default="all",
    show_default=True,
    help="What to renew: pictures; type, pixels, time and place; what files are found by.",
)
@click.option("--since", default="9999d", show_default=True, help="Files that became ready no longer ago: 30h, 90d.")
@click.option("--rate", default=2.0, show_default=True, help="Files a second at most.")
@click.option("--after", default="", help="Go on where an earlier one stopped.")
def reprocess(
    kind: str | None, step: Literal["all", "preview", "media", "words"], since: str, rate: float, after: str
) -> None:
    """Read files that are ready anew; what people have said of them stays. Takes the worker's settings."""
    from buildpeer.entrypoints.operators import ask_again

    settings = _settings("database_url")
    asyncio.run(ask_again(settings, step=step, kind=kind, since=since, rate=rate, after=after))


@main.group()
def quarantine() -> None:
    """Files in which a scanner has found something. Takes the worker's settings."""


@quarantine.command("list")
def quarantine_list() -> None:
    """Show which there are, and which of them somebody wants released."""
    from buildpeer.entrypoints.operators import list_quarantined

    asyncio.run(list_quarantined(_settings("database_url")))


@quarantine.command("release")
@click.argument("tenant", type=click.UUID)
@click.argument("upload", type=click.UUID)
def quarantine_release(tenant: UUID, upload: UUID) -> None:
    """Have a file scanned again, and released if it is clean by now. Nothing else releases one."""
    from buildpeer.entrypoints.operators import release

    asyncio.run(release(_settings("database_url"), tenant, upload))


@main.group()
def dlq() -> None:
    """Work on messages that nobody could work on. Takes the worker's settings."""


@dlq.command("list")
@click.option("--queue", help="Only those that died in this one.")
def dlq_list(queue: str | None) -> None:
    """Show what waits for somebody."""
    from buildpeer.entrypoints.operators import list_letters

    asyncio.run(list_letters(_settings("database_url"), queue=queue))


@dlq.command("show")
@click.argument("letter", type=click.UUID)
def dlq_show(letter: UUID) -> None:
    """Show one message, and what was done about it."""
    from buildpeer.entrypoints.operators import show_letter

    asyncio.run(show_letter(_settings("database_url"), letter))


@dlq.command("redrive")
@click.argument("letters", type=click.UUID, nargs=-1)
@click.option("--queue", help="Every one that died in this one.")
def dlq_redrive(letters: tuple[UUID, ...], queue: str | None) -> None:
    """Send messages again to where they died; the worker does it within seconds."""
    from buildpeer.entrypoints.operators import order_letters

    asyncio.run(order_letters(_settings("database_url"), "redrive", letters, queue=queue))


@dlq.command("drop")
@click.argument("letters", type=click.UUID, nargs=-1)
@click.option("--queue", help="Every one that died in this one.")
def dlq_drop(letters: tuple[UUID, ...], queue: str | None) -> None:
    """Work on messages no more; their record stays."""
    from buildpeer.entrypoints.operators import order_letters

    asyncio.run(order_letters(_settings("database_url"), "drop", letters, queue=queue))


@main.command()
def migrate() -> None:
    """Bring the database schema up to date."""
    from buildpeer.platform import migrate as migrations
    from buildpeer.platform import telemetry

    settings = _settings("admin_database_url")
    telemetry.configure_logging(settings, process="migrate")
    asyncio.run(migrations.migrate(settings.admin_database_url, migrations.read()))


@main.command()
def seed() -> None:
    """Make the demo tenant, unless it was erased; prints its sign-ins, a JSON object a line."""
    from buildpeer.local import demo

    password = os.environ.get("BUILDPEER_DEMO_PASSWORD")
    if not password:
        raise click.UsageError("BUILDPEER_DEMO_PASSWORD is not set")
    there = asyncio.run(demo.seed(_settings("admin_database_url").admin_database_url, password=password))
    for person in demo.PEOPLE if there else ():
        print(json.dumps({"role": person.role, "name": person.name, "email": person.email, "password": password}))


@main.group()
def audit() -> None:
    """Prove that the audit trail is what was sealed."""


@audit.command("verify")
@click.option("--tenant", "tenant_id", type=click.UUID, required=True, help="Whose trail.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Look at what `buildpeer up` keeps there, instead of where the settings say.",
)
def audit_verify(tenant_id: UUID, data: Path | None) -> None:
    """Compute a company's trail anew; exit code 1 if anything is not as it was sealed."""
    from buildpeer.entrypoints.auditor import verify

    if data is not None:
        from buildpeer.local.stack import Ports, Stack, StackConfig, StackError

        try:
            os.environ |= Stack(StackConfig(data_dir=data, ports=Ports.from_env(os.environ))).known_env("auditor")
        except StackError as exc:
            raise click.ClickException(str(exc)) from exc
    sys.exit(0 if asyncio.run(verify(_settings("admin_database_url"), tenant_id)) else 1)


@audit.command("check")
@click.argument("bundle", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--public-key",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="JSON of GET /v1/audit/keys; without it, who signed the bundle is not known.",
)
def audit_check(bundle: Path, public_key: Path | None) -> None:
    """Check an exported bundle, with no access to the system; exit code 1 if anything is wrong with it."""
    from buildpeer.entrypoints.auditor import check

    sys.exit(0 if check(bundle, public_key) else 1)


@main.group()
def bitacora() -> None:
    """Prove that an exported bitácora is as it was written and signed."""


@bitacora.command("verify")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--public-key",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="JSON of GET /v1/audit/keys; without it, who exported it is not known.",
)
@click.option(
    "--trail",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A JSON export of the audit trail, which must have every note as it is here.",
)
def bitacora_verify(file: Path, public_key: Path | None, trail: Path | None) -> None:
    """Check a PDF, with no access to the system; exit code 1 if anything is wrong with it."""
    from buildpeer.entrypoints.logbook import verify

    lines, good = verify(file, public_key, trail)
    print("\n".join(lines))
    sys.exit(0 if good else 1)


@main.command()
def openapi() -> None:
    """Print the API's OpenAPI 3.1 description."""
    from buildpeer.entrypoints.api import create_app

    schema = create_app(Settings()).openapi_schema.to_schema()
    json.dump(schema, sys.stdout, indent=2, ensure_ascii=False, sort_keys=True)
    print()


@main.command()
@click.option("--smtp-port", type=int, envvar="BUILDPEER_SMTP_PORT", default=2525, show_default=True)
@click.option("--mail-port", type=int, envvar="BUILDPEER_MAIL_PORT", default=8025, show_default=True)
def mail(smtp_port: int, mail_port: int) -> None:
    """Catch mails on this machine instead of delivering them, and show them on a page."""
    from buildpeer.local.mailcatcher import run

    asyncio.run(run(host="127.0.0.1", smtp_port=smtp_port, page_port=mail_port))


@main.command()
def permissions() -> None:
    """Print who may do what, as a page."""
    from buildpeer.modules.identity.rules import permissions_page

    print(permissions_page(), end="")


if __name__ == "__main__":
    main()
