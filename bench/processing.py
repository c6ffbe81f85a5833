"""`make bench-processing`: what each format costs, against the bare library calls and against npm's sharp.

Each format has files of its own, which one reader child goes through, one at a time and with one thread, as in the
functions; the same files then go through a script of bare library calls (`peers.bare`), and photos through sharp, in
the same run. `files_per_s` is by the clock; `cpu_ms` is of a file, child and owner together; `vs_bare` and `vs_sharp`
are our CPU time over theirs; `peak_mb` is the child's largest memory. What is done in milliseconds is done again and
again, by each side as often, since Linux counts CPU time in hundredths of a second. `plan` is a PDF of `--plan-mb`, one
sheet of A0; `plan_tiles` its first page made when somebody asks. A ZIP is listed in a millisecond, and the way to the
child and back takes a third of one: that is what the isolation costs, and shows nowhere else. HEIC needs real files,
from the folder BUILDPEER_SAMPLES.
"""

import argparse
import io
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
from ezdxf.filemanagement import new
from PIL import Image

from bench.peers import bare, installed
from bench.samples import make_photo, make_plan, make_report, vary
from bench.site import say
from buildpeer.processing.derive import Deriver
from buildpeer.processing.identify import content_type_of

SHARP = ("jpeg", "png", "webp", "tiff", "avif")  # what its package reads
MB = 1_000_000
TIMEOUT_S = 120.0
LEAST_S = 1.0  # of work on one format
ENV = {"VIPS_CONCURRENCY": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}  # as our children have


