"""Trains nano's base: text encoder and Wan transformer together, by flow matching on drawn clips.

Rectified-flow loss (arXiv 2209.03003) on latents of the frozen codec; the text is the scene's caption, dropped
to the empty string for one clip in ten so that guidance works (arXiv 2207.12598). Prompts are padded as stock
`WanPipeline` pads them, to a random length up to 512.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from motion_transfer.model.attention import WeightedTextProcessor, small_attention, weigh_text
from motion_transfer.model.catalog import weights_hash
from motion_transfer.model.flow import TIMESTEPS, keyed_generator, mix, shifted
from motion_transfer.model.text import PADDED_TOKENS, fold_padding
from motion_transfer.nano.checkpoint import Ema, load_state, optimizer_tensors, restore_optimizer, save_state
from motion_transfer.nano.codec import SIZE_PX
from motion_transfer.nano.folder import build_text_encoder, build_tokenizer, build_transformer, load_codec
from motion_transfer.nano.latents import LatentStore
from motion_transfer.nano.processes import average_gradients, out_of_time, process_rank

TEXT_DROP = 0.1
CLIP_SHIFT, PICTURE_SHIFT = 3.0, 1.5
CLIP_BATCH, PICTURE_BATCH = 6, 64  # per process
ENCODING_SHARE = 0.3


class Nano(nn.Module):
    """Text encoder and transformer as one trainable network."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = build_tokenizer()
        self.text_encoder = build_text_encoder(len(self.tokenizer))
        self.transformer = build_transformer()
        self.text_attention: WeightedTextProcessor = weigh_text(self.transformer)

    def forward(self, x_BZFYX: Tensor, sigma_B: Tensor, captions: list[str], padded_tokens_B: Tensor) -> Tensor:
        """Velocity of noisy latents; each caption padded to its own length."""
        batch = self.tokenizer(captions, padding=True, return_tensors="pt").to(x_BZFYX.device)
        states = self.text_encoder(batch.input_ids, batch.attention_mask).last_hidden_state
        lengths = torch.maximum(padded_tokens_B.to(states.device), batch.attention_mask.sum(1))
        text = fold_padding(states, batch.attention_mask, lengths)
        self.text_attention.bias_BM = text.bias_BM
        return self.transformer(x_BZFYX, sigma_B * TIMESTEPS, text.states_BMD, return_dict=False)[0]


def _padded_tokens(batch: int, generator: torch.Generator) -> Tensor:
    """Mostly the stock 512, else any length from none to 512."""
    stock = torch.rand(batch, generator=generator) < 0.6
    drawn = torch.randint(0, PADDED_TOKENS + 1, (batch,), generator=generator)
    return torch.where(stock, PADDED_TOKENS, drawn)


def base_loss(nano: Nano, z_BZFYX: Tensor, captions: list[str], generator: torch.Generator) -> Tensor:
    """Mean squared velocity error at random noise levels."""
    batch = z_BZFYX.shape[0]
    shift = PICTURE_SHIFT if z_BZFYX.shape[2] == 1 else CLIP_SHIFT
    # stratified over the batch: one draw per equal slice of (0, 1)
    uniform = (torch.arange(batch) + torch.rand(batch, generator=generator)) / batch
    sigma_B = shifted(uniform, shift)
    noise = torch.randn(z_BZFYX.shape, generator=generator)
    keep = torch.rand(batch, generator=generator) >= TEXT_DROP
    captions = [c if k else "" for c, k in zip(captions, keep.tolist(), strict=True)]
    device = next(nano.parameters()).device
    z, noise, sigma_B = z_BZFYX.to(device), noise.to(device), sigma_B.to(device)
    with small_attention(device), torch.autocast(device.type, dtype=torch.bfloat16):
        velocity = nano(mix(z, noise, sigma_B), sigma_B, captions, _padded_tokens(batch, generator))
    return (velocity.float() - (noise - z)).square().mean()


