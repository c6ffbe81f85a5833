"""What operators can do with a tenant: one verb, one function."""

from buildpeer.modules.tenants.service.checking import Checked, check_export
from buildpeer.modules.tenants.service.erasing import (
    Buckets,
    Report,
    certificate_file,
    certified,
    doomed,
    erase,
)
from buildpeer.modules.tenants.service.exporting import TRAIL, Exported, Manifest, export
from buildpeer.modules.tenants.service.living import (
    Created,
    InviteOwner,
    create,
    find,
    limit,
    list_all,
    resume,
    suspend,
)

__all__ = [
    "TRAIL",
    "Buckets",
    "Checked",
    "Created",
    "Exported",
    "InviteOwner",
    "Manifest",
    "Report",
    "certificate_file",
    "certified",
    "check_export",
    "create",
    "doomed",
    "erase",
    "export",
    "find",
    "limit",
    "list_all",
    "resume",
    "suspend",
]
