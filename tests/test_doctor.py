"""`doctor`: what a machine has and what fits it, as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from motion_transfer.cli import main


def test_doctor_says_what_fits(tiny_base_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "doctor.json"
    assert main(["doctor", "--base", str(tiny_base_folder), "--json", str(out)]) == 0
    said, kept = capsys.readouterr().out, json.loads(out.read_text())
    assert "tiny in nf4: learning" in said and "Wan2.1 14B in bf16" in said and "torch" in said
    assert len(kept["fits"]) == 9 and kept["machine"]["num_cores"] >= 1
    assert {one["fits"] for one in kept["fits"] if one["name"] == "tiny"} == {True}


def test_doctor_of_no_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--base", str(tmp_path)]) == 2
    assert "check the name" in capsys.readouterr().err
