"""Pictures and what they say of themselves, from files that phones make and files that attackers make."""

import io
import json
import os
import struct
import zlib
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from PIL import Image, ImageCms, ImageOps
from tests.processing.pictures import distance, noisy, opened, save, scene

from buildpeer.facts import Media
from buildpeer.processing.derive import Derived, Deriver
from buildpeer.processing.identify import content_type_of

SAMPLES = Path(os.environ.get("BUILDPEER_SAMPLES", Path(__file__).parents[3] / "shared" / "samples"))


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [struct.pack("!I", len(d)) + n + d + struct.pack("!I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_header(width: int, height: int, depth: int = 8, colour: int = 2, interlace: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack("!IIBBBBB", width, height, depth, colour, 0, 0, interlace)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(derive, tmp_path, orientation):
    upright = scene(600, 450)
    exif = Image.Exif()
    exif[0x0112] = orientation
    # how a camera held that way would have stored the scene
    turned = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)
    stored = upright.transpose(turned) if turned is not None else upright
    data = save(stored, exif=exif, quality=95)
    assert distance(ImageOps.exif_transpose(Image.open(io.BytesIO(data))), upright) < 5  # Pillow agrees

    derived = derive(data)

    assert derived.reason == "" and (derived.media.width, derived.media.height) == (600, 450)
    thumbnail = opened(tmp_path / "thumbnail.webp")
    assert thumbnail.size == (400, 300) and distance(thumbnail, upright.resize((400, 300))) < 6
    assert distance(opened(tmp_path / "preview.webp"), upright) < 6
    assert not thumbnail.getexif()


@pytest.mark.parametrize(
    ("size", "preview", "thumbnail"),
    [
        ((4000, 3000), (1600, 1200), (400, 300)),
        ((3000, 4000), (1200, 1600), (300, 400)),
        ((1000, 500), (1000, 500), (400, 200)),
        ((300, 200), (300, 200), (300, 200)),
        ((1, 1), (1, 1), (1, 1)),
        ((5000, 3), (1600, 1), (400, 1)),
    ],
)
def test_sizes_shrink_and_never_grow(derive, tmp_path, size, preview, thumbnail):
    derived = derive(save(scene(*size)))
    assert (derived.media.width, derived.media.height) == size
    for made, name, expected in [
        (derived.preview, "preview.webp", preview),
        (derived.thumbnail, "thumbnail.webp", thumbnail),
    ]:
        image = opened(tmp_path / name)
        assert (made.width, made.height) == image.size == expected and image.format == "WEBP"
        assert made.size == (tmp_path / name).stat().st_size


def test_what_the_photo_says_of_itself(derive):
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Apple", "iPhone 13"
    exif.get_ifd(0x8769).update({0x9003: "2026:11:23 07:30:05", 0x9011: "-06:00"})
    exif.get_ifd(0x8825).update({1: "N", 2: (19.0, 25.0, 57.78), 3: "W", 4: (99.0, 8.0, 0.0)})
    for kind in ("JPEG", "PNG"):
        assert derive(save(scene(40, 30), kind, exif=exif)).media == Media(
            width=40,
            height=30,
            captured_at=datetime(2026, 11, 23, 7, 30, 5, tzinfo=timezone(timedelta(hours=-6))),
            latitude=19.4327167,
            longitude=-99.1333333,
            camera="Apple iPhone 13",
        )


def test_other_colours_become_srgb(derive, tmp_path):
    expected = scene(400, 300)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab_free = [
        save(expected.convert("CMYK"), quality=95),
        save(expected, icc_profile=srgb, quality=95),
        save(expected, "PNG"),
        save(expected.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
    ]
    for data in lab_free:
        assert derive(data).reason == ""
        thumbnail = opened(tmp_path / "thumbnail.webp")
        assert thumbnail.mode == "RGB" and "icc_profile" not in thumbnail.info
        assert distance(thumbnail, expected) < 25  # CMYK without a profile is a guess, but a near one


def test_an_embedded_profile_is_applied(derive, tmp_path):
    # a profile whose red is sRGB's green and so on: whoever ignores it shows other colours
    swapped = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = {}
    for i in range(struct.unpack("!I", swapped[128:132])[0]):
        tag, offset, size = struct.unpack("!4sII", swapped[132 + 12 * i : 144 + 12 * i])
        at[tag] = (offset, size)
    (r, size), (g, _) = at[b"rXYZ"], at[b"gXYZ"]
    swapped[r : r + size], swapped[g : g + size] = swapped[g : g + size], swapped[r : r + size]
    data = save(Image.new("RGB", (50, 50), (250, 10, 10)), "PNG", icc_profile=bytes(swapped))
    assert derive(data).reason == ""
    red, green, _ = opened(tmp_path / "thumbnail.webp").getpixel((25, 25))
    assert green > 200 > 60 > red


def test_gray_and_deep_pictures(derive, tmp_path):
    gray = Image.linear_gradient("L").resize((400, 300))
    deep = Image.frombytes("I;16", (400, 300), b"".join(struct.pack("<H", v * 257) for v in gray.tobytes()))
    for data in (save(gray), save(gray, "PNG"), save(deep, "PNG")):
        assert derive(data).reason == ""
        assert distance(opened(tmp_path / "thumbnail.webp"), gray) < 6


def test_transparency_is_kept(derive, tmp_path):
    image = scene(300, 200).convert("RGBA")
    image.putalpha(Image.new("L", (300, 200), 0))
    image.paste((255, 0, 0, 255), (0, 0, 150, 200))
    assert derive(save(image, "PNG")).reason == ""
    thumbnail = opened(tmp_path / "thumbnail.webp")
    assert thumbnail.mode == "RGBA"
    assert thumbnail.getpixel((20, 100))[3] == 255 and thumbnail.getpixel((280, 100))[3] == 0


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.98])
def test_a_truncated_picture_gives_no_half_picture(derive, kind, share):
    data = save(noisy(300, 200), kind)
    derived = derive(data[: int(len(data) * share)])
    assert (derived.reason, derived.preview, derived.thumbnail) == ("image_damaged", None, None)


