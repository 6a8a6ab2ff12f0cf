"""Two processes over gloo render and learn as one does, and end together."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor

from motion_transfer.errors import BadSpec
from motion_transfer.lora.attach import add_group_adapter, remove_adapters
from motion_transfer.lora.heads import group_masks
from motion_transfer.model.attention import weigh_text
from motion_transfer.model.base import VideoBase, open_base
from motion_transfer.model.checkpointing import checkpointed
from motion_transfer.model.context_parallel import shared_tokens
from motion_transfer.model.sharded import open_sharded
from motion_transfer.pipeline import Studio
from motion_transfer.ranks import joined
from motion_transfer.types import Clip, Lora, RenderSpec, TuneSpec
from motion_transfer.video.io import read_clip
from tests.conftest import build_transformer

ROOT = Path(__file__).resolve().parents[1]
TUNE = TuneSpec(caption="a red square", spatial_steps=1, temporal_steps=1, rank=2, spatial_batch=2, sparse_latents=3,
                temporal_rate=0.05, gradient_draws=1)  # fmt: skip
RENDER = RenderSpec(prompt="a blue circle", steps=2, seed=1)
# Latent frames, of three tokens each, and heads: both divide, or neither does.
CASES = {"even": (4, 4), "odd": (3, 3)}
ONE_HEAD = (1, 1)  # and one process without any


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _launched(rank: int, port: int) -> dict[str, str]:
    """What a launcher tells a process."""
    return {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_PORT":
            str(port), "MASTER_ADDR": "127.0.0.1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}  # fmt: skip


def _of_heads(base: VideoBase, num_heads: int) -> VideoBase:
    """The base with another transformer."""
    transformer = build_transformer(num_heads)
    return replace(base, transformer=transformer, text_attention=weigh_text(transformer))


def _step(
    base: VideoBase, num_frames: int, sharing: AbstractContextManager[None], rung: str = "none"
) -> dict[str, Tensor]:
    """The velocity of two noisy clips, the gradients of an adapter at all heads, and how many tokens a block saw."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 4, num_frames, 2, 6, generator=generator)
    heads_LN = torch.ones(2, base.num_heads, dtype=torch.bool)
    matrices = add_group_adapter(base.transformer, "temporal", group_masks(heads_LN, base.head_width), rank=2,
                                 generator=generator)  # fmt: skip
    for matrix in matrices.values():
        matrix.data.normal_(0, 0.1, generator=generator)
    seen = []
    hook = base.transformer.blocks[0].ffn.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    times = tuple(1.5 * i for i in range(num_frames))
    with sharing, checkpointed(base.transformer, rung):
        velocity = base.velocity(z, torch.tensor([0.3, 0.8]), base.text.encode(["a red square"]), times)
        velocity.square().mean().backward()
    hook.remove()
    remove_adapters(base.transformer)
    gradients = {name: matrix.grad for name, matrix in matrices.items() if matrix.grad is not None}
    assert len(gradients) == len(matrices)
    return {"velocity": velocity.detach(), "tokens": torch.tensor(seen[0]), **gradients}


def _work(rank: int, port: int, base_folder: str, clip: Clip, out: str) -> None:
    """What each of two processes does; saved as it found it."""
    os.environ.update(_launched(rank, port))
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    with joined() as ranks:
        plain = open_base(base_folder, precision="fp32", device="cpu")
        for name, (num_frames, num_heads) in {**CASES, "one": ONE_HEAD}.items():
            base = _of_heads(plain, num_heads)
            before = [block.attn1.processor for block in base.transformer.blocks]
            for rung in ("none", "all"):
                sharing = shared_tokens(base.transformer, ranks.mesh)
                found[f"shared {name} {rung}"] = _step(base, num_frames, sharing, rung)
            assert [block.attn1.processor for block in base.transformer.blocks] == before
            found[f"again {name}"] = _step(base, num_frames, nullcontext())
        for precision in ("fp32", "bf16"):
            device = torch.device("cpu")
            folder = base_folder if ranks.is_first else "/nowhere"  # the others need no files
            base = open_sharded(folder, precision=precision, device=device, mesh=ranks.mesh, same=ranks.same)
            held = sum(parameter.to_local().numel() for parameter in base.transformer.parameters())
            found[f"held {precision}"] = held / sum(parameter.numel() for parameter in base.transformer.parameters())
            for rung in ("none", "all"):
                found[f"sharded {precision} {rung}"] = _step(base, 4, nullcontext(), rung)
            found[f"sharded {precision} with tokens"] = _step(base, 4, shared_tokens(base.transformer, ranks.mesh))
        for shard in (False, True):
            studio = Studio(base=base_folder, precision="fp32", ranks=ranks, shard_weights=shard)
            tuned = studio.tune(clip, TUNE)
            found[f"lora {shard}"] = tuned.lora
            found[f"frames {shard}"] = studio.render(tuned.lora, RENDER).frames_THWC
        with pytest.raises(BadSpec, match="choose bf16"):
            _ = Studio(base=base_folder, precision="nf4", ranks=ranks, shard_weights=True).base
    torch.save(found, Path(out) / f"{rank}.pt")


