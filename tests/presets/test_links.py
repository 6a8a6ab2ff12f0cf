"""Share links: short, lasting, and refused in one sentence once anything was changed."""

from __future__ import annotations

import json
import random
import zlib
from typing import Any

import pytest

from motion_transfer.presets import (
    Preset,
    preset_from_link,
    preset_from_text,
    preset_link,
    preset_to_text,
)
from motion_transfer.types import RenderSpec, TuneSpec
from tests.presets.samples import (
    GOLDEN,
    GOLDEN_TEXT,
    HASH,
    SPACE,
    URL_LETTERS,
    link_of,
    lora_values,
    mutated,
    preset_values,
    refusal,
    sealed,
)


def test_a_usual_link_is_short(typical: Preset) -> None:
    assert len(preset_link(typical, SPACE)) < 1000


def test_links_of_today_open_for_ever() -> None:
    assert preset_to_text(GOLDEN) == GOLDEN_TEXT
    assert preset_from_text(GOLDEN_TEXT) == GOLDEN


def test_equal_presets_have_equal_links() -> None:
    made = [
        Preset.of(name="x", base="nano", render=RenderSpec(guidance=7, strength=0.0)),
        Preset.of(name="x", base="nano", render=RenderSpec(strength=-0.0, guidance=7.0, steps=20)),
    ]
    assert made[0] == made[1]
    assert preset_to_text(made[0]) == preset_to_text(made[1])


@pytest.mark.parametrize(
    ("address", "start"),
    [
        ("http://127.0.0.1:7860/", "http://127.0.0.1:7860/?preset="),
        ("http://127.0.0.1:7860", "http://127.0.0.1:7860?preset="),
        (SPACE, f"{SPACE}?preset="),
        (f"{SPACE}?__theme=dark&a=%20b+c&a=#top", f"{SPACE}?__theme=dark&a=%20b+c&a=&preset="),
        (f"{SPACE}?preset=old&x=1&pre%73et=older&preset#preset=no", f"{SPACE}?x=1&preset="),
        ("HTTPS://[::1]:80/a;b/é?", "https://[::1]:80/a;b/é?preset="),
    ],
)
def test_a_link_keeps_the_rest_of_an_address(address: str, start: str) -> None:
    link = preset_link(GOLDEN, address)
    assert link == start + GOLDEN_TEXT
    assert preset_from_link(f" {link}#fragment\n") == GOLDEN
    assert preset_from_link(GOLDEN_TEXT) == GOLDEN
    assert preset_link(GOLDEN, link) == link


@pytest.mark.parametrize(
    "address",
    ["", "nano", "ftp://a.b/", "javascript:alert(1)", "file:///etc/passwd", "http://", "//a.b/c", "http://[::1",
     "http://a b/", "http://a.b/\nx", "https:///path", "http://:80/", "http://a.b/\ud83d\x00"],
)  # fmt: skip
def test_what_is_no_web_address_gets_no_link(address: str) -> None:
    refusal(lambda: preset_link(GOLDEN, address), "http://", "address")
    if "://" in address:
        refusal(lambda: preset_from_link(f"{address}?preset={GOLDEN_TEXT}"))


def test_a_link_has_one_preset_and_is_short() -> None:
    refusal(lambda: preset_from_link(SPACE), "one preset", "has 0")
    refusal(lambda: preset_from_link(f"{SPACE}?preset={GOLDEN_TEXT}&preset={GOLDEN_TEXT}"), "has 2")
    refusal(lambda: preset_from_link(f"{SPACE}?preset="), "made of letters")
    refusal(lambda: preset_from_link(f"ftp://a.b/?preset={GOLDEN_TEXT}"), "http")
    refusal(lambda: preset_link(GOLDEN, f"{SPACE}?a={'b' * 2000}"), "2000")
    refusal(lambda: preset_from_text("A" * 2001), "2000", "2001")
    refusal(lambda: preset_from_link(f"{SPACE}?preset={'A' * 10**6}"), "2000")


def test_a_thousand_changed_links_are_refused(presets: list[Preset]) -> None:
    rng = random.Random(1)
    for preset in presets:
        text = mutated(rng, preset_to_text(preset))
        refusal(lambda text=text: preset_from_text(text))


@pytest.mark.parametrize("preset", [GOLDEN, Preset.of(name="x", base="nano", render=RenderSpec())])
def test_every_single_letter_counts(preset: Preset) -> None:
    text = preset_to_text(preset)
    for at, letter in enumerate(text):
        other = URL_LETTERS[(URL_LETTERS.index(letter) + 1) % 64]
        for changed in (text[:at] + other + text[at + 1 :], text[:at]):
            refusal(lambda changed=changed: preset_from_text(changed))


