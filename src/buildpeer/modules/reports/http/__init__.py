"""Doors for reports: a file for each kind of thing."""

from buildpeer.modules.reports.http.bitacora import BitacorasController
from buildpeer.modules.reports.http.daily_logs import DailyLogsController
from buildpeer.modules.reports.http.entries import ConflictsController, DayEntriesController, EntriesController

CONTROLLERS = (
    DailyLogsController,
    DayEntriesController,
    EntriesController,
    ConflictsController,
    BitacorasController,
)
