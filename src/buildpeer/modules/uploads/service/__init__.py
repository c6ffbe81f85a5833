"""What can be done with uploads: one verb, one function, one transaction."""

from buildpeer.modules.uploads.service.linking import OnLinked
from buildpeer.modules.uploads.service.manifest import Claim, Judged, judge_manifest
from buildpeer.modules.uploads.service.opening import Opened, cancel, list_uploads, open_uploads
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
from buildpeer.modules.uploads.service.receiving import PartUrl, complete, get_upload, received, sign_parts, sign_whole
from buildpeer.modules.uploads.service.settling import OnReady, learn
from buildpeer.modules.uploads.service.sweeping import Backlog, sweep

__all__ = [
    "Backlog",
    "Buckets",
    "Claim",
    "Judged",
    "Looked",
    "OnLinked",
    "OnReady",
    "Opened",
    "Orphan",
    "PartUrl",
    "cancel",
    "complete",
    "delete_erased",
    "find_bytes_gone",
    "find_orphans",
    "get_upload",
    "judge_manifest",
    "learn",
    "list_uploads",
    "note_progress",
    "open_uploads",
    "reap",
    "received",
    "sign_parts",
    "sign_whole",
    "sweep",
]
