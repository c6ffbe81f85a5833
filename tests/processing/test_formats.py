"""HEIC, AVIF, WebP, TIFF, PDF and DXF: what a kickoff brings besides JPEG."""

import gc
import io
import os
import struct
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import ezdxf
import pytest
from ezdxf.document import Drawing
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin, TiffTags
from tests.processing.pictures import distance, noisy, opened, save, scene

from buildpeer.facts import Media
from buildpeer.processing.derive import Derived, Deriver
from buildpeer.processing.identify import content_type

HEIC_SAMPLES = Path(os.environ.get("BUILDPEER_SAMPLES", Path(__file__).parents[3] / "shared" / "samples")) / "heic"
TAKEN = datetime(2026, 11, 23, 7, 30, 5, tzinfo=timezone(timedelta(hours=-6)))


def camera_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Apple", "iPhone 13"
    exif.get_ifd(0x8769).update({0x9003: "2026:11:23 07:30:05", 0x9011: "-06:00"})
    exif.get_ifd(0x8825).update({1: "N", 2: (19.0, 25.0, 57.78), 3: "W", 4: (99.0, 8.0, 0.0)})
    return exif


def camera_tags() -> TiffImagePlugin.ImageFileDirectory_v2:
    tags, exif = TiffImagePlugin.ImageFileDirectory_v2(), camera_exif()
    tags[0x010F], tags[0x0110] = exif[0x010F], exif[0x0110]
    for directory in (0x8769, 0x8825):
        tags[directory], tags.tagtype[directory] = exif.get_ifd(directory), TiffTags.LONG
    return tags


# Photos


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("AVIF", {"quality": 90}),
        ("WEBP", {"quality": 90}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg", "quality": 90}),
        ("TIFF", {"big_tiff": True}),
    ],
)
def test_photos_of_other_formats_become_the_same_pictures(derive, tmp_path, kind, options):
    derived = derive(save(scene(2000, 1500), kind, **options))
    assert derived.reason == "" and (derived.media.width, derived.media.height) == (2000, 1500)
    assert (derived.preview.width, derived.preview.height) == (1600, 1200)
    assert distance(opened(tmp_path / "thumbnail.webp"), scene(2000, 1500).resize((400, 300))) < 6


@pytest.mark.parametrize("kind", ["AVIF", "WEBP", "TIFF"])
def test_what_a_photo_says_of_itself_in_any_format(derive, kind):
    options = {"tiffinfo": camera_tags()} if kind == "TIFF" else {"exif": camera_exif()}
    media = derive(save(scene(40, 30), kind, **options)).media
    assert media.captured_at == TAKEN and media.captured_at.utcoffset() == timedelta(hours=-6)
    assert (media.latitude, media.longitude, media.camera) == (19.4327167, -99.1333333, "Apple iPhone 13")


