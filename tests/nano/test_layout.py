"""What lies where in a scene, and the head that reads it."""

import torch
import torch.nn.functional as F

from motion_transfer.nano.latents import layout_frames
from motion_transfer.nano.layout import KINDS, NUM_CLASSES, LayoutHead, near_objects, scene_layout
from motion_transfer.video.synth.draw import draw_masks
from motion_transfer.video.synth.scene import NUM_FRAMES, sample_scene


def test_the_layout_names_the_topmost_object() -> None:
    scene = sample_scene("layout", kind="multiple", effects=0.0)
    frames = layout_frames(13)
    assert len(frames) == 13 and frames[:3] == [0, 2, 6] and frames[-1] < NUM_FRAMES
    layout, masks = scene_layout(scene, frames, 8), draw_masks(scene, 32, frames)
    assert layout.shape == (13, 32, 32) and torch.equal(layout > 0, masks.any(0))
    assert (layout[masks[-1]] == 1 + KINDS.index(scene.things[-1].kind)).all()


def test_cells_near_objects() -> None:
    """Each latent frame's cells cover the objects of all its frames, and one cell around them."""
    scene = sample_scene("near", kind="single", effects=0.0)
    near = near_objects(scene_layout(scene, layout_frames(13), 8)[None])[0]
    assert near.shape == (13, 8, 8)
    masks = draw_masks(scene, 64).any(0)
    groups = [masks[:1], *masks[1:].split(4)]
    covered = torch.stack([F.max_pool2d(g.float().amax(0)[None], 8)[0] > 0 for g in groups])
    assert near[covered].float().mean() > 0.98  # masks are sampled, corners can slip through
    assert near.float().mean() < 0.8


def test_the_head_reads_each_patch_from_its_own_token() -> None:
    """Tokens that spell out their patch cost nothing; the same tokens in another order do."""
    torch.manual_seed(0)
    layout = torch.randint(NUM_CLASSES, (1, 2, 4, 8), dtype=torch.uint8).repeat_interleave(2, 2).repeat_interleave(2, 3)
    head = LayoutHead(64, 1)
    head.norm = torch.nn.Identity()
    truth = F.one_hot(layout.view(2, 2, 4, 4, 4).transpose(2, 3).flatten(3).long(), NUM_CLASSES).float()  # f y x 16 c
    tokens = truth.flatten(0, 2).flatten(1)[None]
    head.read = torch.nn.Linear(tokens.shape[-1], tokens.shape[-1])
    with torch.no_grad():
        head.read.weight.copy_(40 * torch.eye(tokens.shape[-1]))
    assert head(tokens, layout).item() < 1e-3
    assert head(tokens.roll(1, 1), layout).item() > 1
