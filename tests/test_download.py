"""Bases from the Hub: found in its cache, fetched into it, and never begun without room."""

from __future__ import annotations

import errno
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import constants

from motion_transfer import hub
from motion_transfer.cli import main
from motion_transfer.errors import BadSpec, HubFailed, MissingWeights, StorageFailed
from motion_transfer.lora.files import file_hash, save_lora
from motion_transfer.model import catalog
from motion_transfer.model.base import open_base
from motion_transfer.model.catalog import HUB_BASES, find_base
from motion_transfer.types import Lora, LowRank
from tests.conftest import HEAD_WIDTH, HEADS

WIDTH = HEADS * HEAD_WIDTH
NAME, WITH_LORA = "wan2.1-1.3b", "wan2.1-14b-fast"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    look = catalog.huggingface_hub.try_to_load_from_cache
    monkeypatch.setattr(catalog.huggingface_hub, "try_to_load_from_cache",
                        lambda *given, **named: look(*given, cache_dir=tmp_path / "cache", **named))  # fmt: skip
    return tmp_path / "cache"


def _snapshot(cache: Path, folder: Path, name: str = NAME) -> Path:
    """A base as the Hub's library lays it into its cache."""
    base = HUB_BASES[name]
    place = cache / f"models--{base.repository.replace('/', '--')}" / "snapshots" / base.revision
    return Path(shutil.copytree(folder, place))


def test_a_fetched_base_opens_by_its_name(cache: Path, tiny_base_folder: Path) -> None:
    place = _snapshot(cache, tiny_base_folder)
    spec = find_base(NAME)
    assert (spec.name, spec.folder) == (NAME, place)
    assert open_base(NAME, precision="fp32", device="cpu").spec == spec


@pytest.mark.parametrize("lost", ["", "model_index.json", "text_encoder/model.safetensors"])
def test_a_base_that_is_not_all_there(cache: Path, tiny_base_folder: Path, lost: str) -> None:
    if lost:
        (_snapshot(cache, tiny_base_folder) / lost).unlink()
    with pytest.raises(MissingWeights, match=f"not all of its 28.9 GB; run python -m motion_transfer download {NAME}"):
        find_base(NAME)


def test_a_part_in_several_files_needs_them_all(cache: Path, tiny_base_folder: Path) -> None:
    part = _snapshot(cache, tiny_base_folder) / "transformer"
    (part / "diffusion_pytorch_model.safetensors.index.json").write_text('{"weight_map": {"a": "1.safetensors"}}')
    with pytest.raises(MissingWeights, match="not all of its"):
        find_base(NAME)
    (part / "1.safetensors").write_bytes(b"")
    assert find_base(NAME).name == NAME


def test_downloading_asks_for_the_pinned_parts(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[object] = []

    def fetching(repository: str, **named: object) -> str:
        asked.extend([repository, named["revision"], named["allow_patterns"], named["token"]])
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", fetching)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**12))
    assert hub.download(NAME) == tmp_path
    assert asked == [HUB_BASES[NAME].repository, HUB_BASES[NAME].revision, catalog.FILES, None]


@pytest.mark.parametrize("already", [0, 28 * 10**9])
def test_what_is_here_already_needs_no_room(cache: Path, monkeypatch: pytest.MonkeyPatch, already: int) -> None:
    blobs = cache / f"models--{HUB_BASES[NAME].repository.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    with (blobs / "abc.incomplete").open("wb") as handle:
        os.truncate(handle.fileno(), already)  # takes no room of its own
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: "here")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2 * 10**9))
    if already:
        assert hub.download(NAME) == Path("here")
    else:
        with pytest.raises(StorageFailed, match=r"28.9 GB more, but .* has 2.0 GB free; make room"):
            hub.download(NAME)


