"""The commands `login`, `logout`, `push`, `manifest` and `watch`, for click; the program adds COMMANDS to its group."""

import asyncio
import contextlib
import os
import sqlite3
import sys
import unicodedata
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any, TypeVar

import click
from rich.console import Console

from buildpeer.client import ui
from buildpeer.client.api import Api
from buildpeer.client.errors import ApiError, ClientError, Patience
from buildpeer.client.files import KINDS, Kind
from buildpeer.client.items import Outcome
from buildpeer.client.journal import Journal
from buildpeer.client.manifest import Checked, check
from buildpeer.client.messages import LANGUAGES, explain, language, shown, text, verdict
from buildpeer.client.push import push, scope_of
from buildpeer.client.session import DEFAULT_API, Store, address, connect, state_dir
from buildpeer.client.shapes import Project, Session
from buildpeer.client.watch import watch

T = TypeVar("T")
_LISTED = 30

_api = click.option("--api", default=DEFAULT_API, envvar="BUILDPEER_API", show_default=True, help="Address of the API.")
_lang = click.option("--lang", type=click.Choice(LANGUAGES), help="Language; by default the locale's.")


class Stop(click.ClickException):
    """Ends the program with a sentence for people on stderr."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the sentence alone."""
        click.echo(self.message, file=file, err=True)


class Misuse(Stop):
    """The command can't be meant as it was given."""

    exit_code = 2


class Interrupted(Stop):
    """Somebody pressed Ctrl-C; 130 is what a shell expects then."""

    exit_code = 130


@click.command("login")
@_api
@_lang
@click.option("--email", envvar="BUILDPEER_EMAIL", help="Who signs in; asked for if left out.")
@click.option(
    "--code", envvar="BUILDPEER_CODE", help="Code of the second step, if the account has one; asked for if left out."
)
def login_command(api: str, lang: str | None, email: str | None, code: str | None) -> None:
    """Sign in; the password is asked for, or taken from BUILDPEER_PASSWORD."""
    lang = language(lang)
    password = os.environ.get("BUILDPEER_PASSWORD", "")
    if not (email and password) and not sys.stdin.isatty():
        raise Misuse(text(lang, "error.no_terminal"))
    email = email or str(click.prompt(text(lang, "login.email")))
    password = password or str(click.prompt(text(lang, "login.password"), hide_input=True))

    async def work() -> None:
        async with Api(_checked(api, lang), keeper=Store(api), lang=lang) as signed:
            session = await _signed_in(signed, email.strip(), password, code)
        click.echo(text(lang, "login.done", name=shown(session.person.name), tenant=shown(session.tenant.name)))

    _run(work(), lang, api)


async def _signed_in(api: Api, email: str, password: str, code: str | None) -> Session:
    """Sign in, in two steps if it takes two; a code that was mistyped is asked for again."""
    try:
        return await api.sign_in(email, password)
    except ApiError as error:
        if error.code != "code_needed":
            raise
        challenge = error.challenge
    if code:
        return await api.complete_sign_in(challenge, code)
    if not sys.stdin.isatty():
        raise Misuse(text(api.lang, "error.no_code"))
    while True:
        try:
            return await api.complete_sign_in(challenge, str(click.prompt(text(api.lang, "login.code"))))
        except ApiError as error:
            if error.code != "code_wrong":
                raise
            click.echo(explain(api.lang, error, api.base_url), err=True)


@click.command("logout")
@_api
@_lang
def logout_command(api: str, lang: str | None) -> None:
    """Sign out, and forget the sign-in on this machine; without a network only the latter."""
    lang = language(lang)
    store = Store(_checked(api, lang))

    async def work() -> None:
        async with Api(api, keeper=store, lang=lang, patience=Patience(failures=1, away_s=0)) as signed:
            await signed.sign_out()

    with contextlib.suppress(ClientError):
        asyncio.run(work())
    found = store.forget()
    click.echo(text(lang, "logout.done" if found else "logout.none"))


@click.command("push")
@click.argument("paths", nargs=-1, required=True, metavar="PATH…", type=click.Path(path_type=Path))
@click.option("--project", required=True, metavar="NAME|CODE|ID", help="The project that gets the files.")
@click.option("--kind", type=click.Choice(KINDS), help="What the files are; guessed by name if left out.")
@click.option(
    "--parallel", type=click.IntRange(1, 16), default=8, show_default=True, help="Connections that may send, at most."
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=15,
    show_default=True,
    help="Minutes without a network before giving up.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=300,
    show_default=True,
    help="Seconds to wait without any news once everything is sent.",
)
@_api
@_lang
def push_command(
    *,
    paths: tuple[Path, ...],
    project: str,
    kind: Kind | None,
    parallel: int,
    patience: float,
    timeout: float,
    api: str,
    lang: str | None,
) -> None:
    """Send files and whole folders to a project, and wait until each has been checked.

    Run the same command again after any interruption: it goes on, and sends nothing twice. Ends with 1 if any
    file has not made it.
    """
    lang = language(lang)
    console = _console()

    async def work() -> Sequence[Outcome]:
        borne = Patience(away_s=patience * 60)
        async with await connect(_checked(api, lang), lang=lang, patience=borne) as signed:
            return await _to_project(signed, project, lambda chosen: send(signed, chosen))

    async def send(signed: Api, chosen: Project) -> Sequence[Outcome]:
        console.print(text(lang, "push.to", project=shown(chosen.name)), markup=False, highlight=False)
        with ui.screen(console, lang) as screen:
            return await push(
                signed,
                paths,
                chosen.project_id,
                kind=kind,
                parallel=parallel,
                timeout_s=timeout,
                view=screen,
            )

    outcomes = _run(work(), lang, api)
    ui.report(console, lang, outcomes)
    if not all(outcome.fine for outcome in outcomes):
        sys.exit(1)


