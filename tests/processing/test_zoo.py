"""Every file of the zoo, and every real one at hand, becomes what the page on formats says."""

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.processing import zoo
from tests.processing.zoo import BEASTS, FORMATS, SHOWN, TENTHS, Beast, Format

from buildpeer.facts import Media, Member, Model
from buildpeer.platform.messages import REASONS
from buildpeer.processing.derive import Derived, Deriver
from buildpeer.processing.identify import content_type_of, icon_of
from buildpeer.processing.scanners import DeepScanner, scanner_for

ROOT = Path(__file__).parents[2]
SAMPLES = Path(os.environ.get("BUILDPEER_SAMPLES", ROOT.parent / "shared" / "samples"))


@pytest.fixture(scope="module")
def scanner() -> Iterator[DeepScanner]:
    scanner = scanner_for("")
    yield scanner
    scanner.stop()


class Treated(msgspec.Struct):
    """What became of a file."""

    outcome: str
    content_type: str = ""
    derived: Derived = Derived()


@pytest.fixture
def treat(scanner: DeepScanner, deriver: Deriver, tmp_path: Path) -> Callable[[bytes], Treated]:
    """A file's way through scanner and reader; its bytes stay what they are."""

    def run(data: bytes) -> Treated:
        path = tmp_path / "file"
        path.write_bytes(data)
        scanned = scanner.scan(path)
        if scanned.verdict != "clean":
            return Treated("!infected" if scanned.verdict == "infected" else f"!{scanned.reason}")
        kind = content_type_of(path)
        derived = deriver.derive(path, content_type=kind, folder=tmp_path)
        assert path.read_bytes() == data
        assert (derived.preview is None) == (derived.thumbnail is None) == bool(derived.reason)
        return Treated(derived.reason or SHOWN, kind, derived)

    return run


def test_the_page_is_the_zoo() -> None:
    same = (ROOT / "docs" / "guides" / "formats.md").read_text() == zoo.page()
    assert same, "run `make formats`"


def names(each: Format | Beast) -> str:
    return each.name


@pytest.mark.parametrize("kind", FORMATS, ids=names)
def test_a_whole_file_gives_what_the_page_says(treat, deriver: Deriver, tmp_path: Path, kind: Format) -> None:
    treated = treat(kind.whole())
    assert (treated.outcome, treated.content_type) == (kind.outcome, kind.content_type)
    assert icon_of(treated.content_type) == kind.icon
    media = treated.derived.media
    given = [field for field in Media.__struct_fields__ if getattr(media, field) is not None]
    assert [*given, *(["text"] if treated.derived.text else [])] == [name for name in kind.gives.split(", ") if name]
    made = deriver.page(tmp_path / "file", content_type=kind.content_type, folder=tmp_path, number=1)
    parts = [name for name, there in (("picture", made.picture), ("tiles", made.tiles)) if there]
    assert ", ".join(parts) == kind.pages and bool(made.reason) != bool(parts)


