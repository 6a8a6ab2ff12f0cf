"""What nano is trained on: batches from step numbers, and the growing store of latents."""

from copy import deepcopy
from pathlib import Path
from random import Random

import pytest
import torch

from motion_transfer.nano.codec import (
    LENGTHS,
    WINDOWED_LENGTHS,
    build_codec,
    codec_loss,
    natural_clip,
    training_batch,
)
from motion_transfer.nano.latents import LatentStore, shows_one_object, shows_several_objects
from motion_transfer.nano.whole_clips import for_whole_clips
from motion_transfer.video.synth.palette import vocabulary
from motion_transfer.video.synth.scene import sample_scene


def test_batches_follow_from_step_and_process() -> None:
    first, again, other = (training_batch(3, rank, 1, 16) for rank in (0, 0, 1))
    assert torch.equal(first, again)
    assert first.shape == other.shape and not torch.equal(first, other)
    assert first.min() >= -1 and first.max() <= 1


def test_some_batches_are_windows_on_objects() -> None:
    shapes = {tuple(training_batch(step, 0, 1, 16).shape) for step in range(12)}
    whole, windows = ({s for s in shapes if s[-1] == side} for side in (16, 8))
    assert whole and windows and whole | windows == shapes
    assert all(s[2] in WINDOWED_LENGTHS and s[0] == 4 * LENGTHS[s[2]][1] for s in windows)


def test_natural_clips_move_and_stay_in_range() -> None:
    clip = natural_clip(Random(0), 5, 32)
    assert clip.shape == (3, 5, 32, 32) and clip.min() >= 0 and clip.max() <= 1
    assert not torch.equal(clip[:, 0], clip[:, 4])


def test_the_loss_pulls_latents_towards_the_anchor() -> None:
    torch.manual_seed(0)
    codec, clips = build_codec(), torch.rand(1, 3, 5, 32, 32) * 2 - 1
    for_whole_clips(codec)
    other = deepcopy(codec)
    loss, figures = codec_loss(codec, clips)
    assert torch.isfinite(loss) and figures["PSNR  5x32"] >= 0
    assert codec_loss(codec, clips, other)[1]["nearness"] == 0
    with torch.no_grad():
        other.quant_conv.bias[:16] += 2.0
    assert codec_loss(codec, clips, other)[1]["nearness"] == pytest.approx(4.0, rel=1e-4)


def test_the_codec_starts_as_a_picture_codec() -> None:
    torch.manual_seed(0)
    codec = build_codec().eval()
    picture = torch.rand(1, 3, 1, 32, 32) * 2 - 1
    with torch.no_grad():
        z = codec.encode(picture.expand(-1, -1, 9, -1, -1)).latent_dist.mode()
    assert z.std() > 0.1
    assert torch.allclose(z[:, :, 1], z[:, :, 2], atol=1e-4)


def test_the_store_grows_and_is_found_again(tmp_path: Path) -> None:
    codec = build_codec().eval()
    store = LatentStore(tmp_path, "pictures", 1, codec, 32)
    store.grow(3, key="a")
    store.grow(2, key="a")
    found = LatentStore(tmp_path, "pictures", 1, codec, 32)
    assert len(found) == 5 and found.captions == store.captions
    items = found.sample(4, torch.Generator().manual_seed(0))
    assert items.z_BZFYX.shape == (4, 16, 1, 4, 4) and items.layout_BFHW.shape == (4, 1, 16, 16)
    assert {w for c in items.captions for w in c.replace(",", " , ").split()} <= set(vocabulary())
    mean, std = found.statistics()
    assert mean.shape == std.shape == (16,)


def test_a_store_cut_off_in_the_middle_keeps_whole_items(tmp_path: Path) -> None:
    codec = build_codec().eval()
    LatentStore(tmp_path, "pictures", 1, codec, 32).grow(3, key="a")
    data = tmp_path / "pictures.bin"
    data.write_bytes(data.read_bytes()[:-10])
    store = LatentStore(tmp_path, "pictures", 1, codec, 32)
    assert len(store) == 2
    store.grow(1, key="a")
    assert data.stat().st_size == 3 * 2 * 16 * 16 and len(LatentStore(tmp_path, "pictures", 1, codec, 32)) == 3


def test_scenes_of_one_and_of_several_objects_are_told_by_their_captions(tmp_path: Path) -> None:
    for i in range(200):
        scene = sample_scene(f"simple/{i}", effects=0.0)
        simple = len(scene.things) == 1 and scene.background.pattern == "plain"
        assert shows_one_object(scene.caption) == simple or "ground" not in scene.caption  # the pattern may go unsaid
        assert shows_several_objects(scene.caption) == (len(scene.things) > 1)
    store = LatentStore(tmp_path, "pictures", 1, build_codec().eval(), 32)
    store.grow(30, key="a")
    items = store.sample(20, torch.Generator().manual_seed(0), simple_share=0.5, several_share=0.25)
    assert 0 < len(store.simple) < 30 and all(shows_one_object(c) for c in items.captions[:10])
    assert 0 < len(store.several) < 30 and all(shows_several_objects(c) for c in items.captions[10:15])
    assert len(items.captions) == 20
