"""What happens behind the Presets tab, as plain functions: presets that ship, and those of a visitor."""

from __future__ import annotations

from pathlib import Path

from motion_transfer.errors import BadSpec
from motion_transfer.library import Library
from motion_transfer.library_files import new_file, safe_stem
from motion_transfer.pipeline import Studio
from motion_transfer.presets import BadPreset, Preset, load_preset, save_preset
from motion_transfer.types import TuneSpec
from motion_transfer.ui import words
from motion_transfer.ui.desk import Place
from motion_transfer.ui.jobs import Choices
from motion_transfer.ui.render import MixOrder
from motion_transfer.ui.share import Received, preset_of_order, received

SHIPPED = Path(__file__).resolve().parents[2] / "presets"
_SHIPPED_KEY = "shipped/"


def _library(place: Place) -> Library:
    return place.workspace.library(place.owner)


def _paths(place: Place, shipped: Path) -> dict[str, Path]:
    """Files by key: those of the visitor, newest first, then those that ship."""
    own = sorted(_library(place).presets.glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return {path.stem: path for path in own} | {f"{_SHIPPED_KEY}{p.stem}": p for p in sorted(shipped.glob("*.json"))}


def is_shipped(key: str) -> bool:
    """Whether a preset comes with the program, and stays as it is."""
    return key.startswith(_SHIPPED_KEY)


def preset_choices(place: Place, base: str, shipped: Path = SHIPPED) -> Choices:
    """Labels and keys of all presets that can be read; of the shipped ones, those for a base."""
    choices = []
    for key, path in _paths(place, shipped).items():
        try:
            preset = load_preset(path)
        except BadPreset:
            continue
        if not is_shipped(key):
            choices.append((preset.name, key))
        elif preset.base == base:
            choices.append((words.SHIPPED_PRESET.format(name=preset.name), key))
    return choices


def preset_path(place: Place, key: str | None, shipped: Path = SHIPPED) -> Path:
    """The file of a preset.

    Raises:
        BadSpec: there is none of that key.
    """
    path = _paths(place, shipped).get(key or "")
    if path is None:
        raise BadSpec(words.NO_PRESET)
    return path


def look_at_preset(place: Place, studio: Studio, key: str | None, shipped: Path = SHIPPED) -> Received:
    """What a preset asks for.

    Raises:
        BadSpec: there is none of that key.
        BadPreset: it can't be used here.
    """
    return received(place, studio, load_preset(preset_path(place, key, shipped)))


def _keep(place: Place, preset: Preset) -> str:
    """Saves a preset under a free name, as far as its owner has room; returns its key."""
    place.workspace.check_room(place.owner, 0)
    with new_file(_library(place).presets, safe_stem(preset.name, "preset"), ".json") as path:
        save_preset(preset, path)
    return path.stem


def keep_order(
    place: Place, studio: Studio, order: MixOrder, name: str, description: str, tune: TuneSpec | None = None
) -> str:
    """Saves what the Mix tab is set to, and the settings of learning if they are given; returns the preset's key.

    Raises:
        BadSpec, BadLora, BadPreset: see `preset_of_order`.
        StorageFailed: the disk does not take it.
    """
    return _keep(place, preset_of_order(place, studio, order, name=name, description=description, tune=tune))


def import_preset(place: Place, path: Path) -> str:
    """Takes a preset file in; returns its key.

    Raises:
        BadPreset: it is none.
        StorageFailed: the disk does not take it.
    """
    return _keep(place, load_preset(path))


def delete_preset(place: Place, key: str | None, shipped: Path = SHIPPED) -> tuple[str, str]:
    """Puts a preset of the visitor into the bin; returns what `Library.restore` needs to bring it back, and its name.

    Raises:
        BadSpec: there is none of that key, or it ships with the program.
    """
    path = preset_path(place, key, shipped)
    if (key or "").startswith(_SHIPPED_KEY):
        raise BadSpec(words.PRESET_SHIPPED.format(name=path.stem))
    try:
        name = load_preset(path).name
    except BadPreset:
        name = path.stem
    return _library(place).discard_preset(path), name
