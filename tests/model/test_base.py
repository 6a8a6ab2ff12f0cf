"""Opening a base at every precision, and its one call: what is quantized, how far the output moves, gradients."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import bitsandbytes as bnb
import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from peft.tuners.lora.bnb import Linear4bit, Linear8bitLt
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from motion_transfer.errors import BadLora, BadSpec, MissingWeights
from motion_transfer.lora.attach import LoraLayer, add_group_adapter, attached, remove_adapters
from motion_transfer.lora.heads import group_masks
from motion_transfer.model import attention, quantize
from motion_transfer.model import base as base_module
from motion_transfer.model.base import VideoBase, open_base
from motion_transfer.model.catalog import weights_hash
from motion_transfer.types import Lora, LowRank
from tests.conftest import BLOCKS, HEAD_WIDTH, HEADS, Z_DIM

QUANTIZED = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "attn2.to_q", "attn2.to_k", "attn2.to_v",
             "attn2.to_out.0", "ffn.net.0.proj", "ffn.net.2")  # fmt: skip


def _latents() -> Tensor:
    return torch.randn(2, Z_DIM, 5, 4, 4, generator=torch.Generator().manual_seed(0))


def _velocity(base: VideoBase, z: Tensor | None = None) -> Tensor:
    z = _latents() if z is None else z
    return base.velocity(z, torch.tensor([0.3, 0.8]), base.text.encode(["a red circle on a blue background"]))


def _attach(base: VideoBase) -> list[nn.Parameter]:
    """A trainable LoRA on all heads, with `up` away from zero."""
    generator = torch.Generator().manual_seed(1)
    masks = group_masks(torch.ones(BLOCKS, HEADS, dtype=torch.bool), HEAD_WIDTH)
    parameters = [*add_group_adapter(base.transformer, "motion", masks, rank=4, generator=generator).values()]
    with torch.no_grad():
        for up in parameters[1::2]:
            up.copy_(0.05 * torch.randn(up.shape, generator=generator))
    return parameters


def _gradients(base: VideoBase) -> list[Tensor]:
    parameters = _attach(base)
    _velocity(base).square().mean().backward()
    remove_adapters(base.transformer)
    return [p.grad.clone() for p in parameters]


def _error(ours: Tensor, exact: Tensor) -> float:
    return float((ours - exact).norm() / exact.norm())


@pytest.fixture(scope="module")
def opened(tiny_base_folder: Path) -> Callable[[str], VideoBase]:
    bases: dict[str, VideoBase] = {}

    def get(precision: str) -> VideoBase:
        if precision not in bases:
            bases[precision] = open_base(str(tiny_base_folder), precision=precision, device="cpu")
        return bases[precision]

    return get


def _dequantized(base: VideoBase, tiny_base_folder: Path) -> VideoBase:
    """A float32 base with the very weights that the 4-bit one stands for."""
    plain = open_base(str(tiny_base_folder), precision="fp32", device="cpu")
    for path, module in base.transformer.named_modules():
        if isinstance(module, bnb.nn.Linear4bit):
            exact = dequantize_4bit(module.weight.data, module.weight.quant_state)
            plain.transformer.get_submodule(path).weight.data.copy_(exact)
    return plain


@pytest.mark.parametrize(
    ("precision", "output", "gradient"), [("nf4", 0.15, 0.3), ("int8", 0.02, 0.04), ("bf16", 0.02, 0.05)]
)
def test_precisions_stay_near_float32(
    opened: Callable[[str], VideoBase], precision: str, output: float, gradient: float
) -> None:
    """Output, and the LoRA's gradients, by relative error; the toy's random weights are a hard case."""
    exact, base = opened("fp32"), opened(precision)
    with torch.no_grad():
        ours, theirs = _velocity(base), _velocity(exact)
    assert ours.dtype == torch.float32
    assert torch.isfinite(ours).all()
    assert 0 < _error(ours, theirs) < output
    ours, theirs = (torch.cat([g.flatten() for g in _gradients(b)]) for b in (base, exact))
    assert torch.isfinite(ours).all()
    assert 0 < _error(ours, theirs) < gradient


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("unpacked", [False, True])
@pytest.mark.parametrize(("products", "output", "gradient"), [("float32", 1e-5, 1e-4), ("bfloat16", 0.02, 0.05)])
def test_4_bit_gradients_are_those_of_its_weights(
    tiny_base_folder: Path, monkeypatch: pytest.MonkeyPatch, training: bool, unpacked: bool, products: str,
    output: float, gradient: float,
) -> None:  # fmt: skip
    """Also after renders without gradients, in either mode, and whether or not there is room to keep them unpacked.

    bitsandbytes repacks weights for new CPUs at the first call in eval mode, and that kernel has no gradient.
    """
    monkeypatch.setattr(quantize, "UNPACKED_BYTES", quantize.UNPACKED_BYTES if unpacked else 0)
    monkeypatch.setattr(base_module, "product_dtype", lambda *_: getattr(torch, products))
    base = open_base(str(tiny_base_folder), precision="nf4", device="cpu")
    kept = [m.unpacked_OI is not None for m in base.transformer.modules() if isinstance(m, bnb.nn.Linear4bit)]
    assert kept == [unpacked] * (len(QUANTIZED) * BLOCKS)
    exact = _dequantized(base, tiny_base_folder)
    base.transformer.train(training)
    with torch.no_grad():
        assert _error(_velocity(base), _velocity(exact)) < output
    for ours, theirs in zip(_gradients(base), _gradients(exact), strict=True):
        assert _error(ours, theirs) < gradient


@pytest.mark.parametrize(
    ("capabilities", "products"),
    [({"avx512_bf16": True}, torch.bfloat16), ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
     ({"avx2": True}, torch.float32), ({}, torch.float32)],
)  # fmt: skip
def test_products_are_bfloat16_where_the_processor_knows_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], products: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert quantize.product_dtype(torch.device("cpu"), torch.float32) == products
    assert quantize.product_dtype(torch.device("cuda"), torch.bfloat16) == torch.bfloat16


def test_long_clips_train_without_whole_attention_maps(tiny_base_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps of a 1.3B model's 24,276 tokens would take 28 GB a block."""
    base, used = open_base(str(tiny_base_folder), precision="fp32", device="cpu"), []
    math_backend = attention.sdpa_kernel
    monkeypatch.setattr(attention, "sdpa_kernel", lambda backend: used.append(backend) or math_backend(backend))
    parameters = _attach(base)
    _velocity(base).sum().backward()
    gradients = [p.grad.clone() for p in parameters]
    assert len(used) == 1
    monkeypatch.setattr(attention, "SMALL_TOKENS", 8)
    for parameter in parameters:
        parameter.grad = None
    _velocity(base).sum().backward()
    assert len(used) == 1
    assert all(_error(p.grad, other) < 1e-4 for p, other in zip(parameters, gradients, strict=True) if other.any())


