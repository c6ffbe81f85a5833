"""What can be done with uploads: one verb, one function, one transaction."""

from buildpeer.modules.uploads.service.joining import part_assembled
from buildpeer.modules.uploads.service.opening import Opened, cancel, list_uploads, open_uploads
from buildpeer.modules.uploads.service.receiving import (
    ChunkUrl,
    PartUrl,
    complete,
    get_upload,
    received,
    sign_pieces,
    sign_whole,
)
from buildpeer.modules.uploads.service.settling import OnReady, learn
from buildpeer.modules.uploads.service.sweeping import Backlog, sweep

__all__ = [
    "Backlog",
    "ChunkUrl",
    "OnReady",
    "Opened",
    "PartUrl",
    "cancel",
    "complete",
    "get_upload",
    "learn",
    "list_uploads",
    "open_uploads",
    "part_assembled",
    "received",
    "sign_pieces",
    "sign_whole",
    "sweep",
]
