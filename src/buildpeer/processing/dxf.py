"""Reads untrusted DXF drawings with ezdxf; runs in a child process only (see `derive`).

The model is drawn on white, as on paper, as an SVG of paths alone, which librsvg then turns into pixels. Nothing that a
drawing refers to is opened: no picture, no underlay, no plot style, no other drawing.
"""

import contextlib
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pyvips
from ezdxf import recover
from ezdxf.addons import acadctb
from ezdxf.addons.drawing.config import Configuration, ImagePolicy, LineweightPolicy
from ezdxf.addons.drawing.frontend import Frontend
from ezdxf.addons.drawing.layout import Margins, Page, Settings, Units
from ezdxf.addons.drawing.properties import LayoutProperties, Properties, RenderContext
from ezdxf.addons.drawing.svg import SVGBackend
from ezdxf.document import Drawing
from ezdxf.entities.dxfgfx import DXFGraphic
from ezdxf.filemanagement import readfile
from ezdxf.layouts.layout import Layout
from ezdxf.lldxf.const import DXFError
from ezdxf.math import BoundingBox2d

from buildpeer.facts import Media
from buildpeer.processing.derive import DRAWING_DAMAGED, DRAWING_EMPTY, DRAWING_TOO_COMPLEX, PREVIEW_PX, Derived, tell
from buildpeer.processing.identify import autocad_version
from buildpeer.processing.pictures import keep
from buildpeer.processing.tiles import Looked

MAX_BYTES = 48 * 1024 * 1024  # ezdxf holds some thirty times as much
MAX_ENTITIES = 100_000  # drawn ones: a block counts every time it's inserted
MAX_SVG_CHARS = 24_000_000
TIME_S = 15.0  # for ezdxf; librsvg takes a few more seconds for the longest SVG
HATCH_S = 2
SHEET_MM = 400
SVG_DPI = 72  # libvips's own
ZOOM_PX = 6400  # four times the preview
TAIL_BYTES = 1024
NARROWEST = 0.1  # of the longest side: a lone line is shown as a line, not as a row of pixels
FILLS = ("HATCH", "MPOLYGON", "SOLID", "TRACE", "WIPEOUT")
LIGHT = 0.7  # as luminance, of 1

_CONFIG = Configuration(
    lineweight_policy=LineweightPolicy.RELATIVE, image_policy=ImagePolicy.RECT, hatching_timeout=HATCH_S
)
_SETTINGS = Settings(max_stroke_width=0.0025, min_stroke_width=0.4)  # of the picture, and of that: 4 and 1.6 pixels


class _TooComplexError(BaseException):
    """A bound was met; ezdxf catches what is an Exception."""


def render(path: Path, *, content_type: str, folder: Path) -> Derived:
    """See Deriver.derive; may crash, hang, or fill the memory."""
    media = Media()
    if path.stat().st_size > MAX_BYTES:
        return Derived(reason=DRAWING_TOO_COMPLEX)
    try:
        with _time_limit(TIME_S):
            drawing = _read(path)
            media = Media(format_version=autocad_version(drawing.dxfversion))
            tell(media, folder)
            svg = _draw(drawing)
        return keep(_pixels(svg, PREVIEW_PX), media, folder) if svg else Derived(media=media, reason=DRAWING_EMPTY)
    except (_TooComplexError, MemoryError):
        return Derived(media=media, reason=DRAWING_TOO_COMPLEX)
    except Exception:  # ezdxf raises nearly anything over a drawing that makes no sense
        return Derived(media=media, reason=DRAWING_DAMAGED)


def look(path: Path, *, content_type: str, number: int, most_px: int) -> Looked | str:
    """A page, or why there is none; may crash, hang, or fill the memory."""
    try:
        with _time_limit(TIME_S):
            svg = _draw(_read(path))
        return Looked(_pixels(svg, min(ZOOM_PX, most_px)))
    except (_TooComplexError, MemoryError):
        return DRAWING_TOO_COMPLEX
    except Exception:  # as above
        return DRAWING_DAMAGED


class _Pen(Frontend):
    """Draws for white paper, and no more than it may."""

    drawn = 0

    def override_properties(self, entity: DXFGraphic, properties: Properties) -> None:
        """Count, and darken lines and letters that would be lost on white; ezdxf calls it for every entity."""
        self.drawn += 1
        if self.drawn > MAX_ENTITIES:
            raise _TooComplexError
        if entity.dxftype() not in FILLS:
            properties.color = _darkened(properties.color)


def _darkened(color: str) -> str:
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    if 0.2126 * red + 0.7152 * green + 0.0722 * blue <= LIGHT * 255:
        return color
    return f"#{red // 2:02x}{green // 2:02x}{blue // 2:02x}{color[7:]}"


def _is_whole(path: Path) -> bool:
    """Whether the file has its end; ezdxf would mend half a drawing, and show it."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        tail = file.read().rstrip(b"\0\x1a\r\n\t ")
    return tail.endswith((b"EOF", b"ENDSEC"))  # some write no EOF


def _read(path: Path) -> Drawing:
    if not _is_whole(path):
        raise DXFError("The end is missing")
    try:
        return readfile(path)
    except (DXFError, ValueError, LookupError):  # others wrote worse files, that CAD programs open all the same
        return recover.readfile(path)[0]


def _draw(drawing: Drawing) -> str:
    """The SVG of the model, or of the first sheet when there is none; empty when there is nothing at all."""
    # a plot style of our own, or else ezdxf opens the file that the drawing names
    context = RenderContext(drawing, ctb=acadctb.new_ctb())
    for layout in _layouts(drawing):
        backend = SVGBackend()
        paper = LayoutProperties.from_layout(layout)
        paper.set_colors("#ffffff")
        _Pen(context, backend, config=_CONFIG).draw_layout(layout, layout_properties=paper)
        box = backend.player().bbox()
        if box.has_data:
            return backend.get_string(_page(box), settings=_SETTINGS)
    return ""


def _page(box: BoundingBox2d) -> Page:
    longest = max(box.size.x, box.size.y) or 1.0
    width, height = (max(side / longest, NARROWEST) * SHEET_MM for side in (box.size.x, box.size.y))
    return Page(width, height, Units.mm, Margins.all(SHEET_MM / 100))


def _layouts(drawing: Drawing) -> Iterator[Layout]:
    yield drawing.modelspace()
    for name in drawing.layout_names_in_taborder():
        if name != "Model":
            yield drawing.paperspace(name)


def _pixels(svg: str, longest_px: int) -> pyvips.Image:
    if len(svg) > MAX_SVG_CHARS:
        raise _TooComplexError
    pyvips.operation_block_set("VipsForeignLoadSvg", False)
    try:
        scale = longest_px / (SHEET_MM / 25.4 * SVG_DPI)
        image = pyvips.Image.svgload_buffer(svg.encode(), unlimited=True, scale=scale).copy_memory()
        image = image.flatten(background=[255])
        return image.thumbnail_image(longest_px, height=longest_px, size="down").copy_memory()
    finally:
        pyvips.operation_block_set("VipsForeignLoadSvg", True)


@contextlib.contextmanager
def _time_limit(seconds: float) -> Generator[None]:
    def end(*_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 1.0)  # again, should something swallow it
        raise _TooComplexError

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _TooComplexError:  # which may have come just before the line above
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise
