"""One phone on one link: sends file after file with one of the clients, and says of each when it began and ended.

`buildpeer` is the command `buildpeer push` itself, run once for each file in this process, so that Python's start isn't
measured; its screen is replaced by one that notes when the file's bytes were all there. Reads `go` from stdin when all
phones are ready, and ends when stdin does. Prints JSON lines; times are those of the machine's monotonic clock.
"""

import argparse
import asyncio
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from bench.peers import clock

NAMES = ("api.field.test", "storage.field.test")  # the phone's own DNS: both are at the far end of its link


def main() -> None:
    """Be the phone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", choices=["buildpeer", "put", "multipart", "tus"])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--address", required=True, help="the far end of the link")
    parser.add_argument("--api", required=True)
    parser.add_argument("--faster", type=float, default=1)
    asked = parser.parse_args()
    _resolve(asked.address)
    if asked.faster != 1:
        clock.run_faster(asked.faster)
    go = threading.Event()
    threading.Thread(target=_listen, args=[go], daemon=True).start()
    tell = _teller()
    send = _ours(asked.api) if asked.client == "buildpeer" else _theirs(asked.client, asked.api)
    tell({"ready": True})
    go.wait()
    for path in asked.files:
        tell({"begin": path.name, "at": clock.true_s()})
        told = send(path)
        tell({"end": path.name, "at": clock.true_s()} | told)


def _resolve(address: str) -> None:
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *words: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return real(address if name in NAMES else host, *words, **named)

    socket.getaddrinfo = getaddrinfo


def _teller() -> Callable[[dict[str, Any]], object]:
    """Print JSON lines where stdout was; what anybody else prints goes to stderr."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def tell(told: dict[str, Any]) -> None:
        out.write(json.dumps(told) + "\n")

    return tell


def _listen(go: threading.Event) -> None:
    """Whoever started this phone may be killed, and must leave none behind."""
    for line in sys.stdin:
        if line.strip() == "go":
            go.set()
    os._exit(1)


def _theirs(how: str, api: str) -> Callable[[Path], dict[str, Any]]:
    from bench.peers import senders  # noqa: PLC0415  (after the clock is set)

    def send(path: Path) -> dict[str, Any]:
        try:
            key = asyncio.run(senders.send(how, api, senders.Piece(path, 0, path.stat().st_size)))
        except senders.GaveUpError as error:
            return {"ok": False, "why": str(error)}
        return {"ok": True, "safe_at": clock.true_s(), "key": key}

    return send


class _Screen:
    """Looks on as a person would, with a watch."""

    def __init__(self) -> None:
        self.safe_at: float | None = None
        self.outcome: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def began(self, items: Sequence[Any]) -> None:
        pass

    def moved(self, item: Any) -> None:
        if item.stage in ("checking", "done") and self.safe_at is None:
            self.safe_at = clock.true_s()
        self.outcome = item.outcome


def _ours(api: str) -> Callable[[Path], dict[str, Any]]:
    import click  # noqa: PLC0415  (after the clock is set)

    from buildpeer.client import commands, ui  # noqa: PLC0415

    named = {each.name: each for each in commands.COMMANDS}

    def run(command: str, *words: str) -> str:
        try:
            named[command].main([*words, "--api", api], standalone_mode=False)
        except click.ClickException as error:
            return error.message
        except SystemExit as error:
            return f"ended with {error.code}"
        return ""

    def send(path: Path) -> dict[str, Any]:
        screen = _Screen()
        replaced: Any = ui
        replaced.screen = _shows(screen)
        why = run("push", str(path), "--project", "TAL", "--parallel", "8")
        if screen.outcome is None or screen.outcome.result != "ready":
            return {"ok": False, "why": f"{why} {screen.outcome}"}
        return {"ok": True, "safe_at": screen.safe_at}

    if why := run("login"):
        sys.exit(why)
    return send


def _shows(screen: _Screen) -> Callable[..., _Screen]:
    def shows(*_: object) -> _Screen:
        return screen

    return shows


if __name__ == "__main__":
    main()
