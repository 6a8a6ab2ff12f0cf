"""What a preset may hold: its settings are those of the specs, no wider and no narrower."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from motion_transfer.errors import BadSpec
from motion_transfer.presets import (
    Preset,
    PresetLora,
    preset_from_text,
)
from motion_transfer.types import RenderSpec
from tests.presets.samples import (
    COMMIT,
    DEFAULTS_OF_FORMAT_1,
    GOLDEN,
    KNOBS,
    SETTINGS,
    link_of,
    lora_values,
    preset_values,
    refusal,
)


@pytest.mark.parametrize(("spec", "field"), KNOBS, ids=lambda x: getattr(x, "name", None))
def test_every_setting_is_taken_over_from_its_spec(spec: type, field: dataclasses.Field) -> None:
    schema = SETTINGS[spec].model_json_schema()
    assert schema["additionalProperties"] is False
    assert list(schema["properties"]) == [knob.name for knob in dataclasses.fields(spec)]
    found, meta = schema["properties"][field.name], field.metadata
    assert found["default"] == field.default and type(found["default"]) is type(field.default)
    assert (found.get("minimum"), found.get("maximum")) == (meta["low"], meta["high"])
    assert found.get("enum") == (list(meta["choices"]) if meta["choices"] else None)
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
    assert found["type"] == kinds[type(field.default)]
    assert found.get("maxLength") == (2000 if field.default == "" else None)


@pytest.mark.parametrize(("spec", "field"), KNOBS, ids=lambda x: getattr(x, "name", None))
def test_settings_are_as_strict_as_their_spec(spec: type, field: dataclasses.Field) -> None:
    low, high, side = field.metadata["low"], field.metadata["high"], SETTINGS[spec]
    bad: list[Any] = [None, [], {}, b"x"]
    if low is not None:
        bad += [math.nextafter(low, -math.inf), high + 1, math.nan, math.inf, -math.inf, "1", True, 10**30]
    else:
        bad += [0, 1, 0.5]
    for value in bad:
        refusal(lambda value=value: side(**{field.name: value}), field.name.replace("_", " "))


def test_defaults_are_those_that_shared_presets_count_on() -> None:
    for spec, defaults in DEFAULTS_OF_FORMAT_1.items():
        assert {name: getattr(spec(), name) for name in defaults} == defaults


@pytest.mark.parametrize(
    "base",
    ["", "/", "/etc/passwd", "./nano", "../nano", "..", ".", "a/..", "a/../b", "a..b", "~", "~/nano", "a/~b", "a\\b",
     "C:nano", "a/b/c", "a//b", "a/", "nano\n", "na no", "http://a.b", "-nano", "nanö", "a@b", "a" * 101, None, 3,
     b"nano"],
)  # fmt: skip
def test_a_base_is_never_a_path(base: Any) -> None:
    refusal(lambda: Preset(name="x", base=base), "base of the preset", "never a path")
    if not isinstance(base, bytes):
        refusal(lambda: preset_from_text(link_of(preset_values(base=base))), "base of the preset")


@pytest.mark.parametrize("base", ["nano", "nano-fast", "Wan-AI/Wan2.1-T2V-14B-Diffusers", "a.b_c-d", "_/0", "a" * 100])
def test_names_of_bases_are_taken(base: str) -> None:
    assert Preset(name="x", base=base).base == base


@pytest.mark.parametrize(
    "hub",
    ["", "owner/name", f"name@{COMMIT}", f"owner/name@{COMMIT[:-1]}", f"owner/name@{COMMIT}0", f"o/n@{COMMIT[:-1]}G",
     "o/n@main", f"../name@{COMMIT}", f"a/b/c@{COMMIT}", f"https://hf.co/o/n@{COMMIT}", f"o/n@{COMMIT}\n",
     f"o/n@{'A' * 40}", f"{'o' * 60}/{'n' * 60}@{COMMIT}", 3],
)  # fmt: skip
def test_a_hub_address_is_pinned_to_a_commit(hub: Any) -> None:
    refusal(lambda: PresetLora(**lora_values(hub=hub)), "hub of a LoRA", "40 hex digits")


@pytest.mark.parametrize("name", ["", " ", "\n", "a\nb", "a\0", "x" * 81, "a\u202eb", "a\u2029b", "\ud83d", 3, None])
def test_names_are_one_readable_line(name: Any) -> None:
    refusal(lambda: PresetLora(**lora_values(name=name)), "name of a LoRA", "80")
    refusal(lambda: Preset(name=name, base="nano"), "name of the preset", "80")


def test_texts_have_a_length() -> None:
    for name, most in (("description", 500), ("credits", 200)):
        assert getattr(Preset(name="x", base="nano", **{name: "x" * most}), name) == "x" * most
        refusal(lambda name=name, most=most: Preset(name="x", base="nano", **{name: "x" * (most + 1)}), name, str(most))


def test_presets_are_frozen_and_can_be_compared(typical: Preset) -> None:
    for change in (lambda: setattr(typical, "name", "y"), lambda: setattr(typical.render, "steps", 3)):
        with pytest.raises(ValueError, match="frozen"):
            change()
    assert len({typical, typical.model_copy(), GOLDEN}) == 2


def test_a_text_too_long_to_share_is_refused_in_time() -> None:
    long = RenderSpec(prompt="x" * 2001)
    refusal(lambda: Preset.of(name="x", base="nano", render=long), "prompt of the render settings")
    with pytest.raises(BadSpec):
        RenderSpec(steps=0)
