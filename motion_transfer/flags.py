"""Command line flags made from the settings of a spec, so that each setting is declared once."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import typer

_GIVEN = "set_by_hand"


def _left_open(context: typer.Context, name: str) -> bool:
    """Whether a setting has its value from nobody but the program."""
    source = context.get_parameter_source(name)
    return source is None or source.name in ("DEFAULT", "DEFAULT_MAP")


def _help(field: dataclasses.Field) -> str:
    """The setting's explanation with its choices or range, and its unit."""
    meta = field.metadata
    if meta["choices"]:
        return f"{meta['help']} One of {', '.join(meta['choices'])}."
    if meta["low"] is None:
        return meta["help"]
    unit = f" {meta['unit']}" if meta["unit"] else ""
    return f"{meta['help']} From {meta['low']:g} to {meta['high']:g}{unit}."


def _flag(field: dataclasses.Field, required: bool) -> inspect.Parameter:
    """One setting as an option of its own type; its range is checked by the spec, in the spec's words."""
    default = ... if required else field.default
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=typer.Option(default, help=_help(field), show_default=not isinstance(field.default, str)),
        annotation=type(field.default),
    )


def with_settings(
    required: tuple[str, ...] = (), left_out: tuple[str, ...] = (), only: tuple[str, ...] = (), **spec_classes: type
) -> Callable[[Callable], Callable]:
    """Gives a command one flag for every setting of some specs, and hands it the specs.

    A setting that two specs share (the seed) is one flag, given to both. A command with a parameter `set_by_hand` is
    handed the names of the settings that stood on the command line.

    Args:
        required: settings that must be given.
        left_out: settings without a flag, which keep their default.
        only: the settings that get a flag; default all of them.
        **spec_classes: the command's parameter for each spec.
    """
    all_fields = [field for spec in spec_classes.values() for field in dataclasses.fields(spec)]
    fields = {f.name: f for f in all_fields if f.name not in left_out and (not only or f.name in only)}

    def decorate(command: Callable) -> Callable:
        parameters = inspect.signature(command, eval_str=True).parameters
        own = [p for p in parameters.values() if p.name not in (*spec_classes, _GIVEN)]
        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)

        @functools.wraps(command)
        def run(**values: Any) -> None:
            here, flagged = values.pop("context"), {name: values.pop(name) for name in fields}
            for name, spec_class in spec_classes.items():
                settings = {f.name: flagged[f.name] for f in dataclasses.fields(spec_class) if f.name in flagged}
                values[name] = spec_class(**settings)
            if _GIVEN in parameters:
                values[_GIVEN] = {name for name in fields if not _left_open(here, name)}
            command(**values)

        flags = [_flag(field, name in required) for name, field in fields.items()]
        own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        run.__signature__ = inspect.Signature([context, *own, *flags])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in [context, *own, *flags]}
        return run

    return decorate
