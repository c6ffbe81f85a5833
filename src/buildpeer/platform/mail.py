"""E-mail: what to say to whom is left in the transaction that it tells of; a mail server takes it once that stands.

Sent at least once: a repeated mail has the same Message-ID, so that mail programs show it once (RFC 5322 §3.6.4).
"""

import asyncio
import html
import smtplib
import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

import msgspec

from buildpeer.platform.messages import MAILS

_TIMEOUT_S = 15.0
_THREADS = 4


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """An e-mail to be: a template of `messages.MAILS` and what fills it in.

    One that is `known_only` goes out only if its recipient has an account, and then in that account's language.
    """

    mail_id: UUID
    template: str
    recipient: str
    locale: str
    facts: dict[str, Any]
    known_only: bool = False


class MailRefused(Exception):  # noqa: N818 - the words of RFC 5321
    """The mail server will never take this mail."""


class Mailer:
    """Hands mails to one SMTP server, `smtp://[user:password@]host:port` or `smtps://…`; TLS wherever it is
    offered, and always before a password.
    """

    def __init__(self, url: str, *, sender: str) -> None:
        self._url = urlsplit(url)
        self._sender = sender
        self._threads = ThreadPoolExecutor(_THREADS, "smtp")

    def close(self) -> None:
        """Send no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def send(self, letter: Letter, *, now: datetime) -> None:
        """Return once the server has taken it.

        Raises MailRefused when it never will, OSError or smtplib.SMTPException when it may later.
        """
        message = compose(letter, sender=self._sender, now=now)
        await asyncio.get_running_loop().run_in_executor(self._threads, self._send, message)

    def _send(self, message: EmailMessage) -> None:
        host, port = self._url.hostname or "", self._url.port or 0
        try:
            with self._connect(host, port) as server:
                if self._url.username:
                    if not isinstance(server.sock, ssl.SSLSocket):  # or somebody between us strips the offer of it
                        raise smtplib.SMTPNotSupportedError("no password without TLS")
                    server.login(unquote(self._url.username), unquote(self._url.password or ""))
                server.send_message(message)
        except smtplib.SMTPRecipientsRefused as exc:
            if all(code >= 500 for code, _ in exc.recipients.values()):
                raise MailRefused(str(exc)) from exc
            raise
        except smtplib.SMTPDataError as exc:
            if exc.smtp_code >= 500:
                raise MailRefused(str(exc)) from exc
            raise

    def _connect(self, host: str, port: int) -> smtplib.SMTP:
        if self._url.scheme == "smtps":
            return smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT_S, context=ssl.create_default_context())
        server = smtplib.SMTP(host, port, timeout=_TIMEOUT_S)
        server.ehlo()
        if server.has_extn("starttls"):
            server.starttls(context=ssl.create_default_context())
        return server


def compose(letter: Letter, *, sender: str, now: datetime) -> EmailMessage:
    """A letter as plain text and as simple HTML; a fact named `link` becomes a link."""
    words = MAILS[letter.template][letter.locale]
    message = EmailMessage()
    message["Subject"] = " ".join(words["subject"].format(**letter.facts).split())  # names may hold line breaks
    message["From"] = sender
    message["To"] = letter.recipient
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{letter.mail_id}@{sender.rpartition('@')[2].rstrip('>')}>"
    message["Auto-Submitted"] = "auto-generated"
    message["Content-Language"] = letter.locale
    message.set_content(words["body"].format(**letter.facts) + "\n")
    safe = {name: html.escape(str(value)).replace("\n", "<br>") for name, value in letter.facts.items()}
    if "link" in safe:
        safe["link"] = f'<a href="{safe["link"]}">{safe["link"]}</a>'
    paragraphs = (f"<p>{html.escape(part).format(**safe)}</p>" for part in words["body"].split("\n\n"))
    message.add_alternative(f'<html lang="{letter.locale}"><body>{"".join(paragraphs)}</body></html>', subtype="html")
    return message
