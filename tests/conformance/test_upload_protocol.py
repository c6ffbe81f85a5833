"""The page on the upload protocol says what the code does, and its test vectors are those of the code."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.conformance import vectors

from buildpeer.client.api import ApiError, Patience
from buildpeer.conformance.rules import MOST_CONNECTIONS, RULES
from buildpeer.conformance.scenarios import SCENARIOS
from buildpeer.conformance.traffic import PART
from buildpeer.layout import CELL, MOST_CELLS, PART_SIZE
from buildpeer.modules.uploads import rules
from buildpeer.platform.errors import CODES

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "upload-protocol.md").read_text()
TEXT = " ".join(GUIDE.split())


def rows(heading: str) -> dict[str, str]:
    """The first table below a line that begins with `heading`: first cell by second."""
    table = GUIDE.split(f"\n{heading}", 1)[1].split("\n|", 1)[1].split("\n\n", 1)[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {row[0].strip("`"): row[1] for row in cells}


def examples() -> list[Any]:
    return [json.loads(text) for text in re.findall(r"^```json\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)]


def test_the_vectors_are_those_of_the_code() -> None:
    same = (ROOT / "docs" / "guides" / "upload-protocol.json").read_text() == vectors.text()
    assert same, "run `make vectors`"


def test_the_page_names_every_set_of_vectors() -> None:
    section = GUIDE.split("## 14.")[1].split("## 15.")[0]
    assert set(vectors.VECTORS) - {"constants"} == set(re.findall(r"`([a-z_]+)`", section)) - {"vectors"}


def test_pauses_lie_within_their_bounds() -> None:
    patience = Patience()
    for case in vectors.VECTORS["pauses"]:
        drawn = [patience.pause_s(case["failures"]) for _ in range(200)]
        assert case["least_s"] <= min(drawn) <= max(drawn) <= case["most_s"]
        told = f"{case['least_s']:g}-{case['most_s']:g} s".replace("0.5-", "½-")
        assert told in TEXT
    asked = ApiError("unavailable", 503, "", retry_after_s=7)
    assert patience.pause_s(1, asked) >= 7


def test_the_numbers_are_those_of_the_code() -> None:
    assert PART == PART_SIZE
    for number in (PART_SIZE, CELL, MOST_CELLS * CELL, rules.MAX_BATCH):
        assert f"{number:,}" in TEXT
    assert f"at most {rules.URLS_PER_CALL} pieces" in TEXT
    assert f"The first {rules.URLS_PER_BATCH} files of one part" in TEXT
    assert f"{Patience().failures} failures in a row without progress" in TEXT
    assert f"at most {MOST_CONNECTIONS} in all" in TEXT
    for kind, limit in rules.SIZE_LIMITS.items():
        assert re.search(
            rf"{limit // rules.MIB} MiB (?:for )?(?:a )?`{kind}`|{limit // rules.MIB} MiB for a `{kind}`", TEXT
        )


def test_the_example_of_a_cut_file_is_that_of_the_vectors() -> None:
    cut = vectors.cut(vectors.FILE)
    part, cell = cut["last_part"], cut["last_cell"]
    assert f"A file of {vectors.FILE:,} bytes has {cut['parts']} parts" in TEXT
    assert f"(the last {part.length:,} bytes at {part.offset:,})" in TEXT
    assert f"{cut['cells']} cells (the last {cell.length:,} bytes at {cell.offset:,})" in TEXT


def test_the_example_of_resuming_adds_up() -> None:
    [told] = [each for each in examples() if each.get("state") == "receiving"]
    [gone] = [each for each in examples() if each.get("code") == "upload_incomplete"]
    held = [vectors.Range(**each) for each in told["received"]]
    assert [
        {"offset": each.offset, "length": each.length} for each in vectors.layout.missing(told["size_bytes"], held)
    ] == (gone["missing"])


def test_examples_of_opening_and_of_urls_would_be_taken() -> None:
    [opening] = [each for each in examples() if "uploads" in each and "sha256" in each["uploads"][0]]
    for new in opening["uploads"]:
        rules.check_new(vectors.msgspec.convert(new, rules.NewUpload))
    for each in (each for each in examples() if "chunks" in each):
        for chunk in each["chunks"]:
            vectors.layout.check_chunk(vectors.FILE, vectors.Range(chunk["offset"], chunk["length"]))


def test_every_state_is_told_and_no_other() -> None:
    assert list(rows("## 10.")) == list(get_args(rules.State))


@pytest.mark.parametrize(("heading", "told"), [("| scenario", SCENARIOS), ("| rule", RULES)])
def test_every_scenario_and_rule_is_told_as_the_runner_tells_it(heading: str, told: Any) -> None:
    table = GUIDE.split(f"\n{heading}", 1)[1].split("\n\n", 1)[0]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    assert found == [[f"`{each.name}`", each.sentence] for each in told]


def test_every_code_and_every_route_exists() -> None:
    codes = set(re.findall(r"`(?:\d{3} )?((?:upload|file|name|id|batch)_(?:[a-z]+))`", GUIDE))
    assert codes - {"upload_id", "upload_ids"} <= set(CODES)
    paths = json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"]
    routes = {re.sub(r"\{\w+\}", "{}", path) for path in paths}
    named = {re.sub(r"\{\w+\}", "{}", path) for path in re.findall(r"(?:GET|POST) (/v1/[\w/{}]+)", GUIDE)}
    assert named <= routes
