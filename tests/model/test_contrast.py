"""nano-clip's network: unit vectors, padding that doesn't show, and a folder that opens as it was saved."""

from pathlib import Path

import numpy as np
import pytest
import torch

from motion_transfer.errors import MissingWeights
from motion_transfer.model.contrast import (
    ContrastModel,
    ContrastNetwork,
    ContrastSpec,
    open_contrast,
    pad_ids,
    save_contrast,
)
from motion_transfer.nano.folder import build_tokenizer


@pytest.fixture(scope="module")
def model() -> ContrastModel:
    torch.manual_seed(0)
    tokenizer = build_tokenizer().backend_tokenizer
    spec = ContrastSpec(vocab_size=tokenizer.get_vocab_size(), width=32, picture_layers=1, max_tokens=12)
    return ContrastModel(ContrastNetwork(spec), tokenizer)


def _frames(num_frames: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 96)])
def test_frames_become_unit_vectors(model: ContrastModel, height: int, width: int) -> None:
    vectors = model.embed_frames(_frames(70, height, width))
    assert vectors.shape == (70, 32) and vectors.dtype == torch.float32
    assert torch.allclose(vectors.norm(dim=1), torch.ones(70), atol=1e-5)


def test_a_frame_has_the_same_vector_in_any_company(model: ContrastModel) -> None:
    frames = _frames(66, 64, 64)
    assert torch.allclose(model.embed_frames(frames)[65], model.embed_frames(frames[65:])[0], atol=1e-5)


def test_padding_and_case_do_not_show(model: ContrastModel) -> None:
    alone = model.embed_texts(["A red car."])
    padded = model.embed_texts(["a red car", "a blue star on a white striped background", ""])
    assert torch.allclose(alone[0], padded[0], atol=1e-5)
    assert torch.allclose(padded.norm(dim=1), torch.ones(3), atol=1e-5)
    assert not torch.allclose(padded[0], padded[1], atol=1e-2)


def test_long_texts_are_cut(model: ContrastModel) -> None:
    ids = pad_ids(model.tokenizer, ["a " * 50, "a car"], 12)
    assert ids.shape == (2, 12) and model.embed_texts(["a " * 50]).shape == (1, 32)


def test_the_temperature_is_bounded(model: ContrastModel) -> None:
    assert model.network.scale.item() == pytest.approx(1 / 0.07)
    network = ContrastNetwork(model.network.spec)
    torch.nn.init.constant_(network.log_scale, 9.0)
    assert network.scale.item() == 100


def test_save_and_open(model: ContrastModel, tmp_path: Path) -> None:
    save_contrast(tmp_path, model.network, model.tokenizer)
    opened, frames = open_contrast(tmp_path), _frames(2, 64, 64)
    assert torch.allclose(opened.embed_frames(frames), model.embed_frames(frames), atol=1e-2)
    assert torch.allclose(opened.embed_texts(["two red fish"]), model.embed_texts(["two red fish"]), atol=1e-2)


def test_what_is_missing_or_does_not_fit_is_said(model: ContrastModel, tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"model\.safetensors"):
        open_contrast(tmp_path)
    save_contrast(tmp_path, model.network, model.tokenizer)
    (tmp_path / "config.json").write_text('{"vocab_size": 5}')
    with pytest.raises(MissingWeights, match="don't fit"):
        open_contrast(tmp_path)
