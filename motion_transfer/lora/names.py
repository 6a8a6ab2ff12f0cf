"""Names of Wan's modules: diffusers' own, those of the first release, and either with `_` for every dot."""

from __future__ import annotations

import re

# In a block, by the name of the first release.
_OF_A_BLOCK = {
    "self_attn.q": "attn1.to_q",
    "self_attn.k": "attn1.to_k",
    "self_attn.v": "attn1.to_v",
    "self_attn.o": "attn1.to_out.0",
    "cross_attn.q": "attn2.to_q",
    "cross_attn.k": "attn2.to_k",
    "cross_attn.v": "attn2.to_v",
    "cross_attn.o": "attn2.to_out.0",
    "cross_attn.k_img": "attn2.add_k_proj",
    "cross_attn.v_img": "attn2.add_v_proj",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
    "norm3": "norm2",  # norms have no low-rank changes, but whole ones
    "self_attn.norm_q": "attn1.norm_q",
    "self_attn.norm_k": "attn1.norm_k",
    "cross_attn.norm_q": "attn2.norm_q",
    "cross_attn.norm_k": "attn2.norm_k",
}
# Before and after the blocks.
_AROUND = {
    "patch_embedding": "patch_embedding",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "head.head": "proj_out",
}
_BLOCK = re.compile(r"blocks[._](\d+)[._](.+)")


def _spellings(table: dict[str, str]) -> dict[str, str]:
    """Diffusers' name by every spelling of a module."""
    pairs = [*table.items(), *((name, name) for name in table.values())]
    return {spelled: name for old, name in pairs for spelled in (old, old.replace(".", "_"))}


_KNOWN_OF_A_BLOCK, _KNOWN_AROUND = _spellings(_OF_A_BLOCK), _spellings(_AROUND)
_FIRST_OF_A_BLOCK = {name: old for old, name in _OF_A_BLOCK.items()}
_FIRST_AROUND = {name: old for old, name in _AROUND.items()}


def diffusers_name(name: str) -> str | None:
    """A module as diffusers calls it (`blocks.0.attn1.to_q`), from any spelling; None if Wan has no such module."""
    match = _BLOCK.fullmatch(name)
    if match is None:
        return _KNOWN_AROUND.get(name)
    known = _KNOWN_OF_A_BLOCK.get(match[2])
    return known and f"blocks.{int(match[1])}.{known}"


def first_name(path: str) -> str:
    """A module as Wan's first release and ComfyUI call it (`blocks.0.self_attn.q`), from diffusers' name."""
    match = _BLOCK.fullmatch(path)
    return f"blocks.{match[1]}.{_FIRST_OF_A_BLOCK[match[2]]}" if match else _FIRST_AROUND[path]
