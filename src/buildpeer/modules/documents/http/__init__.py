"""Doors for documents: a file for each kind of thing."""

from buildpeer.modules.documents.http.documents import DocumentsController

__all__ = ["DocumentsController"]