@pytest.mark.parametrize("kind", ["AVIF", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright_in_any_format(derive, tmp_path, kind, orientation):
    upright = scene(600, 450)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose, by orientation
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = save(stored, kind, exif=exif)
    assert distance(ImageOps.exif_transpose(Image.open(io.BytesIO(data))), upright) < 5  # Pillow agrees
    derived = derive(data)
    assert (derived.media.width, derived.media.height) == (600, 450)
    assert distance(opened(tmp_path / "preview.webp"), upright) < 6


@pytest.mark.parametrize("kind", ["AVIF", "WEBP", "TIFF"])
def test_transparency_is_kept_in_any_format(derive, tmp_path, kind):
    image = Image.new("RGBA", (300, 200), (250, 10, 10, 255))
    image.paste((0, 0, 0, 0), (150, 0, 300, 200))
    assert derive(save(image, kind)).reason == ""
    thumbnail = opened(tmp_path / "thumbnail.webp")
    assert thumbnail.getpixel((20, 100))[3] == 255 and thumbnail.getpixel((280, 100))[3] == 0


@pytest.mark.parametrize("kind", ["AVIF", "WEBP", "TIFF"])
def test_an_embedded_profile_is_applied_in_any_format(derive, tmp_path, kind):
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = {}
    for i in range(struct.unpack("!I", profile[128:132])[0]):
        tag, offset, size = struct.unpack("!4sII", profile[132 + 12 * i : 144 + 12 * i])
        at[tag] = slice(offset, offset + size)
    profile[at[b"rXYZ"]], profile[at[b"gXYZ"]] = profile[at[b"gXYZ"]], profile[at[b"rXYZ"]]  # red is green
    assert derive(save(Image.new("RGB", (50, 50), (250, 10, 10)), kind, icc_profile=bytes(profile))).reason == ""
    red, green, _ = opened(tmp_path / "thumbnail.webp").getpixel((25, 25))
    assert green > 200 > 60 > red


@pytest.mark.parametrize("kind", ["AVIF", "WEBP", "TIFF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_truncated_photo_of_any_format_gives_no_half_picture(derive, kind, share):
    data = save(noisy(300, 200), kind, **({"compression": "tiff_lzw"} if kind == "TIFF" else {}))
    derived = derive(data[: int(len(data) * share)])
    assert (derived.reason, derived.preview, derived.thumbnail) == ("image_damaged", None, None)


def test_a_scanned_plan_is_streamed_and_its_sheets_are_counted(derive, deriver, tmp_path):
    first, second = Image.new("1", (19_866, 28_087), 1), Image.new("1", (60, 40), 1)  # A0 at 600 dpi
    first.paste(0, (0, 0, 9_933, 28_087))
    derived = derive(save(first, "TIFF", compression="group4", save_all=True, append_images=[second]))
    assert derived.reason == "" and derived.media == Media(width=19_866, height=28_087, pages=2)
    assert opened(tmp_path / "thumbnail.webp").convert("L").getpixel((20, 200)) < 10
    assert peak_kb(deriver) < 300_000


def test_photos_that_promise_too_much_are_not_decoded(derive):
    avif = bytearray(save(scene(64, 64), "AVIF"))
    at = avif.index(b"ispe") + 8
    avif[at : at + 8] = struct.pack("!II", 16_000, 16_000)
    derived = derive(bytes(avif))
    assert (derived.reason, derived.thumbnail) in [("image_too_large", None), ("image_damaged", None)]


def test_a_photo_too_large_to_hold_is_not_read(deriver, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(save(scene(64, 64), "AVIF"))
    with path.open("ab") as file:
        file.truncate(200 * 1024 * 1024)
    for kind in ("image/avif", "image/heic"):
        assert deriver.derive(path, content_type=kind, folder=tmp_path) == Derived(reason="image_too_large")


def heic_samples() -> list[Path]:
    return sorted(HEIC_SAMPLES.glob("*.*")) if HEIC_SAMPLES.is_dir() else []


@pytest.mark.skipif(not heic_samples(), reason="no HEIC at hand, and nothing here can make one")
def test_heic(deriver, derive, tmp_path):
    for path in heic_samples():
        data = path.read_bytes()
        derived = derive(data)
        assert derived.reason == "" and derived.media.height > derived.media.width, path  # all were held upright
        assert derived.preview.height == 1600, path
        for share in (0.01, 0.3, 0.7, 0.95):
            assert derive(data[: int(len(data) * share)]).reason == "image_damaged", (path, share)
    (phone,) = [path for path in heic_samples() if path.name == "iphone_13_pro_max.HEIC"]
    media = derive(phone.read_bytes()).media
    assert media.captured_at == datetime(2022, 2, 16, 12, 55, 41, tzinfo=timezone(timedelta(hours=1)))
    assert (media.width, media.height, media.camera) == (3024, 4032, "Apple iPhone 13 Pro Max")


def peak_kb(deriver: Deriver) -> int:
    path = Path(f"/proc/{deriver.child.pid}/status")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


# PDF


def pdf(*sheets: bytes, content: bytes = b"1 0 0 rg 0 0 300 300 re f", trailer: bytes = b"", padding: int = 0) -> bytes:
    """A PDF of these page dictionaries, each with the same content; `padding` bytes of noise lie within."""
    kids = b" ".join(b"%d 0 R" % (10 + n) for n in range(len(sheets)))
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R>>",
        2: b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(sheets), kids),
        3: b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
        4: b"<</Length %d>>stream\n%s\nendstream" % (padding, bytes(padding)),
    }
    objects |= {10 + n: b"<</Type/Page/Parent 2 0 R/Contents 3 0 R%s>>" % sheet for n, sheet in enumerate(sheets)}
    out, places = bytearray(b"%PDF-1.7\n"), {}
    for number, body in objects.items():
        places[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%d 1\n%010d 00000 n \n" % place for place in places.items())
    return bytes(out) + b"xref\n%strailer<</Root 1 0 R/Size %d%s>>\nstartxref\n%d\n%%%%EOF" % (
        table,
        max(objects) + 1,
        trailer,
        len(out),
    )


A1 = b"/MediaBox[0 0 2384 1684]"
ENCRYPT = b"/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<%s>/U<%s>>>/ID[<00><00>]" % (b"11" * 32, b"22" * 32)


def test_a_plan_is_shown_and_its_sheets_are_measured(derive, tmp_path):
    derived = derive(pdf(A1, b"/MediaBox[0 0 612 792]", b"/MediaBox[0 0 842 595]/Rotate 90"))
    assert derived.reason == "" and derived.media == Media(
        pages=3, sheet_sizes_mm=[(841, 594), (216, 279), (210, 297)], format_version="PDF 1.7"
    )
    assert (derived.preview.width, derived.preview.height) == (1600, 1131)
    preview = opened(tmp_path / "preview.webp").convert("RGB")
    assert distance(preview.crop((5, 940, 190, 1120)), Image.new("RGB", (185, 180), "red")) < 8
    assert distance(preview.crop((400, 5, 1500, 800)), Image.new("RGB", (1100, 795), "white")) < 2


def test_many_sheets_are_counted_and_the_first_measured(derive):
    media = derive(pdf(*[A1] * 250)).media
    assert media.pages == 250 and media.sheet_sizes_mm == [(841, 594)] * 200


def test_a_large_pdf_is_never_whole_in_memory(derive, deriver):
    size = 200 * 1024 * 1024
    before = peak_kb(deriver)
    assert derive(pdf(A1, padding=size)).reason == ""
    assert peak_kb(deriver) - before < 100_000


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"%PDF-1.7\n%\xe2\xe3", "pdf_damaged"),
        (b"\xef\xbb\xbf\r\n%PDF-1.4", "pdf_damaged"),
        (pdf(A1)[:60], "pdf_damaged"),
        (pdf(), "pdf_damaged"),
        (pdf(A1, trailer=ENCRYPT), "pdf_encrypted"),
        (pdf(A1, trailer=ENCRYPT.replace(b"Standard", b"Stranger")), "pdf_encrypted"),
    ],
)
def test_pdfs_that_cant_be_shown_say_why(derive, data, reason):
    assert content_type(data) == "application/pdf"
    assert derive(data) == Derived(reason=reason)


def test_a_pdf_is_what_it_says_and_nothing_else(deriver, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(save(scene(20, 20)))
    assert deriver.derive(path, content_type="application/pdf", folder=tmp_path).reason == "pdf_damaged"


def test_strange_sheets_stay_small(derive):
    for box in (
        b"",
        b"/MediaBox[0 0 0 0]",
        b"/MediaBox[0 0 1 14400]",
        b"/MediaBox[0 0 1e30 1e30]",
        b"/MediaBox[9 9 3 3]",
    ):
        derived = derive(pdf(box))
        assert derived.reason in ("", "pdf_damaged"), box
        assert derived.preview is None or max(derived.preview.width, derived.preview.height) <= 1600, box


# DXF and DWG


def dxf(drawing: Drawing, *, binary: bool = False) -> bytes:
    if binary:
        out = io.BytesIO()
        drawing.write(out, fmt="bin")
        return out.getvalue()
    text = io.StringIO()
    drawing.write(text)
    return drawing.encode(text.getvalue())


def room(version: str = "R2018") -> Drawing:
    """Four walls of 4 x 2, the left half filled red."""
    drawing = ezdxf.new(version)
    model = drawing.modelspace()
    for wall in (((0, 0), (4, 0)), ((4, 0), (4, 2)), ((4, 2), (0, 2)), ((0, 2), (0, 0))):
        model.add_line(*wall)
    model.add_solid([(0, 0), (2, 0), (0, 2), (2, 2)], dxfattribs={"color": 1})
    return drawing


def ink(path: Path) -> int:
    """How many pixels of a preview aren't white."""
    return sum(opened(path).convert("L").histogram()[:200])


@pytest.mark.parametrize("version", ["R12", "R2000", "R2018"])
@pytest.mark.parametrize("binary", [False, True])
def test_a_drawing_is_shown_on_white_and_upright(derive, tmp_path, version, binary):
    derived = derive(dxf(room(version), binary=binary))
    name = f"AutoCAD {version.removeprefix('R') if version != 'R12' else version}"
    assert derived.reason == "" and derived.media == Media(format_version=name)
    assert (derived.preview.width, derived.preview.height) == (1600, 800)
    preview = opened(tmp_path / "preview.webp").convert("RGB")
    assert distance(preview.crop((100, 100, 700, 700)), Image.new("RGB", (600, 600), "red")) < 8
    assert distance(preview.crop((900, 100, 1500, 700)), Image.new("RGB", (600, 600), "white")) < 2
    assert min(preview.convert("L").crop((1200, 750, 1201, 800)).get_flattened_data()) < 100  # the wall below


def test_light_lines_and_letters_are_seen_on_white(derive, tmp_path):
    for attributes in ({"color": 2}, {"color": 4}, {"true_color": 0xFFFFFF}, {"color": 7}):
        drawing = ezdxf.new()
        drawing.modelspace().add_circle((0, 0), 5, dxfattribs=attributes)
        assert derive(dxf(drawing)).reason == ""
        assert min(opened(tmp_path / "preview.webp").convert("L").get_flattened_data()) < 180, attributes


def test_a_drawing_of_any_size_fills_the_picture(derive):
    for start, end in (((0, 0), (1e-6, 5e-7)), ((500_000, 9_000_000), (500_900, 9_000_450)), ((0, 0), (9e9, 4.5e9))):
        drawing = ezdxf.new()
        drawing.modelspace().add_line(start, end)
        derived = derive(dxf(drawing))
        assert derived.reason == "" and (derived.preview.width, derived.preview.height) == (1600, 800)
    drawing = ezdxf.new()
    drawing.modelspace().add_line((0, 0), (9, 0))
    assert derive(dxf(drawing)).preview.height == 160


def test_a_sheet_is_shown_when_there_is_no_model(derive, tmp_path):
    drawing = ezdxf.new()
    assert derive(dxf(drawing)).reason == "drawing_empty"
    drawing.paperspace().add_line((0, 0), (100, 50))
    assert derive(dxf(drawing)).reason == "" and ink(tmp_path / "preview.webp") > 1000


def test_letters_are_drawn_or_at_least_marked(derive, tmp_path):
    drawing = room()
    assert derive(dxf(drawing)).reason == ""
    before = ink(tmp_path / "preview.webp")
    drawing.modelspace().add_text("Eje A", height=0.3).set_placement((2.3, 1))
    assert derive(dxf(drawing)).reason == "" and ink(tmp_path / "preview.webp") > before + 1000


def test_nothing_that_a_drawing_refers_to_is_opened(derive, tmp_path):
    picture, styles = tmp_path / "secret.png", tmp_path / "styles.ctb"
    for path in (picture, styles):
        os.mkfifo(path)  # whoever opens it waits for ever
    drawing = room()
    drawing.modelspace().dxf_layout.dxf.current_style_sheet = str(styles)
    image = drawing.add_image_def(filename=str(picture), size_in_pixel=(400, 400))
    drawing.modelspace().add_image(image, insert=(2, 0), size_in_units=(2, 2))
    started = time.monotonic()
    assert derive(dxf(drawing)).reason == "" and time.monotonic() - started < 10
    preview = opened(tmp_path / "preview.webp").convert("RGB")
    assert distance(preview.crop((900, 100, 1500, 700)), Image.new("RGB", (600, 600), "white")) < 30


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"  0\nSECTION\n", "drawing_damaged"),
        (b"  0\r\nSECTION\r\n  2\r\nENTITIES\r\n  0\r\nLINE\r\n 10\r\nnot a number\r\n", "drawing_damaged"),
        (b"AutoCAD Binary DXF\r\n\x1a\0" + bytes(50), "drawing_damaged"),
        (b"999\nmade by hand\n  0\nSECTION\n  2\nENTITIES\n  0\nENDSEC\n  0\nEOF\n", "drawing_empty"),
        (dxf(room())[:9000], "drawing_damaged"),
        (dxf(room())[:-12], "drawing_damaged"),
        (dxf(room()).replace(b"AcDbLine", b"AcDbWine").replace(b"\n10\n", b"\n10\nx\n"), "drawing_damaged"),
    ],
)
def test_drawings_that_cant_be_shown_say_why(derive, data, reason):
    assert content_type(data) == "image/vnd.dxf"
    derived = derive(data)
    assert (derived.reason, derived.preview) == (reason, None)