def test_only_linear_layers_of_the_blocks_are_quantized(opened: Callable[[str], VideoBase]) -> None:
    """Embedders, norms, modulation tables, biases and proj_out keep their exact float32 values."""
    exact = dict(opened("fp32").transformer.named_parameters())
    for precision, kind in (("nf4", bnb.nn.Linear4bit), ("int8", bnb.nn.Linear8bitLt)):
        modules = dict(opened(precision).transformer.named_modules())
        found = {p for p, m in modules.items() if isinstance(m, kind)}
        assert found == {f"blocks.{b}.{m}" for b in range(BLOCKS) for m in QUANTIZED}
        assert not any(isinstance(m, kind) for p, m in modules.items() if not p.startswith("blocks."))
        for name, parameter in opened(precision).transformer.named_parameters():
            if name.rpartition(".")[0] in found and name.endswith(".weight"):
                assert parameter.dtype in (torch.uint8, torch.int8)
            else:
                assert parameter.dtype == torch.float32
                assert torch.equal(parameter, exact[name]), name


def test_4_bit_weights_take_an_eighth(tiny_nf4: VideoBase) -> None:
    weight = tiny_nf4.transformer.blocks[0].ffn.net[2].weight
    assert weight.quant_type == "nf4"
    assert weight.numel() == HEADS * HEAD_WIDTH * 128 // 2