@pytest.fixture(scope="module")
def found(tiny_base_folder: Path, square_clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes found, by rank."""
    out = tmp_path_factory.mktemp("two")
    mp.spawn(_work, args=(_free_port(), str(tiny_base_folder), square_clip, str(out)), nprocs=2)
    return [torch.load(out / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


def _assert_near(got: dict[str, Tensor], want: dict[str, Tensor], velocity: float, gradient: float) -> None:
    assert got.keys() == want.keys()
    assert (got["velocity"] - want["velocity"]).abs().max() <= velocity
    for name in got.keys() - {"velocity", "tokens"}:
        assert want[name].abs().max() > 0
        assert (got[name] - want[name]).abs().max() <= gradient, name


@pytest.mark.parametrize("rung", ["none", "all"])
@pytest.mark.parametrize("name", [*CASES, "one"])
def test_shared_tokens_change_nothing(found: list[dict[str, Any]], tiny_base: VideoBase, name: str, rung: str) -> None:
    num_frames, num_heads = {**CASES, "one": ONE_HEAD}[name]
    want = _step(_of_heads(tiny_base, num_heads), num_frames, nullcontext())
    for rank in (0, 1):
        _assert_near(found[rank][f"shared {name} {rung}"], want, 1e-4, 1e-6)
        assert torch.equal(found[rank][f"again {name}"]["velocity"], want["velocity"])  # nothing is left behind
    tokens = [int(found[rank][f"shared {name} {rung}"]["tokens"]) for rank in (0, 1)]
    assert sum(tokens) == int(want["tokens"]) and 0 <= tokens[0] - tokens[1] <= 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_divided_weights_change_nothing(found: list[dict[str, Any]], tiny_base_folder: Path, precision: str) -> None:
    want = _step(open_base(str(tiny_base_folder), precision=precision, device="cpu"), 4, nullcontext())
    for rank in (0, 1):
        # With tokens shared, bfloat16 may round sums of other shapes otherwise.
        ways = ["none", "all", *(["with tokens"] if precision == "fp32" else [])]
        for way in ways:
            _assert_near(found[rank][f"sharded {precision} {way}"], want, 1e-4, 1e-6)
        assert found[rank][f"held {precision}"] < 0.6


@pytest.mark.parametrize("shard", [False, True])
def test_a_motion_is_learned_and_rendered_as_by_one_process(
    found: list[dict[str, Any]], tiny_base_folder: Path, square_clip: Clip, shard: bool
) -> None:
    studio = Studio(base=str(tiny_base_folder), precision="fp32", device="cpu")
    lora: Lora = studio.tune(square_clip, TUNE).lora
    frames = studio.render(lora, RENDER).frames_THWC.astype(int)
    for rank in (0, 1):
        theirs: Lora = found[rank][f"lora {shard}"]
        assert theirs.layers.keys() == lora.layers.keys() and theirs.info["base_hash"] == lora.info["base_hash"]
        assert theirs.info["heads"] == lora.info["heads"]
        for path, layer in lora.layers.items():
            assert (theirs.layers[path].up_OR - layer.up_OR).abs().max() <= 1e-6
            assert (theirs.layers[path].down_RI - layer.down_RI).abs().max() <= 1e-6
        assert np.abs(found[rank][f"frames {shard}"].astype(int) - frames).max() <= 1
    first, second = (found[rank][f"lora {shard}"].layers for rank in (0, 1))
    assert all(torch.equal(first[path].up_OR, second[path].up_OR) for path in first)


def test_weights_are_not_divided_by_one() -> None:
    with pytest.raises(BadSpec, match="torchrun"):
        Studio(shard_weights=True)


def test_a_launched_render_writes_one_file(tiny_base_folder: Path, tmp_path: Path) -> None:
    """As `torchrun` starts it; only the first process tells of it."""
    out = tmp_path / "out.mp4"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m",
               "motion_transfer", "render", "--out", str(out), "--prompt", RENDER.prompt, "--steps", "2", "--seed", "1",
               "--base", str(tiny_base_folder), "--precision", "fp32"]  # fmt: skip
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("render 2/2") == 1
    assert read_clip(out).num_frames == 17 and out.with_suffix(".recipe.json").is_file()


WRONG_ON_ONE = """
import os, sys
from motion_transfer.cli import main
if os.environ["RANK"] == "1":
    sys.argv[sys.argv.index("--base") + 1] = "/nowhere"
sys.exit(main(sys.argv[1:]))
"""
DIES = """
import os, signal, sys
from motion_transfer.errors import MotionTransferError
from motion_transfer.ranks import joined
try:
    with joined() as ranks:
        ranks.wait()
        if not ranks.is_first:
            os.kill(os.getpid(), signal.SIGKILL)
        ranks.wait()
except MotionTransferError as error:
    sys.exit(f"error: {error}")
"""


def _both(script: str, *arguments: str) -> tuple[list[int], list[str]]:
    """Exit statuses and standard errors of two processes that nobody watches over."""
    port = _free_port()
    started = [subprocess.Popen([sys.executable, "-c", script, *arguments], stderr=subprocess.PIPE, text=True, cwd=ROOT,
                                env={**os.environ, **_launched(rank, port)}) for rank in (0, 1)]  # fmt: skip
    said = [process.communicate(timeout=600)[1] for process in started]
    return [process.returncode for process in started], said


def test_an_error_in_one_process_ends_all_and_is_told_once(tiny_base_folder: Path, tmp_path: Path) -> None:
    statuses, said = _both(WRONG_ON_ONE, "render", "--out", str(tmp_path / "out.mp4"), "--prompt", "x", "--steps", "2",
                           "--base", str(tiny_base_folder), "--precision", "fp32")  # fmt: skip
    assert statuses == [2, 2], said
    assert "Traceback" not in "".join(said) and not list(tmp_path.iterdir())
    told = [[line for line in one.splitlines() if line.startswith("error:")] for one in said]
    assert not told[0] and len(told[1]) == 1 and "/nowhere" in told[1][0]


def test_a_process_that_dies_ends_the_others() -> None:
    statuses, said = _both(DIES)
    assert statuses[0] == 1 and statuses[1] < 0
    assert said[0].count("error: several processes share this, but one of them is gone") == 1
