"""Presets come back as they were from files and links; whatever was changed on the way is refused in one sentence."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import os
import random
import re
import string
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motion_transfer.errors import BadSpec, StorageFailed
from motion_transfer.presets import (
    BadPreset,
    Preset,
    PresetLora,
    RenderSettings,
    TuneSettings,
    files,
    load_preset,
    preset_from_link,
    preset_from_text,
    preset_link,
    preset_to_text,
    save_preset,
)
from motion_transfer.types import RenderSpec, TuneSpec

SETTINGS = {RenderSpec: RenderSettings, TuneSpec: TuneSettings}
KNOBS = [(spec, field) for spec in SETTINGS for field in dataclasses.fields(spec)]
HASH, COMMIT = "0123456789abcdef" * 4, "0123456789" * 4
SPACE = "https://huggingface.co/spaces/owner/name"
LETTERS = string.ascii_letters + "  .,:;\"'\\/&=?<>{}[]0123456789éßñøжщ中文動画العברית🤖👩‍🚀\u0301\u2028"
URL_LETTERS = string.ascii_letters + string.digits + "-_"

# What a preset of format 1 leaves out means these values for ever. Whoever changes a default of the program raises
# FORMAT and adds a migration that writes the old default out; only then may it change here.
DEFAULTS_OF_FORMAT_1: dict[type, dict[str, Any]] = {
    RenderSpec: {
        "prompt": "",
        "negative_prompt": "",
        "seed": 0,
        "steps": 20,
        "guidance": 5.0,
        "flow_shift": 3.0,
        "strength": 1.0,
        "early_guidance": 8.0,
        "motion_until": 0.6,
    },
    TuneSpec: {
        "caption": "",
        "seed": 0,
        "spatial_steps": 60,
        "temporal_steps": 300,
        "rank": 8,
        "spatial_rate": 2e-3,
        "temporal_rate": 1e-2,
        "spatial_decay": 0.1,
        "temporal_decay": 0.5,
        "spatial_batch": 4,
        "temporal_batch": 2,
        "head_rule": "balanced",
        "decoupled": True,
        "motion_loss": "frame",
        "motion_weight": 10.0,
        "sampling": "latent",
        "sparse_latents": 0,
        "noise_shift": 12.0,
        "caption_drop": 0.2,
        "inference_weight": 1.25,
    },
}
GOLDEN = Preset.of(
    name="Élan",
    base="nano",
    render=RenderSpec(prompt="a green star", steps=30, guidance=7),
    loras=[PresetLora(name="jump", sha256=HASH, strength=0.5, hub=f"owner/jump@{COMMIT}")],
)
GOLDEN_TEXT = (
    "AcrG6gBIs3gBBcFLboMwFAXQrUR3bKX-_0bZR9XBAx6kUTDINuoAsYCuqxvrOScGaoyMQmWDwLzVlTqyEnhvlRry54nnMSBj-ylcP17Hu"
    "j-k0sY6H2KSShvrfIhJKm2s8yEmqbSxzoeYIFBoZWS8jnWHQHuSdh4ZUmljnQ8x0TBOPEuljXU-xETDOPEslTbW-RATDePEs1TaWOdDTD"
    "SME88QaL1yWfoTWd7d9SVQaGVk_P2-qUCgcpm4Ip9Yju-JysjI4S4F9rqte0cG3ZbKXG6tU4VA67w3ZCOv6x843lF1"
)


def _refusal(action: Callable[[], Any], *words: str) -> str:
    """The one sentence with which an action is refused."""
    with pytest.raises(BadPreset) as caught:
        action()
    sentence = str(caught.value)
    assert sentence.endswith(".") and sentence.count(". ") == 0, sentence
    assert "\n" not in sentence and len(sentence) <= 300, sentence
    assert not re.search(r"pydantic|validation|type=|input_", sentence), sentence
    assert ";" in sentence, "says what to do"
    for word in words:
        assert word in sentence, sentence
    return sentence


def _link_of(content: Any, *, version: int = 1, level: int | None = None) -> str:
    """A text made by hand, with the right checksum, of some JSON or of anything."""
    if not isinstance(content, str | bytes):
        content = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    plain = content.encode("utf-8") if isinstance(content, str) else content
    if level is None:
        press = zlib.compressobj(level=9, strategy=zlib.Z_HUFFMAN_ONLY)
        payload = press.compress(plain) + press.flush()
    else:
        payload = zlib.compress(plain, level)
    return _sealed(payload, version)


def _sealed(payload: bytes, version: int = 1) -> str:
    data = bytes([version]) + hashlib.sha256(payload).digest()[:6] + payload
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _values(**changes: Any) -> dict[str, Any]:
    """The least that a preset's JSON holds, with changes."""
    return {"format": 1, "name": "x", "base": "nano", **changes}


def _lora(**changes: Any) -> dict[str, Any]:
    return {"name": "jump", "sha256": HASH, "strength": 0.5, **changes}


def _words(rng: random.Random, least: int, most: int, letters: str = LETTERS) -> str:
    return "".join(rng.choice(letters) for _ in range(rng.randint(least, most)))


def _line(rng: random.Random, least: int, most: int) -> str:
    text = _words(rng, least, most).replace("\u2028", "-")
    return text if text.strip() or not least else "x" * least


def _setting(rng: random.Random, field: dataclasses.Field) -> Any:
    """A valid value of one setting: its default, an end of its range, or anything between."""
    meta, default = field.metadata, field.default
    low, high = meta["low"], meta["high"]
    if rng.random() < 0.3:
        return default
    if meta["choices"]:
        return rng.choice(meta["choices"])
    if isinstance(default, bool):
        return rng.random() < 0.5
    if isinstance(default, str):
        return _words(rng, 0, 30, LETTERS + "\n\t")
    if isinstance(default, int):
        return rng.choice([low, high, rng.randint(low, high)])
    anywhere = rng.uniform(low, high)
    return rng.choice([low, high, anywhere, round(anywhere, 2) if low <= round(anywhere, 2) <= high else low])


def _spec(rng: random.Random, spec_class: type) -> Any:
    return spec_class(**{field.name: _setting(rng, field) for field in dataclasses.fields(spec_class)})


def _random_lora(rng: random.Random) -> PresetLora:
    hub = f"{_words(rng, 1, 8, string.ascii_letters)}/a-b.c_{rng.randrange(99)}@{rng.randbytes(20).hex()}"
    return PresetLora(
        name=_line(rng, 1, 12),
        sha256=rng.randbytes(32).hex(),
        strength=rng.choice([-2, 2, 0, -0.0, 1.0, round(rng.uniform(-2, 2), 2), rng.uniform(-2, 2)]),
        hub=rng.choice([None, None, hub]),
    )


def _random_preset(rng: random.Random) -> Preset:
    return Preset.of(
        name=_line(rng, 1, rng.choice([4, 80])),
        description=_words(rng, 0, 40, LETTERS + "\n"),
        base=rng.choice(["nano", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "a_b/c", "_x"]),
        render=_spec(rng, RenderSpec),
        tune=_spec(rng, TuneSpec) if rng.random() < 0.6 else None,
        loras=[_random_lora(rng) for _ in range(rng.randint(0, 8))],
        credits=_line(rng, 0, 20),
    )


@pytest.fixture(scope="module")
def presets() -> list[Preset]:
    rng = random.Random(0)
    return [_random_preset(rng) for _ in range(1000)]


@pytest.fixture(scope="module")
def typical() -> Preset:
    """Three LoRAs, a sentence of a prompt, and some settings of each kind changed."""
    loras = [
        PresetLora(name="dancing square", sha256=hashlib.sha256(b"1").hexdigest(), strength=0.8),
        PresetLora(name="pan left", sha256=hashlib.sha256(b"2").hexdigest(), strength=-0.35),
        PresetLora(name="zoom", sha256=hashlib.sha256(b"3").hexdigest(), strength=1, hub=f"some-one/zoom@{COMMIT}"),
    ]
    prompt = "a green star on a white background, walking through tall grass at sunset, in cinematic light"
    return Preset.of(
        name="A star takes a walk",
        description="The square's dance, given to a star.",
        base="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        render=RenderSpec(prompt=prompt, negative_prompt="blurry, low quality", seed=123456, steps=30),
        tune=TuneSpec(caption="a red square on a blue background", rank=16, temporal_steps=500, head_rule="paper"),
        loras=loras,
        credits="made by someone",
    )


# There and back


def test_what_goes_in_comes_out(typical: Preset) -> None:
    spec, tune = RenderSpec(prompt="a cat", guidance=7), TuneSpec(rank=4, decoupled=False)
    preset = Preset.of(name="cat", base="nano", render=spec, tune=tune)
    assert (preset.render_spec(), preset.tune_spec(), preset.loras) == (spec, tune, ())
    assert Preset.of(name="cat", base="nano", render=spec).tune_spec() is None
    assert [lora.strength for lora in typical.loras] == [0.8, -0.35, 1.0]


def test_a_file_holds_what_differs_and_comes_back(tmp_path: Path, typical: Preset) -> None:
    path = tmp_path / "deep" / "star.json"
    save_preset(typical, path)
    written = json.loads(path.read_text("utf-8"))
    assert written["render"].keys() == {"prompt", "negative_prompt", "seed", "steps"}
    assert written["tune"].keys() == {"caption", "rank", "temporal_steps", "head_rule"}
    assert (written["format"], written["loras"][0]["name"]) == (1, "dancing square")
    assert load_preset(path) == typical
    before = path.read_bytes()
    assert before.startswith(b'{\n  "format": 1,\n  "name"') and before.endswith(b"}\n")
    save_preset(load_preset(path), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_thousand_presets_come_back_from_links_and_files(
    presets: list[Preset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a disk takes its time, a thousand times
    links = set()
    for number, preset in enumerate(presets):
        link = preset_link(preset, "http://127.0.0.1:7860/")
        links.add(link)
        back = preset_from_link(link)
        assert back == preset
        assert (back.render_spec(), back.tune_spec()) == (preset.render_spec(), preset.tune_spec())
        path = tmp_path / f"{number}.json"
        save_preset(preset, path)
        assert load_preset(path) == preset
    assert len(links) == len(presets)


def test_every_number_of_loras_and_every_choice_was_tried(presets: list[Preset]) -> None:
    assert {len(preset.loras) for preset in presets} == set(range(9))
    for spec, field in KNOBS:
        sides = [preset.render if spec is RenderSpec else preset.tune for preset in presets]
        tried = {getattr(side, field.name) for side in sides if side is not None}
        assert tried >= set(field.metadata["choices"] or ())
        assert len(tried) > 1 and {field.metadata["low"], field.metadata["high"]} - {None} <= tried


def test_the_largest_preset_fits_a_file_but_no_link(tmp_path: Path) -> None:
    texts = dict.fromkeys(("prompt", "negative_prompt"), "🤖" * 2000)
    preset = Preset.of(
        name="🤖" * 80,
        base="nano",
        render=RenderSpec(**texts),
        tune=TuneSpec(caption="🤖" * 2000),
        loras=[PresetLora(name="🤖" * 80, sha256=f"{i:064}", strength=i / 7) for i in range(8)],
        description="\n" * 500,
        credits="🤖" * 200,
    )
    save_preset(preset, tmp_path / "large.json")
    assert load_preset(tmp_path / "large.json") == preset
    for make in (preset_to_text, lambda preset: preset_link(preset, SPACE)):
        # Emoji alone press well; letters of all kinds don't.
        noisy = dataclasses.replace(preset.render_spec(), prompt="".join(map(chr, range(0x4E00, 0x4E00 + 2000))))
        large = Preset.of(name="large", base="nano", render=noisy)
        _refusal(lambda make=make, large=large: make(large), "2000", "as a file")


# Links


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
    _refusal(lambda: preset_link(GOLDEN, address), "http://", "address")
    if "://" in address:
        _refusal(lambda: preset_from_link(f"{address}?preset={GOLDEN_TEXT}"))


def test_a_link_has_one_preset_and_is_short() -> None:
    _refusal(lambda: preset_from_link(SPACE), "one preset", "has 0")
    _refusal(lambda: preset_from_link(f"{SPACE}?preset={GOLDEN_TEXT}&preset={GOLDEN_TEXT}"), "has 2")
    _refusal(lambda: preset_from_link(f"{SPACE}?preset="), "made of letters")
    _refusal(lambda: preset_from_link(f"ftp://a.b/?preset={GOLDEN_TEXT}"), "http")
    _refusal(lambda: preset_link(GOLDEN, f"{SPACE}?a={'b' * 2000}"), "2000")
    _refusal(lambda: preset_from_text("A" * 2001), "2000", "2001")
    _refusal(lambda: preset_from_link(f"{SPACE}?preset={'A' * 10**6}"), "2000")


def _mutated(rng: random.Random, text: str) -> str:
    """The text with one small harm."""
    at = rng.randrange(len(text))
    other = rng.choice(URL_LETTERS.replace(text[at], ""))
    to = rng.choice([i for i, letter in enumerate(text) if letter != text[at]])
    swapped = list(text)
    swapped[at], swapped[to] = swapped[to], swapped[at]
    strange = rng.choice("+/=%. \n\t\0é中\ud83d~!&#")
    harms = [
        text[:at] + other + text[at + 1 :],
        text[:at] + text[at + 1 :],
        text[:at] + rng.choice(URL_LETTERS) + text[at:],
        text[:at],
        "".join(swapped),
        text[:at] + strange + text[at + 1 :],
        text[:at] + strange + text[at:],
        text + "=" * rng.randint(1, 3),
        text + text,
        text[at:] + text[:at],
        text[:-1] + rng.choice(URL_LETTERS.replace(text[-1], "")),
        text + rng.choice(URL_LETTERS),
        base64.b64encode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))).decode(),
        text.swapcase(),
    ]
    return rng.choice([harm for harm in harms if harm != text])


