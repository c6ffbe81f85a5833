"""Doors for documents: a file for each kind of thing."""

from buildpeer.modules.documents.http.documents import DocumentsController
from buildpeer.modules.documents.http.drawings import DrawingsController, ProjectDrawingsController
from buildpeer.modules.documents.http.filings import FilingsController, ProjectFilingsController

__all__ = [
    "DocumentsController",
    "DrawingsController",
    "FilingsController",
    "ProjectDrawingsController",
    "ProjectFilingsController",
]
