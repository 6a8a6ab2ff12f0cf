"""LoRA files: stock diffusers reads what we write, every layout reads back, broken files are refused."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UniPCMultistepScheduler, WanPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from motion_transfer.errors import BadLora, MotionTransferError, WrongBase
from motion_transfer.lora.algebra import delta, norm, scaled, stack
from motion_transfer.lora.attach import attached
from motion_transfer.lora.files import file_hash, load_lora, save_lora
from motion_transfer.model.base import VideoBase
from motion_transfer.pipeline import Studio
from motion_transfer.types import Lora, LowRank, RenderSpec, StrengthToken, TokenBlock
from tests.conftest import HEAD_WIDTH, HEADS, NUM_FRAMES, SIZE_PX, Z_DIM

STOCK_SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "stock_render.py"

WIDTH = HEADS * HEAD_WIDTH
COMFY = {"attn1.to_q": "self_attn.q", "attn1.to_k": "self_attn.k", "attn1.to_v": "self_attn.v",
         "attn1.to_out.0": "self_attn.o", "attn2.to_q": "cross_attn.q", "ffn.net.0.proj": "ffn.0",
         "ffn.net.2": "ffn.2"}  # fmt: skip
SHAPES = {"ffn.net.0.proj": (128, WIDTH), "ffn.net.2": (WIDTH, 128)}  # outputs, inputs


def _lora(size: float = 0.3, seed: int = 0) -> Lora:
    """Layers of different ranks, in both attentions and the feed-forward, strong enough to be seen."""
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for block in (0, 1):
        for rank, module in enumerate(COMFY, start=2):
            outputs, inputs = SHAPES.get(module, (WIDTH, WIDTH))
            down = torch.randn(rank, inputs, generator=generator) / inputs**0.5
            layers[f"blocks.{block}.{module}"] = LowRank(
                down_RI=down, up_OR=size * torch.randn(outputs, rank, generator=generator)
            )
    return Lora(layers=layers, info={"base": "tiny", "kind": "motion", "clip_fps": 12.0, "heads": ["st", "ts"]})


def _same(a: Lora, b: Lora) -> bool:
    return set(a.layers) == set(b.layers) and all(
        torch.equal(x.down_RI, b.layers[n].down_RI) and torch.equal(x.up_OR, b.layers[n].up_OR)
        for n, x in a.layers.items()
    )


def _velocity(base: VideoBase) -> Tensor:
    z = torch.randn(1, Z_DIM, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return base.velocity(z, torch.tensor([0.6]), base.text.encode(["a red circle"]))


def test_merged_equals_unmerged(tiny_base: VideoBase) -> None:
    """W + up down, added by hand, gives what the attached adapter gives."""
    lora, bare = _lora(), _velocity(tiny_base)
    with attached(tiny_base.transformer, lora):
        beside = _velocity(tiny_base)
    kept = {n: tiny_base.transformer.get_submodule(n).weight.clone() for n in lora.layers}
    for name, x in lora.layers.items():
        tiny_base.transformer.get_submodule(name).weight.data += x.up_OR @ x.down_RI
    merged = _velocity(tiny_base)
    for name, weight in kept.items():
        tiny_base.transformer.get_submodule(name).weight.data.copy_(weight)
    assert (merged - beside).abs().max() < 1e-5
    assert (beside - bare).abs().max() > 0.1
    assert torch.equal(bare, _velocity(tiny_base))


@pytest.fixture
def stock(tiny_base_folder: Path) -> WanPipeline:
    pipeline = WanPipeline.from_pretrained(tiny_base_folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _stock_frames(pipeline: WanPipeline, spec: RenderSpec) -> np.ndarray:
    """Stock's frames; a callback weakens the LoRA, and takes it off where `motion_until` says so.

    There stock also changes its guidance, as if a second transformer took over.
    """
    script = runpy.run_path(str(STOCK_SCRIPT))
    pipeline.scheduler = UniPCMultistepScheduler.from_config(pipeline.scheduler.config, flow_shift=spec.flow_shift)
    fading = script["FadingMotion"](spec.strength, spec.late_strength, spec.motion_until)
    pipeline.register_modules(transformer_2=pipeline.transformer)
    pipeline.register_to_config(boundary_ratio=spec.motion_until)
    hook = None
    if spec.guidance_smoothing == 1:
        hook = pipeline.transformer.register_forward_hook(script["SteadyGuidance"](spec.motion_until), with_kwargs=True)
    frames = pipeline(
        prompt=spec.prompt,
        negative_prompt=spec.negative_prompt,
        height=SIZE_PX,
        width=SIZE_PX,
        num_frames=NUM_FRAMES,
        num_inference_steps=spec.steps,
        guidance_scale=spec.early_guidance,
        guidance_scale_2=spec.guidance,
        generator=torch.Generator().manual_seed(spec.seed),
        output_type="np",
        callback_on_step_end=fading if pipeline.get_active_adapters() else None,
    ).frames[0]
    if hook:
        hook.remove()
    return np.rint(frames * 255).astype(int)


@pytest.mark.parametrize(
    ("guidance", "flow_shift", "until", "smoothing"),
    [(5.0, 3.0, 0.0, 0), (1.0, 5.0, 0.0, 0), (5.0, 3.0, 0.7, 0), (5.0, 3.0, 0.7, 1), (1.0, 5.0, 0.0, 1)],
)
@pytest.mark.parametrize("with_lora", [False, True])
def test_stock_diffusers_renders_the_same_pixels(
    tiny_base: VideoBase, stock: WanPipeline, tmp_path: Path, with_lora: bool, guidance: float, flow_shift: float,
    until: float, smoothing: int,
) -> None:  # fmt: skip
    """One seed, one file: `WanPipeline.load_lora_weights` and `Studio.render` agree to 2/255."""
    spec = RenderSpec(prompt="a red circle on a blue background", negative_prompt="a dog", seed=3, steps=4,
                      guidance=guidance, early_guidance=guidance + 2, guidance_smoothing=smoothing,
                      flow_shift=flow_shift, motion_until=until)  # fmt: skip
    studio = Studio(base="tiny")
    studio.__dict__["base"] = tiny_base
    lora = None
    if with_lora:
        save_lora(_lora(), tmp_path / "motion.safetensors")
        lora = load_lora(tmp_path / "motion.safetensors")
        stock.load_lora_weights(str(tmp_path), weight_name="motion.safetensors", adapter_name="motion")
    ours = studio.render(lora, spec).frames_THWC.astype(int)
    theirs = _stock_frames(stock, spec)
    assert ours.shape == theirs.shape == (NUM_FRAMES, SIZE_PX, SIZE_PX, 3)
    assert abs(ours - theirs).max() <= 2
    assert abs(ours - theirs).mean() < 0.02
    assert ours.std() > 5
    if with_lora:
        assert abs(ours - studio.render(None, spec).frames_THWC.astype(int)).max() > 20


def test_strength_is_stock_adapter_weight(tiny_base: VideoBase, stock: WanPipeline, tmp_path: Path) -> None:
    """Strength 0.5 here is `set_adapters(..., 0.5)` there."""
    save_lora(_lora(), tmp_path / "motion.safetensors")
    stock.load_lora_weights(str(tmp_path), weight_name="motion.safetensors", adapter_name="motion")
    stock.set_adapters("motion", 0.5)
    studio = Studio(base="tiny")
    studio.__dict__["base"] = tiny_base
    spec = RenderSpec(prompt="a red circle", seed=1, steps=2, strength=0.5, motion_until=0.0, guidance_smoothing=0)
    ours = studio.render(load_lora(tmp_path / "motion.safetensors"), spec).frames_THWC.astype(int)
    assert abs(ours - _stock_frames(stock, spec)).max() <= 2


@pytest.mark.parametrize("prompt", ["", "a red circle", "a red circle and a blue star on a green striped background"])
def test_folded_padding_is_stock_padding(tiny_base: VideoBase, stock: WanPipeline, prompt: str) -> None:
    """One weighted zero token stands for all of stock's zero-padded 512."""
    z = torch.randn(1, Z_DIM, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        states, _ = stock.encode_prompt(prompt, do_classifier_free_guidance=False, max_sequence_length=512)
        assert states.shape[1] == 512
        theirs = stock.transformer(z, torch.tensor([600.0]), states, return_dict=False)[0]
        text = tiny_base.text.encode([prompt])
        ours = tiny_base.velocity(z, torch.tensor([0.6]), text)
    assert text.states_BMD.shape[1] < 40
    assert (ours - theirs).abs().max() < 1e-4


def test_prompts_of_one_batch_do_not_depend_on_each_other(tiny_base: VideoBase) -> None:
    """Encoded beside a longer one, a prompt gives the velocity that it gives alone."""
    z = torch.randn(1, Z_DIM, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    both = tiny_base.text.encode(["a red circle", "a red circle " * 12])
    with torch.no_grad():
        alone = tiny_base.velocity(z, torch.tensor([0.6]), tiny_base.text.encode(["a red circle"]))
        beside = tiny_base.velocity(z.expand(2, -1, -1, -1, -1), torch.tensor([0.6, 0.6]), both)
    assert (alone - beside[:1]).abs().max() < 1e-4


def test_round_trip(tmp_path: Path) -> None:
    """Our own layout: the same numbers, the recipe, and the same bytes each time."""
    lora = _lora()
    save_lora(lora, tmp_path / "new folder" / "a.safetensors")
    assert _same(lora, load_lora(tmp_path / "new folder" / "a.safetensors"))
    assert load_lora(tmp_path / "new folder" / "a.safetensors").info == lora.info
    assert all(k.startswith("transformer.blocks.") for k in load_file(tmp_path / "new folder" / "a.safetensors"))
    hashes = set()
    for i in range(8):
        save_lora(lora, tmp_path / f"{i}")
        hashes.add(file_hash(tmp_path / f"{i}"))
    assert len(hashes) == 1


def _written(tmp_path: Path, tensors: dict[str, Tensor], **metadata: str) -> Path:
    save_file({n: t.contiguous() for n, t in tensors.items()}, tmp_path / "x.safetensors", metadata=metadata or None)
    return tmp_path / "x.safetensors"


def _comfy(prefix: str, halves: tuple[str, str], alpha: float | None = None) -> dict[str, Tensor]:
    tensors = {}
    for name, x in _lora().layers.items():
        block, module = name.split(".", 2)[1:]
        key = f"{prefix}blocks.{block}.{COMFY[module]}"
        tensors[f"{key}.{halves[0]}.weight"] = x.down_RI
        tensors[f"{key}.{halves[1]}.weight"] = x.up_OR
        if alpha is not None:
            tensors[f"{key}.alpha"] = torch.tensor(alpha)
    return tensors


@pytest.mark.parametrize("prefix", ["diffusion_model.", ""])
@pytest.mark.parametrize("halves", [("lora_A", "lora_B"), ("lora_down", "lora_up")])
def test_reads_comfyui_layout(tmp_path: Path, prefix: str, halves: tuple[str, str]) -> None:
    loaded = load_lora(_written(tmp_path, _comfy(prefix, halves)))
    assert _same(_lora(), loaded)
    assert loaded.info == {}


def test_alpha_is_folded_into_up(tmp_path: Path) -> None:
    """The change is alpha / rank times up down."""
    loaded = load_lora(_written(tmp_path, _comfy("diffusion_model.", ("lora_down", "lora_up"), alpha=3.0)))
    for name, x in _lora().layers.items():
        expected = x.up_OR.double() @ x.down_RI.double() * 3.0 / x.down_RI.shape[0]
        y = loaded.layers[name]
        assert (y.up_OR.double() @ y.down_RI.double() - expected).abs().max() < 1e-6


def test_reads_16_bit_files(tmp_path: Path) -> None:
    tensors = {n: t.bfloat16() for n, t in _comfy("", ("lora_A", "lora_B")).items()}
    layer = load_lora(_written(tmp_path, tensors)).layers["blocks.0.attn1.to_q"]
    assert layer.down_RI.dtype == layer.up_OR.dtype == torch.float32


KEY = "transformer.blocks.0.attn1.to_q"


def _pair(**changed: Tensor) -> dict[str, Tensor]:
    halves = {"lora_A.weight": torch.ones(2, WIDTH), "lora_B.weight": torch.ones(WIDTH, 2)}
    return {f"{KEY}.{n}": t for n, t in (halves | changed).items() if t is not None}


BROKEN: dict[str, tuple[dict[str, Tensor], str]] = {
    "no number": (_pair(**{"lora_A.weight": torch.full((2, WIDTH), float("nan"))}), "undefined"),
    "infinite": (_pair(**{"lora_B.weight": torch.full((WIDTH, 2), float("inf"))}), "undefined"),
    "alpha is no number": (_pair(alpha=torch.tensor(float("nan"))), "undefined"),
    "alpha is a vector": (_pair(alpha=torch.ones(3)), "undefined"),
    "half missing": (_pair(**{"lora_B.weight": None}), "matching pair"),
    "ranks differ": (_pair(**{"lora_B.weight": torch.ones(WIDTH, 3)}), "matching pair"),
    "no rank": (_pair(**{"lora_A.weight": torch.ones(0, 8), "lora_B.weight": torch.ones(8, 0)}), "matching pair"),
    "wrong dimensions": (_pair(**{"lora_A.weight": torch.ones(2, WIDTH, 1)}), "matching pair"),
    "alpha alone": ({f"{KEY}.alpha": torch.tensor(1.0)}, "matching pair"),
    "other keys": ({"unet.down.0.lora_A.weight": torch.ones(2, 2)}, "Wan LoRA keys"),
    "a whole model": ({"blocks.0.attn1.to_q.weight": torch.ones(2, 2)}, "Wan LoRA keys"),
    "nothing": ({}, "holds none"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_broken_tensors_are_refused(tmp_path: Path, case: str) -> None:
    tensors, words = BROKEN[case]
    with pytest.raises(BadLora, match=words) as caught:
        load_lora(_written(tmp_path, tensors))
    assert _is_one_sentence(caught.value)


def _is_one_sentence(error: MotionTransferError) -> bool:
    return "\n" not in str(error) and str(error).endswith(".") and len(str(error)) < 400


def _cut(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


@pytest.mark.parametrize(
    "content", [lambda _: b"", lambda _: b"hello, I am a text file", _cut, lambda w: b"\xff" * 8 + w[8:]],
    ids=["empty", "text", "cut off", "header length"],
)  # fmt: skip
def test_other_files_are_refused(tmp_path: Path, content: Callable[[bytes], bytes]) -> None:
    save_lora(_lora(), tmp_path / "whole")
    (tmp_path / "broken").write_bytes(content((tmp_path / "whole").read_bytes()))
    with pytest.raises(BadLora, match="broken") as caught:
        load_lora(tmp_path / "broken")
    assert _is_one_sentence(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.safetensors"):
        with pytest.raises(BadLora, match="check the name"):
            load_lora(path)


@pytest.mark.parametrize("recipe", ["{", "[1, 2]", "3", '"text"'])
def test_a_damaged_recipe_is_refused(tmp_path: Path, recipe: str) -> None:
    with pytest.raises(BadLora):
        load_lora(_written(tmp_path, _pair(), motion_transfer=recipe))


def test_a_lora_of_another_shape_is_refused(tiny_base: VideoBase) -> None:
    wide = LowRank(down_RI=torch.ones(2, 1536), up_OR=torch.ones(1536, 2))
    with (
        pytest.raises(BadLora, match="64x64 in this base but 1536x1536"),
        attached(tiny_base.transformer, Lora(layers={"blocks.0.attn1.to_q": wide})),
    ):
        pass
    deep = {"blocks.29.attn1.to_q": LowRank(down_RI=torch.ones(2, WIDTH), up_OR=torch.ones(WIDTH, 2))}
    with pytest.raises(BadLora, match=r"blocks\.29"), attached(tiny_base.transformer, Lora(layers=deep)):
        pass


def test_a_lora_of_another_base_is_refused(tiny_base: VideoBase) -> None:
    studio = Studio(base="tiny")
    studio.__dict__["base"] = tiny_base
    other = Lora(layers=_lora().layers, info={"base": "nano", "base_hash": "0" * 64})
    with pytest.raises(WrongBase, match="nano 00000000") as caught:
        studio.render(other, RenderSpec(steps=1))
    assert _is_one_sentence(caught.value)


def test_saving_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save that fails midway leaves the old file, and nothing beside it."""
    path = tmp_path / "motion.safetensors"
    save_lora(_lora(), path)
    before = path.read_bytes()

    def full_disk(tensors: dict[str, Tensor], name: str, **_: object) -> None:
        Path(name).write_bytes(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr("motion_transfer.lora.files.save_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_lora(scaled(_lora(), 2.0), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_recipe_is_readable_json(tmp_path: Path) -> None:
    save_lora(_lora(), tmp_path / "x")
    with safe_open(tmp_path / "x", framework="pt") as handle:
        assert json.loads(handle.metadata()["motion_transfer"])["kind"] == "motion"


def test_algebra_against_full_matrices() -> None:
    """delta, norm, scaled, stack: the weight changes add up."""
    a, b = _lora(seed=1), _lora(seed=2)
    mixed = stack([(a, 0.8), (b, -0.5)])
    for name in a.layers:
        x, y = a.layers[name], b.layers[name]
        full_x, full_y = x.up_OR @ x.down_RI, y.up_OR @ y.down_RI
        assert torch.equal(delta(x), full_x)
        assert norm(x) == pytest.approx(float(full_x.norm()), rel=1e-5)
        assert torch.allclose(delta(scaled(a, -2.0).layers[name]), -2 * full_x, atol=1e-6)
        assert torch.allclose(delta(mixed.layers[name]), 0.8 * full_x - 0.5 * full_y, atol=1e-5)
    with pytest.raises(WrongBase):
        stack([(a, 1.0), (Lora(layers=b.layers, info={"base": "wan"}), 1.0)])
    old, new = (Lora(layers=a.layers, info={"base": "nano", "base_hash": digit * 64}) for digit in "12")
    with pytest.raises(WrongBase, match="nano 11111111, nano 22222222"):
        stack([(old, 1.0), (new, 1.0)])


def _token(seed: int = 0) -> StrengthToken:
    generator = torch.Generator().manual_seed(seed)
    parts = (torch.randn(WIDTH, generator=generator) for _ in range(3))
    key, rest, slope = parts
    block = TokenBlock(key_D=key, rest_D=rest, slope_D=slope, bias_N=torch.randn(HEADS, generator=generator))
    return StrengthToken(blocks={0: block, 1: block}, strength=0.5, share=0.25)


def test_strength_tokens_travel_in_the_header(tmp_path: Path) -> None:
    """So other tools, which refuse tensors that they don't know, read the file as any LoRA."""
    path, lora = tmp_path / "control.safetensors", replace(_lora(), tokens=(_token(), _token(1)))
    save_lora(lora, path)
    assert all(".lora_" in name for name in load_file(path))
    found = load_lora(path)
    assert _same(found, lora) and len(found.tokens) == 2
    for ours, theirs in zip(lora.tokens, found.tokens, strict=True):
        assert (ours.strength, ours.share, set(ours.blocks)) == (theirs.strength, theirs.share, set(theirs.blocks))
        for block, part in ours.blocks.items():
            for name in ("key_D", "rest_D", "slope_D", "bias_N"):
                assert torch.equal(getattr(part, name), getattr(theirs.blocks[block], name))
    save_lora(found, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("spoil", [
    lambda _: "no base64 at all!", lambda text: text[: len(text) // 2], lambda text: "AAAA" + text[4:], lambda _: "",
])  # fmt: skip
def test_broken_tokens_are_refused(tmp_path: Path, spoil: Callable[[str], str]) -> None:
    path = tmp_path / "broken.safetensors"
    save_lora(replace(_lora(), tokens=(_token(),)), path)
    with safe_open(path, framework="pt") as handle:
        facts = dict(handle.metadata())
    facts["motion_transfer_tokens"] = spoil(facts["motion_transfer_tokens"])
    save_file(load_file(path), path, facts)
    with pytest.raises(BadLora):
        load_lora(path)


@pytest.mark.parametrize("facts", [
    {"curve": "steep"}, {"curve": [[0, 0]]}, {"curve": [[0, 0], [1, 0]]}, {"curve": [[0, 0], [0, 1]]},
    {"curve": [[0, 0], [1, float("nan")]]}, {"curve": [[0, 0, 0], [1, 1, 1]]}, {"curve": [[0, True], [1, 2]]},
    {"always_rank": -1}, {"always_rank": 1.5}, {"always_rank": "all"},
])  # fmt: skip
def test_a_control_that_makes_no_sense_is_refused(tmp_path: Path, facts: dict) -> None:
    path, lora = tmp_path / "control.safetensors", _lora()
    save_lora(replace(lora, info={**lora.info, **facts}), path)
    with pytest.raises(BadLora):
        load_lora(path)
