"""Trains nano's base: text encoder and Wan transformer together, by flow matching on drawn clips.

Rectified-flow loss (arXiv 2209.03003) on latents of the frozen codec; the text is the scene's caption, dropped
to the empty string for one clip in ten so that guidance works (arXiv 2207.12598). Prompts are zero-padded, six in ten
to the 512 tokens of stock `WanPipeline`, the rest to any length up to that: padding costs nothing here, because it is
folded into one token.

Objects fill a twelfth of the world's pictures, and the word for their shape explains a hundredth of the plain loss.
So cells on and beside objects weigh more where the noise still lets one see where they are; at higher noise,
where a weight that hangs on the answer would bend the learned mean, all weigh the same. And a head must read from the
middle of the network what lies where (`nano.layout`).
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn

from motion_transfer.model.attention import WeightedTextProcessor, small_attention, weigh_text
from motion_transfer.model.flow import TIMESTEPS, keyed_generator, mix, shifted
from motion_transfer.model.rope import temporal_positions
from motion_transfer.model.text import PADDED_TOKENS, fold_padding
from motion_transfer.nano.codec import SIZE_PX, encoder_hash
from motion_transfer.nano.folder import build_text_encoder, build_tokenizer, build_transformer, load_codec
from motion_transfer.nano.latents import Items, LatentStore
from motion_transfer.nano.layout import LayoutHead, near_objects
from motion_transfer.nano.training import Run

TEXT_DROP = 0.1
CLIP_SHIFT, PICTURE_SHIFT = 2.0, 1.5
UNIFORM_SHARE = 0.2  # of the noise levels; the rest are logit-normal (arXiv 2403.03206, section 3.1)
OBJECT_WEIGHT = 5.0  # added on objects and beside them,
FULL_BELOW, NONE_ABOVE = 0.8, 0.95  # in full up to the first noise level, no more from the second on
STEADY_WEIGHT = 0.5  # of the error's change from one latent frame to the next, which a viewer sees as trembling
LAYOUT_WEIGHT = 0.5  # of the head's cross-entropy, as in arXiv 2410.06940
LAYOUT_BLOCK = 3  # the block whose output it reads
NUM_LATENTS = 13
KINDS = {1: "pictures", NUM_LATENTS: "clips"}
BATCH = {1: 160, NUM_LATENTS: 16}  # per process
GROW = {1: 96, NUM_LATENTS: 8}  # new items, at every so many steps: all processes at the same ones
GROW_EVERY = 4
KEEP_ONE_IN, KEEP_SHARES = (
    (1, 2, 3),
    (0.6, 0.2, 0.2),
)  # of a clip's latent frames, so that sparse clips are not new to it
MIN_ITEMS = {1: 20_000, NUM_LATENTS: 2_000}  # before the first step: on a few, a trained network learns them by heart
SIMPLE_SHARE = {1: 0.3, NUM_LATENTS: 0.2}  # drawn from scenes of one object on a plain background,
SEVERAL_SHARE = {1: 0.4, NUM_LATENTS: 0.3}  # and of two or three objects; the rest are any


class Nano(nn.Module):
    """Text encoder and transformer as one trainable network, and the head that is left out of the shipped weights."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = build_tokenizer()
        self.text_encoder = build_text_encoder(len(self.tokenizer))
        self.transformer = build_transformer()
        self.text_attention: WeightedTextProcessor = weigh_text(self.transformer)
        width, patch_cells = self.transformer.patch_embedding.out_channels, self.transformer.config.patch_size[1]
        self.layout_head = LayoutHead(width, patch_cells)
        self._middle: list[Tensor] = []  # tokens after a middle block, in the order of `forward`
        self.transformer.blocks[LAYOUT_BLOCK].register_forward_hook(self._keep_middle)

    def _keep_middle(self, block: nn.Module, arguments: tuple, tokens_BLD: Tensor) -> None:
        self._middle[:] = [tokens_BLD]

    def layout_loss(self, layout_BFHW: Tensor) -> Tensor:
        """Cross-entropy of what lies where in the latents last passed to `forward`."""
        return self.layout_head(self._middle.pop(), layout_BFHW)

    def forward(
        self, x_BZFYX: Tensor, sigma_B: Tensor, captions: list[str], padded_tokens_B: Tensor,
        times_F: tuple[float, ...] | None = None,
    ) -> Tensor:  # fmt: skip
        """Velocity of noisy latents at places in time, default 0, 1, 2, …; each caption padded to its own length."""
        batch = self.tokenizer(captions, padding=True, return_tensors="pt").to(x_BZFYX.device)
        states = self.text_encoder(batch.input_ids, batch.attention_mask).last_hidden_state
        lengths = torch.maximum(padded_tokens_B.to(states.device), batch.attention_mask.sum(1))
        text = fold_padding(states, batch.attention_mask, lengths)
        self.text_attention.bias_BM = text.bias_BM
        with temporal_positions(self.transformer, times_F or range(x_BZFYX.shape[2])):
            return self.transformer(x_BZFYX, sigma_B * TIMESTEPS, text.states_BMD, return_dict=False)[0]


