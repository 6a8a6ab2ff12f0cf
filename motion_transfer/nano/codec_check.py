"""What the codec keeps of a clip, drawn or real: PSNR and latents per frame, and whether objects stay what they are.

`python -m motion_transfer.nano check-codec` remakes `docs/results/codec.json` and a contact sheet.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from motion_transfer.atomic import write_json
from motion_transfer.evaluate.checker import find_object
from motion_transfer.evaluate.film import real_clips
from motion_transfer.evaluate.stamps import stamp
from motion_transfer.model.catalog import weights_hash
from motion_transfer.nano.codec import SIZE_PX
from motion_transfer.nano.folder import load_codec
from motion_transfer.types import Clip
from motion_transfer.video.frames import contact_sheet, fit_clip, save_png
from motion_transfer.video.io import read_clip
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import FPS, NUM_FRAMES, Scene, sample_scene


def _psnr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Decibels of each frame `(T,)` of two uint8 clips."""
    square_T = np.square((a.astype(float) - b) / 255).mean((1, 2, 3))
    return -10 * np.log10(np.maximum(square_T, 1e-10))


@torch.no_grad()
def pass_through(codec: AutoencoderKLWan, frames_THWC: np.ndarray) -> tuple[np.ndarray, Tensor]:
    """The clip after encoding and decoding, and its normalized latents `(Z, F, Y, X)`."""
    video = torch.from_numpy(frames_THWC).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    z = codec.encode(video).latent_dist.mode()
    out = ((codec.decode(z).sample[0] / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    mean, std = (torch.tensor(codec.config[f"latents_{n}"]).view(-1, 1, 1, 1) for n in ("mean", "std"))
    return out.permute(1, 2, 3, 0).numpy(), (z[0] - mean) / std


def _object_kept(scene: Scene, before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Mean mask IoU and mean centroid shift in pixels of the first object, as the checker sees both clips."""
    thing = scene.things[0]
    a, b = (find_object(frames, thing.color, thing.kind) for frames in (before, after))
    both_T = np.array(a.present_T) & np.array(b.present_T)
    if not both_T.any():
        return 0.0, float("nan")
    masks = np.asarray(a.masks_THW)[both_T], np.asarray(b.masks_THW)[both_T]
    iou_T = (masks[0] & masks[1]).sum((1, 2)) / np.maximum((masks[0] | masks[1]).sum((1, 2)), 1)
    shift_T = np.hypot(*(np.asarray(a.path_T2) - np.asarray(b.path_T2))[both_T].T) * SIZE_PX
    return float(iou_T.sum() / max(a.present_T.sum(), 1)), float(shift_T.mean())


def _real_psnr(codec: AutoencoderKLWan) -> dict[str, float]:
    """Mean decibels of each real clip, brought to nano's size and length."""
    out = {}
    for path in real_clips():
        clip = fit_clip(read_clip(path), num_frames=NUM_FRAMES, height=SIZE_PX, width=SIZE_PX)
        after, _ = pass_through(codec, clip.frames_THWC)
        out[path.name] = round(float(_psnr(clip.frames_THWC, after).mean()), 2)
    return out


def codec_stamp(folder: Path, count: int) -> str:
    """What the figures of `count` scenes follow from."""
    return stamp(modules=[__name__], folders=[folder / "vae"], settings={"scenes": count})


def check_codec(folder: Path, count: int, results: Path) -> dict[str, float]:
    """Passes `count` unseen scenes and some real clips through the codec.

    Writes `codec.json` and `codec.png` into `results`; returns means over the scenes, and the worst real clip's PSNR.
    """
    codec = load_codec(folder)
    psnr, iou, shift, means, deviations, pairs = [], [], [], [], [], []
    for i in range(count):
        scene = sample_scene(f"check-codec/{i}", effects=0.0)
        before = draw([scene], SIZE_PX)[0].numpy()
        after, z_ZFYX = pass_through(codec, before)
        psnr.append(_psnr(before, after))
        means.append(z_ZFYX.mean((0, 2, 3)))
        deviations.append(z_ZFYX.std((0, 2, 3)))
        if len(scene.things) == 1:
            kept = _object_kept(scene, before, after)
            iou.append(kept[0])
            shift.append(kept[1])
        pairs += [Clip(frames_THWC=frames, fps=FPS) for frames in (before, after)]
    real = _real_psnr(codec)
    summary = {
        "psnr_db": float(np.mean(psnr)),
        "mask_iou": float(np.mean(iou)),
        "centroid_shift_px": float(np.nanmean(shift)),
        "worst_real_psnr_db": min(real.values()),
    }
    rows = {
        "stamp": codec_stamp(folder, count),
        "codec": weights_hash(folder / "vae"),
        "scenes": count,
        "summary": summary,
        "real_psnr_db": real,
        "psnr_db_by_frame": np.mean(psnr, 0).round(2).tolist(),
        "latent_mean_by_frame": torch.stack(means).mean(0).numpy().round(3).tolist(),
        "latent_deviation_by_frame": torch.stack(deviations).mean(0).numpy().round(3).tolist(),
    }
    write_json(results / "codec.json", rows)
    save_png(contact_sheet(pairs[:24], columns_frames=7, scale=2), results / "codec.png")
    return summary
