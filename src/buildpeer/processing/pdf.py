"""Reads untrusted PDFs with PDFium; runs in a child process only (see `derive`).

PDFium reads the file piece by piece, so a plan of any size is welcome. It runs no scripts: they aren't built in.
"""

import time
from pathlib import Path

import msgspec
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c
import pyvips

from buildpeer.facts import Media, PageMade
from buildpeer.processing.derive import PDF_DAMAGED, PDF_ENCRYPTED, PREVIEW_PX, Derived, searchable, shown, tell
from buildpeer.processing.pictures import keep
from buildpeer.processing.tiles import MAX_PX, keep_page

MAX_SHEETS = 200
MAX_TEXT_PAGES = 1000
TEXT_S = 5.0
LARGE_MM = 400  # a sheet from A3 on is zoomed into
DPI = 200
MAX_LABEL = 30
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


def page(path: Path, *, content_type: str, folder: Path, number: int) -> PageMade:
    """See Deriver.page; may crash, hang, or fill the memory."""
    try:
        with pdfium.PdfDocument(path) as document:
            longest = max(_sheet(document, number - 1))
            wanted = min(MAX_PX, round(longest / 25.4 * DPI)) if longest >= LARGE_MM else PREVIEW_PX
            return keep_page(_pixels(document, number, wanted), folder)
    except (pdfium.PdfiumError, pyvips.Error):
        return PageMade(reason=PDF_DAMAGED)


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


def _pixels(document: pdfium.PdfDocument, number: int, longest_px: int) -> pyvips.Image:
    document.init_forms()  # what was filled into a form is part of the report
    sheet = document[number - 1]
    bitmap = sheet.render(scale=longest_px / max(*sheet.get_size(), 1.0), rev_byteorder=True)
    pixels = pyvips.Image.new_from_memory(
        bitmap.buffer, bitmap.stride // bitmap.n_channels, bitmap.height, bitmap.n_channels, "uchar"
    )
    return pixels.crop(0, 0, bitmap.width, bitmap.height).copy(interpretation="srgb").copy_memory()
