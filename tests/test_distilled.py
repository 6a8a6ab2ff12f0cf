"""Commands and page on a distilled base: its own settings, unless others are set; and a word where those don't suit."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from motion_transfer.cli import main
from motion_transfer.jobs.worker import Worker
from motion_transfer.machine import this_machine
from motion_transfer.model.device_speed import DeviceSpeed
from motion_transfer.pipeline import Studio
from motion_transfer.planner import WAN_SIZES, rendering_seconds, what_fits
from motion_transfer.types import Clip, RenderSpec, TuneSpec
from motion_transfer.ui import words
from motion_transfer.ui.api import Endpoints
from motion_transfer.ui.app import _heading
from motion_transfer.ui.desk import Place
from motion_transfer.ui.knobs import controls
from motion_transfer.ui.render import misfit_line
from motion_transfer.ui.words import zh
from motion_transfer.video.io import write_clip
from motion_transfer.workspace import Workspace
from tests.ui.orders import learn, learn_order, render_order

OWN = {"steps": 3, "guidance": 1.0, "early_guidance": 1.0, "flow_shift": 8.0}
SHORT = ["--spatial-steps", "2", "--temporal-steps", "2", "--sparse-latents", "3"]


@pytest.fixture(scope="module")
def folder(tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy base, distilled as it says."""
    folder = Path(shutil.copytree(tiny_base_folder, tmp_path_factory.mktemp("bases") / "fast"))
    told = json.loads((folder / "native.json").read_text())
    distilled = {"steps": 3, "flow_shift": 8.0, "timesteps": [1000, 757, 522], "fresh_noise": True}
    (folder / "native.json").write_text(json.dumps(told | {"distilled": distilled}))
    return folder


@pytest.fixture(scope="module")
def fast(folder: Path) -> Studio:
    return Studio(base=str(folder), precision="fp32", device="cpu")


def _rendered(folder: Path, tmp_path: Path, *flags: str) -> dict[str, object]:
    out, facts = tmp_path / "out.mp4", tmp_path / "out.json"
    arguments = ["render", "--prompt", "a blue circle", "--base", str(folder), "--precision", "fp32"]
    assert main([*arguments, "--out", str(out), "--json", str(facts), *flags]) == 0
    return json.loads(facts.read_text())["spec"]["render"]


def test_a_render_is_as_the_base_asks(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = _rendered(folder, tmp_path)
    assert OWN.items() <= asked.items() and asked["motion_until"] == RenderSpec().motion_until
    said = capsys.readouterr().err
    assert "note:" not in said and "render 3/3" in said
    assert main(["verify", str(tmp_path / "out.mp4"), "--base", str(folder)]) == 0


def test_what_is_given_stays_and_is_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where it is what other bases begin with."""
    asked = _rendered(folder, tmp_path, "--steps", "20", "--guidance", "2")
    assert asked["steps"] == 20 and asked["guidance"] == 2.0 and asked["early_guidance"] == 1.0
    said = capsys.readouterr().err
    assert "note: 20 steps are set, but this base is distilled for 3" in said
    assert "note: guidance of 2 is set" in said and said.count("note:") == 2


def test_other_bases_render_as_ever(tiny_base_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = _rendered(tiny_base_folder, tmp_path, "--steps", "2")
    assert (asked["guidance"], asked["flow_shift"]) == (5.0, 3.0) and "note:" not in capsys.readouterr().err


def test_learning_on_it_is_advised_against(
    folder: Path, tmp_path: Path, square_clip: Clip, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(square_clip, tmp_path / "square.mp4")
    clip, out = str(tmp_path / "square.mp4"), str(tmp_path / "out.mp4")
    assert main(["transfer", clip, "--prompt", "a blue circle", "--base", str(folder), *SHORT, "--out", out]) == 0
    said = capsys.readouterr().err
    assert said.count("note:") == 1 and "this base is distilled, and learning was not made for that" in said
    assert "render 3/3" in said
    assert main(["tune", clip, "--base", str(folder), *SHORT, "--out", str(tmp_path / "a.safetensors")]) == 0
    assert capsys.readouterr().err.count("learning was not made for that") == 1


def test_the_page_begins_with_what_the_base_asks(fast: Studio) -> None:
    begun = controls(RenderSpec, [*OWN, "late_strength"], fast.suited())
    assert {name: part.value for name, part in begun.items()} == {**OWN, "late_strength": RenderSpec().late_strength}
    assert words.DISTILLED.format(steps=3) in _heading(fast)


def test_the_page_says_what_does_not_suit(fast: Studio, tiny_base_folder: Path) -> None:
    assert misfit_line(fast, render_order(knobs=OWN)) == ""
    said = misfit_line(fast, render_order(knobs={**OWN, "steps": 20, "early_guidance": 4.5}))
    assert "20 steps" in said and "Guidance of 4.5" in said and "shift" not in said
    assert misfit_line(fast, render_order(knobs={**OWN, "steps": None})) == ""  # which Render will say
    assert misfit_line(Studio(base=str(tiny_base_folder)), render_order(knobs={"steps": 7})) == ""
    assert set(zh.MISFITS) == set(words.MISFITS) == {"steps", "guidance", "flow_shift"}


def test_scripts_get_the_same_beginning(fast: Studio, tmp_path: Path) -> None:
    place = Place(workspace=Workspace(tmp_path), owner="")
    key = Endpoints(fast, lambda _: place).render("a dog", None, 1, {"flow_shift": 5.0}, "")
    asked = place.workspace.jobs.job(key, "").orders["spec"]
    assert {name: asked[name] for name in OWN} == {**OWN, "flow_shift": 5.0}


def test_previews_are_rendered_so_too(fast: Studio, tmp_path: Path, square_clip: Clip) -> None:
    write_clip(square_clip, tmp_path / "square.mp4")
    place = Place(workspace=Workspace(tmp_path / "work"), owner="")
    view = learn(place, Worker(place.workspace, fast, threading.Event()), learn_order(tmp_path / "square.mp4"))
    assert view.saved is not None
    previews = place.workspace.jobs.job(view.job.key, "").results["steps"]["preview"]
    assert previews % 3 == 0 and previews > 0


def test_its_renders_are_expected_to_take_less(tmp_path: Path) -> None:
    """Three passes without guidance, where 20 steps with it are 40."""
    machine, name = this_machine(tmp_path), "Wan2.1 1.3B"
    speed = DeviceSpeed(device="a card", products=500.0, attention=200.0, forward=250.0, step=200.0, tokens=1024)
    few = RenderSpec(**OWN)  # type: ignore[arg-type]
    usual, fast = (what_fits(machine, {name: WAN_SIZES[name]}, TuneSpec(), speed, renders)[0].rendering_s
                   for renders in (None, {name: few}))  # fmt: skip
    assert usual is not None and fast == pytest.approx(usual * 3 / 40)
    assert fast == pytest.approx(rendering_seconds(WAN_SIZES[name], few, speed))