@pytest.mark.parametrize("kind", FORMATS, ids=names)
def test_a_file_cut_short_says_so(treat, kind: Format) -> None:
    data = kind.whole()
    assert tuple(treat(data[: len(data) * tenth // 10]).outcome for tenth in TENTHS) == kind.cut


@pytest.mark.parametrize("beast", BEASTS, ids=names)
def test_a_beast_has_its_outcome_and_the_next_file_is_fine(treat, beast: Beast) -> None:
    assert treat(beast.make()).outcome == beast.outcome
    assert treat(zoo.jpeg()).outcome == SHOWN


def test_every_outcome_is_told_to_people() -> None:
    outcomes = {f.outcome for f in FORMATS} | {each for f in FORMATS for each in f.cut} | {b.outcome for b in BEASTS}
    assert {outcome.removeprefix("!") for outcome in outcomes} - {SHOWN} <= set(REASONS)


def test_a_model_tells_project_storeys_and_counts(treat) -> None:
    media = treat(zoo.ifc()).derived.media
    assert media == Media(
        format_version="IFC4",
        model=Model(
            project="Torre España",
            storeys=["Nivel 1", "Nivel 2"],
            counts={"IFCWALL": 30, "IFCBUILDINGSTOREY": 2, "IFCPROJECT": 1},
        ),
    )


def test_office_files_tell_their_words_and_properties(treat) -> None:
    for data, text in ((zoo.docx(), "Losa nivel 3"), (zoo.xlsx(), "Cemento Acero"), (zoo.pptx(), "Avance")):
        derived = treat(data).derived
        assert (derived.media.title, derived.media.author, derived.text) == ("Informe 7", "Ana", text)


def test_a_listing_shows_names_and_uses_none(treat, tmp_path: Path) -> None:
    before = {path.name for path in tmp_path.iterdir()} | {"file"}
    media = treat(zoo.strange_names()).derived.media
    assert media.members == [Member("../../etc/passwd", 4), Member("/abs/olute", 1), Member("link", 11)]
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_pdf_tells_its_words_and_labels(treat) -> None:
    derived = treat(zoo.pdf()).derived
    assert derived.text == "Fundacion Eje B" and derived.media.page_labels == ["A-101"]


def test_long_texts_are_found_by_each_of_their_words(treat) -> None:
    text = b" ".join(b"palabra%d" % (n % 5000) for n in range(40_000))
    words = treat(zoo.docx(text)).derived.text
    assert len(words.encode()) < 96 * 1024 and words.split() == [f"palabra{n}" for n in range(5000)]


@pytest.mark.parametrize(
    ("head", "kind", "icon"),
    [
        (b"II*\0\x08\0\0\0\x01\0\x12\xc6\x01\0\x04\0\0\0\1\4\0\0", "image/x-adobe-dng", "photo"),
        (b"MM\0*\0\0\0\x08\0\x02\xc6\x12\0\x01\0\0\0\4", "image/x-adobe-dng", "photo"),
        (b"II*\0\x08\0\0\0\x4a\x01\x04\0\2\0\0\0SONY\0", "image/x-sony-arw", "photo"),
        (b"MM\0*\0\0\0\x08\x01\x4a\0\x04NIKON CORPORATION", "image/x-nikon-nef", "photo"),
        (b"II*\0\x08\0\0\0NIKON CORPORATION", "image/tiff", "photo"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "image/x-canon-cr3", "photo"),
        (b"FUJIFILMCCD-RAW 0201", "image/x-fuji-raf", "photo"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "video/quicktime", "video"),
        (b"\0\0\0\x18ftyp3gp5\0\0\1\0", "video/3gpp", "video"),
        (b"RIFF\0\0\0\0AVI LIST", "video/x-msvideo", "video"),
        (b"\x1a\x45\xdf\xa3\x93", "video/matroska", "video"),
        (b"ISO-10303-21;\nHEADER;FILE_SCHEMA(('AP214'));", "model/step", "model"),
        (bytes(257) + b"ustar\x0000", "application/x-tar", "archive"),
    ],
)
def test_types_that_are_only_kept_are_known_by_their_first_bytes(
    tmp_path: Path, head: bytes, kind: str, icon: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(head + bytes(20))
    assert content_type_of(path) == kind and icon_of(kind) == icon


def test_what_is_only_kept_tells_its_version(treat) -> None:
    brand = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + struct.pack("!I", 8) + b"free"
    assert treat(brand).derived.media == Media(format_version="mp42")


def samples() -> list[Path]:
    return sorted(path for path in SAMPLES.rglob("*.*") if path.name != "README.md") if SAMPLES.is_dir() else []


@pytest.mark.skipif(not samples(), reason="no sample folder at hand")
def test_every_real_file_has_its_outcome(treat, deriver: Deriver, tmp_path: Path) -> None:
    outcomes = {name: outcome for names, outcome in zoo.SAMPLES for name in names}
    for path in samples():
        treated = treat(path.read_bytes())
        expected = outcomes[str(path.relative_to(SAMPLES))]
        assert treated.outcome == expected, path
        if expected == SHOWN:
            made = deriver.page(tmp_path / "file", content_type=treated.content_type, folder=tmp_path, number=1)
            assert made.picture and not made.reason, path
