"""Both languages say the same: every text is there twice, with the same places for names and numbers."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from gradio.context import LocalContext

from motion_transfer.types import RenderSpec, TuneSpec
from motion_transfer.ui import words
from motion_transfer.ui.knobs import explained
from motion_transfer.ui.words import en, zh

NAMES = sorted(name for name in vars(en) if name.isupper())
NOT_TRANSLATED = {"BASE_NOTES", "KNOBS"}  # empty in English


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value.values()
    else:
        yield from value


def _places(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)


def test_both_languages_name_the_same() -> None:
    assert sorted(name for name in vars(zh) if name.isupper()) == NAMES


@pytest.mark.parametrize("catalog", [en, zh])
def test_every_text_has_a_name_of_its_own(catalog: ModuleType) -> None:
    assert catalog.__file__ is not None
    nodes = ast.walk(ast.parse(Path(catalog.__file__).read_text()))
    given = [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    assert len(given) == len(set(given))


@pytest.mark.parametrize("name", sorted(set(NAMES) - NOT_TRANSLATED))
def test_both_languages_have_the_same_places(name: str) -> None:
    english, chinese = getattr(en, name), getattr(zh, name)
    assert type(english) is type(chinese)
    if isinstance(english, dict):
        assert list(english) == list(chinese)
    pairs = list(zip(_texts(english), _texts(chinese), strict=True))
    assert all(_places(one) == _places(other) for one, other in pairs)


def test_every_setting_is_explained_in_both() -> None:
    assert set(zh.KNOBS) == set(explained(TuneSpec, RenderSpec))
    found = words.catalog(explained(TuneSpec, RenderSpec))
    assert len({frozenset(texts) for texts in found.values()}) == 1 and {"en", "zh", "zh-CN"} <= set(found)
    assert re.search("[\u4e00-\u9fff]", found["zh"]["knob.rank.label"]) and found["en"]["knob.rank.label"] == "Rank"


@pytest.mark.parametrize(
    ("asked", "found"),
    [("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("zh", "zh"), ("en-US,zh;q=0.5", "en"), ("fr", "en"), ("", "en"), (",;", "en")],
)
def test_a_request_is_answered_in_its_language(asked: str, found: str) -> None:
    token = LocalContext.request.set(SimpleNamespace(headers={"accept-language": asked}))  # type: ignore[arg-type]
    try:
        assert words.language() == found and words.RENDER == words.LANGUAGES[found].RENDER
    finally:
        LocalContext.request.reset(token)
    assert words.RENDER == en.RENDER


def test_a_page_that_is_built_holds_marks() -> None:
    with words.building():
        assert words.is_mark(words.RENDER) and '"RENDER"' in words.RENDER
        assert words.is_mark(words.knob("rank", "Rank", "…")[0])
    assert words.RENDER == en.RENDER
    with pytest.raises(AttributeError):
        _ = words.nothing_of_that_name
