"""`Studio` end to end on the toy base: the whole job, its progress, its report, its refusals."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from motion_transfer.errors import BadClip, MissingWeights, NotEnoughMemory
from motion_transfer.lora.attach import LoraLayer, acting, attached, solo
from motion_transfer.lora.files import load_lora, save_lora
from motion_transfer.model.base import VideoBase
from motion_transfer.pipeline import Studio, caption_of, prompt_of, scene_of
from motion_transfer.transfer import motion_share
from motion_transfer.types import Clip, Lora, Progress, RenderSpec, TuneSpec
from motion_transfer.video.io import write_clip
from motion_transfer.work import drive
from tests.conftest import BLOCKS, FPS, HEADS, NUM_FRAMES, SIZE_PX

TUNE = TuneSpec(caption="a red square", spatial_steps=2, temporal_steps=2, rank=2, sparse_latents=3)
RENDER = RenderSpec(prompt="a blue circle", steps=2, seed=1)


@pytest.fixture
def studio(tiny_nf4: VideoBase, tiny_base_folder: Path) -> Studio:
    studio = Studio(base=str(tiny_base_folder))
    studio.__dict__["base"] = tiny_nf4
    return studio


def _bare(studio: Studio) -> bool:
    return not any(isinstance(m, LoraLayer) for m in studio.base.transformer.modules())


def test_the_whole_job(studio: Studio, square_clip: Clip) -> None:
    """Clip in, motion learned in 4 bit, new clip out, report; progress goes through all four stages."""
    steps: list[Progress] = []
    done = studio.transfer(square_clip, TUNE, RENDER, on_progress=steps.append)
    assert list(dict.fromkeys(p.stage for p in steps)) == ["heads", "spatial", "temporal", "render"]
    for stage in ("heads", "spatial", "temporal", "render"):
        mine = [p for p in steps if p.stage == stage and p.step]  # 0 while it looks where to begin
        assert [p.step for p in mine] == list(range(1, mine[0].total + 1))
        assert all((p.loss is not None and np.isfinite(p.loss)) == (stage in ("spatial", "temporal")) for p in mine)
    assert done.render.frames_THWC.shape == (NUM_FRAMES, SIZE_PX, SIZE_PX, 3)
    assert (done.render.fps, done.render.caption) == (FPS, "a blue circle")
    assert set(done.seconds) == {"encode", "heads", "spatial", "temporal", "render", "judge"}
    assert all(s >= 0 for s in done.seconds.values())
    assert _bare(studio)


def test_results_are_json_ready(studio: Studio, square_clip: Clip) -> None:
    done = studio.transfer(square_clip, TUNE, RENDER)
    report = json.loads(json.dumps(done.report.as_json(), allow_nan=False))
    assert {"motion_fidelity", "leakage"} <= set(report)
    info = json.loads(json.dumps(dict(done.tuned.lora.info), allow_nan=False))
    assert info["base_hash"] == studio.base.hash
    assert (info["kind"], info["method"], info["precision"]) == ("motion", "follow-your-motion", "nf4")
    assert info["spec"] == asdict(TUNE)
    assert [len(row) for row in info["heads"]] == [HEADS] * BLOCKS
    assert [[letter == "s" for letter in row] for row in info["heads"]] == done.tuned.heads.spatial_LN.tolist()


def test_a_saved_motion_renders_the_same(studio: Studio, square_clip: Clip, tmp_path: Path) -> None:
    """Through the file and back, and twice."""
    tuned = studio.tune(square_clip, replace(TUNE, temporal_rate=0.05))
    save_lora(tuned.lora, tmp_path / "m.safetensors")
    first = studio.render(tuned.lora, RENDER).frames_THWC
    assert np.array_equal(first, studio.render(load_lora(tmp_path / "m.safetensors"), RENDER).frames_THWC)
    assert not np.array_equal(first, studio.render(None, RENDER).frames_THWC)


def test_strength_zero_is_the_bare_base(studio: Studio, square_clip: Clip) -> None:
    lora = studio.tune(square_clip, replace(TUNE, temporal_rate=0.05)).lora
    silent = studio.render(lora, replace(RENDER, strength=0.0))
    assert np.array_equal(silent.frames_THWC, studio.render(None, RENDER).frames_THWC)


def test_render_seed_and_prompt_matter(studio: Studio) -> None:
    frames = [
        studio.render(None, s).frames_THWC for s in (RENDER, replace(RENDER, seed=2), replace(RENDER, prompt="a dog"))
    ]
    assert np.array_equal(frames[0], studio.render(None, RENDER).frames_THWC)
    assert not np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[0], frames[2])


def test_a_cancelled_render_leaves_the_base_bare(studio: Studio, square_clip: Clip) -> None:
    lora = studio.tune(square_clip, TUNE).lora
    work = studio.render_work(lora, RENDER)
    next(work)
    assert not _bare(studio)
    work.close()
    assert _bare(studio)


def test_a_render_plays_at_the_references_pace(studio: Studio) -> None:
    """A clip of another rate, length and aspect is fitted; the render takes as long as it did."""
    frames = np.random.default_rng(0).integers(0, 255, (30, 40, 60, 3), np.uint8)
    clip = Clip(frames_THWC=frames, fps=25.0)
    done = studio.transfer(clip, TUNE, RENDER)
    between_ends_s = (clip.num_frames - 1) / clip.fps
    assert (done.render.num_frames - 1) / done.render.fps == pytest.approx(between_ends_s)


def test_a_still_picture_is_refused(studio: Studio) -> None:
    with pytest.raises(BadClip, match="two frames"):
        studio.tune(Clip(frames_THWC=np.zeros((1, 32, 32, 3), np.uint8), fps=12), TUNE)


def test_a_constant_clip_is_learned_without_undefined_numbers(studio: Studio) -> None:
    gray = Clip(frames_THWC=np.full((NUM_FRAMES, SIZE_PX, SIZE_PX, 3), 128, np.uint8), fps=FPS)
    losses = []
    done = studio.transfer(gray, TUNE, RENDER, on_progress=lambda p: losses.append(p.loss))
    assert all(loss is None or np.isfinite(loss) for loss in losses)
    assert all(torch.isfinite(x.up_OR).all() for x in done.tuned.lora.layers.values())


def test_heads_alone(studio: Studio, square_clip: Clip) -> None:
    heads = studio.heads(square_clip, TUNE)
    assert heads.spatial_LN.shape == (BLOCKS, HEADS)
    assert studio.heads(square_clip, replace(TUNE, head_rule="code")).facts["asked_rule"] == "code"


def test_unknown_words(studio: Studio) -> None:
    assert studio.unknown_words("A red Zebra, on a blue spaceship") == ["zebra", "spaceship"]


def test_nothing_opens_before_it_is_needed() -> None:
    studio = Studio(base="/nowhere")
    with pytest.raises(MissingWeights):
        studio.render(None, RENDER)


def test_drive_returns_the_result() -> None:
    def work():
        yield Progress(stage="a", step=1, total=1)
        return 7

    assert drive(work()) == 7


def test_only_our_own_clips_have_a_scene(square_clip: Clip, tmp_path: Path) -> None:
    for comment in (None, "hello", "[]", '{"scene": 3}', '{"scene": {"name": "x"}}', '{"render": {}}'):
        write_clip(square_clip, tmp_path / "clip.mp4", comment=comment)
        assert scene_of(tmp_path / "clip.mp4") is None


def test_a_lora_without_a_recipe_keeps_the_bases_pace(studio: Studio, square_clip: Clip) -> None:
    lora = Lora(layers=studio.tune(square_clip, TUNE).lora.layers)
    assert studio.render(lora, RENDER).fps == FPS


def test_a_callback_that_raises_leaves_the_base_bare(studio: Studio, square_clip: Clip) -> None:
    """At once, and not when the garbage collector comes by."""

    def interrupt(progress: Progress) -> None:
        if progress.stage == "temporal":
            raise KeyboardInterrupt

    try:
        studio.tune(square_clip, TUNE, on_progress=interrupt)
    except KeyboardInterrupt:
        assert _bare(studio)
    else:
        pytest.fail("not interrupted")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[enforce fail] can't allocate memory: 9e12 bytes")])
def test_too_little_memory_is_one_sentence(
    studio: Studio, square_clip: Clip, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(type(studio.base.codec), "encode", fail)
    with pytest.raises(NotEnoughMemory, match="close other programs"):
        studio.tune(square_clip, TUNE)


def test_a_moment_too_short_is_refused_before_any_work(studio: Studio) -> None:
    """Two frames in a hundredth of a second, spread over a whole clip, would play faster than any file can."""
    frames = np.zeros((2, 32, 32, 3), np.uint8)
    with pytest.raises(BadClip, match="another length"):
        next(studio.tune_work(Clip(frames_THWC=frames, fps=100.0), TUNE))


@pytest.mark.parametrize("comment", ["[" * 100000, "[]", '{"scene": 3}', '{"scene": {"name": 1, "kind": "x"}}', "text"])
def test_a_strange_comment_is_no_scene(square_clip: Clip, tmp_path: Path, comment: str) -> None:
    write_clip(square_clip, tmp_path / "clip.mp4", comment=comment)
    assert scene_of(tmp_path / "clip.mp4") is None
    assert caption_of(tmp_path / "clip.mp4") == prompt_of(tmp_path / "clip.mp4") == ""


def test_motion_acts_down_to_its_noise_level(studio: Studio, square_clip: Clip) -> None:
    """All the way, or only at first, which is neither that nor the bare base; afterwards the base is bare."""
    lora = studio.tune(square_clip, TuneSpec(**{**TUNE.__dict__, "temporal_steps": 8, "temporal_rate": 0.05})).lora
    bare = studio.render(None, RenderSpec(steps=4)).frames_THWC
    between, always = (studio.render(lora, RenderSpec(steps=4, motion_until=until)).frames_THWC for until in (0.8, 0.0))
    assert not np.array_equal(between, always) and not np.array_equal(between, bare)
    assert np.array_equal(studio.render(None, RenderSpec(steps=4)).frames_THWC, bare)


def test_a_motion_acts_less_while_shapes_form(studio: Studio, square_clip: Clip) -> None:
    spec = RenderSpec(steps=4, motion_until=0.5, late_strength=0.4)
    assert [motion_share(spec, sigma) for sigma in (1.0, 0.86, 0.85, 0.5, 0.49)] == [1.0, 1.0, 0.4, 0.4, 0.0]
    lora = studio.tune(square_clip, TuneSpec(**{**TUNE.__dict__, "temporal_steps": 8, "temporal_rate": 0.05})).lora
    less, as_much, none = (
        studio.render(lora, RenderSpec(steps=4, motion_until=0.5, late_strength=share)).frames_THWC
        for share in (0.4, 1.0, 0.0)
    )
    assert not np.array_equal(less, as_much) and not np.array_equal(less, none)


def test_adapters_are_as_strong_as_before_once_they_have_acted(studio: Studio, square_clip: Clip) -> None:
    """Also within a preview, where they act at a strength of their own."""
    lora, transformer = studio.tune(square_clip, TUNE).lora, studio.base.transformer
    with attached(transformer, lora), solo(transformer, "motion", 0.7):
        layers = [module for module in transformer.modules() if isinstance(module, LoraLayer)]
        with acting(transformer) as act:
            act(0.5)
            assert {layer.scaling["motion"] for layer in layers} == {0.35}
            act(0.0)
            assert all(layer.disable_adapters for layer in layers)
        assert {layer.scaling["motion"] for layer in layers} == {0.7}
        assert not any(layer.disable_adapters for layer in layers)
