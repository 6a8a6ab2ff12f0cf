"""Share links: what is set on the Mix tab as a link, and what a link that was opened asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

import segno

from motion_transfer.errors import BadSpec, HubFailed
from motion_transfer.hub import fetch_into
from motion_transfer.library_files import MAX_NAME_LETTERS, Motion
from motion_transfer.pipeline import Studio
from motion_transfer.presets import BadPreset, Preset, PresetLora, preset_from_text, preset_link
from motion_transfer.recipes import UsedLora, read_recipe
from motion_transfer.types import RenderSpec, TuneSpec
from motion_transfer.ui import words
from motion_transfer.ui.accounts import ON_SPACE
from motion_transfer.ui.desk import Place
from motion_transfer.ui.knobs import setting_label, spec_from
from motion_transfer.ui.render import MOST_MOTIONS, RANDOM_SEED, MixOrder, mixed, order_of, prompts_of

SPACE_PAGES = "https://huggingface.co/spaces"


@dataclass(frozen=True, kw_only=True)
class Shared:
    """A link, and its QR code as HTML."""

    link: str
    code: str


@dataclass(frozen=True, kw_only=True)
class Received:
    """What an opened link asks for: as HTML to read, and as an order for the Mix tab.

    `fetchable` are motions that are not in the library, but on the Hub; `tune` is what the Learn tab is to be set to,
    if the preset says it.
    """

    facts: str
    order: MixOrder
    fetchable: tuple[PresetLora, ...] = ()
    tune: TuneSpec | None = None


def page_address(headers: Mapping[str, str]) -> str:
    """The address under which others reach this page.

    On a Space that is the Space's own page, for its frame inside has another one; else what the browser shows.

    Args:
        headers: of the browser's request.
    """
    if space := os.environ.get("SPACE_ID"):
        return f"{SPACE_PAGES}/{space}"
    referer = urlsplit(headers.get("referer", ""))
    if referer.scheme and referer.netloc:
        return referer._replace(query="", fragment="").geturl()
    return f"http://{headers.get('host', 'localhost')}/"


def preset_of_order(
    place: Place, studio: Studio, order: MixOrder, *, name: str = "", description: str = "",
    tune: TuneSpec | None = None,
) -> Preset:  # fmt: skip
    """What the Mix tab is set to, and how motions are to be learned, if that is said, as a preset.

    Raises:
        BadSpec: there is no prompt, no motion is chosen, the seed is left to chance, or a setting is out of range.
        BadLora: the motion is gone.
        BadPreset: it holds letters that can't be shared.
    """
    prompt, *others = prompts_of(order)
    if others:
        raise BadSpec(words.ONE_PROMPT.format(asked=1 + len(others)))
    if order.seed == RANDOM_SEED:
        raise BadSpec(words.SEED_TO_SHARE)
    spec = spec_from(RenderSpec, {**order.knobs, "prompt": prompt, "seed": order.seed})
    library = place.workspace.library(place.owner)
    motions = [(library.motion(key), strength) for key, strength in mixed(order)]
    loras = [PresetLora(name=motion.name, sha256=library.sha256(motion), strength=strength, hub=motion.hub or None)
             for motion, strength in motions]  # fmt: skip
    name = " ".join((name or prompt).split())[:MAX_NAME_LETTERS]
    return Preset.of(name=name, base=studio.spec.name, render=spec, loras=loras, tune=tune,
                     description=description.strip())  # fmt: skip


def share(place: Place, studio: Studio, order: MixOrder, address: str) -> Shared:
    """The link to what the Mix tab is set to.

    Raises:
        BadSpec: there is no prompt, no motion is chosen, the seed is left to chance, or a setting is out of range.
        BadLora: the motion is gone.
        BadPreset: it is too long for a link, or holds letters that can't be shared.
    """
    link = preset_link(preset_of_order(place, studio, order), address)
    code = segno.make(link, error="l", micro=False).svg_inline(scale=3, border=4, light="white")
    return Shared(link=link, code=f'<div class="code" role="img" aria-label="{words.CODE}">{code}</div>')


def receive(place: Place, studio: Studio, text: str) -> Received:
    """What a link asks for; nothing is changed by looking.

    Args:
        place: whose library is searched for the motion, by its SHA-256.
        studio: with the base of this page.
        text: of the link's preset.

    Raises:
        BadPreset: it can't be used here.
    """
    return received(place, studio, preset_from_text(text))


def received(place: Place, studio: Studio, preset: Preset) -> Received:
    """What a preset asks for; see `receive`."""
    if preset.base != studio.spec.name:
        raise BadPreset(words.OTHER_BASE.format(asked=preset.base, here=studio.spec.name))
    order, found = _order(place, preset.render_spec(), preset.loras)
    missing = [lora for lora, motion in zip(preset.loras, found, strict=True) if motion is None and lora.hub]
    facts = _facts(preset, order, found)
    return Received(facts=facts, order=order, fetchable=tuple(missing), tune=preset.tune_spec())


def fetch_missing(place: Place, studio: Studio, text: str, token: str | None = None) -> Received:
    """Fetches the motions that a link names and that are missing here from the Hub; returns the link as it is then.

    Args:
        place: whose library.
        studio: with the base.
        text: the link, or its sealed part.
        token: see `fetch_motions`.

    Raises:
        BadPreset: it can't be used here.
        BadSpec, BadLora, HubFailed: see `fetch_motions`.
    """
    fetch_motions(place, receive(place, studio, text).fetchable, token)
    return receive(place, studio, text)


def fetch_motions(place: Place, loras: Sequence[PresetLora], token: str | None = None) -> None:
    """Fetches motions from the Hub into the library.

    What visitors ask for is fetched without this machine's account, which may see more than they do.

    Args:
        place: whose library.
        loras: with the places on the Hub where they are published.
        token: of the visitor's own account, if they logged in.

    Raises:
        BadSpec: the visitor keeps too much already.
        BadLora: the Hub has another file, or none.
        HubFailed: the Hub does not give it.
    """
    library = place.workspace.library(place.owner)
    for lora in loras:
        place.workspace.check_room(place.owner, 0)
        try:
            fetch_into(library, lora, token=token or (False if place.workspace.isolated else None))
        except HubFailed as error:
            if token or not ON_SPACE:
                raise
            raise HubFailed(f"{error} {words.LOGGED_OUT}") from error


def _order(
    place: Place, spec: RenderSpec, loras: Sequence[PresetLora | UsedLora]
) -> tuple[MixOrder, list[Motion | None]]:
    """What the Mix tab is to be set to, and which motions of the library the LoRAs are."""
    if len(loras) > MOST_MOTIONS:
        raise BadPreset(words.TOO_MANY_MOTIONS.format(most=MOST_MOTIONS, asked=len(loras)))
    library = place.workspace.library(place.owner)
    found = [library.of_sha256(lora.sha256) for lora in loras]
    motions = [(motion.key if motion else None, lora.strength) for motion, lora in zip(found, loras, strict=True)]
    return order_of(spec, motions), found


def restore(place: Place, studio: Studio, path: Path) -> tuple[MixOrder, str]:
    """What a render's file was made with, as an order for the Mix tab, and what is to be said of it.

    Raises:
        BadClip: it is no render of this program.
        BadPreset: it was made on another base, or with too many motions.
    """
    recipe = read_recipe(path)
    if recipe.base != studio.spec.name:
        raise BadPreset(words.RENDERED_ELSEWHERE.format(asked=recipe.base, here=studio.spec.name))
    order, found = _order(place, recipe.render, recipe.loras)
    missing = [lora.name for lora, motion in zip(recipe.loras, found, strict=True) if motion is None]
    return order, words.RESTORED_WITHOUT.format(name=missing[0]) if missing else words.RESTORED


def _motion_fact(lora: PresetLora, found: Motion | None, strength: float) -> str:
    if found is not None:
        return words.MOTION_FOUND.format(name=found.name, strength=strength)
    get = words.GET_FROM_HUB.format(hub=lora.hub) if lora.hub else words.GET_FILE
    return words.MOTION_MISSING.format(name=lora.name, strength=strength, sha256=lora.sha256[:12], get=get)


def _learning_fact(tune: TuneSpec) -> str:
    """How a motion is to be learned, where that is not as usual."""
    plain = asdict(TuneSpec())
    changed = [f"{setting_label(name)}: {value}" for name, value in asdict(tune).items() if value != plain[name]]
    return ", ".join(changed) or words.AS_USUAL


def _facts(preset: Preset, order: MixOrder, found: list[Motion | None]) -> str:
    """A table of what would be set; its words come from a link, which may be anybody's."""
    rows = [(words.PROMPT_ASKED, order.prompt or "–"), (words.SEED, str(order.seed))]
    rows += [(words.MOTION, _motion_fact(lora, one, strength))
             for lora, one, strength in zip(preset.loras, found, order.strengths, strict=False)]  # fmt: skip
    if not preset.loras:
        rows.append((words.MOTION, words.NO_MOTION))
    plain = asdict(RenderSpec())
    rows += [(setting_label(name), str(value)) for name, value in order.knobs.items() if value != plain[name]]
    if (tune := preset.tune_spec()) is not None:
        rows.append((words.LEARNING, _learning_fact(tune)))
    rows += [(words.DESCRIPTION, preset.description)] if preset.description else []
    rows += [(words.CREDITS, preset.credits)] if preset.credits else []
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f'<table class="facts">{lines}</table>'
