"""Motions go to the Hub with a card and come back by hash; a hub in a folder stands in for the real one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from huggingface_hub.errors import LocalTokenNotFoundError
from safetensors.torch import save_file

from motion_transfer import hub
from motion_transfer.cli import main
from motion_transfer.errors import BadLora, BadSpec, HubFailed
from motion_transfer.library import Library
from motion_transfer.library_files import Motion, motion_at
from motion_transfer.lora.files import file_hash, load_lora, read_lora, save_lora
from motion_transfer.lora.layouts import COMFYUI, DIFFUSERS, KOHYA
from motion_transfer.types import Lora, LowRank

COMMIT = "c" * 40


@dataclass
class FolderHub:
    """As much of `HfApi` as is called, on a folder; its calls are noted."""

    root: Path
    calls: list[dict[str, Any]] = field(default_factory=list)
    other_bytes: bool = False

    def __call__(self, token: str | bool | None = None) -> FolderHub:
        self.calls.append({"token": token})
        return self

    def create_repo(self, name: str, **settings: Any) -> str:
        if self.calls[-1]["token"] == "nobody":
            raise LocalTokenNotFoundError("no token")
        self.calls.append({"create": name, **settings})
        return f"https://hub.example/{name}"

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> SimpleNamespace:
        shutil.copytree(folder_path, self.root / repo_id)
        return SimpleNamespace(oid=COMMIT)

    def list_repo_tree(self, name: str, *, revision: str, recursive: bool) -> list[SimpleNamespace]:
        if not (self.root / name).is_dir() or revision != COMMIT:
            raise RuntimeError("404: there is no such repository\nand more lines")
        return [SimpleNamespace(path=path.name, size=path.stat().st_size,
                                lfs=SimpleNamespace(sha256=file_hash(path)) if path.suffix == ".safetensors" else None)
                for path in sorted((self.root / name).iterdir())]  # fmt: skip

    def hf_hub_download(self, name: str, path: str, *, revision: str, local_dir: Path) -> str:
        target = Path(local_dir) / path
        shutil.copyfile(self.root / name / path, target)
        if self.other_bytes:
            target.write_bytes(b"other")
        return str(target)


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderHub:
    api = FolderHub(tmp_path / "hub")
    monkeypatch.setattr(hub, "HfApi", api)
    return api


@pytest.fixture
def motion(tmp_path: Path) -> Motion:
    layer = LowRank(down_RI=torch.ones(2, 4), up_OR=torch.ones(4, 2))
    info = {"name": "My | <wave>", "base": "nano", "base_hash": "ab" * 32, "caption": "a `red` square",
            "spec": {"rank": 2}}  # fmt: skip
    path = tmp_path / "wave.safetensors"
    save_lora(Lora(layers={"blocks.0.attn1.to_q": layer}, info=info), path)
    found = motion_at(path)
    assert found is not None
    return found


def test_a_published_motion_comes_back(api: FolderHub, motion: Motion, tmp_path: Path) -> None:
    published = hub.publish(motion, "owner/wave", private=True)
    assert published.address.endswith("owner/wave") and published.hub == f"owner/wave@{COMMIT}"
    assert api.calls[0] == {"token": True} and api.calls[1]["private"] is True
    there = api.root / "owner" / "wave"
    assert {path.name for path in there.iterdir()} == {"README.md", hub.WEIGHTS, hub.FOR_COMFYUI}
    converted, own = read_lora(there / hub.FOR_COMFYUI), load_lora(motion.path)
    assert converted.layout == COMFYUI and converted.lora.info == own.info
    assert all(torch.equal(converted.lora.layers[name].up_OR, layer.up_OR) for name, layer in own.layers.items())
    (tmp_path / "got").mkdir()
    back = hub.fetch(published.hub, file_hash(motion.path), tmp_path / "got", token=False)
    assert api.calls[-1] == {"token": False}
    assert back.read_bytes() == motion.path.read_bytes()
    assert Library(tmp_path / "work").import_motion(back, "wave").caption == "a `red` square"


def test_a_foreign_file_is_published_in_layouts_that_are_what_they_are_called(api: FolderHub, tmp_path: Path) -> None:
    """Beside its own bytes, which presets name; what could not be read is said."""
    tensors = {"lora_unet_blocks_0_self_attn_q.lora_down.weight": torch.ones(2, 4),
               "lora_unet_blocks_0_self_attn_q.lora_up.weight": torch.ones(4, 2),
               "lora_te_text.lora_down.weight": torch.ones(1, 4)}  # fmt: skip
    save_file(tensors, tmp_path / "theirs.safetensors")
    motion = motion_at(tmp_path / "theirs.safetensors")
    assert motion is not None
    published = hub.publish(motion, "owner/theirs", private=True)
    there = api.root / "owner" / "theirs"
    layouts = {name: read_lora(there / name).layout for name in (hub.WEIGHTS, hub.FOR_COMFYUI, hub.ORIGINAL)}
    assert layouts == {hub.WEIGHTS: DIFFUSERS, hub.FOR_COMFYUI: COMFYUI, hub.ORIGINAL: KOHYA}
    card = ModelCard.load(there / "README.md").text
    assert "1 keys of `original.safetensors` could not be read" in card and "Follow-Your-Motion" not in card
    assert hub.fetch(published.hub, file_hash(motion.path), tmp_path).name == hub.ORIGINAL


def test_a_file_for_comfyui_is_not_written_twice(api: FolderHub, motion: Motion, tmp_path: Path) -> None:
    path = tmp_path / "comfy.safetensors"
    save_lora(load_lora(motion.path), path, COMFYUI)
    found = motion_at(path)
    assert found is not None
    hub.publish(found, "owner/comfy", private=True)
    there = api.root / "owner" / "comfy"
    assert {file.name for file in there.iterdir()} == {"README.md", hub.WEIGHTS, hub.FOR_COMFYUI}
    assert (there / hub.FOR_COMFYUI).read_bytes() == path.read_bytes()


def test_the_card_is_one_and_foreign_words_stay_words(api: FolderHub, motion: Motion) -> None:
    hub.publish(motion, "owner/wave", private=False)
    card = ModelCard.load(api.root / "owner" / "wave" / "README.md")
    assert card.data.pipeline_tag == "text-to-video" and "lora" in card.data.tags
    assert file_hash(motion.path) in card.text and "rank 2" in card.text and "not part of this repository" in card.text
    assert "<wave>" not in card.text and "`red`" not in card.text and "# My" in card.text


def test_what_can_go_wrong_is_one_sentence(api: FolderHub, motion: Motion, tmp_path: Path) -> None:
    for name in ("no name", "a/b/c", "../x", ""):
        with pytest.raises(BadSpec, match="owner/name"):
            hub.publish(motion, name, private=False)
    with pytest.raises(HubFailed, match="hf auth login"):
        hub.publish(motion, "owner/wave", private=False, token="nobody")
    published = hub.publish(motion, "owner/wave", private=False)
    with pytest.raises(BadLora, match="should hold"):
        hub.fetch(published.hub, "0" * 64, tmp_path)
    with pytest.raises(HubFailed, match=r"404: there is no such repository[^\n]*$"):
        hub.fetch(f"owner/other@{COMMIT}", "0" * 64, tmp_path)
    api.other_bytes = True
    with pytest.raises(BadLora, match="came as another"):
        hub.fetch(published.hub, file_hash(motion.path), tmp_path)
    assert not (tmp_path / hub.WEIGHTS).exists()


def test_the_command(api: FolderHub, motion: Motion, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", str(motion.path), "owner/wave"]) == 0
    assert f"owner/wave@{COMMIT}" in capsys.readouterr().out
    assert main(["publish", str(tmp_path / "none.safetensors"), "owner/wave"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
