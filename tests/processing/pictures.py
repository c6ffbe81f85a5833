"""Pictures that tests make and compare."""

import io
import os
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageStat


def scene(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A picture with no symmetry: red, green, blue and white corners of different sizes."""
    image = Image.new("RGB", (width, height), (120, 120, 120))
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, 0, width // 2, height // 3], (200, 30, 30))
    draw.rectangle([width * 2 // 3, 0, width, height // 2], (30, 180, 30))
    draw.rectangle([0, height * 3 // 4, width // 3, height], (30, 30, 200))
    draw.rectangle([width * 3 // 4, height * 2 // 3, width, height], (250, 250, 250))
    return image.convert(mode)


def noisy(width: int, height: int) -> Image.Image:
    return Image.frombytes("RGB", (width, height), os.urandom(width * height * 3))


def save(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


def distance(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of two pictures' channels, 0 to 255."""
    assert one.size == other.size
    means = ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean
    return sum(means) / len(means)
