"""Trains nano's codec: a small causal video autoencoder of Wan's architecture.

The architecture is `AutoencoderKLWan` (Wan2.1, arXiv 2503.20314, section 4.1): 8x in space, 4x in time, the
first frame alone. It learns on drawn scenes, and on textured natural-like clips so that real footage
passes through it too; clips of all lengths up to the full one, because a causal codec trained on short
clips drifts after the last latent frame it has known.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from torch import Tensor, nn

from motion_transfer.nano.training import Run
from motion_transfer.nano.whole_clips import decode_whole, encode_whole, for_whole_clips
from motion_transfer.video.synth.draw import draw_float
from motion_transfer.video.synth.paths import Point
from motion_transfer.video.synth.scene import NUM_FRAMES, sample_scene

SIZE_PX = 64
Z_DIM = 16
# share of steps, and whole frames' clips per step and core, by number of frames
LENGTHS = {1: (0.12, 40), 5: (0.40, 8), 9: (0.24, 5), 17: (0.16, 3), 49: (0.08, 1)}
NATURAL_SHARE = 0.1
# Most of the error lies in a tenth of the pixels, the objects' outlines: so some steps see windows on objects.
WINDOW_SHARE, WINDOWED_LENGTHS, WINDOWS_PER_CLIP = 0.6, (1, 5, 9), 2
KL_WEIGHT = 5e-4
NEAR_WEIGHT = 0.02  # of the squared distance to the latents of another encoder, in their own deviations


def build_codec() -> AutoencoderKLWan:
    """An untrained codec with nano's configuration (5.2 M parameters).

    The decoder is twice as wide as the encoder: 16 channels at half resolution must hold 12 pixel values each, too
    few for sharp edges.
    """
    codec = AutoencoderKLWan(
        base_dim=16,
        decoder_base_dim=32,
        dim_mult=[1, 2, 4],
        num_res_blocks=1,
        temperal_downsample=[True, True],
        z_dim=Z_DIM,
        patch_size=2,
        in_channels=12,
        out_channels=12,
        scale_factor_spatial=8,
        scale_factor_temporal=4,
        latents_mean=[0.0] * Z_DIM,
        latents_std=[1.0] * Z_DIM,
    )
    _start_as_image_codec(codec)
    return codec


@torch.no_grad()
def _start_as_image_codec(codec: AutoencoderKLWan) -> None:
    """Initial weights under which the codec treats every frame as a picture of its own.

    Spatial kernels keep the signal's size and sit on the newest time tap, time convolutions copy or average,
    residual branches start small, and the posterior nearly noiseless. PyTorch's default start shrinks the
    signal at each layer: 11.8 dB against 18.5 dB after 150 steps.
    """
    for name, module in codec.named_modules():
        if not isinstance(module, nn.Conv2d | nn.Conv3d):
            continue
        weight = module.weight
        if name.endswith("time_conv"):
            weight.zero_()
            for o in range(weight.shape[0]):
                taps = slice(None) if "encoder" in name else slice(-1, None)
                weight[o, o % weight.shape[1], taps, 0, 0] = 1 / 3 if "encoder" in name else 1.0
        else:
            weight.zero_()
            newest = weight[:, :, -1] if weight.ndim == 5 else weight
            newest.normal_(0, (weight.shape[1] * weight.shape[-1] * weight.shape[-2]) ** -0.5)
            if name.endswith(("conv2", "proj")):
                weight.mul_(0.1)
        module.bias.zero_()
    codec.quant_conv.weight[Z_DIM:].mul_(0.1)
    codec.quant_conv.bias[Z_DIM:] = -6.0


def natural_clip(rng: Random, num_frames: int, size_px: int) -> Tensor:
    """A moving texture with the spectrum of natural pictures, `(3, T, H, W)` in 0..1.

    Colored noise whose amplitude falls with frequency, overlaid by flat leaves of random color (the dead
    leaves model of natural images), seen by a camera that drifts, zooms and turns.
    """
    generator = torch.Generator().manual_seed(rng.getrandbits(48))
    px = 3 * size_px
    fx = torch.fft.fftfreq(px)[:, None]
    fy = torch.fft.rfftfreq(px)[None]
    falloff = (fx.square() + fy.square()).sqrt().clamp_min(1 / px).pow(-rng.uniform(1.1, 1.9))
    noise = torch.fft.irfft2(torch.fft.rfft2(torch.randn(4, px, px, generator=generator)) * falloff, s=(px, px))
    noise = noise / noise.std(dim=(1, 2), keepdim=True)
    mean = torch.rand(3, 1, 1, generator=generator)
    tile = mean + rng.uniform(0.05, 0.22) * (noise[3] + rng.uniform(0.1, 0.7) * noise[:3])
    axis = (torch.arange(px) + 0.5) / px
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    for _ in range(rng.choice((0, 10, 30))):
        r = rng.uniform(0.02, 0.13)
        inside = (x - rng.random()).square() + ((y - rng.random()) * rng.uniform(0.6, 1.6)).square() < r * r
        leaf = torch.rand(3, 1, 1, generator=generator) + rng.uniform(0, 0.1) * noise[:3]
        tile = torch.where(inside, leaf, tile)
    t = torch.linspace(-0.5, 0.5, num_frames) if num_frames > 1 else torch.zeros(1)
    pace = num_frames / NUM_FRAMES
    zoom = torch.exp(t * rng.uniform(-0.8, 0.8) * pace) / 3
    turn = t * rng.uniform(-1.0, 1.0) * pace
    dx, dy = (rng.uniform(-0.4, 0.4) + t * rng.uniform(-0.5, 0.5) * pace for _ in range(2))
    c, s = zoom * turn.cos(), zoom * turn.sin()
    theta = torch.stack([torch.stack([c, -s, dx], -1), torch.stack([s, c, dy], -1)], 1)
    grid = F.affine_grid(theta, [num_frames, 1, size_px, size_px], align_corners=False)
    grid = grid.view(1, num_frames * size_px, size_px, 2)
    frames = F.grid_sample(tile[None].clamp(0, 1), grid, padding_mode="reflection", align_corners=False)
    return frames.view(3, num_frames, size_px, size_px)


def _training_clip(rng: Random, name: str, num_frames: int, size_px: int) -> tuple[Tensor, list[Point]]:
    """A clip `(3, T, H, W)` in 0..1, and where its objects are in its middle, in frame widths from the center."""
    if rng.random() < NATURAL_SHARE:
        return natural_clip(rng, num_frames, size_px), []
    scene = sample_scene(name, effects=0.1)
    stride = rng.choice((1, 1, 1, 2)) if num_frames <= 17 else 1
    start = rng.randrange(NUM_FRAMES - (num_frames - 1) * stride)
    frames = range(start, start + (num_frames - 1) * stride + 1, stride)
    places = [scene.track(i)[frames[num_frames // 2]] for i in range(len(scene.things))]
    return draw_float([scene], size_px, frames=frames)[0], places


def _window(rng: Random, clip_CTHW: Tensor, places: list[Point]) -> Tensor:
    """Half the clip's width and height, near one of the places, anywhere if there are none."""
    size_px = clip_CTHW.shape[-1]
    side_px = size_px // 2
    x, y = rng.choice(places) if places else (rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5))
    left, top = (
        min(max(0, round(size_px * (place + 0.25) + side_px * rng.uniform(-0.25, 0.25))), side_px) for place in (x, y)
    )
    return clip_CTHW[..., top : top + side_px, left : left + side_px]


