"""Each limit on what may be unpacked holds by itself: all others are lifted, and one byte or member less passes."""

import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.processing import zoo
from tests.processing.zoo import packed

from buildpeer.processing import archive, ifc, office, unpacking
from buildpeer.processing.derive import MAX_TEXT_BYTES, MODEL_TOO_COMPLEX, NO_PREVIEW, OFFICE_DAMAGED
from buildpeer.processing.identify import DOCX, IFC
from buildpeer.processing.unpacking import DAMAGED, TOO_DEEP, TOO_LARGE, Request, Within

ANYTHING = 1 << 60
LIMITS = ("MAX_MEMBER", "MAX_TOTAL", "MAX_MEMBERS", "MAX_RATIO", "MAX_DEPTH")
NO_RULES = "rule nothing { condition: false }"  # what a scanner of ours looks for, so that PDFs are looked into

Look = Callable[..., str]


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """The reason why not all of a file was looked at, where nothing but these limits holds."""

    def run(data: bytes, **limits: int) -> str:
        for name in LIMITS:
            monkeypatch.setattr(unpacking, name, limits.get(name, ANYTHING))
        monkeypatch.setattr(unpacking, "FREE_BYTES", limits.get("FREE_BYTES", 0))
        path = tmp_path / "file"
        path.write_bytes(data)
        request = Request(str(path), str(tmp_path), NO_RULES)
        within = msgspec.json.decode(unpacking.answer(msgspec.json.encode(request)), type=Within)
        assert [each.name for each in tmp_path.iterdir()] == ["file"]  # what was unpacked is gone
        return within.reason

    return run


def stored(*sizes: int) -> bytes:
    return packed(*((f"{n}", os.urandom(size)) for n, size in enumerate(sizes)), method=zipfile.ZIP_STORED)


def test_a_member_may_be_so_long(look: Look) -> None:
    assert look(stored(1000, 1000), MAX_MEMBER=1000) == ""
    assert look(stored(1000, 1001), MAX_MEMBER=1000) == TOO_LARGE
    assert look(zoo.matryoshka(2, os.urandom(2000)), MAX_MEMBER=2000) == TOO_LARGE  # within its archive, that is longer


def test_a_member_that_says_it_is_longer_is_not_even_begun(look: Look) -> None:
    data = bytearray(stored(100))
    for start, size in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(start) + size, 1001)
    assert look(bytes(data), MAX_MEMBER=1001) == DAMAGED
    assert look(bytes(data), MAX_MEMBER=1000) == TOO_LARGE


@pytest.mark.parametrize("make", [zoo.deflated_pdf, lambda content: zoo.pdf((b"/Type/EmbeddedFile", content))])
def test_a_stream_of_a_pdf_may_be_so_long(look: Look, make: Callable[[bytes], bytes]) -> None:
    # the word on the page is a stream as well, and an unpacked one ends with its line
    assert look(make(bytes(999)), MAX_MEMBER=1000) == ""
    assert look(make(bytes(1001)), MAX_MEMBER=1000) == TOO_LARGE


def test_all_together_may_be_so_long(look: Look) -> None:
    assert look(stored(1000, 1000, 1000), MAX_TOTAL=3000) == ""
    assert look(stored(1000, 1000, 1001), MAX_TOTAL=3000) == TOO_LARGE
    inner = stored(1000)
    assert look(packed(("a.zip", inner), ("b.zip", inner)), MAX_TOTAL=2 * len(inner) + 2000) == ""
    assert look(packed(("a.zip", inner), ("b.zip", inner)), MAX_TOTAL=2 * len(inner) + 1999) == TOO_LARGE


def test_what_is_unpacked_may_be_so_many_times_the_file(look: Look) -> None:
    data = packed(("zeros", bytes(100_000)))
    most = 100_000 // len(data)
    assert look(data, MAX_RATIO=most + 1) == ""
    assert look(data, MAX_RATIO=most) == TOO_LARGE
    assert look(data, MAX_RATIO=most, FREE_BYTES=100_000) == ""  # as long as it is little
    assert look(data, MAX_RATIO=most, FREE_BYTES=99_999) == TOO_LARGE


def test_there_may_be_so_many_members_of_all_archives_together(look: Look) -> None:
    assert look(stored(0, 0, 0), MAX_MEMBERS=3) == ""
    assert look(stored(0, 0, 0, 0), MAX_MEMBERS=3) == TOO_LARGE
    two = packed(("a.zip", stored(0, 0)), ("b.zip", stored(0, 0)))
    assert look(two, MAX_MEMBERS=6) == ""
    assert look(two, MAX_MEMBERS=5) == TOO_LARGE


def test_archives_may_lie_within_each_other_so_deep(look: Look) -> None:
    assert look(zoo.matryoshka(3), MAX_DEPTH=3) == ""
    assert look(zoo.matryoshka(4), MAX_DEPTH=3) == TOO_DEEP
    assert look(zoo.deflated_pdf(zoo.matryoshka(3)), MAX_DEPTH=3) == TOO_DEEP


def word(text: str, *more: tuple[str, bytes]) -> bytes:
    return zoo.office("word/document.xml", f'<w:document xmlns:w="w"><w:t>{text}</w:t></w:document>'.encode(), *more)


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], Any]:
    def run(data: bytes) -> Any:
        path = tmp_path / "file"
        path.write_bytes(data)
        return office.render(path, content_type=DOCX, folder=tmp_path)

    return run


def test_a_part_of_an_office_file_may_be_so_long(read, monkeypatch: pytest.MonkeyPatch) -> None:
    data = word("a" * 100_000)
    monkeypatch.setattr(office, "MAX_PART", 101_000)
    assert read(data).text == "a" * MAX_TEXT_BYTES
    monkeypatch.setattr(office, "MAX_PART", 99_000)
    assert read(data).reason == OFFICE_DAMAGED


def test_so_many_parts_of_an_office_file_are_read_and_so_many_letters(read, monkeypatch: pytest.MonkeyPatch) -> None:
    header = b'<w:hdr xmlns:w="w"><w:t>cabecera</w:t></w:hdr>'
    data = word("losa", ("word/header1.xml", header))
    assert read(data).text == "losa cabecera"
    monkeypatch.setattr(office, "MAX_PARTS", 1)
    assert read(data).text == "losa"
    monkeypatch.setattr(office, "MAX_PARTS", 2)
    monkeypatch.setattr(office, "MAX_TEXT", 4)
    assert read(data).text == "losa"


def test_a_model_may_be_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, data = tmp_path / "file", zoo.ifc()
    path.write_bytes(data)
    for most, reason in ((len(data), NO_PREVIEW), (len(data) - 1, MODEL_TOO_COMPLEX)):
        monkeypatch.setattr(ifc, "MAX_BYTES", most)
        assert ifc.render(path, content_type=IFC, folder=tmp_path).reason == reason


def test_so_many_members_of_an_archive_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(stored(*[0] * (archive.MAX_MEMBERS + 1)))
    media = archive.render(path, content_type="application/zip", folder=tmp_path).media
    assert media.members is not None and len(media.members) == archive.MAX_MEMBERS
    assert media.member_count == archive.MAX_MEMBERS + 1
