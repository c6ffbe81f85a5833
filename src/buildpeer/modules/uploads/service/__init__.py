"""What can be done with uploads: one verb, one function, one transaction."""

from buildpeer.modules.uploads.service.again import Asked, do_again
from buildpeer.modules.uploads.service.joining import part_assembled
from buildpeer.modules.uploads.service.linking import OnLinked
from buildpeer.modules.uploads.service.manifest import Claim, Judged, judge_manifest
from buildpeer.modules.uploads.service.opening import Opened, cancel, list_uploads, open_uploads, storage_of
from buildpeer.modules.uploads.service.orphans import (
    Buckets,
    Looked,
    Orphan,
    delete_erased,
    find_bytes_gone,
    find_orphans,
    reap,
)
from buildpeer.modules.uploads.service.progress import note_progress
from buildpeer.modules.uploads.service.receiving import (
    ChunkUrl,
    PartUrl,
    complete,
    get_upload,
    received,
    sign_pieces,
    sign_whole,
)
from buildpeer.modules.uploads.service.releasing import ask_scanner
from buildpeer.modules.uploads.service.settling import OnReady, Told, learn
from buildpeer.modules.uploads.service.sweeping import Backlog, sweep

__all__ = [
    "Asked",
    "Backlog",
    "Buckets",
    "ChunkUrl",
    "Claim",
    "Judged",
    "Looked",
    "OnLinked",
    "OnReady",
    "Opened",
    "Orphan",
    "PartUrl",
    "Told",
    "ask_scanner",
    "cancel",
    "complete",
    "delete_erased",
    "do_again",
    "find_bytes_gone",
    "find_orphans",
    "get_upload",
    "judge_manifest",
    "learn",
    "list_uploads",
    "note_progress",
    "open_uploads",
    "part_assembled",
    "reap",
    "received",
    "sign_pieces",
    "sign_whole",
    "storage_of",
    "sweep",
]
