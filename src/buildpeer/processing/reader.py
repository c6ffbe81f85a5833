"""The door of the child process that reads untrusted files (see `derive`): each goes to the module for its type."""

import importlib
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from buildpeer.processing.derive import READERS, Derived, Request

Render = Callable[..., Derived]

logging.getLogger("ezdxf").setLevel(logging.CRITICAL)  # it complains of every flaw of a file


def answer(request: bytes) -> bytes:
    """A Request to a Derived, in JSON, which keeps a time's zone; may raise, crash, hang, or fill the memory."""
    asked = msgspec.json.decode(request, type=Request)
    # a reader is loaded with its first file, so a child that sees only photos stays small
    render: Render = importlib.import_module(f"buildpeer.processing.{READERS[asked.content_type]}").render
    derived = render(Path(asked.path), content_type=asked.content_type, folder=Path(asked.folder))
    return msgspec.json.encode(derived)
