"""Mixing on the page: what strengths mean, how motions meet, and by which rule they come together."""

from __future__ import annotations

import base64
from html import escape

import cv2
import numpy as np
import pytest
import torch

from motion_transfer.errors import BadLora
from motion_transfer.jobs.worker import Worker
from motion_transfer.library import Library
from motion_transfer.lora.files import save_lora
from motion_transfer.pipeline import Studio
from motion_transfer.types import SCHEDULES, Clip, Lora, LowRank
from motion_transfer.ui import words
from motion_transfer.ui.desk import Place
from motion_transfer.ui.render import look_at_meter, motion_card, strength_readout
from motion_transfer.video.io import read_clip, write_clip
from tests.conftest import HEAD_WIDTH, HEADS
from tests.ui.orders import render, render_order

WIDTH = HEADS * HEAD_WIDTH
PAN = {"name": "Pan", "amplitude": 0.3, "unit": "frame widths", "curve": [[-1.0, -0.8], [0.0, 0.0], [1.0, 1.0]]}


def _motion(library: Library, tmp_path, seed: int, **info) -> str:
    """Takes in a motion that changes one layer of the toy base; returns its key."""
    generator = torch.Generator().manual_seed(seed)
    layer = LowRank(
        down_RI=torch.randn(2, WIDTH, generator=generator), up_OR=torch.randn(WIDTH, 2, generator=generator)
    )
    path = tmp_path / f"motion-{seed}.safetensors"
    save_lora(Lora(layers={"blocks.0.attn1.to_q": layer}, info={"base": "tiny", **info}), path)
    return library.import_motion(path, path.name).key


def test_a_control_says_how_far_it_goes() -> None:
    assert strength_readout(PAN, -0.5) == "-0.15 frame widths"
    strange = ({}, {**PAN, "amplitude": "far"}, {**PAN, "unit": "![x](https://x)"}, {**PAN, "amplitude": float("nan")})
    for recipe, strength in ((PAN, None), *((one, 1.0) for one in strange)):
        assert strength_readout(recipe, strength) == ""


def test_the_meter_compares_every_two(place: Place, library: Library, studio: Studio, tmp_path) -> None:
    a, b = (_motion(library, tmp_path, seed, name=f"Motion {seed}") for seed in (0, 1))
    assert look_at_meter(place, studio, [a, "", None]).shown == ""
    apart = look_at_meter(place, studio, [a, b])
    assert not apart.crowded and words.METER_CLEAR in apart.shown and "Motion 0 + Motion 1" in apart.shown
    alike = look_at_meter(place, studio, [a, a, b])
    assert alike.crowded and escape(words.METER_CROWDED) in alike.shown and alike.shown.count("<tr>") == 4
    with pytest.raises(BadLora):
        look_at_meter(place, studio, [a, "gone"])


def test_names_from_files_are_no_html(place: Place, library: Library, studio: Studio, tmp_path) -> None:
    keys = [_motion(library, tmp_path, seed, name="<b>bold</b>") for seed in (0, 1)]
    assert "<b>" not in look_at_meter(place, studio, keys).shown


def test_the_rule_is_part_of_the_order(place: Place, library: Library, worker: Worker, tmp_path) -> None:
    keys = [_motion(library, tmp_path, seed, name=str(seed)) for seed in (0, 1)]
    motions = [(key, 1.0) for key in keys]
    shown = {}
    for rule in ("sum", "orthogonal", "sum"):
        view = render(place, worker, render_order(motions=motions, knobs={"steps": 2, "mix": rule}))
        shown.setdefault(rule, []).append(read_clip(view.file).frames_THWC)
    assert (shown["sum"][0] == shown["sum"][1]).all() and (shown["sum"][0] != shown["orthogonal"][0]).any()


def test_a_control_renders_along_its_curve(place: Place, library: Library, worker: Worker, tmp_path) -> None:
    """At -0.8 it acts as its plain LoRA does at -1."""
    curved, plain = _motion(library, tmp_path, 0, **PAN), _motion(library, tmp_path, 0, name="Plain")
    views = [render(place, worker, render_order(motions=[motion])) for motion in ((curved, -0.8), (plain, -1.0))]
    assert (read_clip(views[0].file).frames_THWC == read_clip(views[1].file).frames_THWC).all()


def test_a_control_s_card_shows_what_it_does(place: Place, library: Library, tmp_path) -> None:
    """Three frames of its example side by side; without one, no picture."""
    key = _motion(library, tmp_path, 3, kind="control")
    assert "<img" not in motion_card(library, key)
    motion = library.motion(key)
    assert motion.example is None
    write_clip(Clip(frames_THWC=np.zeros((9, 32, 32, 3), np.uint8), fps=12.0), motion.path.with_suffix(".mp4"))
    card = motion_card(library, key)
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(card.split("base64,")[1].split('"')[0]), np.uint8), 1)
    assert picture.shape[1] == 3 * picture.shape[0]


def test_controls_and_motions_render_one_after_the_other(
    place: Place, library: Library, worker: Worker, tmp_path
) -> None:
    motions = [(_motion(library, tmp_path, 4, kind="control"), 1.0), (_motion(library, tmp_path, 5), 1.0)]
    shown = {}
    for schedule in SCHEDULES:
        view = render(place, worker, render_order(motions=motions, knobs={"steps": 9, "schedule": schedule}))
        shown[schedule] = read_clip(view.file).frames_THWC
    assert len({frames.tobytes() for frames in shown.values()}) == len(SCHEDULES)
    refused = render_order(motions=motions, knobs={"steps": 2, "schedule": SCHEDULES[1], "motion_until": 0.9})
    assert "schedule" in render(place, worker, refused).status
