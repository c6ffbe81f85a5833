"""Child processes that never outlive us: started, written down, stopped, and found again after a crash.

Two nets hold them. On Linux the kernel signals a child when its parent dies (`PR_SET_PDEATHSIG`); it does so when
the *thread* that started it ends, so start them from a thread that lives as long as they should. Everywhere, a
file names each child by process id and start time, and the next start ends those that are still there.
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

import msgspec

LOOPBACK = "127.0.0.1"
POLL_S = 0.05
LOG_LIMIT_BYTES = 10 * 1024 * 1024

_PR_SET_PDEATHSIG = 1


class StackError(Exception):
    """The local stack can't go on; the text says what happened and what to do."""


class Known(msgspec.Struct, frozen=True):
    """A process we started. `born` is its start time in the kernel's words, so a recycled id is not mistaken."""

    name: str
    pid: int
    born: str
    stop_signal: int


class Registry:
    """The file that names every process of a data directory which may still be alive."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[int, Known] = {}

    def add(self, process: Known) -> None:
        """Write down a process that has just been started."""
        self._known[process.pid] = process
        self._write()

    def remove(self, pid: int) -> None:
        """Forget a process that has ended."""
        self._known.pop(pid, None)
        self._write()

    def end_leftovers(self, timeout_s: float = 5.0) -> list[str]:
        """Stop what an earlier run left behind, and return their names. A process that isn't ours is never touched."""
        left = [known for known in self._read() if _born(known.pid) == known.born]
        for known in left:
            _signal(known.pid, known.stop_signal)
        deadline = time.monotonic() + timeout_s
        for known in left:
            while _born(known.pid) == known.born and time.monotonic() < deadline + 5:
                if time.monotonic() > deadline:
                    _signal_group(known.pid, signal.SIGKILL)
                time.sleep(POLL_S)
            if not _born(known.pid):
                _signal_group(known.pid, signal.SIGKILL)  # what it had started itself
        self._known.clear()
        self._write()
        return [known.name for known in left]

    def _read(self) -> list[Known]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[Known])
        except (FileNotFoundError, msgspec.DecodeError):
            return []

    def _write(self) -> None:
        write_private(self._path, msgspec.json.encode(list(self._known.values())))


class Child:
    """One running process and the way it is stopped."""

    def __init__(self, name: str, popen: "subprocess.Popen[bytes]", stop_signal: int, registry: Registry) -> None:
        self.name = name
        self.pid = popen.pid
        self._popen = popen
        self._stop_signal = stop_signal
        self._registry = registry

    def exit_code(self) -> int | None:
        """The code it ended with (negative: a signal), or None while it runs."""
        if self._popen.returncode is None and _has_ended(self.pid):
            # While the dead process is not collected its id can't be anybody else's: what it started goes now.
            _signal_group(self.pid, signal.SIGKILL)
            self._popen.wait()
            self._registry.remove(self.pid)
        return self._popen.returncode

    def ask_to_stop(self) -> None:
        """Send the polite signal; returns at once."""
        if self.exit_code() is None:
            _signal(self.pid, self._stop_signal)

    def end(self, timeout_s: float) -> None:
        """Wait for it to stop, and kill it and what it started after `timeout_s` seconds.

        What even then doesn't end within 5 s (a hung disk) stays in the registry for the next start.
        """
        deadline = time.monotonic() + timeout_s
        while self.exit_code() is None and time.monotonic() < deadline + 5:
            if time.monotonic() > deadline:
                _signal_group(self.pid, signal.SIGKILL)
            time.sleep(POLL_S)


def start(
    name: str,
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    log: Path,
    registry: Registry,
    stop_signal: int = signal.SIGTERM,
    user: tuple[int, int] | None = None,
    answer: Path | None = None,
) -> Child:
    """Start a process in a session of its own (so Ctrl-C reaches only us) with its output in `log`.

    `user` is the (uid, gid) to become; `answer` is a file of its own for what it writes to stdout. Raises StackError
    when the program can't be started.
    """
    uid, gid = user if user else (None, None)
    with contextlib.ExitStack() as files:
        output = files.enter_context(log.open("ab"))
        result = files.enter_context(answer.open("wb")) if answer else output
        try:
            popen = subprocess.Popen(  # noqa: S603 - programs and arguments are ours
                list(argv),
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=result,
                stderr=output,
                start_new_session=True,
                cwd="/",
                user=uid,
                group=gid,
                extra_groups=[] if user else None,
                # It runs after the change of user, which would undo it. `setpriv` isn't everywhere.
                preexec_fn=_die_with_parent(stop_signal),  # noqa: PLW1509
            )
        except (OSError, subprocess.SubprocessError) as exc:
            raise StackError(f"{name}: can't start {argv[0]}: {exc}") from exc
    registry.add(Known(name, popen.pid, _born(popen.pid), stop_signal))
    return Child(name, popen, stop_signal, registry)


def wait_until(ready: Callable[[], bool], *, what: str, timeout_s: float) -> None:
    """Return as soon as `ready()`. Raises StackError that names `what` after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            raise StackError(f"{what} isn't ready after {timeout_s:.0f} s")
        time.sleep(POLL_S)


def check_port(port: int, *, what: str, setting: str) -> None:
    """Raise StackError that names the setting to change when something else listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as exc:
            raise StackError(
                f"Port {port}, wanted for {what}, is taken ({exc.strerror}). "
                f"Stop what uses it, or choose another: {setting}=<port> buildpeer up"
            ) from exc


@contextlib.contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold the data directory for ourselves. Raises StackError, naming the holder, when somebody else does."""
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise StackError(
                f"buildpeer is already up on {path.parent} (process {holder}). "
                "Stop that one, or give this one another data directory."
            ) from exc
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def write_private(path: Path, data: bytes) -> None:
    """Replace a file in one step; only its owner can read it."""
    fresh = path.with_name(path.name + ".new")
    with open(fresh, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def open_log(path: Path) -> Path:
    """Put aside a log that has grown past 10 MiB, keeping one old one; return its path."""
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path


def tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log, for an error message."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


def _die_with_parent(stop_signal: int) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, stop_signal, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return ask_kernel


def _born(pid: int) -> str:
    """When the process started, with the boot it belongs to; empty when there is no such process, or a dead one."""
    try:
        # The name, in brackets, may hold anything; the state and the 22nd field come after the last bracket.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return "" if sys.platform == "linux" else _born_by_ps(pid)
    return "" if fields[0] in "ZX" else f"{boot}/{fields[19]}"


def _born_by_ps(pid: int) -> str:
    answer = subprocess.run(  # noqa: S603
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip()


def _has_ended(pid: int) -> bool:
    """Whether our child is dead, leaving it uncollected."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _signal_group(pid: int, number: int) -> None:
    """Signal a child's group; each child leads a session of its own, so that is only it and what it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
