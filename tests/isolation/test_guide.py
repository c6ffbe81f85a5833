"""The guide's commands are those that check its claims."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import asyncpg
import click
import pytest

from buildpeer.entrypoints.cli import main

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "isolation.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
QUERIES = [text for kind, text in BLOCKS if kind == "sql"]


def test_each_claim_has_its_command() -> None:
    claims, _, _ = GUIDE.partition("## What it costs")
    for claim in re.split(r"^(?=\*\*)", claims, flags=re.MULTILINE)[1:]:
        assert "```sh\n" in claim, claim


def commands(program: str) -> list[list[str]]:
    lines = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith(f".venv/bin/{program} ")]


def collected(*words: str) -> list[str]:
    """The tests that pytest would run, by their ids."""
    said = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stdout[-2000:]
    return [line for line in said.stdout.splitlines() if "::" in line]


def test_each_command_runs_tests_and_make_test_runs_them_too() -> None:
    """So what the guide claims is tried with every change. One run finds all that have no options of their own."""
    plain = [words for words in commands("pytest") if not {"-m", "-k"} & set(words)]
    named = [word for words in plain for word in words if word.startswith("tests/")]
    assert len(named) > 20
    found = collected(*sorted(set(named)))  # without those that take minutes, like `make test`
    for name in named:
        assert any(re.match(rf"{re.escape(name)}(\[|::|$)", each) for each in found), name
    for words in commands("pytest"):
        if words not in plain:
            assert collected(*words), words


def test_each_other_command_takes_what_is_said_to_it() -> None:
    for words in commands("buildpeer"):
        command: click.Command = main
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        taken = {option for param in command.params for option in param.opts}
        assert {word for word in words if word.startswith("--")} <= taken, words


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
async def test_each_query_finds_nothing_that_contradicts(admin: asyncpg.Connection, company, query: str) -> None:
    """In a database with companies in it."""
    statements = [each for each in query.split(";") if each.strip()]
    async with admin.transaction():
        for each in statements:
            assert await admin.fetch(each) == []
