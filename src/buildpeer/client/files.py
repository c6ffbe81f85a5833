"""What is on disk: which files a push means, what they are, and their bytes."""

import hashlib
import mimetypes
import os
import stat
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

Kind = Literal["plan", "photo", "report"]
KINDS: tuple[Kind, ...] = ("plan", "photo", "report")

_KINDS: dict[Kind, str] = {
    "plan": "pdf dwg dxf dgn dwf dwfx rvt ifc tif tiff svg",
    "photo": "jpg jpeg jfif png heic heif webp avif gif bmp dng",
}
_KIND_BY_SUFFIX: dict[str, Kind] = {
    f".{suffix}": kind for kind, suffixes in _KINDS.items() for suffix in suffixes.split()
}
_TYPES = mimetypes.MimeTypes()  # Python's own table: the machine's would differ from one to the next
for _type, _suffix in (
    ("image/heic", ".heic"),
    ("image/heif", ".heif"),
    ("image/avif", ".avif"),
    ("image/webp", ".webp"),
    ("image/vnd.dwg", ".dwg"),
    ("image/vnd.dxf", ".dxf"),
    ("application/x-step", ".ifc"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", ".docx"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xlsx"),
    ("application/vnd.openxmlformats-officedocument.presentationml.presentation", ".pptx"),
    ("application/vnd.oasis.opendocument.text", ".odt"),
    ("application/vnd.oasis.opendocument.spreadsheet", ".ods"),
):
    _TYPES.add_type(_type, _suffix)

_FIRST_PHOTOS = datetime(1990, 1, 1, tzinfo=UTC)
_LITTER = frozenset(("thumbs.db", "desktop.ini"))  # what Windows leaves in folders


class FileChangedError(Exception):
    """The file is not what it was when its hash was taken."""


class Found(msgspec.Struct, frozen=True):
    """A file that a push came upon; `problem` is why it won't be sent (a key of `messages`), or empty.

    `size` in bytes, `mtime_ns` as the file system gives it. `skipped` says that leaving it out is no failure.
    """

    path: Path
    size: int = 0
    mtime_ns: int = 0
    problem: str = ""
    skipped: bool = False


class Fingerprint(msgspec.Struct, frozen=True):
    """A file's content at one moment: SHA-256 in hex."""

    size: int
    mtime_ns: int
    sha256: str


def collect(paths: Iterable[Path]) -> list[Found]:
    """Every file meant by these files and folders: folders deep and sorted, each file once.

    Hidden and empty files are listed as skipped (a hidden one that was named itself is sent); what can't be
    read is listed with its problem.
    """
    found: dict[Path, Found] = {}
    for path in paths:
        for item in _inside(path) if path.is_dir() else [_look(path)]:
            found.setdefault(item.path.absolute(), item)
    return list(found.values())


def kind_of(path: Path) -> Kind:
    """The kind by the name's ending: drawings are plans, pictures photos, anything else a report."""
    return _KIND_BY_SUFFIX.get(path.suffix.lower(), "report")


def content_type_of(path: Path) -> str:
    """The media type by the name's ending."""
    return _TYPES.guess_type(f"x{path.suffix.lower()}")[0] or "application/octet-stream"


def fingerprint(path: Path) -> Fingerprint:
    """Read the file once; raises OSError. Blocks: call it in a thread."""
    with path.open("rb") as file:
        before = os.fstat(file.fileno())
        digest = hashlib.file_digest(file, "sha256")
        size = file.tell()
    return Fingerprint(size, before.st_mtime_ns, digest.hexdigest())


def written_at(file: Fingerprint, *, now: datetime) -> datetime | None:
    """When the file was written last, in this machine's zone: for a photo that was never touched, when it was taken.

    None for what can't be: before 1990 (what unpacks old archives writes 1980), or later than `now`.
    """
    seconds = file.mtime_ns // 1_000_000_000
    if not _FIRST_PHOTOS.timestamp() <= seconds <= now.timestamp():
        return None
    return datetime.fromtimestamp(seconds, UTC).astimezone()


def read_as(path: Path, wanted: Fingerprint, start: int, size: int) -> bytes:
    """`size` bytes of the file from `start` on. Blocks: call it in a thread.

    Raises FileChangedError when it is no longer the file wanted, OSError as open does.
    """
    with path.open("rb") as file:
        file.seek(start)
        block = file.read(size)
        now = os.fstat(file.fileno())  # only now: what was read before this is of the file wanted
    if (now.st_size, now.st_mtime_ns) != (wanted.size, wanted.mtime_ns) or len(block) != size:
        raise FileChangedError(path)
    return block


def readable(name: str) -> bool:
    """Whether a name is text at all: the file system may hold bytes that are not."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _inside(folder: Path) -> Iterator[Found]:
    broken: list[Found] = []

    def unreadable(error: OSError) -> None:
        broken.append(Found(Path(error.filename or folder), problem="problem.unreadable"))

    for where, folders, names in os.walk(folder, onerror=unreadable):
        for name in sorted(folders):
            if name.startswith("."):
                yield Found(Path(where, name), problem="problem.hidden_folder", skipped=True)
            elif Path(where, name).is_symlink():  # it may lead back here
                yield Found(Path(where, name), problem="problem.linked_folder", skipped=True)
        folders[:] = sorted(n for n in folders if not n.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            if _hidden(name):
                yield Found(path, problem="problem.hidden", skipped=True)
            else:
                yield _look(path)
    yield from broken


def _hidden(name: str) -> bool:
    return name.startswith((".", "~$")) or name.casefold() in _LITTER


def _look(path: Path) -> Found:
    problem, skipped, size, mtime_ns = "", False, 0, 0
    try:
        info = path.stat()
    except FileNotFoundError:
        problem = "problem.missing"
    except OSError:
        problem = "problem.unreadable"
    else:
        size, mtime_ns = info.st_size, info.st_mtime_ns
        if not stat.S_ISREG(info.st_mode):
            problem, skipped, size = "problem.not_a_file", True, 0
        elif not readable(path.name):
            problem = "problem.name"
        elif not size:
            problem, skipped = "problem.empty", True
    return Found(path, size, mtime_ns, problem, skipped)
