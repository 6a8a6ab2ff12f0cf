"""nano-clip's training: the loss by hand, what counts as a negative, learning, resuming, shipping."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from motion_transfer.model.contrast import ContrastModel, ContrastNetwork, ContrastSpec, open_contrast
from motion_transfer.nano import contrast as training
from motion_transfer.nano.caption_changes import read_meaning
from motion_transfer.nano.checkpoint import load_state
from motion_transfer.nano.contrast import Trainee, build_contrast, contrast_loss, train_contrast, wrong_captions
from motion_transfer.nano.contrast_check import check_contrast, check_scenes, choices, hidden_share
from motion_transfer.nano.contrast_export import export_contrast, start_contrast_from_folder
from motion_transfer.nano.folder import build_tokenizer
from motion_transfer.nano.pictures import PictureStore, roughen, true_captions


def _small() -> ContrastNetwork:
    torch.manual_seed(0)
    return ContrastNetwork(ContrastSpec(vocab_size=len(build_tokenizer()), width=64, picture_layers=1))


def test_the_loss_by_hand() -> None:
    pictures, texts = torch.eye(2), torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    wrong = torch.tensor([[[0.0, 1.0]], [[0.8, 0.6]]])
    loss = contrast_loss(pictures, texts, wrong, scale=torch.tensor(2.0), true_BB=torch.eye(2) > 0)
    exp = math.exp
    first = -math.log(exp(2) / (exp(2) + exp(1.2) + exp(0)))  # cosines 1, 0.6 and 0 of the wrong one
    second = -math.log(exp(1.6) / (exp(0) + exp(1.6) + exp(1.2)))
    of_pictures = (first + second) / 2
    of_texts = (-math.log(exp(2) / (exp(2) + exp(0))) - math.log(exp(1.6) / (exp(1.2) + exp(1.6)))) / 2
    assert loss.item() == pytest.approx((of_pictures + of_texts) / 2, rel=1e-5)


def test_captions_that_are_true_too_are_no_negatives() -> None:
    texts = torch.nn.functional.normalize(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    texts[1] = texts[0]
    true = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]) > 0
    wrong = -texts[:, None]
    args = (texts, texts, wrong)
    masked, counted = (contrast_loss(*args, scale=torch.tensor(50.0), true_BB=t) for t in (true, torch.eye(3) > 0))
    assert masked.item() < 0.01 and counted.item() > 0.4


def test_equal_meaning_counts_as_true_and_an_unsaid_background_too() -> None:
    said = [read_meaning(c) for c in ("a red car on a blue background", "the red car, blue background", "red car")]
    shown = [said[0], said[1], read_meaning("a red car on a blue dotted background")]
    assert true_captions(said, shown).tolist() == [[True, True, True], [True, True, True], [False, False, True]]


def test_pictures_are_drawn_kept_and_roughened() -> None:
    store = PictureStore(16, capacity=100, key="test")
    store.grow()
    store.grow()
    assert len(store) == 100 and store.num_drawn == 128
    batch = store.sample(12, torch.Generator().manual_seed(0))
    assert batch.pictures_BCHW.shape == (12, 3, 16, 16) and batch.true_BB.diagonal().all()
    rough = roughen(batch.pictures_BCHW, torch.Generator().manual_seed(0))
    assert rough.min() >= 0 and rough.max() <= 1 and rough.shape == batch.pictures_BCHW.shape
    assert 0 < (rough.mean((2, 3)) - batch.pictures_BCHW.mean((2, 3))).abs().max() < 0.1


def test_a_few_steps_lower_the_loss_on_a_fixed_batch() -> None:
    store = PictureStore(64, capacity=64, key="test")
    store.grow()
    batch, trainee = store.sample(16, torch.Generator().manual_seed(0)), Trainee(_small())
    wrong = wrong_captions(batch.captions, "fixed")
    assert all(len(captions) == training.NUM_WRONG for captions in wrong)
    optimizer, losses = torch.optim.AdamW(trainee.parameters(), lr=2e-3), []
    for _ in range(20):
        loss, told = trainee(batch, wrong)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0] and 0 <= told <= 1


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "BATCH", 4)
    monkeypatch.setattr(training, "MIN_PICTURES", 16)
    monkeypatch.setattr(training, "build_contrast", _small)
    monkeypatch.setattr("motion_transfer.nano.contrast_export.build_contrast", _small)


def test_training_resumes_ships_and_starts_from_what_was_shipped(tmp_path: Path, quick: None) -> None:
    work, folder = tmp_path / "work", tmp_path / "nano-clip"
    train_contrast(work, minutes=0.01)
    _, first = load_state(work / "contrast.safetensors")
    train_contrast(work, minutes=0.01)
    trained, second = load_state(work / "contrast.safetensors")
    assert second["step"] > first["step"] > 0 and second["seconds"] > first["seconds"]
    export_contrast(work, folder)
    assert f"{second['step']} steps" in (folder / "README.md").read_text()
    start_contrast_from_folder(tmp_path / "fresh", folder)
    shipped, facts = load_state(tmp_path / "fresh" / "contrast.safetensors")
    assert facts["step"] == second["step"]
    assert all(torch.allclose(t, trained[n].float(), rtol=1e-3, atol=1e-4) for n, t in shipped.items())


def test_the_check_measures_each_kind_of_word(tmp_path: Path, quick: None) -> None:
    train_contrast(tmp_path, minutes=0.001)
    export_contrast(tmp_path, tmp_path / "nano-clip")
    summary = check_contrast(tmp_path / "nano-clip", 2, tmp_path / "results")
    assert all(0 <= summary[kind] <= 1 for kind in ("color", "shape", "background", "all", "all_frame"))
    assert 12 < summary["shape_choices"] == summary["all_choices"] == 16
    assert json.loads((tmp_path / "results" / "contrast.json").read_text())["scenes"] == 2


def test_the_hidden_share_is_that_of_the_thing_below() -> None:
    """One thing hides nothing; of two in one place the lower, if no larger, is hidden whole."""
    scene = next(scene for scene in check_scenes(20) if len(scene.things) == 2)
    lower, upper = scene.things
    assert hidden_share(replace(scene, things=(lower,))) == 0
    assert hidden_share(replace(scene, things=(upper, upper))) == 1
    assert hidden_share(scene) < 1


def test_choices_are_one_true_caption_and_others() -> None:
    for scene in check_scenes(5):
        for captions in choices(scene).values():
            assert captions[0] == scene.caption and 13 <= len(captions) == len(set(captions)) <= 16


def test_the_network_is_small_and_the_folder_opens_by_itself(tmp_path: Path) -> None:
    network = build_contrast()
    assert sum(p.numel() for p in network.parameters()) < 1.5e6
    model = ContrastModel(network, build_tokenizer().backend_tokenizer)
    assert model.embed_texts(["a red car"]).shape == (1, 128)
    with pytest.raises(Exception, match="nano contrast"):
        open_contrast(tmp_path / "nothing")
