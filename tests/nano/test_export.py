"""Shipped weights and checkpoints turn into each other."""

from pathlib import Path

import pytest
import torch

from motion_transfer.errors import WrongBase
from motion_transfer.nano import export
from motion_transfer.nano.base import Nano
from motion_transfer.nano.checkpoint import load_state, save_state
from motion_transfer.nano.codec import build_codec
from motion_transfer.nano.folder import load_codec


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(export, "STATISTICS_CLIPS", 1)
    for name, module in (("codec", build_codec()), ("base", Nano())):
        average = {f"ema/{n}": p for n, p in module.named_parameters()}
        save_state(tmp_path / f"{name}.safetensors", average, {"step": 7, "seconds": 9.0, "losses": {"loss": 0.25}})
    return tmp_path


def test_export_and_back(work: Path) -> None:
    folder = work / "nano"
    export.export_codec(work, folder)
    assert export.read_facts(folder) == {"codec": {"step": 7, "losses": {"loss": 0.25}, "seconds": 9}, "base": None}
    assert all(std > 0 for std in load_codec(folder).config.latents_std)
    export.export_base(work, folder)
    assert "7 steps" in (card := (folder / "README.md").read_text()) and "loss 0.25" in card
    fresh = work / "fresh"
    for part in ("codec", "base"):
        export.start_from_folder(fresh, folder, part)
        shipped, facts = load_state(fresh / f"{part}.safetensors")
        trained, _ = load_state(work / f"{part}.safetensors")
        assert facts["step"] == 7 and shipped.keys() == trained.keys()
        kept = [n for n in shipped if "layout_head" not in n]  # the head starts anew
        assert all(torch.allclose(shipped[n], trained[n].float(), rtol=1e-3, atol=1e-4) for n in kept)


def test_a_refined_decoder_keeps_statistics_and_base(work: Path) -> None:
    folder = work / "nano"
    export.export_codec(work, folder)
    export.export_base(work, folder)
    before = load_codec(folder).config.latents_mean
    export.export_refined_codec(work, folder)
    assert load_codec(folder).config.latents_mean == before
    assert export.read_facts(folder)["base"]["step"] == 7


def test_a_settled_base_is_not_trained_on_by_accident(work: Path) -> None:
    folder = work / "nano"
    export.export_codec(work, folder)
    export.export_base(work, folder)
    export.check_unsettled(folder)
    export.export_base(work, folder, settled=True)
    export.export_refined_codec(work, folder)
    with pytest.raises(WrongBase, match="--replace-settled"):
        export.check_unsettled(folder)
