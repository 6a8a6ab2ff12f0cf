"""Presets as links: a whole preset in the `preset` parameter of a web address.

The text is URL-safe base64 without padding of a version byte, six bytes of SHA-256 over what follows, and the
preset's canonical JSON compressed by zlib. One preset has one text: whatever would be written differently is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import zlib
from typing import Any
from urllib.parse import SplitResult, unquote_plus, urlsplit

from motion_transfer.presets.files import MAX_BYTES, parse, preset_of
from motion_transfer.presets.values import FORMAT, BadPreset, Preset, shown

MAX_LINK_LETTERS = 2000
PARAMETER = "preset"

_VERSION = 1
_CHECKSUM_BYTES = 6
_ALPHABET = re.compile(r"[A-Za-z0-9_-]+")
_UNPRINTED = re.compile(r"[\x00-\x20\x7f]")


def _damaged() -> BadPreset:
    return BadPreset("a whole preset link is expected, but this one was cut or changed on its way; copy it again.")


def _too_long(num_letters: int) -> BadPreset:
    return BadPreset(f"a preset link has at most {MAX_LINK_LETTERS} characters, but this preset needs {num_letters}; "
                     "shorten its texts or share it as a file.")  # fmt: skip


def _checksum(payload: bytes) -> bytes:
    return hashlib.sha256(payload).digest()[:_CHECKSUM_BYTES]


def _canonical(values: dict[str, Any]) -> str:
    """The one text of some values.

    Builds of zlib find different repetitions, so equal presets would get unequal links; Huffman coding alone comes
    out the same in all of them.
    """
    plain = json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    press = zlib.compressobj(level=9, strategy=zlib.Z_HUFFMAN_ONLY)
    payload = press.compress(plain) + press.flush()
    return base64.urlsafe_b64encode(bytes([_VERSION]) + _checksum(payload) + payload).decode().rstrip("=")


def _inflated(payload: bytes) -> bytes:
    box = zlib.decompressobj()
    try:
        plain = box.decompress(payload, MAX_BYTES + 1)
    except zlib.error as error:
        raise _damaged() from error
    if len(plain) > MAX_BYTES:
        raise BadPreset(
            f"a preset must be at most {MAX_BYTES // 1024} KB, but this link unfolds to more; don't use it."
        )
    if not box.eof or box.unused_data:
        raise _damaged()
    return plain


def _unpacked(text: str) -> bytes:
    """The JSON in a text, once its letters, version and checksum are right."""
    if len(text) > MAX_LINK_LETTERS:
        raise BadPreset(f"a preset link has at most {MAX_LINK_LETTERS} characters, but this one has {len(text)}; "
                        "copy the link alone.")  # fmt: skip
    if not _ALPHABET.fullmatch(text):
        raise BadPreset(f"a preset link is made of letters, digits, - and _, but this is {shown(text)}; copy it again.")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise _damaged() from error
    version, checksum, payload = data[0], data[1 : 1 + _CHECKSUM_BYTES], data[1 + _CHECKSUM_BYTES :]
    if version > _VERSION:
        raise BadPreset("a preset link of this version is expected, but this one was made by a newer version or "
                        "changed on its way; update the program or copy the link again.")  # fmt: skip
    if version < _VERSION or checksum != _checksum(payload):
        raise _damaged()
    return _inflated(payload)


def preset_to_text(preset: Preset) -> str:
    """A preset as the text that its link carries.

    Raises:
        BadPreset: it is too long for a link.
    """
    text = _canonical(preset.as_values())
    if len(text) > MAX_LINK_LETTERS:
        raise _too_long(len(text))
    return text


def _is_canonical(values: dict[str, Any], text: str) -> bool:
    try:
        return _canonical(values) == text
    except (UnicodeEncodeError, RecursionError):
        return False


def preset_from_text(text: str) -> Preset:
    """The preset that a link's text stands for.

    Raises:
        BadPreset: it was changed on its way, written in another manner, or what it holds is no preset of this version.
    """
    values = parse(_unpacked(text))
    is_current, is_canonical = values.get("format") == FORMAT, _is_canonical(values, text)
    preset = preset_of(values)
    # A text of an older format can't come out the same again, so of it only the writing is compared.
    if not is_canonical or (is_current and _canonical(preset.as_values()) != text):
        raise BadPreset("a preset link as this program writes it is expected, but this one spells its preset "
                        "differently; have the link made anew.")  # fmt: skip
    return preset


def _split(address: str) -> SplitResult:
    """The parts of a web address."""
    expected = f"an address that begins with http:// or https:// is expected, but got {shown(address)}; check it."
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise BadPreset(expected) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or _UNPRINTED.search(address):
        raise BadPreset(expected)
    return parts


def _is_preset(pair: str) -> bool:
    return unquote_plus(pair.partition("=")[0]) == PARAMETER


def preset_link(preset: Preset, address: str) -> str:
    """A link that opens a preset on the program's page.

    Args:
        preset: what it carries.
        address: the page; its other parameters are kept as they are, an older preset and the fragment are not.

    Raises:
        BadPreset: the link would be too long, or the address is none.
    """
    parts = _split(address)
    kept = [pair for pair in parts.query.split("&") if pair and not _is_preset(pair)]
    query = "&".join([*kept, f"{PARAMETER}={preset_to_text(preset)}"])
    link = parts._replace(query=query, fragment="").geturl()
    if len(link) > MAX_LINK_LETTERS:
        raise _too_long(len(link))
    return link


def preset_from_link(link: str) -> Preset:
    """The preset in a whole link, or in its text alone; blanks around it don't matter.

    Raises:
        BadPreset: it is no web address with one preset, or its preset can't be used.
    """
    link = link.strip()
    if "://" not in link:
        return preset_from_text(link)
    found = [pair.partition("=")[2] for pair in _split(link).query.split("&") if _is_preset(pair)]
    if len(found) != 1:
        raise BadPreset(f"a link with one preset is expected, but this one has {len(found)}; copy it again.")
    return preset_from_text(found[0])
