"""Presets as JSON, in files; formats of the past are brought up to date on the way in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from motion_transfer.atomic import replacing
from motion_transfer.errors import StorageFailed
from motion_transfer.presets.values import FORMAT, BadPreset, Preset, shown

MAX_BYTES = 2**16

# What turns the values of a format into those of the next one; the format's number is changed for it.
_MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise BadPreset(f"a preset must name everything once, but {shown(double)} is there twice; remove one.")
    return values


def _not_finite(word: str) -> None:
    raise BadPreset(f"numbers of a preset must be finite, but one is {word}; correct it.")


def parse(data: bytes) -> dict[str, Any]:
    """The values in a preset's JSON, not yet checked.

    Raises:
        BadPreset: it is no JSON object, or an ambiguous one.
    """
    try:
        text = data.decode("utf-8-sig")
        values = json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_not_finite)
    except UnicodeDecodeError as error:
        raise BadPreset("a preset must be text in UTF-8, but is not; save it again as UTF-8.") from error
    except json.JSONDecodeError as error:
        raise BadPreset(f"a preset must be JSON, but is not at line {error.lineno}; correct it.") from error
    except (ValueError, RecursionError) as error:
        raise BadPreset("a preset must be JSON of a few levels and short numbers, but is not; make it anew.") from error
    if not isinstance(values, dict):
        raise BadPreset(f"a preset must be a JSON object, but is {shown(values)}; choose another.")
    return values


def _migrated(values: dict[str, Any]) -> dict[str, Any]:
    """Values of an older format as this format holds them."""
    number = values.get("format")
    if type(number) is not int:
        raise BadPreset(f"format of the preset must be a whole number, but is {shown(number)}; make the preset anew.")
    if number > FORMAT:
        raise BadPreset(f"this version reads presets up to format {FORMAT}, but this one was made by a newer version "
                        f"(format {shown(number)}); update the program.")  # fmt: skip
    while number < FORMAT:
        if number not in _MIGRATIONS:
            raise BadPreset(f"format of the preset must be one that was in use, but is {shown(number)}; "
                            "make the preset anew.")  # fmt: skip
        try:
            values = {**_MIGRATIONS[number](values), "format": number + 1}
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise BadPreset(f"a preset of format {number} is expected, but this is none; make it anew.") from error
        number += 1
    return values


def preset_of(values: dict[str, Any]) -> Preset:
    """The preset that values of this or an older format stand for.

    Raises:
        BadPreset: they are of a newer format, or something does not fit.
    """
    return Preset(**_migrated(values))


def save_preset(preset: Preset, path: Path) -> None:
    """Writes a preset as JSON; settings at their default are left out. The old file, if any, is replaced in one step.

    Raises:
        StorageFailed: the disk does not take it.
    """
    path = Path(path)
    data = json.dumps(preset.as_values(), indent=2, ensure_ascii=False).encode() + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_bytes(data)
    except OSError as error:
        raise StorageFailed(f"a place for the preset is expected, but {shown(path.name)} can't be written "
                            f"({error.strerror}); choose another.") from error  # fmt: skip


def load_preset(path: Path) -> Preset:
    """Reads a preset file.

    Raises:
        BadPreset: there is none, or what it holds is no preset of this version.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise BadPreset(f"a preset file is expected, but {shown(path.name)} is none; check the name.")
        with path.open("rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadPreset(f"a preset file is expected, but {shown(path.name)} can't be read ({error.strerror}); "
                        "choose another.") from error  # fmt: skip
    if len(data) > MAX_BYTES:
        raise BadPreset(f"a preset must be at most {MAX_BYTES // 1024} KB, but {shown(path.name)} is larger; "
                        "choose another.")  # fmt: skip
    return preset_of(parse(data))
