"""Text match, consistency and rank, on embeddings that are known."""

import numpy as np
import pytest
import torch

from motion_transfer.errors import BadSpec
from motion_transfer.evaluate.text_match import frame_consistency, text_match, text_rank
from motion_transfer.model.contrast import ContrastModel, ContrastNetwork, ContrastSpec
from motion_transfer.nano.folder import build_tokenizer
from motion_transfer.types import Clip


@pytest.fixture(scope="module")
def model() -> ContrastModel:
    torch.manual_seed(0)
    tokenizer = build_tokenizer().backend_tokenizer
    spec = ContrastSpec(vocab_size=tokenizer.get_vocab_size(), width=32, picture_layers=1)
    return ContrastModel(ContrastNetwork(spec), tokenizer)


def _clip(*levels: int) -> Clip:
    frames = np.stack([np.full((32, 32, 3), level, np.uint8) for level in levels])
    return Clip(frames_THWC=frames, fps=12.0)


def test_text_match_is_the_mean_over_frames(model: ContrastModel) -> None:
    both = text_match(_clip(10, 200), "a red car", model)
    single = [text_match(_clip(level), "a red car", model) for level in (10, 200)]
    assert both == pytest.approx(sum(single) / 2, abs=1e-5) and -1 <= both <= 1


def test_a_frozen_clip_is_consistent_and_one_frame_says_nothing(model: ContrastModel) -> None:
    assert frame_consistency(_clip(90, 90, 90), model) == pytest.approx(1, abs=1e-5)
    assert frame_consistency(_clip(0, 255, 0), model) < 0.999
    assert frame_consistency(_clip(90), model) is None


def test_the_rank_counts_better_and_equal_distractors(model: ContrastModel) -> None:
    clip, texts = _clip(10, 200), ["a red car", "two blue fish", "a white star on a pink background"]
    by_match = sorted(texts, key=lambda text: -text_match(clip, text, model))
    for place, text in enumerate(by_match, 1):
        assert text_rank(clip, text, [other for other in texts if other != text], model) == place
    assert text_rank(clip, by_match[0], [by_match[0].upper()], model) == 2


def test_distractors_must_differ(model: ContrastModel) -> None:
    for distractors in ([], ["a red car"]):
        with pytest.raises(BadSpec):
            text_rank(_clip(10), "a red car", distractors, model)
