"""Controls for the settings of a spec, made from what each setting says about itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import gradio as gr
from gradio.components import Component

from motion_transfer.errors import BadSpec
from motion_transfer.types import RenderSpec, TuneSpec
from motion_transfer.ui import words

S = TypeVar("S")

_MOST_SLIDER_WHOLES = 256
_MOST_SLIDER_RATIO = 1000.0
_FEWEST_STOPS = 100


def _fields(spec_class: type) -> dict[str, dataclasses.Field]:
    return {field.name: field for field in dataclasses.fields(spec_class)}


def label_of(field: dataclasses.Field) -> str:
    """A setting's name as people read it, with its unit if the name lacks it."""
    name, unit = field.name.replace("_", " "), field.metadata["unit"]
    return name.capitalize() + (f" ({unit})" if unit and unit not in name else "")


def explained(*spec_classes: type) -> dict[str, tuple[str, str]]:
    """Labels and explanations of all settings by name, as they are declared, in English."""
    fields = (field for spec_class in spec_classes for field in _fields(spec_class).values())
    return {field.name: (label_of(field), field.metadata["help"]) for field in fields}


def setting_label(name: str) -> str:
    """A setting's name as the reader's language has it."""
    field = (_fields(TuneSpec) | _fields(RenderSpec))[name]
    return words.knob(name, label_of(field), field.metadata["help"])[0]


def slider_step(low: float, high: float, default: float) -> float:
    """The coarsest of 1, 2, 5 times a power of ten that gives a hundred stops, with `low` and `default` among them."""
    for exponent in range(6, -9, -1):
        for digit in (5, 2, 1):
            step = float(f"{digit}e{exponent}")
            fine = step <= (high - low) / _FEWEST_STOPS
            if fine and all(abs(x / step - round(x / step)) < 1e-6 for x in (low, default)):
                return step
    raise AssertionError((low, high, default))


def _number(field: dataclasses.Field, shared: dict[str, Any]) -> Component:
    """A slider where a hand can hit the values, else a number box."""
    low, high, whole = field.metadata["low"], field.metadata["high"], isinstance(field.default, int)
    if low is None or high is None:
        return gr.Number(precision=0 if whole else None, **shared)
    wide = high - low > _MOST_SLIDER_WHOLES if whole else low > 0 and high / low > _MOST_SLIDER_RATIO
    if wide:
        return gr.Number(minimum=low, maximum=high, precision=0 if whole else None, **shared)
    step = 1 if whole else slider_step(low, high, shared["value"])
    return gr.Slider(minimum=low, maximum=high, step=step, **shared)


def control(spec_class: type, name: str, **look: Any) -> Component:
    """The control of one setting: dropdown, checkbox, text box, slider or number box.

    `look` goes to the component as it is.
    """
    field = _fields(spec_class)[name]
    label, info = words.knob(name, label_of(field), field.metadata["help"])
    shared = {"value": field.default, "label": label, "info": info, **look}
    if field.metadata["choices"]:
        return gr.Dropdown(choices=list(field.metadata["choices"]), **shared)
    if isinstance(field.default, bool):
        return gr.Checkbox(**shared)
    if isinstance(field.default, str):
        return gr.Textbox(**shared)
    return _number(field, shared)


def controls(spec_class: type, names: Iterable[str], begin: object | None = None) -> dict[str, Component]:
    """The controls of several settings, placed where it is called.

    Args:
        spec_class: of the settings.
        names: of the settings.
        begin: a spec whose values they begin with; left out, their defaults.
    """
    begin = begin if begin is not None else spec_class()
    return {name: control(spec_class, name, value=getattr(begin, name)) for name in names}


def other_names(spec_class: type, *taken: str) -> list[str]:
    """The settings that are not in `taken`, in their own order."""
    return [name for name in _fields(spec_class) if name not in taken]


def spec_from(spec_class: type[S], values: Mapping[str, Any]) -> S:
    """A spec from what the controls hold; settings without a control keep their default.

    Raises:
        BadSpec: a number is missing or out of range.
    """
    fields, clean = _fields(spec_class), dict(values)
    for name, value in values.items():
        if value is None:
            raise BadSpec(words.BAD_NUMBER.format(name=name.replace("_", " ")))
        if isinstance(fields[name].default, int) and isinstance(value, float) and value.is_integer():
            clean[name] = int(value)
    return spec_class(**clean)
