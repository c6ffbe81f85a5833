import re
from pathlib import Path

import pytest

from buildpeer.modules.uploads import rules
from buildpeer.platform import messages
from buildpeer.platform.errors import CODES


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "es"),
        ("", "es"),
        ("pt-BR,pt;q=0.9,en;q=0.8", "pt"),
        ("en-US", "en"),
        ("fr, en;q=0.3, es;q=0.7", "es"),
        ("de", "es"),
        ("en;q=0", "es"),
        ("en;q=x", "es"),
    ],
)
def test_the_language_is_the_callers_first_that_we_have(header: str | None, language: str) -> None:
    assert messages.pick_language(header) == language


def test_every_reason_and_problem_is_told_in_every_language() -> None:
    assert set(messages.PROBLEMS) == set(CODES)
    for code, texts in (messages.REASONS | messages.PROBLEMS).items():
        assert set(texts) == set(messages.LANGUAGES), code
        assert all(text.endswith(".") for text in texts.values()), code
        assert len({frozenset(re.findall(r"{\w+}", text)) for text in texts.values()}) == 1, code


def test_every_end_without_a_document_has_a_reason_that_people_can_read() -> None:
    for code in (
        "infected",
        "unscannable",
        "hash_differs",
        "processing_failed",
        "never_arrived",
        "cancelled_by_sender",
        "sender_left",
    ):
        assert code in messages.REASONS
    assert {"quarantined", "unscannable", "mismatched", "failed", "expired", "cancelled"} < rules.ENDS


def test_every_action_in_the_trail_is_told_in_every_language() -> None:
    stores = (Path(messages.__file__).parents[1] / "modules").rglob("*.py")
    told = {
        action for path in stores for action in re.findall(r"store\.audit\w*\(\s*tx,\s*\"(\w+)\"", path.read_text())
    }
    assert {"sign_in", "device_joined", "password_reset"} < told <= set(messages.ACTIONS)
    assert all(set(texts) == set(messages.LANGUAGES) for texts in messages.ACTIONS.values())
