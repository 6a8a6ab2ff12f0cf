"""The Space's files: all that the program needs, the Space's own versions, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from huggingface_hub import SpaceCard
from packaging.requirements import Requirement

from motion_transfer import space
from motion_transfer.cli import main
from motion_transfer.errors import BadSpec, HubFailed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("space") / "files"
    assert main(["deploy", "--into", str(folder)]) == 0
    return folder


def test_the_card_names_what_the_program_runs_with(folder: Path) -> None:
    card = SpaceCard.load(folder / "README.md")
    pins = dict(line.split("==") for line in (space.ROOT / "requirements.txt").read_text().split())
    assert (card.data.sdk, card.data.sdk_version, card.data.app_file) == ("gradio", pins["gradio"], "app.py")
    assert card.data.python_version == "3.12" and "# motion_transfer" in card.text


def test_a_space_brings_its_own_torch_and_gradio(folder: Path) -> None:
    lines = (folder / "requirements.txt").read_text().split()
    assert "torch" in lines and not any(line.startswith(("torch==", "gradio")) for line in lines)
    assert any(line.startswith("diffusers==") for line in lines)


def test_what_a_space_installs_besides_agrees(folder: Path) -> None:
    """The builder adds gradio with these extras, which ask for versions of their own."""
    pins = dict(line.split("==") for line in (folder / "requirements.txt").read_text().split() if "==" in line)
    for extra in ("", "mcp", "oauth"):
        for needed in map(Requirement, requires("gradio") or []):
            if needed.name in pins and (needed.marker is None or needed.marker.evaluate({"extra": extra})):
                assert pins[needed.name] in needed.specifier, needed


def test_the_program_runs_from_these_files_alone(folder: Path) -> None:
    done = subprocess.run([sys.executable, "app.py", "--help"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and "--workspace" in done.stdout
    assert (folder / "assets" / "nano" / "model_index.json").is_file() and (folder / "packages.txt").is_file()
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]
    assert not list((folder / "motion_transfer").rglob("*.partial"))


def test_mistakes_are_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["a/b", "--into", "x"], ["--into", str(folder)]):
        assert main(["deploy", *arguments]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    with pytest.raises(BadSpec, match="owner/name"):
        space.deploy("no name", private=True)


def test_nobody_logged_in_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(HubFailed, match="hf auth login"):
        space.deploy("owner/name", private=True)


class _Hub:
    """A Hub with one Space, which holds some files or is not there."""

    def __init__(self, files: list[str] | None) -> None:
        self.files, self.uploads = files, list[dict]()

    def repo_exists(self, *_: str, **__: str) -> bool:
        return self.files is not None

    def list_repo_files(self, *_: str, **__: str) -> list[str]:
        return self.files or []

    def create_repo(self, name: str, **_: object) -> str:
        return f"https://huggingface.co/spaces/{name}"

    def upload_folder(self, **settings: object) -> None:
        self.uploads.append(settings)


@pytest.mark.parametrize("files", [None, [".gitattributes", "README.md"], ["motion_transfer/__init__.py", "old.py"]])
def test_a_new_space_or_one_of_this_program_is_filled(monkeypatch: pytest.MonkeyPatch, files: list[str] | None) -> None:
    hub = _Hub(files)
    monkeypatch.setattr(space, "HfApi", lambda **_: hub)
    assert space.deploy("owner/name", private=False).endswith("owner/name")
    assert [upload["repo_id"] for upload in hub.uploads] == ["owner/name"]


def test_a_space_that_holds_something_else_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = _Hub([".gitattributes", "README.md", "thesis.py"])
    monkeypatch.setattr(space, "HfApi", lambda **_: hub)
    with pytest.raises(BadSpec, match="something else"):
        space.deploy("owner/name", private=False)
    assert hub.uploads == []
