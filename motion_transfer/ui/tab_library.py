"""The Library tab: motions and renders to find, look at, compare, rename, take away, delete and bring back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from motion_transfer.library import Library
from motion_transfer.pipeline import Studio
from motion_transfer.ui import words
from motion_transfer.ui.accounts import ON_SPACE
from motion_transfer.ui.buttons import QUIET, PlaceOf
from motion_transfer.ui.desk import told
from motion_transfer.ui.jobs import Choices
from motion_transfer.ui.shelf import (
    MOTIONS,
    RENDERS,
    for_comfyui,
    item,
    item_choices,
    kinds,
    look_at_item,
    publish_item,
    take_in,
)
from motion_transfer.ui.toasts import tell, warn
from motion_transfer.ui.undo import Deleted, bring_back, undo_button


@dataclass(frozen=True, kw_only=True)
class LibraryTab:
    """What other parts of the page need: what is chosen, the button that leads on, and how to renew the lists.

    `asked` are what `refresh` goes by, `listed` what it changes.
    """

    chosen: gr.Radio
    use: gr.Button
    refresh: Callable[..., Any]
    asked: list[Any]
    listed: list[Any]


class _LibraryPage:
    """Binds the tab's parts to the functions behind them."""

    def __init__(self, studio: Studio, place_of: PlaceOf, *, can_publish: bool = True) -> None:
        self._base, self._place_of, self._can_publish = studio.spec.name, place_of, can_publish

    def _library(self, token: str | None) -> Library:
        place = self._place_of(token)
        return place.workspace.library(place.owner)

    def find(self, token: str | None, kind: str, search: str, key: str | None) -> tuple[Any, Any]:
        """What there is, with the chosen one if it is still among it; and the renders to compare with."""

        def do() -> tuple[Choices, Choices]:
            library = self._library(token)
            return item_choices(library, self._base, kind, search), item_choices(library, self._base, RENDERS)

        found, error = told(do)
        if found is None:
            warn(error or "")
            return gr.skip(), gr.skip()
        choices, renders = found
        kept = key if key in [key for _, key in choices] else (choices[0][1] if choices else None)
        others = [(words.NOTHING, ""), *renders]
        return gr.Radio(choices=choices, value=kept, info="" if choices else words.EMPTY), gr.Dropdown(choices=others)

    def refresh(self, token: str | None, kind: str, search: str, key: str | None) -> tuple[Any, ...]:
        """The tab was opened: what there is to look for, to choose, to compare with, and to bring back."""
        deleted = told(lambda: self._library(token).discarded())[0] or []
        return gr.Radio(choices=kinds()), *self.find(token, kind, search, key), deleted, undo_button(deleted)

    def look(self, token: str | None, kind: str, key: str | None) -> tuple[Any, ...]:
        """Another one was chosen: video, facts, name, file, what leads on or changes it, and where it is published."""
        is_motion = kind == MOTIONS and bool(key)
        publishing = gr.Accordion(visible=is_motion and self._can_publish)
        leads_on = (gr.Button(visible=is_motion), gr.Button(visible=is_motion),
                    gr.DownloadButton(value=None, visible=False))  # fmt: skip
        no_changes = gr.Button(interactive=False), gr.Button(interactive=False)
        no_file = gr.DownloadButton(value=None, interactive=False)
        empty = None, "", "", no_file, *leads_on, *no_changes, publishing
        if not key:
            return empty
        view, error = told(lambda: look_at_item(self._library(token), kind, key))
        if view is None:
            assert error is not None
            warn(error)
            return empty
        file = gr.DownloadButton(value=str(view.file), interactive=True)
        changes = gr.Button(interactive=view.own), gr.Button(interactive=view.own)
        return view.video and str(view.video), view.facts, view.name, file, *leads_on, *changes, publishing

    def convert(self, token: str | None, kind: str, key: str | None) -> tuple[Any, Any]:
        """For ComfyUI was pressed: the file for it takes the button's place."""
        path, error = told(lambda: for_comfyui(self._library(token), kind, key))
        if path is None:
            warn(error or "")
            return gr.skip(), gr.skip()
        return gr.Button(visible=False), gr.DownloadButton(value=str(path), visible=True)

    def compare(self, token: str | None, key: str | None) -> str | None:
        """A second render beside the chosen one."""
        view = told(lambda: look_at_item(self._library(token), RENDERS, key))[0] if key else None
        return str(view.video) if view else None

    def take_in(self, token: str | None, path: str) -> tuple[Any, Any, Any, Any]:
        """A LoRA file was uploaded: the motions, with it chosen."""
        done, error = told(lambda: take_in(self._place_of(token), Path(path)))
        if done is None:
            warn(error or "")
            return (gr.skip(),) * 4
        motion, said = done
        if said:
            tell(said)
        return MOTIONS, "", *self.find(token, MOTIONS, "", motion.key)

    def rename(self, token: str | None, kind: str, key: str | None, name: str) -> None:
        """Rename was pressed."""

        def do() -> None:
            library = self._library(token)
            library.rename(item(library, kind, key), name)

        _, error = told(do)
        if error is not None:
            warn(error)

    def delete(self, token: str | None, kind: str, key: str | None, deleted: Deleted) -> tuple[Any, Any]:
        """Delete was pressed: what was deleted by now, and the button that brings it back."""

        def do() -> tuple[str, str]:
            library = self._library(token)
            found = item(library, kind, key)
            return library.discard(found), found.name

        done, error = told(do)
        if done is None:
            assert error is not None
            warn(error)
            return gr.skip(), gr.skip()
        return [*deleted, done], undo_button([*deleted, done])

    def undo(self, token: str | None, deleted: Deleted) -> tuple[Deleted, gr.Button]:
        """What was deleted last comes back."""
        return bring_back(lambda: self._library(token), deleted)

    def publish(
        self, token: str | None, kind: str, key: str | None, repository: str, private: bool, account: str | None = None
    ) -> str:
        """Publish was pressed: where the motion lies then."""
        done, error = told(lambda: publish_item(self._place_of(token), kind, key, repository, private, account))
        if done is None:
            warn(error or "")
            return ""
        return words.PUBLISHED.format(address=done.address, hub=done.hub)

    def publish_as(
        self, token: str | None, kind: str, key: str | None, repository: str, private: bool,
        account: gr.OAuthToken | None,
    ) -> str:  # fmt: skip
        """The same where people log in on the page."""
        return self.publish(token, kind, key, repository, private, account.token if account else None)

    def bind(self, parts: dict[str, Any], visitor: gr.BrowserState) -> None:
        """Connects every part."""
        wanted = [visitor, parts["kind"], parts["search"], parts["chosen"]]
        listed = [parts["chosen"], parts["other"]]
        one = [visitor, parts["kind"], parts["chosen"]]
        names = ("video", "facts", "name", "file", "use", "convert", "converted", "rename", "delete",
                 "publishing")  # fmt: skip
        shown = [parts[name] for name in names]
        parts["kind"].input(self.find, wanted, listed, **QUIET).then(self.look, one, shown, **QUIET)
        parts["search"].change(self.find, wanted, listed, trigger_mode="always_last", **QUIET)
        parts["chosen"].change(self.look, one, shown, **QUIET)
        parts["other"].change(self.compare, [visitor, parts["other"]], parts["beside"], **QUIET)
        parts["convert"].click(self.convert, one, [parts["convert"], parts["converted"]], **QUIET)
        renamed = parts["rename"].click(self.rename, [*one, parts["name"]], None, **QUIET)
        bin_parts = [parts["deleted"], parts["undo"]]
        deleted = parts["delete"].click(self.delete, [*one, parts["deleted"]], bin_parts, **QUIET)
        back = parts["undo"].click(self.undo, [visitor, parts["deleted"]], bin_parts, **QUIET)
        order = [*one, parts["repository"], parts["private"]]
        parts["publish"].click(self.publish_as if ON_SPACE else self.publish, order, parts["published"], **QUIET)
        everything = [parts["kind"], parts["search"], *listed]
        taken = parts["import"].upload(self.take_in, [visitor, parts["import"]], everything, **QUIET)
        taken.then(self.look, one, shown, **QUIET)
        for event in (renamed, deleted, back):
            event.then(self.find, wanted, listed, **QUIET)


