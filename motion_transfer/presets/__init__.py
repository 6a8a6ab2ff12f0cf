"""Presets: what makes one render again, or learns a motion with the same settings, to be shared as a file or a link."""

from motion_transfer.presets.files import load_preset, save_preset
from motion_transfer.presets.links import preset_from_link, preset_from_text, preset_link, preset_to_text
from motion_transfer.presets.values import MAX_LORAS, BadPreset, Preset, PresetLora, RenderSettings, TuneSettings

__all__ = [
    "MAX_LORAS",
    "BadPreset",
    "Preset",
    "PresetLora",
    "RenderSettings",
    "TuneSettings",
    "load_preset",
    "preset_from_link",
    "preset_from_text",
    "preset_link",
    "preset_to_text",
    "save_preset",
]