def test_a_thousand_changed_links_are_refused(presets: list[Preset]) -> None:
    rng = random.Random(1)
    for preset in presets:
        text = _mutated(rng, preset_to_text(preset))
        _refusal(lambda text=text: preset_from_text(text))


@pytest.mark.parametrize("preset", [GOLDEN, Preset.of(name="x", base="nano", render=RenderSpec())])
def test_every_single_letter_counts(preset: Preset) -> None:
    text = preset_to_text(preset)
    for at, letter in enumerate(text):
        other = URL_LETTERS[(URL_LETTERS.index(letter) + 1) % 64]
        for changed in (text[:at] + other + text[at + 1 :], text[:at]):
            _refusal(lambda changed=changed: preset_from_text(changed))


def test_links_made_by_hand_open_when_they_are_right() -> None:
    assert preset_from_text(_link_of(_values())) == Preset.of(name="x", base="nano", render=RenderSpec())
    assert preset_from_text(_link_of(_values(tune={}))).tune_spec() == TuneSpec()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (_values(extra=1), ("the preset", "'extra' is unknown")),
        (_values(render={"guidence": 5.5}), ("render settings", "'guidence' is unknown")),
        (_values(tune={"self": 1}), ("tune settings", "'self' is unknown")),
        (_values(loras=[_lora(path="/a")]), ("a LoRA", "'path' is unknown")),
        (_values(render={"steps": 201}), ("steps of the render settings", "from 1 to 200", "is 201")),
        (_values(render={"steps": 10**400}), ("steps", "from 1 to 200")),
        (_values(render={"guidance": 10**400}), ("guidance", "a number from 1.0 to 20.0")),
        (_values(render={"steps": "30"}), ("a whole number", "'30'")),
        (_values(render={"steps": 30.0}), ("a whole number", "30.0")),
        (_values(render={"steps": True}), ("a whole number", "True")),
        (_values(render={"guidance": True}), ("a number", "True")),
        (_values(render={"prompt": None}), ("prompt", "text", "None")),
        (_values(render={"prompt": "x" * 2001}), ("prompt", "2000")),
        (_values(render={"prompt": "a\0b"}), ("prompt", "plain")),
        ('{"base":"nano","format":1,"name":"x","render":{"prompt":"\\ud83d"}}', ("prompt", "plain")),
        ('{"base":"nano","format":1,"name":"x","\\ud83d":1}', ("the preset", "'\\ud83d' is unknown")),
        (_values(tune={"head_rule": "mine"}), ("head rule", "code, paper, balanced", "'mine'")),
        (_values(tune={"decoupled": 1}), ("decoupled", "true or false")),
        (_values(tune=[]), ("tune of the preset", "settings by name")),
        (_values(render=None), ("render of the preset", "settings by name")),
        (_values(loras=[_lora()] * 9), ("loras", "at most 8")),
        (_values(loras={"a": 1}), ("loras", "list")),
        (_values(loras=["jump"]), ("loras", "list", "'jump'")),
        (_values(loras=[_lora(strength=2.1)]), ("strength of a LoRA", "from -2.0 to 2.0")),
        (_values(loras=[_lora(sha256=HASH.upper())]), ("sha256", "lower case")),
        (_values(loras=[{"name": "jump", "sha256": HASH}]), ("strength of a LoRA", "missing")),
        (_values(name=""), ("name of the preset", "1 to 80")),
        (_values(name="two\nlines"), ("name of the preset", "a line")),
        ({"format": 1, "name": "x"}, ("base of the preset", "missing")),
        (_values(format=True), ("format", "whole number", "True")),
        (_values(format=1.0), ("format", "whole number", "1.0")),
        (_values(format=-1), ("format", "in use", "-1")),
        ({"name": "x", "base": "nano"}, ("format", "None")),
        (_values(format=2, all="new"), ("newer version", "format 2", "update")),
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
    text = _link_of(content, level=9 if isinstance(content, str | bytes) and len(content) > 2000 else None)
    assert len(text) <= 2000
    _refusal(lambda: preset_from_text(text), *words)


