"""A LoRA that is part of a base: added to its weights in whole, whatever tool wrote it, and counted in its hash."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from motion_transfer.errors import BadLora, WrongBase
from motion_transfer.lora.algebra import delta
from motion_transfer.lora.attach import attached
from motion_transfer.lora.files import WRITTEN, read_lora, save_lora
from motion_transfer.lora.fuse import fuse
from motion_transfer.model.base import VideoBase, open_base
from motion_transfer.model.catalog import find_base, weights_hash
from motion_transfer.model.sampling import denoise
from motion_transfer.planner import needs, size_in, size_of
from motion_transfer.transfer import render_work
from motion_transfer.types import Lora, LowRank, RenderSpec, TuneSpec
from motion_transfer.work import drive
from tests.conftest import HEAD_WIDTH, HEADS, build_transformer

WIDTH, HIDDEN, RANK = HEADS * HEAD_WIDTH, 128, 3
NATIVE = {"height": 32, "width": 32, "num_frames": 17, "fps": 12.0}
SHAPES = {"blocks.0.attn1.to_q": (WIDTH, WIDTH), "blocks.1.attn2.to_out.0": (WIDTH, WIDTH),
          "blocks.1.ffn.net.2": (WIDTH, HIDDEN), "condition_embedder.time_proj": (6 * WIDTH, WIDTH)}  # fmt: skip
RENDER = RenderSpec(prompt="a red square", steps=2, guidance=1.0, early_guidance=1.0)


@pytest.fixture
def lora() -> Lora:
    generator = torch.Generator().manual_seed(5)
    layers = {path: LowRank(down_RI=torch.randn(RANK, i, generator=generator),
                            up_OR=0.05 * torch.randn(o, RANK, generator=generator))
              for path, (o, i) in SHAPES.items()}  # fmt: skip
    return Lora(layers=layers)


def _folder(tiny_base_folder: Path, tmp_path: Path, lora: Lora, layout: str = WRITTEN[0]) -> Path:
    """A base whose folder says that a LoRA is part of it."""
    folder = Path(shutil.copytree(tiny_base_folder, tmp_path / "with_lora"))
    save_lora(lora, folder / "distill.safetensors", layout)
    distilled = {"steps": 4, "flow_shift": 5.0}
    (folder / "native.json").write_text(json.dumps(NATIVE | {"lora": "distill.safetensors", "distilled": distilled}))
    return folder


def _changes(path: Path) -> dict[str, Tensor]:
    """What fusing changes of a small transformer, by parameter."""
    before, transformer = build_transformer().state_dict(), build_transformer()
    fuse(transformer, path)
    after = transformer.state_dict()
    return {name: after[name] - before[name] for name in before if not torch.equal(after[name], before[name])}


@pytest.mark.parametrize("layout", WRITTEN)
def test_the_weights_become_the_sum(lora: Lora, tmp_path: Path, layout: str) -> None:
    save_lora(lora, tmp_path / "a.safetensors", layout)
    changed = _changes(tmp_path / "a.safetensors")
    assert set(changed) == {f"{path}.weight" for path in SHAPES}
    for path, layer in lora.layers.items():
        assert torch.allclose(changed[f"{path}.weight"], delta(layer), atol=1e-6)


def test_whole_changes_of_biases_and_norms_are_made_too(tmp_path: Path) -> None:
    """As LightX2V's extracted LoRAs have them, beside low-rank ones with alpha; an adapter can't make them."""
    tensors = {
        "diffusion_model.blocks.0.self_attn.q.lora_down.weight": torch.ones(2, WIDTH),
        "diffusion_model.blocks.0.self_attn.q.lora_up.weight": torch.ones(WIDTH, 2),
        "diffusion_model.blocks.0.self_attn.q.alpha": torch.tensor(1.0),
        "diffusion_model.blocks.0.self_attn.q.diff_b": torch.full((WIDTH,), 2.0),
        "diffusion_model.blocks.1.norm3.diff": torch.full((WIDTH,), 3.0),
        "diffusion_model.blocks.1.norm3.diff_b": torch.full((WIDTH,), 4.0),
        "diffusion_model.blocks.1.cross_attn.norm_k.diff": torch.full((WIDTH,), 5.0),
        "diffusion_model.blocks.1.self_attn.norm_q.diff": torch.zeros(WIDTH),
        "diffusion_model.head.head.diff_b": torch.full((16,), 6.0),
        "diffusion_model.patch_embedding.diff": torch.full((WIDTH, 4, 1, 2, 2), 7.0),
    }
    save_file(tensors, tmp_path / "a.safetensors")
    found = {name: change.unique().round(decimals=4).tolist() for name, change in
             _changes(tmp_path / "a.safetensors").items()}  # fmt: skip
    assert {name: round(values[0]) for name, values in found.items()} == {
        "blocks.0.attn1.to_q.weight": 1, "blocks.0.attn1.to_q.bias": 2, "blocks.1.norm2.weight": 3,
        "blocks.1.norm2.bias": 4, "blocks.1.attn2.norm_k.weight": 5, "proj_out.bias": 6,
        "patch_embedding.weight": 7}  # fmt: skip
    assert len(read_lora(tmp_path / "a.safetensors").unread) == 6  # a motion of that kind can't be read whole


@pytest.mark.parametrize(
    ("key", "shape", "said"),
    [
        ("diffusion_model.blocks.0.diff_m", (6, WIDTH), "nothing is known of"),
        ("diffusion_model.blocks.0.self_attn.q.diff_b", (WIDTH + 1,), "is 64 in this base but 65"),
        ("diffusion_model.blocks.9.self_attn.q.diff_b", (WIDTH,), "which this base does not have"),
    ],
)
def test_one_that_does_not_fit_is_refused(
    lora: Lora, tmp_path: Path, key: str, shape: tuple[int, ...], said: str
) -> None:
    tensors = {f"transformer.{path}.lora_{side}.weight": matrix for path, layer in lora.layers.items()
               for side, matrix in (("A", layer.down_RI), ("B", layer.up_OR))}  # fmt: skip
    save_file(tensors | {key: torch.ones(shape)}, tmp_path / "a.safetensors")
    with pytest.raises(BadLora, match=said):
        fuse(build_transformer(), tmp_path / "a.safetensors")


@pytest.mark.parametrize("layout", WRITTEN)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8", "nf4"])
def test_a_base_with_it_computes_as_with_an_adapter(
    tiny_base_folder: Path, tmp_path: Path, lora: Lora, precision: str, layout: str, tiny_base: VideoBase
) -> None:
    """But for rounding, which is that of the precision; without it the velocity is another one altogether."""
    base = open_base(str(_folder(tiny_base_folder, tmp_path, lora, layout)), precision=precision, device="cpu")
    z, sigma = torch.randn(1, *base.latent_shape, generator=torch.Generator().manual_seed(0)), torch.tensor([0.8])
    text = base.text.encode(["a red square"])
    with torch.no_grad():
        found, bare = base.velocity(z, sigma, text), tiny_base.velocity(z, sigma, text)
        with attached(tiny_base.transformer, lora):
            wanted = tiny_base.velocity(z, sigma, text)
    off = ((found - wanted).norm() / (bare - wanted).norm()).item()
    assert off < {"fp32": 1e-4, "bf16": 0.1, "int8": 0.2, "nf4": 0.6}[precision]


def test_it_is_part_of_what_motions_hang_on(
    tiny_base_folder: Path, tmp_path: Path, lora: Lora, tiny_base: VideoBase
) -> None:
    folder = _folder(tiny_base_folder, tmp_path, lora)
    base = open_base(str(folder), precision="fp32", device="cpu")
    assert base.hash == weights_hash(folder, folder / "distill.safetensors") != tiny_base.hash
    motion = Lora(layers={"blocks.0.attn1.to_q": lora.layers["blocks.0.attn1.to_q"]}, info={"base_hash": base.hash})
    with pytest.raises(WrongBase, match="was made for the base"):
        drive(render_work(tiny_base, motion, RENDER))
    # The motion comes on top of it, and leaves it as it was.
    before = drive(denoise(base, RENDER)).frames_THWC
    assert not np.array_equal(drive(render_work(base, motion, RENDER)).frames_THWC, before)
    assert np.array_equal(drive(denoise(base, RENDER)).frames_THWC, before)


def test_the_hash_goes_by_what_it_holds_wherever_it_lies(tiny_base_folder: Path, tmp_path: Path, lora: Lora) -> None:
    folder = _folder(tiny_base_folder, tmp_path, lora)
    inside, outside = folder / "distill.safetensors", tmp_path / "elsewhere.safetensors"
    with_it = weights_hash(folder, inside)
    inside.rename(outside)
    assert weights_hash(folder) == weights_hash(tiny_base_folder) != with_it == weights_hash(folder, outside)
    save_lora(Lora(layers={"blocks.0.attn1.to_q": lora.layers["blocks.0.attn1.to_q"]}), outside)
    assert weights_hash(folder, outside) != with_it


def test_it_takes_no_memory_of_its_own(tiny_base_folder: Path, tmp_path: Path, lora: Lora) -> None:
    """So the planner's count, which is of the weights, counts it."""
    folder = _folder(tiny_base_folder, tmp_path, lora)
    plain, fused = (open_base(str(one), precision="nf4", device="cpu") for one in (tiny_base_folder, folder))

    def held(base: VideoBase) -> int:
        return sum(one.nbytes for one in (*base.transformer.parameters(), *base.transformer.buffers()))

    assert held(fused) == held(plain)
    assert size_of(fused) == size_of(plain) == size_in(find_base(str(folder)))
    assert needs(size_of(fused), "nf4", TuneSpec(), "none") == needs(size_of(plain), "nf4", TuneSpec(), "none")
