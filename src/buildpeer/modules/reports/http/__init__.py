"""Doors for reports: a file for each kind of thing."""

from buildpeer.modules.reports.http.bitacora import BitacorasController
from buildpeer.modules.reports.http.daily_logs import DailyLogsController
from buildpeer.modules.reports.http.entries import ConflictsController, DayEntriesController, EntriesController
from buildpeer.modules.reports.http.progress import ProgressController
from buildpeer.modules.reports.http.progress_reports import ProgressReportsController, ProjectReportsController

CONTROLLERS = (
    DailyLogsController,
    DayEntriesController,
    EntriesController,
    ConflictsController,
    BitacorasController,
    ProgressController,
    ProjectReportsController,
    ProgressReportsController,
)