def training_batch(step: int, rank: int, batch_scale: int, size_px: int) -> Tensor:
    """One process's batch of clips `(B, 3, T, H, W)` in -1..1; all processes get one length and one size per step."""
    lengths, shared = list(LENGTHS), Random(f"length/{step}")
    num_frames = shared.choices(lengths, [LENGTHS[n][0] for n in lengths])[0]
    windowed = num_frames in WINDOWED_LENGTHS and shared.random() < WINDOW_SHARE
    seed = f"{step}/{rank}"
    rng = Random(seed)
    clips: list[Tensor] = []
    num_drawn = LENGTHS[num_frames][1] * batch_scale * (4 // WINDOWS_PER_CLIP if windowed else 1)
    for i in range(num_drawn):
        clip, places = _training_clip(rng, f"codec/{seed}/{i}", num_frames, size_px)
        clips += [_window(rng, clip, places) for _ in range(WINDOWS_PER_CLIP)] if windowed else [clip]
    return torch.stack(clips) * 2 - 1


def encoder_hash(codec: AutoencoderKLWan) -> str:
    """SHA-256 of the weights that latents depend on; a refined decoder leaves it as it is."""
    digest = hashlib.sha256()
    for name, parameter in sorted(codec.named_parameters()):
        if name.startswith(("encoder.", "quant_conv.")):
            digest.update(parameter.detach().half().cpu().numpy().tobytes())
    return digest.hexdigest()


def codec_loss(
    codec: AutoencoderKLWan, clips_BCTHW: Tensor, anchor: AutoencoderKLWan | None = None
) -> tuple[Tensor, dict[str, float]]:
    """Training loss, and for reporting the mean squared error in 0..1 units, and how far the latents moved.

    Squared error leads, because four fifths of it sit in the narrow bands of the objects' edges; absolute error
    keeps flat colors exact, and a weak pull to a unit Gaussian keeps the latents bounded. The latents of an `anchor`,
    where there is one, pull too. Both codecs are for whole clips.
    """
    posterior = encode_whole(codec, clips_BCTHW)
    error = (decode_whole(codec, posterior.sample()).float() - clips_BCTHW).float()
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    loss = 0.3 * error.abs().mean() + 8.0 * error.square().mean() + KL_WEIGHT * kl
    num_frames, side_px = clips_BCTHW.shape[2], clips_BCTHW.shape[-1]
    figures = {f"PSNR {num_frames:2d}x{side_px}": error.detach().square().mean().item() / 4}
    if anchor is not None:
        with torch.no_grad():
            other = encode_whole(anchor, clips_BCTHW).mean.float()
        deviation = torch.tensor(anchor.config.latents_std, device=other.device).view(1, -1, 1, 1, 1)
        moved = ((mean - other) / deviation).square().mean()
        loss, figures = loss + NEAR_WEIGHT * moved, figures | {"nearness": moved.item()}
    return loss, figures


def _kernels(codec: AutoencoderKLWan) -> list[nn.Parameter]:
    """The kernels that are trained, but for those next to pixels: what Muon trains."""
    return [p for p in codec.parameters() if p.requires_grad and p.ndim >= 4 and min(p.shape[:2]) >= Z_DIM]


def _rate(done: float, peak: float) -> float:
    """Learning rate over the share of the planned time: short warm-up, level, then down to a fiftieth in a cosine."""
    warm = min(1.0, done / 0.01 + 0.05)
    fall = max(0.0, (done - 0.4) / 0.6)
    return peak * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, fall))))


