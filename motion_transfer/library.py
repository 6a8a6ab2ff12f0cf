"""The workspace on disk: learned motions, renders, and copies of clips made for looking at them."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from motion_transfer.atomic import replacing, write_json
from motion_transfer.copies import SHOWN_SIDE_PX, Copies
from motion_transfer.errors import BadClip, BadLora, BadSpec, StorageFailed
from motion_transfer.library_files import (
    HUB_SUFFIX,
    MAIN_SUFFIXES,
    TITLE_SUFFIX,
    Motion,
    Render,
    claimed_file,
    described,
    motion_at,
    new_file,
    one_line,
    printable,
    recipe_at,
    render_at,
    safe_stem,
    siblings,
    size_mb,
)
from motion_transfer.lora.doctor import Checkup, examine
from motion_transfer.lora.files import file_hash, load_lora, read_lora, save_lora
from motion_transfer.lora.layouts import COMFYUI
from motion_transfer.model.catalog import ASSETS
from motion_transfer.types import Clip, Lora, RenderSpec
from motion_transfer.video.io import write_clip

SHIPPED_LORAS = ASSETS / "loras"
BIN_SECONDS = 24 * 3600.0
MAX_LORA_BYTES = 2 * 10**9

_SHIPPED_KEY = "shipped/"  # no file's stem begins so


def check_size(num_bytes: int, name: str) -> None:
    """Sees that a LoRA's file is not larger than any real one.

    Raises:
        BadLora: it is.
    """
    if num_bytes > MAX_LORA_BYTES:
        raise BadLora(f"a LoRA of at most {MAX_LORA_BYTES // 10**6} MB is expected, but {name} has "
                      f"{num_bytes // 10**6} MB; choose another.")  # fmt: skip


def _check_own(item: Motion | Render) -> None:
    if isinstance(item, Motion) and item.shipped:
        raise BadSpec(f"a motion of your own can be changed, but {item.name} comes with the program; choose another.")


def _shown_name(path: Path) -> str:
    """What a motion or a render is called, by its file."""
    found = motion_at(path) if path.suffix == MAIN_SUFFIXES[0] else render_at(path)
    return found.name if found else path.stem


@lru_cache(maxsize=1024)
def _sha256(path: Path, changed_ns: int, size: int) -> str:
    """A file's hash, kept for as long as the file is the same."""
    return file_hash(path)


@lru_cache(maxsize=64)
def _checkup(path: Path, changed_ns: int, size: int) -> Checkup:
    """What a file holds, kept for as long as the file is the same."""
    return examine(read_lora(path))


