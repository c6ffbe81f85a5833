"""A way back from a false alarm: what an operator wants released is scanned once more, and the answer decides."""

import msgspec

from buildpeer import facts as f
from buildpeer import wiring
from buildpeer.modules.uploads import store
from buildpeer.modules.uploads.store import Suspect
from buildpeer.platform.db import Database
from buildpeer.platform.messaging import SQS_BATCH, Queues


async def ask_scanner(db: Database, queues: Queues) -> int:
    """Ask for what operators want released to be scanned again; returns how many it was.

    Whatever is lost on the way is asked for again after ten minutes. The order's id travels with the question and comes
    back with the answer, so no older verdict can pass for it.
    """
    due = await store.due_releases(db, SQS_BATCH)
    if due:
        queue = wiring.queue_name(wiring.SCAN, "live")
        await queues.send(queue, [msgspec.json.encode(_question(each)).decode() for each in due])
    return len(due)


def _question(suspect: Suspect) -> dict[str, object]:
    thing = f.Object(suspect.key, suspect.size_bytes, version_id=suspect.version_id)
    wanted = f.RescanWanted(f.Bucket(suspect.bucket), thing, str(suspect.release_id))
    return f.event(f.SOURCE_UPLOADS, f.RESCAN_WANTED, wanted)
