"""Both scanners behind the port: what is a hit, what is not, and that nothing unseen is called clean."""

import io
import os
import random
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.processing import zoo

import buildpeer.processing
from buildpeer.processing.scanners import (
    ClamdScanner,
    ScannerUnavailableError,
    ScanOutcome,
    YaraScanner,
    scanner_for,
)

# in pieces, so that no scanner takes this file for the test file itself
EICAR = ("X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS" + "-TEST-FILE!$H+H*").encode()


def write(folder: Path, data: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("tail", [b"", b"\n", b"\r\n", b" \t\r\n\x1a", b" " * 60])
def test_eicar_is_found(tmp_path, tail):
    found = ScanOutcome("infected", "yara-x", "Eicar_Test_File")
    assert YaraScanner().scan(write(tmp_path, EICAR + tail)) == found
    assert YaraScanner().scan(io.BytesIO(EICAR + tail)) == found


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        EICAR[:-1],
        b" " + EICAR,
        EICAR + b"x",
        EICAR + b" " * 61,
        b"text before " + EICAR,
        os.urandom(100_000),
    ],
    ids=["empty", "text", "cut", "not at the start", "more behind", "too long", "inside", "random"],
)
def test_what_only_resembles_it_is_clean(tmp_path, data):
    assert YaraScanner().scan(write(tmp_path, data)) == ScanOutcome("clean", "yara-x")


def test_the_package_is_no_test_file_itself():
    for path in Path(buildpeer.processing.__file__).parent.rglob("*"):
        if path.is_file():
            assert EICAR not in path.read_bytes()


def test_a_missing_file_raises(tmp_path):
    with pytest.raises(OSError):
        YaraScanner().scan(tmp_path / "none")


@contextmanager
def fake_clamd(talk: Callable[[socket.socket], None], address: object = ("127.0.0.1", 0)) -> Iterator[str]:
    """A server that lets `talk` handle one connection after the other."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    server.bind(address)  # type: ignore[arg-type]
    server.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                talk(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        name = server.getsockname()
        yield name if isinstance(name, str) else f"127.0.0.1:{name[1]}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def read_stream(connection: socket.socket) -> bytes:
    """The bytes of one INSTREAM, by the protocol's own rules."""
    with connection.makefile("rb") as file:
        assert file.read(10) == b"zINSTREAM\0"
        data = b""
        while size := struct.unpack("!I", file.read(4))[0]:
            data += file.read(size)
        return data


def answering(reply: bytes, seen: list[bytes] | None = None) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        data = read_stream(connection)
        if seen is not None:
            seen.append(data)
        connection.sendall(reply)

    return talk


def test_clamd_gets_every_byte_over_tcp_and_unix(tmp_path):
    data = random.Random(1).randbytes(300_001)
    for address in [("127.0.0.1", 0), str(tmp_path / "clamd.sock")]:
        seen: list[bytes] = []
        with fake_clamd(answering(b"stream: OK\0", seen), address) as at:
            assert ClamdScanner(at).scan(write(tmp_path, data)) == ScanOutcome("clean", "clamav")
            assert ClamdScanner(at).scan(io.BytesIO(b"")).verdict == "clean"
        assert seen == [data, b""]


@pytest.mark.parametrize(
    ("reply", "verdict", "reason"),
    [
        (b"stream: Eicar-Test-Signature.UNOFFICIAL FOUND\0", "infected", "Eicar-Test-Signature.UNOFFICIAL"),
        (b"stream: Heuristics.Limits.Exceeded.MaxFiles FOUND\0", "unscannable", "scan_limits_exceeded"),
        (b"INSTREAM size limit exceeded. ERROR\0", "unscannable", "too_large_to_scan"),
        (b"stream: Can't allocate memory ERROR\0", "unscannable", "scan_failed"),
        (b"stream: OK", "clean", ""),
        (b"UNKNOWN COMMAND\0", "unscannable", "scan_failed"),
        (b"\0", "unscannable", "scan_failed"),
        (b"stream: OK\0stream: OK\0", "unscannable", "scan_failed"),
    ],
)
def test_clamd_answers(tmp_path, reply, verdict, reason):
    with fake_clamd(answering(reply)) as at:
        outcome = ClamdScanner(at).scan(write(tmp_path, b"data"))
    assert outcome == ScanOutcome(verdict, "clamav", reason)