class Library:
    """Motions and renders of one owner. Nothing that was saved is ever overwritten.

    Args:
        root: folder of the owner's data; made when something is first written.
        uploads: folder of copies for looking at; default inside `root`.
        shipped: folder of the motions that come with the program, as `loras` beside `clips`.
    """

    def __init__(self, root: Path, *, uploads: Path | None = None, shipped: Path = SHIPPED_LORAS) -> None:
        root = Path(root).expanduser().resolve()
        self.loras, self.renders, self.uploads = root / "loras", root / "renders", uploads or root / "uploads"
        self.presets, self.bin, self._shipped = root / "presets", root / "bin", shipped
        self._copies = Copies(self.uploads / "shown")

    def prepare(self) -> None:
        """Makes the folders, and sees that they can be written.

        Raises:
            StorageFailed: they can't.
        """
        for folder in (self.loras, self.renders, self.uploads):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                claimed_file(folder, ".probe", "").unlink()
            except OSError as error:
                raise StorageFailed(f"a folder that can be written is expected for the workspace, but {folder} is not "
                                    f"({error.strerror}); choose another --workspace.") from error  # fmt: skip

    def size_mb(self) -> float:
        """What all motions, renders and presets take on disk, and those in the bin."""
        return sum(size_mb(folder) for folder in (self.loras, self.renders, self.presets, self.bin))

    def save_motion(self, lora: Lora, name: str, reference: Clip, *, comment: str | None = None) -> Motion:
        """Saves a learned motion, and the clip it was learned from beside it.

        Args:
            lora: the motion.
            name: what its maker calls it; any text.
            reference: the clip.
            comment: the original file's comment tag, where the clip is the whole file.

        Raises:
            OSError: the disk does not take it.
        """
        name = one_line(name)
        info = {**lora.info, "name": name}
        with new_file(self.loras, safe_stem(name, "motion"), ".safetensors") as path:
            write_clip(reference, path.with_suffix(".mp4"), comment=comment, min_side_px=SHOWN_SIDE_PX)
            save_lora(replace(lora, info=info), path)
        return described(path, info)

    def motions(self) -> list[Motion]:
        """All usable motions of the owner, newest first; files that are no LoRAs are left out."""
        found = (motion_at(path) for path in self.loras.glob("*.safetensors"))
        motions = [motion for motion in found if motion is not None]
        return sorted(motions, key=lambda motion: (motion.made, motion.key), reverse=True)

    def shipped_motions(self, base: str | None = None) -> list[Motion]:
        """Motions that come with the program, by name; of one base only if it is named."""
        found = (motion_at(path) for path in sorted(self._shipped.glob("*.safetensors")))
        return [replace(motion, key=f"{_SHIPPED_KEY}{motion.key}", shipped=True)
                for motion in found if motion is not None and base in (None, motion.base)]  # fmt: skip

    def motion(self, key: str) -> Motion:
        """One motion by its key, the owner's or a shipped one.

        Raises:
            BadLora: there is none.
        """
        for motion in self.shipped_motions() if key.startswith(_SHIPPED_KEY) else self.motions():
            if motion.key == key:
                return motion
        raise BadLora(f"a motion of this library is expected, but there is none called {key!r:.60}; choose another.")

    def made_renders(self) -> list[Render]:
        """All renders, newest first."""
        renders = [render_at(path) for path in self.renders.glob("*.mp4") if path.stat().st_size]  # else under way
        return sorted(renders, key=lambda render: (render.made, render.key), reverse=True)

    def render(self, key: str) -> Render:
        """One render by its key.

        Raises:
            BadClip: there is none.
        """
        for render in self.made_renders():
            if render.key == key:
                return render
        raise BadClip(f"a render of this library is expected, but there is none called {key!r:.60}; choose another.")

    def rename(self, item: Motion | Render, name: str) -> None:
        """Calls a motion or a render otherwise; its file, and so its hash, stays as it is.

        Raises:
            BadSpec: the name is empty, or it comes with the program.
            OSError: the disk does not take it.
        """
        _check_own(item)
        name = one_line(name)
        if not name:
            raise BadSpec("a name is expected, but there is none; write one.")
        with replacing(item.path.with_suffix(TITLE_SUFFIX)) as partial:
            partial.write_text(name, encoding="utf-8")

    def note_hub(self, motion: Motion, hub: str) -> None:
        """Writes down where on the Hub a motion lies, so that links can say it; of a shipped one nobody needs it.

        Raises:
            OSError: the disk does not take it.
        """
        if not motion.shipped:
            with replacing(motion.path.with_suffix(HUB_SUFFIX)) as partial:
                partial.write_text(hub, encoding="utf-8")

    def discard(self, item: Motion | Render) -> str:
        """Takes a motion or a render out of the library, into the bin; what has lain there for a day is removed.

        Returns:
            What `restore` needs to bring it back.

        Raises:
            BadSpec: it comes with the program, or is gone.
        """
        _check_own(item)
        return self._discarded(item.path)

    def discard_preset(self, path: Path) -> str:
        """The same for the file of a preset in this library."""
        assert path.parent == self.presets, "presets that ship stay where they are"
        return self._discarded(path)

    def _discarded(self, path: Path) -> str:
        self.empty_bin()
        ticket = secrets.token_hex(8)
        folder = self.bin / ticket / path.parent.name
        folder.mkdir(parents=True)
        moved = siblings(path)
        if not moved:
            raise BadSpec("something of this library is expected to be deleted, but it is gone already; look again.")
        for sibling in moved:
            os.replace(sibling, folder / sibling.name)
        return ticket

    def discarded(self) -> list[tuple[str, str]]:
        """What lies in the bin, the last one last: what `restore` needs, and the name; presets are left out."""
        found = []
        for path in self.bin.glob("*/*/*"):
            with suppress(OSError):
                is_main = path.suffix in MAIN_SUFFIXES[:2] and siblings(path)[:1] == [path]
                if is_main and path.parent.name != self.presets.name:
                    found.append((path.parents[1].stat().st_mtime_ns, path.parts[-3], _shown_name(path)))
        return [(ticket, name) for _, ticket, name in sorted(found)]

    def restore(self, ticket: str) -> None:
        """Brings back what was discarded, under another key if its own was given away in the meantime.

        Raises:
            BadSpec: it is gone for good.
        """
        found = [path for path in self.bin.glob("*/*/*") if path.parts[-3] == ticket and path.suffix in MAIN_SUFFIXES]
        if not found:
            raise BadSpec("something that was deleted today can come back, but this can't; make or import it again.")
        main = min(found, key=lambda path: MAIN_SUFFIXES.index(path.suffix))
        target = {folder.name: folder for folder in (self.loras, self.renders, self.presets)}[main.parent.name]
        place = claimed_file(target, main.stem, main.suffix)
        for path in siblings(main):
            os.replace(path, place.with_suffix(path.suffix))
        shutil.rmtree(self.bin / ticket, ignore_errors=True)

    def empty_bin(self, older_than_s: float = BIN_SECONDS) -> None:
        """Removes for good what has lain in the bin for so long."""
        for old in self.bin.glob("*"):
            with suppress(FileNotFoundError):  # another request may be at the same
                if time.time() - old.stat().st_mtime >= older_than_s:
                    shutil.rmtree(old, ignore_errors=True)

    def sha256(self, motion: Motion) -> str:
        """What tells a motion's file from all others, wherever it lies."""
        changed = motion.path.stat()
        return _sha256(motion.path, changed.st_mtime_ns, changed.st_size)

    def checkup(self, motion: Motion) -> Checkup:
        """What a motion's file holds.

        Raises:
            BadLora: it is broken.
        """
        changed = motion.path.stat()
        return _checkup(motion.path, changed.st_mtime_ns, changed.st_size)

    def of_sha256(self, sha256: str) -> Motion | None:
        """The motion whose file has this hash, the owner's or a shipped one; None if there is none."""
        every = (*self.motions(), *self.shipped_motions())
        return next((motion for motion in every if self.sha256(motion) == sha256), None)

    def import_motion(self, path: Path, name: str) -> Motion:
        """Takes in a LoRA file, byte for byte; one that is here already is not doubled.

        Args:
            path: of the file.
            name: what it was called where it comes from.

        Raises:
            BadLora: it is no LoRA, or too large.
            OSError: the disk does not take it.
        """
        size = path.stat().st_size if path.is_file() else 0
        check_size(size, f"{name:.80}")
        lora = load_lora(path)
        if known := self.of_sha256(file_hash(path)):
            return known
        stem = safe_stem(str(lora.info.get("name") or Path(name).stem), "motion")
        with new_file(self.loras, stem, ".safetensors") as claimed, replacing(claimed) as partial:
            shutil.copyfile(path, partial)
        return self.motion(claimed.stem)

    def recipe(self, item: Motion | Render) -> dict[str, Any]:
        """What a motion's or a render's file says of how it was made; empty where it says nothing that can be read."""
        if isinstance(item, Motion):
            return recipe_at(item.path) or {}
        try:
            found = json.loads(item.path.with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return printable(found) if isinstance(found, dict) else {}

    def load(self, motion: Motion) -> Lora:
        """A motion's weights.

        Raises:
            BadLora: the file is broken.
        """
        return load_lora(motion.path)

    def save_render(self, clip: Clip, spec: RenderSpec, recipe: Mapping[str, Any]) -> Path:
        """Saves a render under its time, seed and prompt; its recipe goes into the comment tag, and a file beside it.

        Raises:
            OSError: the disk does not take it.
        """
        stem = f"{datetime.now():%Y%m%d-%H%M%S}-{spec.seed}-{safe_stem(spec.prompt, 'no-prompt')}"
        with new_file(self.renders, stem, ".mp4") as path:
            write_clip(clip, path, comment=json.dumps(recipe))
            write_json(path.with_suffix(".json"), recipe)
        return path

    def show(self, clip: Clip) -> Path:
        """See `Copies.clip`."""
        return self._copies.clip(clip)

    def show_picture(self, picture_HWC: np.ndarray) -> Path:
        """See `Copies.picture`."""
        return self._copies.picture(picture_HWC)

    def show_file(self, source: Path, *, name: str = "") -> Path:
        """See `Copies.file`."""
        return self._copies.file(source, name=name)

    def for_comfyui(self, motion: Motion) -> Path:
        """A copy of a motion's file in the layout that ComfyUI and most other tools read.

        Raises:
            BadLora: the file is broken.
            OSError: the disk does not take it.
        """
        name = f"{motion.path.stem}-comfyui.safetensors"
        return self._copies.made_of(motion.path, name, lambda path: save_lora(self.load(motion), path, COMFYUI))
