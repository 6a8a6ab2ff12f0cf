"""What lies in a library: motions and renders, each a file with others of its name beside it."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from motion_transfer.lora.files import RECIPE

MAX_NAME_LETTERS = 80
TITLE_SUFFIX, HUB_SUFFIX = ".title", ".hub"
MAIN_SUFFIXES = (".safetensors", ".mp4", ".json")
_MAX_STEM_LETTERS = 40


@dataclass(frozen=True, kw_only=True)
class Motion:
    """One learned motion: `key` names its file, `name` is what its maker called it, `made` is the file's local time.

    `hub` is where it was published or fetched from, `owner/name@commit`; one that is `shipped` comes with the program,
    and stays as it is.
    """

    key: str
    path: Path
    name: str
    caption: str
    base: str
    rank: int | None
    made: str
    hub: str = ""
    shipped: bool = False

    @property
    def reference(self) -> Path | None:
        """The clip it was learned from, where that is at hand: beside it, or among the shipped clips."""
        clip = self.path.with_suffix(".mp4")
        path = self.path.parents[1] / "clips" / clip.name if self.shipped else clip
        return path if path.is_file() else None

    @property
    def example(self) -> Path | None:
        """A clip that shows the motion: the one it was learned from, or of a control one of those."""
        beside = self.path.with_suffix(".mp4")
        return self.reference or (beside if beside.is_file() else None)


@dataclass(frozen=True, kw_only=True)
class Render:
    """One saved render: `key` names its file, `name` is its prompt until it is called otherwise.

    `seed` is None where its recipe is gone.
    """

    key: str
    path: Path
    name: str
    prompt: str
    made: str
    seed: int | None = None


def size_mb(folder: Path) -> float:
    """What the files of a folder and of those in it take on disk, as far as they stay while it is looked at."""
    num_bytes = 0
    for root, _, names in os.walk(folder):  # which passes over folders that go meanwhile
        for name in names:
            with suppress(FileNotFoundError):
                num_bytes += os.stat(os.path.join(root, name)).st_size
    return num_bytes / 1e6


def safe_stem(text: str, fallback: str) -> str:
    """A short file name of plain letters, digits and hyphens; `fallback` where nothing is left of the text."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:_MAX_STEM_LETTERS].strip("-") or fallback


def claimed_file(folder: Path, stem: str, suffix: str) -> Path:
    """Creates an empty file under the first free name, so that no other writer takes the same one."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        path = folder / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
        with suppress(FileExistsError):
            path.open("x").close()
            return path
        number += 1


@contextmanager
def new_file(folder: Path, stem: str, suffix: str) -> Iterator[Path]:
    """Yields a claimed path to write; it and its siblings are removed if the block fails."""
    path = claimed_file(folder, stem, suffix)
    try:
        yield path
    except BaseException:
        for left in (path, path.with_suffix(".mp4"), path.with_suffix(".json")):
            left.unlink(missing_ok=True)
        raise


def recipe_at(path: Path) -> dict[str, Any] | None:
    """The recipe in a LoRA file's header, without reading its tensors; None if the file can't be used."""
    try:
        with safe_open(str(path), framework="np") as handle:
            recipe = json.loads((handle.metadata() or {}).get(RECIPE, "{}"))
    except (SafetensorError, OSError, ValueError, RecursionError):
        return None
    return printable(recipe) if isinstance(recipe, dict) else None


def printable(recipe: Any) -> Any:
    """A recipe whose texts can be sent: halves of letters, which JSON may hold alone, become question marks."""
    text = json.dumps(recipe, ensure_ascii=False)
    return json.loads(text.encode("utf-8", "replace"))


def siblings(path: Path) -> list[Path]:
    """The files of one motion, render or preset: the main one, and what lies beside it under the same name."""
    every = (path.with_suffix(suffix) for suffix in (*MAIN_SUFFIXES, TITLE_SUFFIX, HUB_SUFFIX))
    return [sibling for sibling in every if sibling.is_file()]


def noted(path: Path, suffix: str) -> str:
    """What was written down beside a motion or a render, such as its new name; empty if nothing was."""
    try:
        return path.with_suffix(suffix).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def one_line(name: str) -> str:
    """A name as lists show it: without line breaks, and not too long, whatever a file says."""
    return " ".join(name.split())[:MAX_NAME_LETTERS]


def render_at(path: Path) -> Render:
    """The render in a video file, with what is noted beside it."""
    try:
        asked = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["render"]
        prompt, seed = str(asked["prompt"]), asked.get("seed")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        prompt, seed = "", None
    made = datetime.fromtimestamp(path.stat().st_mtime).isoformat(" ", "seconds")
    name = noted(path, TITLE_SUFFIX) or prompt or path.stem
    return Render(key=path.stem, path=path, name=name, prompt=prompt, made=made,
                  seed=seed if type(seed) is int else None)  # fmt: skip


def _rank(recipe: Mapping[str, Any]) -> int | None:
    """The rank that a recipe says; None where it says none, as in files of other programs."""
    settings = recipe.get("spec")
    rank = settings.get("rank") if isinstance(settings, dict) else None
    return rank if type(rank) is int else None


def described(path: Path, recipe: Mapping[str, Any]) -> Motion:
    """A motion by its file and its recipe."""
    made = datetime.fromtimestamp(path.stat().st_mtime).isoformat(" ", "seconds")
    return Motion(
        key=path.stem,
        path=path,
        name=noted(path, TITLE_SUFFIX) or one_line(str(recipe.get("name") or path.stem)),
        caption=str(recipe.get("caption", "")),
        base=str(recipe.get("base", "")),
        rank=_rank(recipe),
        made=made,
        hub=noted(path, HUB_SUFFIX),
    )


def motion_at(path: Path) -> Motion | None:
    """The motion in a LoRA file, wherever it lies; None if it is no LoRA."""
    recipe = recipe_at(path)
    return None if recipe is None else described(path, recipe)
