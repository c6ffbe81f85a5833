"""One piece of a file, sent to its signed URL, and what S3's answers mean."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import httpx
import msgspec

from buildpeer.client.api import WHOLE, ClientError, NetworkError, Parts, Put
from buildpeer.client.files import FileChangedError, Fingerprint, read_as

_BLOCK = 64 * 1024
_CODE = re.compile(rb"<Code>([A-Za-z0-9]+)</Code>")
_CORRUPT = ("BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch")
_CUT_SHORT = ("RequestTimeout", "IncompleteBody")


class UrlRefusedError(ClientError):
    """The URL has expired or was altered: ask for another."""


class PartsLostError(ClientError):
    """S3 knows nothing (any more) of the upload that this part belongs to."""


class StorageError(ClientError):
    """S3 said no; `passing` if it may say yes later."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"S3 {status} {code}".strip())
        self.passing = status >= 500 or status in (408, 409, 429) or code in _CUT_SHORT


class Piece(msgspec.Struct, frozen=True):
    """What goes in one request: `size` bytes from `start` on. A file that travels whole is one piece, WHOLE."""

    number: int
    start: int
    size: int


def pieces_of(size: int, parts: Parts | None) -> list[Piece]:
    """The pieces that a file of `size` bytes travels in."""
    if parts is None:
        return [Piece(WHOLE, 0, size)]
    starts = range(0, parts.count * parts.size, parts.size)
    return [Piece(n, start, min(parts.size, size - start)) for n, start in enumerate(starts, 1)]


async def deliver(
    http: httpx.AsyncClient,
    put: Put,
    piece: Piece,
    *,
    path: Path,
    wanted: Fingerprint,
    on_sent: Callable[[int], None],
) -> None:
    """Send this piece of the file; when this returns, S3 holds them (now, or since an earlier try).

    `on_sent` hears how many bytes have left. Raises FileChangedError, UrlRefusedError, PartsLostError,
    StorageError, NetworkError, OSError.
    """
    headers = httpx.Headers(put.headers)
    headers.setdefault("Content-Length", str(piece.size))  # S3 takes no chunked encoding
    body = _body(path, wanted, piece, on_sent)
    try:
        response = await http.request(put.method, put.url, headers=headers, content=body)
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise NetworkError(str(exc) or type(exc).__name__) from exc
    finally:
        await body.aclose()
    _judge(response)


async def _body(path: Path, wanted: Fingerprint, piece: Piece, on_sent: Callable[[int], None]) -> AsyncGenerator[bytes]:
    for sent in range(0, piece.size, _BLOCK):
        block = await asyncio.to_thread(read_as, path, wanted, piece.start + sent, min(_BLOCK, piece.size - sent))
        yield block
        on_sent(sent + len(block))


def _judge(response: httpx.Response) -> None:
    status = response.status_code
    if status == 412:  # If-None-Match: the key is written, the answer to an earlier try was lost
        return
    if response.is_success:
        if "ETag" not in response.headers:
            raise NetworkError(f"{status}, but not S3's answer")  # a captive portal is glad of any request
        return
    found = _CODE.search(response.content)
    code = found[1].decode() if found else ""
    if code in _CORRUPT:
        raise FileChangedError(code)
    if code == "NoSuchUpload":
        raise PartsLostError(code)
    if status == 403:
        raise UrlRefusedError(code)
    raise StorageError(status, code)
