"""This program as a Hugging Face Space: its files as a Space wants them, and their upload."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from huggingface_hub import HfApi, SpaceCardData

from motion_transfer.errors import BadSpec
from motion_transfer.hub import asking, checked_name

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ("app.py", "motion_transfer", "assets", "presets", "docs", "packages.txt", "LICENSE", "CHANGELOG.md")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "*.partial", "*.old", ".*")
PYTHON = "3.12"  # of those that Spaces offer, the one that diffusers needs
_MARK, _FRESH = "motion_transfer/__init__.py", {".gitattributes", "README.md"}  # of this program's; of a new Space
_UNPINNED = ("torch",)  # a Space brings its own, which its GPU asks for


def _pins(requirements: str) -> dict[str, str]:
    """Versions by package."""
    return dict(line.strip().split("==") for line in requirements.splitlines() if "==" in line)


def space_requirements(requirements: str) -> str:
    """The packages for a Space: torch in whatever version it has, and no gradio, which its card names."""
    lines = [name if name in _UNPINNED else f"{name}=={version}" for name, version in _pins(requirements).items()
             if name != "gradio"]  # fmt: skip
    return "\n".join(lines) + "\n"


def space_readme(readme: str, requirements: str) -> str:
    """The front page of a Space: what to run it with, before the program's own front page."""
    card = SpaceCardData(
        title="Motion transfer",
        emoji="🏃",
        colorFrom="blue",
        colorTo="yellow",
        sdk="gradio",
        sdk_version=_pins(requirements)["gradio"],
        python_version=PYTHON,
        app_file="app.py",
        license="apache-2.0",
        short_description="Learn a clip's motion, render it onto new content",
        hf_oauth=True,
        hf_oauth_scopes=["write-repos"],
        tags=["video", "motion-transfer", "lora", "diffusers", "wan"],
    )
    return f"---\n{card.to_yaml()}\n---\n\n{readme}"


def assemble(folder: Path) -> None:
    """Writes a Space's files into a folder, which is made.

    Raises:
        OSError: it is there already, or can't be written.
    """
    folder.mkdir(parents=True)
    for name in SHIPPED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=LEFT_OUT)
        elif source.is_file():
            shutil.copyfile(source, folder / name)
    requirements = (ROOT / "requirements.txt").read_text()
    (folder / "requirements.txt").write_text(space_requirements(requirements))
    (folder / "README.md").write_text(space_readme((ROOT / "README.md").read_text(), requirements))


def deploy(name: str, *, private: bool) -> str:
    """Makes a Space, or brings one up to date, under the account that is logged in; returns its address.

    Args:
        name: `owner/name`.
        private: whether others see it; of a Space that is there, nothing changes.

    Raises:
        BadSpec: the name is none, or that of a Space that holds something else.
        HubFailed: nobody is logged in, or the Hub does not take it.
    """
    checked_name(name, "a Space")
    hub = HfApi(token=True)  # the account that is logged in, never an anonymous try
    with asking(f"look at the Space {name}"):
        held = hub.list_repo_files(name, repo_type="space") if hub.repo_exists(name, repo_type="space") else []
    if _MARK not in held and set(held) - _FRESH:
        raise BadSpec(f"a new Space, or one that holds this program, is expected, but {name} holds something else "
                      f"({len(held)} files), which would be replaced; choose another name.")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        assemble(Path(folder) / "space")
        with asking(f"take the Space {name}"):
            made = hub.create_repo(name, repo_type="space", space_sdk="gradio", private=private, exist_ok=True)
            hub.upload_folder(repo_id=name, repo_type="space", folder_path=Path(folder) / "space",
                              delete_patterns="*", commit_message="Bring the Space up to date")  # fmt: skip
    return str(made)
