"""The procedural world: its truth, its determinism, its words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from motion_transfer.video.synth.camera import CAMERA_KINDS
from motion_transfer.video.synth.draw import draw, draw_float, draw_masks
from motion_transfer.video.synth.figures import GAITS
from motion_transfer.video.synth.palette import COLORS, FIGURES, SHAPES, held_out, vocabulary
from motion_transfer.video.synth.paths import INTERACTIONS, PATH_KINDS
from motion_transfer.video.synth.scene import KINDS, NUM_FRAMES, Scene, sample_scene
from motion_transfer.video.synth.shapes import signed_distance

# Names of shapes too: as words of a caption they mean the thing.
MOTION_WORDS = {
    *CAMERA_KINDS, *PATH_KINDS, *GAITS, *INTERACTIONS, "camera", "moving", "moves", "rolling", "spinning", "jumping",
    "walking", "running", "left", "right", "up", "down", "fast", "slow", "dissolve", "wipe", "sweep", "zooming",
} - set(SHAPES)  # fmt: skip
CENTERED_SHAPES = ("circle", "square", "ring", "cross", "diamond", "star", "flower")

# name, kind, caption, motion, screen places in frames 0, 24 and 48 of each object
GOLDEN = (
    ("golden-single", "single", "there is a navy square, yellow hilly background", "bounce",
     (((0.276381, -0.063926), (0.173061, -0.225689), (0.024552, -0.330859)),)),
    ("golden-multiple", "multiple", "purple triangle and a brown square against a navy backdrop", "collide",
     (((0.349447, 0.160872), (0.128055, 0.044481), (0.349447, 0.160872)),
      ((-0.323473, -0.192896), (-0.102081, -0.076505), (-0.323473, -0.192896)))),
    ("golden-articulated", "articulated", "pink dog on a yellow background", "wave",
     (((0.183702, -0.092082), (-0.045267, -0.092082), (-0.274236, -0.092082)),)),
    ("golden-camera", "camera", "a green fish on an orange background", "tilt",
     (((-0.036921, -0.226466), (-0.036921, -0.08638), (-0.036921, 0.053706)),)),
)  # fmt: skip

# name, kind, then (frame of 0, 24, 48; row; column) to RGB in 0..255, drawn 32 pixels wide
GOLDEN_PIXELS = (
    (
        "golden-single",
        "single",
        {(0, 4, 4): (250, 230, 31), (2, 27, 20): (201, 185, 25), (1, 8, 21): (13, 20, 102), (1, 8, 24): (13, 20, 102)},
    ),
    (
        "golden-multiple",
        "multiple",
        {
            (0, 4, 4): (13, 20, 102),
            (2, 27, 20): (13, 20, 102),
            (1, 17, 20): (143, 41, 193),
            (1, 17, 22): (102, 34, 165),
        },
    ),
    (
        "golden-articulated",
        "articulated",
        {
            (0, 4, 4): (250, 230, 31),
            (2, 27, 20): (250, 230, 31),
            (1, 13, 14): (255, 148, 194),
            (1, 13, 19): (255, 148, 194),
        },
    ),
    (
        "golden-camera",
        "camera",
        {
            (0, 4, 4): (255, 133, 13),
            (2, 27, 20): (255, 133, 13),
            (1, 13, 14): (32, 178, 59),
            (1, 13, 8): (234, 134, 16),
        },
    ),
    (
        "golden-3",
        "single",
        {(0, 4, 4): (10, 10, 10), (2, 27, 20): (10, 10, 10), (1, 9, 14): (132, 132, 132), (1, 9, 20): (135, 135, 135)},
    ),
    (
        "golden-5",
        "multiple",
        {(0, 4, 4): (115, 66, 26), (2, 27, 20): (81, 51, 50), (1, 17, 23): (13, 21, 103), (1, 17, 10): (115, 66, 26)},
    ),
    (
        "golden-8",
        "articulated",
        {
            (0, 4, 4): (183, 183, 183),
            (2, 27, 20): (239, 239, 239),
            (1, 25, 23): (254, 132, 13),
            (1, 25, 24): (254, 132, 13),
        },
    ),
    (
        "golden-11",
        "camera",
        {(0, 4, 4): (13, 20, 102), (2, 27, 20): (13, 20, 102), (1, 7, 13): (27, 86, 255), (1, 7, 19): (22, 68, 208)},
    ),
)


def words(caption: str) -> list[str]:
    """The words of a caption; a comma is a word."""
    return caption.replace(",", " , ").split()


def scenes(count: int, **options: object) -> list[Scene]:
    """A few scenes of every kind."""
    return [sample_scene(f"test-{i}", kind=KINDS[i % len(KINDS)], **options) for i in range(count)]  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_a_name_is_a_scene(kind: str | None) -> None:
    assert sample_scene("same", kind=kind) == sample_scene("same", kind=kind)
    assert sample_scene("same", kind=kind) != sample_scene("other", kind=kind)


@pytest.mark.parametrize(("name", "kind", "caption", "motion", "places"), GOLDEN)
def test_golden_scenes(
    name: str, kind: str, caption: str, motion: str, places: tuple[tuple[tuple[float, float], ...], ...]
) -> None:
    """Shipped weights were trained on these very scenes: a change here makes them strangers to the world."""
    scene = sample_scene(name, kind=kind)
    assert (scene.caption, scene.motion, scene.num_frames) == (caption, motion, NUM_FRAMES)
    assert tuple(tuple(scene.track(i)[j] for j in (0, 24, 48)) for i in range(len(scene.things))) == places


@pytest.mark.parametrize(("name", "kind", "pixels"), GOLDEN_PIXELS)
def test_golden_pixels(name: str, kind: str, pixels: dict[tuple[int, int, int], tuple[int, int, int]]) -> None:
    drawn_CTHW = draw_float([sample_scene(name, kind=kind)], 32, frames=[0, 24, 48])[0] * 255
    for (frame, row, column), color in pixels.items():
        np.testing.assert_allclose(drawn_CTHW[:, frame, row, column], color, atol=1)


@pytest.mark.parametrize("kind", KINDS)
def test_other_content_moves_alike(kind: str) -> None:
    for i in range(6):
        one = sample_scene(f"motion-{i}", content="red things", kind=kind)
        two = sample_scene(f"motion-{i}", content="other things", kind=kind)
        assert one.camera == two.camera and one.motion == two.motion
        assert [one.track(k) for k in range(len(one.things))] == [two.track(k) for k in range(len(two.things))]
        assert [t.angles for t in one.things] == [t.angles for t in two.things]
        assert [t.scales for t in one.things] == [t.scales for t in two.things]
        assert (one.caption, one.background) != (two.caption, two.background)


def test_captions_say_nothing_of_motion() -> None:
    """Of single objects the caption is the same whatever they do; no word of it ever names a movement."""
    for i in range(20):
        captions = {sample_scene(f"m{j}", content=f"c{i}", kind="single").caption for j in range(4)}
        assert len(captions) == 1
    assert not MOTION_WORDS & set(vocabulary())


def test_captions_keep_to_the_vocabulary() -> None:
    known = set(vocabulary())
    assert len(known) == len(vocabulary())
    for scene in scenes(400, unseen_pairs=True, effects=0.2):
        assert set(words(scene.caption)) <= known
        assert not set(words(scene.caption)) & MOTION_WORDS


def test_captions_name_what_is_seen() -> None:
    for scene in scenes(60):
        said = scene.caption
        assert all(thing.color in said and thing.kind[:3] in said.replace("people", "person") for thing in scene.things)


def test_held_out_pairs_are_never_trained_on() -> None:
    pairs = {(kind, color) for kind in SHAPES + FIGURES for color in COLORS}
    kept_back = {pair for pair in pairs if held_out(*pair)}
    assert 0.05 < len(kept_back) / len(pairs) < 0.15
    assert {kind for kind, _ in kept_back} == set(SHAPES + FIGURES)

    def shown(**options: object) -> set[tuple[str, str]]:
        return {(thing.kind, thing.color) for scene in scenes(300, **options) for thing in scene.things}

    assert not shown() & kept_back
    assert len(shown(unseen_pairs=True) & kept_back) >= 8


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_drawn(kind: str) -> None:
    scene = sample_scene("drawable", kind=kind)
    frames = draw([scene], 24, frames=[0, 20, 48])
    assert frames.shape == (1, 3, 24, 24, 3) and frames.dtype == torch.uint8
    assert not torch.equal(frames[0, 0], frames[0, 2])
    assert draw_masks(scene, 24).shape == (len(scene.things), NUM_FRAMES, 24, 24)


@pytest.mark.parametrize("pattern", ["plain", "striped", "checkered", "dotted", "wavy", "hilly", "leafy", "cloudy"])
def test_every_background_can_be_drawn(pattern: str) -> None:
    found = (sample_scene("still", content=f"look-{i}", kind="single") for i in range(200))
    scene = next(scene for scene in found if scene.background.pattern == pattern)
    pixels = draw_float([scene], 32, frames=[0])
    assert pixels.min() >= 0 and pixels.max() <= 1
    assert (pattern in scene.caption) or (pattern == "plain") or ("background" not in words(scene.caption))


def test_a_batch_is_drawn_as_its_parts() -> None:
    batch = scenes(6, effects=1.0)
    together = draw(batch, 24, frames=[3, 30])
    for scene, frames in zip(batch, together, strict=True):
        alone = draw([scene], 24, frames=[3, 30])[0]
        assert (frames.int() - alone.int()).abs().max() <= 1


def test_chosen_frames_are_those_of_the_whole() -> None:
    scene = sample_scene("frames", kind="articulated")
    whole, chosen = draw([scene], 24), draw([scene], 24, frames=[5, 17])
    assert (whole[:, [5, 17]].int() - chosen.int()).abs().max() <= 1


@pytest.mark.parametrize("shape", CENTERED_SHAPES)
def test_masks_lie_on_their_tracks(shape: str) -> None:
    """Where a centered shape is wholly in view, its mask's centroid is the track, within a pixel."""
    size_px, compared = 64, 0
    y, x = np.mgrid[:size_px, :size_px] + 0.5
    found = [sample_scene(f"track-{i}", content=f"look-{i}", kind="single") for i in range(160)]
    for scene in [scene for scene in found if scene.things[0].kind == shape][:5]:
        masks_THW = draw_masks(scene, size_px)[0].numpy()
        for mask, (place_x, place_y) in zip(masks_THW[::6], scene.track(0)[::6], strict=True):
            if mask[[0, -1]].any() or mask[:, [0, -1]].any() or not mask.any():
                continue
            assert abs(x[mask].mean() - (place_x + 0.5) * size_px) < 1
            assert abs(y[mask].mean() - (place_y + 0.5) * size_px) < 1
            compared += 1
    assert compared >= 8


def test_masks_are_where_the_color_is() -> None:
    """Of a lone object without effect, the drawn picture has the object's color inside its mask."""
    for i in range(8):
        scene = sample_scene(f"color-{i}", kind="single", effects=0.0)
        mask = draw_masks(scene, 48)[0, 24]
        picture_CHW = draw_float([scene], 48, frames=[24])[0, :, 0]
        inside = picture_CHW[:, mask].median(1).values
        assert (inside - torch.tensor(COLORS[scene.things[0].color])).abs().max() < 0.2


def test_signed_distances_of_known_shapes() -> None:
    points = torch.tensor([[0.0, 0.0], [0.8, 0.0], [1.2, 0.0], [0.0, -1.0]], dtype=torch.float64)
    np.testing.assert_allclose(signed_distance("square", points), [-0.8, 0, 0.4, 0.2], atol=1e-6)
    np.testing.assert_allclose(signed_distance("circle", points), [-0.92, -0.12, 0.28, 0.08], atol=3e-3)
    assert signed_distance("ring", points)[0] > 0