@click.command("watch")
@click.option("--project", metavar="NAME|CODE|ID", help="Only this project.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@_api
@_lang
def watch_command(*, project: str | None, as_json: bool, api: str, lang: str | None) -> None:
    """Show what happens to everybody's files, live."""
    lang = language(lang)

    async def work() -> None:
        async with await connect(_checked(api, lang), lang=lang) as signed:
            chosen = await _project(signed, project) if project else None
            await watch(signed, _console(), project=chosen, as_json=as_json)

    _run(work(), lang, api)


@click.command("manifest")
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="YYYY-MM-DD; today if left out.")
@click.option("--project", metavar="NAME|CODE|ID", help="Only this project.")
@_api
@_lang
def manifest_command(*, day: datetime | None, project: str | None, api: str, lang: str | None) -> None:
    """Ask whether every file sent from this machine on a day is safe on the server.

    Safe means that the server has hashed what it holds, and it is the very file. Ends with 1 if any is not safe.
    """
    lang = language(lang)
    today = datetime.now().date()
    asked = day.date() if day else today

    async def work() -> list[Checked]:
        async with await connect(_checked(api, lang), lang=lang) as signed:
            chosen = await _project(signed, project) if project else None
            return await check(signed, asked, project_id=chosen.project_id if chosen else "")

    checked = _run(work(), lang, api)
    when = text(lang, "manifest.today") if asked == today else text(lang, "manifest.day", day=asked)
    for each in checked:
        if not each.safe:
            click.echo(f"{shown(str(each.file.path))}: {verdict(lang, each.verdict)}")
    if not checked:
        click.echo(text(lang, "manifest.nothing", when=when))
        return
    key = "manifest.photos" if all(each.file.kind == "photo" for each in checked) else "manifest.files"
    safe = sum(each.safe for each in checked)
    click.echo(text(lang, key, safe=safe, n=len(checked), when=when))
    if safe < len(checked):
        sys.exit(1)


COMMANDS: list[click.Command] = [login_command, logout_command, push_command, manifest_command, watch_command]


def _run(work: Coroutine[Any, Any, T], lang: str, api: str) -> T:
    try:
        return asyncio.run(work)
    except ClientError as error:
        raise Stop(explain(lang, error, address(api))) from error
    except (OSError, sqlite3.Error) as error:
        raise Stop(text(lang, "error.disk", why=error)) from error
    except KeyboardInterrupt:
        raise Interrupted(text(lang, "error.interrupted")) from None


def _checked(api: str, lang: str) -> str:
    if not address(api).startswith(("http://", "https://")):
        raise Misuse(text(lang, "error.address", api=api))
    return api


def _console() -> Console:
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="replace")  # a name that the terminal can't write must not end the push
    return Console(highlight=False)


async def _to_project(api: Api, wanted: str, do: Callable[[Project], Awaitable[T]]) -> T:
    """Do it with the project meant by these words: the one meant last time, unless that is gone."""
    name = f"project {_folded(wanted)}"
    with Journal(state_dir(), scope_of(api)) as journal:
        known = journal.place(name, Project)
        if known:
            try:
                return await do(known)
            except ApiError as error:
                if error.status != 404:
                    raise
                journal.note_place(name, None)
        chosen = await _project(api, wanted)
        journal.note_place(name, chosen)
        return await do(chosen)


async def _project(api: Api, wanted: str) -> Project:
    """The project meant by an id, a code or a name; case and accents don't matter."""
    projects = await api.projects()
    found = matching(projects, wanted)
    if len(found) == 1:
        return found[0]
    if not projects:
        raise Misuse(text(api.lang, "error.no_projects"))
    key = "error.many_projects" if found else "error.unknown_project"
    listed = sorted(found or projects, key=lambda project: _folded(project.name))
    lines = [text(api.lang, key, name=shown(wanted))]
    for project in listed[:_LISTED]:
        tail = f"  [{project.project_id}]" if found else ""
        lines.append(shown(f"  {project.code:<10} {project.name}{tail}"))
    if len(listed) > _LISTED:
        lines.append(f"  {text(api.lang, 'error.and_more', n=len(listed) - _LISTED)}")
    raise Misuse("\n".join(lines))


def matching(projects: Sequence[Project], wanted: str) -> list[Project]:
    """The projects that `wanted` may mean: the one with this id, else by code, else by name."""
    key = _folded(wanted)
    keys: tuple[Callable[[Project], str], ...] = (
        lambda project: project.project_id,
        lambda project: project.code,
        lambda project: project.name,
    )
    for of in keys:
        found = [project for project in projects if key and _folded(of(project)) == key]
        if found:
            return found
    return []


def _folded(name: str) -> str:
    plain = (c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return " ".join("".join(plain).casefold().split())
