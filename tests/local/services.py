"""Real services for tests: Postgres, ministack and Valkey on free ports, started once and stopped at the end.

    @pytest.fixture(scope="session")
    def stack(tmp_path_factory):
        with running_services(tmp_path_factory.mktemp("stack")) as stack:
            yield stack

ministack's Python is `$BUILDPEER_MINISTACK_PYTHON`, or the one that `make setup` installs.
"""

import contextlib
import os
import random
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from buildpeer.local.postgres import BELONGS_TO, SHARED_PLACE
from buildpeer.local.stack import Ports, Stack, StackConfig, default_ministack_python


def ministack_python() -> Path:
    """The Python of ministack's environment."""
    return Path(os.environ.get("BUILDPEER_MINISTACK_PYTHON") or default_ministack_python())


def free_ports() -> Ports:
    """Six ports that nobody listens on right now, and that the system gives to no outgoing connection meanwhile."""
    while True:
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            numbers = random.sample(range(15_000, 32_000), 6)
            for number in numbers:
                held.enter_context(socket.create_server(("127.0.0.1", number)))
            api, postgres, s3, valkey, smtp, mail = numbers
            return Ports(api=api, postgres=postgres, s3=s3, valkey=valkey, smtp=smtp, mail=mail)


def config_for(tmp_dir: Path) -> StackConfig:
    """A stack in `tmp_dir`, on ports of its own."""
    return StackConfig(data_dir=tmp_dir, ports=free_ports(), ministack_python=ministack_python())


def start_services(tmp_dir: Path) -> Stack:
    """Start the services with their data in `tmp_dir`; end them with `stop_services`.

    Call from the main thread: the services end with the thread that started them.
    """
    _remove_forgotten()
    stack = Stack(config_for(tmp_dir), console=Console(quiet=True))
    stack.start_services()
    return stack


def stop_services(stack: Stack) -> None:
    """Stop the services and remove their data, also what had to be elsewhere (Postgres's, as root)."""
    stack.stop()
    shutil.rmtree(stack.postgres.home, ignore_errors=True)
    shutil.rmtree(stack.config.data_dir, ignore_errors=True)


def _remove_forgotten() -> None:
    """As root Postgres's data may be outside the test's directory; a killed test leaves it there."""
    for note in SHARED_PLACE.glob(f"*/{BELONGS_TO}"):
        with contextlib.suppress(FileNotFoundError):  # another test process is at it too
            owner = Path(note.read_text())
            if owner.is_relative_to(tempfile.gettempdir()) and not owner.parent.exists():
                shutil.rmtree(note.parent)


@contextlib.contextmanager
def running_services(tmp_dir: Path) -> Iterator[Stack]:
    """`start_services` and `stop_services` around a block."""
    stack = start_services(tmp_dir)
    try:
        yield stack
    finally:
        stop_services(stack)
