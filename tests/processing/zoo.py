"""Files of every kind, whole, cut, hostile, and what must become of each: the page on formats is printed from here.

`python -m tests.processing.zoo` prints the page; `test_zoo` holds it against what the pipeline does.
"""

import io
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path

import ezdxf
import msgspec
from tests.processing.pictures import noisy, save, scene

from buildpeer.processing import dxf as drawing
from buildpeer.processing import heif, pictures, unpacking
from buildpeer.processing import ifc as model
from buildpeer.processing import office as office_reader
from buildpeer.processing.derive import MEMORY_BYTES

# in pieces, so that no scanner takes this file for the test file itself
EICAR = ("X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS" + "-TEST-FILE!$H+H*").encode()
TENTHS = range(1, 10)
MIB, GIB = 1024 * 1024, 1024 * 1024 * 1024
SHOWN = "shown"  # a preview and a thumbnail

Bytes = Callable[[], bytes]


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of file: what is made of a whole one, and what becomes of it cut after one, two … nine tenths.

    An outcome is SHOWN, the code that says why there is no picture, or, behind a `!`, why nobody gets the file.
    """

    name: str
    content_type: str
    icon: str
    whole: Bytes
    outcome: str
    gives: str  # the fields of Media that it fills, and `text`
    pages: str  # what a page gives: `picture`, `picture, tiles`, or nothing
    cut: tuple[str, ...]


class Beast(msgspec.Struct, frozen=True):
    """A file that somebody would rather not get, and its outcome."""

    name: str
    make: Bytes
    outcome: str


# Makers


def photo(kind: str, **options: object) -> Bytes:
    return lambda: save(noisy(3400, 300), kind, **options)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [struct.pack("!I", len(d)) + n + d + struct.pack("!I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def huge_header() -> bytes:
    header = struct.pack("!IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return png((b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b""))


def interlaced_bomb() -> bytes:
    """14,000 x 14,000 pixels of 8 bytes that must all be held, in 1.5 MB."""
    header = struct.pack("!IIBBBBB", 14_000, 14_000, 16, 6, 0, 0, 1)
    packer, block = zlib.compressobj(9, wbits=-15), bytes((1 + 14_000 * 8) * 100)
    part = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    adler = struct.pack("!I", (len(block) * 140 % 65521) << 16 | 1)
    return png((b"IHDR", header), (b"IDAT", b"\x78\xda" + part * 140 + b"\x03\x00" + adler), (b"IEND", b""))


def pdf(*streams: tuple[bytes, bytes], sheet: bytes = b"[0 0 2384 1684]", trailer: bytes = b"") -> bytes:
    """One page with a word on it, and further streams: (dictionary, content)."""
    drawn = b"BT /F1 60 Tf 100 800 Td (Fundacion Eje B) Tj ET 0 0 m 900 900 l S"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R/PageLabels<</Nums[0<</P(A-101)>>]>>>>",
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
        b"<</Type/Page/Parent 2 0 R/Contents 5 0 R/MediaBox%s/Resources<</Font<</F1 4 0 R>>>>>>" % sheet,
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        *(
            b"<<%s/Length %d>>stream\n%s\nendstream" % (words, len(data), data)
            for words, data in ((b"", drawn), *streams)
        ),
    ]
    out, places = bytearray(b"%PDF-1.7\n"), list[int]()
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Root 1 0 R/Size %d%s>>\nstartxref\n%d\n%%%%EOF"
    return bytes(out) + end % (len(objects) + 1, table, len(objects) + 1, trailer, len(out))


def dxf() -> bytes:
    drawing = ezdxf.new("R2018")
    for wall in (((0, 0), (4, 0)), ((4, 0), (4, 2)), ((4, 2), (0, 2)), ((0, 2), (0, 0))):
        drawing.modelspace().add_line(*wall)
    text = io.StringIO()
    drawing.write(text)
    return drawing.encode(text.getvalue())


def nested_blocks() -> bytes:
    """Nine blocks, each holding ten of the one before: a thousand million lines in a few kilobytes."""
    drawing = ezdxf.new("R2018")
    drawing.blocks.new("B0").add_line((0, 0), (1, 1))
    for level in range(1, 10):
        block = drawing.blocks.new(f"B{level}")
        for place in range(10):
            block.add_blockref(f"B{level - 1}", (place, level))
    drawing.modelspace().add_blockref("B9", (0, 0))
    text = io.StringIO()
    drawing.write(text)
    return drawing.encode(text.getvalue())


def ifc() -> bytes:
    rows = [
        "#1=IFCPROJECT('0YvctVUKr0kugbFTf53O9L',#2,'0001',$,$,'Torre Espa\\X2\\00F1\\X0\\a',$,$,$,#4);",
        "#5=IFCBUILDINGSTOREY('1YvctVUKr0kugbFTf53O9L',#2,'Nivel 2',$,$,$,$,$,.ELEMENT.,3.2);",
        "#6=IFCBUILDINGSTOREY('2YvctVUKr0kugbFTf53O9L',#2,'Nivel 1',$,$,$,$,$,.ELEMENT.,0.);",
        *(f"#{n}=IFCWALL('3YvctVUKr0kugbFTf{n}O9L',#2,'Muro; #9=IFCDOOR(',$,$,$,$,$,$);" for n in range(10, 40)),
        *(f"#{n}=IFCCARTESIANPOINT((0.,{n}.,0.));" for n in range(100, 300)),
    ]
    head = "ISO-10303-21;\nHEADER;\nFILE_DESCRIPTION((''),'2;1');\nFILE_SCHEMA(('IFC4'));\nENDSEC;\nDATA;\n"
    return (head + "\n".join(rows) + "\nENDSEC;\nEND-ISO-10303-21;\n").encode()


def packed(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


CORE = b'<c:p xmlns:c="c" xmlns:d="d"><d:title>Informe 7</d:title><d:creator>Ana</d:creator></c:p>'


def office(main: str, body: bytes, *more: tuple[str, bytes]) -> bytes:
    return packed(("[Content_Types].xml", b"<Types/>"), (main, body), ("docProps/core.xml", CORE), *more)


def docx(text: bytes = b"Losa nivel 3") -> bytes:
    return office("word/document.xml", b'<w:document xmlns:w="w"><w:p><w:t>%s</w:t></w:p></w:document>' % text)


def xlsx() -> bytes:
    shared = b'<s:sst xmlns:s="s"><s:si><s:t>Cemento</s:t></s:si><s:si><s:t>Acero</s:t></s:si></s:sst>'
    sheet = ("xl/worksheets/sheet1.xml", b"<worksheet/>")
    return office("xl/workbook.xml", b"<workbook/>", ("xl/sharedStrings.xml", shared), sheet)


def pptx() -> bytes:
    slide = b'<p:sld xmlns:p="p" xmlns:a="a"><a:p><a:t>Avance</a:t></a:p></p:sld>'
    return office("ppt/presentation.xml", b"<presentation/>", ("ppt/slides/slide1.xml", slide))


def laughs() -> bytes:
    entities = b"".join(b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10) for n in range(1, 10))
    body = b'<!DOCTYPE d [<!ENTITY e0 "ha">%s]><w:document xmlns:w="w"><w:t>&e9;</w:t></w:document>' % entities
    return office("word/document.xml", body)


def encrypted_zip() -> bytes:
    data = bytearray(packed(("secret.txt", b"secret")))
    for start, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(start) + flags] |= 1
    return bytes(data)


def protected_office() -> bytes:
    """The wrapping that Office puts around a file with a password."""
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000) + "EncryptedPackage".encode("utf-16-le") + bytes(500)


def lying_zip() -> bytes:
    """A member that is a thousand times longer than the archive says."""
    data = bytearray(packed(("small.txt", bytes(100_000))))
    for start, size in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(start) + size
        data[at : at + 4] = struct.pack("<I", 100)
    return bytes(data)


def zeros_zip(megabytes: int) -> bytes:
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("zeros", "w") as file,
    ):
        for _ in range(megabytes):
            file.write(bytes(1024 * 1024))
    return out.getvalue()


def matryoshka(depth: int, innermost: bytes = b"hello") -> bytes:
    data = packed(("inner.txt", innermost))
    for level in range(depth - 1):
        data = packed((f"{level}.zip", data))
    return data


def strange_names() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("../../etc/passwd", b"root")
        archive.writestr("/abs/olute", b"x")
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    return out.getvalue()


def deflated_pdf(content: bytes) -> bytes:
    return pdf((b"/Type/EmbeddedFile/Filter/FlateDecode", zlib.compress(content, 9)))


def encrypted_pdf() -> bytes:
    trailer = b"/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<%s>/U<%s>>>/ID[<00><00>]" % (b"11" * 32, b"22" * 32)
    return pdf(trailer=trailer)


def jpeg() -> bytes:
    return save(scene(600, 400))


# The table


def cut(*runs: tuple[int, str]) -> tuple[str, ...]:
    """Nine outcomes, from runs of them."""
    return tuple(outcome for count, outcome in runs for _ in range(count))


DAMAGED = cut((9, "image_damaged"))
LOCKED = cut((9, "!archive_unreadable"))
NOTHING = cut((9, "no_preview_for_type"))
FORMATS = (
    Format(
        name="JPEG",
        content_type="image/jpeg",
        icon="photo",
        whole=photo("JPEG"),
        outcome=SHOWN,
        gives="width, height",
        pages="picture, tiles",
        cut=DAMAGED,
    ),
    Format(
        name="PNG",
        content_type="image/png",
        icon="photo",
        whole=photo("PNG"),
        outcome=SHOWN,
        gives="width, height",
        pages="picture, tiles",
        cut=DAMAGED,
    ),
    Format(
        name="WebP",
        content_type="image/webp",
        icon="photo",
        whole=photo("WEBP"),
        outcome=SHOWN,
        gives="width, height",
        pages="picture, tiles",
        cut=DAMAGED,
    ),
    Format(
        name="TIFF",
        content_type="image/tiff",
        icon="photo",
        whole=photo("TIFF", compression="tiff_lzw"),
        outcome=SHOWN,
        gives="width, height, pages",
        pages="picture, tiles",
        cut=DAMAGED,
    ),
    Format(
        name="AVIF",
        content_type="image/avif",
        icon="photo",
        whole=photo("AVIF"),
        outcome=SHOWN,
        gives="width, height",
        pages="picture, tiles",
        cut=DAMAGED,
    ),
    Format(
        name="HEIC",
        content_type="image/heic",
        icon="photo",
        whole=Path(__file__).with_name("gradient.heic").read_bytes,  # 3,400 x 300; what we read HEIC with writes none
        outcome=SHOWN,
        gives="width, height",
        pages="picture, tiles",
        cut=DAMAGED,
    ),
    Format(
        name="PDF",
        content_type="application/pdf",
        icon="pdf",
        whole=pdf,
        outcome=SHOWN,
        gives="pages, sheet_sizes_mm, page_labels, format_version, text",
        pages="picture, tiles",
        cut=cut((9, "pdf_damaged")),
    ),
    Format(
        name="DXF",
        content_type="image/vnd.dxf",
        icon="drawing",
        whole=dxf,
        outcome=SHOWN,
        gives="format_version",
        pages="picture, tiles",
        cut=cut((9, "drawing_damaged")),
    ),
    Format(
        name="DWG",
        content_type="image/vnd.dwg",
        icon="drawing",
        whole=lambda: b"AC1032" + bytes(200),
        outcome="no_preview_for_dwg",
        gives="format_version",
        pages="",
        cut=cut((9, "no_preview_for_dwg")),
    ),
    Format(
        name="IFC",
        content_type="application/x-ifc",
        icon="model",
        whole=ifc,
        outcome="no_preview_for_type",
        gives="format_version, model, text",
        pages="",
        cut=cut((9, "model_damaged")),
    ),
    Format(
        name="Word (.docx)",
        content_type="application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        icon="text",
        whole=docx,
        outcome="no_preview_for_type",
        gives="format_version, title, author, text",
        pages="",
        cut=LOCKED,
    ),
    Format(
        name="Excel (.xlsx)",
        content_type="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        icon="sheet",
        whole=xlsx,
        outcome="no_preview_for_type",
        gives="pages, format_version, title, author, text",
        pages="",
        cut=LOCKED,
    ),
    Format(
        name="PowerPoint (.pptx)",
        content_type="application/vnd.openxmlformats-officedocument.presentationml.presentation",
        icon="slides",
        whole=pptx,
        outcome="no_preview_for_type",
        gives="pages, format_version, title, author, text",
        pages="",
        cut=LOCKED,
    ),
    Format(
        name="ZIP",
        content_type="application/zip",
        icon="archive",
        whole=lambda: packed(("plano.pdf", pdf()), ("foto.jpg", jpeg())),
        outcome="no_preview_for_type",
        gives="members, member_count, text",
        pages="",
        cut=LOCKED,
    ),
    Format(
        name="Office before 2007",
        content_type="application/x-ole-storage",
        icon="text",
        whole=lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500),
        outcome="no_preview_for_type",
        gives="",
        pages="",
        cut=NOTHING,
    ),
    Format(
        name="Raw photo (CR2, CR3, DNG, NEF, ARW, RAF, ORF, RW2)",
        content_type="image/x-canon-cr2",
        icon="photo",
        whole=lambda: b"II*\0\x10\0\0\0CR\x02\0" + bytes(200),
        outcome="no_preview_for_type",
        gives="",
        pages="",
        cut=NOTHING,
    ),
    Format(
        name="Video (MP4, MOV, 3GP, MKV, AVI)",
        content_type="video/mp4",
        icon="video",
        whole=lambda: b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(200),
        outcome="no_preview_for_type",
        gives="format_version",
        pages="",
        cut=NOTHING,
    ),
)

BEASTS = (
    Beast("an empty file (the api refuses one before)", bytes, "no_preview_for_type"),
    Beast("plain text", lambda: b"just some text, in a file\n" * 10, "no_preview_for_type"),
    Beast("a PNG that promises 60,000 x 60,000 pixels", huge_header, "image_too_large"),
    Beast("an interlaced PNG that inflates to 1.5 GB", interlaced_bomb, "image_damaged"),
    Beast("a PDF with a sheet of 10^30 points", lambda: pdf(sheet=b"[0 0 1e30 1e30]"), SHOWN),
    Beast("a PDF with a password", encrypted_pdf, "pdf_encrypted"),
    Beast(
        "a PDF with a stream that inflates to 300 MB", lambda: deflated_pdf(bytes(300_000_000)), "!archive_too_large"
    ),
    Beast("a DXF with a thousand million lines", nested_blocks, "drawing_too_complex"),
    Beast("a ZIP with a member of 201 MiB", lambda: zeros_zip(201), "!archive_too_large"),
    Beast("a ZIP that unpacks to over 200 times its size", lambda: zeros_zip(60), "!archive_too_large"),
    Beast(
        "a ZIP with 10,001 members",
        lambda: packed(*((f"{n}", b"") for n in range(10_001)), method=zipfile.ZIP_STORED),
        "!archive_too_large",
    ),
    Beast("a ZIP whose member is longer than it says", lying_zip, "!archive_unreadable"),
    Beast("a ZIP with a password", encrypted_zip, "!archive_encrypted"),
    Beast("three ZIPs within each other", lambda: matryoshka(3), "no_preview_for_type"),
    Beast("five ZIPs within each other", lambda: matryoshka(5), "!archive_too_deep"),
    Beast(
        "a ZIP with a RAR in it", lambda: packed(("a.rar", b"Rar!\x1a\x07\x01\0" + bytes(60))), "!archive_unsupported"
    ),
    Beast("a ZIP with ../ and absolute names, and a link", strange_names, "no_preview_for_type"),
    Beast("an empty ZIP", packed, "no_preview_for_type"),
    Beast("a Word file with a password", protected_office, "!archive_encrypted"),
    Beast("a RAR", lambda: b"Rar!\x1a\x07\x01\0" + bytes(60), "!archive_unsupported"),
    Beast("a 7z", lambda: b"7z\xbc\xaf\x27\x1c" + bytes(60), "!archive_unsupported"),
    Beast("a gzip", lambda: b"\x1f\x8b\x08" + bytes(60), "!archive_unsupported"),
    Beast("a Word file whose entities expand for ever", laughs, "office_damaged"),
    Beast("a Word file without its XML", lambda: docx(b"</w:t"), "office_damaged"),
    Beast("a JPEG with a ZIP behind it", lambda: jpeg() + packed(("a.txt", b"x")), SHOWN),
    Beast("a PDF with a ZIP behind it", lambda: pdf() + packed(("a.txt", b"x")), SHOWN),
    Beast("a JPEG with EICAR in a ZIP behind it", lambda: jpeg() + packed(("a.com", EICAR)), "!infected"),
    Beast("a PDF with EICAR in a ZIP behind it", lambda: pdf() + packed(("a.com", EICAR)), "!infected"),
    Beast("a JPEG with a ZIP with a password behind it", lambda: jpeg() + encrypted_zip(), "!archive_encrypted"),
    Beast("a JPEG with a ZIP's last bytes behind it", lambda: jpeg() + b"PK\x05\x06" + bytes(9), SHOWN),
    Beast("a program with a ZIP behind it", lambda: b"MZ" + bytes(500) + packed(("a.com", EICAR)), "!infected"),
    Beast("a JPEG's first bytes before an SVG", lambda: b"\xff\xd8\xff<svg width='9'/>", "image_damaged"),
    Beast("an HTML page called .jpg", lambda: b"<html><script>alert(1)</script></html>", "no_preview_for_type"),
    Beast("a JPEG called .pdf", jpeg, SHOWN),
    Beast("an IFC without a schema's name", lambda: b"ISO-10303-21;\nHEADER;\n", "no_preview_for_type"),
    Beast("EICAR", lambda: EICAR, "!infected"),
    Beast("EICAR in a ZIP", lambda: packed(("a.com", EICAR)), "!infected"),
    Beast("EICAR in a ZIP in a ZIP", lambda: matryoshka(2, EICAR), "!infected"),
    Beast(
        "EICAR in a ZIP with a password elsewhere",
        lambda: packed(("a.com", EICAR), ("b.zip", encrypted_zip())),
        "!infected",
    ),
    Beast("EICAR in a Word file", lambda: office("word/document.xml", b"<a/>", ("word/b.bin", EICAR)), "!infected"),
    Beast("EICAR in a PDF, packed", lambda: deflated_pdf(EICAR), "!infected"),
    Beast("EICAR in a PDF, as it is", lambda: pdf((b"/Type/EmbeddedFile", EICAR)), "!infected"),
    Beast("EICAR in a ZIP in a PDF", lambda: deflated_pdf(packed(("a.com", EICAR))), "!infected"),
)


# Files that the project doesn't carry, by folder and name
SAMPLES = (
    (
        (
            "photos/DSCN0010.jpg",
            "photos/DSCN0012.jpg",
            "photos/DSCN0021.jpg",
            "photos/DSCN0025.jpg",
            "photos/DSCN0040.jpg",
            "photos/HMD_Nokia_8.3_5G.jpg",
            "photos/canon_hdr_NO.jpg",
            "photos/canon_hdr_YES.jpg",
            "photos/iphone_hdr_NO.jpg",
            "photos/iphone_hdr_YES.jpg",
            "photos/jolla.jpg",
            *(f"photos/{way}_{turn}.jpg" for way in ("landscape", "portrait") for turn in range(1, 9)),
        ),
        SHOWN,
    ),
    (("heic/HMD_Nokia_8.3_5G.heif", "heic/IMG_5195.HEIC", "heic/iphone_13_pro_max.HEIC"), SHOWN),
    (
        (
            "pdf/GeoTopo-komprimiert.pdf",
            "pdf/base64image.pdf",
            "pdf/cmyk-image.pdf",
            "pdf/pdflatex-4-pages.pdf",
            "pdf/pdflatex-outline.pdf",
            "pdf/with-attachment.pdf",
        ),
        SHOWN,
    ),
    (("pdf/unreadablemetadata.pdf",), "pdf_damaged"),
    (
        (
            "drawings/5_us_states.dxf",
            "drawings/dimension_in_block.dxf",
            "drawings/hatches_2.dxf",
            "drawings/text.dxf",
            "drawings/viewport_frozen_layers.dxf",
            "drawings/wipeout_door.dxf",
        ),
        SHOWN,
    ),
    (("drawings/807_1.dwg", "drawings/dim_linear_tutorial.dwg"), "no_preview_for_dwg"),
    (
        (
            "broken/28-hex_value.jpg",
            "broken/35-empty.jpg",
            "broken/36-memory_error.jpg",
            "broken/42_IndexError.jpg",
            "broken/87_OSError.jpg",
            "broken/duplicate_handles.dxf",
            "broken/empty_icc.heic",
            "broken/invalid_id.heic",
            "broken/recover01.dxf",
        ),
        SHOWN,
    ),
    (("broken/corrupted.jpg",), "image_damaged"),
)


# The page

_HEAD = """\
# What becomes of a file

