"""What happens behind the Library tab, as plain functions."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

from motion_transfer.errors import BadLora, BadSpec, HubFailed
from motion_transfer.hub import Published, publish
from motion_transfer.library import Library
from motion_transfer.library_files import Motion, Render
from motion_transfer.ui import words
from motion_transfer.ui.checkup_facts import checkup_facts
from motion_transfer.ui.desk import Place, capital
from motion_transfer.ui.jobs import Choices
from motion_transfer.ui.recipe_facts import recipe_facts
from motion_transfer.ui.render import item_label

MOTIONS, RENDERS = "motions", "renders"


@dataclass(frozen=True, kw_only=True)
class ItemView:
    """One motion or render: its clip, its file to take away, its name, its facts as HTML; `own` ones can be changed."""

    video: Path | None
    file: Path
    name: str
    facts: str
    own: bool


def kinds() -> Choices:
    """What there is to look for."""
    return [(words.MOTIONS, MOTIONS), (words.RENDERS, RENDERS)]


def items(library: Library, base: str, kind: str, search: str = "") -> list[Motion] | list[Render]:
    """Motions or renders, newest first, whose name, caption or prompt holds every word of the search.

    Motions that come with the program for this base are the last ones.
    """
    wanted = search.casefold().split()
    if kind == MOTIONS:
        motions = [*library.motions(), *library.shipped_motions(base)]
        return [m for m in motions if _holds(f"{m.name} {m.caption}", wanted)]
    return [r for r in library.made_renders() if _holds(f"{r.name} {r.prompt}", wanted)]


def _holds(text: str, wanted: list[str]) -> bool:
    return all(word in text.casefold() for word in wanted)


def item_choices(library: Library, base: str, kind: str, search: str = "") -> Choices:
    """Labels and keys of what was found."""
    return [(item_label(found), found.key) for found in items(library, base, kind, search)]


def item(library: Library, kind: str, key: str | None) -> Motion | Render:
    """One motion or render.

    Raises:
        BadSpec: none is chosen.
        BadLora: the motion is gone.
        BadClip: the render is gone.
    """
    if not key:
        raise BadSpec(words.NO_ITEM)
    return library.motion(key) if kind == MOTIONS else library.render(key)


def take_in(place: Place, path: Path) -> tuple[Motion, str]:
    """Imports an uploaded LoRA file: the motion, and what a person should know of it, if anything.

    Raises:
        BadLora: it is no LoRA.
        BadSpec, StorageFailed: there is no room for it.
    """
    place.workspace.check_room(place.owner, 0)
    library = place.workspace.library(place.owner)
    motion = library.import_motion(path, path.name)
    unread = library.checkup(motion).unread
    said = words.SOME_UNREAD.format(count=len(unread), name=path.name, first=unread[0]) if unread else ""
    return motion, said


def publish_item(
    place: Place, kind: str, key: str | None, repository: str, private: bool, token: str | None
) -> Published:
    """Puts a motion on the Hub under a visitor's token, or under the machine's own account where there are no visitors.

    Raises:
        BadSpec, BadLora, BadClip: see `item`; or a render is chosen, or the repository's name is none.
        HubFailed: the visitor has no token, or the Hub does not take it.
    """
    if place.workspace.isolated and not token:
        raise HubFailed(words.LOG_IN)
    library = place.workspace.library(place.owner)
    found = item(library, kind, key)
    if not isinstance(found, Motion):
        raise BadSpec(words.ONLY_MOTIONS)
    published = publish(found, repository.strip(), private=private, token=token or True)
    library.note_hub(found, published.hub)
    return published


def look_at_item(library: Library, kind: str, key: str | None) -> ItemView:
    """One motion or render, with copies of its files for looking at.

    Raises:
        BadSpec, BadLora, BadClip: see `item`.
    """
    found = item(library, kind, key)
    video = found.example if isinstance(found, Motion) else found.path
    return ItemView(
        video=library.show_file(video) if video else None,
        file=library.show_file(found.path, name=found.path.name),
        name=found.name,
        facts=_facts(library, found),
        own=not (isinstance(found, Motion) and found.shipped),
    )


def for_comfyui(library: Library, kind: str, key: str | None) -> Path:
    """A copy of a motion's file for ComfyUI and most other tools.

    Raises:
        BadSpec, BadLora, BadClip: see `item`; or a render is chosen.
    """
    found = item(library, kind, key)
    if not isinstance(found, Motion):
        raise BadSpec(words.ONLY_MOTIONS_CONVERT)
    return library.for_comfyui(found)


def _checkup_facts(library: Library, motion: Motion) -> str:
    """What the file holds, or why that can't be said."""
    try:
        return checkup_facts(library.checkup(motion))
    except BadLora as error:
        return f"<p>{escape(capital(str(error)))}</p>"


def _facts(library: Library, found: Motion | Render) -> str:
    """A table of what is known; its words come from files, which may be anybody's."""
    if isinstance(found, Motion):
        rows = [(words.CAPTION_SHORT, found.caption or words.NO_CAPTION), (words.BASE, found.base or "?"),
                (words.FINGERPRINT, library.sha256(found))]  # fmt: skip
    else:
        rows = [(words.PROMPT_ASKED, found.prompt or "–")]
    checkup = _checkup_facts(library, found) if isinstance(found, Motion) else ""
    made = words.SHIPPED if isinstance(found, Motion) and found.shipped else found.made
    rows += [(words.MADE, made), (words.FILE, found.path.name)]
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f'<table class="facts">{lines}</table>{checkup}{recipe_facts(library.recipe(found))}'
