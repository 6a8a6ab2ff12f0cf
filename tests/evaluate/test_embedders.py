"""CLIP from a folder of its own format, at tiny size."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from motion_transfer.errors import MissingWeights
from motion_transfer.evaluate.embedders import ReleasedClip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("clip")
    vocab = {"<|startoftext|>": 0, "<|endoftext|>": 1}
    for letter in "abcdefghijklmnopqrstuvwxyz":
        vocab |= {letter: len(vocab), f"{letter}</w>": len(vocab) + 1}
    CLIPTokenizer(vocab=vocab, merges=[]).save_pretrained(place)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    text = {**sizes, "vocab_size": len(vocab), "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1}
    config = CLIPConfig(text_config=text, vision_config={**sizes, "image_size": 32, "patch_size": 16})
    CLIPModel(config).save_pretrained(place)
    return place


def test_pictures_and_texts_lie_on_one_sphere(folder: Path) -> None:
    clip = ReleasedClip(folder)
    frames_THWC = np.random.default_rng(0).integers(0, 256, (20, 40, 64, 3), dtype=np.uint8)
    frames_TD = clip.embed_frames(frames_THWC)
    texts_BD = clip.embed_texts(["a red car", "a text that is far longer than such a small model can read"])
    assert frames_TD.shape[0] == 20 and texts_BD.shape == (2, frames_TD.shape[1])
    for vectors in (frames_TD, texts_BD):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(len(vectors)))


@pytest.mark.parametrize("shape", [(40, 64), (64, 40)])
def test_only_the_middle_square_counts(folder: Path, shape: tuple[int, int]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, *shape, 3), dtype=np.uint8)
    rim = frames.copy()
    rim[:, : 12 if shape[0] > 40 else None, : 12 if shape[1] > 40 else None] = 0
    clip = ReleasedClip(folder)
    torch.testing.assert_close(clip.embed_frames(rim), clip.embed_frames(frames))


def test_missing_weights_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="hf download"):
        ReleasedClip(tmp_path)
