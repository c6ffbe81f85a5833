"""Shows what happens to everybody's files, live."""

import contextlib
from collections.abc import Mapping

from rich.cells import set_cell_size
from rich.console import Console
from rich.live import Live
from rich.text import Text

from buildpeer.client import messages
from buildpeer.client.api import Api
from buildpeer.client.messages import shown, text
from buildpeer.client.shapes import ENDS, Event, Project, event_of
from buildpeer.client.ui import shorten

_GOOD = ("ready", "duplicate")


async def watch(api: Api, console: Console, *, project: Project | None = None, as_json: bool = False) -> None:
    """Print every event from now on, for ever; cuts are mended without losing any.

    `as_json` prints each event as the server sent it, one a line. `project` leaves out all others.
    """
    projects = {} if as_json else {p.project_id: p.name for p in await api.projects()}
    status = Text("")
    live = Live(status, console=console, refresh_per_second=2, transient=True)

    def link(up: bool) -> None:
        mark, style, key = ("●", "green", "watch.live") if up else ("○", "yellow", "watch.cut")
        shown_status = Text.assemble((f"{mark} {text(api.lang, key)}", style))
        shown_status.append(f" · {text(api.lang, 'watch.stop')}", "bright_black")
        live.update(shown_status, refresh=True)

    with live if console.is_terminal and not as_json else contextlib.nullcontext():
        async with contextlib.aclosing(api.events(on_link=link)) as frames:
            async for frame in frames:
                event = event_of(frame)
                if project and (event is None or event.project_id != project.project_id):
                    continue
                if as_json:
                    line = Text(frame.data.decode(errors="replace").replace("\n", " "))
                elif event is not None and event.upload is not None:
                    line = _line(api, event, projects, console.width)
                else:
                    continue
                console.print(line, soft_wrap=True, highlight=False)


def _line(api: Api, event: Event, projects: Mapping[str, str], width: int) -> Text:
    """`14:03:22  ✓ ready   plan.pdf   4.1 MB   Torre Norte   you`, the time in this machine's zone."""
    upload = event.upload
    assert upload is not None  # noqa: S101  (the caller looked)
    state = text(api.lang, "watch.document") if event.type == "document.added" else None
    state = state or messages.state(api.lang, upload.state)
    good, bad = upload.state in _GOOD, upload.state in ENDS and upload.state not in _GOOD
    mark, style = ("✓", "green") if good else ("✗", "red") if bad else ("·", "cyan")
    site = projects.get(upload.project_id, "")
    me = api.session.person.person_id
    who = text(api.lang, "watch.you") if upload.created_by == me else f"…{upload.created_by[-6:]}"
    room = max(20, width - 78)
    return Text.assemble(
        (event.occurred_at.astimezone().strftime("%H:%M:%S"), "bright_black"),
        "  ",
        (set_cell_size(f"{mark} {state}", 24), style),
        set_cell_size(shorten(shown(upload.name), room), room),
        f"{messages.size(api.lang, upload.size_bytes):>9}  ",
        (set_cell_size(shorten(shown(site), 22), 22), "bright_black"),
        f"  {shown(who)}",
    )
