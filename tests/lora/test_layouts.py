"""Every layout of Wan LoRAs: keys as their tools write them, read to the same change."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from diffusers import WanPipeline
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from motion_transfer.errors import BadLora
from motion_transfer.lora.algebra import delta
from motion_transfer.lora.doctor import examine
from motion_transfer.lora.files import WRITTEN, file_hash, load_lora, read_lora, save_lora
from motion_transfer.lora.layouts import read_key
from motion_transfer.lora.names import diffusers_name, first_name
from motion_transfer.types import Lora, LowRank
from tests.conftest import HEAD_WIDTH, HEADS

WIDTH, RANK = HEADS * HEAD_WIDTH, 4
GENERATOR = torch.Generator().manual_seed(0)
DOWN, UP = torch.randn(RANK, WIDTH, generator=GENERATOR), torch.randn(WIDTH, RANK, generator=GENERATOR)
QUERY, OUT = "blocks.0.attn1.to_q", "blocks.11.attn2.to_out.0"

# As written by hand from files of these tools: keys of a query of block 0 and an output of block 11.
KEYS: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "diffusers": (
        ("transformer.blocks.0.attn1.to_q.lora_A.weight", "transformer.blocks.0.attn1.to_q.lora_B.weight"),
        ("transformer.blocks.11.attn2.to_out.0.lora_A.weight", "transformer.blocks.11.attn2.to_out.0.lora_B.weight"),
    ),
    "ComfyUI": (
        ("diffusion_model.blocks.0.self_attn.q.lora_A.weight", "diffusion_model.blocks.0.self_attn.q.lora_B.weight"),
        ("diffusion_model.blocks.11.cross_attn.o.lora_down.weight",
         "diffusion_model.blocks.11.cross_attn.o.lora_up.weight"),
    ),
    "kohya": (
        ("lora_unet_blocks_0_self_attn_q.lora_down.weight", "lora_unet_blocks_0_self_attn_q.lora_up.weight"),
        ("lora_unet_blocks_11_cross_attn_o.lora_down.weight", "lora_unet_blocks_11_cross_attn_o.lora_up.weight"),
    ),
    "VideoX-Fun": (
        ("lora_unet__blocks_0_self_attn_q.lora_down.weight", "lora_unet__blocks_0_self_attn_q.lora_up.weight"),
        ("lora_unet__blocks_11_cross_attn_o.lora_down.weight", "lora_unet__blocks_11_cross_attn_o.lora_up.weight"),
    ),
    "DiffSynth": (
        ("blocks.0.self_attn.q.lora_A.default.weight", "blocks.0.self_attn.q.lora_B.default.weight"),
        ("pipe.dit.blocks.11.cross_attn.o.lora_A.weight", "pipe.dit.blocks.11.cross_attn.o.lora_B.weight"),
    ),
    "PEFT": (
        ("base_model.model.blocks.0.self_attn.q.lora_A.weight", "base_model.model.blocks.0.self_attn.q.lora_B.weight"),
        ("base_model.model.blocks.11.attn2.to_out.0.lora_A.default.weight",
         "base_model.model.blocks.11.attn2.to_out.0.lora_B.default.weight"),
    ),
    "LyCORIS": (
        ("lycoris_blocks_0_self_attn_q.lora_down.weight", "lycoris_blocks_0_self_attn_q.lora_up.weight"),
        ("lycoris_blocks_11_cross_attn_o.lora_down.weight", "lycoris_blocks_11_cross_attn_o.lora_up.weight"),
    ),
    "bare": (
        ("blocks.0.attn1.to_q.lora_A.weight", "blocks.0.attn1.to_q.lora_B.weight"),
        ("blocks.11.attn2.to_out.0.lora_down.weight", "blocks.11.attn2.to_out.0.lora_up.weight"),
    ),
}  # fmt: skip


def _written(folder: Path, tensors: dict[str, Tensor], **metadata: str) -> Path:
    path = folder / "x.safetensors"
    save_file({n: t.clone().contiguous() for n, t in tensors.items()}, path, metadata=metadata or None)
    return path


def _tensors(layout: str, alpha: float | None = None) -> dict[str, Tensor]:
    found = {}
    for down, up in KEYS[layout]:
        found |= {down: DOWN.clone(), up: UP.clone()}
        if alpha is not None:
            found[down.split(".lora_")[0] + ".alpha"] = torch.tensor(alpha)
    return found


@pytest.mark.parametrize("alpha", [None, 2.0])
@pytest.mark.parametrize("layout", KEYS)
def test_every_layout_is_the_same_change(tmp_path: Path, layout: str, alpha: float | None) -> None:
    """Two layers of all that there could be; alpha may be missing."""
    found = read_lora(_written(tmp_path, _tensors(layout, alpha)))
    assert found.layout == layout and found.unread == () and set(found.lora.layers) == {QUERY, OUT}
    for layer in found.lora.layers.values():
        assert torch.allclose(delta(layer), (UP @ DOWN) * (1.0 if alpha is None else alpha / RANK), atol=1e-6)


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("layout", KEYS)
def test_every_layout_goes_round_through_ours(tmp_path: Path, layout: str, written: str) -> None:
    lora = load_lora(_written(tmp_path, _tensors(layout, 3.0)))
    save_lora(lora, tmp_path / "ours.safetensors", written)
    again = read_lora(tmp_path / "ours.safetensors")
    assert again.layout == written and set(again.lora.layers) == set(lora.layers)
    assert all(torch.equal(delta(again.lora.layers[n]), delta(x)) for n, x in lora.layers.items())


def test_products_of_lycoris_are_low_rank(tmp_path: Path) -> None:
    """LoKr and LoHa, as their formulas say."""

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=GENERATOR)

    lokr = {"lokr_w1": random(8, 8), "lokr_w2_a": random(WIDTH // 8, 3), "lokr_w2_b": random(3, WIDTH // 8),
            "alpha": torch.tensor(6.0)}  # fmt: skip
    whole = {"lokr_w1": random(4, 8), "lokr_w2": random(WIDTH // 4, WIDTH // 8), "alpha": torch.tensor(6.0)}
    loha = {"hada_w1_a": random(WIDTH, 2), "hada_w1_b": random(2, WIDTH), "hada_w2_a": random(WIDTH, 3),
            "hada_w2_b": random(3, WIDTH), "alpha": torch.tensor(1.0)}  # fmt: skip
    modules = {"self_attn_q": lokr, "self_attn_k": whole, "self_attn_v": loha}
    tensors = {f"lycoris_blocks_0_{m}.{part}": t for m, parts in modules.items() for part, t in parts.items()}
    found = read_lora(_written(tmp_path, tensors))
    changes = {name[-1]: delta(layer) for name, layer in found.lora.layers.items()}
    assert found.layout == "LyCORIS"
    expected = {
        "q": torch.kron(lokr["lokr_w1"], lokr["lokr_w2_a"] @ lokr["lokr_w2_b"]) * 6 / 3,
        "k": torch.kron(whole["lokr_w1"], whole["lokr_w2"]),  # nothing for alpha to be taken over
        "v": (loha["hada_w1_a"] @ loha["hada_w1_b"]) * (loha["hada_w2_a"] @ loha["hada_w2_b"]) / 2,
    }
    for name, change in expected.items():
        assert torch.allclose(changes[name], change, atol=1e-4), name
    assert found.lora.layers["blocks.0.attn1.to_v"].down_RI.shape[0] == 6


def test_a_product_too_large_to_hold_is_refused(tmp_path: Path) -> None:
    one = torch.ones(1000, 1000)
    huge = {
        f"lycoris_blocks_0_self_attn_q.{part}": one for part in ("lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b")
    }
    with pytest.raises(BadLora, match="export"):
        read_lora(_written(tmp_path, huge))


def test_scales_of_peft_are_taken_from_beside_the_file(tmp_path: Path) -> None:
    """alpha by module, and over the rank's root where the LoRA is rank-stabilized."""
    path = _written(tmp_path, _tensors("PEFT"))
    config = {"r": RANK, "lora_alpha": 8, "use_rslora": True, "alpha_pattern": {"attn2.to_out.0": 2}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    layers = load_lora(path).layers
    assert torch.allclose(delta(layers[QUERY]), UP @ DOWN * 8 / math.sqrt(RANK), atol=1e-5)
    assert torch.allclose(delta(layers[OUT]), UP @ DOWN * 2 / math.sqrt(RANK), atol=1e-5)
    for damaged in ("{", "[1]", '{"lora_alpha": "x"}', '{"alpha_pattern": 3}'):
        (tmp_path / "adapter_config.json").write_text(damaged)
        with pytest.raises(BadLora, match="export"):
            load_lora(path)


def test_scales_of_diffusers_are_taken_from_the_header(tmp_path: Path) -> None:
    facts = {"transformer.r": RANK, "transformer.lora_alpha": 2, "transformer.use_rslora": False}
    path = _written(tmp_path, _tensors("diffusers"), lora_adapter_metadata=json.dumps(facts))
    assert torch.allclose(delta(load_lora(path).layers[QUERY]), UP @ DOWN * 2 / RANK, atol=1e-6)


@pytest.mark.parametrize("key", ["dora_scale", "lora_magnitude_vector", "lora_magnitude_vector.default.weight"])
def test_a_dora_is_refused(tmp_path: Path, key: str) -> None:
    tensors = _tensors("ComfyUI") | {f"diffusion_model.blocks.0.self_attn.q.{key}": torch.ones(WIDTH)}
    with pytest.raises(BadLora, match="DoRA"):
        load_lora(_written(tmp_path, tensors))
    path = _written(tmp_path, _tensors("PEFT"))
    (tmp_path / "adapter_config.json").write_text('{"use_dora": true}')
    with pytest.raises(BadLora, match="DoRA"):
        load_lora(path)


def test_what_is_not_read_is_told(tmp_path: Path) -> None:
    """Whole changes of weights and biases, unless they are nought, convolutions, and what Wan does not have."""
    unread = {
        "diffusion_model.blocks.0.self_attn.q.diff_b": torch.ones(WIDTH),
        "diffusion_model.blocks.0.spatial.q.lora_A.weight": torch.ones(2, 2),
        "diffusion_model.patch_embedding.lora_down.weight": torch.ones(2, 16, 1, 2, 2),
    }
    idle = {"diffusion_model.blocks.0.norm3.diff": torch.zeros(WIDTH)}
    found = read_lora(_written(tmp_path, _tensors("ComfyUI") | unread | idle))
    assert found.unread == tuple(sorted(unread)) and len(found.lora.layers) == 2


def test_names_go_both_ways() -> None:
    spelled = ("blocks.3.self_attn.o", "blocks_3_self_attn_o", "blocks.3.attn1.to_out.0", "blocks_3_attn1_to_out_0")
    assert {diffusers_name(name) for name in spelled} == {"blocks.3.attn1.to_out.0"}
    for name in ("blocks.3.attn1.to_out.0", "blocks.12.ffn.net.0.proj", "proj_out", "condition_embedder.time_proj"):
        assert diffusers_name(first_name(name)) == name
    for name in ("blocks.x.attn1.to_q", "blocks.1.attn3.to_q", "down.0.attn1.to_q", ""):
        assert diffusers_name(name) is None
    assert read_key("unet.down.0.lora_A.weight") is None and read_key("") is None


def _motion() -> Lora:
    """Half of the heads of two blocks, and ranks that differ."""
    layers = {}
    for block, rank in ((0, RANK), (1, 2)):
        up = UP[:, :rank].clone()
        up[WIDTH // 2 :] = 0
        layers[f"blocks.{block}.attn1.to_q"] = LowRank(down_RI=DOWN[:rank], up_OR=up)
    info = {"base": "nano", "base_hash": "0" * 64, "name": "a wave", "caption": "a red square",
            "spec": {"seed": 3, "spatial_steps": 4, "temporal_steps": 30, "temporal_rate": 0.005}}  # fmt: skip
    return Lora(layers=layers, info=info)


@pytest.mark.parametrize("layout", WRITTEN)
def test_stock_diffusers_loads_what_we_write(tiny_base_folder: Path, tmp_path: Path, layout: str) -> None:
    """Every layer lands, at its own rank, at scale 1."""
    pipeline = WanPipeline.from_pretrained(tiny_base_folder, dtype=torch.float32)
    save_lora(_motion(), tmp_path / "motion.safetensors", layout)
    pipeline.load_lora_weights(str(tmp_path), weight_name="motion.safetensors", adapter_name="motion")
    for name, layer in _motion().layers.items():
        module = pipeline.transformer.get_submodule(name)
        assert torch.allclose(module.get_delta_weight("motion"), delta(layer), atol=1e-6)
    adapted = [n for n, m in pipeline.transformer.named_modules() if hasattr(m, "lora_A")]
    assert set(adapted) == set(_motion().layers)


@pytest.mark.parametrize("layout", WRITTEN)
def test_facts_for_other_tools_stand_in_the_header(tmp_path: Path, layout: str) -> None:
    """The same bytes each time, though there are many facts."""
    for i in range(6):
        save_lora(_motion(), tmp_path / f"{i}", layout)
    assert len({file_hash(tmp_path / f"{i}") for i in range(6)}) == 1
    with safe_open(str(tmp_path / "0"), framework="pt") as handle:
        facts = handle.metadata()
        alphas = [handle.get_tensor(key).item() for key in handle.keys() if key.endswith(".alpha")]  # noqa: SIM118
    assert facts["modelspec.architecture"] == "wan2.1" and facts["ss_network_dim"] == facts["ss_network_alpha"] == "4"
    assert facts["ss_seed"] == "3" and facts["ss_steps"] == "34" and facts["modelspec.title"] == "a wave"
    assert json.loads(facts["motion_transfer"]) == _motion().info
    if layout == "ComfyUI":
        assert sorted(alphas) == [2, 4] and "lora_adapter_metadata" not in facts
    else:
        assert json.loads(facts["lora_adapter_metadata"])["transformer.rank_pattern"] == {"blocks.1.attn1.to_q": 2}


def test_the_doctor_tells_what_a_file_holds(tmp_path: Path) -> None:
    """Heads, ranks and norms; the base by its recipe, or by its shapes."""
    width = 1536
    down, up = torch.ones(2, width), torch.zeros(width, 2)
    up[128:384] = 1.0
    tensors = {f"lora_unet_blocks_{b}_self_attn_q.lora_{side}.weight": t
               for b in (0, 7) for side, t in (("down", down), ("up", up))}  # fmt: skip
    checkup = examine(read_lora(_written(tmp_path, tensors | {"x.y": torch.ones(1)})))
    assert (checkup.base, checkup.is_guess) == ("Wan2.1-T2V-1.3B", True)
    assert (checkup.num_blocks, checkup.modules, checkup.heads) == (2, {"attn1.to_q": 2}, (4, 24))
    assert checkup.ranks == (2,) and checkup.unread == ("x.y",)
    assert checkup.norms["blocks.7.attn1.to_q"] == pytest.approx((up @ down).norm().item(), rel=1e-5)
    (warning,) = checkup.misread_by
    assert "diffusers" in warning
    save_lora(_motion(), tmp_path / "ours.safetensors")
    ours = examine(read_lora(tmp_path / "ours.safetensors"))
    assert (ours.base, ours.is_guess, ours.heads, ours.ranks) == ("nano", False, None, (2, 4))
    assert "WanVideoWrapper" in ours.misread_by[0]
    save_lora(_motion(), tmp_path / "ours.safetensors", "ComfyUI")
    assert examine(read_lora(tmp_path / "ours.safetensors")).misread_by == ()
