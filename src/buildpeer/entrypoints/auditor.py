"""`buildpeer audit`: recompute a trail, or check an exported bundle, and say each thing that is wrong."""

from pathlib import Path
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from buildpeer.modules.audit import service
from buildpeer.modules.audit.service import Finding
from buildpeer.platform import clock
from buildpeer.platform.config import Settings
from buildpeer.platform.db import Database
from buildpeer.platform.signing import SignatureError, public_keys
from buildpeer.platform.storage import Storage

OWNER = "buildpeer_audit"


async def verify(settings: Settings, tenant_id: UUID) -> bool:
    """Print what is not as it was sealed, with a bar meanwhile; True if nothing is."""
    db = await Database.connect(settings.admin_database_url, size=1, role=OWNER)
    storage = Storage(settings, now=clock.now, threads=1)
    told = 0
    try:
        seals = await service.published(storage, bucket=settings.audit_bucket, tenant_id=tenant_id)
        with _bar() as bar:
            task = bar.add_task("entries", total=None)

            def progress(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            async for finding in service.verify(db, seals, tenant_id=tenant_id, now=clock.now(), progress=progress):
                _say(_sentence(finding))
                told += 1
        erased = await service.erased_since(db, tenant_id=tenant_id)
    finally:
        storage.close()
        await db.close()
    if erased is not None:
        _say(f"The company was erased ({erased:%Y-%m-%d}): of its trail only the chain of seals is left.")
    _say(
        f"{told} problems"
        if told
        else f"The trail is as it was sealed; seals in the second place that agree: {len(seals)}."
    )
    return not told


def check(bundle: Path, public_key: Path | None) -> bool:
    """Print what a bundle is and what is wrong with it; True if nothing is."""
    try:
        keys = public_keys(public_key.read_bytes()) if public_key else None
    except SignatureError as exc:
        _say(str(exc))
        return False
    found = service.check_bundle(bundle.read_bytes(), keys)
    for problem in found.problems:
        _say(problem)
    if found.problems:
        _say(f"{len(found.problems)} problems")
        return False
    _say(
        f"{found.entries} entries of {found.tenant_id} in {found.batches} batches, exported {found.exported_at}, "
        "are as they were signed."
    )
    if not found.trusted:
        _say("Who signed is not known: give --public-key, from GET /v1/audit/keys, to know.")
    return True


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _sentence(finding: Finding) -> str:
    at = f", made {finding.at:%Y-%m-%d %H:%M:%S.%f} UTC" if finding.at else ""
    return f"{finding.what} {finding.number} {finding.problem}{at}"


def _say(text: str) -> None:
    Console(soft_wrap=True).print(text, markup=False, highlight=False)
