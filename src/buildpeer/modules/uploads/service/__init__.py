"""What can be done with uploads: one verb, one function, one transaction."""

from buildpeer.modules.uploads.service.opening import Opened, cancel, list_uploads, open_uploads
from buildpeer.modules.uploads.service.receiving import PartUrl, complete, get_upload, received, sign_parts, sign_whole
from buildpeer.modules.uploads.service.settling import OnReady, learn
from buildpeer.modules.uploads.service.sweeping import Backlog, sweep

__all__ = [
    "Backlog",
    "OnReady",
    "Opened",
    "PartUrl",
    "cancel",
    "complete",
    "get_upload",
    "learn",
    "list_uploads",
    "open_uploads",
    "received",
    "sign_parts",
    "sign_whole",
    "sweep",
]
