"""The door of the child process that reads untrusted files (see `derive`): each goes to the module for its type."""

import importlib
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from buildpeer.facts import PageMade
from buildpeer.processing.derive import READERS, Derived, Request

Render = Callable[..., Derived]
RenderPage = Callable[..., PageMade]

logging.getLogger("ezdxf").setLevel(logging.CRITICAL)  # it complains of every flaw of a file


def answer(request: bytes) -> bytes:
    """A Request to a Derived, or for a page to a PageMade, in JSON, which keeps a time's zone.

    May raise, crash, hang, or fill the memory.
    """
    asked = msgspec.json.decode(request, type=Request)
    # a reader is loaded with its first file, so a child that sees only photos stays small
    reader = importlib.import_module(f"buildpeer.processing.{READERS[asked.content_type]}")
    path, folder = Path(asked.path), Path(asked.folder)
    if asked.page:
        page: RenderPage = reader.page
        return msgspec.json.encode(page(path, content_type=asked.content_type, folder=folder, number=asked.page))
    render: Render = reader.render
    return msgspec.json.encode(render(path, content_type=asked.content_type, folder=folder))
