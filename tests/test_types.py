"""Central values: what they accept, what they refuse, and how they say so."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from motion_transfer import errors
from motion_transfer.errors import BadClip, BadSpec, MotionTransferError
from motion_transfer.types import Clip, HeadMap, Latents, LowRank, Measure, RenderSpec, Report, TuneSpec

SPECS = (TuneSpec, RenderSpec)
KNOBS = [(spec, field) for spec in SPECS for field in dataclasses.fields(spec)]


@pytest.mark.parametrize(("spec", "field"), KNOBS)
def test_every_knob_says_what_it_is(spec: type, field: dataclasses.Field) -> None:
    assert field.metadata["help"].endswith(".")
    low, high = field.metadata["low"], field.metadata["high"]
    if isinstance(field.default, str | bool):
        assert low is high is None
    else:
        assert low <= field.default <= high


@pytest.mark.parametrize(("spec", "field"), [(s, f) for s, f in KNOBS if f.metadata["low"] is not None])
def test_numbers_out_of_range_are_refused(spec: type, field: dataclasses.Field) -> None:
    low, high = field.metadata["low"], field.metadata["high"]
    for good in (low, high):
        spec(**{field.name: good})
    for bad in (low - 1, high + 1, math.nan, math.inf, "7", None, []):
        with pytest.raises(BadSpec, match=field.name.replace("_", " ")) as caught:
            spec(**{field.name: bad})
        assert str(caught.value).endswith(".")


@pytest.mark.parametrize("name", ["steps", "seed"])
def test_counts_are_whole(name: str) -> None:
    for bad in (2.5, 3.0, True):
        with pytest.raises(BadSpec, match="whole number"):
            RenderSpec(**{name: bad})


@pytest.mark.parametrize(("spec", "field"), [(s, f) for s, f in KNOBS if isinstance(f.default, bool)])
def test_switches_are_on_or_off(spec: type, field: dataclasses.Field) -> None:
    for bad in (1, "yes", None):
        with pytest.raises(BadSpec, match=f"{field.name.replace('_', ' ')} must be on or off"):
            spec(**{field.name: bad})


@pytest.mark.parametrize(("spec", "field"), [(s, f) for s, f in KNOBS if f.metadata["choices"]])
def test_choices(spec: type, field: dataclasses.Field) -> None:
    for good in field.metadata["choices"]:
        spec(**{field.name: good})
    with pytest.raises(BadSpec, match="must be one of"):
        spec(**{field.name: "other"})


@pytest.mark.parametrize("name", ["prompt", "negative_prompt"])
def test_texts_are_text(name: str) -> None:
    with pytest.raises(BadSpec, match="text"):
        RenderSpec(**{name: None})


def test_specs_are_frozen_and_named() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TuneSpec().rank = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        RenderSpec("a prompt")  # type: ignore[misc]


def test_a_clip_knows_its_length() -> None:
    clip = Clip(frames_THWC=np.zeros((24, 2, 3, 3), np.uint8), fps=12)
    assert (clip.num_frames, clip.seconds) == (24, 2.0)


@pytest.mark.parametrize("shape", [(2, 4, 4), (2, 4, 4, 4), (0, 4, 4, 3)])
def test_a_clip_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadClip, match=r"\(T, H, W, 3\)"):
        Clip(frames_THWC=np.zeros(shape, np.uint8), fps=12)


def test_a_clip_of_floats_or_without_a_rate_is_refused() -> None:
    with pytest.raises(BadClip, match="float64"):
        Clip(frames_THWC=np.zeros((2, 4, 4, 3)), fps=12)
    for fps in (0, -1, math.nan, math.inf, 1440):
        with pytest.raises(BadClip, match="another length"):
            Clip(frames_THWC=np.zeros((2, 4, 4, 3), np.uint8), fps=fps)


@pytest.mark.parametrize("times_F", [(0.0,), (0.0, 0.0), (1.0, 0.0)])
def test_times_of_latents_rise(times_F: tuple[float, ...]) -> None:
    with pytest.raises(AssertionError):
        Latents(z_ZFYX=torch.zeros(4, 2, 3, 3), times_F=times_F)


def test_temporal_heads_are_the_others() -> None:
    heads = HeadMap(mass_LN2=torch.ones(1, 2, 2), spatial_LN=torch.tensor([[True, False]]), base_hash="x")
    assert heads.temporal_LN.tolist() == [[False, True]]


def test_ranks_must_match() -> None:
    with pytest.raises(AssertionError):
        LowRank(down_RI=torch.ones(2, 4), up_OR=torch.ones(4, 3))


def test_a_missing_measure_says_why() -> None:
    with pytest.raises(AssertionError):
        Measure(name="m", value=None)
    with pytest.raises(AssertionError):
        Measure(name="m", value=1.0, why_missing="because")
    report = Report(measures=(Measure(name="a", value=0.5), Measure(name="b", value=None, why_missing="no tracks")))
    assert report.as_json() == {"a": 0.5, "b": None}
    assert (report.value("a"), report.value("b"), report.value("c")) == (0.5, None, None)


def test_all_errors_are_of_one_tree() -> None:
    kinds = [v for v in vars(errors).values() if isinstance(v, type)]
    assert len(kinds) > 6
    assert all(issubclass(kind, MotionTransferError) for kind in kinds)
