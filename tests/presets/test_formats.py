"""Presets of older and newer formats."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from motion_transfer.presets import (
    Preset,
    files,
    load_preset,
    preset_from_text,
)
from motion_transfer.presets.values import FORMAT
from motion_transfer.types import RenderSpec, TuneSpec
from tests.presets.samples import link_of, refusal, write


def _from_format_0(values: dict[str, Any]) -> dict[str, Any]:
    """In format 0, let us say, the name was a title and the steps stood outside."""
    values["name"] = values.pop("title")
    values["render"] = {"steps": values.pop("steps")}
    return values


@pytest.fixture
def old_format(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setitem(files._MIGRATIONS, 0, _from_format_0)
    return {"format": 0, "title": "old", "base": "nano", "steps": 30}


def test_older_formats_are_brought_up_to_date(tmp_path: Path, old_format: dict[str, Any]) -> None:
    today = Preset.of(name="old", base="nano", render=RenderSpec(steps=30))
    path = write(tmp_path / "old.json", json.dumps(old_format))
    assert load_preset(path) == today
    assert preset_from_text(link_of(old_format)) == today
    refusal(lambda: preset_from_text(link_of(json.dumps(old_format))), "spells its preset differently")


def test_formats_are_brought_up_step_by_step(monkeypatch: pytest.MonkeyPatch, old_format: dict[str, Any]) -> None:
    monkeypatch.setitem(files._MIGRATIONS, -1, lambda values: {**values, "title": values["title"] + "er"})
    assert files.preset_of({**old_format, "format": -1}).name == "older"
    refusal(lambda: files.preset_of({**old_format, "format": -2}), "format", "-2")


def test_what_only_claims_to_be_old_is_refused(old_format: dict[str, Any]) -> None:
    del old_format["title"]
    refusal(lambda: files.preset_of(old_format), "format 0", "is none")
    refusal(lambda: files.preset_of({"format": 0, "title": "old", "steps": 1}), "base of the preset", "missing")


def test_newer_formats_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "new.json", json.dumps({"format": 2, "anything": []}))
    refusal(lambda: load_preset(path), "newer version", "format 2", "update the program")


def test_defaults_belong_to_the_format() -> None:
    """What a preset leaves out takes its default: where one changes, FORMAT is to rise, with a migration, and this."""
    defaults = json.dumps([asdict(RenderSpec()), asdict(TuneSpec())], sort_keys=True)
    assert (FORMAT, hashlib.sha256(defaults.encode()).hexdigest()[:16]) == (1, "be9da8149bac2112")
