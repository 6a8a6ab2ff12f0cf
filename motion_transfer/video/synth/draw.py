"""Draws scenes as pictures with batched tensor operations, on any device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from motion_transfer.video.synth.backgrounds import TILE_WIDTHS, picture
from motion_transfer.video.synth.figures import pose
from motion_transfer.video.synth.palette import COLORS, SHAPES
from motion_transfer.video.synth.scene import Scene, Thing
from motion_transfer.video.synth.shapes import ATLAS_REACH, distance_atlas


def _rotation(angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s], [s, c]])


def _view_to_world(scene: Scene, frame: int, depth: float) -> tuple[np.ndarray, np.ndarray]:
    """The affine map from frame widths on screen to world units: matrix and offset."""
    camera = scene.camera
    matrix = _rotation(-camera.roll[frame]) / camera.zoom[frame]
    return matrix, depth * np.array([camera.x[frame], camera.y[frame]])


def _sampling_grid(maps: list[tuple[np.ndarray, np.ndarray]], size_px: int, device: torch.device) -> Tensor:
    """Grids `(len(maps), H, W, 2)` of source places, one affine map of screen widths per picture."""
    theta = np.stack([np.concatenate([matrix / 2, offset[:, None]], 1) for matrix, offset in maps])
    theta_N23 = torch.from_numpy(theta).float().to(device)
    return F.affine_grid(theta_N23, [len(maps), 1, size_px, size_px], align_corners=False)


def _draw_backgrounds(scenes: Sequence[Scene], frames: Sequence[int], size_px: int, device: torch.device) -> Tensor:
    tiles_BCYX = torch.stack([picture(scene.background) for scene in scenes]).to(device)
    maps = []
    for scene in scenes:
        for frame in frames:
            matrix, offset = _view_to_world(scene, frame, scene.camera.depth)
            maps.append((matrix * 2 / TILE_WIDTHS, offset * 2 / TILE_WIDTHS))
    grid = _sampling_grid(maps, size_px, device).view(len(scenes), len(frames) * size_px, size_px, 2)
    out = F.grid_sample(tiles_BCYX, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return out.view(len(scenes), 3, len(frames), size_px, size_px)


def _thing_maps(scene: Scene, thing: Thing, frames: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Maps from the screen to the object's own units, in which it fills [-1, 1]."""
    maps = []
    for i in frames:
        matrix, offset = _view_to_world(scene, i, 1.0)
        unit = 2.0 / (thing.size * thing.scales[i])
        facing = thing.facing[i]
        width = math.copysign(max(abs(facing), 0.5), facing)
        local = np.diag([1.0 / width, 1.0]) @ _rotation(-thing.angles[i]) * unit
        maps.append((local @ matrix, local @ (offset - np.array(thing.path[i]))))
    return maps


def _unit_px(scene: Scene, thing: Thing, frames: Sequence[int], size_px: int) -> list[float]:
    return [thing.size * thing.scales[i] * scene.camera.zoom[i] / 2 * size_px for i in frames]


def _shape_distances(things: Sequence[Thing], local_NTHW2: Tensor) -> Tensor:
    """Signed distances in shape units, read from the atlas."""
    index = torch.tensor([SHAPES.index(thing.kind) for thing in things])
    fields = distance_atlas()[index].to(local_NTHW2.device)
    n, t, h, w, _ = local_NTHW2.shape
    grid = (local_NTHW2 / ATLAS_REACH).view(n, t * h, w, 2)
    return F.grid_sample(fields, grid, padding_mode="border", align_corners=False).view(n, t, h, w)


def _figure_distance(thing: Thing, frames: Sequence[int], local_THW2: Tensor) -> Tensor:
    """Signed distance to the nearest capsule of the figure's pose."""
    assert thing.gait is not None
    poses = [pose(thing.kind, thing.gait.angles[i]) for i in frames]
    capsules_TC5 = torch.tensor(poses, dtype=torch.float32, device=local_THW2.device)
    nearest = torch.full(local_THW2.shape[:3], 9.0, device=local_THW2.device)
    for k in range(capsules_TC5.shape[1]):
        x1, y1, x2, y2, radius = capsules_TC5[:, k, :, None, None].unbind(1)
        dx, dy = x2 - x1, y2 - y1
        px, py = local_THW2[..., 0] - x1, local_THW2[..., 1] - y1
        along = ((px * dx + py * dy) / (dx * dx + dy * dy + 1e-9)).clamp(0, 1)
        distance = ((px - along * dx).square() + (py - along * dy).square()).sqrt() - radius
        nearest = torch.minimum(nearest, distance)
    return nearest