def main() -> None:
    """Print the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--files", type=int, default=40, help="of each format; plans are a tenth as many")
    parser.add_argument("--plan-mb", type=float, default=50)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="two small files of each format, to see that it works")
    asked = parser.parse_args()
    count, plan_mb, least_s = (2, 2.0, 0.0) if asked.short else (asked.files, asked.plan_mb, LEAST_S)
    with tempfile.TemporaryDirectory(prefix="buildpeer-bench-") as place:
        files = make_files(Path(place), count, plan_mb=plan_mb, small=asked.short, seed=asked.seed)
        sharp = installed("sharp", "pictures.mjs") if shutil.which("npm") else None
        told = {name: measure(name, paths, Path(place), sharp, least_s=least_s) for name, paths in files.items()}
    print(json.dumps({"formats": told, "files": count, "plan_mb": plan_mb, "skipped": [] if sharp else ["sharp"]}))


def make_files(folder: Path, count: int, *, plan_mb: float, small: bool, seed: int) -> dict[str, list[Path]]:
    """Files of each format, all different."""
    dice = random.Random(seed)
    width, height = (800, 600) if small else (4000, 3000)
    photo = make_photo(dice, size=width * height / 3.5, width=width, height=height)
    image = Image.open(io.BytesIO(photo)).convert("RGB")

    def encoded(kind: str, **options: Any) -> Callable[[], bytes]:
        def make() -> bytes:
            out = io.BytesIO()
            image.rotate(dice.choice((0, 180))).save(out, kind, **options)
            return out.getvalue()

        return make

    makers: dict[str, Callable[[], bytes]] = {
        "jpeg": lambda: vary(photo, dice),
        "png": encoded("PNG", compress_level=1),
        "webp": encoded("WEBP", quality=80, method=1),
        "tiff": encoded("TIFF", compression="tiff_lzw"),
        "avif": encoded("AVIF", quality=60, speed=9),
        "report": lambda: make_report(dice, 2.0 * MB),
        "dxf": lambda: _dxf(dice, 200 if small else 5000),
        "ifc": lambda: _ifc(dice, 2000 if small else 100_000),
        "word": lambda: _word(dice, 500 if small else 20_000),
        "zip": lambda: _zip(dice, 20 if small else 500),
    }
    files = {name: [_keep(folder / f"{name}-{n}", make()) for n in range(count)] for name, make in makers.items()}
    files["plan"] = [
        _keep(folder / f"plan-{n}", make_plan(dice, photo, plan_mb * MB)) for n in range(max(2, count // 10))
    ]
    files["plan_tiles"] = files["plan"]
    samples = Path(os.environ.get("BUILDPEER_SAMPLES", ""))
    if found := sorted(samples.rglob("*.[hH][eE][iI]*")) if samples.name else []:
        files["heic"] = [path for path in found if path.parent.name != "broken"]
    return files


def measure(name: str, files: Sequence[Path], place: Path, sharp: Path | None, *, least_s: float) -> dict[str, Any]:
    """What a format costs us, and what it costs others."""
    say(f"{name}: {len(files)} files, {sum(path.stat().st_size for path in files) / MB:.0f} MB")
    ours, files = _ours(name, files, place, least_s=least_s)
    told = {
        "files_per_s": round(len(files) / ours["wall_s"], 1),
        "cpu_ms": round(ours["cpu_s"] / len(files) * 1000, 1),
        "vs_bare": None,
        "vs_sharp": None,
        "peak_mb": round(ours["peak_mb"]),
    }
    listed = _keep(place / "list.json", json.dumps([str(path) for path in files]).encode())
    if name in bare.WAYS:
        theirs = _run([sys.executable, "-m", "bench.peers.bare", name, str(listed), str(place)])
        told["vs_bare"] = round(ours["cpu_s"] / theirs["cpu_s"], 2)
    if sharp and name in SHARP:
        theirs = _run(["node", str(sharp), str(listed), str(place)])
        told["vs_sharp"] = round(ours["cpu_s"] / theirs["cpu_s"], 2)
    return told


def _ours(name: str, files: Sequence[Path], place: Path, *, least_s: float) -> tuple[dict[str, float], list[Path]]:
    """What it took, and the files that were gone through, in rounds until there was enough to measure."""
    deriver = Deriver(timeout_s=TIMEOUT_S, files_per_child=0)  # to be measured, one must live

    def one(path: Path) -> None:
        kind = content_type_of(path)
        if name == "plan_tiles":
            made = deriver.page(path, content_type=kind, folder=place, number=1)
            wrong = made.reason or not made.tiles
        else:
            derived = deriver.derive(path, content_type=kind, folder=place)
            wrong = derived.reason not in ("", "no_preview_for_type")
        if wrong:
            raise RuntimeError(f"{path} gave nothing")

    try:
        one(files[0])
        child = psutil.Process(deriver.child.pid)
        began = time.monotonic()
        one(files[0])
        rounds = max(1, round(least_s / (time.monotonic() - began) / len(files)))
        treated = [*files] * rounds
        cpu, wall = _cpu_s(child), time.monotonic()
        for path in treated:
            one(path)
        status = Path(f"/proc/{child.pid}/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        return {"cpu_s": _cpu_s(child) - cpu, "wall_s": time.monotonic() - wall, "peak_mb": peak / 1024}, treated
    finally:
        deriver.stop()


def _cpu_s(child: psutil.Process) -> float:
    theirs, own = child.cpu_times(), resource.getrusage(resource.RUSAGE_SELF)
    return theirs.user + theirs.system + own.ru_utime + own.ru_stime


def _run(command: list[str]) -> dict[str, float]:
    done = subprocess.run(command, env=os.environ | ENV, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def _keep(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _dxf(dice: random.Random, lines: int) -> bytes:
    drawing, text = new("R2018"), io.StringIO()
    for _ in range(lines):
        x, y = dice.uniform(0, 800), dice.uniform(0, 500)
        drawing.modelspace().add_line((x, y), (x + dice.uniform(-9, 9), y + dice.uniform(-9, 9)))
    drawing.write(text)
    return drawing.encode(text.getvalue())


def _ifc(dice: random.Random, rows: int) -> bytes:
    head = "ISO-10303-21;\nHEADER;\nFILE_SCHEMA(('IFC4'));\nENDSEC;\nDATA;\n"
    points = (f"#{n}=IFCCARTESIANPOINT(({dice.random():.6f},{dice.random():.6f},0.));\n" for n in range(rows))
    return (head + "".join(points) + "ENDSEC;\nEND-ISO-10303-21;\n").encode()


def _word(dice: random.Random, words: int) -> bytes:
    runs = "".join(f"<w:p><w:t>palabra{dice.randrange(5000)}</w:t></w:p>" for _ in range(words))
    return _packed({"word/document.xml": f'<w:document xmlns:w="w">{runs}</w:document>'.encode()})


def _zip(dice: random.Random, members: int) -> bytes:
    return _packed({f"foto {n}.jpg": dice.randbytes(2000) for n in range(members)})


def _packed(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


if __name__ == "__main__":
    main()
