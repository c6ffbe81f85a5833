"""The guide's commands are those that check its claims."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "isolation.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
QUERIES = [text for kind, text in BLOCKS if kind == "sql"]


def test_each_claim_has_its_command() -> None:
    claims, _, _ = GUIDE.partition("## What it costs")
    for claim in re.split(r"^(?=\*\*)", claims, flags=re.MULTILINE)[1:]:
        assert "```sh\n" in claim, claim


def test_each_test_that_is_named_is_there_and_would_run() -> None:
    lines = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith(".venv/bin/pytest ")]
    named = {word for words in commands for word in words if word.startswith("tests/")}
    assert len(named) > 10
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", *sorted(named)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert collected.returncode == 0, collected.stdout[-2000:]


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
async def test_each_query_finds_nothing_that_contradicts(admin: asyncpg.Connection, company, query: str) -> None:
    """In a database with companies in it."""
    statements = [each for each in query.split(";") if each.strip()]
    async with admin.transaction():
        for each in statements:
            assert await admin.fetch(each) == []
