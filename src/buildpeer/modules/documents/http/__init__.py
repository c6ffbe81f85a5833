"""Doors for documents: a file for each kind of thing."""

from buildpeer.modules.documents.http.documents import DocumentsController, ProjectDocumentsController
from buildpeer.modules.documents.http.folders import FoldersController
from buildpeer.modules.documents.http.photos import AlbumsController, PhotosController
from buildpeer.modules.documents.http.sharing import SharedController, ShareLinksController

__all__ = [
    "AlbumsController",
    "DocumentsController",
    "FoldersController",
    "PhotosController",
    "ProjectDocumentsController",
    "ShareLinksController",
    "SharedController",
]