def _groups(nano: Nano) -> list[dict]:
    """Weight decay on matrices only."""
    matrices = [p for n, p in nano.named_parameters() if p.ndim >= 2 and "scale_shift" not in n]
    rest = [p for n, p in nano.named_parameters() if p.ndim < 2 or "scale_shift" in n]
    return [{"params": matrices, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]


def clip_share(minutes_done: float, picture_minutes: float) -> float:
    """Share of steps on whole clips: few while shapes and colors are learned on pictures, then most."""
    return 0.08 if minutes_done < picture_minutes else 0.8


def train_base(
    work: Path,
    codec_folder: Path,
    *,
    minutes: float,
    picture_minutes: float = 30.0,
    fade_minutes: float = 0.0,
    device: str = "cpu",
    batch_scale: int = 1,
    peak_rate: float = 1e-3,
    ema_decay: float = 0.9993,
) -> None:
    """Trains for `minutes`, resuming from `work/base.safetensors`; a file with only the average also resumes.

    Args:
        work: folder of the checkpoint and of the encoded clips.
        codec_folder: a nano folder holding the trained codec in `vae/`, with its latent statistics set.
        minutes: how long to train now.
        picture_minutes: length of the first phase, mostly on single frames, over all runs.
        fade_minutes: length of the learning rate's fall at the end of this run.
        device: "cpu" or "cuda".
        batch_scale: factor on the batch sizes.
        peak_rate: level learning rate.
        ema_decay: of the averaged weights.
    """
    rank = process_rank()
    torch.manual_seed(1)
    nano = Nano().to(device)
    codec = load_codec(codec_folder).to(device)
    mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (codec.config.latents_mean, codec.config.latents_std))
    names = {p: n for n, p in nano.named_parameters()}
    optimizer = torch.optim.AdamW(_groups(nano), lr=peak_rate, betas=(0.9, 0.98))
    ema = Ema(nano, ema_decay)
    step, done_s = 0, 0.0
    path = work / "base.safetensors"
    if path.exists():
        tensors, facts = load_state(path)
        ema.shadow = {n: tensors[f"ema/{n}"].to(device).float() for n in names.values()}
        nano.load_state_dict({n: tensors.get(f"model/{n}", ema.shadow[n]) for n in names.values()}, strict=False)
        restore_optimizer(optimizer, names, tensors)
        step, done_s = facts["step"], facts["seconds"]
    encoded = work / f"latents-{weights_hash(codec_folder / 'vae')[:8]}-{rank}"
    stores = {n: LatentStore(encoded, "clips" if n > 1 else "pictures", n, codec, SIZE_PX) for n in (1, 13)}
    begin = saved = last = time.monotonic()
    encoding_s = 0.0
    losses: dict[int, list[float]] = {1: [], 13: []}

    def save() -> None:
        tensors = {f"model/{n}": p for p, n in names.items()} | {f"ema/{n}": t for n, t in ema.shadow.items()}
        save_state(path, tensors | optimizer_tensors(optimizer, names), {"step": step, "seconds": done_s})

    while not out_of_time(begin, minutes):
        generator = keyed_generator("base", step, rank)
        draw = keyed_generator("base length", step)
        num_latents = 13 if torch.rand(1, generator=draw).item() < clip_share(done_s / 60, picture_minutes) else 1
        store = stores[num_latents]
        now = time.monotonic()
        while len(store) < 64 or encoding_s < ENCODING_SHARE * (now - begin):
            store.grow(4 if num_latents > 1 else 48, key=f"rank{rank}")
            encoding_s += time.monotonic() - now
            now = time.monotonic()
        z, captions = store.sample((CLIP_BATCH if num_latents > 1 else PICTURE_BATCH) * batch_scale, generator)
        left_s = 60 * minutes - (now - begin)
        fade = min(1.0, max(0.05, left_s / (60 * fade_minutes))) if fade_minutes else 1.0
        for group in optimizer.param_groups:
            group["lr"] = peak_rate * min(1.0, (step + 1) / 300) * fade
        loss = base_loss(nano, (z - mean) / std, captions, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(nano)
        nn.utils.clip_grad_norm_(nano.parameters(), 1.0)
        optimizer.step()
        ema.update(nano, step)
        step += 1
        losses[num_latents].append(loss.item())
        now = time.monotonic()
        done_s, last = done_s + now - last, now
        if step % 100 == 0 and rank == 0:
            means = {n: round(sum(v) / len(v), 4) for n, v in losses.items() if v}
            print(f"base step {step} {done_s / 60:.1f} min  loss {means}  items {len(stores[1])} {len(stores[13])}",
                  flush=True)  # fmt: skip
            losses = {1: [], 13: []}
        if now - saved > 180 and rank == 0:
            save()
            saved = now
    if rank == 0:
        save()
