"""The door of the child process that reads untrusted files (see `derive`): each goes to the module for its type."""

import importlib
import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from buildpeer.facts import OverlayMade, PageMade
from buildpeer.processing.derive import READERS, Derived, Request

Render = Callable[..., Derived]

logging.getLogger("ezdxf").setLevel(logging.CRITICAL)  # it complains of every flaw of a file


def answer(request: bytes) -> bytes:
    """A Request to what it wants, in JSON, which keeps a time's zone.

    May raise, crash, hang, or fill the memory.
    """
    asked = msgspec.json.decode(request, type=Request)
    match asked.wants:
        case "sheets":
            return msgspec.json.encode(_module(READERS[asked.content_type]).sheets(Path(asked.path)))
        case "page":
            return msgspec.json.encode(_page(asked))
        case "overlay":
            return msgspec.json.encode(_overlay(asked))
        case "file":
            render: Render = _module(READERS[asked.content_type]).render
            path, folder = Path(asked.path), Path(asked.folder)
            return msgspec.json.encode(render(path, content_type=asked.content_type, folder=folder))


def _page(asked: Request) -> PageMade:
    tiles = _module("tiles")
    looked = _look(asked, most_px=tiles.MAX_PX)
    return PageMade(reason=looked) if isinstance(looked, str) else tiles.keep_page(looked.image, Path(asked.folder))


def _overlay(asked: Request) -> OverlayMade:
    overlay = _module("overlay")
    looked = [_look(each, most_px=overlay.OVERLAY_PX) for each in (asked, asked.older) if each is not None]
    reason = next((each for each in looked if isinstance(each, str)), "")
    return OverlayMade(reason=reason) if reason else overlay.keep_overlay(*looked, Path(asked.folder))


def _look(asked: Request, *, most_px: int) -> Any:
    look: Callable[..., Any] = _module(READERS[asked.content_type]).look
    return look(Path(asked.path), content_type=asked.content_type, number=asked.page, most_px=most_px)


def _module(name: str) -> ModuleType:
    """A module is loaded when a file first needs it, so a child that sees only photos stays small."""
    return importlib.import_module(f"buildpeer.processing.{name}")
