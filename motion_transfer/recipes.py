"""What made a render, inside its own file: settings, seeds, versions and hashes, enough to render it again."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from motion_transfer.errors import BadClip, BadLora, WrongBase
from motion_transfer.lora.files import file_hash, load_lora
from motion_transfer.methods.lion_fusion import mixed
from motion_transfer.model.attention_choice import NATIVE
from motion_transfer.pipeline import Studio
from motion_transfer.types import Clip, Progress, RenderSpec, Work
from motion_transfer.version import VERSION
from motion_transfer.video.io import clip_comment, read_clip, write_clip

FORMAT = 1
MOST_STRENGTH = 100.0  # of a LoRA; several strengths may multiply
_NAME = re.compile(r"[^/\\:]*[^/\\:.][^/\\:]*")  # of a folder, without the way there
_SHA256 = re.compile("[0-9a-f]{64}")
ATTENTION = "attention"
LIBRARIES = ("torch", "diffusers", "peft", "bitsandbytes", "numpy")


@dataclass(frozen=True, kw_only=True)
class UsedLora:
    """A LoRA that a render was made with.

    Raises:
        ValueError: its parts are not what they should be, as in a file that anybody may have written.
    """

    name: str
    sha256: str
    strength: float

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not (isinstance(self.sha256, str) and _SHA256.fullmatch(self.sha256)):
            raise ValueError("a LoRA has a name and a SHA-256")
        if type(self.strength) not in (int, float) or not abs(self.strength) <= MOST_STRENGTH:
            raise ValueError(f"a strength lies between -{MOST_STRENGTH:g} and {MOST_STRENGTH:g}")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What made a render. `pixels` is the SHA-256 of its frames before they were compressed.

    Raises:
        ValueError: its parts are not what they should be.
    """

    base: str
    base_hash: str
    precision: str
    device: str
    render: RenderSpec
    loras: tuple[UsedLora, ...]
    versions: Mapping[str, str]
    pixels: str

    def __post_init__(self) -> None:
        texts = (self.base, self.base_hash, self.precision, self.device, self.pixels)
        if not isinstance(self.versions, Mapping):
            raise ValueError("versions go by names")
        if not all(isinstance(text, str) for text in (*texts, *self.versions, *self.versions.values())):
            raise ValueError("names, hashes and versions are texts")

    def as_values(self) -> dict[str, Any]:
        """As JSON holds it, in a video's comment tag and in the file beside it."""
        return {"recipe": FORMAT, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class Verified:
    """How a fresh render compares with a file: equal to the last bit, or off by so many of 255 levels on average.

    `changed` says what is not as it was when the file was made.
    """

    same: bool
    mean_levels: float
    changed: tuple[str, ...]


def versions() -> dict[str, str]:
    """Of this program and the libraries that its arithmetic hangs on."""
    found = {"motion_transfer": VERSION}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "?"
    return found


def _versions(studio: Studio) -> dict[str, str]:
    """Those, and the attention that a GPU renders with where it is not PyTorch's own choice."""
    attention = studio.rendering_attention
    return versions() | ({ATTENTION: attention} if attention != NATIVE else {})


def pixels_hash(clip: Clip) -> str:
    """SHA-256 of a clip's frames and their shape."""
    digest = hashlib.sha256(str(clip.frames_THWC.shape).encode())
    digest.update(np.ascontiguousarray(clip.frames_THWC))
    return digest.hexdigest()


def recipe_of(studio: Studio, spec: RenderSpec, loras: Sequence[UsedLora], clip: Clip) -> Recipe:
    """The recipe of a render that was just made; the spec's own strength goes into those of the LoRAs."""
    used = tuple(replace(lora, strength=lora.strength * spec.strength) for lora in loras)
    return Recipe(
        base=studio.spec.name,
        base_hash=studio.base.hash,
        precision=studio.base.precision,
        device=studio.base.device.type,
        render=replace(spec, strength=1.0),
        loras=used,
        versions=_versions(studio),
        pixels=pixels_hash(clip),
    )


def read_recipe(path: Path) -> Recipe:
    """The recipe in a render's file.

    Raises:
        BadClip: it is no video, or holds no recipe of this version.
    """
    try:
        values = dict(json.loads(clip_comment(path) or "{}"))
        number = values.pop("recipe")
        if number != FORMAT:
            raise BadClip(f"a render with a recipe of format {FORMAT} is expected, but {path.name} has {number!r:.20}; "
                          "update the program.")  # fmt: skip
        loras = tuple(UsedLora(**lora) for lora in values.pop("loras"))
        return Recipe(**{**values, "render": RenderSpec(**values["render"]), "loras": loras})
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BadClip(f"a render of this program is expected, but {path.name} says of itself nothing or something "
                      "else; choose the file as it was downloaded.") from error  # fmt: skip


def base_name(recipe: Recipe) -> str:
    """The base to open for a recipe that anybody may have written.

    Raises:
        WrongBase: it leads to a folder of the sender's choice.
    """
    if not _NAME.fullmatch(recipe.base):
        raise WrongBase(f"a base is expected by its name, but the render names {recipe.base!r:.60}; "
                        "say with --base which folder to open.")  # fmt: skip
    return recipe.base


def _changed(recipe: Recipe, studio: Studio) -> tuple[str, ...]:
    now = {**versions(), ATTENTION: studio.rendering_attention, "device": studio.base.device.type}
    then = {ATTENTION: NATIVE, **recipe.versions, "device": recipe.device}
    return tuple(f"{name} was {then[name]}, is {now.get(name, '?')}" for name in then if then[name] != now.get(name))


def _compressed(clip: Clip) -> np.ndarray:
    """The frames as they come back from a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "again.mp4"
        write_clip(clip, path)
        return read_clip(path).frames_THWC


def verify(studio: Studio, path: Path, find: Callable[[str], Path | None]) -> Work[Verified]:
    """Renders a file's recipe again and compares.

    Args:
        studio: with the recipe's base and precision.
        path: the render.
        find: a LoRA file by its SHA-256; None if it is not at hand.

    Raises:
        BadClip: the file holds no recipe.
        BadLora: a LoRA is not at hand, or not the one that was used.
        WrongBase: the base is another one.
    """
    recipe = read_recipe(path)
    if recipe.base_hash != studio.base.hash:
        raise WrongBase(f"{path.name} was rendered on the base {recipe.base} {recipe.base_hash[:8]}, but the open base "
                        f"is {studio.spec.name} {studio.base.hash[:8]}; open that version.")  # fmt: skip
    loras = [(load_lora(found_lora(lora, find)), lora.strength) for lora in recipe.loras]
    clip = yield from studio.render_work(*mixed(loras, recipe.render))
    yield Progress(stage="judge", step=1, total=1)
    shown, again = read_clip(path).frames_THWC, _compressed(clip)
    if shown.shape != again.shape:
        raise BadClip(f"{path.name} should have the shape {again.shape}, but has {shown.shape}; it was changed since.")
    off = float(np.abs(shown.astype(np.int16) - again).mean())
    same = pixels_hash(clip) == recipe.pixels and off == 0.0
    return Verified(same=same, mean_levels=off, changed=_changed(recipe, studio))


def found_lora(lora: UsedLora, find: Callable[[str], Path | None]) -> Path:
    """The file of a LoRA, found by its SHA-256.

    Raises:
        BadLora: it is not at hand.
    """
    path = find(lora.sha256)
    if path is None or file_hash(path) != lora.sha256:
        raise BadLora(f"the LoRA {lora.name!r:.60} with SHA-256 {lora.sha256[:12]}… is expected, but is not at hand; "
                      "give its file, or import it into the library.")  # fmt: skip
    return path
