"""The function derive: a clean verdict in, pictures into the derived bucket, "File Derived" out.

Or "Derive Wanted" in, for the same once more.
Or "Page Wanted", "Sheets Wanted" or "Overlay Wanted" in, what is wanted into the derived bucket, and at last the word
that it is there.
"""

import hashlib
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from buildpeer import facts
from buildpeer.entrypoints.functions.aws import Fetched, aws
from buildpeer.entrypoints.functions.batch import Event, Location, UnknownEventError, run_batch
from buildpeer.processing.derive import PAGE, PREVIEW, THUMBNAIL, TILES, Derived, Deriver, FilePage, Made, Picture
from buildpeer.processing.identify import PMTILES, WEBP, content_type_of, icon_of
from buildpeer.wiring import DERIVE


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Derive what an SQS batch of clean verdicts names; Lambda's entry."""
    aws()  # before the first line is logged
    return run_batch(DERIVE.name, event, derive)


def derive(event: Event, location: Location) -> str:
    """Make one version's pictures, announce what it is, and return the outcome; twice gives the same twice.

    Or what somebody wants of it, which is announced to nobody. A verdict other than clean is left alone.
    Raises GoneError, UnknownEventError, ChildStartError, and what S3 and the bus raise.
    """
    if event.detail_type in _WANTED:
        return _WANTED[event.detail_type](event, location)
    if location.clean is None:
        raise UnknownEventError(event.detail_type)
    if not location.clean:
        return "not_clean"
    with tempfile.TemporaryDirectory(prefix="buildpeer-derive-") as folder:
        path, digest = Path(folder, "file"), hashlib.sha256()
        fetched = aws().fetch(location, path, read=digest.update)
        content_type = content_type_of(path)
        derived = _deriver().derive(path, content_type=content_type, folder=Path(folder))
        fact = _keep(fetched, content_type, derived, Path(folder), sha256=digest.hexdigest(), renews=_renews(event))
    aws().announce(fact, source=facts.SOURCE_DERIVE, detail_type=facts.FILE_DERIVED)
    return derived.reason or "derived"


def make_page(event: Event, location: Location) -> str:
    """Make what is wanted of one page, once, and return the outcome; what says so is written when all is there.

    Raises GoneError, UnknownEventError, ChildStartError, and what S3 raises.
    """
    number = msgspec.json.decode(event.detail, type=facts.PageWanted).page
    _check(location, number)

    def key(ending: str) -> str:
        return facts.page_key(location.key, location.version_id, number, ending)

    def make(folder: Path) -> facts.PageMade:
        page = _fetch_page(location, number, folder / "file")
        return _deriver().page(page.path, content_type=page.content_type, folder=folder, number=number)

    return _make_once(key, make) or "page"


def read_sheets(event: Event, location: Location) -> str:
    """Read what the sheets of a file say, once, and return the outcome. Raises as `make_page` does."""
    _check(location)

    def key(_ending: str) -> str:
        return facts.sheets_key(location.key, location.version_id)

    def make(folder: Path) -> facts.SheetsRead:
        path = folder / "file"
        aws().fetch(location, path)
        return _deriver().sheets(path, content_type=content_type_of(path))

    return _make_once(key, make) or "sheets"


def lay_over(event: Event, location: Location) -> str:
    """Lay a page over an older one, once, and return the outcome. Raises as `make_page` does."""
    wanted = msgspec.json.decode(event.detail, type=facts.OverlayWanted)
    _check(location, wanted.page, wanted.older_page)
    below = Location(location.bucket, wanted.older.key, wanted.older.version_id, "", wanted.older.size)

    def key(ending: str) -> str:
        older = (below.key, below.version_id, wanted.older_page)
        return facts.overlay_key(location.key, location.version_id, wanted.page, older=older, ending=ending)

    def make(folder: Path) -> facts.OverlayMade:
        newer = _fetch_page(location, wanted.page, folder / "newer")
        older = _fetch_page(below, wanted.older_page, folder / "older")
        return _deriver().overlay(newer, older, folder=folder)

    return _make_once(key, make) or "overlay"


def _check(location: Location, *pages: int) -> None:
    if any(page < 1 for page in pages) or location.bucket != aws().settings.uploads_bucket:
        raise UnknownEventError(f"pages {pages} in {location.bucket}")


def _fetch_page(location: Location, number: int, to: Path) -> FilePage:
    aws().fetch(location, to)
    return FilePage(to, content_type_of(to), number)


def _make_once(key: Callable[[str], str], make: Callable[[Path], Made]) -> str:
    """Keep what is made under keys by their endings, the word of it last; returns the reason why there is less."""
    if aws().size_of(aws().settings.derived_bucket, key("json")) is not None:
        return "there"
    with tempfile.TemporaryDirectory(prefix="buildpeer-derive-") as name:
        folder = Path(name)
        made, told = make(folder), folder / "told.json"
        if not isinstance(made, facts.SheetsRead):
            if made.picture:
                aws().keep(folder / PAGE, key=key("webp"), content_type=WEBP)
            if made.tiles:
                aws().keep(folder / TILES, key=key("pmtiles"), content_type=PMTILES)
        told.write_bytes(msgspec.json.encode(made))
        aws().keep(told, key=key("json"), content_type="application/json")
    return made.reason


def _renews(event: Event) -> facts.Renewal | Literal[""]:
    wanted = event.detail_type == facts.DERIVE_WANTED
    return msgspec.json.decode(event.detail, type=facts.DeriveWanted).renews if wanted else ""


def _keep(
    fetched: Fetched,
    content_type: str,
    derived: Derived,
    folder: Path,
    *,
    sha256: str,
    renews: facts.Renewal | Literal[""],
) -> facts.FileDerived:
    return facts.FileDerived(
        bucket=fetched.bucket,
        object=fetched.object,
        sha256=sha256,
        content_type=content_type,
        media=derived.media,
        thumbnail=_keep_picture(fetched.object, derived.thumbnail, folder / THUMBNAIL),
        preview=_keep_picture(fetched.object, derived.preview, folder / PREVIEW),
        reason=derived.reason,
        icon=icon_of(content_type),
        text=derived.text,
        renews=renews,
    )


def _keep_picture(original: facts.Object, picture: Picture | None, path: Path) -> facts.Rendition | None:
    if picture is None:
        return None
    key = f"{original.key}/{original.version_id or 'null'}/{path.name}"
    aws().keep(path, key=key, content_type=WEBP)
    return facts.Rendition(
        bucket=aws().settings.derived_bucket,
        key=key,
        width=picture.width,
        height=picture.height,
        size=picture.size,
    )


_WANTED = {facts.PAGE_WANTED: make_page, facts.SHEETS_WANTED: read_sheets, facts.OVERLAY_WANTED: lay_over}


@cache
def _deriver() -> Deriver:
    return Deriver(timeout_s=(DERIVE.timeout_s - 10) / DERIVE.batch)  # a whole batch fits into one invocation
