"""A distilled base: what it asks of a render, the levels it goes through, and what a person is told."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from safetensors.torch import load_file, save_file

from motion_transfer.errors import BadSpec, MissingWeights
from motion_transfer.model.base import VideoBase, open_base
from motion_transfer.model.catalog import FASTWAN, FASTWAN_NATIVE, LIGHTX2V, find_base
from motion_transfer.model.distilled import Distilled, misfit_notes, misfits, suited
from motion_transfer.model.flow import unshifted
from motion_transfer.model.sampling import denoise, starting_noise
from motion_transfer.model.solvers import FewSteps
from motion_transfer.types import RenderSpec
from motion_transfer.work import drive

NATIVE = {"height": 32, "width": 32, "num_frames": 17, "fps": 12.0}


def _folder(tiny_base_folder: Path, tmp_path: Path, **told: object) -> Path:
    folder = Path(shutil.copytree(tiny_base_folder, tmp_path / "fast"))
    (folder / "native.json").write_text(json.dumps(NATIVE | told))
    return folder


def test_steps_evenly_spaced_before_the_shift_are_those_of_euler_s_scheduler() -> None:
    """At shift 5: 1, 15/16, 5/6, 5/8."""
    spec = suited(RenderSpec(), LIGHTX2V)
    assert LIGHTX2V.sigmas(spec) == pytest.approx([1, 15 / 16, 5 / 6, 5 / 8])
    stock = FlowMatchEulerDiscreteScheduler(shift=5.0)
    stock.set_timesteps(sigmas=[1, 0.75, 0.5, 0.25])
    assert LIGHTX2V.sigmas(spec) == pytest.approx(stock.sigmas[:-1].tolist())
    z, velocity = torch.randn(2, 1, 4, 3, 4, 4)
    ours, theirs, solver = z, z, FewSteps(LIGHTX2V, spec)
    for number, timestep in enumerate(stock.timesteps):
        ours = solver.step(number, velocity, ours)
        theirs = stock.step(velocity, timestep, theirs, return_dict=False)[0]
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_own_timesteps_hold_for_own_steps_and_shift_alone() -> None:
    spec = suited(RenderSpec(), FASTWAN)
    assert FASTWAN.sigmas(spec) == [1.0, 0.757, 0.522]
    assert [round(unshifted(sigma, 8.0), 2) for sigma in FASTWAN.sigmas(spec)] == [1.0, 0.28, 0.12]
    for changed in (replace(spec, steps=4), replace(spec, flow_shift=5.0)):
        sigmas = FASTWAN.sigmas(changed)
        assert len(sigmas) == changed.steps and sigmas[0] == 1 and sigmas == sorted(sigmas, reverse=True)
        assert sigmas[1] != 0.757


@pytest.mark.parametrize("fresh", [False, True])
def test_a_true_velocity_leads_to_the_clean_clip(fresh: bool) -> None:
    """Whatever the noise between steps; with noise drawn anew, a seed draws the same again, another one other noise."""
    clean = torch.randn(1, 4, 3, 4, 4)
    distilled = replace(FASTWAN, fresh_noise=fresh)

    def run(seed: int) -> list[torch.Tensor]:
        spec = suited(RenderSpec(seed=seed), distilled)
        solver, z = FewSteps(distilled, spec), torch.ones_like(clean)
        seen = []
        for number, sigma in enumerate(solver.sigmas):
            z = solver.step(number, (z - clean) / sigma, z)
            seen.append(z)
        return seen

    first, again, other = run(0), run(0), run(1)
    assert torch.allclose(first[-1], clean, atol=1e-5)
    assert all(torch.equal(one, same) for one, same in zip(first, again, strict=True))
    assert torch.equal(first[0], other[0]) is not fresh
    noise = (first[0] - (1 - 0.757) * clean) / 0.757
    assert torch.allclose(noise, torch.ones_like(noise), atol=1e-5) is not fresh


def test_a_base_renders_by_its_own_rule(tiny_base: VideoBase) -> None:
    """One step of the whole way is the network's guess at the clean clip."""
    one = Distilled(steps=1, flow_shift=3.0, timesteps=(1000,))
    base = replace(tiny_base, spec=replace(tiny_base.spec, distilled=one))
    spec = suited(RenderSpec(prompt="a red square", seed=3), one)
    shown = drive(denoise(base, spec))
    z = starting_noise(base, 3)
    text = base.text.encode(["a red square"])
    with torch.no_grad():
        clean = z - base.velocity(z, torch.ones(1), text)
    assert np.array_equal(shown.frames_THWC, base.codec.decode(clean[0]))
    usual = drive(denoise(tiny_base, spec))
    assert shown.frames_THWC.shape == usual.frames_THWC.shape