def test_a_quantized_base_is_untouched_by_learning(tiny_nf4: VideoBase) -> None:
    before = {n: t.clone() for n, t in tiny_nf4.transformer.state_dict().items()}
    bare = _velocity(tiny_nf4)
    parameters = _attach(tiny_nf4)
    optimizer = torch.optim.AdamW(parameters, lr=0.01)
    _velocity(tiny_nf4).square().mean().backward()
    optimizer.step()
    assert {n for n, p in tiny_nf4.transformer.named_parameters() if p.requires_grad} == {
        n for n, _ in tiny_nf4.transformer.named_parameters() if ".lora_" in n
    }
    remove_adapters(tiny_nf4.transformer)
    after = tiny_nf4.transformer.state_dict()
    assert all(torch.equal(t, after[n]) for n, t in before.items())
    assert torch.equal(bare, _velocity(tiny_nf4))


@pytest.mark.parametrize(("precision", "kind"), [("nf4", Linear4bit), ("int8", Linear8bitLt)])
def test_peft_picks_its_quantized_layer(opened: Callable[[str], VideoBase], precision: str, kind: type) -> None:
    """Its adapters are float32, and nothing is ever merged into the weights."""
    base = opened(precision)
    _attach(base)
    layers = [m for m in base.transformer.modules() if isinstance(m, LoraLayer)]
    assert len(layers) == 4 * BLOCKS
    assert all(type(layer) is kind and not layer.merged for layer in layers)
    assert all(layer.lora_A["motion"].weight.dtype == torch.float32 for layer in layers)
    remove_adapters(base.transformer)


def test_adapters_of_a_16_bit_base_are_float32(opened: Callable[[str], VideoBase]) -> None:
    """A step of 1e-4 on a weight of 1 would vanish in bfloat16."""
    assert all(p.dtype == torch.float32 for p in _attach(opened("bf16")))
    remove_adapters(opened("bf16").transformer)


@pytest.mark.parametrize("precision", ["nf4", "int8", "fp32"])
def test_a_lora_acts_beside_the_weights(opened: Callable[[str], VideoBase], precision: str) -> None:
    """Attached, run and removed: the weights' bytes are the same throughout; nothing was merged."""
    base = opened(precision)
    weight = base.transformer.blocks[1].attn1.to_v.weight.data.clone()
    generator = torch.Generator().manual_seed(3)
    width = HEADS * HEAD_WIDTH
    change = LowRank(
        down_RI=torch.randn(2, width, generator=generator), up_OR=torch.randn(width, 2, generator=generator)
    )
    with torch.no_grad():
        bare = _velocity(base)
        with attached(base.transformer, Lora(layers={"blocks.1.attn1.to_v": change})):
            assert not torch.equal(bare, _velocity(base))
            assert torch.equal(base.transformer.blocks[1].attn1.to_v.get_base_layer().weight.data, weight)
        assert torch.equal(bare, _velocity(base))
    assert torch.equal(base.transformer.blocks[1].attn1.to_v.weight.data, weight)


@pytest.mark.parametrize("precision", ["nf4", "int8"])
def test_merging_into_quantized_weights_is_refused(opened: Callable[[str], VideoBase], precision: str) -> None:
    base = opened(precision)
    _attach(base)
    with torch.no_grad():
        beside = _velocity(base)
        for module in base.transformer.modules():
            if isinstance(module, LoraLayer):
                with pytest.raises(BadLora, match="bf16 or fp32"):
                    module.merge()
        assert torch.equal(_velocity(base), beside)
    remove_adapters(base.transformer)


def test_merging_into_full_weights_is_right(opened: Callable[[str], VideoBase]) -> None:
    base = opened("fp32")
    _attach(base)
    layers = [m for m in base.transformer.modules() if isinstance(m, LoraLayer)]
    with torch.no_grad():
        beside = _velocity(base)
        for layer in layers:
            layer.merge()
        assert _error(_velocity(base), beside) < 1e-5
        for layer in layers:
            layer.unmerge()
    remove_adapters(base.transformer)


