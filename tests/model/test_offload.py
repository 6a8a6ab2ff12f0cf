"""Weights that visit the device change where they lie and nothing else: not a bit of a pass, a gradient or a motion."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from motion_transfer.errors import NotEnoughMemory
from motion_transfer.lora.attach import acting, attached, remove_adapters
from motion_transfer.methods.fym_tune import tune_temporal
from motion_transfer.model import offload
from motion_transfer.model.base import VideoBase, open_base
from motion_transfer.model.checkpointing import RUNGS, checkpointed
from motion_transfer.model.offload import bring_home, can_visit, host_bytes, weights_visiting
from motion_transfer.model.rows_apart import rows_apart
from motion_transfer.types import Lora, LowRank, TuneSpec
from motion_transfer.work import drive
from tests.methods.tuning import SPEC, full_latents, heads, tuned_layers, weights

CPU = torch.device("cpu")
WITH_START = TuneSpec(**{**SPEC.__dict__, "gradient_draws": 2, "spatial_drop": 0.5})


@pytest.fixture(scope="module", params=["fp32", "bf16", "nf4", "int8", "packed nf4"])
def base(request: pytest.FixtureRequest, tiny_base_folder: Path) -> Iterator[VideoBase]:
    """The toy base in every precision; in nf4 also as a large base has it, which keeps nothing unpacked."""
    opened = open_base(str(tiny_base_folder), precision=request.param.split()[-1], device="cpu")
    if request.param.startswith("packed"):
        for module in opened.transformer.modules():
            if getattr(module, "unpacked_OI", None) is not None:
                module.unpacked_OI = None
    yield opened


def _pass(base: VideoBase) -> Tensor:
    z = full_latents().z_ZFYX.expand(2, -1, -1, -1, -1)
    with torch.no_grad():
        return base.velocity(z, torch.tensor([0.6, 0.6]), base.text.encode(["a red square", ""]))


def _lora(path: str = "blocks.0.attn1.to_q") -> Lora:
    generator = torch.Generator().manual_seed(0)
    down, up = torch.randn(2, 64, generator=generator), torch.randn(64, 2, generator=generator)
    return Lora(layers={path: LowRank(down_RI=down, up_OR=up)}, info={})


def _place(base: VideoBase) -> int:
    return base.transformer.blocks[0].attn1.norm_q.weight.data_ptr()


def test_a_pass_stays_the_same_with_adapters_and_without(base: VideoBase) -> None:
    plain = _pass(base)
    before = weights(base)  # biases beside packed weights change their type when they first run
    with attached(base.transformer, _lora()):
        moved = _pass(base)
    with weights_visiting(base.transformer, CPU):
        assert torch.equal(_pass(base), plain)
        with attached(base.transformer, _lora()), acting(base.transformer) as act:
            assert torch.equal(_pass(base), moved)
            act(0.0)
            assert torch.equal(_pass(base), plain)
        assert torch.equal(_pass(base), plain)
    assert not torch.equal(moved, plain) and torch.equal(_pass(base), plain)
    assert all(torch.equal(before[name], numbers) for name, numbers in weights(base).items())
    assert not any(block._forward_pre_hooks or block._forward_hooks for block in base.transformer.blocks)


@pytest.mark.parametrize("rung", RUNGS)
def test_the_same_is_learned_to_the_bit(base: VideoBase, rung: str) -> None:
    """Both stages, the spatial adapter switched off in some steps, on every rung of checkpointing."""
    plain = drive(tuned_layers(base, WITH_START))
    remove_adapters(base.transformer)
    with weights_visiting(base.transformer, CPU), checkpointed(base.transformer, rung):
        found = drive(tuned_layers(base, WITH_START))
    remove_adapters(base.transformer)
    for name, layer in plain.items():
        assert torch.equal(found[name].up_OR, layer.up_OR) and torch.equal(found[name].down_RI, layer.down_RI)
    assert any(layer.up_OR.abs().max() > 0 for layer in found.values())


def test_all_blocks_lie_in_the_room_of_one(base: VideoBase) -> None:
    """And graphs hold no other: after a forward pass with gradients every block still reads the same place."""
    with weights_visiting(base.transformer, CPU):
        first, *others = base.transformer.blocks
        for one in others:
            for mine, theirs in zip(first.parameters(), one.parameters(), strict=True):
                assert mine.data_ptr() == theirs.data_ptr() and mine.shape == theirs.shape
        place = _place(base)
        with attached(base.transformer, _lora()):
            layer = base.transformer.blocks[0].attn1.to_q.lora_A["motion"].weight
            layer.requires_grad_(True)
            found = base.velocity(full_latents().z_ZFYX[None], torch.tensor([0.6]), base.text.encode(["a"]))
            own = layer.data_ptr()
            found.square().mean().backward()
            assert layer.grad is not None and layer.grad.abs().max() > 0 and layer.data_ptr() == own
        assert _place(base) == place
    assert _place(base) != place


def test_numbers_are_brought_for_the_backward_pass_too(tiny_base: VideoBase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the visit before a backward pass, gradients would be made with the last block's weights."""
    plain = drive(tuned_layers(tiny_base))
    remove_adapters(tiny_base.transformer)
    monkeypatch.setattr(offload._Turn, "after", lambda *_: None)
    with weights_visiting(tiny_base.transformer, CPU):
        found = drive(tuned_layers(tiny_base))
    assert any(not torch.equal(found[name].up_OR, layer.up_OR) for name, layer in plain.items())