def test_a_bomb_is_not_unfolded() -> None:
    text = _link_of(b" " * 1_300_000, level=9)
    assert 1500 < len(text) <= 2000
    _refusal(lambda: preset_from_text(text), "64 KB", "unfolds to more")


@pytest.mark.parametrize(
    "text",
    [
        _link_of('{"format":1,"base":"nano","name":"x"}'),
        _link_of('{"base":"nano","format":1,"name":"x" }'),
        _link_of('\ufeff{"base":"nano","format":1,"name":"x"}'),
        _link_of('{"base":"nano","format":1,"name":"\\u0078"}'),
        _link_of(_values(description="")),
        _link_of(_values(tune=None)),
        _link_of(_values(loras=[_lora(hub=None)])),
        _link_of(_values(render={"steps": 20})),
        _link_of(_values(render={"guidance": 7})),
        _link_of('{"base":"nano","format":1,"name":"x","render":{"guidance":7.00}}'),
        _link_of('{"base":"nano","format":1,"name":"x","render":{"strength":-0.0}}'),
        _link_of(_values(name="a name a name a name a name"), level=9),
        _link_of(_values(), level=0),
    ],
)
def test_other_spellings_of_a_preset_are_refused(text: str) -> None:
    _refusal(lambda: preset_from_text(text), "spells its preset differently")


def test_remains_and_other_versions_of_links_are_refused() -> None:
    whole = zlib.compress(json.dumps(_values()).encode())
    for payload in (whole + b"x", whole[:-1], whole + whole, b"", b"x", whole[2:]):
        _refusal(lambda payload=payload: preset_from_text(_sealed(payload)), "cut or changed")
    _refusal(lambda: preset_from_text(_link_of(_values(), version=2)), "newer version")
    _refusal(lambda: preset_from_text(_link_of(_values(), version=0)), "cut or changed")


# What fits


