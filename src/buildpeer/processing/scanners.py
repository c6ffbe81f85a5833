"""Scanners for malware behind one port: embedded YARA-X rules, or a clamd somewhere.

What lies within an archive is unpacked under limits of ours by a child process without credentials (`unpacking`),
since whoever may say "clean" parses nothing. A scanner says "clean" only when it has looked at every byte. Whatever
it could not look at is "unscannable", with a reason; when the scanner itself can't be reached it raises
ScannerUnavailableError, since that says nothing of the file.
"""

import contextlib
import socket
import struct
import tempfile
import time
from collections.abc import Generator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import IO, Protocol

import msgspec
import yara_x

from buildpeer.facts import Verdict
from buildpeer.processing.children import Child, ChildCrashedError, ChildTimeoutError, Limits, minimal_env
from buildpeer.processing.identify import OLE, PDF, content_type_of, ends_as_zip
from buildpeer.processing.unpacking import CLOSED, UNPACKED, Request, Within

CHUNK = 64 * 1024

TOO_LARGE = "too_large_to_scan"
TIMED_OUT = "scan_timeout"
LIMITS = "scan_limits_exceeded"
FAILED = "scan_failed"

MEMORY_BYTES = 1024**3
FILES_PER_CHILD = 200

Source = Path | IO[bytes]


class ScannerUnavailableError(OSError):
    """The scanner can't be reached or hung up without an answer; the same file may be tried again later."""


class ScanOutcome(msgspec.Struct, frozen=True):
    """A verdict on one file.

    `reason` is the signature's name when infected, a snake_case code when unscannable, else empty; `scanner`
    names who said it.
    """

    verdict: Verdict
    scanner: str
    reason: str = ""


class Scanner(Protocol):
    """Whoever can look at a file."""

    def scan(self, source: Source) -> ScanOutcome:
        """Look at every byte of a file or of a binary stream (from where it stands).

        Raises ScannerUnavailableError when the scanner can't be reached, OSError when the file can't be read.
        """
        ...


def scanner_for(clamd: str, *, timeout_s: float = 50.0) -> "DeepScanner":
    """The scanner that the setting `clamd` asks for: its address, or nothing for the embedded one."""
    if clamd:
        return DeepScanner(ClamdScanner(clamd, timeout_s=timeout_s), timeout_s=timeout_s)
    return DeepScanner(YaraScanner(timeout_s=timeout_s), rules=_embedded_text(), timeout_s=timeout_s)


class DeepScanner:
    """Another scanner, and before it a look into archives, and with `rules` of YARA-X into PDFs too.

    The thread that scans first must outlive it (see Child).
    """

    name = "buildpeer"

    def __init__(self, scanner: Scanner, *, rules: str = "", timeout_s: float = 50.0) -> None:
        """`timeout_s` is for a file and all within; `rules` are for a scanner that looks into nothing itself."""
        self._scanner = scanner
        self._rules = rules
        self._timeout_s = timeout_s
        limits = Limits(memory_bytes=MEMORY_BYTES, cpu_s=timeout_s, network=False)
        target = "buildpeer.processing.unpacking:answer"
        self.child = Child(target, env=minimal_env(), limits=limits, max_calls=FILES_PER_CHILD)

    def scan(self, source: Source) -> ScanOutcome:
        """See Scanner.scan; raises ChildStartError too, when there is no child to look into an archive."""
        deadline = time.monotonic() + self._timeout_s
        with _as_path(source) as path:
            outcome = self._scanner.scan(path)
            if outcome.verdict == "infected" or not self._is_deep(path):
                return outcome
            within = self._look(path, max(1.0, deadline - time.monotonic()))
        if within.infected:
            return ScanOutcome("infected", outcome.scanner, within.infected)
        if within.reason and outcome.verdict == "clean":
            return ScanOutcome("unscannable", self.name, within.reason)
        return outcome

    def stop(self) -> None:
        """End the child."""
        self.child.stop()

    def _is_deep(self, path: Path) -> bool:
        kind = content_type_of(path)
        return kind in (OLE, *UNPACKED, *CLOSED) or (kind == PDF and bool(self._rules)) or ends_as_zip(path)

    def _look(self, path: Path, timeout_s: float) -> Within:
        with tempfile.TemporaryDirectory(prefix="buildpeer-within-") as folder:
            request = Request(str(path), folder, self._rules, int(timeout_s))
            try:
                answer = self.child.call(msgspec.json.encode(request), timeout_s=timeout_s)
                return msgspec.json.decode(answer, type=Within)
            except ChildTimeoutError:
                return Within(reason=TIMED_OUT)
            except (ChildCrashedError, msgspec.DecodeError):
                return Within(reason=FAILED)


