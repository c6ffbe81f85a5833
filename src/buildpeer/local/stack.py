"""The whole of BuildPeer on one machine: services, set-up, our processes, and one supervisor over them.

Everything belongs to one data directory: data, logs, secrets, a lock, and the list of processes.
"""

import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal, Self

import httpx
import msgspec
from rich.console import Console
from rich.table import Table

from buildpeer.local import aws
from buildpeer.local.aws import Key, Ministack, Person
from buildpeer.local.postgres import Postgres
from buildpeer.local.processes import (
    LOOPBACK,
    Child,
    Registry,
    StackError,
    check_port,
    locked,
    open_log,
    start,
    tail,
    wait_until,
    write_private,
)
from buildpeer.local.valkey import Valkey
from buildpeer.platform.config import PREFIX, Settings
from buildpeer.wiring import Topology, topology

APP_ROLE, WORKER_ROLE = "buildpeer_app", "buildpeer_worker"
STOP_TIMEOUT_S = 5.0
TASK_TIMEOUT_S = 120.0
HEALTHY_TIMEOUT_S = 30.0
LOOK_EVERY_S = 0.2
LONGEST_PAUSE_S = 30.0

Program = Literal["api", "worker", "functions", "mail"]
Process = Literal["api", "worker", "scan", "derive", "assemble", "functions", "mail", "auditor", "operator", "admin"]


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Where each part listens, always on loopback; each is moved by the variable `BUILDPEER_<FIELD>_PORT`."""

    api: int = 8000
    postgres: int = 5995
    s3: int = 4566
    valkey: int = 6395
    smtp: int = 2525
    mail: int = 8025

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """The ports that the environment asks for. Raises StackError, naming the variable, for what isn't a port."""
        chosen: dict[str, int] = {}
        for field in cls.__struct_fields__:
            text = env.get(_port_setting(field))
            if text is None:
                continue
            if not text.isdecimal() or not 0 < int(text) < 65_536:
                raise StackError(f"{_port_setting(field)} must be a port from 1 to 65535, not {text!r}")
            chosen[field] = int(text)
        return cls(**chosen)


def default_ministack_python() -> Path:
    """The Python of ministack's own environment, which `make setup` puts beside ours."""
    return Path(sys.prefix).parent / ".venv-ministack" / "bin" / "python"


def command_line(name: str) -> list[str]:
    """How `migrate`, `seed`, `api`, `worker`, `functions` and `mail` are started."""
    return [sys.executable, "-m", "buildpeer.entrypoints.cli", name]


class StackConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a stack is made of; `settings` are further `BUILDPEER_*` variables for every process of ours."""

    data_dir: Path
    ports: Ports = Ports()
    ministack_python: Path = msgspec.field(default_factory=default_ministack_python)
    processes: tuple[Program, ...] = ("api", "worker", "functions", "mail")
    settings: Mapping[str, str] = {}


def _word(length: int = 32) -> Callable[[], str]:
    return lambda: secrets.token_hex(length // 2)


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """Random per data directory and kept in its `secrets.json`; a field added later is filled in."""

    postgres_password: str = msgspec.field(default_factory=_word())
    app_password: str = msgspec.field(default_factory=_word())
    worker_password: str = msgspec.field(default_factory=_word())
    valkey_password: str = msgspec.field(default_factory=_word())
    token_key: str = msgspec.field(default_factory=lambda: base64.b64encode(secrets.token_bytes(32)).decode())
    ministack_root_secret: str = msgspec.field(default_factory=_word(40))
    admin_token: str = msgspec.field(default_factory=_word(64))
    audit_key: str = msgspec.field(default_factory=lambda: base64.b64encode(secrets.token_bytes(32)).decode())
    totp_key: str = msgspec.field(default_factory=lambda: base64.b64encode(secrets.token_bytes(32)).decode())
    webhook_key: str = msgspec.field(default_factory=lambda: base64.b64encode(secrets.token_bytes(32)).decode())
    demo_password: str = msgspec.field(default_factory=_word(16))
    place_id: str = msgspec.field(default_factory=_word(16))

    @classmethod
    def kept_in(cls, path: Path) -> Self:
        """Read the secrets of a data directory, making those that are missing."""
        found = msgspec.json.decode(path.read_bytes(), type=cls) if path.exists() else cls()
        write_private(path, msgspec.json.format(msgspec.json.encode(found)))
        return found


class StopAsked(KeyboardInterrupt):
    """Somebody pressed Ctrl-C, or the system asks us to end."""


class _Watched:
    """A process that is started again when it ends, after a pause that doubles each time it lived shortly."""

    def __init__(self, child: Child, again: Callable[[], Child]) -> None:
        self.child = child
        self._again = again
        self._began = time.monotonic()
        self._pause_s = 0.5
        self._due: float | None = None

    def look(self, say: Callable[[str], None], log: Path) -> None:
        """Notice its end and, when the pause is over, start it again."""
        now = time.monotonic()
        if self._due is None and (code := self.child.exit_code()) is not None:
            if now - self._began > LONGEST_PAUSE_S:
                self._pause_s = 0.5
            self._due = now + self._pause_s
            say(f"{self.child.name} {_ending(code)}; starting it again in {self._pause_s:g} s. Its log: {log}")
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        elif self._due is not None and now >= self._due:
            self._due, self._began = None, now
            self.child = self._again()


class Stack:
    """The embedded stack of one data directory.

    `start_services` and `stop` are for tests; `run` is `buildpeer up`. Processes end with the thread that started
    them (see `processes`), so call from one that lives as long as the stack.
    """

    def __init__(
        self,
        config: StackConfig,
        *,
        command: Callable[[str], list[str]] = command_line,
        console: Console | None = None,
    ) -> None:
        self.config = config
        self._command = command
        self._console = console or Console()
        self._data = config.data_dir.absolute()
        self._held = contextlib.ExitStack()
        self._holding = False
        self._registry = Registry(self._data / "processes.json")
        self._watched: list[_Watched] = []
        self._stopping = False

    # -- services ---------------------------------------------------------------------------------------------

    def start_services(self) -> None:
        """Start Postgres, ministack and Valkey, ready and set up; ends what an earlier run left behind.

        Raises StackError, with nothing left running, when another stack holds the data directory, a port is taken,
        or a service doesn't start.
        """
        self._start_services(ports=("postgres", "s3", "valkey"))

    def _start_services(self, ports: tuple[str, ...]) -> None:
        try:
            self._open_data_dir()
            for port in ports:
                check_port(getattr(self.config.ports, port), what=_PORT_NAMES[port], setting=_port_setting(port))
            self.secrets = Secrets.kept_in(self._data / "secrets.json")
            self._make_services()
            self._keys = self._start_and_set_up()
        except BaseException:
            self.stop()
            raise

    def _open_data_dir(self) -> None:
        # As root, Postgres's own user must be able to pass through; what is inside is closed by itself.
        self._data.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
        for name in ("logs", "home"):
            (self._data / name).mkdir(exist_ok=True, mode=0o700)
        self._held.enter_context(locked(self._data / "lock"))
        shutil.rmtree(self._data / "tmp", ignore_errors=True)  # what a killed function was working on
        (self._data / "tmp").mkdir(mode=0o700)
        self._holding = True
        if left := self._registry.end_leftovers():
            self._say(f"Ended what an earlier run left behind: {', '.join(left)}")

    def _make_services(self) -> None:
        ports, kept = self.config.ports, self.secrets
        self.postgres = Postgres(
            home=self._data / "postgres",
            place_id=kept.place_id,
            port=ports.postgres,
            password=kept.postgres_password,
            log=self._log("postgres"),
            registry=self._registry,
        )
        self.ministack = Ministack(
            home=self._data / "ministack",
            python=self.config.ministack_python,
            port=ports.s3,
            root_secret=kept.ministack_root_secret,
            admin_token=kept.admin_token,
            log=self._log("ministack"),
            registry=self._registry,
        )
        self.valkey = Valkey(
            home=self._data / "valkey",
            port=ports.valkey,
            password=kept.valkey_password,
            log=self._log("valkey"),
            registry=self._registry,
        )

    def _start_and_set_up(self) -> dict[Person, Key]:
        # Started first and awaited last, so that they get ready beside each other.
        ministack = self._watch(self.ministack.start)
        valkey = self._watch(self.valkey.start)
        self.postgres.prepare()
        postgres = self._watch(self.postgres.start)
        self.ministack.wait_until_ready(ministack.child)
        keys = aws.bootstrap(
            self.ministack,
            self.topology,
            uploads=_SETTINGS.uploads_bucket,
            chunks=_SETTINGS.chunks_bucket,
            derived=_SETTINGS.derived_bucket,
            audit=_SETTINGS.audit_bucket,
            keys_file=self._data / "aws-keys.json",
        )
        self.valkey.wait_until_ready(valkey.child)
        postgres.child = self.postgres.start_until_ready(postgres.child)
        return keys

    @property
    def topology(self) -> Topology:
        """The queues and rules that this stack has."""
        return topology(uploads_bucket=_SETTINGS.uploads_bucket, verdicts="scan")

    def set_role_passwords(self) -> None:
        """Give the login roles their passwords, after the migrations made them. Raises StackError when they didn't."""
        kept = self.secrets
        self.postgres.set_passwords({APP_ROLE: kept.app_password, WORKER_ROLE: kept.worker_password})

    def stop(self) -> None:
        """Stop everything this stack started, the last first, and let go of the data directory."""
        ours = [each.child for each in self._watched if each.child.name not in _SERVICES]
        services = [each.child for each in self._watched if each.child.name in _SERVICES]
        for group in (ours, services):
            for child in reversed(group):
                child.ask_to_stop()
            for child in reversed(group):
                child.end(STOP_TIMEOUT_S)
        self._watched.clear()
        if self._holding:
            self._registry.end_leftovers()  # what a signal kept us from noting, in the middle of a start
        self._holding = False
        self._held.close()

    def __enter__(self) -> Self:
        self.start_services()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def known_env(self, process: Process) -> dict[str, str]:
        """The environment of a process beside a stack that another program runs. Raises StackError if none was here."""
        if not (self._data / "aws-keys.json").exists():
            raise StackError(f"There is no BuildPeer in {self._data}; start it with `make up`")
        self.secrets = Secrets.kept_in(self._data / "secrets.json")
        self._make_services()
        self._keys = aws.read_keys(self._data / "aws-keys.json")
        if process in aws.PEOPLE and process not in self._keys:
            raise StackError(f"What is in {self._data} is of an older version; start it once with `make up`")
        return self.env(process)

    # -- environments -----------------------------------------------------------------------------------------

    def env(self, process: Process) -> dict[str, str]:
        """The whole environment of one of our processes: what it needs and nothing of ours or of the user's."""
        base = {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self._data / "home"),  # so that nobody's ~/.aws or ~/.pgpass has a say
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
        }
        if "PYTHONPATH" in os.environ:
            # Our processes start in /, so a path that was relative to somewhere else is made whole.
            parts = os.environ["PYTHONPATH"].split(os.pathsep)
            base["PYTHONPATH"] = os.pathsep.join(str(Path(part).absolute()) for part in parts)
        return base | dict(self.config.settings) | self._settings(process)

    def _settings(self, process: Process) -> dict[str, str]:
        admin_url = self.postgres.url("postgres", self.secrets.postgres_password)
        if process == "admin":
            return _prefixed(admin_database_url=admin_url, demo_password=self.secrets.demo_password)
        if process == "mail":  # it reads what anybody sends it, and knows nothing
            return _prefixed(smtp_port=self.config.ports.smtp, mail_port=self.config.ports.mail)
        found = self._aws_settings()
        if process == "functions":
            # It works for three users and gives each child the key of its own.
            found["TMPDIR"] = str(self._data / "tmp")
            for person in ("scan", "derive", "assemble"):
                found |= self._named_key(person)
            return found
        found |= {
            "AWS_ACCESS_KEY_ID": self._keys[process].key_id,
            "AWS_SECRET_ACCESS_KEY": self._keys[process].secret,
        }
        if process == "api":
            found |= _prefixed(token_key=self.secrets.token_key, audit_key=self.secrets.audit_key)
            found |= _prefixed(totp_key=self.secrets.totp_key)
            found |= _prefixed(api_host=LOOPBACK, api_port=self.config.ports.api, web_url=self.api_url)
        if process == "worker" and "mail" in self.config.processes:
            found |= _prefixed(smtp_url=f"smtp://{LOOPBACK}:{self.config.ports.smtp}")
        if process in ("auditor", "operator"):
            found |= _prefixed(admin_database_url=admin_url)
        if process == "operator":
            found |= _prefixed(audit_key=self.secrets.audit_key, web_url=self.api_url)
        if process in ("api", "worker"):
            found |= _prefixed(webhook_key=self.secrets.webhook_key, webhooks_to_loopback="true")
            role, password = (
                (APP_ROLE, self.secrets.app_password)
                if process == "api"
                else (WORKER_ROLE, self.secrets.worker_password)
            )
            found |= _prefixed(database_url=self.postgres.url(role, password), valkey_url=self.valkey.url)
        if process == "worker":
            found |= _prefixed(people_database_url=self.postgres.url(APP_ROLE, self.secrets.app_password))
            found |= _prefixed(audit_key=self.secrets.audit_key)
        return found

    def _aws_settings(self) -> dict[str, str]:
        return {
            "AWS_DEFAULT_REGION": aws.REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            **_prefixed(
                aws_endpoint_url=self.ministack.url,
                aws_region=aws.REGION,
                uploads_bucket=_SETTINGS.uploads_bucket,
                chunks_bucket=_SETTINGS.chunks_bucket,
                derived_bucket=_SETTINGS.derived_bucket,
                audit_bucket=_SETTINGS.audit_bucket,
                verdicts="scan",
            ),
        }

    def _named_key(self, person: Person) -> dict[str, str]:
        key = self._keys[person]
        return {
            f"{PREFIX}{person.upper()}_AWS_ACCESS_KEY_ID": key.key_id,
            f"{PREFIX}{person.upper()}_AWS_SECRET_ACCESS_KEY": key.secret,
        }

    # -- the supervisor ---------------------------------------------------------------------------------------

    def run(self) -> None:
        """Be `buildpeer up`: start everything, say where it is, and keep it running until Ctrl-C or SIGTERM.

        Call it from the main thread. Raises StackError, with nothing left running, when something doesn't start.
        """
        asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in asked}
        try:
            self._start_everything()
            self._supervise()
        except StopAsked:
            self._say("Stopping.")
        finally:
            self._stopping = True  # a second Ctrl-C must not leave half of it running
            self.stop()
            for number, handler in before.items():
                signal.signal(number, handler)
            self._stopping = False

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if not self._stopping:
            self._stopping = True
            raise StopAsked

    def _start_everything(self) -> None:
        api = ("api",) if "api" in self.config.processes else ()
        mail = ("smtp", "mail") if "mail" in self.config.processes else ()
        self._start_services(ports=("postgres", "s3", "valkey", *api, *mail))
        self._say("Postgres, ministack and Valkey are ready.")
        self._task("migrate")
        self.set_role_passwords()
        sign_ins = self._task("seed")
        watched = [self._watch(lambda name=name: self._start_program(name)) for name in self.config.processes]
        if api:
            self._await_api(watched)
        for each in watched:
            self._check_alive(each.child)
        self._announce(sign_ins)

    def _task(self, name: str) -> list[dict[str, Any]]:
        """Run a command to its end with the administrator's environment; return the JSON lines it wrote."""
        log, answer = self._log(name), self._data / f"{name}.answer"
        write_private(answer, b"")
        child = start(name, self._command(name), env=self.env("admin"), log=log, registry=self._registry, answer=answer)
        try:
            wait_until(lambda: child.exit_code() is not None, what=f"`{name}`", timeout_s=TASK_TIMEOUT_S)
        finally:
            child.ask_to_stop()
            child.end(STOP_TIMEOUT_S)
            said = answer.read_text(errors="replace")
            answer.unlink()  # the seed's sign-ins are in it
        if child.exit_code():
            raise StackError(f"`{name}` failed; the end of {log}:\n{tail(log)}")
        return _json_lines(said)

    def _start_program(self, name: Program) -> Child:
        argv = self._command(name)
        return start(name, argv, env=self.env(name), log=self._log(name), registry=self._registry)

    def _await_api(self, watched: list[_Watched]) -> None:
        def healthy() -> bool:
            for each in watched:
                self._check_alive(each.child)
            try:
                return client.get(f"{self.api_url}/healthz").status_code == 200
            except httpx.TransportError:
                return False

        with httpx.Client(timeout=2, trust_env=False) as client:
            wait_until(healthy, what=f"The api (its log: {self._log('api')})", timeout_s=HEALTHY_TIMEOUT_S)

    def _check_alive(self, child: Child) -> None:
        code = child.exit_code()
        if code is not None:
            log = self._log(child.name)
            raise StackError(f"{child.name} {_ending(code)} right away; the end of {log}:\n{tail(log)}")

    def _supervise(self) -> None:
        pause = threading.Event()
        while True:
            for each in self._watched:
                each.look(self._say, self._log(each.child.name))
            pause.wait(LOOK_EVERY_S)

    @property
    def api_url(self) -> str:
        """Where the api answers."""
        return f"http://{LOOPBACK}:{self.config.ports.api}"

    # -- small things -----------------------------------------------------------------------------------------

    def _watch(self, starter: Callable[[], Child]) -> _Watched:
        watched = _Watched(starter(), starter)
        self._watched.append(watched)
        return watched

    def _log(self, name: str) -> Path:
        return open_log(self._data / "logs" / f"{name}.log")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _announce(self, sign_ins: list[dict[str, Any]]) -> None:
        ports = self.config.ports
        self._say("")
        self._say("BuildPeer is up. Ctrl-C stops it.")
        if "api" in self.config.processes:
            self._say(f"  api       {self.api_url}")
        if "mail" in self.config.processes:
            self._say(f"  mails     http://{LOOPBACK}:{ports.mail}")
        self._say(f"  S3, SQS   {self.ministack.url}")
        self._say(f"  Postgres  {LOOPBACK}:{ports.postgres}, database buildpeer")
        self._say(f"  Valkey    {LOOPBACK}:{ports.valkey}")
        self._say(f"  logs      {self._data / 'logs'}")
        if sign_ins:
            table = Table(box=None, pad_edge=False, title_justify="left", title="\nTo sign in")
            for column in sign_ins[0]:
                table.add_column(column, overflow="fold")
            for row in sign_ins:
                table.add_row(*(str(row.get(column, "")) for column in sign_ins[0]))
            self._console.print(table, markup=False, highlight=False)


_SETTINGS = Settings()
_SERVICES = ("postgres", "ministack", "valkey")
_PORT_NAMES = {
    "api": "the api",
    "postgres": "Postgres",
    "s3": "S3 (ministack)",
    "valkey": "Valkey",
    "smtp": "the mail catcher",
    "mail": "the page of mails",
}


def _port_setting(field: str) -> str:
    return f"{PREFIX}{field.upper()}_PORT"


def _prefixed(**settings: str | int) -> dict[str, str]:
    return {f"{PREFIX}{name.upper()}": str(value) for name, value in settings.items()}


def _ending(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def _json_lines(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in text.splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            row = json.loads(line)
            if isinstance(row, dict):
                found.append(row)
    return found
