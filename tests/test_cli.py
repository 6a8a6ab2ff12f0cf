"""The command line's contract: exit status, one line for a mistake, files and JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from inspect import signature
from pathlib import Path

import cv2
import pytest
import torch
from safetensors import safe_open

from motion_transfer.cli import blocks, main, work
from motion_transfer.cli.shared import Meter, app
from motion_transfer.library import Library
from motion_transfer.lora.algebra import scaled
from motion_transfer.lora.files import file_hash, load_lora, save_lora
from motion_transfer.model.wan_shapes import WanShape
from motion_transfer.presets import Preset, PresetLora, preset_link
from motion_transfer.types import Clip, Lora, LowRank, RenderSpec, TuneSpec
from motion_transfer.video.io import clip_comment, read_clip, write_clip
from tests.conftest import NUM_FRAMES, SIZE_PX

SHORT = ["--spatial-steps", "2", "--temporal-steps", "2", "--sparse-latents", "3"]


@pytest.fixture
def clip_path(square_clip: Clip, tmp_path: Path) -> str:
    write_clip(square_clip, tmp_path / "square.mp4")
    return str(tmp_path / "square.mp4")


@pytest.fixture
def base(tiny_base_folder: Path) -> list[str]:
    return ["--base", str(tiny_base_folder)]


def _one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The only line of standard error; standard output is empty."""
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    return lines[0]


