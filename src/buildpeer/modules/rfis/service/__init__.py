"""What is done with RFIs: one verb, one function, one transaction."""

from buildpeer.modules.rfis.service.acting import BulkChange, Outcome, Wanted, act, change_many, reply
from buildpeer.modules.rfis.service.drafting import NewRfi, RfiChanges, change, create
from buildpeer.modules.rfis.service.importing import IMPORT, NewRfiImport, import_rfis, order_import
from buildpeer.modules.rfis.service.keeping import Shown
from buildpeer.modules.rfis.service.logging import LOG, Format, LogWanted, order_log, write_log
from buildpeer.modules.rfis.service.reading import (
    CompanyDays,
    change_settings,
    court_days,
    get_rfi,
    get_settings,
    list_rfis,
    list_transitions,
)
from buildpeer.modules.rfis.service.reminding import remind

__all__ = [
    "IMPORT",
    "LOG",
    "BulkChange",
    "CompanyDays",
    "Format",
    "LogWanted",
    "NewRfi",
    "NewRfiImport",
    "Outcome",
    "RfiChanges",
    "Shown",
    "Wanted",
    "act",
    "change",
    "change_many",
    "change_settings",
    "court_days",
    "create",
    "get_rfi",
    "get_settings",
    "import_rfis",
    "list_rfis",
    "list_transitions",
    "order_import",
    "order_log",
    "remind",
    "reply",
    "write_log",
]
