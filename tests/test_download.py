"""Bases from the Hub: found in its cache, fetched into it, and never begun without room."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from motion_transfer import hub
from motion_transfer.cli import main
from motion_transfer.errors import BadSpec, HubFailed, MissingWeights, StorageFailed
from motion_transfer.model import catalog
from motion_transfer.model.base import open_base
from motion_transfer.model.catalog import HUB_BASES, find_base

NAME = "wan2.1-1.3b"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    look = catalog.huggingface_hub.try_to_load_from_cache
    monkeypatch.setattr(catalog.huggingface_hub, "try_to_load_from_cache",
                        lambda *given, **named: look(*given, cache_dir=tmp_path / "cache", **named))  # fmt: skip
    return tmp_path / "cache"


def _snapshot(cache: Path, folder: Path) -> Path:
    """A base as the Hub's library lays it into its cache."""
    base = HUB_BASES[NAME]
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