def test_transfer(clip_path: str, base: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, json_path = tmp_path / "new" / "out.mp4", tmp_path / "other" / "out.json"
    arguments = ["transfer", clip_path, "--prompt", "a blue circle", "--caption", "a red square", *base, *SHORT]
    assert main([*arguments, "--steps", "2", "--seed", "5", "--out", str(out), "--json", str(json_path)]) == 0
    results = json.loads(json_path.read_text())
    assert set(results) == {"seconds", "peak_memory_mb", "attention", "report", "why_missing", "lora", "video", "spec"}
    assert set(results["why_missing"]) == {name for name, value in results["report"].items() if value is None}
    assert results["peak_memory_mb"] > 50
    assert {"heads", "spatial", "temporal", "render"} <= set(results["seconds"])
    assert results["spec"]["tune"]["spatial_steps"] == 2
    assert results["spec"]["tune"]["seed"] == results["spec"]["render"]["seed"] == 5
    assert results["spec"]["precision"] == "nf4"
    assert Path(results["video"]) == out
    assert read_clip(out).frames_THWC.shape == (NUM_FRAMES, SIZE_PX, SIZE_PX, 3)
    assert load_lora(Path(results["lora"])).info["caption"] == "a red square"
    captured = capsys.readouterr()
    assert "motion_fidelity:" in captured.out
    for stage in ("heads 7/7", "spatial 2/2", "temporal 2/2", "render 2/2"):
        assert stage in captured.err


def test_a_render_verifies_itself(
    clip_path: str, base: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mp4"
    assert main(["transfer", clip_path, "--prompt", "a blue circle", *base, *SHORT, "--steps", "2",
                 "--strength", "0.5", "--out", str(out)]) == 0  # fmt: skip
    capsys.readouterr()
    where = ["--base", base[base.index("--base") + 1], "--workspace", str(tmp_path / "empty")]
    lora = ["--lora", str(out.with_suffix(".safetensors"))]
    assert main(["verify", str(out), *lora, *where]) == 0
    assert capsys.readouterr().out == "the same, to the last bit\n"
    recipe = json.loads(clip_comment(out) or "")
    assert json.loads(out.with_suffix(".recipe.json").read_text()) == recipe
    recipe["render"]["seed"] += 1
    write_clip(read_clip(out), out, comment=json.dumps(recipe))
    assert main(["verify", str(out), *lora, *where]) == 1
    assert "not the same" in capsys.readouterr().out
    assert main(["verify", str(out), *where]) == 2
    assert "SHA-256" in _one_line(capsys)


def test_a_share_link_renders_the_same(
    clip_path: str, base: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Settings from the link, the motion by its hash: from a file that is given, or from the workspace."""
    lora, plain = tmp_path / "m.safetensors", tmp_path / "plain.mp4"
    assert main(["tune", clip_path, "--out", str(lora), *base, *SHORT]) == 0
    said = ["--prompt", "a blue circle", "--steps", "2", "--seed", "4", "--strength", "0.5"]
    assert main(["render", *said, "--lora", str(lora), "--out", str(plain), *base]) == 0
    spec = RenderSpec(prompt="a blue circle", steps=2, seed=4)
    used = PresetLora(name="m", sha256=file_hash(lora), strength=0.5)
    folder = Path(base[base.index("--base") + 1])
    link = preset_link(Preset.of(name="x", base=folder.name, render=spec, loras=[used]), "http://localhost:7860/")
    kept = Library(tmp_path / "work").import_motion(lora, "m")
    assert kept.path.read_bytes() == lora.read_bytes()
    for name, where in (("a", ["--lora", str(lora)]), ("b", ["--workspace", str(tmp_path / "work")])):
        out = tmp_path / f"{name}.mp4"
        assert main(["render", "--from-link", link, "--out", str(out), *where, *base]) == 0
        assert (read_clip(out).frames_THWC == read_clip(plain).frames_THWC).all()
        said = capsys.readouterr().out
        assert "prompt: a blue circle" in said and "LoRA m, strength 0.5" in said and "not at hand" not in said
    nowhere = ["--workspace", str(tmp_path / "empty"), "--out", str(tmp_path / "c.mp4"), *base]
    assert main(["render", "--from-link", link, *nowhere]) == 2
    said = capsys.readouterr()
    assert "strength 0.5" in said.out and said.err.count("\n") == 1 and "SHA-256" in said.err
    assert main(["render", "--from-link", link, "--prompt", "x", *nowhere]) == 2 and "beside" in _one_line(capsys)
    assert main(["render", *nowhere]) == 2 and "prompt" in _one_line(capsys)


def test_tune_then_render(clip_path: str, base: list[str], tmp_path: Path) -> None:
    lora, video, json_path = (tmp_path / n for n in ("m.safetensors", "r.mp4", "t.json"))
    assert main(["tune", clip_path, "--out", str(lora), "--json", str(json_path), *base, *SHORT]) == 0
    assert set(json.loads(json_path.read_text())) == {"seconds", "peak_memory_mb", "attention", "lora", "spec"}
    arguments = ["render", "--prompt", "a blue circle", "--steps", "2", *base]
    assert main([*arguments, "--lora", str(lora), "--strength", "-0.5", "--out", str(video)]) == 0
    assert read_clip(video).num_frames == NUM_FRAMES


def test_heads_draws_a_picture(clip_path: str, base: list[str], tmp_path: Path) -> None:
    assert main(["heads", clip_path, "--out", str(tmp_path / "new" / "heads.png"), *base]) == 0
    assert cv2.imread(str(tmp_path / "new" / "heads.png")) is not None


@pytest.mark.parametrize(
    ("command", "specs"), [("transfer", (TuneSpec, RenderSpec)), ("tune", (TuneSpec,)), ("render", (RenderSpec,))]
)
def test_every_setting_is_a_flag_with_the_specs_default(command: str, specs: tuple[type, ...]) -> None:
    callback = next(c.callback for c in app.registered_commands if (c.name or c.callback.__name__) == command)
    flags = {name: getattr(p.default, "default", p.default) for name, p in signature(callback).parameters.items()}
    for spec in specs:
        settings = asdict(spec())
        settings.pop("prompt", None)  # must be given
        assert settings.items() <= flags.items()


def test_settings_arrive(clip_path: str, base: list[str], tmp_path: Path) -> None:
    json_path = tmp_path / "t.json"
    more = [
        "--crop",
        "2,0,1",
        "--rank",
        "3",
        "--temporal-rate",
        "0.004",
        "--head-rule",
        "paper",
        "--sampling",
        "pixel",
        "--seed",
        "4",
    ]
    arguments = ["tune", clip_path, "--out", str(tmp_path / "m"), "--json", str(json_path), *base, *SHORT, *more]
    assert main(arguments) == 0
    asked = json.loads(json_path.read_text())["spec"]
    tune = asked["tune"]
    assert asked["crop"] == "2,0,1"
    expected = TuneSpec(spatial_steps=2, temporal_steps=2, sparse_latents=3, rank=3, temporal_rate=0.004,
                        head_rule="paper", sampling="pixel", seed=4)  # fmt: skip
    assert tune == asdict(expected)


def test_judge_takes_the_prompt_from_the_render(
    clip_path: str, base: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = str(tmp_path / "r.mp4")
    assert main(["render", "--prompt", "a blue circle", "--steps", "1", "--out", video, *base]) == 0
    assert main(["judge", clip_path, video, "--json", str(tmp_path / "a.json")]) == 0
    assert main(["judge", clip_path, video, "--prompt", "a blue circle", "--json", str(tmp_path / "b.json")]) == 0
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()
    assert json.loads((tmp_path / "a.json").read_text())["report"]["color_right"] is not None


MISTAKES = {
    "no such clip": (["transfer", "nowhere.mp4", "--prompt", "x"], "nowhere.mp4"),
    "a text file": (["transfer", "{text}", "--prompt", "x"], "notes.mp4"),
    "a folder": (["transfer", "{folder}", "--prompt", "x"], "expected"),
    "steps out of range": (["transfer", "{clip}", "--prompt", "x", "--temporal-steps", "0"], "temporal steps"),
    "negative steps": (["render", "--prompt", "x", "--out", "{video}", "--steps", "-3"], "steps"),
    "steps no number": (["transfer", "{clip}", "--prompt", "x", "--steps", "many"], "--steps"),
    "strength out of range": (["render", "--prompt", "x", "--out", "{video}", "--strength", "9"], "strength"),
    "strength undefined": (["render", "--prompt", "x", "--out", "{video}", "--strength", "nan"], "strength"),
    "no prompt": (["transfer", "{clip}"], "prompt"),
    "no clip": (["tune", "--out", "{out}"], "clip"),
    "unknown option": (["transfer", "{clip}", "--prompt", "x", "--colour", "red"], "--colour"),
    "unknown command": (["transmogrify"], "transmogrify"),
    "unknown base": (["tune", "{clip}", "--out", "{out}", "--base", "huge"], "huge"),
    "unknown precision": (["tune", "{clip}", "--out", "{out}", "--precision", "fp4"], "nf4, int8, bf16, fp32"),
    "no such lora": (["render", "--prompt", "x", "--out", "{video}", "--lora", "gone.safetensors"], "gone.safetensors"),
    "a lora of text": (["render", "--prompt", "x", "--out", "{video}", "--lora", "{text}"], "notes.mp4"),
    "span outside the clip": (["tune", "{clip}", "--out", "{out}", "--start", "50"], "span"),
    "a crop of two numbers": (["tune", "{clip}", "--out", "{out}", "--crop", "2,0.5"], "three numbers"),
    "a crop without end": (["tune", "{clip}", "--out", "{out}", "--crop", "inf,0,0"], "zoom"),
    "a crop outside": (["tune", "{clip}", "--out", "{out}", "--crop", "2,0,1.5"], "between 0 and 1"),
    "out is a folder": (["tune", "{clip}", "--out", "{folder}"], "folder"),
    "the lora overwrites the clip": (["tune", "{clip}", "--out", "{clip}"], "name of its own"),
    "the picture overwrites the clip": (["heads", "{clip}", "--out", "{clip}"], "name of its own"),
    "the video overwrites the clip": (["transfer", "{clip}", "--prompt", "x", "--out", "{clip}"], "name of its own"),
    "the results overwrite the clip": (["judge", "{clip}", "{clip}", "--json", "{clip}"], "name of its own"),
    "a render is no mp4": (["render", "--prompt", "x", "--out", "{out}"], "mp4"),
    "out is below a file": (["tune", "{clip}", "--out", "{text}/x"], "notes.mp4"),
    "illegal sparse length": (["tune", "{clip}", "--out", "{out}", "{base}", "--sparse-latents", "4"], "2, 3, 5"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line(
    case: str, clip_path: str, tiny_base_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, words = MISTAKES[case]
    (tmp_path / "notes.mp4").write_text("milk, bread\n")
    (tmp_path / "folder").mkdir()
    places = {
        "{clip}": clip_path,
        "{text}": "notes.mp4",
        "{folder}": "folder",
        "{out}": "out.file",
        "{video}": "out.mp4",
    }
    filled = []
    for argument in arguments:
        if argument == "{base}":
            filled += ["--base", str(tiny_base_folder)]
            continue
        for name, value in places.items():
            argument = argument.replace(name, str(tmp_path / value))
        filled.append(argument)
    assert main(filled) == 2
    assert words in _one_line(capsys)
    assert not (tmp_path / "out.file").exists() and not (tmp_path / "out.mp4").exists()


@pytest.fixture
def foreign_lora(tmp_path: Path) -> str:
    layers = {"blocks.0.attn1.to_q": LowRank(down_RI=torch.ones(2, 64), up_OR=torch.ones(64, 2))}
    save_lora(Lora(layers=layers, info={"base": "nano", "base_hash": "f" * 64}), tmp_path / "foreign")
    return str(tmp_path / "foreign")


def test_a_lora_of_another_base(
    foreign_lora: str, base: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", "--prompt", "x", "--out", str(tmp_path / "r.mp4"), "--lora", foreign_lora, *base]) == 2
    assert "was made for the base nano" in _one_line(capsys)


@pytest.mark.parametrize("arguments", [["--help"], ["transfer", "--help"]])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert "Usage" in capsys.readouterr().out


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert "transfer" in captured.out + captured.err


@pytest.mark.parametrize("stage", ["heads", "spatial", "temporal", "render"])
def test_interrupted(
    stage: str, clip_path: str, base: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Ctrl-C in any stage: 130, a word about it, no traceback, no half-written file; a learned motion is kept."""

    class Interrupting(Meter):
        def __call__(self, progress: object) -> None:
            if progress.stage == stage:
                raise KeyboardInterrupt

    monkeypatch.setattr(work, "Meter", Interrupting)
    arguments = ["transfer", clip_path, "--prompt", "x", "--steps", "2", *base, *SHORT]
    assert main([*arguments, "--out", str(tmp_path / "out.mp4"), "--json", str(tmp_path / "out.json")]) == 130
    assert capsys.readouterr().err.strip().endswith("interrupted")
    kept = ["out.safetensors"] if stage == "render" else []
    assert sorted(p.name for p in tmp_path.iterdir()) == [*kept, "square.mp4"]


def test_a_full_disk_is_one_line(
    clip_path: str, base: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(work, "save_lora", full)
    assert main(["tune", clip_path, "--out", str(tmp_path / "m"), *base, *SHORT]) == 2
    assert "No space left" in capsys.readouterr().err.splitlines()[-1]


def test_a_process_of_its_own_says_no_more(foreign_lora: str, base: list[str], tmp_path: Path) -> None:
    """Libraries speak at import and while they load weights; a mistake is one line all the same."""
    arguments = ["render", "--prompt", "x", "--out", str(tmp_path / "r.mp4"), "--lora", foreign_lora, *base]
    run = subprocess.run(
        [sys.executable, "-m", "motion_transfer", *arguments],
        capture_output=True, text=True, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.startswith("error: this LoRA was made for the base nano ffffffff")
    assert run.stderr.count("\n") == 1


def test_sparse_timing_compares_steps_in_turns(tmp_path: Path) -> None:
    assert main(["sparse-timing", "--turns", "2", "--side", "4", "--json", str(tmp_path / "sparse.json")]) == 0
    found = json.loads((tmp_path / "sparse.json").read_text())
    assert found["token_ratio"] == 4.2 and found["time_ratio"] > 0 and len(found["rows"]) == 2
    assert all(seconds > 0 for row in found["rows"] for seconds in row.values())


def test_a_link_s_motion_is_fetched_only_when_told_to(
    clip_path: str, base: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lora, hub, fetched = tmp_path / "m.safetensors", f"owner/wave@{'a' * 40}", list[str]()
    assert main(["tune", clip_path, "--out", str(lora), *base, *SHORT]) == 0

    def fetch(hub: str, sha256: str, folder: Path, *, token: bool | None) -> Path:
        fetched.append(hub)
        return lora

    monkeypatch.setattr("motion_transfer.hub.fetch", fetch)
    used = PresetLora(name="Wave", sha256=file_hash(lora), strength=0.5, hub=hub)
    name = Path(base[base.index("--base") + 1]).name
    spec = RenderSpec(prompt="a star\nLoRA Wave: /at/hand\r\u202e", steps=2)
    preset = Preset.of(name="x", base=name, render=spec, loras=[used])
    where = ["--workspace", str(tmp_path / "work"), "--out", str(tmp_path / "out.mp4"), *base]
    ask = ["render", "--from-link", preset_link(preset, "http://localhost:7860/"), *where]
    capsys.readouterr()
    assert main(["render", "--prompt", "x", "--fetch", *where]) == 2 and "--from-link" in _one_line(capsys)
    assert main(ask) == 2 and fetched == []
    assert f"not at hand, on the Hub as {hub}" in (said := capsys.readouterr()).out and "--fetch" in said.err
    assert sum(line.startswith("LoRA Wave") for line in said.out.splitlines()) == 1 and "\u202e" not in said.out
    assert main([*ask, "--fetch"]) == 0 and fetched == [hub]
    motion = Library(tmp_path / "work").motions()[0]
    assert motion.hub == hub and motion.path.read_bytes() == lora.read_bytes()


def test_several_motions_add_up(clip_path: str, base: list[str], tmp_path: Path) -> None:
    lora, out = tmp_path / "m.safetensors", tmp_path / "out.mp4"
    assert main(["tune", clip_path, "--out", str(lora), *base, *SHORT]) == 0
    learned = load_lora(lora)
    save_lora(scaled(learned, 300.0), lora)  # so that it shows
    arguments = ["render", "--prompt", "a blue circle", "--steps", "2", "--out", str(out), *base]
    shown = []
    for more in (["--lora", str(lora)] * 2, ["--lora", str(lora), "--strength", "2"], ["--lora", str(lora)]):
        assert main([*arguments, *more]) == 0
        shown.append(read_clip(out).frames_THWC.astype(int))
    assert abs(shown[0] - shown[1]).mean() < 0.5 * abs(shown[0] - shown[2]).mean()


def test_a_lora_is_looked_into_and_written_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The ComfyUI layout has its names; what can't be, is one line."""
    layer = LowRank(down_RI=torch.ones(2, 1536), up_OR=torch.ones(1536, 2))
    save_lora(Lora(layers={"blocks.3.attn1.to_q": layer}), tmp_path / "a.safetensors")
    assert main(["lora", "inspect", str(tmp_path / "a.safetensors"), "--json", str(tmp_path / "a.json")]) == 0
    shown = capsys.readouterr().out
    for fact in (
        "layout: diffusers",
        "Wan2.1-T2V-1.3B (by its shapes)",
        "rank: 2",
        "heads: 12 of 12",
        "WanVideoWrapper",
    ):
        assert fact in shown
    assert json.loads((tmp_path / "a.json").read_text())["modules"] == {"attn1.to_q": 1}
    assert main(["lora", "convert", str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")]) == 0
    with safe_open(str(tmp_path / "b.safetensors"), framework="pt") as handle:
        assert "diffusion_model.blocks.3.self_attn.q.alpha" in handle.keys()  # noqa: SIM118
    capsys.readouterr()
    for options in (["b.safetensors", "--layout", "kohya"], ["a.safetensors"]):
        rest = [str(tmp_path / options[0]), *options[1:]]
        assert main(["lora", "convert", str(tmp_path / "a.safetensors"), *rest]) == 2
        _one_line(capsys)


def test_block_check_compares_precisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = WanShape(num_blocks=2, num_heads=2, hidden=640)
    monkeypatch.setattr(blocks, "WAN_SHAPES", {"small": small})
    monkeypatch.setattr(blocks, "WAN_SIZES", {"small": replace(blocks.WAN_SIZES["Wan2.1 1.3B"], shape=small)})
    monkeypatch.setattr(blocks, "WHOLE_LATENTS", (1, 5))
    assert main(["block-check", "--side", "8", "--frames", "1", "--json", str(tmp_path / "blocks.json")]) == 0
    found = json.loads((tmp_path / "blocks.json").read_text())
    rows, whole = found["rows"], found["whole"]
    assert [(row["pass"], row["latent_frames"]) for row in whole[::3]] == [
        ("learning", 1),
        ("learning", 5),
        ("rendering", 21),
    ]
    assert all(row["rehearsed_gb"] == pytest.approx(row["said_gb"], rel=0.25) for row in whole)
    assert [(row["shape"], row["precision"]) for row in rows] == [("small", p) for p in ("bf16", "int8", "nf4")]
    for row in rows:
        for part in ("weight_mb", "saved_mb"):
            assert row[part] == pytest.approx(row[f"{part}_said"], rel=0.02)
    assert rows[0]["output_error"] == rows[0]["gradient_error"] == 0.0
    assert 0 < rows[1]["output_error"] < rows[2]["output_error"] < 0.5
