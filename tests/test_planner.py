"""What is planned is what a rehearsal at full size takes; and the least checkpointing that fits is chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from motion_transfer.machine import this_machine
from motion_transfer.model.base import VideoBase, open_base
from motion_transfer.model.catalog import BaseSpec
from motion_transfer.model.checkpointing import RUNGS
from motion_transfer.model.device_speed import DeviceSpeed
from motion_transfer.model.footprint import forward_flops, lora_bytes, step_flops, weight_bytes
from motion_transfer.model.offload import weights_visiting
from motion_transfer.model.rehearsal import codec_bytes, pass_bytes, step_bytes
from motion_transfer.model.visiting_bytes import away_bytes, visiting_bytes
from motion_transfer.model.wan_shapes import WanShape
from motion_transfer.planner import (
    DECODING,
    ENCODING,
    RENDERING_RUNGS,
    WAN_SIZES,
    ModelSize,
    forward_bytes,
    learning_bytes,
    learning_seconds,
    needs,
    plan,
    planned,
    rendering_seconds,
    size_in,
    size_of,
    what_fits,
)
from motion_transfer.types import RenderSpec, TuneSpec

SIDE_PX, RANK = 512, 16


def _few_blocks(name: str, num_latents: int = 21) -> ModelSize:
    """Four blocks of a Wan2.1 for square clips."""
    whole = WAN_SIZES[name]
    return replace(whole, shape=replace(whole.shape, num_blocks=4), height=SIDE_PX, width=SIDE_PX,
                   num_latents=num_latents, frame_tokens=(SIDE_PX // 16) ** 2)  # fmt: skip


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("num_latents", [1, 5, 21])
@pytest.mark.parametrize("name", WAN_SIZES)
def test_learning_takes_what_is_planned(name: str, num_latents: int, rung: str) -> None:
    size = _few_blocks(name)
    spec = TuneSpec(rank=RANK, temporal_batch=1, spatial_steps=0, sparse_latents=num_latents)
    took = step_bytes(size.shape, (num_latents, SIDE_PX // 8, SIDE_PX // 8), rank=RANK, rung=rung)
    states = round(1.75 * lora_bytes(size.shape, RANK))  # of two LoRAs, but for the gradients of the one that learns
    assert took + states == pytest.approx(learning_bytes(size, spec, rung), rel=0.15)


@pytest.mark.parametrize("name", WAN_SIZES)
def test_a_pass_takes_what_is_planned(name: str) -> None:
    size = _few_blocks(name)
    took = pass_bytes(size.shape, (21, SIDE_PX // 8, SIDE_PX // 8))
    assert took == pytest.approx(forward_bytes(size, rows=2), rel=0.15)


def test_the_codec_takes_what_is_planned() -> None:
    encoding, decoding = (took / (96 * 128) for took in codec_bytes(13, 96, 128))
    assert encoding == pytest.approx(ENCODING, rel=0.15) and decoding == pytest.approx(DECODING, rel=0.15)


def test_an_opened_base_is_as_large_as_its_folder_says(tiny_base: VideoBase) -> None:
    assert size_of(tiny_base) == size_in(tiny_base.spec)
    assert size_of(tiny_base).tokens(tiny_base.num_latents) == tiny_base.num_latents * tiny_base.frame_tokens


def test_a_damaged_folder_has_no_size(tiny_base: VideoBase, tmp_path: object) -> None:
    lost: BaseSpec = replace(tiny_base.spec, folder=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(OSError):
        size_in(lost)


def test_the_fastest_plan_that_fits() -> None:
    size, spec = WAN_SIZES["Wan2.1 1.3B"], TuneSpec()
    by_rung = [needs(size, "nf4", spec, rung) for rung in RUNGS]
    assert [one.learning for one in by_rung] == sorted((one.learning for one in by_rung), reverse=True)
    for one in by_rung:
        assert plan(size, "nf4", spec, one.learning) == one
    tight = plan(size, "nf4", spec, 10**9)
    assert tight == by_rung[-1] and not tight.fits(10**9) and tight.fits(10**11)


def test_what_fits_a_card_and_a_machine_without(tmp_path: Path) -> None:
    machine = replace(this_machine(tmp_path), gpu="", memory_gb=24.0)
    card = replace(machine, gpu="a card", gpu_memory_gb=24.0)
    on_card, without = (what_fits(one, WAN_SIZES, TuneSpec()) for one in (card, machine))
    assert [(one.name, one.precision) for one in on_card] == [
        (n, p) for n in WAN_SIZES for p in ("nf4", "int8", "bf16")
    ]
    assert [one.fits for one in on_card] == [True] * 5 + [False]
    assert [one.needs.way for one in on_card][3:5] == ["all", "visiting"]
    assert {one.needs.way for one in without} <= set(RUNGS)
    assert all(less.needs.rendering <= more.needs.rendering for less, more in zip(on_card, without, strict=True))


@pytest.mark.parametrize(("name", "most_gb"), [("Wan2.1 1.3B", 8), ("Wan2.1 14B", 16)])
def test_nf4_learns_on_common_cards(name: str, most_gb: float) -> None:
    size = replace(_few_blocks(name), shape=WAN_SIZES[name].shape)
    assert plan(size, "nf4", TuneSpec(), 0).learning < most_gb * 1e9


def test_weights_visit_a_card_that_has_room_for_them_at_rest_beside_a_machine_that_has_too() -> None:
    size, spec = WAN_SIZES["Wan2.1 14B"], TuneSpec()
    rest, away = weight_bytes(size.shape, "nf4"), away_bytes(size.shape, "nf4")
    assert visiting_bytes(size.shape, "nf4") < rest / 8 and rest <= away + rest / 8
    small = plan(size, "nf4", spec, rest, beside=away)
    assert (small.rung, small.rendering_rung, small.way) == ("visiting", "visiting", "visiting")
    for capacity, beside in ((rest - 1, away), (rest, away - 1)):
        assert plan(size, "nf4", spec, capacity, beside=beside).way == "all"
    twelve = plan(size, "nf4", spec, 11 * 10**9, beside=32 * 10**9)
    assert twelve.fits(11 * 10**9) and not plan(size, "nf4", spec, 11 * 10**9).fits(11 * 10**9)


def test_guidance_goes_apart_before_weights_visit() -> None:
    size, spec = _few_blocks("Wan2.1 14B", num_latents=41), TuneSpec()  # decoding takes no more of a longer clip
    together, apart, visiting = (needs(size, "nf4", spec, "all", rendering_rung=rung) for rung in RENDERING_RUNGS)
    assert together.rendering > apart.rendering > visiting.rendering
    for one in (together, apart, visiting):
        assert plan(size, "nf4", spec, one.rendering, beside=10**12).rendering_rung == one.rendering_rung


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_visits_free_what_is_planned(tiny_base_folder: Path, precision: str) -> None:
    base = open_base(str(tiny_base_folder), precision=precision, device="cpu")

    def there() -> int:
        held = (one.untyped_storage() for one in base.transformer.parameters())
        return sum({storage.data_ptr(): storage.nbytes() for storage in held}.values())

    whole = there()
    with weights_visiting(base.transformer, base.device):
        freed = whole - there()
    shape, itemsize = size_of(base).shape, base.dtype.itemsize
    planned = [count(shape, precision, itemsize=itemsize) for count in (weight_bytes, visiting_bytes)]
    assert freed == pytest.approx(planned[0] - planned[1], rel=0.02)


def test_time_goes_by_operations() -> None:
    """A 1.3B render of 20 guided steps is 40 passes of 283 Tflop at 480 x 832; twice the steps take twice as long."""
    size, speed = WAN_SIZES["Wan2.1 1.3B"], DeviceSpeed(
        device="a card", products=500.0, attention=200.0, forward=250.0, step=200.0, tokens=1024)  # fmt: skip
    passes = rendering_seconds(size, RenderSpec(steps=20), speed) * 250 / 40
    assert passes == pytest.approx(forward_flops(size.shape, size.tokens(size.num_latents)) / 1e12)
    unguided = RenderSpec(steps=20, guidance=1.0, early_guidance=1.0)
    assert rendering_seconds(size, unguided, speed) == pytest.approx(20 * passes / 250)
    plain = TuneSpec(spatial_steps=0, gradient_draws=0, temporal_steps=100)
    short, long = (learning_seconds(size, replace(plain, temporal_steps=n), "none", speed) for n in (100, 200))
    step = 2 * step_flops(size.shape, size.tokens(5)) / 200e12
    assert long - short == pytest.approx(100 * step)
    assert learning_seconds(size, plain, "all", speed) > short
    assert learning_seconds(size, replace(plain, spatial_steps=10), "none", speed) > short


def test_what_a_job_needs_is_planned_for_this_machine(tiny_base: VideoBase, tmp_path: Path) -> None:
    learning, more = (planned(tiny_base.spec, "nf4", tmp_path, tune=TuneSpec(rank=rank)) for rank in (4, 64))
    rendering = planned(tiny_base.spec, "nf4", tmp_path, render=RenderSpec())
    assert learning is not None and more is not None and rendering is not None
    assert learning.fits and learning.seconds is None  # so narrow a base takes longer than its operations say
    assert more.memory_mb > learning.memory_mb > 100 and rendering.memory_mb > 100
    lost: BaseSpec = replace(tiny_base.spec, folder=tmp_path)
    assert planned(lost, "nf4", tmp_path, tune=TuneSpec()) is None


def test_only_wide_bases_are_timed(tmp_path: Path) -> None:
    machine = replace(this_machine(tmp_path), gpu="a card", gpu_memory_gb=24.0, memory_gb=32.0)
    speed = DeviceSpeed(device="a card", products=500.0, attention=200.0, forward=250.0, step=200.0, tokens=1024)
    narrow = {"narrow": replace(_few_blocks("Wan2.1 1.3B"), shape=WanShape(num_blocks=2, num_heads=4, hidden=64))}
    fits = what_fits(machine, narrow | WAN_SIZES, TuneSpec(), speed)
    assert [one.learning_s is None for one in fits] == [one.needs.way == "visiting" or one.name == "narrow"
                                                        for one in fits]  # fmt: skip
    assert sum(one.learning_s is None for one in fits) == 4
