"""What can be done with the trail: sealed, read, exported, verified."""

from buildpeer.modules.audit.service.checking import Checked, check_bundle
from buildpeer.modules.audit.service.exporting import Exported, begin_export, csv_export, json_export, whole_trail
from buildpeer.modules.audit.service.reading import Listed, list_entries
from buildpeer.modules.audit.service.sealing import keep_partitions, published, seal
from buildpeer.modules.audit.service.verifying import Finding, erased_since, verify

__all__ = [
    "Checked",
    "Exported",
    "Finding",
    "Listed",
    "begin_export",
    "check_bundle",
    "csv_export",
    "erased_since",
    "json_export",
    "keep_partitions",
    "list_entries",
    "published",
    "seal",
    "verify",
    "whole_trail",
]
