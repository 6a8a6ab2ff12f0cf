"""What ships in `assets`: sizes, formats, and that stock diffusers needs nothing of ours."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import WanPipeline
from safetensors import safe_open

from motion_transfer.library import Library
from motion_transfer.lora.files import load_lora
from motion_transfer.methods.lion_fusion import mixed
from motion_transfer.model.catalog import ASSETS
from motion_transfer.nano.clips import EXAMPLES
from motion_transfer.nano.controls import PREFIX, SHIPPED, stale_controls
from motion_transfer.nano.motions import stale_motions
from motion_transfer.nano.rebuild import base_stale
from motion_transfer.nano.showcase import SHOWCASE, showcase_stale
from motion_transfer.pipeline import Studio, scene_of
from motion_transfer.presets import load_preset
from motion_transfer.types import RenderSpec
from motion_transfer.video.io import clip_comment, read_clip, write_clip
from motion_transfer.video.synth.palette import vocabulary

NANO = ASSETS / "nano"
STOCK = """
import sys, torch
from diffusers import WanPipeline
pipeline = WanPipeline.from_pretrained(sys.argv[1])
video = pipeline("a red star on a navy background", height=64, width=64, num_frames=49, num_inference_steps=1,
                 generator=torch.Generator().manual_seed(0), output_type="np").frames
assert video.shape == (1, 49, 64, 64, 3), video.shape
assert "motion_transfer" not in sys.modules
"""


@pytest.fixture(scope="module")
def shipped_studio() -> Studio:
    return Studio()


def test_sizes() -> None:
    files = [p for p in ASSETS.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 60 * 2**20
    assert all(p.stat().st_size < 15 * 2**20 for p in NANO.rglob("*.safetensors"))


def test_weights_are_16_bit_and_finite() -> None:
    for path in NANO.rglob("*.safetensors"):
        with safe_open(str(path), framework="pt") as handle:
            for key in handle.keys():  # noqa: SIM118 - safe_open is no mapping
                tensor = handle.get_tensor(key)
                assert tensor.dtype == torch.float16, (path, key)
                assert torch.isfinite(tensor).all(), (path, key)


def test_the_base_was_made_for_the_codec_that_ships() -> None:
    assert base_stale(NANO) == ""


def test_motions_and_presets_were_made_for_the_base_that_ships() -> None:
    loras = ASSETS / "loras"
    assert stale_motions(loras) == {} and showcase_stale(loras, ASSETS.parent / "presets") == ""
    assert stale_controls(loras) == {} and all((loras / f"{PREFIX}{name}.mp4").is_file() for name in SHIPPED)
    assert len(list(loras.glob("*.safetensors"))) == len(EXAMPLES) + len(SHIPPED)


@pytest.mark.parametrize("stem", SHOWCASE)
def test_every_preset_that_ships_renders(stem: str, shipped_studio: Studio) -> None:
    """In fewer steps; `docs/results/presets.png` shows them whole."""
    preset, library = load_preset(ASSETS.parent / "presets" / f"{stem}.json"), Library(Path("nowhere"))
    motions = [library.of_sha256(lora.sha256) for lora in preset.loras]
    assert all(motion is not None for motion in motions) and any(motion.reference for motion in motions if motion)
    loaded = [(library.load(motion), used.strength) for motion, used in zip(motions, preset.loras, strict=True)]  # type: ignore[arg-type]
    clip = shipped_studio.render(*mixed(loaded, replace(preset.render_spec(), steps=3)))
    assert clip.frames_THWC.shape == (49, 64, 64, 3) and clip.frames_THWC.std() > 5
    assert shipped_studio.unknown_words(preset.render.prompt) == []


def test_native_format() -> None:
    assert json.loads((NANO / "native.json").read_text()) == {"height": 64, "width": 64, "num_frames": 49, "fps": 12.0}


def test_stock_diffusers_alone_opens_nano(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", STOCK, str(NANO)], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]


def test_our_render_is_the_stock_render() -> None:
    prompt = "a yellow car on a purple striped background"
    pipeline = WanPipeline.from_pretrained(NANO)
    pipeline.text_encoder.float()
    pipeline.set_progress_bar_config(disable=True)
    stock = pipeline(prompt, height=64, width=64, num_frames=49, num_inference_steps=3,
                     generator=torch.Generator().manual_seed(5), output_type="np").frames[0]  # fmt: skip
    spec = RenderSpec(prompt=prompt, seed=5, steps=3, early_guidance=5.0, guidance_smoothing=0)
    ours = Studio(precision="fp32").render(None, spec)
    difference = np.abs(ours.frames_THWC.astype(float) - stock * 255)
    assert difference.max() <= 2 and difference.mean() < 0.5


def test_the_tokenizer_knows_the_vocabulary_and_marks_the_rest() -> None:
    studio = Studio(precision="fp32")
    assert studio.unknown_words(" ".join(vocabulary())) == []
    assert studio.unknown_words("a red Tyrannosaurus on a Grey background") == ["tyrannosaurus"]


def test_examples_know_their_scene() -> None:
    clips = sorted((ASSETS / "clips").glob("*.mp4"))
    assert len(clips) >= 8
    assert {path.name.split("-")[0] for path in clips} == {"camera", "single", "multiple", "articulated"}
    for path in clips:
        scene = scene_of(path)
        assert scene is not None and len(scene.track(0)) == 49
        assert read_clip(path).num_frames == 49


def test_no_config_names_a_place_on_the_maker_s_machine() -> None:
    assert not [path for path in NANO.rglob("*.json") if "_name_or_path" in path.read_text()]


def test_a_changed_example_has_no_true_scene(tmp_path: Path) -> None:
    """Tools that cut or mirror a video copy its comment along."""
    path = ASSETS / "clips" / "single-zigzag.mp4"
    clip, comment = read_clip(path), clip_comment(path)
    for frames in (clip.frames_THWC[::-1], clip.frames_THWC[:, :, ::-1], clip.frames_THWC[:40]):
        write_clip(replace(clip, frames_THWC=frames.copy()), tmp_path / "changed.mp4", comment=comment)
        assert scene_of(tmp_path / "changed.mp4") is None


# Runs a script, whose frames are kept as they are: compressed, they would depend on the encoder's number of threads.
_KEEPING_FRAMES = """
import runpy, sys, imageio.v3, numpy
imageio.v3.imwrite = lambda path, frames, **_: numpy.save(path, frames)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_script_of_stock_diffusers_alone_renders_a_learned_motion(tmp_path: Path) -> None:
    """`docs/stock_render.py` imports nothing of ours and shows what our render shows."""
    studio, motion = Studio(precision="fp32"), ASSETS / "loras" / "single-line.safetensors"
    lora, prompt = load_lora(motion), "a yellow car on a gray background"
    script = [sys.executable, "-c", _KEEPING_FRAMES, str(ASSETS.parent / "docs" / "stock_render.py"), str(NANO),
              str(motion), prompt, "out.npy"]  # fmt: skip
    run = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    stock = np.load(tmp_path / "out.npy").astype(float)
    ours, bare = (studio.render(x, RenderSpec(prompt=prompt)).frames_THWC for x in (lora, None))
    assert np.abs(stock - ours).mean() < 0.1  # of 255
    assert np.abs(stock - bare).mean() > 6