def test_a_disk_that_fills_while_weights_come_leaves_no_base_and_goes_on_later(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tiny_base_folder: Path
) -> None:
    """What came is kept, but nothing opens a part of a base; with room again the rest follows."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**12))
    repository = HUB_BASES[NAME].repository.replace("/", "--")
    half = cache / f"models--{repository}" / "blobs" / "abc.incomplete"

    def fetching(*_: object, **__: object) -> str:
        if not half.is_file():
            half.parent.mkdir(parents=True)
            half.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return str(_snapshot(cache, tiny_base_folder))

    monkeypatch.setattr(hub, "snapshot_download", fetching)
    with pytest.raises(StorageFailed, match="make room and do it again: what came so far is kept"):
        hub.download(NAME)
    with pytest.raises(MissingWeights, match="run python -m motion_transfer download"):
        find_base(NAME)
    assert half.read_bytes() == b"half" and hub.download(NAME) == find_base(NAME).folder


def test_failures_are_one_sentence(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**12))
    told = RuntimeError("Data processing error: I/O error: No space left on device (os error 28)")
    led_to = RuntimeError("the download failed")
    led_to.__cause__ = OSError(errno.ENOSPC, "No space left")
    full = [(error, StorageFailed) for error in (OSError(errno.ENOSPC, "No space left"), told, led_to)]
    for error, kind in (*full, (OSError("no route"), HubFailed)):
        monkeypatch.setattr(hub, "snapshot_download", lambda *_, error=error, **__: (_ for _ in ()).throw(error))
        with pytest.raises(kind):
            hub.download(NAME)
        assert main(["download", NAME]) == 2 and capsys.readouterr().err.count("\n") == 1
    with pytest.raises(BadSpec, match=r"wan2.1-1.3b, wan2.1-14b"):
        hub.download("wan")


def _lora_in(cache: Path, name: str = WITH_LORA) -> Path:
    """A LoRA that fits the toy base, as the Hub's library lays it into its cache."""
    lora = HUB_BASES[name].lora
    assert lora is not None
    path = cache / f"models--{lora.repository.replace('/', '--')}" / "snapshots" / lora.revision / lora.file
    layer = LowRank(down_RI=torch.ones(2, WIDTH), up_OR=torch.full((WIDTH, 2), 0.01))
    save_lora(Lora(layers={"blocks.0.attn1.to_q": layer}), path)
    return path


def test_rows_are_pinned_and_say_how_they_render() -> None:
    for name, base in HUB_BASES.items():
        pinned = [base.revision, *([base.lora.revision] if base.lora else [])]
        assert all(re.fullmatch("[0-9a-f]{40}", one) for one in pinned), name
        assert (base.distilled is not None) is name.endswith("-fast")
    fast = HUB_BASES["wan2.1-1.3b-fast"]
    assert fast.distilled is not None and len(fast.distilled.timesteps) == fast.distilled.steps == 3
    assert (fast.native["num_frames"] - 1) % 4 == 0 and fast.native["height"] % 16 == fast.native["width"] % 16 == 0
    assert HUB_BASES[WITH_LORA].repository == HUB_BASES["wan2.1-14b"].repository  # fetched once for both


def test_a_distilled_row_opens_with_its_own_way_to_render(cache: Path, tiny_base_folder: Path) -> None:
    _snapshot(cache, tiny_base_folder, "wan2.1-1.3b-fast")
    spec = find_base("wan2.1-1.3b-fast")
    assert spec.distilled == catalog.FASTWAN and (spec.height, spec.width, spec.num_frames) == (448, 832, 61)
    assert spec.lora is None and "sparse attention" in spec.note


def test_a_base_with_a_lora_is_whole_with_it_alone(cache: Path, tiny_base_folder: Path) -> None:
    plain = _snapshot(cache, tiny_base_folder, WITH_LORA)
    with pytest.raises(MissingWeights, match=f"not all of its 81.0 GB; run .* download {WITH_LORA}"):
        find_base(WITH_LORA)
    path = _lora_in(cache)
    spec = find_base(WITH_LORA)
    assert (spec.folder, spec.lora, spec.distilled) == (plain, path, catalog.LIGHTX2V)
    with_it, without = (open_base(name, precision="fp32", device="cpu") for name in (WITH_LORA, "wan2.1-14b"))
    assert with_it.hash != without.hash and without.spec.distilled is None
    change = with_it.transformer.blocks[0].attn1.to_q.weight - without.transformer.blocks[0].attn1.to_q.weight
    assert torch.allclose(change, torch.full_like(change, 0.02), atol=1e-6)


def test_downloading_a_base_with_a_lora(cache: Path, monkeypatch: pytest.MonkeyPatch, tiny_base_folder: Path) -> None:
    """Both are counted; what comes with another hash does not stay."""
    row = HUB_BASES[WITH_LORA]
    lora = row.lora
    assert lora is not None
    asked: list[object] = []

    def fetching(repository: str, file: str, *, revision: str, token: object) -> str:
        asked.extend([repository, file, revision, token])
        return str(_lora_in(cache))

    monkeypatch.setattr(hub, "hf_hub_download", fetching)
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: str(_snapshot(cache, tiny_base_folder, WITH_LORA)))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=row.num_bytes + 10**8))
    with pytest.raises(StorageFailed, match=r"81.0 GB more"):
        hub.download(WITH_LORA)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**12))
    with pytest.raises(HubFailed, match=f"should have SHA-256 {lora.sha256[:12]}"):
        hub.download(WITH_LORA)
    assert not _lora_in_cache(cache) and asked[:4] == [lora.repository, lora.file, lora.revision, None]
    pinned = replace(row, lora=replace(lora, sha256=file_hash(_lora_in(cache))))
    monkeypatch.setitem(HUB_BASES, WITH_LORA, pinned)
    assert hub.download(WITH_LORA) == find_base(WITH_LORA).folder


def _lora_in_cache(cache: Path) -> bool:
    return any(path.is_file() for path in cache.rglob("*lora*.safetensors"))
