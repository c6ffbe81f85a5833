"""What the documents name exists, what they list is whole, and what is made from the code is up to date."""

import importlib.metadata
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from buildpeer.entrypoints.cli import main
from buildpeer.local.stack import Ports
from buildpeer.modules.identity.rules import permissions_page
from buildpeer.platform.config import PREFIX, Settings
from buildpeer.platform.errors import CODES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CONTRIBUTING", "STYLE", "CHANGELOG")]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
ADRS = sorted((ROOT / "docs" / "adr").glob("*.md"))
DOCUMENTS = [*PAGES, *GUIDES, *ADRS]
ROOMS = (ROOT, ROOT / "src" / "buildpeer")  # paths are named from the root, or from the package
MADE = {".venv", ".venv-ministack", ".buildpeer"}  # by the commands that the documents tell
PATH = re.compile(r"[\w.*<>-]*(?:/[\w.*<>-]+)*(?:/|\.(?:py|md|sql|toml|yaml|json|svg|in|lock|importlinter))")
NOT_HERE = ("pypi.org", "pythonhosted.org", "npmjs.", "crates.io", "rubygems.org", "proxy.golang.org", "docker.io")
HOMES = re.compile(r"(?<![\w.])/(?:home|root|Users|tmp|work|mnt)/")


def each(documents: Iterable[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("document", documents, ids=lambda path: str(path.relative_to(ROOT)))


def blocks(document: Path) -> list[str]:
    """What stands between fences."""
    return re.findall(r"^```\w*\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)


def spans(document: Path) -> list[str]:
    """What stands between back-ticks in running text."""
    text = re.sub(r"^```\w*\n.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`]+)`", text)


def code(document: Path) -> list[str]:
    return spans(document) + blocks(document)


def commands(document: Path, program: str) -> set[str]:
    """The words that follow a program's name wherever a command may begin."""
    found = re.compile(rf"(?:^|\s|/){program} +([a-z][a-z0-9-]*)", re.MULTILINE)
    lines = [re.sub(r"(?:^|\s)#.*", "", line) for text in code(document) for line in text.splitlines()]
    return {word for line in lines for word in found.findall(line)}


def exists(path: str) -> bool:
    pattern = re.sub(r"<\w+>", "*", path).rstrip("/")
    return pattern.split("/")[0] in MADE or any(any(room.glob(pattern)) for room in ROOMS)


@each([*PAGES, *GUIDES, *ADRS])
def test_every_path_that_is_named_exists(document: Path) -> None:
    named = {span for span in spans(document) if PATH.fullmatch(span) and not span.startswith("/")}
    # the files that every module has are named alone
    assert {path for path in named if not exists(path) and ("/" in path or not exists(f"modules/*/{path}"))} == set()


@each(DOCUMENTS)
def test_every_command_that_is_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert commands(document, "make") <= targets
    assert commands(document, "buildpeer") <= set(main.commands)


def test_every_command_has_a_page_that_names_it() -> None:
    named = set[str]().union(*(commands(document, "buildpeer") for document in DOCUMENTS))
    assert set(main.commands) <= named


@each(DOCUMENTS)
def test_every_setting_that_is_named_exists(document: Path) -> None:
    rooms = (ROOT / "src", *(ROOT / "tests" / name for name in ("chaos", "isolation", "simulation")))
    sources = "\n".join(path.read_text() for room in rooms for path in room.rglob("*.py"))
    known = settings() | set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+\b", sources))
    assert set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+\b", document.read_text())) <= known


def settings() -> set[str]:
    ports = {f"{PREFIX}{field.upper()}_PORT" for field in Ports.__struct_fields__}
    return ports | {f"{PREFIX}{field.upper()}" for field in Settings.__struct_fields__}


def test_the_readme_names_every_setting_with_its_default() -> None:
    text = (ROOT / "README.md").read_text()
    assert settings() <= set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+\b", text))
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith(f"| `{PREFIX}")]
    told = {name: default for row in rows for name, default in zip(row[1].split(", "), row[2].split(", "), strict=True)}
    assert told == {
        f"`{PREFIX}{field.name.upper()}`": shown(field.default) for field in msgspec.structs.fields(Settings)
    }
    for field in msgspec.structs.fields(Ports):
        assert f"`{PREFIX}{field.name.upper()}_PORT` ({field.default})" in " ".join(text.split())


def shown(default: object) -> str:
    if default in ("", None):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


@each(DOCUMENTS)
def test_every_test_that_is_named_exists(document: Path) -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    named = {span for span in spans(document) if re.fullmatch(r"test_\w+", span)}
    assert named <= set(re.findall(r"def (test_\w+)", tests))


def test_the_architecture_names_every_contract_and_every_module() -> None:
    linted = (ROOT / ".importlinter").read_text()
    text = (ROOT / "ARCHITECTURE.md").read_text()
    contracts = re.findall(r"^\[importlinter:contract:(.+)\]$", linted, re.MULTILINE)
    assert re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE) == contracts
    modules = {path.parent.name for path in (ROOT / "src" / "buildpeer" / "modules").glob("*/__init__.py")}
    assert modules <= set(spans(ROOT / "ARCHITECTURE.md"))


def test_the_table_of_errors_is_that_of_the_code() -> None:
    rows = [f"| `{code}` | {kind.status} | {kind.title} |" for code, kind in CODES.items()]
    text = (ROOT / "docs" / "guides" / "api.md").read_text()
    assert [line for line in text.splitlines() if re.match(r"\| `\w+` \| \d", line)] == rows


def test_the_api_description_is_that_of_the_code() -> None:
    printed = CliRunner().invoke(main, ["openapi"])
    assert printed.exit_code == 0, printed.output
    same = (ROOT / "docs" / "openapi.json").read_text() == printed.stdout
    assert same, "run `make openapi`"  # a diff of two long files helps nobody


def test_the_page_of_permissions_is_the_table_in_the_code() -> None:
    same = (ROOT / "docs" / "permissions.md").read_text() == permissions_page()
    assert same, "run `make openapi`"


@each(DOCUMENTS)
def test_relative_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text())
    local = {link.split("#")[0] for link in links if "://" not in link and not link.startswith("#")}
    assert {link for link in local if not (document.parent / link).exists()} == set()


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [int(path.name[:4]) for path in ADRS] == list(range(1, len(ADRS) + 1))