Printed by `make formats` from `tests/processing/zoo.py`, whose every line is a test: this is what the pipeline does.

The original is never changed. A type is what the bytes show, whatever name or type came with them. Every file is
scanned first. Where an outcome is **locked**, nobody gets the file (`unscannable`, or `quarantined` when infected);
otherwise the original is kept, and the code says why there is no picture. Codes are told to people in three
languages.

## Whole files

`pages`: what `GET /v1/documents/{document_id}/pages/{number}` makes when somebody first asks; tiles, when there is
more to see than the picture of 1,600 px shows. Photos also give `captured_at`, `gps_at`, `latitude`, `longitude` and
`camera` where their EXIF says so, whatever their format. Pictures come upright and in sRGB. `text` is what the search
finds a file by. HEIF is as HEIC.

"""
_CUT = """
## Files cut short

After one tenth, two tenths … nine tenths.

"""
_BEASTS = """
## Files to be afraid of

With the embedded scanner; with clamd the same, where it knows the signature.

"""
_LIMITS = f"""
## Limits

Each is a number in the code, from which it is printed here.

| of | limit | then |
|---|---|---|
| a picture | {pictures.MAX_PIXELS:,} pixels, a TIFF {pictures.MAX_SCAN_PIXELS:,} | `image_too_large` |
| one file's reading | 25 s, as much CPU, {MEMORY_BYTES // GIB} GiB of address space | \
`parser_timeout`, `parser_crashed` |
| a HEIC or AVIF | {heif.MAX_BYTES // MIB} MiB | `image_too_large` |
| a drawing (DXF) | {drawing.MAX_BYTES // MIB} MiB, {drawing.MAX_ENTITIES:,} drawn entities, {drawing.TIME_S:.0f} s | \
`drawing_too_complex` |
| a model (IFC) | {model.MAX_BYTES // MIB} MiB | `model_too_complex` |
| a part of an Office file | {office_reader.MAX_PART // MIB} MiB | `office_damaged` |
| a member of an archive, a stream of a PDF | {unpacking.MAX_MEMBER // MIB} MiB | locked: `archive_too_large` |
| all that lies within a file | {unpacking.MAX_MEMBERS:,} members, {unpacking.MAX_TOTAL // MIB} MiB, over \
{unpacking.FREE_BYTES // MIB} MiB also {unpacking.MAX_RATIO} times the file | locked: `archive_too_large` |
| archives within each other | {unpacking.MAX_DEPTH} | locked: `archive_too_deep` |

Readers run in child processes that hold no credentials and are replaced after 200 files or any fault. On Linux the
kernel refuses them every socket, every other program and every look into another process (a seccomp filter, which
needs no root); where namespaces are allowed they have no network interface either.
"""


_SAMPLES = """
## Real files

Public samples of cameras, phones and programs (ianare/exif-samples, py-pdf/sample-files, mozman/ezdxf,
bigcat88/pillow_heif), which the project doesn't carry: where they are at hand, a test takes every one of them through
the pipeline.

"""


def told(outcome: str) -> str:
    """An outcome for people."""
    if outcome == SHOWN:
        return "preview, thumbnail"
    return f"locked: `{outcome[1:]}`" if outcome.startswith("!") else f"`{outcome}`"


def page() -> str:
    """The page, as it must be."""
    whole = [
        (f.name, f.icon, told(f.outcome), ", ".join(f"`{name}`" for name in f.gives.split(", ") if name), f.pages)
        for f in FORMATS
    ]
    cuts = [(f.name, "; ".join(f"{told(outcome)}{places}" for outcome, places in _runs(f.cut))) for f in FORMATS]
    beasts = [(beast.name, told(beast.outcome)) for beast in BEASTS]
    samples = [(", ".join(f"`{name}`" for name in names), told(outcome)) for names, outcome in SAMPLES]
    return "".join(
        (
            _HEAD,
            _table(("format", "icon", "outcome", "gives", "pages"), whole),
            _CUT,
            _table(("format", "outcome"), cuts),
            _BEASTS,
            _table(("file", "outcome"), beasts),
            _SAMPLES,
            _table(("files", "outcome"), samples),
            _LIMITS,
        )
    )


def _runs(outcomes: tuple[str, ...]) -> list[tuple[str, str]]:
    """Each outcome, and from which tenth to which, if not always."""
    runs, at = list[tuple[str, str]](), 1
    for outcome, group in groupby(outcomes):
        count = len(list(group))
        runs.append((outcome, "" if count == len(outcomes) else f" ({at} to {at + count - 1} tenths)"))
        at += count
    return runs


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