def _parts() -> dict[str, Any]:
    look: dict[str, Any] = {"interactive": False, "autoplay": True, "loop": True, "min_width": 150, "height": 300}
    parts: dict[str, Any] = {}
    with gr.Row():
        with gr.Column(min_width=320):
            parts["kind"] = gr.Radio(choices=[MOTIONS, RENDERS], value=MOTIONS, label=words.SHELF, elem_id="shelf")
            parts["search"] = gr.Textbox(label=words.SEARCH, placeholder=words.SEARCH_HINT)
            parts["import"] = gr.UploadButton(words.IMPORT, file_types=[".safetensors"], size="sm", elem_id="import")
            parts["chosen"] = gr.Radio(choices=[], label=words.FOUND, info=words.EMPTY, elem_id="items")
        with gr.Column(min_width=320):
            with gr.Row():
                parts["video"] = gr.Video(label=words.CHOSEN, buttons=[], elem_id="item", **look)
                parts["beside"] = gr.Video(label=words.COMPARED, buttons=[], elem_id="beside", **look)
            parts["other"] = gr.Dropdown(choices=[("", "")], value="", label=words.COMPARE)
            parts["use"] = gr.Button(words.GO_RENDER, variant="primary", visible=False, elem_id="use-motion")
            with gr.Row():
                parts["name"] = gr.Textbox(label=words.NAME, max_length=80, min_width=160)
                parts["rename"] = gr.Button(words.RENAME, min_width=90, scale=0, interactive=False, elem_id="rename")
            with gr.Row():
                parts["file"] = gr.DownloadButton(words.TAKE_AWAY, interactive=False, min_width=120)
                parts["convert"] = gr.Button(words.CONVERT, min_width=120, visible=False, elem_id="convert")
                parts["converted"] = gr.DownloadButton(words.TAKE_CONVERTED, min_width=120, visible=False,
                                                       elem_id="converted")  # fmt: skip
                parts["delete"] = gr.Button(words.DELETE, variant="stop", min_width=120, interactive=False,
                                            elem_id="delete")  # fmt: skip
            parts["undo"] = gr.Button(visible=False, elem_id="undo")
            parts["facts"] = gr.HTML("")
            with gr.Accordion(words.PUBLISH, open=False, visible=False, elem_id="publishing") as parts["publishing"]:
                gr.Markdown(words.PUBLISH_NOTE)
                parts["repository"] = gr.Textbox(label=words.REPOSITORY)
                parts["private"] = gr.Checkbox(label=words.PRIVATE)
                with gr.Row():
                    if ON_SPACE:
                        gr.LoginButton(min_width=140)
                    parts["publish"] = gr.Button(words.PUBLISH_NOW, min_width=140, elem_id="publish")
                parts["published"] = gr.Markdown(elem_id="published")
    return parts | {"deleted": gr.State([])}


def build_library_tab(
    studio: Studio, place_of: PlaceOf, visitor: gr.BrowserState, *, isolated: bool = False
) -> LibraryTab:
    """Builds the tab's content where it is called; `isolated` says that visitors are told apart."""
    # Visitors publish under accounts of their own, with which they log in on a Space alone.
    page, parts = _LibraryPage(studio, place_of, can_publish=ON_SPACE or not isolated), _parts()
    page.bind(parts, visitor)
    return LibraryTab(chosen=parts["chosen"], use=parts["use"], refresh=page.refresh,
                      asked=[parts[name] for name in ("kind", "search", "chosen")],
                      listed=[parts[name] for name in ("kind", "chosen", "other", "deleted", "undo")])  # fmt: skip