def test_links_made_by_hand_open_when_they_are_right() -> None:
    assert preset_from_text(link_of(preset_values())) == Preset.of(name="x", base="nano", render=RenderSpec())
    assert preset_from_text(link_of(preset_values(tune={}))).tune_spec() == TuneSpec()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (preset_values(extra=1), ("the preset", "'extra' is unknown")),
        (preset_values(render={"guidence": 5.5}), ("render settings", "'guidence' is unknown")),
        (preset_values(tune={"self": 1}), ("tune settings", "'self' is unknown")),
        (preset_values(loras=[lora_values(path="/a")]), ("a LoRA", "'path' is unknown")),
        (preset_values(render={"steps": 201}), ("steps of the render settings", "from 1 to 200", "is 201")),
        (preset_values(render={"steps": 10**400}), ("steps", "from 1 to 200")),
        (preset_values(render={"guidance": 10**400}), ("guidance", "a number from 1.0 to 20.0")),
        (preset_values(render={"steps": "30"}), ("a whole number", "'30'")),
        (preset_values(render={"steps": 30.0}), ("a whole number", "30.0")),
        (preset_values(render={"steps": True}), ("a whole number", "True")),
        (preset_values(render={"guidance": True}), ("a number", "True")),
        (preset_values(render={"prompt": None}), ("prompt", "text", "None")),
        (preset_values(render={"prompt": "x" * 2001}), ("prompt", "2000")),
        (preset_values(render={"prompt": "a\0b"}), ("prompt", "plain")),
        ('{"base":"nano","format":1,"name":"x","render":{"prompt":"\\ud83d"}}', ("prompt", "plain")),
        ('{"base":"nano","format":1,"name":"x","\\ud83d":1}', ("the preset", "'\\ud83d' is unknown")),
        (preset_values(tune={"head_rule": "mine"}), ("head rule", "code, paper, balanced", "'mine'")),
        (preset_values(tune={"decoupled": 1}), ("decoupled", "true or false")),
        (preset_values(tune=[]), ("tune of the preset", "settings by name")),
        (preset_values(render=None), ("render of the preset", "settings by name")),
        (preset_values(loras=[lora_values()] * 9), ("loras", "at most 4")),
        (preset_values(loras={"a": 1}), ("loras", "list")),
        (preset_values(loras=["jump"]), ("loras", "list", "'jump'")),
        (preset_values(loras=[lora_values(strength=2.1)]), ("strength of a LoRA", "from -2.0 to 2.0")),
        (preset_values(loras=[lora_values(sha256=HASH.upper())]), ("sha256", "lower case")),
        (preset_values(loras=[{"name": "jump", "sha256": HASH}]), ("strength of a LoRA", "missing")),
        (preset_values(name=""), ("name of the preset", "1 to 80")),
        (preset_values(name="two\nlines"), ("name of the preset", "a line")),
        ({"format": 1, "name": "x"}, ("base of the preset", "missing")),
        (preset_values(format=True), ("format", "whole number", "True")),
        (preset_values(format=1.0), ("format", "whole number", "1.0")),
        (preset_values(format=-1), ("format", "in use", "-1")),
        ({"name": "x", "base": "nano"}, ("format", "None")),
        (preset_values(format=2, all="new"), ("newer version", "format 2", "update")),
        ([], ("a JSON object", "[]")),
        ("null", ("a JSON object", "None")),
        ('{"base":"nano","format":1,"name":"x","name":"y"}', ("'name' is there twice",)),
        ('{"base":"nano","format":1,"name":"x","render":{"seed":1,"seed":1}}', ("'seed' is there twice",)),
        ('{"base":"nano","format":1,"name":"x","render":{"guidance":NaN}}', ("finite", "NaN")),
        ('{"base":"nano","format":1,"name":"x","render":{"guidance":-Infinity}}', ("finite", "-Infinity")),
        ('{"base":"nano","format":1,"name":"x","render":{"guidance":1e999}}', ("guidance", "inf")),
        ('{"base":"nano","format":1,"name":"x","render":{"seed":' + "9" * 5000 + "}}", ("short numbers",)),
        ("[" * 60_000, ("few levels",)),
        ("[" * 900 + "]" * 900, ("a JSON object",)),
        ('{"a":' * 60 + "1" + "}" * 60, ("format",)),
        ("{not json", ("must be JSON", "line 1")),
        ("", ("must be JSON",)),
        (b'{"name":"\xff"}', ("UTF-8",)),
        ("\0" * 70_000, ("64 KB", "unfolds")),
    ],
)  # fmt: skip
def test_links_made_by_hand_are_checked_like_all(content: Any, words: tuple[str, ...]) -> None:
    text = link_of(content, level=9 if isinstance(content, str | bytes) and len(content) > 2000 else None)
    assert len(text) <= 2000
    refusal(lambda: preset_from_text(text), *words)


def test_a_bomb_is_not_unfolded() -> None:
    text = link_of(b" " * 1_300_000, level=9)
    assert 1500 < len(text) <= 2000
    refusal(lambda: preset_from_text(text), "64 KB", "unfolds to more")


@pytest.mark.parametrize(
    "text",
    [
        link_of('{"format":1,"base":"nano","name":"x"}'),
        link_of('{"base":"nano","format":1,"name":"x" }'),
        link_of('\ufeff{"base":"nano","format":1,"name":"x"}'),
        link_of('{"base":"nano","format":1,"name":"\\u0078"}'),
        link_of(preset_values(description="")),
        link_of(preset_values(tune=None)),
        link_of(preset_values(loras=[lora_values(hub=None)])),
        link_of(preset_values(render={"steps": 20})),
        link_of(preset_values(render={"guidance": 7})),
        link_of('{"base":"nano","format":1,"name":"x","render":{"guidance":7.00}}'),
        link_of('{"base":"nano","format":1,"name":"x","render":{"strength":-0.0}}'),
        link_of(preset_values(name="a name a name a name a name"), level=9),
        link_of(preset_values(), level=0),
    ],
)
def test_other_spellings_of_a_preset_are_refused(text: str) -> None:
    refusal(lambda: preset_from_text(text), "spells its preset differently")


def test_remains_and_other_versions_of_links_are_refused() -> None:
    whole = zlib.compress(json.dumps(preset_values()).encode())
    for payload in (whole + b"x", whole[:-1], whole + whole, b"", b"x", whole[2:]):
        refusal(lambda payload=payload: preset_from_text(sealed(payload)), "cut or changed")
    refusal(lambda: preset_from_text(link_of(preset_values(), version=2)), "newer version")
    refusal(lambda: preset_from_text(link_of(preset_values(), version=0)), "cut or changed")