def test_weights_without_room_go_on_visiting(tiny_base: VideoBase, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = _pass(tiny_base)
    with monkeypatch.context() as patch, weights_visiting(tiny_base.transformer, CPU):
        patch.setattr(offload._Visits, "end", lambda _: (_ for _ in ()).throw(torch.OutOfMemoryError("full")))
        assert not bring_home(tiny_base.transformer)
        with weights_visiting(tiny_base.transformer, CPU):  # they are not sent out twice
            assert torch.equal(_pass(tiny_base), plain)
        assert torch.equal(_pass(tiny_base), plain)
        patch.undo()
        assert bring_home(tiny_base.transformer) and torch.equal(_pass(tiny_base), plain)
    assert bring_home(tiny_base.transformer) and torch.equal(_pass(tiny_base), plain)


@pytest.mark.parametrize("error", [RuntimeError("not enough memory: you tried to allocate"), MemoryError()])
def test_no_room_for_visits_is_one_sentence_and_changes_nothing(
    tiny_base: VideoBase, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    plain, place = _pass(tiny_base), _place(tiny_base)
    monkeypatch.setattr(offload, "_in_memory", lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(NotEnoughMemory, match="close other programs"), weights_visiting(tiny_base.transformer, CPU):
        pass
    assert torch.equal(_pass(tiny_base), plain) and _place(tiny_base) == place


def test_weights_visit_devices_with_a_memory_of_their_own_only(
    tiny_base: VideoBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = torch.device("cuda")
    assert not can_visit(tiny_base.transformer, CPU)
    monkeypatch.setattr(offload, "free_memory_bytes", lambda _: 10**9)
    assert can_visit(tiny_base.transformer, card)
    monkeypatch.setattr(offload, "free_memory_bytes", lambda _: 10**5)
    assert not can_visit(tiny_base.transformer, card)
    assert [host_bytes(size) for size in (1, 4096, 4097)] == [1, 4096, 8192]


def test_rows_apart_are_as_rows_together(tiny_base: VideoBase) -> None:
    together, sizes = _pass(tiny_base), []
    hook = tiny_base.transformer.blocks[0].register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    with rows_apart(tiny_base):
        apart = _pass(tiny_base)
        drive(tune_temporal(tiny_base, full_latents(), full_latents(), heads(), SPEC))
    hook.remove()
    assert sizes[:2] == [1, 1] and set(sizes[2:]) == {SPEC.temporal_batch}  # learning keeps its batches
    assert torch.allclose(apart, together, rtol=1e-5, atol=1e-6)
    remove_adapters(tiny_base.transformer)
    assert torch.equal(_pass(tiny_base), together)
