"""Each import contract catches what it is for: a violation is planted in a copy, and must be found."""

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# contract: (file to spoil, line to plant)
VIOLATIONS = {
    "one-direction": ("platform/clock.py", "import buildpeer.processing"),
    "module-order": ("modules/identity/service/members.py", "import buildpeer.modules.uploads.facade"),
    "facades": ("modules/documents/service/documents.py", "import buildpeer.modules.uploads.store"),
    "rooms": ("modules/uploads/store.py", "import buildpeer.modules.uploads.service"),
    "http-fence": ("modules/uploads/service/opening.py", "import litestar"),
    "pure-rules": ("modules/uploads/rules.py", "import asyncpg"),
    "functions": ("processing/derive.py", "import buildpeer.platform.db"),
    "client-alone": ("client/push.py", "import buildpeer.platform.ids"),
}


def contracts() -> set[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    return {name.rsplit(":", 1)[1] for name in config.sections() if ":contract:" in name}


def lint(source: Path, contract: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": f"{source}{os.pathsep}{ROOT}"}
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache", "--contract", contract]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "src" / "buildpeer", tmp_path / "buildpeer", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_every_contract_has_a_violation_here() -> None:
    assert contracts() == set(VIOLATIONS)


@pytest.mark.parametrize("contract", sorted(VIOLATIONS))
def test_a_planted_violation_is_caught(copy: Path, contract: str) -> None:
    spoiled, line = VIOLATIONS[contract]
    path = copy / "buildpeer" / spoiled
    path.write_text(f"{path.read_text()}\n{line}\n")
    answer = lint(copy, contract)
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert "BROKEN" in answer.stdout, answer.stdout + answer.stderr


def test_a_room_of_another_name_is_caught(copy: Path) -> None:
    (copy / "buildpeer" / "modules" / "uploads" / "utils.py").write_text('"""Odds and ends."""\n')
    assert lint(copy, "rooms").returncode == 1
    (copy / "buildpeer" / "modules" / "warehouse").mkdir()
    (copy / "buildpeer" / "modules" / "warehouse" / "__init__.py").write_text('"""A module."""\n')
    assert lint(copy, "module-order").returncode == 1


def test_the_house_itself_keeps_every_contract() -> None:
    answer = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout


def test_what_judges_clients_may_not_look_into_the_house(copy: Path) -> None:
    path = copy / "buildpeer" / "conformance" / "rules.py"
    path.write_text(f"{path.read_text()}\nimport buildpeer.layout\n")
    assert lint(copy, "client-alone").returncode == 1
