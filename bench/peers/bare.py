"""What is made of a file by the bare library calls, as a script would: `python -m bench.peers.bare FORMAT LIST FOLDER`.

No child that may crash, no limits, no EXIF, no checks of what was made. Prints CPU and wall seconds as JSON.
"""

import io
import json
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pi_heif
import pypdfium2 as pdfium
import pyvips
from PIL import AvifImagePlugin, Image

pyvips.cache_set_max(0)
pi_heif.options.DECODE_THREADS = 1
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def _save(preview: pyvips.Image, folder: Path) -> None:
    preview.webpsave(str(folder / "preview.webp"), Q=80, effort=2, keep=0)
    thumbnail = preview.thumbnail_image(400, height=400, size="down")
    thumbnail.webpsave(str(folder / "thumbnail.webp"), Q=75, effort=2, keep=0)


def picture(path: Path, folder: Path) -> None:
    """A picture that libvips reads."""
    _save(pyvips.Image.thumbnail(str(path), 1600, height=1600, size="down").copy_memory(), folder)


def _pixels(data: bytes, size: tuple[int, int], bands: int) -> pyvips.Image:
    return pyvips.Image.new_from_memory(data, *size, bands, "uchar").copy(interpretation="srgb")


def avif(path: Path, folder: Path) -> None:
    """AVIF by Pillow."""
    image = Image.open(path)
    pixels = _pixels(image.tobytes(), image.size, len(image.mode))
    _save(pixels.thumbnail_image(1600, height=1600, size="down").copy_memory(), folder)


def heic(path: Path, folder: Path) -> None:
    """HEIC by libheif."""
    image = pi_heif.open_heif(path)
    pixels = _pixels(bytes(image.data or b""), image.size, len(image.mode))
    _save(pixels.thumbnail_image(1600, height=1600, size="down").copy_memory(), folder)


def _page(document: pdfium.PdfDocument, longest_px: int) -> pyvips.Image:
    page = document[0]
    bitmap = page.render(scale=longest_px / max(page.get_size()), rev_byteorder=True)
    shape = (bitmap.stride // bitmap.n_channels, bitmap.height)
    return _pixels(bytes(bitmap.buffer), shape, bitmap.n_channels).crop(0, 0, bitmap.width, bitmap.height).copy_memory()


def pdf(path: Path, folder: Path) -> None:
    """The first page of a PDF, and the words of all."""
    with pdfium.PdfDocument(path) as document:
        _save(_page(document, 1600), folder)
        _ = [page.get_textpage().get_text_bounded() for page in document]


def tiles(path: Path, folder: Path) -> None:
    """A PDF's first page as a picture and as a pyramid of tiles."""
    with pdfium.PdfDocument(path) as document:
        image = _page(document, 8192)
    image.thumbnail_image(1600, height=1600).webpsave(str(folder / "page.webp"), Q=80, effort=2, keep=0)
    name = str(folder / f"tiles-{time.monotonic_ns()}.zip")
    image.dzsave(name, container="zip", layout="google", tile_size=512, suffix=".jpg[Q=75]", background=[255])
    Path(name).unlink()


def office(path: Path, _folder: Path) -> None:
    """The words of a Word file."""
    with zipfile.ZipFile(path) as archive:
        tree = ET.parse(io.BytesIO(archive.read("word/document.xml")))  # our own file
    _ = " ".join(element.text or "" for element in tree.iter() if element.tag.endswith("}t"))


def listing(path: Path, _folder: Path) -> None:
    """What a ZIP holds."""
    with zipfile.ZipFile(path) as archive:
        _ = [(each.filename, each.file_size) for each in archive.infolist()]


WAYS: dict[str, Callable[[Path, Path], None]] = {
    "jpeg": picture,
    "png": picture,
    "webp": picture,
    "tiff": picture,
    "avif": avif,
    "heic": heic,
    "report": pdf,
    "plan": pdf,
    "plan_tiles": tiles,
    "word": office,
    "zip": listing,
}


def main() -> None:
    """Print what it took, after one file to warm up."""
    way, files, folder = WAYS[sys.argv[1]], json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
    way(Path(files[0]), folder)
    cpu, wall = time.process_time(), time.monotonic()
    for file in files:
        way(Path(file), folder)
    print(json.dumps({"cpu_s": time.process_time() - cpu, "wall_s": time.monotonic() - wall}))


if __name__ == "__main__":
    main()