def test_a_truncated_photo_still_says_when_it_was_taken(derive):
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x9003: "2026:11:23 07:30:05"})
    data = save(noisy(300, 200), exif=exif)
    derived = derive(data[: len(data) // 2])
    assert derived.reason == "image_damaged"
    assert derived.media == Media(width=300, height=200, captured_at=datetime(2026, 11, 23, 7, 30, 5))


def test_a_header_that_promises_too_much_is_not_decoded(derive):
    derived = derive(png(png_header(60_000, 60_000), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")))
    assert (derived.reason, derived.thumbnail) == ("image_too_large", None)
    assert derived.media.width == 60_000


def inflating(width: int, height: int, *, interlace: int = 0) -> bytes:
    """A small PNG of 16-bit RGBA zeros that inflates to width x height x 8 bytes."""
    packer, rows, times = zlib.compressobj(9, wbits=-15), bytes((1 + width * 8) * 100), height // 100
    block = packer.compress(rows) + packer.flush(zlib.Z_FULL_FLUSH)  # which can be repeated as it is
    adler = struct.pack("!I", (len(rows) * times % 65521) << 16 | 1)  # of zeros it's this
    packed = b"\x78\xda" + block * times + b"\x03\x00" + adler
    return png(png_header(width, height, 16, 6, interlace), (b"IDAT", packed), (b"IEND", b""))


def test_a_bomb_that_really_inflates_is_streamed(derive, deriver):
    derived = derive(inflating(14_000, 14_000))  # 1.5 GB of pixels
    status = Path(f"/proc/{deriver.child.pid}/status").read_text() if Path("/proc/self").exists() else ""
    assert derived.reason == "" and derived.thumbnail.width == 400
    peak = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
    assert not peak or peak[0] < 300_000  # kB


def test_a_bomb_that_must_be_held_hits_the_limit(tmp_path):
    deriver = Deriver(memory_bytes=600 * 1024**2)
    path = tmp_path / "file"
    path.write_bytes(inflating(14_000, 14_000, interlace=1))  # interlaced: no row is whole before the end
    try:
        derived = deriver.derive(path, content_type="image/png", folder=tmp_path)
        assert derived.reason in ("image_too_large", "parser_crashed") and derived.thumbnail is None
        path.write_bytes(save(scene(500, 400)))
        assert deriver.derive(path, content_type="image/jpeg", folder=tmp_path).reason == ""
    finally:
        deriver.stop()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "application/octet-stream"),
        (b"x", "application/octet-stream"),
        (b"just some text, in a file\n" * 10, "application/octet-stream"),
        (b"Rar!\x1a\x07\x01\0" + bytes(40), "application/vnd.rar"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", None),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(20), "image/x-canon-cr2"),
        (b"GIF89a" + bytes(20), "image/gif"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
    ],
)
def test_other_types_have_no_preview(derive, tmp_path, data, kind):
    made = derive(data)
    assert (made.reason, made.thumbnail, made.preview) == ("no_preview_for_type", None, None)
    assert kind is None or content_type_of(tmp_path / "file") == kind


def test_a_lie_about_the_type_is_seen(derive, tmp_path):
    """What starts like a JPEG goes to the JPEG reader and no other."""
    assert (
        derive(b"\xff\xd8\xff" + b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>").reason
        == "image_damaged"
    )


def test_the_child_opens_each_type_with_its_own_reader_and_no_other(deriver, tmp_path):
    path = tmp_path / "file"
    for kind in ("GIF", "TIFF", "WEBP", "PPM", "AVIF", "PNG"):
        path.write_bytes(save(scene(20, 20), kind))
        for other in ("jpeg", "heic"):
            assert deriver.derive(path, content_type=f"image/{other}", folder=tmp_path).reason == "image_damaged"
    path.write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>")
    for kind in ("image/png", "image/tiff", "image/avif"):
        assert deriver.derive(path, content_type=kind, folder=tmp_path).reason == "image_damaged"


@pytest.fixture
def misbehaving(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    deriver = Deriver(target="misbehave:answer", timeout_s=0.5)
    yield deriver
    deriver.stop()


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("segfault", "parser_crashed"),
        ("exit", "parser_crashed"),
        ("bomb", "parser_crashed"),
        ("garbage", "parser_crashed"),
        ("hang", "parser_timeout"),
    ],
)
def test_a_parser_that_misbehaves_costs_one_file(misbehaving, tmp_path, deed, reason):
    for _ in range(2):
        derived = misbehaving.derive(tmp_path / deed, content_type="image/png", folder=tmp_path)
        assert derived == Derived(reason=reason)


def test_what_a_file_said_before_its_parser_died_is_kept(misbehaving, tmp_path):
    told = f'{{"pages": 7}}:{tmp_path / "media.json"}'
    derived = misbehaving.derive(tmp_path / f"tell{told.replace('/', '|')}", content_type="image/png", folder=tmp_path)
    assert derived == Derived(media=Media(pages=7), reason="parser_crashed")
    derived = misbehaving.derive(tmp_path / "exit", content_type="image/png", folder=tmp_path)
    assert derived == Derived(reason="parser_crashed")  # that was another file's


@pytest.mark.parametrize("left", [b"not json", b'{"pages": "many"}', b" " * 70_000, None])
def test_nonsense_that_a_parser_left_is_no_fact(tmp_path, left):
    from buildpeer.processing import derive as module

    if left is None:
        (tmp_path / "secret").write_text('{"pages": 7}')
        (tmp_path / "media.json").symlink_to(tmp_path / "secret")
    else:
        (tmp_path / "media.json").write_bytes(left)
    assert module._told(tmp_path) == Media()


def test_a_taken_over_parser_cant_pass_our_files_off_as_pictures(tmp_path, monkeypatch):
    from buildpeer.processing import derive as module

    secret = tmp_path / "secret"
    secret.write_bytes(b"RIFF\0\0\0\0WEBP secret")
    picture = module.Picture(1, 1, secret.stat().st_size)
    (tmp_path / "preview.webp").symlink_to(secret)
    assert not module._is_made(picture, tmp_path / "preview.webp")
    assert not module._is_made(picture, tmp_path / "thumbnail.webp")
    (tmp_path / "thumbnail.webp").write_bytes(b"not a picture")
    assert not module._is_made(module.Picture(1, 1, 13), tmp_path / "thumbnail.webp")


def test_the_parser_has_no_credentials(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("BUILDPEER_CLAMD", "setting")
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    deriver = Deriver(target="misbehave:answer")
    try:
        seen = json.loads(deriver.child.call(b"environment", timeout_s=10))
        assert not [name for name in seen if name.startswith(("AWS", "BUILDPEER"))]
    finally:
        deriver.stop()


def sample_files() -> list[Path]:
    return sorted(path for path in SAMPLES.rglob("*.*") if path.name != "README.md")


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no sample folder at hand")
def test_real_files(deriver, tmp_path):
    for path in sample_files():
        derived = deriver.derive(path, content_type=content_type_of(path), folder=tmp_path)
        expected = {"unreadablemetadata.pdf": "pdf_damaged", "corrupted.jpg": "image_damaged"}.get(path.name, "")
        assert derived.reason == ("no_preview_for_dwg" if path.suffix == ".dwg" else expected), path
        assert (derived.thumbnail is None) == bool(derived.reason), path
        assert bool(derived.media.pages) == (path.suffix == ".pdf" and not derived.reason), path
        assert bool(derived.media.format_version) == (path.suffix in (".dxf", ".dwg") or bool(derived.media.pages)), (
            path
        )
        if path.name.endswith("_1.jpg"):
            upright = opened(tmp_path / "thumbnail.webp")
        elif path.name.startswith(("landscape_", "portrait_")):  # the same scene, turned
            assert distance(opened(tmp_path / "thumbnail.webp"), upright) < 12, path
