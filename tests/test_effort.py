"""What each stage took of the device's measured speed is told where that was measured, and nowhere else."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from motion_transfer.cli import main
from motion_transfer.effort import Effort
from motion_transfer.jobs.estimates import SHARES
from motion_transfer.jobs.worker import Worker
from motion_transfer.machine import device_name
from motion_transfer.model.arithmetic import Arithmetic
from motion_transfer.model.device_speed import SPEED_FILE, DeviceSpeed, save_speed
from motion_transfer.model.text import MIN_TOKENS
from motion_transfer.model.wan_shapes import shape_of
from motion_transfer.pipeline import Studio
from motion_transfer.transfer import CHECK_RENDERS, CHECK_STEPS
from motion_transfer.types import Clip, RenderSpec, TuneSpec
from motion_transfer.ui import words
from motion_transfer.ui.jobs import job_facts
from motion_transfer.video.io import write_clip
from motion_transfer.workspace import Workspace
from tests.conftest import TEXT_WIDTH, Z_DIM
from tests.jobs.test_worker import order_render, order_tune

CPU = torch.device("cpu")
SPEED = DeviceSpeed(device=device_name(CPU), products=1e-3, attention=1.0, forward=1.0, step=1.0, tokens=64)
SPEC = TuneSpec(caption="a red square", spatial_steps=2, temporal_steps=4, rank=2, sparse_latents=3, gradient_draws=1)
ASKED = RenderSpec(prompt="a blue circle", steps=3)


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A workspace in which this device was measured."""
    save_speed(SPEED, tmp_path / "work" / SPEED_FILE)
    return tmp_path / "work"


def _studio(folder: Path, workspace: Path) -> Studio:
    return Studio(base=str(folder), precision="fp32", device="cpu", workspace=workspace)


def test_every_pass_of_the_network_is_counted(tiny_base_folder: Path, measured: Path, square_clip: Clip) -> None:
    studio = _studio(tiny_base_folder, measured)
    base, rows = studio.base, Counter[int]()  # that went through the network, by the latent frames of the clip
    base.transformer.register_forward_pre_hook(lambda _, given: rows.update({given[0].shape[2]: given[0].shape[0]}))
    spec = replace(SPEC, temporal_steps=12, check_every=2)
    tuned = studio.tune(square_clip, spec, preview=replace(ASKED, guidance=3.0), preview_every=6)
    arithmetic = Arithmetic(shape=shape_of(base.transformer), text_tokens=MIN_TOKENS + 1, text_width=TEXT_WIDTH,
                            channels=Z_DIM)  # fmt: skip
    whole = arithmetic.forward(base.num_latents * base.frame_tokens)
    steps = {n: rows[n] * arithmetic.step(n * base.frame_tokens, rank=2) for n in (1, 2, 3)}
    flops, aside = studio._effort.flops, rows[base.num_latents] - 7  # previews, which are guided, and checks
    assert aside >= 2 * 2 * ASKED.steps + CHECK_RENDERS * CHECK_STEPS
    assert flops["heads"] == pytest.approx(7 * whole)
    assert flops["spatial"] == pytest.approx(steps[1]) and rows[1] == 3 * spec.spatial_batch
    assert flops["temporal"] == pytest.approx(steps[2] + steps[3] + aside * whole)
    shares = studio.shares(tuned.seconds)
    assert set(shares) == {"heads", "spatial", "temporal"}
    assert shares["heads"] == pytest.approx(7 * whole / (1e9 * tuned.seconds["heads"]), abs=1e-4)
    studio.render(tuned.lora, ASKED)
    assert flops["render"] == pytest.approx(2 * ASKED.steps * whole) and flops["heads"] == pytest.approx(7 * whole)
    assert studio.shares({"render": 2.0}) == {"render": pytest.approx(flops["render"] / 2e9, abs=1e-4)}


def test_shares_are_of_stages_whose_seconds_are_known() -> None:
    effort = Effort()
    effort.flops["render"] = 2e9
    assert effort.shares({"render": 4.0, "judge": 1.0}, SPEED) == {"render": 0.5}
    assert effort.shares({}, SPEED) == {} and effort.shares({"render": 4.0}, None) == {}


def test_the_network_is_watched_no_longer_than_work_goes_on(tiny_base_folder: Path, measured: Path) -> None:
    studio = _studio(tiny_base_folder, measured)
    work = studio.render_work(None, ASKED)
    next(work)
    assert len(studio.base.transformer._forward_pre_hooks) == 1 and studio._effort.flops["render"] > 0
    work.close()
    assert len(studio.base.transformer._forward_pre_hooks) == 0


def test_nothing_is_told_of_a_device_that_was_not_measured(
    tiny_base_folder: Path, tmp_path: Path, square_clip: Clip
) -> None:
    studio = _studio(tiny_base_folder, tmp_path)
    tuned = studio.tune(square_clip, SPEC)
    assert studio.shares(tuned.seconds) == {}
    save_speed(replace(SPEED, device="another"), tmp_path / SPEED_FILE)
    assert studio.shares(tuned.seconds) == {}


def test_commands_tell_it(
    tiny_base_folder: Path, measured: Path, square_clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    save_speed(SPEED, tmp_path / "home" / "motion_transfer" / SPEED_FILE)
    clip, out, facts = tmp_path / "clip.mp4", tmp_path / "out.mp4", tmp_path / "facts.json"
    write_clip(square_clip, clip, min_side_px=64)
    quick = ["--spatial-steps", "1", "--temporal-steps", "1", "--rank", "2", "--gradient-draws", "0"]
    at = ["--base", str(tiny_base_folder), "--precision", "fp32", "--json", str(facts)]
    shown = ["--prompt", "a star", "--steps", "2", "--out", str(out)]
    lora = tmp_path / "motion.safetensors"
    for command, stages in (
        (["tune", str(clip), "--out", str(lora), *quick], {"heads", "spatial", "temporal"}),
        (["render", "--lora", str(lora), *shown], {"render"}),
        (["transfer", str(clip), *quick, *shown], {"heads", "spatial", "temporal", "render"}),
    ):
        assert main([*command, *at]) == 0
        told = json.loads(facts.read_text())
        assert set(told["shares"]) == stages and set(told["seconds"]) >= stages and told["peak_memory_mb"] > 0
        assert set(told["attention"].values()) == {"native"}


def test_a_job_tells_it_on_the_page(tiny_base_folder: Path, measured: Path, square_clip: Clip, tmp_path: Path) -> None:
    workspace, clip = Workspace(measured), tmp_path / "clip.mp4"
    write_clip(square_clip, clip, min_side_px=64)
    worker = Worker(workspace, _studio(tiny_base_folder, measured), threading.Event())
    learning = order_tune(workspace.jobs, clip)
    worker.work()
    done = workspace.jobs.job(learning.key)
    assert set(done.results[SHARES]) == {"heads", "spatial", "temporal"}
    facts = job_facts(workspace.library(""), done)
    assert words.SHARES.replace("'", "&#x27;") in facts and "Temporal stage: the motion" in facts
    rendering = order_render(workspace.jobs, (done.results["motion"], 1.0))
    worker.work()
    assert set(workspace.jobs.job(rendering.key).results[SHARES]) == {"render"}
    bare = replace(done, results={name: value for name, value in done.results.items() if name != SHARES})
    assert "measured speed" not in job_facts(workspace.library(""), bare)
