"""The Presets tab: settings that are kept under a name, to be used, saved, taken away and brought in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from motion_transfer.errors import MotionTransferError
from motion_transfer.library import Library
from motion_transfer.pipeline import Studio
from motion_transfer.presets import load_preset
from motion_transfer.types import TuneSpec
from motion_transfer.ui import words
from motion_transfer.ui.accounts import on_own_account
from motion_transfer.ui.buttons import QUIET, PlaceOf
from motion_transfer.ui.controls import OrderControls
from motion_transfer.ui.desk import Place, problem, told
from motion_transfer.ui.knobs import spec_from
from motion_transfer.ui.presets import (
    delete_preset,
    import_preset,
    is_shipped,
    keep_order,
    look_at_preset,
    preset_choices,
    preset_path,
)
from motion_transfer.ui.render import MixOrder
from motion_transfer.ui.share import fetch_motions
from motion_transfer.ui.toasts import tell, warn
from motion_transfer.ui.undo import Deleted, bring_back, undo_button


@dataclass(frozen=True, kw_only=True)
class PresetsTab:
    """What other parts of the page need: the chosen preset, the button that uses it, and how to renew the list."""

    chosen: gr.Radio
    use: gr.Button
    refresh: Callable[..., Any]


class _PresetsPage:
    """Binds the tab's parts to the functions behind them."""

    def __init__(
        self, studio: Studio, place_of: PlaceOf, controls: OrderControls[MixOrder], learning: Mapping[str, Component]
    ) -> None:
        self._studio, self._place_of, self._controls, self._learning = studio, place_of, controls, learning
        self._with_learning: gr.Checkbox
        self._visitor: gr.BrowserState
        self._name: gr.Textbox
        self._description: gr.Textbox

    def refresh(self, token: str | None, key: str | None) -> Any:
        """The presets there are, with the chosen one if it is still among them."""
        choices, error = told(lambda: preset_choices(self._place_of(token), self._studio.spec.name))
        if error is not None or choices is None:
            return gr.skip()
        keys = [key for _, key in choices]
        kept = key if key in keys else next(iter(keys), None)
        return gr.Radio(choices=choices, value=kept, info="" if choices else words.NO_PRESETS)

    def look(self, token: str | None, key: str | None) -> tuple[Any, ...]:
        """Another one was chosen: what it asks for, its file, whether it can be used, fetched for, and deleted."""
        if not key:
            off = gr.Button(interactive=False)
            return "", gr.DownloadButton(value=None, interactive=False), off, gr.Button(visible=False), off
        found, error = told(lambda: look_at_preset(self._place_of(token), self._studio, key))
        file, _ = told(lambda: self._copy(self._place_of(token), key))
        away = gr.DownloadButton(value=str(file) if file else None, interactive=file is not None)
        fetch = gr.Button(visible=found is not None and bool(found.fetchable))
        facts = problem(error) if error else found.facts if found else ""
        return facts, away, gr.Button(interactive=error is None), fetch, gr.Button(interactive=not is_shipped(key))

    def fetch(self, token: str | None, key: str | None, account: str | None) -> tuple[Any, ...]:
        """Fetch was pressed: the preset as it is then."""

        def do() -> None:
            place = self._place_of(token)
            fetch_motions(place, look_at_preset(place, self._studio, key).fetchable, account)
            tell(words.FETCHED)

        _, error = told(do)
        if error is not None:
            warn(error)
        return self.look(token, key)

    def _copy(self, place: Place, key: str) -> Path:
        path = preset_path(place, key)
        return place.workspace.library(place.owner).show_file(path, name=path.name)

    def _kept(self, key: str | None, error: MotionTransferError | None, token: str | None) -> Any:
        if error is not None:
            warn(error)
            return gr.skip()
        path, _ = told(lambda: preset_path(self._place_of(token), key))
        tell(words.PRESET_SAVED.format(name=load_preset(path).name if path else key))
        return self.refresh(token, key)

    def save(self, values: dict[Component, Any]) -> Any:
        """Save was pressed: the list, with the new preset chosen."""
        token, name, description = (values[part] for part in (self._visitor, self._name, self._description))

        def do() -> str:
            order, tune = self._controls.order(values), None
            if values[self._with_learning]:
                tune = spec_from(TuneSpec, {knob: values[part] for knob, part in self._learning.items()})
            return keep_order(self._place_of(token), self._studio, order, name, description, tune)

        return self._kept(*told(do), token)

    def take_in(self, token: str | None, path: str) -> Any:
        """A preset file was uploaded: the list, with it chosen."""
        return self._kept(*told(lambda: import_preset(self._place_of(token), Path(path))), token)

    def delete(self, token: str | None, key: str | None, deleted: Deleted) -> tuple[Any, Any, Any]:
        """Delete was pressed: the list as it is then, what was deleted by now, and the button that brings it back."""
        done, error = told(lambda: delete_preset(self._place_of(token), key))
        if done is None:
            warn(error or "")
            return self.refresh(token, key), gr.skip(), gr.skip()
        return self.refresh(token, key), [*deleted, done], undo_button([*deleted, done])

    def undo(self, token: str | None, key: str | None, deleted: Deleted) -> tuple[Any, Any, Any]:
        """What was deleted last comes back."""

        def library() -> Library:
            place = self._place_of(token)
            return place.workspace.library(place.owner)

        left, button = bring_back(library, deleted)
        return self.refresh(token, key), left, button

    def bind(self, parts: dict[str, Any], visitor: gr.BrowserState) -> None:
        """Connects every part."""
        self._visitor, self._name, self._description = visitor, parts["name"], parts["description"]
        one = [visitor, parts["chosen"]]
        looks = [parts[name] for name in ("facts", "file", "use", "fetch", "delete")]
        parts["chosen"].change(self.look, one, looks, **QUIET)
        parts["fetch"].click(on_own_account(self.fetch), one, looks, **QUIET)
        parts["import"].upload(self.take_in, [visitor, parts["import"]], parts["chosen"], **QUIET)
        bin_parts = [parts["chosen"], parts["deleted"], parts["undo"]]
        parts["delete"].click(self.delete, [*one, parts["deleted"]], bin_parts, **QUIET)
        parts["undo"].click(self.undo, [*one, parts["deleted"]], bin_parts, **QUIET)
        self._with_learning = parts["learning"]
        inputs = {*self._controls.components, *self._learning.values(), visitor, parts["name"], parts["description"],
                  parts["learning"]}  # fmt: skip
        parts["save"].click(self.save, inputs, parts["chosen"], **QUIET)


