"""What `benchmark-device` measures, keeps and reads again."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from motion_transfer.cli import doctor, main
from motion_transfer.errors import BadSpec
from motion_transfer.model.device_speed import DeviceSpeed, measure_speed, read_speed, save_speed
from motion_transfer.model.wan_shapes import WanShape

SPEED = DeviceSpeed(device="a card", products=4.0, attention=2.0, forward=3.0, step=1.0, tokens=64)
SMALL = WanShape(num_blocks=7, num_heads=2, hidden=128, head_width=32)


def test_a_device_is_measured() -> None:
    found = measure_speed("this one", torch.device("cpu"), SMALL, num_frames=2, side=8)
    assert found.device == "this one" and found.tokens == 32
    assert min(found.products, found.attention, found.forward, found.step) > 0
    assert SPEED.share(SPEED.forward) == 0.75
    with pytest.raises(BadSpec, match="even"):
        measure_speed("this one", torch.device("cpu"), SMALL, num_frames=2, side=7)


def test_what_was_kept_is_read_for_the_same_device_alone(tmp_path: Path) -> None:
    path = tmp_path / "device.json"
    assert read_speed(path, "a card") is None
    save_speed(SPEED, path)
    assert read_speed(path, "a card") == SPEED and read_speed(path, "another card") is None


@pytest.mark.parametrize("damaged", ["{", "[]", "{}", json.dumps(asdict(SPEED) | {"step": 0}),
                                     json.dumps(asdict(SPEED) | {"forward": "3.0"}),
                                     json.dumps(asdict(SPEED) | {"forward": float("nan")})])  # fmt: skip
def test_a_damaged_file_says_nothing(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "device.json").write_text(damaged)
    assert read_speed(tmp_path / "device.json", "a card") is None


def test_the_command_writes_what_doctor_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_base_folder: Path
) -> None:
    monkeypatch.setattr(doctor, "measure_speed", lambda name, *_, **__: replace(SPEED, device=name))
    assert main(["benchmark-device", "--workspace", str(tmp_path)]) == 0
    assert "a block forward 3.00 (75% of that)" in capsys.readouterr().out
    assert main(["doctor", "--base", str(tiny_base_folder), "--workspace", str(tmp_path)]) == 0
    assert "learning takes about" in capsys.readouterr().out
