"""A mail server that keeps what it gets instead of delivering it, and a page to read it: loopback only.

Speaks as much SMTP (RFC 5321) as our own sender needs. Keeps the latest mails in memory.
"""

import asyncio
import html
from collections import deque
from collections.abc import Awaitable, Callable
from email import message_from_bytes, policy
from email.message import EmailMessage

MOST_MAILS = 200
MOST_BYTES = 10 * 1024 * 1024
_STYLE = (
    "<style>body{font:16px sans-serif;max-width:50em;margin:2em auto;padding:0 1em}"
    "pre{white-space:pre-wrap}iframe{width:100%;height:20em}</style>"
)


class MailCatcher:
    """Mails by arrival, the oldest first; `serve` gives them a server and a page."""

    def __init__(self) -> None:
        self.mails: deque[EmailMessage] = deque(maxlen=MOST_MAILS)

    async def serve(self, *, host: str, smtp_port: int, page_port: int) -> tuple[asyncio.Server, asyncio.Server]:
        """Listen on both ports, 0 for any; returns the two servers."""
        smtp = await asyncio.start_server(_closing(self._smtp), host, smtp_port, limit=MOST_BYTES)
        page = await asyncio.start_server(_closing(self._page), host, page_port)
        return smtp, page

    async def _smtp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(text: str) -> None:
            writer.write(f"{text}\r\n".encode())
            await writer.drain()

        await say("220 mails end here")
        while line := await reader.readline():
            match line.split(b" ")[0].strip().upper():
                case b"DATA":
                    await say("354 end with a dot")
                    body = await reader.readuntil(b"\r\n.\r\n")
                    text = b"\r\n".join(part.removeprefix(b".") for part in body[:-5].split(b"\r\n"))
                    self.mails.append(message_from_bytes(text, policy=policy.default))
                    await say("250 kept")
                case b"QUIT":
                    await say("221 bye")
                    return
                case b"EHLO":
                    await say("250-mails end here\r\n250 8BITMIME")
                case b"HELO" | b"MAIL" | b"RCPT" | b"RSET" | b"NOOP":
                    await say("250 ok")
                case _:
                    await say("502 not here")

    async def _page(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readline()).split(b" ")[1:2]
        while (await reader.readline()).strip():
            pass
        number = path[0].decode("ascii", "replace").strip("/") if path else ""
        if not number:
            status, body = "200 OK", self._list()
        elif number.isdecimal() and int(number) < len(self.mails):
            status, body = "200 OK", _mail(self.mails[int(number)])
        else:
            status, body = "404 Not Found", "<p>There is no such mail."
        content = f"<!doctype html><meta charset=utf-8><title>Mails</title>{_STYLE}{body}".encode()
        # A mail is a stranger's text: nothing of it may run or be fetched.
        head = (
            f"HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {len(content)}\r\n"
            "content-security-policy: default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'\r\n"
            "connection: close\r\n\r\n"
        )
        writer.write(head.encode() + content)
        await writer.drain()

    def _list(self) -> str:
        lines = (
            f'<li><a href="/{number}">{html.escape(str(mail["Subject"]))}</a> to {html.escape(str(mail["To"]))}'
            for number, mail in reversed(list(enumerate(self.mails)))
        )
        return f"<h1>Mails</h1><ul>{''.join(lines)}</ul>" if self.mails else "<h1>Mails</h1><p>None yet."


async def run(*, host: str, smtp_port: int, page_port: int) -> None:
    """Catch mails until the process is ended."""
    for server in await MailCatcher().serve(host=host, smtp_port=smtp_port, page_port=page_port):
        await server.start_serving()
    await asyncio.Event().wait()


def text_of(mail: EmailMessage, kind: str = "plain") -> str:
    """The plain text of a mail, or its html."""
    part = mail.get_body((kind,))
    return str(part.get_content()) if part is not None else ""


def _mail(mail: EmailMessage) -> str:
    heads = "".join(f"<b>{name}</b>: {html.escape(str(mail[name]))}<br>" for name in ("From", "To", "Subject", "Date"))
    shown = html.escape(text_of(mail, "html"), quote=True)
    plain = html.escape(text_of(mail))
    return f'<p><a href="/">All mails</a><p>{heads}<pre>{plain}</pre><iframe sandbox srcdoc="{shown}"></iframe>'


def _closing(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # whoever spoke like that has gone, or may go
        finally:
            writer.close()

    return handled