def test_a_distilled_base_asks_for_its_settings_but_for_those_given() -> None:
    assert suited(RenderSpec(), None) == RenderSpec()
    found = suited(RenderSpec(prompt="a dog", steps=9), FASTWAN, given={"steps", "prompt"})
    assert found == RenderSpec(prompt="a dog", steps=9, guidance=1.0, early_guidance=1.0, flow_shift=8.0)
    assert misfits(found, FASTWAN) == {"steps": (9, 3)} and not misfits(found, None)
    assert misfits(suited(RenderSpec(), FASTWAN), FASTWAN) == {}
    said = misfit_notes(RenderSpec(), FASTWAN)
    assert len(said) == 3 and "20 steps are set, but this base is distilled for 3" in said[0]
    assert "guidance of 10 is set" in said[1] and "flow shift of 3 is set" in said[2]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"steps": 0}, {"steps": 3.5}, {"flow_shift": 0}, {"fresh_noise": "yes"}),
        *({"timesteps": found} for found in ([1000, 500], [500, 700, 1000], [1200, 500, 200], "abc", [1000, 500, 0])),
    ],
)
def test_what_is_no_way_to_render(wrong: dict[str, object]) -> None:
    with pytest.raises((ValueError, BadSpec)):
        Distilled(**{"steps": 3, "flow_shift": 8.0, **wrong})  # type: ignore[arg-type]


def test_a_folder_says_that_it_is_distilled(tiny_base_folder: Path, tmp_path: Path, tiny_base: VideoBase) -> None:
    told = {"steps": 3, "flow_shift": 8.0, "timesteps": [1000, 757, 522], "fresh_noise": True}
    folder = _folder(tiny_base_folder, tmp_path, distilled=told)
    base = open_base(str(folder), precision="fp32", device="cpu")
    assert base.spec.distilled == FASTWAN and base.spec.height == 32
    assert base.hash == tiny_base.hash  # the weights are the same
    shown = [drive(denoise(base, suited(RenderSpec(seed=seed), FASTWAN))).frames_THWC for seed in (0, 0, 1)]
    assert np.array_equal(shown[0], shown[1]) and not np.array_equal(shown[0], shown[2])


@pytest.mark.parametrize(
    "told",
    [
        *(
            {"distilled": found}
            for found in ({"steps": 3}, [3], {"steps": 3, "shift": 1}, {"steps": 0, "flow_shift": 8})
        ),
        *({"lora": found} for found in ("gone.safetensors", "../tiny/native.json", 3)),
        {"note": "mine"},
    ],
)
def test_a_folder_that_says_it_wrongly(tiny_base_folder: Path, tmp_path: Path, told: dict[str, object]) -> None:
    folder = _folder(tiny_base_folder, tmp_path, **told)
    with pytest.raises(MissingWeights, match=r"native\.json") as caught:
        find_base(str(folder))
    assert "\n" not in str(caught.value)


def test_fastvideo_s_folders_open_without_saying_anything(tiny_base_folder: Path, tmp_path: Path) -> None:
    """Their pipeline's name tells; what their sparse attention has on top is passed over."""
    folder = _folder(tiny_base_folder, tmp_path)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "WanDMDPipeline"}))
    (weights,) = (folder / "transformer").glob("*.safetensors")
    save_file(load_file(weights) | {"blocks.0.to_gate_compress.weight": torch.zeros(4, 4)}, weights,
              metadata={"format": "pt"})  # fmt: skip
    assert open_base(str(folder), precision="fp32", device="cpu").spec.distilled is None  # native.json says otherwise
    (folder / "native.json").unlink()
    spec = find_base(str(folder))
    assert spec.distilled == FASTWAN and "sparse attention" in spec.note
    assert {name: value for name, value in asdict(spec).items() if name in FASTWAN_NATIVE} == FASTWAN_NATIVE
