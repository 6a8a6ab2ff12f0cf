"""Trains nano-clip: pictures of the procedural world against their captions.

CLIP's symmetric cross-entropy over a batch (arXiv 2103.00020, section 2.3, figure 3), in which captions that are
true of a picture beside its own don't count against it, and each picture has some almost true captions more to be
told from. Every process contrasts its own batch; gradients are averaged.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motion_transfer.model.contrast import ContrastNetwork, ContrastSpec, pad_ids
from motion_transfer.model.flow import keyed_generator
from motion_transfer.nano.caption_changes import draw_wrong_captions
from motion_transfer.nano.folder import build_tokenizer
from motion_transfer.nano.pictures import Pictures, PictureStore, roughen
from motion_transfer.nano.training import Run

BATCH = 128  # per process
NUM_WRONG = 5  # almost true captions for each picture
CAPACITY = 24_000  # frames kept in memory per process, 12 KB each
MIN_PICTURES = 1_024
DRAWING_SHARE = 0.1  # of the time


def build_contrast() -> ContrastNetwork:
    """An untrained network for the world's vocabulary."""
    return ContrastNetwork(ContrastSpec(vocab_size=len(build_tokenizer())))


def contrast_loss(
    pictures_BD: Tensor, texts_BD: Tensor, wrong_BQD: Tensor, *, scale: Tensor, true_BB: Tensor
) -> Tensor:
    """Mean of two cross-entropies: of each picture over texts, and of each text over pictures.

    Args:
        pictures_BD: unit vectors of pictures.
        texts_BD: of their captions, in the same order.
        wrong_BQD: of each picture's own almost true captions.
        scale: inverse temperature.
        true_BB: True where caption j is true of picture i; off the diagonal these count neither way.
    """
    own_BB = torch.eye(len(pictures_BD), dtype=torch.bool, device=pictures_BD.device)
    logits_BB = (scale * pictures_BD @ texts_BD.T).masked_fill(true_BB & ~own_BB, -math.inf)
    wrong_BQ = scale * torch.einsum("bd,bqd->bq", pictures_BD, wrong_BQD)
    answers_B = torch.arange(len(pictures_BD), device=pictures_BD.device)
    of_pictures = F.cross_entropy(torch.cat([logits_BB, wrong_BQ], 1), answers_B)
    return (of_pictures + F.cross_entropy(logits_BB.T, answers_B)) / 2


class Trainee(nn.Module):
    """The network with its words: from a batch of pictures to the loss."""

    def __init__(self, network: ContrastNetwork) -> None:
        super().__init__()
        self.network, self.tokenizer = network, build_tokenizer().backend_tokenizer

    def forward(self, batch: Pictures, wrong: list[list[str]]) -> tuple[Tensor, Tensor]:
        """The loss, and the share of pictures that fit their caption better than any almost true one."""
        device, b = self.network.log_scale.device, len(batch.captions)
        texts = [*batch.captions, *(caption for captions in wrong for caption in captions)]
        ids_BM = pad_ids(self.tokenizer, texts, self.network.spec.max_tokens).to(device)
        pictures = batch.pictures_BCHW.to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            pictures_BD, all_texts = self.network.embed_pictures(pictures), self.network.embed_ids(ids_BM)
        texts_BD, wrong_BQD = all_texts[:b], all_texts[b:].unflatten(0, (b, -1))
        loss = contrast_loss(pictures_BD, texts_BD, wrong_BQD, scale=self.network.scale,
                             true_BB=batch.true_BB.to(device))  # fmt: skip
        with torch.no_grad():
            own_B, best_B = (pictures_BD * texts_BD).sum(1), torch.einsum("bd,bqd->bq", pictures_BD, wrong_BQD).amax(1)
        return loss, (own_B > best_B).float().mean()


def wrong_captions(captions: list[str], seed: str) -> list[list[str]]:
    """`NUM_WRONG` almost true captions for each caption."""
    rng = Random(seed)
    return [draw_wrong_captions(rng, caption, NUM_WRONG) for caption in captions]


def _matrices(network: ContrastNetwork) -> list[nn.Parameter]:
    """The weights of linear layers, which Muon trains."""
    return [p for name, p in network.named_parameters() if p.ndim == 2 and "words" not in name]


def _groups(network: ContrastNetwork) -> list[dict]:
    """What AdamW trains; weight decay on convolutions only."""
    own = {id(p) for p in _matrices(network)}
    others = [p for p in network.parameters() if id(p) not in own]
    kernels, rest = [p for p in others if p.ndim == 4], [p for p in others if p.ndim != 4]
    return [{"params": kernels, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]


def _rate(done: float, step: int, peak: float) -> float:
    """Learning rate at a share of the plan: 100 steps of warm-up, then a cosine down to a fiftieth."""
    return peak * min(1.0, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


class _Drawing:
    """Fills the store, for a share of the run's time."""

    def __init__(self, run: Run, size_px: int) -> None:
        self.run, self.spent_s = run, 0.0
        self.store = PictureStore(size_px, CAPACITY, key=f"{run.rank}/{run.step}")

    def batch(self, count: int, generator: torch.Generator) -> Pictures:
        """Pictures as a render might show them; first draws new ones if the share of time allows."""
        while len(self.store) < MIN_PICTURES or self.spent_s < DRAWING_SHARE * self.run.seconds_now:
            begin = time.monotonic()
            self.store.grow()
            self.spent_s += time.monotonic() - begin
        batch = self.store.sample(count, generator)
        return Pictures(pictures_BCHW=roughen(batch.pictures_BCHW, generator), captions=batch.captions,
                        true_BB=batch.true_BB)  # fmt: skip


def train_contrast(
    work: Path,
    *,
    minutes: float,
    total_minutes: float | None = None,
    device: str = "cpu",
    batch_scale: int = 1,
    peak_rate: float = 2e-3,
    ema_decay: float = 0.995,
) -> None:
    """Trains for `minutes`, resuming from `work/contrast.safetensors`; a file with only the average also resumes.

    Args:
        work: folder of the checkpoint.
        minutes: how long to train now.
        total_minutes: length of the whole plan, for the learning rate; default what was done plus `minutes`.
        device: "cpu" or "cuda".
        batch_scale: factor on the batch size.
        peak_rate: highest learning rate.
        ema_decay: of the averaged weights.
    """
    torch.manual_seed(2)
    network = build_contrast().to(device)
    trainee = Trainee(network)
    run = Run(network, _groups(network), work / "contrast.safetensors", matrices=_matrices(network), minutes=minutes,
              ema_decay=ema_decay)  # fmt: skip
    drawing = _Drawing(run, network.spec.side_px)
    plan_s = 60 * total_minutes if total_minutes else run.seconds + 60 * minutes
    while run.goes_on():
        generator = keyed_generator("contrast", run.step, run.rank)
        batch = drawing.batch(BATCH * batch_scale, generator)
        loss, told = trainee(batch, wrong_captions(batch.captions, f"wrong/{run.step}/{run.rank}"))
        run.update(loss, _rate(run.seconds / plan_s, run.step, peak_rate), {"loss": loss.item(), "told": told.item()})
        run.log(f"{drawing.store.num_drawn} pictures")