@pytest.mark.parametrize(("spec", "field"), KNOBS, ids=lambda x: getattr(x, "name", None))
def test_every_setting_is_taken_over_from_its_spec(spec: type, field: dataclasses.Field) -> None:
    schema = SETTINGS[spec].model_json_schema()
    assert schema["additionalProperties"] is False
    assert list(schema["properties"]) == [knob.name for knob in dataclasses.fields(spec)]
    found, meta = schema["properties"][field.name], field.metadata
    assert found["default"] == field.default and type(found["default"]) is type(field.default)
    assert (found.get("minimum"), found.get("maximum")) == (meta["low"], meta["high"])
    assert found.get("enum") == (list(meta["choices"]) if meta["choices"] else None)
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
    assert found["type"] == kinds[type(field.default)]
    assert found.get("maxLength") == (2000 if field.default == "" else None)


@pytest.mark.parametrize(("spec", "field"), KNOBS, ids=lambda x: getattr(x, "name", None))
def test_settings_are_as_strict_as_their_spec(spec: type, field: dataclasses.Field) -> None:
    low, high, side = field.metadata["low"], field.metadata["high"], SETTINGS[spec]
    bad: list[Any] = [None, [], {}, b"x"]
    if low is not None:
        bad += [math.nextafter(low, -math.inf), high + 1, math.nan, math.inf, -math.inf, "1", True, 10**30]
    else:
        bad += [0, 1, 0.5]
    for value in bad:
        _refusal(lambda value=value: side(**{field.name: value}), field.name.replace("_", " "))


def test_defaults_are_those_that_shared_presets_count_on() -> None:
    for spec, defaults in DEFAULTS_OF_FORMAT_1.items():
        assert {name: getattr(spec(), name) for name in defaults} == defaults


@pytest.mark.parametrize(
    "base",
    ["", "/", "/etc/passwd", "./nano", "../nano", "..", ".", "a/..", "a/../b", "a..b", "~", "~/nano", "a/~b", "a\\b",
     "C:nano", "a/b/c", "a//b", "a/", "nano\n", "na no", "http://a.b", "-nano", "nanö", "a@b", "a" * 101, None, 3,
     b"nano"],
)  # fmt: skip
def test_a_base_is_never_a_path(base: Any) -> None:
    _refusal(lambda: Preset(name="x", base=base), "base of the preset", "never a path")
    if not isinstance(base, bytes):
        _refusal(lambda: preset_from_text(_link_of(_values(base=base))), "base of the preset")


@pytest.mark.parametrize("base", ["nano", "nano-fast", "Wan-AI/Wan2.1-T2V-14B-Diffusers", "a.b_c-d", "_/0", "a" * 100])
def test_names_of_bases_are_taken(base: str) -> None:
    assert Preset(name="x", base=base).base == base


@pytest.mark.parametrize(
    "hub",
    ["", "owner/name", f"name@{COMMIT}", f"owner/name@{COMMIT[:-1]}", f"owner/name@{COMMIT}0", f"o/n@{COMMIT[:-1]}G",
     "o/n@main", f"../name@{COMMIT}", f"a/b/c@{COMMIT}", f"https://hf.co/o/n@{COMMIT}", f"o/n@{COMMIT}\n",
     f"o/n@{'A' * 40}", f"{'o' * 60}/{'n' * 60}@{COMMIT}", 3],
)  # fmt: skip
def test_a_hub_address_is_pinned_to_a_commit(hub: Any) -> None:
    _refusal(lambda: PresetLora(**_lora(hub=hub)), "hub of a LoRA", "40 hex digits")


@pytest.mark.parametrize("name", ["", " ", "\n", "a\nb", "a\0", "x" * 81, "a\u202eb", "a\u2029b", "\ud83d", 3, None])
def test_names_are_one_readable_line(name: Any) -> None:
    _refusal(lambda: PresetLora(**_lora(name=name)), "name of a LoRA", "80")
    _refusal(lambda: Preset(name=name, base="nano"), "name of the preset", "80")


def test_texts_have_a_length() -> None:
    for name, most in (("description", 500), ("credits", 200)):
        assert getattr(Preset(name="x", base="nano", **{name: "x" * most}), name) == "x" * most
        _refusal(
            lambda name=name, most=most: Preset(name="x", base="nano", **{name: "x" * (most + 1)}), name, str(most)
        )


