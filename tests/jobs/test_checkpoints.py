"""States on disk: found again whole, passed over when damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from motion_transfer.jobs.checkpoints import KEPT, Checkpoints
from motion_transfer.types import TuneState


def state(step: int) -> TuneState:
    return TuneState(stage="spatial", step=step, tensors={"spatial/q.up": torch.full((2, 3), float(step))})


def test_the_newest_state_is_found(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "this job")
    assert checkpoints.newest() == (None, [])
    for step in (1, 2, 3):
        checkpoints.save(state(step))
    assert len(list(tmp_path.iterdir())) == KEPT
    found, damaged = Checkpoints(tmp_path, "this job").newest()
    assert found is not None and (found.stage, found.step) == ("spatial", 3) and damaged == []
    assert torch.equal(found.tensors["spatial/q.up"], torch.full((2, 3), 3.0))
    checkpoints.clear()
    assert list(tmp_path.iterdir()) == []


def test_where_tuning_still_stands_is_written_once(tmp_path: Path) -> None:
    """So that a long preview doesn't push the state before it out."""
    checkpoints = Checkpoints(tmp_path, "this job")
    paths = [checkpoints.save(state(step)) for step in (1, 2, 2, 2)]
    assert len(set(paths)) == 2 == len(list(tmp_path.iterdir()))
    paths[-1].unlink()
    assert checkpoints.save(state(2)).is_file()


@pytest.mark.parametrize("harm", ["cut", "flip", "empty", "text"])
def test_a_damaged_state_is_passed_over(tmp_path: Path, harm: str) -> None:
    checkpoints = Checkpoints(tmp_path, "this job")
    checkpoints.save(state(1))
    path = checkpoints.save(state(2))
    content = path.read_bytes()
    harmed = {"cut": content[:-5], "flip": content[:-1] + bytes([content[-1] ^ 1]), "empty": b"", "text": b"hello"}
    path.write_bytes(harmed[harm])
    found, damaged = checkpoints.newest()
    assert found is not None and found.step == 1 and damaged == [path]


def test_states_of_another_order_are_not_used(tmp_path: Path) -> None:
    Checkpoints(tmp_path, "one").save(state(1))
    assert Checkpoints(tmp_path, "other").newest() == (None, [])


def test_a_full_disk_leaves_the_states_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path, "this job")
    checkpoints.save(state(1))

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")  # what a full disk gives

    monkeypatch.setattr("motion_transfer.lora.files.save_file", full)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(state(2))
    found, damaged = checkpoints.newest()
    assert found is not None and found.step == 1 and damaged == [] and len(list(tmp_path.iterdir())) == 1
