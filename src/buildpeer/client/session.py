"""Sign-ins kept on disk, one per API address, readable by their owner only."""

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from buildpeer.client.api import Api
from buildpeer.client.errors import Patience
from buildpeer.client.shapes import Session

DEFAULT_API = "http://127.0.0.1:8000"


def config_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Where sign-ins are kept: `buildpeer` under XDG_CONFIG_HOME, by default ~/.config."""
    return Path(env.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "buildpeer"


def state_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Where the journal of sent files is: `buildpeer` under XDG_STATE_HOME, by default ~/.local/state."""
    return Path(env.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "buildpeer"


def address(api: str) -> str:
    """The one spelling of an API's address, so that two spellings don't make two sign-ins."""
    parts = urlsplit(api.strip().rstrip("/"))
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}{parts.path}"


class Store:
    """An `api.Keeper` on disk. Several processes may share it: a renewed token serves them all."""

    def __init__(self, api: str, folder: Path | None = None) -> None:
        self._address = address(api)
        self._folder = folder or config_dir()
        self._path = self._folder / "sessions.json"

    def load(self) -> Session | None:
        """The sign-in at this address, if there is one."""
        return self._read().get(self._address)

    def save(self, session: Session) -> None:
        """Keep this sign-in; the file is replaced whole, so a crash leaves the old one or the new one."""
        self._write(self._read() | {self._address: session})

    def forget(self) -> bool:
        """Drop the sign-in at this address; False if there was none."""
        sessions = self._read()
        if sessions.pop(self._address, None) is None:
            return False
        self._write(sessions)
        return True

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncGenerator[None]:
        """Keep other processes from renewing at the same time (no lock on Windows)."""
        if sys.platform == "win32":
            yield
            return
        import fcntl  # noqa: PLC0415  (Windows has none)

        self._make_folder()
        with (self._folder / "sessions.lock").open("w") as lock:
            await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
            yield  # closing the file gives the lock back

    def _read(self) -> dict[str, Session]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, Session])
        except (FileNotFoundError, msgspec.DecodeError):
            return {}  # an unreadable file is worth a new sign-in, not a crash

    def _make_folder(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _write(self, sessions: dict[str, Session]) -> None:
        self._make_folder()
        fd, name = tempfile.mkstemp(dir=self._folder, prefix=".sessions-")  # mkstemp makes it 0600
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(msgspec.json.encode(sessions))
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


async def connect(api: str, *, lang: str, env: Mapping[str, str] = os.environ, patience: Patience | None = None) -> Api:
    """An Api that is signed in: by the sign-in kept here, else by BUILDPEER_EMAIL and BUILDPEER_PASSWORD.

    These two also replace a sign-in of somebody else, or one that has ended. With neither, the first call
    raises ApiError `not_signed_in`. Use the answer as a context manager.
    """
    email, password = env.get("BUILDPEER_EMAIL", ""), env.get("BUILDPEER_PASSWORD", "")
    credentials = (email, password) if email and password else None
    made = Api(api, keeper=Store(api, config_dir(env)), credentials=credentials, lang=lang, patience=patience)
    if credentials and made.email.casefold() != email.casefold():
        try:
            await made.sign_in(*credentials)
        except BaseException:
            await made.__aexit__()
            raise
    return made
