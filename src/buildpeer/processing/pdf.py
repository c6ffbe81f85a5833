"""Reads untrusted PDFs with PDFium; runs in a child process only (see `derive`).

PDFium reads the file piece by piece, so a plan of any size is welcome. It runs no scripts: they aren't built in.
"""

import ctypes
import time
from pathlib import Path

import msgspec
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c
import pyvips

from buildpeer.facts import Line, Media, Sheet, SheetsRead
from buildpeer.processing.derive import PDF_DAMAGED, PDF_ENCRYPTED, PREVIEW_PX, Derived, searchable, shown, tell
from buildpeer.processing.pictures import keep
from buildpeer.processing.tiles import Looked

MAX_SHEETS = 200
MAX_TEXT_PAGES = 1000
TEXT_S = 5.0
LARGE_MM = 400  # a sheet from A3 on is zoomed into
DPI = 200
MAX_LABEL = 30
SHEETS_S = 15.0
MAX_RUNS = 20_000  # of text on a sheet
MAX_LINES = 150  # of its title block, and whatever else stands there
MAX_LINE = 120
RIGHT_PART, LOWER_PART = 0.6, 0.7  # where title blocks are, from the top left corner
FINE = 100_000
MM_PER_POINT = 25.4 / 72
_ENCRYPTED = (pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY)


def render(path: Path, *, content_type: str, folder: Path) -> Derived:
    """See Deriver.derive; may crash, hang, or fill the memory."""
    media = Media()
    try:
        with pdfium.PdfDocument(path) as document:
            media = _media(document)
            tell(media, folder)
            derived = keep(_pixels(document, 1, PREVIEW_PX), media, folder)
            return msgspec.structs.replace(derived, text=_text(document))
    except pdfium.PdfiumError as exc:
        return Derived(media=media, reason=PDF_ENCRYPTED if exc.err_code in _ENCRYPTED else PDF_DAMAGED)
    except pyvips.Error:
        return Derived(media=media, reason=PDF_DAMAGED)


def look(path: Path, *, content_type: str, number: int, most_px: int) -> Looked | str:
    """A page, or why there is none; may crash, hang, or fill the memory."""
    try:
        with pdfium.PdfDocument(path) as document:
            size = _sheet(document, number - 1)
            wanted = min(most_px, round(max(size) / 25.4 * DPI)) if max(size) >= LARGE_MM else PREVIEW_PX
            return Looked(_pixels(document, number, wanted), size if min(size) else None)
    except (pdfium.PdfiumError, pyvips.Error):
        return PDF_DAMAGED


def sheets(path: Path) -> SheetsRead:
    """What the sheets say in their title blocks, as far as the time goes; may crash, hang, or fill the memory."""
    until, found = time.monotonic() + SHEETS_S, list[Sheet]()
    try:
        with pdfium.PdfDocument(path) as document:
            for page in range(min(len(document), MAX_TEXT_PAGES)):
                if time.monotonic() > until:
                    break
                found.append(_said(document, page))
    except pdfium.PdfiumError:
        return SheetsRead(reason=PDF_DAMAGED)
    return SheetsRead(found)


def _media(document: pdfium.PdfDocument) -> Media:
    pages, version = len(document), document.get_version()
    labels = [shown(document.get_page_label(page), most=MAX_LABEL) for page in range(min(pages, MAX_SHEETS))]
    return Media(
        pages=pages,
        sheet_sizes_mm=[_sheet(document, page) for page in range(min(pages, MAX_SHEETS))],
        page_labels=labels if any(labels) else None,
        format_version=f"PDF {version / 10:.1f}" if version else None,
        title=shown(document.get_metadata_value("Title")) or None,
        author=shown(document.get_metadata_value("Author")) or None,
    )


def _sheet(document: pdfium.PdfDocument, page: int) -> tuple[int, int]:
    try:
        width, height = document.get_page_size(page)
    except pdfium.PdfiumError:
        return 0, 0
    return round(width * MM_PER_POINT), round(height * MM_PER_POINT)


def _text(document: pdfium.PdfDocument) -> str:
    """The words of the pages, as far as the time goes; a page that can't be read has none."""
    until, texts = time.monotonic() + TEXT_S, list[str]()
    for number in range(min(len(document), MAX_TEXT_PAGES)):
        if time.monotonic() > until:
            break
        try:
            texts.append(document[number].get_textpage().get_text_bounded())
        except pdfium.PdfiumError:
            continue
    return searchable(" ".join(texts))


def _said(document: pdfium.PdfDocument, page: int) -> Sheet:
    label = shown(document.get_page_label(page), most=MAX_LABEL)
    try:
        sheet = document[page]
        words = sheet.get_textpage()
        boxes = [words.get_rect(place) for place in range(min(words.count_rects(), MAX_RUNS))]
        placed = ((box, _placed(sheet, box)) for box in boxes)
        near = sorted(((place, box) for box, place in placed if place[0] > RIGHT_PART or place[1] > LOWER_PART))
        lines = [
            Line(shown(words.get_text_bounded(*box), most=MAX_LINE), *(round(share, 4) for share in place))
            for place, box in near[:MAX_LINES]
        ]
    except pdfium.PdfiumError:
        return Sheet(label)
    return Sheet(label, sorted((line for line in lines if line.text), key=lambda line: (line.y, line.x)))


def _placed(sheet: pdfium.PdfPage, box: tuple[float, float, float, float]) -> tuple[float, float, float]:
    """Where a box is on the sheet as it is shown, turned or not, and how high it is; see Line."""
    left, bottom, right, top = box
    (x1, y1), (x2, y2) = (_shown_at(sheet, *corner) for corner in ((left, bottom), (right, top)))
    width, height = sheet.get_size()
    return min(x1, x2), (y1 + y2) / 2, abs(y1 - y2) * height / max(min(width, height), 1.0)


def _shown_at(sheet: pdfium.PdfPage, x: float, y: float) -> tuple[float, float]:
    across, down = ctypes.c_int(), ctypes.c_int()
    pdfium_c.FPDF_PageToDevice(sheet, 0, 0, FINE, FINE, 0, x, y, across, down)
    return across.value / FINE, down.value / FINE


def _pixels(document: pdfium.PdfDocument, number: int, longest_px: int) -> pyvips.Image:
    document.init_forms()  # what was filled into a form is part of the report
    sheet = document[number - 1]
    bitmap = sheet.render(scale=longest_px / max(*sheet.get_size(), 1.0), rev_byteorder=True)
    pixels = pyvips.Image.new_from_memory(
        bitmap.buffer, bitmap.stride // bitmap.n_channels, bitmap.height, bitmap.n_channels, "uchar"
    )
    return pixels.crop(0, 0, bitmap.width, bitmap.height).copy(interpretation="srgb").copy_memory()
