"""The command `conformance`, for click."""

import asyncio
import os
import sys
from collections.abc import Sequence

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from buildpeer.conformance.rules import RULES
from buildpeer.conformance.runner import Client, SetupError, Verdict, play
from buildpeer.conformance.scenarios import SCENARIOS

_BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@click.command("conformance", context_settings={"ignore_unknown_options": True})
@click.argument("url")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="-- CLIENT COMMAND…")
@click.option("--only", multiple=True, type=click.Choice(list(_BY_NAME)), help="Only this scenario; may be repeated.")
@click.option("--project", help="Where files go, by id, code or name; by default the first project.")
@click.option("--timeout", default=180.0, show_default=True, help="Seconds that a scenario may take.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per scenario, a line each.")
@click.option("--list", "listing", is_flag=True, help="Tell the scenarios and rules, and play none.")
def conformance(
    *,
    url: str,
    command: tuple[str, ...],
    only: tuple[str, ...],
    project: str | None,
    timeout: float,
    as_json: bool,
    listing: bool,
) -> None:
    """Play a hostile network against a client of the API at URL, and say whether it keeps the protocol.

    In the command {files} stands for the folder to send, {state} for a folder that survives a kill, {api} for the
    API's address, {project} for the project's id. The client is told the last two also as BUILDPEER_API and
    BUILDPEER_PROJECT; BUILDPEER_EMAIL and BUILDPEER_PASSWORD, which must be set, say who signs in. It must send every
    file of the folder, and end with 0 once all have arrived.
    """
    console = Console(highlight=False)
    if listing:
        console.print(_sentences())
        return
    if not command:
        raise click.UsageError("Which client? Give its command after --")
    client = Client(command, os.environ, timeout_s=timeout)
    verdicts: list[Verdict] = []
    for name in only or _BY_NAME:
        try:
            verdict = asyncio.run(play(_BY_NAME[name](), client, url=url.rstrip("/"), project=project))
        except SetupError as exc:
            raise click.ClickException(str(exc)) from exc
        verdicts.append(verdict)
        if as_json:
            click.echo(msgspec.json.encode(verdict))
        elif console.is_terminal or not verdict.held:
            _tell(console, verdict)
    if not as_json:
        console.print(_table(verdicts))
    sys.exit(not all(verdict.held for verdict in verdicts))


def _tell(console: Console, verdict: Verdict) -> None:
    console.print(Text.assemble(_mark(verdict), f" {verdict.name}: {verdict.sentence}"))
    for broken in verdict.broken:
        for seen in broken.seen[:5]:
            console.print(Text(f"    {broken.rule}: {seen}", style="red"))
    if verdict.said:
        console.print(Text("\n".join(f"    | {line}" for line in verdict.said.splitlines()), style="bright_black"))


def _table(verdicts: Sequence[Verdict]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("scenario", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for name in ("seconds", "requests", "faults", "MB sent", "MB wasted"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("not kept", overflow="fold")
    for v in verdicts:
        megabytes = (f"{v.sent_bytes / 1e6:.2f}", f"{v.wasted_bytes / 1e6:.2f}")
        rules = ", ".join(broken.rule for broken in v.broken)
        table.add_row(v.name, _mark(v), f"{v.seconds}", str(v.requests), str(v.faults), *megabytes, rules)
    return table


def _mark(verdict: Verdict) -> Text:
    if not verdict.held:
        return Text("✗ broken", style="red")
    return Text("✓ held", style="green") if verdict.met else Text("– not met", style="yellow")


def _sentences() -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for each in (*SCENARIOS, *RULES):
        table.add_row(each.name, each.sentence)
    return table