def test_blocks_within_blocks_are_bounded(derive, deriver):
    drawing = ezdxf.new()
    inner = drawing.blocks.new("B0")
    inner.add_line((0, 0), (1, 1))
    for level in range(1, 12):
        block = drawing.blocks.new(f"B{level}")
        for n in range(10):
            block.add_blockref(f"B{level - 1}", (n, level))
    drawing.modelspace().add_blockref("B11", (0, 0))  # 10^11 lines
    assert derive(dxf(drawing)).reason == "drawing_too_complex"
    assert peak_kb(deriver) < 1_000_000


def test_entities_are_counted_where_they_are_drawn(tmp_path, monkeypatch):
    from buildpeer.processing import dxf as module

    drawing = ezdxf.new()
    block = drawing.blocks.new("B")
    for n in range(20):
        block.add_line((0, n), (1, n))
    for n in range(20):
        drawing.modelspace().add_blockref("B", (n, 0))
    path = tmp_path / "file"
    path.write_bytes(dxf(drawing))
    for most, reason in ((300, "drawing_too_complex"), (1000, "")):
        monkeypatch.setattr(module, "MAX_ENTITIES", most)
        assert module.render(path, content_type="image/vnd.dxf", folder=tmp_path).reason == reason


def test_a_drawing_too_long_to_hold_is_not_read(deriver, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(dxf(room()))
    with path.open("ab") as file:
        file.truncate(60 * 1024 * 1024)
    derived = deriver.derive(path, content_type="image/vnd.dxf", folder=tmp_path)
    assert derived == Derived(reason="drawing_too_complex")


def test_a_drawing_that_takes_too_long_is_given_up(tmp_path, monkeypatch):
    from buildpeer.processing import dxf as module

    monkeypatch.setattr(module, "TIME_S", 0.05)
    path = tmp_path / "file"
    drawing = ezdxf.new()
    for n in range(3000):
        drawing.modelspace().add_circle((n, n), n)
    path.write_bytes(dxf(drawing))
    gc.disable()  # hypothesis watches the collector, and would swallow what the alarm raises meanwhile
    try:
        assert module.render(path, content_type="image/vnd.dxf", folder=tmp_path).reason == "drawing_too_complex"
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("code", "version"), [("AC1015", "AutoCAD 2000"), ("AC1032", "AutoCAD 2018"), ("AC1099", None)]
)
def test_a_dwg_says_its_version(derive, code, version):
    derived = derive(code.encode() + bytes(100))
    assert derived == Derived(media=Media(format_version=version), reason="no_preview_for_dwg")


# Types


@pytest.mark.parametrize(
    ("brands", "kind"),
    [
        (b"heic", "image/heic"),
        (b"mif1\0\0\0\0mif1heic", "image/heic"),
        (b"mif1\0\0\0\0mif1avif", "image/avif"),
        (b"avif\0\0\0\0mif1miaf", "image/avif"),
        (b"mif1\0\0\0\0mif1", "image/heif"),
    ],
)
def test_the_family_of_heif_is_told_apart_by_its_brands(brands, kind):
    assert content_type(struct.pack("!I", 8 + len(brands)) + b"ftyp" + brands + b"\0\0\0\x0cmetaheicavif") == kind
