"""One phone on one link: sends file after file with one of the clients, and says of each when it began and ended.

`buildpeer` is the command `buildpeer push` itself, run once for each file in this process, so that Python's start isn't
measured; its screen is replaced by one that notes when the file's bytes were all there. Reads `go` from stdin when all
phones are ready, and ends when stdin does. Prints JSON lines; times are those of the machine's monotonic clock.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import sys
import threading
from collections.abc import Sequence
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
    tell = _teller()
    phone = _ours(asked.api) if asked.client == "buildpeer" else _theirs(asked.client, asked.api)
    next(phone)
    tell({"ready": True})
    if sys.stdin.readline().strip() != "go":
        return
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    for path in asked.files:
        tell({"begin": path.name, "at": clock.true_s()})
        told = phone.send(path)
        tell({"end": path.name, "at": clock.true_s()} | told)


def _resolve(address: str) -> None:
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *words: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return real(address if name in NAMES else host, *words, **named)

    socket.getaddrinfo = getaddrinfo


def _teller() -> Any:
    """Print JSON lines where stdout was; what anybody else prints goes to stderr."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return lambda told: out.write(json.dumps(told) + "\n")


def _end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(1)


def _theirs(how: str, api: str) -> Any:
    from bench.peers import senders  # noqa: PLC0415  (after the clock is set)

    told: dict[str, Any] = {}
    while True:
        path = yield told
        try:
            key = asyncio.run(senders.send(how, api, path))
            told = {"ok": True, "safe_at": clock.true_s(), "key": key}
        except senders.GaveUpError as error:
            told = {"ok": False, "why": str(error)}


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


def _ours(api: str) -> Any:
    import click  # noqa: PLC0415  (after the clock is set)

    from buildpeer.client import commands, ui  # noqa: PLC0415

    screens: list[_Screen] = [_Screen()]
    replaced: Any = ui
    replaced.screen = lambda *_: screens[-1]

    def command(words: list[str]) -> str:
        named = {each.name: each for each in commands.COMMANDS}
        try:
            named[words[0]].main(words[1:], standalone_mode=False)
        except click.ClickException as error:
            return error.message
        except SystemExit as error:
            return f"ended with {error.code}"
        return ""

    why = command(["login", "--api", api])
    if why:
        sys.exit(why)
    told: dict[str, Any] = {}
    while True:
        path = yield told
        screens.append(_Screen())
        with contextlib.redirect_stdout(sys.stderr):
            why = command(["push", str(path), "--project", "TAL", "--parallel", "8", "--api", api])
        seen = screens[-1]
        ok = seen.outcome is not None and seen.outcome.result == "ready"
        told = {"ok": ok, "safe_at": seen.safe_at} if ok else {"ok": False, "why": f"{why} {seen.outcome}"}


if __name__ == "__main__":
    main()