def build_presets_tab(
    studio: Studio, place_of: PlaceOf, controls: OrderControls[MixOrder], learning: Mapping[str, Component],
    visitor: gr.BrowserState,
) -> PresetsTab:  # fmt: skip
    """Builds the tab's content where it is called.

    Args:
        studio: with the base.
        place_of: tells whose the page is.
        controls: of the Mix tab.
        learning: the settings' controls on the Learn tab, by name.
        visitor: the page's.
    """
    page, parts = _PresetsPage(studio, place_of, controls, learning), dict[str, Any]()
    with gr.Row():
        with gr.Column(min_width=320):
            parts["chosen"] = gr.Radio(choices=[], label=words.PRESETS, info=words.NO_PRESETS, elem_id="presets")
            parts["import"] = gr.UploadButton(words.IMPORT_PRESET, file_types=[".json"], size="sm")
        with gr.Column(min_width=320):
            parts["facts"] = gr.HTML("", elem_id="preset-facts")
            parts["use"] = gr.Button(words.USE_LINK, variant="primary", interactive=False, elem_id="use-preset")
            parts["fetch"] = gr.Button(words.FETCH, visible=False, elem_id="fetch-preset")
            with gr.Row():
                parts["file"] = gr.DownloadButton(words.TAKE_AWAY, interactive=False, min_width=120)
                parts["delete"] = gr.Button(words.DELETE, variant="stop", min_width=120, interactive=False,
                                            elem_id="delete-preset")  # fmt: skip
            parts["undo"], parts["deleted"] = gr.Button(visible=False, elem_id="undo-preset"), gr.State([])
            gr.Markdown(f"### {words.SAVE_PRESET_TITLE}")
            parts["name"] = gr.Textbox(label=words.PRESET_NAME, max_length=80)
            parts["description"] = gr.Textbox(label=words.DESCRIPTION, max_length=500)
            parts["learning"] = gr.Checkbox(label=words.WITH_LEARNING, elem_id="with-learning")
            parts["save"] = gr.Button(words.SAVE_PRESET, elem_id="save-preset")
    page.bind(parts, visitor)
    return PresetsTab(chosen=parts["chosen"], use=parts["use"], refresh=page.refresh)