def test_presets_are_frozen_and_can_be_compared(typical: Preset) -> None:
    for change in (lambda: setattr(typical, "name", "y"), lambda: setattr(typical.render, "steps", 3)):
        with pytest.raises(ValueError, match="frozen"):
            change()
    assert len({typical, typical.model_copy(), GOLDEN}) == 2


def test_a_text_too_long_to_share_is_refused_in_time() -> None:
    long = RenderSpec(prompt="x" * 2001)
    _refusal(lambda: Preset.of(name="x", base="nano", render=long), "prompt of the render settings")
    with pytest.raises(BadSpec):
        RenderSpec(steps=0)


# Files


def _write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ("must be JSON", "line 1")),
        ('{\n"format": 1,\n}', ("must be JSON", "line 3")),
        (b"\xff\xfe{}", ("UTF-8",)),
        ("[" * 60_000, ("few levels",)),
        (json.dumps(_values(description="x" * 70_000)), ("64 KB", "'a.json'")),
        ('{"format": 1, "format": 1}', ("'format' is there twice",)),
        (json.dumps(_values(render={"steps": 0})), ("steps", "from 1 to 200", "is 0")),
    ],
)
def test_files_that_are_no_presets_are_refused(tmp_path: Path, content: str | bytes, words: tuple[str, ...]) -> None:
    path = _write(tmp_path / "a.json", content)
    _refusal(lambda: load_preset(path), *words)


def test_files_written_by_hand_may_say_more_than_they_must(tmp_path: Path) -> None:
    content = {**_values(render={"steps": 20, "guidance": 7}, tune=None, loras=[_lora(hub=None)]), "credits": ""}
    path = _write(tmp_path / "hand.json", "\ufeff" + json.dumps(content, indent=4))
    assert load_preset(path).render_spec() == RenderSpec(guidance=7.0)


def test_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    for name in ("none.json", "new\nline.json", "\0"):
        _refusal(lambda name=name: load_preset(tmp_path / name), "is none")
    _refusal(lambda: load_preset(tmp_path / ("x" * 300)), "can't be read")
    _refusal(lambda: load_preset(tmp_path), "is none")


def test_a_place_that_takes_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "a.json", tmp_path / "folder"):
        with pytest.raises(StorageFailed, match=r"can't be written .*\.$"):
            save_preset(GOLDEN, path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


# Formats of the past


def _from_format_0(values: dict[str, Any]) -> dict[str, Any]:
    """In format 0, let us say, the name was a title and the steps stood outside."""
    values["name"] = values.pop("title")
    values["render"] = {"steps": values.pop("steps")}
    return values


@pytest.fixture
def old_format(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setitem(files._MIGRATIONS, 0, _from_format_0)
    return {"format": 0, "title": "old", "base": "nano", "steps": 30}


def test_older_formats_are_brought_up_to_date(tmp_path: Path, old_format: dict[str, Any]) -> None:
    today = Preset.of(name="old", base="nano", render=RenderSpec(steps=30))
    path = _write(tmp_path / "old.json", json.dumps(old_format))
    assert load_preset(path) == today
    assert preset_from_text(_link_of(old_format)) == today
    _refusal(lambda: preset_from_text(_link_of(json.dumps(old_format))), "spells its preset differently")


def test_formats_are_brought_up_step_by_step(monkeypatch: pytest.MonkeyPatch, old_format: dict[str, Any]) -> None:
    monkeypatch.setitem(files._MIGRATIONS, -1, lambda values: {**values, "title": values["title"] + "er"})
    assert files.preset_of({**old_format, "format": -1}).name == "older"
    _refusal(lambda: files.preset_of({**old_format, "format": -2}), "format", "-2")


def test_what_only_claims_to_be_old_is_refused(old_format: dict[str, Any]) -> None:
    del old_format["title"]
    _refusal(lambda: files.preset_of(old_format), "format 0", "is none")
    _refusal(lambda: files.preset_of({"format": 0, "title": "old", "steps": 1}), "base of the preset", "missing")


def test_newer_formats_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "new.json", json.dumps({"format": 2, "anything": []}))
    _refusal(lambda: load_preset(path), "newer version", "format 2", "update the program")
