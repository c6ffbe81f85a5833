"""One file, sent whole to its signed URL, and what S3's answers mean."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import httpx

from buildpeer.client.api import ClientError, NetworkError, Put
from buildpeer.client.files import FileChangedError, Fingerprint, open_as

_PIECE = 64 * 1024
_CODE = re.compile(rb"<Code>([A-Za-z0-9]+)</Code>")
_CORRUPT = ("BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch")
_CUT_SHORT = ("RequestTimeout", "IncompleteBody")


class UrlRefusedError(ClientError):
    """The URL has expired or was altered: ask for another."""


class StorageError(ClientError):
    """S3 said no; `passing` if it may say yes later."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"S3 {status} {code}".strip())
        self.passing = status >= 500 or status in (408, 409, 429) or code in _CUT_SHORT


async def deliver(
    http: httpx.AsyncClient, put: Put, path: Path, wanted: Fingerprint, on_sent: Callable[[int], None]
) -> None:
    """Send the file's bytes; when this returns, S3 holds them (now, or since an earlier try).

    `on_sent` hears how many bytes have left. Raises FileChangedError, UrlRefusedError, StorageError,
    NetworkError, OSError.
    """
    headers = httpx.Headers(put.headers)
    headers.setdefault("Content-Length", str(wanted.size))  # S3 takes no chunked encoding
    body = _body(path, wanted, on_sent)
    try:
        response = await http.request(put.method, put.url, headers=headers, content=body)
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise NetworkError(str(exc) or type(exc).__name__) from exc
    finally:
        await body.aclose()
    _judge(response)


async def _body(path: Path, wanted: Fingerprint, on_sent: Callable[[int], None]) -> AsyncGenerator[bytes]:
    sent = 0
    with await asyncio.to_thread(open_as, path, wanted) as file:
        while sent < wanted.size:
            piece = await asyncio.to_thread(file.read, min(_PIECE, wanted.size - sent))
            if not piece:
                raise FileChangedError(path)
            yield piece
            sent += len(piece)
            on_sent(sent)


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
    if status == 403:
        raise UrlRefusedError(code)
    raise StorageError(status, code)