def test_the_batch_shares_one_prompt(tiny_base: VideoBase) -> None:
    """Rows do not see each other."""
    with torch.no_grad():
        both = _velocity(tiny_base)
        text = tiny_base.text.encode(["a red circle on a blue background"])
        second = tiny_base.velocity(_latents()[1:], torch.tensor([0.8]), text)
    assert (both[1:] - second).abs().max() < 1e-5


def test_facts_of_the_base(tiny_base: VideoBase) -> None:
    assert tiny_base.latent_shape == (Z_DIM, 5, 4, 4)
    assert (tiny_base.num_latents, tiny_base.num_heads, tiny_base.head_width) == (5, HEADS, HEAD_WIDTH)
    assert (tiny_base.spec.fps, tiny_base.precision, tiny_base.dtype) == (12.0, "fp32", torch.float32)


def test_unknown_precision(tiny_base_folder: Path) -> None:
    with pytest.raises(BadSpec, match="nf4, int8, bf16, fp32"):
        open_base(str(tiny_base_folder), precision="int4")


def test_missing_folder(tmp_path: Path) -> None:
    for name in (str(tmp_path), str(tmp_path / "nothing"), "nanoo"):
        with pytest.raises(MissingWeights, match="check the name"):
            open_base(name)


@pytest.fixture
def damaged(tiny_base_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_base_folder, tmp_path / "damaged"))


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_missing_part(damaged: Path, part: str) -> None:
    shutil.rmtree(damaged / part)
    with pytest.raises(MissingWeights, match="one is missing or damaged"):
        open_base(str(damaged), precision="fp32")


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder"])
def test_a_git_lfs_pointer_instead_of_weights(damaged: Path, part: str) -> None:
    weights = next((damaged / part).glob("*.safetensors"))
    weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    with pytest.raises(MissingWeights, match="git lfs") as caught:
        open_base(str(damaged), precision="fp32")
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_never_read(damaged: Path) -> None:
    """A pickle runs code when it is read."""
    weights = next((damaged / "vae").glob("*.safetensors"))
    torch.save({}, weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(MissingWeights, match="safetensors"):
        open_base(str(damaged), precision="fp32")


@pytest.mark.parametrize("text", ["{", "[]", '{"height": 32}', '{"height": 32, "depth": 1}'])
def test_a_damaged_native_file(damaged: Path, text: str) -> None:
    (damaged / "native.json").write_text(text)
    with pytest.raises(MissingWeights, match=r"native\.json"):
        open_base(str(damaged))


def test_other_weights_have_another_hash(damaged: Path, tiny_base: VideoBase) -> None:
    weights = next((damaged / "transformer").glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert open_base(str(damaged), precision="fp32").hash != tiny_base.hash


def test_a_refined_decoder_keeps_the_hash(tiny_base_folder: Path, tmp_path: Path) -> None:
    """LoRAs hang on the transformer and on latents, not on how latents are turned into pixels."""
    copy = shutil.copytree(tiny_base_folder, tmp_path / "copy")
    (path,) = (copy / "vae").glob("*.safetensors")
    before, tensors = weights_hash(copy), load_file(path)
    assert before == weights_hash(tiny_base_folder)
    for name, same in (("decoder.conv_in.weight", True), ("encoder.conv_in.weight", False)):
        save_file(tensors | {name: tensors[name] + 1}, path)
        assert (weights_hash(copy) == before) is same


@pytest.mark.parametrize(
    "index",
    [
        '{"_class_name": "WanImageToVideoPipeline"}',
        '{"_class_name": "WanPipeline", "transformer_2": ["diffusers", "WanTransformer3DModel"]}',
        "[]",
        "{",
    ],
)
def test_a_folder_of_another_kind(damaged: Path, index: str) -> None:
    (damaged / "model_index.json").write_text(index)
    with pytest.raises(MissingWeights, match=r"WanPipeline|can't be read"):
        open_base(str(damaged), precision="fp32")


def test_weights_that_do_not_fit_their_configuration(damaged: Path) -> None:
    path = damaged / "text_encoder" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"d_ff": 2 * config["d_ff"]}))
    with pytest.raises(MissingWeights, match="missing or damaged"):
        open_base(str(damaged), precision="fp32")
