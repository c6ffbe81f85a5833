"""Doors for documents: a file for each kind of thing."""

from buildpeer.modules.documents.http.documents import DocumentsController, ProjectDocumentsController
from buildpeer.modules.documents.http.drawings import DrawingsController, ProjectDrawingsController
from buildpeer.modules.documents.http.filings import FilingsController, ProjectFilingsController
from buildpeer.modules.documents.http.folders import FoldersController
from buildpeer.modules.documents.http.photos import AlbumsController, PhotosController
from buildpeer.modules.documents.http.sharing import SharedController, ShareLinksController

__all__ = [
    "AlbumsController",
    "DocumentsController",
    "DrawingsController",
    "FilingsController",
    "FoldersController",
    "PhotosController",
    "ProjectDocumentsController",
    "ProjectDrawingsController",
    "ProjectFilingsController",
    "ShareLinksController",
    "SharedController",
]