def _shade(thing: Thing, local_THW2: Tensor) -> Tensor:
    """Brightness factor over the object, within about 15% of 1."""
    if thing.shading == "lit":
        return 1.0 - 0.14 * local_THW2[..., 1].clamp(-1, 1)
    if thing.shading == "round":
        return 1.06 - 0.2 * local_THW2.square().sum(-1).clamp(0, 1)
    return torch.ones_like(local_THW2[..., 0])


def _apply_effect(
    scene: Scene, frames: Sequence[int], local_THW2: Tensor, alpha_THW: Tensor, color_C: Tensor
) -> tuple[Tensor, Tensor]:
    """The object's opacity and color `(3, T, H, W)` under the scene's effect."""
    effect = scene.effect
    assert effect is not None
    done = torch.tensor(
        [min(1.0, max(0.0, (i - effect.start) / (effect.end - effect.start))) for i in frames],
        device=local_THW2.device,
    )[:, None, None]
    if effect.reverse:
        done = 1 - done
    color = color_C[:, None, None, None]
    if effect.kind == "dissolve":
        return alpha_THW * (1 - done), color
    passed = ((done * 2.4 - 1.2 - local_THW2[..., 0]) * 6 + 0.5).clamp(0, 1)
    if effect.kind == "wipe":
        return alpha_THW * (1 - passed), color
    other = torch.tensor(COLORS[effect.color or ""], device=local_THW2.device)[:, None, None, None]
    return alpha_THW, color + passed * (other - color)


def _paint(
    canvas_CTHW: Tensor, scene: Scene, thing: Thing, frames: Sequence[int], distance_THW: Tensor, local_THW2: Tensor
) -> None:
    """Blends one object over the picture, in place."""
    size_px = canvas_CTHW.shape[-1]
    scale = torch.tensor(_unit_px(scene, thing, frames, size_px), device=canvas_CTHW.device)
    alpha_THW = (0.5 - distance_THW * scale[:, None, None]).clamp(0, 1)
    color_C = torch.tensor(COLORS[thing.color], device=canvas_CTHW.device)
    color: Tensor = color_C[:, None, None, None]
    if scene.effect is not None:
        alpha_THW, color = _apply_effect(scene, frames, local_THW2, alpha_THW, color_C)
    shaded = (color * _shade(thing, local_THW2)).clamp(0, 1)
    canvas_CTHW += alpha_THW * (shaded - canvas_CTHW)


def draw_float(
    scenes: Sequence[Scene], size_px: int, *, frames: Sequence[int] | None = None, device: str = "cpu"
) -> Tensor:
    """Pictures of scenes as `(B, 3, T, H, W)` float32 in 0..1.

    Args:
        scenes: scenes of equal length.
        size_px: width and height.
        frames: which frames to draw; default all.
        device: where to draw.
    """
    where = torch.device(device)
    frames = list(range(scenes[0].num_frames)) if frames is None else list(frames)
    canvas = _draw_backgrounds(scenes, frames, size_px, where).contiguous()
    for slot in range(max(len(scene.things) for scene in scenes)):
        rows = [b for b, scene in enumerate(scenes) if len(scene.things) > slot]
        things = [scenes[b].things[slot] for b in rows]
        maps = [m for b, thing in zip(rows, things, strict=True) for m in _thing_maps(scenes[b], thing, frames)]
        local = _sampling_grid(maps, size_px, where).view(len(rows), len(frames), size_px, size_px, 2)
        shapes = [n for n, thing in enumerate(things) if thing.gait is None]
        distances: dict[int, Tensor] = {}
        if shapes:
            fields = _shape_distances([things[n] for n in shapes], local[shapes])
            distances = dict(zip(shapes, fields, strict=True))
        for n, thing in enumerate(things):
            distance = distances.get(n)
            if distance is None:
                distance = _figure_distance(thing, frames, local[n])
            _paint(canvas[rows[n]], scenes[rows[n]], thing, frames, distance, local[n])
    return canvas


def draw(scenes: Sequence[Scene], size_px: int, *, frames: Sequence[int] | None = None, device: str = "cpu") -> Tensor:
    """Pictures of scenes as `(B, T, H, W, 3)` uint8."""
    canvas_BCTHW = draw_float(scenes, size_px, frames=frames, device=device)
    return (canvas_BCTHW * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 4, 1).contiguous()


def draw_masks(scene: Scene, size_px: int, frames: Sequence[int] | None = None) -> Tensor:
    """True masks of the objects in some frames (default all), `(num_things, T, H, W)` bool, whatever hides them."""
    frames = list(range(scene.num_frames)) if frames is None else list(frames)
    masks = []
    for thing in scene.things:
        local = _sampling_grid(_thing_maps(scene, thing, frames), size_px, torch.device("cpu"))
        if thing.gait is None:
            distance = _shape_distances([thing], local[None])[0]
        else:
            distance = _figure_distance(thing, frames, local)
        masks.append(distance < 0)
    return torch.stack(masks)
