"""What the page says, in the language of who reads it: `words.NAME` for every name of the catalogs `en` and `zh`.

While the page is built, a text is a mark that the browser replaces by the text in its own language (`gr.I18n`); while a
request is answered, it is the text in the language that the browser asks for; elsewhere it is English.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from gradio.context import LocalContext

from motion_transfer.ui.words import en, zh

LANGUAGES: dict[str, ModuleType] = {"en": en, "zh": zh}
ALSO_CALLED = {"zh": ("zh-CN", "zh-TW", "zh-HK")}  # what browsers say for it

_MARK = "__i18n__"
_building: ContextVar[bool] = ContextVar("building", default=False)


@contextmanager
def building() -> Iterator[None]:
    """While a page is built, texts are marks."""
    token = _building.set(True)
    try:
        yield
    finally:
        _building.reset(token)


def language() -> str:
    """Of the request that is being answered; English without one."""
    request = LocalContext.request.get(None)
    asked = request.headers.get("accept-language", "") if request is not None else ""
    first = asked.split(",")[0].partition(";")[0].partition("-")[0].strip().lower()
    return first if first in LANGUAGES else "en"


def is_mark(text: str) -> bool:
    """Whether the browser will replace a text, so that it must reach it letter by letter."""
    return text.startswith(_MARK)


def _mark(key: str) -> str:
    """What gradio's front end replaces by the text of that key."""
    return _MARK + json.dumps({"__type__": "translation_metadata", "key": key})


def knob(name: str, label: str, info: str) -> tuple[str, str]:
    """A setting's label and explanation.

    Args:
        name: of its field.
        label: in English.
        info: in English.
    """
    if _building.get():
        return _mark(f"knob.{name}.label"), _mark(f"knob.{name}.info")
    return LANGUAGES[language()].KNOBS.get(name, (label, info))


def catalog(knobs: dict[str, tuple[str, str]]) -> dict[str, dict[str, str]]:
    """Texts by key, by language, for the browser.

    Args:
        knobs: English labels and explanations of all settings by name.
    """
    found = {}
    for name, module in LANGUAGES.items():
        texts = {key: text for key, text in vars(module).items() if key.isupper() and isinstance(text, str)}
        for setting, (label, info) in (knobs | module.KNOBS).items():
            texts |= {f"knob.{setting}.label": label, f"knob.{setting}.info": info}
        found |= dict.fromkeys((name, *ALSO_CALLED.get(name, ())), texts)
    return found


def __getattr__(name: str) -> Any:
    if not name.isupper():
        raise AttributeError(f"there is no {name} among the words")
    if _building.get() and isinstance(getattr(en, name), str):
        return _mark(name)
    return getattr(LANGUAGES[language()], name)
