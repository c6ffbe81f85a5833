"""Files as a kickoff brings them, made fast and the same for the same seed.

A few photos are encoded for real; all others are these with comments of their own, so each is valid, different, and
costs a decoder what a phone's photo costs. Reports and plans are PDFs of such photos, a sheet each, with drawn lines.
"""

import io
import random
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

from PIL import ExifTags, Image

MB = 1_000_000
BASES = 10
_WIDTH, _HEIGHT = 4000, 3000
_COMMENT_BYTES = 65_000


def make_files(folder: Path, count: int, *, seed: int, plan_mb: tuple[float, float] = (5, 45)) -> int:
    """Fill a folder with `count` files, 85 % photos, 10 % reports, 5 % plans; returns their bytes together."""
    dice = random.Random(seed)
    bases = [make_photo(dice, size=dice.uniform(2.0, 4.6) * MB) for _ in range(min(BASES, max(2, count // 8)))]
    small = make_photo(dice, size=90_000, width=1000, height=750)
    total = 0
    folder.mkdir()
    for number in range(count):
        match number % 20:
            case 0:
                name, content = f"plano {number:04d}.pdf", _plan(dice, bases, dice.uniform(*plan_mb) * MB)
            case 7 | 14:
                name, content = f"informe {number:04d}.pdf", _report(dice, small, dice.uniform(0.1, 2.0) * MB)
            case _:
                base = dice.choice(bases)
                name, content = f"IMG_{number:04d}.jpg", vary(base, dice, extra=dice.randrange(300_000))
        (folder / name).write_bytes(content)
        total += len(content)
    return total


def make_photo(dice: random.Random, *, size: float, width: int = _WIDTH, height: int = _HEIGHT) -> bytes:
    """A JPEG with EXIF of about `size` bytes: soft shapes, and as much fine grain as it takes."""
    shapes = Image.frombytes("RGB", (40, 30), dice.randbytes(3600)).resize((width, height), Image.Resampling.BICUBIC)
    grain = Image.frombytes("L", (512, 512), dice.randbytes(512 * 512))
    tiles = Image.new("L", (width, height))
    for left in range(0, width, 512):
        for top in range(0, height, 512):
            tiles.paste(grain, (left, top))
    noisy = Image.blend(shapes, Image.merge("RGB", (tiles, tiles, tiles)), 0.12)
    part = noisy.crop((0, 0, width // 4, height // 4))  # the grain is the same everywhere: one sixteenth tells
    low, high = 5, 95
    while high - low > 1:
        quality = (low + high) // 2
        low, high = (low, quality) if 16 * len(_encode(part, quality)) > size else (quality, high)
    return _encode(noisy, low)


def vary(photo: bytes, dice: random.Random, *, extra: int = 0) -> bytes:
    """The same picture as another file, longer by a few bytes and `extra` more, in JPEG comments."""
    comments = bytearray()
    left = extra + 16
    while left > 0:
        text = dice.randbytes(min(left, _COMMENT_BYTES))
        comments += b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text
        left -= len(text)
    return photo[:-2] + bytes(comments) + photo[-2:]  # before the end marker


def make_report(dice: random.Random, size: float) -> bytes:
    """A PDF of about `size` bytes, a photo with lines on each sheet of A4."""
    return _report(dice, make_photo(dice, size=90_000, width=1000, height=750), size)


def make_plan(dice: random.Random, photo: bytes, size: float) -> bytes:
    """A PDF of one sheet of A0 and about `size` bytes: the photo (of a site, 4 to 3) with lines drawn over it."""
    with Image.open(io.BytesIO(photo)) as image:
        pixels = image.size
    extra = max(0, round(size) - len(photo))
    return _pdf(dice, [vary(photo, dice, extra=extra)], pixels, (3370, 2384), lines=20_000)


def _encode(image: Image.Image, quality: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Bench"
    exif[ExifTags.Base.Model] = "Phone 12 MP"
    exif[ExifTags.Base.Orientation] = 1
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2026:03:04 10:20:30"
    place = exif.get_ifd(ExifTags.IFD.GPSInfo)
    place[ExifTags.GPS.GPSLatitudeRef], place[ExifTags.GPS.GPSLatitude] = "S", (33.0, 26.0, 15.0)
    place[ExifTags.GPS.GPSLongitudeRef], place[ExifTags.GPS.GPSLongitude] = "W", (70.0, 39.0, 2.0)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, exif=exif)
    return file.getvalue()


def _report(dice: random.Random, small: bytes, size: float) -> bytes:
    pages = max(1, round(size / len(small)))
    return _pdf(dice, [vary(small, dice) for _ in range(pages)], (1000, 750), (595, 842), lines=60)


def _plan(dice: random.Random, bases: Sequence[bytes], size: float) -> bytes:
    sheets: list[bytes] = []
    while sum(map(len, sheets)) < size:
        sheets.append(vary(dice.choice(bases), dice))
    return _pdf(dice, sheets, (_WIDTH, _HEIGHT), (2384, 1684), lines=4000)  # A1


def _pdf(
    dice: random.Random, photos: Sequence[bytes], pixels: tuple[int, int], page: tuple[int, int], *, lines: int
) -> bytes:
    """A page for each photo, with lines drawn over it."""
    width, height = page
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b""]
    kids: list[int] = []
    for photo in photos:
        number = len(objects) + 1
        kids.append(number)
        drawn = [f"q {width} 0 0 {height} 0 0 cm /Photo Do Q 0.3 w"]
        for _ in range(lines):
            x, y = dice.randrange(width), dice.randrange(height)
            drawn.append(f"{x} {y} m {x + dice.randrange(99)} {y + dice.randrange(99)} l S")
        box = f"/Type/Page/Parent 2 0 R/MediaBox[0 0 {width} {height}]"
        objects += [
            f"<<{box}/Resources<</XObject<</Photo {number + 2} 0 R>>>>/Contents {number + 1} 0 R>>".encode(),
            _stream("/Filter/FlateDecode", zlib.compress("\n".join(drawn).encode(), 1)),
            _stream(
                f"/Type/XObject/Subtype/Image/Width {pixels[0]}/Height {pixels[1]}"
                "/ColorSpace/DeviceRGB/BitsPerComponent 8/Filter/DCTDecode",
                photo,
            ),
        ]
    objects[1] = f"<</Type/Pages/Count {len(kids)}/Kids[{' '.join(f'{kid} 0 R' for kid in kids)}]>>".encode()
    return _file(objects)


def _stream(words: str, content: bytes) -> bytes:
    return f"<<{words}/Length {len(content)}>>stream\n".encode() + content + b"\nendstream"


def _file(objects: Sequence[bytes]) -> bytes:
    pieces, places, at = [b"%PDF-1.7\n"], list[int](), 9
    for number, body in enumerate(objects, 1):
        places.append(at)
        pieces.append(f"{number} 0 obj\n".encode() + body + b"\nendobj\n")
        at += len(pieces[-1])
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer<</Size {len(objects) + 1}/Root 1 0 R>>\n"
    return b"".join(pieces) + f"{end}startxref\n{at}\n%%EOF\n".encode()
