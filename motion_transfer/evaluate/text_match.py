"""How well a clip fits a text, and how steady it is, as nano-clip or CLIP sees it.

In the manner of CLIP's scores in VBench-like protocols: cosines of unit vectors, so figures of other models can't be
compared with these.
"""

from __future__ import annotations

from collections.abc import Sequence

from motion_transfer.errors import BadSpec
from motion_transfer.evaluate.embedders import Embedder
from motion_transfer.types import Clip


def text_match(clip: Clip, prompt: str, model: Embedder) -> float:
    """Mean over frames of the cosine between the frame and the prompt, -1..1."""
    return float((model.embed_frames(clip.frames_THWC) @ model.embed_texts([prompt])[0]).mean())


def frame_consistency(clip: Clip, model: Embedder) -> float | None:
    """Mean cosine of consecutive frames, -1..1; None for a clip of one frame. A frozen clip scores 1."""
    if len(clip.frames_THWC) < 2:
        return None
    frames_TD = model.embed_frames(clip.frames_THWC)
    return float((frames_TD[1:] * frames_TD[:-1]).sum(1).mean())


def text_rank(clip: Clip, prompt: str, distractors: Sequence[str], model: Embedder) -> int:
    """The prompt's place among the distractors by text match: 1 where it fits best; ties count against it.

    Raises:
        BadSpec: there is no distractor, or the prompt is among them.
    """
    if not distractors or prompt in distractors:
        raise BadSpec("distractors are expected that differ from the prompt, but there are none or one is the prompt.")
    match_B = (model.embed_frames(clip.frames_THWC) @ model.embed_texts([prompt, *distractors]).T).mean(0)
    return 1 + int((match_B[1:] >= match_B[0]).sum())
