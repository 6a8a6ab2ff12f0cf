"""Preset files: what is read, what is refused, and what can't be written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from motion_transfer.errors import StorageFailed
from motion_transfer.presets import (
    load_preset,
    save_preset,
)
from motion_transfer.types import RenderSpec
from tests.presets.samples import GOLDEN, lora_values, preset_values, refusal, write


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ("must be JSON", "line 1")),
        ('{\n"format": 1,\n}', ("must be JSON", "line 3")),
        (b"\xff\xfe{}", ("UTF-8",)),
        ("[" * 60_000, ("few levels",)),
        (json.dumps(preset_values(description="x" * 70_000)), ("64 KB", "'a.json'")),
        ('{"format": 1, "format": 1}', ("'format' is there twice",)),
        (json.dumps(preset_values(render={"steps": 0})), ("steps", "from 1 to 200", "is 0")),
    ],
)
def test_files_that_are_no_presets_are_refused(tmp_path: Path, content: str | bytes, words: tuple[str, ...]) -> None:
    path = write(tmp_path / "a.json", content)
    refusal(lambda: load_preset(path), *words)


def test_files_written_by_hand_may_say_more_than_they_must(tmp_path: Path) -> None:
    content = {
        **preset_values(render={"steps": 20, "guidance": 7}, tune=None, loras=[lora_values(hub=None)]),
        "credits": "",
    }
    path = write(tmp_path / "hand.json", "\ufeff" + json.dumps(content, indent=4))
    assert load_preset(path).render_spec() == RenderSpec(guidance=7.0)


def test_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    for name in ("none.json", "new\nline.json", "\0"):
        refusal(lambda name=name: load_preset(tmp_path / name), "is none")
    refusal(lambda: load_preset(tmp_path / ("x" * 300)), "can't be read")
    refusal(lambda: load_preset(tmp_path), "is none")


def test_a_place_that_takes_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "a.json", tmp_path / "folder"):
        with pytest.raises(StorageFailed, match=r"can't be written .*\.$"):
            save_preset(GOLDEN, path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
