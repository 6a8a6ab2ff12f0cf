"""Almost true captions: wrong in one word, and still in the world's wording."""

from random import Random

import pytest

from motion_transfer.nano.caption_changes import (
    Meaning,
    color_swaps,
    draw_wrong_captions,
    one_word_changes,
    read_meaning,
    scene_meaning,
)
from motion_transfer.nano.folder import build_tokenizer
from motion_transfer.video.synth.scene import sample_scene

SCENES = [sample_scene(f"changes/{i}", unseen_pairs=True, effects=0.0) for i in range(120)]
ARTICLES = {"a", "an"}


def _telling(caption: str) -> list[str]:
    return ["a" if word in ARTICLES else word for word in caption.replace(",", " ,").split()]


def test_captions_mean_what_the_scene_shows() -> None:
    for scene in SCENES:
        said, shown = read_meaning(scene.caption), scene_meaning(scene)
        assert said.looks == shown.looks, scene.caption
        assert said.background in (None, shown.background), scene.caption


def test_wording_makes_no_difference() -> None:
    assert read_meaning("a video of the red car and one blue fish in a gray dotted scene") == read_meaning(
        "blue fish and a red car, gray dotted background"
    )
    assert read_meaning("two red fish") == Meaning(looks=(("fish", "red"), ("fish", "red")), background=None)


def test_changes_differ_in_one_word_of_the_vocabulary() -> None:
    tokenizer = build_tokenizer()
    for scene in SCENES[:40]:
        changes = one_word_changes(scene.caption)
        assert len({change.caption for change in changes}) == len(changes) >= 12 + 17
        for change in changes:
            pairs = list(zip(_telling(scene.caption), _telling(change.caption), strict=True))
            assert sum(a != b for a, b in pairs) == 1
            assert tokenizer.unk_token_id not in tokenizer(change.caption).input_ids
            assert read_meaning(change.caption) != read_meaning(scene.caption)


@pytest.mark.parametrize(
    ("caption", "kind", "wrong"),
    [
        ("a red car on a blue background", "color", "an orange car on a blue background"),
        ("two red cars", "shape", "two red fish"),
        ("three red fish", "shape", "three red people"),
        ("the red fish, pink leafy background", "background", "the red fish, pink wavy background"),
        ("an orange car in an orange scene", "background", "an orange car in a white scene"),
    ],
)
def test_worked_changes(caption: str, kind: str, wrong: str) -> None:
    assert (kind, wrong) in [(change.kind, change.caption) for change in one_word_changes(caption)]


def test_swaps_of_colors() -> None:
    assert color_swaps("a red car and an orange star") == ["an orange car and a red star"]
    assert color_swaps("two red cars on a blue background") == ["two blue cars on a red background"]
    assert color_swaps("a red car and a blue car") == [] == color_swaps("a red car")


def test_drawn_captions_are_wrong_and_repeatable() -> None:
    for scene in SCENES:
        wrong = draw_wrong_captions(Random(1), scene.caption, 6)
        assert wrong == draw_wrong_captions(Random(1), scene.caption, 6) and len(wrong) == 6
        true = read_meaning(scene.caption)
        for caption in wrong:
            assert read_meaning(caption) != true, (scene.caption, caption)
