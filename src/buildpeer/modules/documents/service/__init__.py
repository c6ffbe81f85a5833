"""What people can do with documents: one verb, one function."""

from buildpeer.modules.documents.service.documents import (
    Page,
    RenditionName,
    download,
    erase,
    get_document,
    list_documents,
    look_at,
)

__all__ = [
    "Page",
    "RenditionName",
    "download",
    "erase",
    "get_document",
    "list_documents",
    "look_at",
]
