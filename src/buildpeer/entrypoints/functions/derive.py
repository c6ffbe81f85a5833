"""The function derive: a clean verdict in, pictures into the derived bucket, "File Derived" out."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from buildpeer import facts
from buildpeer.entrypoints.functions.aws import Fetched, aws
from buildpeer.entrypoints.functions.batch import Event, Location, UnknownEventError, run_batch
from buildpeer.processing.derive import PREVIEW, THUMBNAIL, Derived, Deriver, Picture
from buildpeer.processing.identify import content_type_of
from buildpeer.wiring import DERIVE


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Derive what an SQS batch of clean verdicts names; Lambda's entry."""
    aws()  # before the first line is logged
    return run_batch(DERIVE.name, event, derive)


def derive(event: Event, location: Location) -> str:
    """Make one version's pictures, announce what it is, and return the outcome; twice gives the same twice.

    A verdict other than clean is left alone. Raises GoneError, UnknownEventError, ChildStartError, and what
    S3 and the bus raise.
    """
    if location.clean is None:
        raise UnknownEventError(event.detail_type)
    if not location.clean:
        return "not_clean"
    with tempfile.TemporaryDirectory(prefix="buildpeer-derive-") as folder:
        path = Path(folder, "file")
        fetched = aws().fetch(location, path)
        content_type = content_type_of(path)
        derived = _deriver().derive(path, content_type=content_type, folder=Path(folder))
        fact = _keep(fetched, content_type, derived, Path(folder))
    aws().announce(fact, source=facts.SOURCE_DERIVE, detail_type=facts.FILE_DERIVED)
    return derived.reason or "derived"


def _keep(fetched: Fetched, content_type: str, derived: Derived, folder: Path) -> facts.FileDerived:
    return facts.FileDerived(
        bucket=fetched.bucket,
        object=fetched.object,
        sha256=fetched.sha256,
        content_type=content_type,
        media=derived.media,
        thumbnail=_keep_picture(fetched.object, derived.thumbnail, folder / THUMBNAIL),
        preview=_keep_picture(fetched.object, derived.preview, folder / PREVIEW),
        reason=derived.reason,
    )


def _keep_picture(original: facts.Object, picture: Picture | None, path: Path) -> facts.Rendition | None:
    if picture is None:
        return None
    key = f"{original.key}/{original.version_id or 'null'}/{path.name}"
    aws().keep_picture(path, key=key)
    return facts.Rendition(
        bucket=aws().settings.derived_bucket,
        key=key,
        width=picture.width,
        height=picture.height,
        size=picture.size,
    )


@cache
def _deriver() -> Deriver:
    return Deriver(timeout_s=(DERIVE.timeout_s - 10) / DERIVE.batch)  # a whole batch fits into one invocation
