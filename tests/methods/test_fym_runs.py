"""Whole runs of tuning on a base: previews, repeatability, and a base left as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from motion_transfer.errors import BadSpec
from motion_transfer.lora.files import save_lora
from motion_transfer.methods.fym_heads import map_heads
from motion_transfer.pipeline import Studio
from motion_transfer.types import Clip, RenderSpec, TuneSpec
from motion_transfer.work import drive
from tests.methods.tuning import (
    SPEC,
    is_bare,
    touched_heads,
    velocity,
    weights,
)


def test_one_seed_one_file(studio: Studio, square_clip: Clip, tmp_path: Path) -> None:
    """Two runs with one seed write the same bytes, also where one of them renders previews; another seed doesn't."""
    files = {}
    for name, seed, every in (("a", 1, 0), ("b", 1, 1), ("c", 2, 0)):
        tuned = studio.tune(square_clip, TuneSpec(**{**SPEC.__dict__, "seed": seed, "inference_weight": 0.7}),
                            preview=RenderSpec(steps=1), preview_every=every)  # fmt: skip
        save_lora(tuned.lora, tmp_path / name)
        files[name] = (tmp_path / name).read_bytes()
    assert files["a"] == files["b"] != files["c"]


@pytest.mark.parametrize("sampling", ["pixel", "latent"])
def test_tune_leaves_the_base_as_it_was(studio: Studio, square_clip: Clip, sampling: str) -> None:
    before, bare = weights(studio.base), velocity(studio.base)
    tuned = studio.tune(square_clip, TuneSpec(**{**SPEC.__dict__, "sampling": sampling}))
    assert is_bare(studio.base)
    assert torch.equal(bare, velocity(studio.base))
    assert all(torch.equal(t, before[n]) for n, t in weights(studio.base).items())
    assert torch.equal(touched_heads(dict(tuned.lora.layers)), tuned.heads.temporal_LN)
    assert not hasattr(studio.base.transformer, "peft_config")


@pytest.mark.parametrize("stage", ["heads", "spatial", "temporal"])
def test_a_closed_generator_leaves_the_base_as_it_was(studio: Studio, square_clip: Clip, stage: str) -> None:
    bare = velocity(studio.base)
    work = studio.tune_work(square_clip, SPEC)
    while next(work).stage != stage:
        pass
    work.close()
    assert is_bare(studio.base)
    assert torch.equal(bare, velocity(studio.base))


def test_previews_show_the_motion_lora_alone(studio: Studio, square_clip: Clip) -> None:
    """The last preview equals a render with the finished LoRA; the spatial LoRA has no part in it."""
    preview = RenderSpec(prompt="a blue circle", steps=3, seed=4, motion_until=0.0)
    shown: list[Clip] = []
    spec = TuneSpec(**{**SPEC.__dict__, "inference_weight": 0.6, "temporal_rate": 0.1, "spatial_rate": 0.05})
    tuned = studio.tune(square_clip, spec, preview=preview, preview_every=3,
                        on_progress=lambda p: shown.append(p.preview) if p.preview else None)  # fmt: skip
    assert len(shown) == 1
    render = studio.render(tuned.lora, preview)
    difference = abs(shown[-1].frames_THWC.astype(int) - render.frames_THWC.astype(int))
    assert difference.max() <= 1
    bare = studio.render(None, preview).frames_THWC.astype(int)
    assert abs(render.frames_THWC - bare).max() > 5


def test_illegal_sparse_length_is_refused_before_any_work(studio: Studio, square_clip: Clip) -> None:
    with pytest.raises(BadSpec, match="2, 3, 5"):
        next(studio.tune_work(square_clip, TuneSpec(sparse_latents=4)))


def test_heads_are_mapped_on_the_bare_base(studio: Studio, square_clip: Clip) -> None:
    """Tuning labels the heads as `map_heads` on the whole clip does."""
    latents = studio.base.codec.encode(studio.fit(square_clip))
    alone = drive(map_heads(studio.base, latents, SPEC.caption))
    assert torch.equal(alone.mass_LN2, studio.tune(square_clip, SPEC).heads.mass_LN2)


def test_a_lora_may_keep_the_look_as_well(studio: Studio, square_clip: Clip) -> None:
    """The motion's part is the same as without, and the spatial heads' part lies beside it."""
    motion, both = (
        studio.tune(square_clip, TuneSpec(**{**SPEC.__dict__, "keep": keep})).lora for keep in ("temporal", "both")
    )
    look = {path for path in both.layers if path not in motion.layers}
    shared = [path for path in both.layers if path in motion.layers]
    assert look or any(both.layers[p].down_RI.shape[0] > motion.layers[p].down_RI.shape[0] for p in shared)
    for path in shared:
        rank = motion.layers[path].down_RI.shape[0]
        assert torch.equal(both.layers[path].down_RI[:rank], motion.layers[path].down_RI)