def _padded_tokens(batch: int, generator: torch.Generator) -> Tensor:
    """Mostly the stock 512, else any length from none to 512."""
    stock = torch.rand(batch, generator=generator) < 0.6
    drawn = torch.randint(0, PADDED_TOKENS + 1, (batch,), generator=generator)
    return torch.where(stock, PADDED_TOKENS, drawn)


def noise_levels(batch: int, shift: float, generator: torch.Generator) -> Tensor:
    """Random noise levels `(B,)`, one per equal slice of their distribution, in random order.

    Logit-normal of unit width around the shift, and a share uniform before the shift, for the tails.
    """
    uniform = (torch.randperm(batch, generator=generator) + torch.rand(batch, generator=generator)) / batch
    uniform = uniform.clamp(1e-4, 1 - 1e-4)
    normal = torch.sigmoid(math.log(shift) + torch.special.ndtri(uniform))
    plain = torch.rand(batch, generator=generator) < UNIFORM_SHARE
    return torch.where(plain, shifted(uniform, shift), normal)


def object_weights(near_BFYX: Tensor, sigma_B: Tensor) -> Tensor:
    """Weights of the squared error `(B, 1, F, Y, X)`."""
    visible = ((NONE_ABOVE - sigma_B) / (NONE_ABOVE - FULL_BELOW)).clamp(0, 1)
    return (1 + OBJECT_WEIGHT * visible.view(-1, 1, 1, 1) * near_BFYX)[:, None]


def unsteadiness(error_BZFYX: Tensor, weights_B1FYX: Tensor) -> Tensor:
    """Weighted mean square of the error's change between neighboring latent frames, over that of independent errors.

    Every positive quadratic form of the error has the same least point, the mean velocity, so this moves what a small
    network spends its capacity on, not what it aims at. A single frame has none.
    """
    if error_BZFYX.shape[2] == 1:
        return error_BZFYX.new_zeros(())
    weights = (weights_B1FYX[:, :, 1:] + weights_B1FYX[:, :, :-1]) / 2
    return (weights * error_BZFYX.diff(dim=2).square()).mean() / 2


