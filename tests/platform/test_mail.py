import asyncio
import smtplib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from buildpeer.platform import clock
from buildpeer.platform.mail import Letter, Mailer


@asynccontextmanager
async def server_without_tls(heard: list[str]) -> AsyncIterator[int]:
    """A mail server that asks for a password and offers no encryption, as one does from which somebody strips it."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while line := (await reader.readline()).decode().strip():
            heard.append(line)
            writer.write(b"250-hello\r\n250 AUTH PLAIN\r\n" if line.startswith("ehlo") else b"235 fine\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_password_is_never_told_to_a_server_without_tls() -> None:
    heard: list[str] = []
    letter = Letter(
        mail_id=uuid4(), template="password_changed", recipient="ana@x.test", locale="es", facts={}, known_only=True
    )
    async with server_without_tls(heard) as port:
        mailer = Mailer(f"smtp://user:secret@127.0.0.1:{port}", sender="BuildPeer <no-reply@x.test>")
        with pytest.raises(smtplib.SMTPException):
            await asyncio.wait_for(mailer.send(letter, now=clock.now()), 10)
        mailer.close()
    assert not [line for line in heard if line.upper().startswith("AUTH")]
