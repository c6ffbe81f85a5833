"""Server-sent events, read as bytes: https://html.spec.whatwg.org/multipage/server-sent-events.html.

httpx's own line reader also splits at U+2028 and U+0085, which a file's name may hold.
"""

import re
from collections.abc import Iterator

import msgspec

_LINE = re.compile(rb"\r\n|\n|\r(?!\Z)")


class Frame(msgspec.Struct, frozen=True):
    """One message of a stream; `data` is empty for one that only moves the id or the retry time."""

    id: str = ""
    type: str = "message"
    data: bytes = b""
    retry_ms: int | None = None


class Parser:
    """Turns pieces of a stream, cut anywhere, into frames."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[Frame]:
        """The frames that are complete with this piece; a comment (a ping) is none."""
        *lines, self._rest = _LINE.split(self._rest + piece)
        for line in lines:
            if line:
                self._lines.append(line)
                continue
            frame = _frame(self._lines)
            self._lines = []
            if frame is not None:
                yield frame


def _frame(lines: list[bytes]) -> Frame | None:
    fields: dict[str, list[bytes]] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        if name:
            fields.setdefault(name.decode(errors="replace"), []).append(value.removeprefix(b" "))
    if not fields:
        return None
    retry = fields.get("retry", [b""])[-1]
    return Frame(
        id=fields.get("id", [b""])[-1].decode(errors="replace"),
        type=fields.get("event", [b"message"])[-1].decode(errors="replace"),
        data=b"\n".join(fields.get("data", [])),
        retry_ms=int(retry) if retry.isdigit() else None,
    )