def train_codec(
    work: Path,
    *,
    minutes: float,
    total_minutes: float | None = None,
    device: str = "cpu",
    batch_scale: int = 1,
    peak_rate: float = 1e-3,
    size_px: int = SIZE_PX,
    decoder_only: bool = False,
    near: AutoencoderKLWan | None = None,
    compiled: bool = False,
) -> None:
    """Trains for `minutes`, resuming from `work/codec.safetensors` if it is there.

    Args:
        work: folder of the checkpoint.
        minutes: how long to train now.
        total_minutes: length of the whole plan, for the learning rate; default what was done plus `minutes`.
        device: "cpu" or "cuda".
        batch_scale: factor on the batch sizes of `LENGTHS`.
        peak_rate: highest learning rate.
        size_px: width and height of the clips.
        decoder_only: leave the encoder as it is, so that all latents, and
            every base trained on them, stay valid.
        near: a codec whose latents those of this one are to stay near, so that a base trained on them needs
            little further training only.
        compiled: compile the networks, which needs a C++ compiler on the CPU and minutes at the start.
    """
    torch.manual_seed(0)
    codec = build_codec().to(device)
    for_whole_clips(codec)
    if near is not None:
        for_whole_clips(near.to(device))
    if compiled:
        torch._dynamo.config.recompile_limit = len(LENGTHS) + len(WINDOWED_LENGTHS) + 1
        for network in (codec.encoder, codec.decoder):
            network.compile(dynamic=False)
    if decoder_only:
        codec.encoder.requires_grad_(False)
        codec.quant_conv.requires_grad_(False)
    kernels = _kernels(codec)
    others = [p for p in codec.parameters() if not any(p is kernel for kernel in kernels)]
    groups = [{"params": others, "weight_decay": 1e-4}]
    run = Run(codec, groups, work / "codec.safetensors", matrices=kernels, minutes=minutes, ema_decay=0.999)
    if decoder_only or near is not None:
        run.ema.copy_to(codec)
    plan_s = 60 * total_minutes if total_minutes else run.seconds + 60 * minutes
    while run.goes_on():
        clips = training_batch(run.step, run.rank, batch_scale, size_px).to(device)
        with torch.autocast(device, dtype=torch.bfloat16):
            loss, figures = codec_loss(codec, clips, near)
        run.update(loss, _rate(run.seconds / plan_s, peak_rate), figures)
        run.log(show=lambda name, mean: -10 * math.log10(mean) if name.startswith("PSNR") else mean)
