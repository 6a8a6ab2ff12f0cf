"""Tensors on disk: computed once, and lost without harm."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from motion_transfer.model import tensor_cache
from motion_transfer.model.tensor_cache import TensorCache, default_folder, hash_of


def _counting() -> tuple[list[int], object]:
    calls: list[int] = []

    def compute() -> torch.Tensor:
        calls.append(1)
        return torch.arange(6, dtype=torch.bfloat16).reshape(2, 3).T

    return calls, compute


def test_a_tensor_is_computed_once(tmp_path: Path) -> None:
    calls, compute = _counting()
    cache = TensorCache(tmp_path / "deep" / "folder")
    first, second = (cache.get(("a", "b"), compute) for _ in range(2))
    assert torch.equal(first, second) and second.dtype == torch.bfloat16 and len(calls) == 1
    cache.get(("ab", ""), compute)
    assert len(calls) == 2


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_file_is_computed_anew(tmp_path: Path, damage: bytes | None) -> None:
    calls, compute = _counting()
    cache = TensorCache(tmp_path)
    whole = cache.get(("a",), compute)
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(damage if damage is not None else path.read_bytes()[:-3])
    assert torch.equal(cache.get(("a",), compute), whole) and len(calls) == 2
    assert torch.equal(cache.get(("a",), compute), whole) and len(calls) == 2


def test_a_folder_that_takes_nothing_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    calls, compute = _counting()
    assert TensorCache(tmp_path / "file").get(("a",), compute).shape == (3, 2) and calls == [1]


@pytest.mark.parametrize("step", ["write", "sync", "replace"])
def test_a_full_disk_costs_nothing_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Wherever it fills: the tensor is there, no part of a file is, and with room again it is kept."""

    def full(*given: object) -> None:
        if step == "write":
            Path(str(given[1])).write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    calls, compute = _counting()
    cache = TensorCache(tmp_path)
    with monkeypatch.context() as patch:
        owner, name = {"write": (tensor_cache, "save_file"), "sync": (os, "fsync"), "replace": (os, "replace")}[step]
        patch.setattr(owner, name, full)
        found = cache.get(("a",), compute)
        assert not list(tmp_path.iterdir())
    assert torch.equal(cache.get(("a",), compute), found) and len(calls) == 2
    assert torch.equal(cache.get(("a",), compute), found) and len(calls) == 2


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    calls, compute = _counting()
    TensorCache(tmp_path).get(("old",), compute)
    (path,) = tmp_path.iterdir()
    cache = TensorCache(tmp_path, most_bytes=2 * path.stat().st_size)
    os.utime(path, ns=(0, 0))
    cache.get(("newer",), compute)
    cache.get(("old",), compute)  # used again
    cache.get(("newest",), compute)
    before = len(calls)
    cache.get(("old",), compute)
    assert len(calls) == before and len(list(tmp_path.iterdir())) == 2


def test_what_raises_is_raised(tmp_path: Path) -> None:
    def compute() -> torch.Tensor:
        raise ValueError("no such prompt")

    with pytest.raises(ValueError, match="no such prompt"):
        TensorCache(tmp_path).get(("a",), compute)


def test_hashes_tell_numbers_shapes_and_types_apart() -> None:
    tensors = [torch.zeros(4), torch.zeros(2, 2), torch.zeros(4, dtype=torch.int32), torch.tensor([0.0, 0, 0, 1])]
    assert len({hash_of(tensor) for tensor in tensors}) == 4
    assert hash_of(torch.arange(6).reshape(2, 3).T) == hash_of(torch.arange(6).reshape(2, 3).T.contiguous())


def test_the_default_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "motion_transfer"
