"""A site's folder: photos, reports and plans, some of them of several parts; the same for the same seed."""

import io
import random
from pathlib import Path

import ezdxf
from PIL import Image

MIB = 1024 * 1024
BASES = 6


def make_folder(folder: Path, count: int, *, plans: int, seed: int) -> list[Path]:
    """`count` files that all differ, `plans` of them over 8 MiB; two folders have a name in common."""
    dice = random.Random(seed)
    bases = [_photo(dice, n) for n in range(BASES)]
    paths: list[Path] = []
    for number in range(count):
        match number:
            case _ if number < plans:
                name, content = f"Plano {number:02d} – planta.pdf", _pdf(dice, dice.randint(9 * MIB, 20 * MIB))
            case _ if number % 20 == 7:
                name, content = f"corte {number:03d}.dxf", _drawing(number)
            case _ if number % 10 == 3:
                name, content = f"informe {number:03d}.pdf", _pdf(dice, dice.randint(1_000, MIB))
            case _ if number % 10 == 5:
                name, content = f"obra {number:03d}.png", _picture(dice, "PNG", number)
            case _:
                name, content = f"Foto Ñuñoa {number // 2:03d} 👷.jpg", dice.choice(bases)[:-2] + _comment(dice)
        path = folder / ("mañana" if number % 2 else "tarde") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        paths.append(path)
    return paths


def _photo(dice: random.Random, number: int) -> bytes:
    return _picture(dice, "JPEG", number)


def _picture(dice: random.Random, kind: str, number: int) -> bytes:
    file = io.BytesIO()
    size = (320 + number, 240)
    Image.frombytes("RGB", size, dice.randbytes(3 * size[0] * size[1])).save(file, kind)
    return file.getvalue()


def _comment(dice: random.Random) -> bytes:
    """A JPEG comment and the end marker: the same picture as another file."""
    text = dice.randbytes(dice.randint(16, 60_000))
    return b"\xff\xfe" + (len(text) + 2).to_bytes(2) + text + b"\xff\xd9"


def _pdf(dice: random.Random, size: int) -> bytes:
    return b"%PDF-1.7\n" + dice.randbytes(size)


def _drawing(number: int) -> bytes:
    drawing = ezdxf.new()
    for step in range(50):
        drawing.modelspace().add_line((0, step), (number, 2 * step))
    text = io.StringIO()
    drawing.write(text)
    return text.getvalue().encode()