def base_loss(nano: Nano, items: Items, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
    """Loss of velocity, its change in time and layout at random noise levels; velocity's and layout's unweighted."""
    batch = items.z_BZFYX.shape[0]
    sigma_B = noise_levels(batch, PICTURE_SHIFT if items.z_BZFYX.shape[2] == 1 else CLIP_SHIFT, generator)
    noise = torch.randn(items.z_BZFYX.shape, generator=generator)
    keep = torch.rand(batch, generator=generator) >= TEXT_DROP
    captions = [c if k else "" for c, k in zip(items.captions, keep.tolist(), strict=True)]
    device = next(nano.parameters()).device
    z, noise, sigma_B = items.z_BZFYX.to(device), noise.to(device), sigma_B.to(device)
    layout = items.layout_BFHW.to(device)
    with small_attention(device, layout[0].numel()), torch.autocast(device.type, dtype=torch.bfloat16):
        padded = _padded_tokens(batch, generator)
        velocity = nano(mix(z, noise, sigma_B), sigma_B, captions, padded, items.times_F)
        layout_loss = nano.layout_loss(layout)
    error = velocity.float() - (noise - z)
    weights = object_weights(near_objects(layout), sigma_B)
    figures = {"velocity": error.detach().square().mean().item(), "layout": layout_loss.item()}
    loss = (weights * error.square()).mean() + STEADY_WEIGHT * unsteadiness(error, weights)
    return loss + LAYOUT_WEIGHT * layout_loss, figures


def _groups(nano: Nano) -> list[dict]:
    """What AdamW trains; weight decay on matrices only."""
    own = {id(p) for p in _block_matrices(nano)}
    others = [(n, p) for n, p in nano.named_parameters() if id(p) not in own]
    matrices = [p for n, p in others if p.ndim >= 2 and "scale_shift" not in n]
    rest = [p for n, p in others if p.ndim < 2 or "scale_shift" in n]
    return [{"params": matrices, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]


def _block_matrices(nano: Nano) -> list[nn.Parameter]:
    """The weights of the blocks' linear layers, nine tenths of all, which Muon trains."""
    return [p for n, p in nano.transformer.blocks.named_parameters() if p.ndim == 2 and "scale_shift" not in n]


def clip_share(minutes_done: float, picture_minutes: float) -> float:
    """Share of steps on whole clips: few while shapes and colors are learned on pictures, then most."""
    return 0.08 if minutes_done < picture_minutes else 0.8


def _draw_length(step: int, minutes_done: float, picture_minutes: float) -> int:
    """Latent frames of this step's batch, the same in all processes."""
    draw = torch.rand(1, generator=keyed_generator("base length", step)).item()
    return NUM_LATENTS if draw < clip_share(minutes_done, picture_minutes) else 1


def thinning(step: int) -> tuple[int, int]:
    """Which latent frames of the clips this step learns from, the same in all processes: one in so many, from where."""
    generator = keyed_generator("base thinning", step)
    every = KEEP_ONE_IN[int(torch.multinomial(torch.tensor(KEEP_SHARES), 1, generator=generator))]
    return every, int(torch.randint(every, (1,), generator=generator))


class _Data:
    """Encoded pictures and clips, growing while they are used."""

    def __init__(self, work: Path, codec: AutoencoderKLWan, run: Run) -> None:
        shape = (1, -1, 1, 1, 1)
        self.mean, self.std = (torch.tensor(codec.config[f"latents_{n}"]).view(shape) for n in ("mean", "std"))
        folder = work / f"latents-{encoder_hash(codec)[:8]}-{run.rank}"
        self.stores = {n: LatentStore(folder, kind, n, codec, SIZE_PX) for n, kind in KINDS.items()}
        self.run = run

    def batch(self, num_latents: int, batch_scale: int, generator: torch.Generator) -> Items:
        """Normalized items; grows the store first, now and then."""
        store = self.stores[num_latents]
        wanted = len(store) + (GROW[num_latents] if self.run.step % GROW_EVERY == 0 else 0)
        while len(store) < max(MIN_ITEMS[num_latents], wanted):
            store.grow(GROW[num_latents], key=f"rank{self.run.rank}")
        every, offset = thinning(self.run.step) if num_latents > 1 else (1, 0)
        count = every * BATCH[num_latents] * batch_scale  # as many frames, however few of each clip
        shares = {"simple_share": SIMPLE_SHARE[num_latents], "several_share": SEVERAL_SHARE[num_latents]}
        items = store.sample(count, generator, **shares).thinned(every, offset)
        return replace(items, z_BZFYX=(items.z_BZFYX - self.mean) / self.std)

    def sizes(self) -> str:
        """How many items there are, for the log."""
        return ", ".join(f"{len(store)} {store.name}" for store in self.stores.values())


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
    ema_decay: float = 0.998,
    compiled: bool = False,
    adapt: bool = False,
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
        compiled: compile the blocks, which needs a C++ compiler on the CPU and a minute at the start.
        adapt: go on from a checkpoint that was made for another encoder.
    """
    torch.manual_seed(1)
    nano = Nano().to(device)
    if compiled:
        nano.transformer.compile_repeated_blocks(dynamic=True)
    codec = load_codec(codec_folder).to(device)
    run = Run(nano, _groups(nano), work / "base.safetensors", matrices=_block_matrices(nano), minutes=minutes,
              ema_decay=ema_decay, made_for=encoder_hash(codec), adapt=adapt)  # fmt: skip
    data = _Data(work, codec, run)
    while run.goes_on():
        generator = keyed_generator("base", run.step, run.rank)
        num_latents = _draw_length(run.step, run.seconds / 60, picture_minutes)
        loss, figures = base_loss(nano, data.batch(num_latents, batch_scale, generator), generator)
        named = {f"{KINDS[num_latents]} {name}": value for name, value in figures.items()}
        fade = min(1.0, max(0.05, run.seconds_left / (60 * fade_minutes))) if fade_minutes else 1.0
        run.update(loss, peak_rate * fade * min(1.0, (run.step + 1) / 300), named)
        run.log(data.sizes())
