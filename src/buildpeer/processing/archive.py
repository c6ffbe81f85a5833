"""Lists untrusted ZIP archives; runs in a child process only (see `derive`).

Only the list at the archive's end is read. A name in it is something to show: no file is ever made of it.
"""

import zipfile
import zlib
from pathlib import Path

from buildpeer.facts import Media, Member
from buildpeer.processing.derive import ARCHIVE_DAMAGED, NO_PREVIEW, Derived, searchable, shown

MAX_MEMBERS = 100
# whatever zipfile raises over a file that is none, or is damaged, encrypted, or packed in a way it doesn't know
ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
)


def render(path: Path, *, content_type: str, folder: Path) -> Derived:
    """See Deriver.derive; may crash, hang, or fill the memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            files = [each for each in archive.infolist() if not each.is_dir()]
    except ZIP_FAULTS:
        return Derived(reason=ARCHIVE_DAMAGED)
    members = [Member(shown(each.filename), each.file_size) for each in files[:MAX_MEMBERS]]
    return Derived(
        media=Media(members=members, member_count=len(files)),
        reason=NO_PREVIEW,
        text=searchable(" ".join(each.filename for each in files)),
    )