class YaraScanner:
    """The embedded scanner.

    Knows the EICAR test file only, and needs nothing around it. For demos and tests.
    """

    name = "yara-x"

    def __init__(self, *, timeout_s: float = 50.0) -> None:
        self._timeout_s = max(1, int(timeout_s))

    def scan(self, source: Source) -> ScanOutcome:
        """See Scanner.scan; a file is mapped, not read into memory."""
        scanner = yara_x.Scanner(_embedded_rules())  # one scanner serves one thread, and costs next to nothing
        scanner.set_timeout(self._timeout_s)
        try:
            with _as_path(source) as path:
                # an empty file can't be mapped
                results = scanner.scan_file(str(path)) if path.stat().st_size else scanner.scan(b"")
        except yara_x.TimeoutError:
            return ScanOutcome("unscannable", self.name, TIMED_OUT)
        except yara_x.ScanError:
            return ScanOutcome("unscannable", self.name, FAILED)
        for rule in results.matching_rules:
            return ScanOutcome("infected", self.name, rule.identifier)
        return ScanOutcome("clean", self.name)


class ClamdScanner:
    """A clamd, spoken to by INSTREAM (https://docs.clamav.net/manual/Usage/Scanning.html#clamd), bytes
    streamed.

    clamd calls clean what its own limits made it skip inside an archive: set StreamMaxLength and MaxFileSize to 200M or
    more and MaxScanSize to 1000M, which no archive exceeds that DeepScanner lets through, and AlertExceedsMax on.
    """

    name = "clamav"

    def __init__(self, address: str, *, timeout_s: float = 50.0) -> None:
        """`address` is host:port or the path of a unix socket; `timeout_s` is for one whole scan."""
        self._address = address
        self._timeout_s = timeout_s

    def scan(self, source: Source) -> ScanOutcome:
        """See Scanner.scan; asks over a connection of its own, so threads may share one scanner."""
        deadline = time.monotonic() + self._timeout_s
        with _as_stream(source) as stream, self._connect() as sock:
            try:
                reply = _instream(sock, stream, deadline)
            except TimeoutError:
                return ScanOutcome("unscannable", self.name, TIMED_OUT)
        return self._read(reply)

    def _connect(self) -> socket.socket:
        timeout = min(5.0, self._timeout_s)
        try:
            if "/" in self._address:
                return _connect_unix(self._address, timeout)
            host, _, port = self._address.rpartition(":")
            return socket.create_connection((host.strip("[]"), int(port)), timeout=timeout)
        except OSError as exc:
            raise ScannerUnavailableError(f"No clamd at {self._address}: {exc}") from exc

    def _read(self, reply: str) -> ScanOutcome:
        if reply == "stream: OK":
            return ScanOutcome("clean", self.name)
        if reply.startswith("stream: ") and reply.endswith(" FOUND"):
            signature = reply.removeprefix("stream: ").removesuffix(" FOUND")
            if signature.startswith("Heuristics.Limits.Exceeded"):
                return ScanOutcome("unscannable", self.name, LIMITS)
            return ScanOutcome("infected", self.name, signature)
        too_large = "size limit exceeded" in reply
        return ScanOutcome("unscannable", self.name, TOO_LARGE if too_large else FAILED)


def _connect_unix(path: str, timeout: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


def _instream(sock: socket.socket, stream: IO[bytes], deadline: float) -> str:
    """Send the stream and return clamd's answer; raises TimeoutError or ScannerUnavailableError."""
    try:
        # clamd hangs up on what is over its limit; then its answer is there already, and says so
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            _send(sock, b"zINSTREAM\0", deadline)
            while chunk := stream.read(CHUNK):
                _send(sock, struct.pack("!I", len(chunk)) + chunk, deadline)
            _send(sock, struct.pack("!I", 0), deadline)
        reply = bytearray()
        while not reply.endswith(b"\0"):
            sock.settimeout(_left(deadline))
            data = sock.recv(4096)
            if not data:
                break
            reply += data
    except ConnectionError as exc:
        raise ScannerUnavailableError(f"clamd hung up: {exc}") from exc
    if not reply:
        raise ScannerUnavailableError("clamd hung up without an answer")
    return reply.rstrip(b"\0\n").decode("utf-8", "replace")


def _send(sock: socket.socket, data: bytes, deadline: float) -> None:
    sock.settimeout(_left(deadline))
    sock.sendall(data)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("The scan took too long")
    return left


@cache
def _embedded_rules() -> yara_x.Rules:
    return yara_x.compile(_embedded_text())


def _embedded_text() -> str:
    return files("buildpeer.processing").joinpath("eicar.yar").read_text()


@contextlib.contextmanager
def _as_stream(source: Source) -> Generator[IO[bytes]]:
    if isinstance(source, Path):
        with source.open("rb") as stream:
            yield stream
    else:
        yield source


@contextlib.contextmanager
def _as_path(source: Source) -> Generator[Path]:
    if isinstance(source, Path):
        yield source
        return
    with tempfile.NamedTemporaryFile(prefix="buildpeer-scan-") as spool:
        while chunk := source.read(CHUNK):
            spool.write(chunk)
        spool.flush()
        yield Path(spool.name)