def test_clamd_that_hangs_up_on_a_large_file_says_why(tmp_path):
    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"INSTREAM size limit exceeded. ERROR\0")

    with fake_clamd(talk) as at:
        outcome = ClamdScanner(at).scan(write(tmp_path, bytes(20_000_000)))
    assert outcome == ScanOutcome("unscannable", "clamav", "too_large_to_scan")


def test_clamd_that_is_silent_is_not_waited_for(tmp_path):
    done = threading.Event()
    with fake_clamd(lambda _: done.wait(10) and None) as at:
        started = time.monotonic()
        outcome = ClamdScanner(at, timeout_s=0.3).scan(write(tmp_path, b"data"))
        done.set()
    assert outcome == ScanOutcome("unscannable", "clamav", "scan_timeout") and time.monotonic() - started < 3


def test_clamd_that_drips_is_not_waited_for_either(tmp_path):
    done = threading.Event()

    def talk(connection: socket.socket) -> None:
        while not done.wait(0.05):
            try:
                connection.sendall(b"s")
            except OSError:
                return

    with fake_clamd(talk) as at:
        outcome = ClamdScanner(at, timeout_s=0.4).scan(write(tmp_path, b"data"))
        done.set()
    assert outcome.reason == "scan_timeout"


def test_no_clamd_says_nothing_of_the_file(tmp_path):
    path = write(tmp_path, b"data")
    with pytest.raises(ScannerUnavailableError):
        ClamdScanner(str(tmp_path / "none.sock")).scan(path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ScannerUnavailableError):
            ClamdScanner(f"127.0.0.1:{taken.getsockname()[1]}").scan(path)
    with fake_clamd(lambda _: None) as at, pytest.raises(ScannerUnavailableError):
        ClamdScanner(at).scan(path)


def test_the_setting_chooses():
    assert isinstance(scanner_for("")._scanner, YaraScanner)
    assert isinstance(scanner_for("127.0.0.1:3310")._scanner, ClamdScanner)


@pytest.fixture(scope="module")
def clamd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("clamd") or shutil.which("/usr/sbin/clamd")
    if not program:
        pytest.skip("clamd isn't installed")
    folder = tmp_path_factory.mktemp("clamd")
    database = folder / "db"
    database.mkdir()
    (database / "local.ndb").write_text(f"Eicar-Test-Signature:0:0:{EICAR.hex()}\n")
    address = folder / "clamd.sock"
    config = folder / "clamd.conf"
    config.write_text(
        f"Foreground yes\nDatabaseDirectory {database}\nLocalSocket {address}\nTemporaryDirectory {folder}\n"
        "StreamMaxLength 2M\nMaxFileSize 2M\nMaxScanSize 4M\nAlertExceedsMax yes\n"
        + ("User root\n" if os.getuid() == 0 else "")
    )
    process = subprocess.Popen([program, "-c", str(config)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 30
        while not address.exists():
            assert process.poll() is None and time.monotonic() < deadline, process.stdout.read()
            time.sleep(0.02)
        yield str(address)
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def test_real_clamd(tmp_path, clamd):
    scanner = ClamdScanner(clamd)
    assert scanner.scan(write(tmp_path, EICAR)) == ScanOutcome("infected", "clamav", "Eicar-Test-Signature.UNOFFICIAL")
    assert scanner.scan(write(tmp_path, b"fine")) == ScanOutcome("clean", "clamav")
    assert scanner.scan(write(tmp_path, b"")) == ScanOutcome("clean", "clamav")
    assert scanner.scan(write(tmp_path, os.urandom(1_500_000))).verdict == "clean"
    assert scanner.scan(write(tmp_path, bytes(30_000_000))).reason == "too_large_to_scan"


def test_real_clamd_never_passes_what_it_was_too_large_to_look_at(tmp_path, clamd):
    scanner = scanner_for(clamd)
    try:
        huge = write(tmp_path, zoo.zeros_zip(1100))
        assert scanner.scan(huge).verdict == "unscannable"
        for data, reason in (
            (zoo.zeros_zip(201), "archive_too_large"),
            (zoo.encrypted_zip(), "archive_encrypted"),
            (zoo.matryoshka(5), "archive_too_deep"),
        ):
            found = scanner.scan(write(tmp_path, data))
            # clamd is asked first, and may have a reason of its own
            assert found.verdict == "unscannable" and found.reason in (reason, "scan_limits_exceeded")
        for data in (zoo.packed(("a.com", EICAR)), zoo.deflated_pdf(EICAR)):
            assert scanner.scan(write(tmp_path, data)).verdict == "infected"
        assert scanner.scan(write(tmp_path, zoo.docx())).verdict == "clean"
    finally:
        scanner.stop()
