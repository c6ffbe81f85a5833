"""What stands on papers, in every language."""

from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest

from buildpeer.modules.reports.rules import bitacora, entries
from buildpeer.platform import messages


@pytest.mark.parametrize("words", [messages.DAILY_LOG_PAPER, messages.BITACORA_PAPER], ids=["daily log", "bitacora"])
def test_a_paper_says_the_same_in_every_language(words: dict[str, dict[str, str]]) -> None:
    assert set(words) == set(messages.LANGUAGES)
    for language in words.values():
        assert set(language) == set(words["es"])
        assert all(language.values())


@pytest.mark.parametrize("shape", get_args(entries.Content), ids=lambda shape: shape.__name__)
def test_every_field_and_what_it_may_hold_has_a_word(shape: Any) -> None:
    words = messages.DAILY_LOG_PAPER["es"]
    assert f"kind_{shape.__struct_config__.tag}" in words
    for field in msgspec.structs.fields(shape):
        assert field.name in words
        assert {f"{field.name}_{value}" for value in chosen_from(field.type)} <= set(words), field.name


def chosen_from(kind: Any) -> list[str]:
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return [value for part in get_args(kind) if part is not type(None) for value in chosen_from(part)]


def test_every_class_and_role_has_a_word() -> None:
    words = messages.BITACORA_PAPER["es"]
    assert {f"class_{name}" for name in get_args(bitacora.Class)} <= set(words)
    assert {f"role_{name}" for name in bitacora.ROLES} <= set(words)