@each(ADRS)
def test_a_decision_is_a_page_and_says_what_was_passed_over(document: Path) -> None:
    lines = document.read_text().splitlines()
    assert lines[0].startswith(f"# {int(document.name[:4])}. ")
    headings = [line[3:] for line in lines if line.startswith("## ")]
    assert headings == ["Context", "Decision", "Passed over", "Consequences"]
    assert len(lines) <= 80


def test_every_library_has_its_reason() -> None:
    wanted: dict[str, str] = {}
    for name in ("app", "dev"):
        for line in (ROOT / "requirements" / f"{name}.in").read_text().splitlines():
            if line and not line.startswith(("#", "-")):
                wanted[re.split(r"[<>=~!;]", line)[0]] = name
    text = (ROOT / "docs" / "adr" / "0002-libraries.md").read_text()
    rows = re.findall(r"^\| ([^| ]+) \| ([^|]+) \|", text, re.MULTILINE)
    given = {name: licence for name, licence in rows if name != "package"}
    assert set(given) == set(wanted)
    for name, licence in given.items():
        assert licence_family(name.split("[")[0]) in licence, name


def licence_family(package: str) -> str:
    """The first word of what the package's own metadata says, since spellings differ."""
    meta = importlib.metadata.metadata(package)
    classifiers = [line.rsplit(":: ", 1)[1] for line in meta.get_all("Classifier") or [] if "License ::" in line]
    said = meta.get("License-Expression") or meta.get("License") or classifiers[0]
    return re.split(r"[\s-]", said)[0]


def test_the_python_that_is_named_is_the_one_that_is_required() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = project["requires-python"].removeprefix(">=")
    for name in ("README", "CONTRIBUTING"):
        assert set(re.findall(r"Python (\d\.\d+)", (ROOT / f"{name}.md").read_text())) == {version}


@each([*DOCUMENTS, *sorted((ROOT / "requirements").iterdir()), *sorted((ROOT / "docs" / "pictures").iterdir())])
def test_nothing_names_a_registry_or_somebodys_machine(document: Path) -> None:
    text = document.read_text()
    assert [word for word in NOT_HERE if word in text] == []
    assert HOMES.findall(text) == []
