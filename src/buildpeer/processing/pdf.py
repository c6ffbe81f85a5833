"""Reads untrusted PDFs with PDFium; runs in a child process only (see `derive`).

PDFium reads the file piece by piece, so a plan of any size is welcome. It runs no scripts: they aren't built in.
"""

from pathlib import Path

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c
import pyvips

from buildpeer.facts import Media
from buildpeer.processing.derive import PDF_DAMAGED, PDF_ENCRYPTED, Derived, tell
from buildpeer.processing.pictures import PREVIEW_PX, keep

MAX_SHEETS = 200
MM_PER_POINT = 25.4 / 72
_ENCRYPTED = (pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY)


def render(path: Path, *, content_type: str, folder: Path) -> Derived:
    """See Deriver.derive; may crash, hang, or fill the memory."""
    media = Media()
    try:
        with pdfium.PdfDocument(path) as document:
            media = _media(document)
            tell(media, folder)
            return keep(_first_page(document), media, folder)
    except pdfium.PdfiumError as exc:
        return Derived(media=media, reason=PDF_ENCRYPTED if exc.err_code in _ENCRYPTED else PDF_DAMAGED)
    except pyvips.Error:
        return Derived(media=media, reason=PDF_DAMAGED)


def _media(document: pdfium.PdfDocument) -> Media:
    pages, version = len(document), document.get_version()
    return Media(
        pages=pages,
        sheet_sizes_mm=[_sheet(document, page) for page in range(min(pages, MAX_SHEETS))],
        format_version=f"PDF {version / 10:.1f}" if version else None,
    )


def _sheet(document: pdfium.PdfDocument, page: int) -> tuple[int, int]:
    try:
        width, height = document.get_page_size(page)
    except pdfium.PdfiumError:
        return 0, 0
    return round(width * MM_PER_POINT), round(height * MM_PER_POINT)


def _first_page(document: pdfium.PdfDocument) -> pyvips.Image:
    document.init_forms()  # what was filled into a form is part of the report
    page = document[0]
    bitmap = page.render(scale=PREVIEW_PX / max(*page.get_size(), 1.0), rev_byteorder=True)
    pixels = pyvips.Image.new_from_memory(
        bytes(bitmap.buffer), bitmap.stride // bitmap.n_channels, bitmap.height, bitmap.n_channels, "uchar"
    )
    return pixels.crop(0, 0, bitmap.width, bitmap.height).copy(interpretation="srgb").copy_memory()
