"""nano-clip: how well a picture of the procedural world fits a text, and how alike two pictures are.

Two encoders put pictures and texts on one unit sphere, where the cosine says how well they fit, as in CLIP (arXiv
2103.00020, section 2.3). Made for captions in the world's own words: of other texts it knows nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from motion_transfer.errors import MissingWeights
from motion_transfer.model.catalog import ASSETS

NANO_CLIP = ASSETS / "nano-clip"
WEIGHTS, CONFIG, WORDS = "model.safetensors", "config.json", "tokenizer.json"
START_SCALE, MAX_SCALE = 1 / 0.07, 100.0  # inverse temperature: arXiv 2103.00020, section 2.5
FRAMES_AT_ONCE = 64
PAD = 0  # the tokenizer's padding
HIDDEN = -1e9


@dataclass(frozen=True, kw_only=True)
class ContrastSpec:
    """Sizes of the two encoders; `side_px` is the width and height that pictures are brought to."""

    vocab_size: int
    side_px: int = 64
    width: int = 128
    num_heads: int = 4
    picture_layers: int = 3
    text_layers: int = 2
    max_tokens: int = 40


class _Layer(nn.Module):
    """A transformer layer, norms first: tokens look at a context, then each thinks for itself."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm_look, self.norm_think = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value, self.out = (nn.Linear(width, n * width) for n in (1, 2, 1))
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def _looked(self, x_BQD: Tensor, context_BSD: Tensor, bias_BS: Tensor | None) -> Tensor:
        """Attention by plain matrix products: fused attention is several times slower at so few tokens."""
        q_BNQK = self.query(self.norm_look(x_BQD)).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        both = self.key_value(self.norm_look(context_BSD)).unflatten(2, (2, self.num_heads, -1))
        k_BNSK, v_BNSK = both.permute(2, 0, 3, 1, 4).unbind(0)
        logits_BNQS = (q_BNQK * q_BNQK.shape[-1] ** -0.5) @ k_BNSK.transpose(2, 3)
        if bias_BS is not None:
            logits_BNQS = logits_BNQS + bias_BS[:, None, None]
        return self.out((logits_BNQS.softmax(-1) @ v_BNSK).transpose(1, 2).flatten(2))

    def forward(self, x_BQD: Tensor, context_BSD: Tensor, bias_BS: Tensor | None = None) -> Tensor:
        """`bias_BS` is added to the context's logits: `HIDDEN` where padding stands."""
        x_BQD = x_BQD + self._looked(x_BQD, context_BSD, bias_BS)
        return x_BQD + self.narrow(F.relu(self.widen(self.norm_think(x_BQD))))


class _SummingUp(nn.Module):
    """A transformer over tokens with places, of which only the added class token is read in the end."""

    def __init__(self, spec: ContrastSpec, num_layers: int, num_places: int) -> None:
        super().__init__()
        width = spec.width
        self.place = nn.Parameter(0.02 * torch.randn(1, num_places, width))
        self.summary = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.layers = nn.ModuleList(_Layer(width, spec.num_heads) for _ in range(num_layers))
        self.norm, self.project = nn.LayerNorm(width), nn.Linear(width, width, bias=False)

    def forward(self, tokens_BSD: Tensor, bias_BS: Tensor | None = None) -> Tensor:
        """Vectors `(B, D)` of tokens `(B, S, D)`; `bias_BS` as for a layer."""
        placed_BSD = tokens_BSD + self.place[:, : tokens_BSD.shape[1]].to(tokens_BSD.dtype)
        summary_B1D = self.summary.to(tokens_BSD.dtype).expand(len(tokens_BSD), -1, -1)
        x_BSD = torch.cat([summary_B1D, placed_BSD], 1)
        bias_BS = None if bias_BS is None else F.pad(bias_BS, (1, 0))
        for layer in self.layers[:-1]:
            x_BSD = layer(x_BSD, x_BSD, bias_BS)
        return self.project(self.norm(self.layers[-1](x_BSD[:, :1], x_BSD, bias_BS)[:, 0]))


class _ResidualConvolutions(nn.Module):
    """Two 3x3 convolutions beside the straight way."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW + self.second(F.relu(self.first(F.relu(self.norm(x_BCHW)))))


class PictureEncoder(nn.Module):
    """Convolutions down to an eighth of the width, then a transformer over the cells."""

    def __init__(self, spec: ContrastSpec) -> None:
        super().__init__()
        width = spec.width
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, width // 4, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width // 4, width // 2, 3, stride=2, padding=1),
            _ResidualConvolutions(width // 2),
            nn.Conv2d(width // 2, width, 3, stride=2, padding=1),
            _ResidualConvolutions(width),
        )
        self.summing_up = _SummingUp(spec, spec.picture_layers, (spec.side_px // 8) ** 2)
        self._keep_signal()

    def _keep_signal(self) -> None:
        """Initial kernels that keep the signal's size past each ReLU (He initialization, arXiv 1502.01852)."""
        for module in self.convolutions.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, pictures_BCHW: Tensor) -> Tensor:
        """Pictures in 0..1 to vectors `(B, D)`, not yet of unit length."""
        return self.summing_up(self.convolutions(4 * pictures_BCHW - 2).flatten(2).transpose(1, 2))


class TextEncoder(nn.Module):
    """A small transformer over words."""

    def __init__(self, spec: ContrastSpec) -> None:
        super().__init__()
        self.words = nn.Embedding(spec.vocab_size, spec.width)
        nn.init.normal_(self.words.weight, std=0.1)
        self.summing_up = _SummingUp(spec, spec.text_layers, spec.max_tokens)

    def forward(self, ids_BM: Tensor) -> Tensor:
        """Token numbers, padded with `PAD`, to vectors `(B, D)`, not yet of unit length."""
        return self.summing_up(self.words(ids_BM), torch.where(ids_BM == PAD, HIDDEN, 0.0))


class ContrastNetwork(nn.Module):
    """Both encoders and the learned temperature."""

    def __init__(self, spec: ContrastSpec) -> None:
        super().__init__()
        self.spec = spec
        self.picture, self.text = PictureEncoder(spec), TextEncoder(spec)
        self.log_scale = nn.Parameter(torch.tensor(START_SCALE).log())

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by before the softmax, at most `MAX_SCALE`."""
        return self.log_scale.exp().clamp(max=MAX_SCALE)

    def embed_pictures(self, pictures_BCHW: Tensor) -> Tensor:
        """Unit vectors `(B, D)` float32 of pictures in 0..1, of the spec's size."""
        return F.normalize(self.picture(pictures_BCHW).float(), dim=-1)

    def embed_ids(self, ids_BM: Tensor) -> Tensor:
        """Unit vectors `(B, D)` float32 of padded token numbers."""
        return F.normalize(self.text(ids_BM).float(), dim=-1)


def pad_ids(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> Tensor:
    """Token numbers `(B, M)` of texts; what is longer than `max_tokens` is cut off."""
    rows = [encoding.ids[:max_tokens] for encoding in tokenizer.encode_batch(list(texts))]
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


class ContrastModel:
    """A trained network with its words, ready to compare clips and texts."""

    def __init__(self, network: ContrastNetwork, tokenizer: Tokenizer) -> None:
        self.network, self.tokenizer = network.eval().requires_grad_(False), tokenizer

    @torch.no_grad()
    def embed_frames(self, frames_THWC: np.ndarray) -> Tensor:
        """Unit vectors `(T, D)` of uint8 frames of any size."""
        side_px = self.network.spec.side_px
        parts = []
        for part_THWC in np.array_split(frames_THWC, range(FRAMES_AT_ONCE, len(frames_THWC), FRAMES_AT_ONCE)):
            pictures = torch.from_numpy(np.ascontiguousarray(part_THWC)).permute(0, 3, 1, 2).float() / 255
            if pictures.shape[2:] != (side_px, side_px):
                pictures = F.interpolate(pictures, (side_px, side_px), mode="bilinear", antialias=True)
            parts.append(self.network.embed_pictures(pictures))
        return torch.cat(parts)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors `(B, D)` of texts; words outside the world's vocabulary all count as one unknown word."""
        return self.network.embed_ids(pad_ids(self.tokenizer, texts, self.network.spec.max_tokens))


def save_contrast(folder: Path, network: ContrastNetwork, tokenizer: Tokenizer) -> None:
    """Writes weights in 16 bit, sizes and words into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    halves = {name: tensor.detach().half().contiguous() for name, tensor in network.state_dict().items()}
    save_file(halves, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(asdict(network.spec), indent=2) + "\n")
    tokenizer.save(str(folder / WORDS))


def open_contrast(folder: Path = NANO_CLIP) -> ContrastModel:
    """Opens what `save_contrast` wrote; computes in float32.

    Raises:
        MissingWeights: the folder lacks a file, or they don't fit together.
    """
    if missing := [name for name in (WEIGHTS, CONFIG, WORDS) if not (folder / name).is_file()]:
        raise MissingWeights(
            f"expected nano-clip's {', '.join(missing)} in {folder}, but found none; "
            "fetch the folder or run `python -m motion_transfer.nano contrast`."
        )
    try:
        network = ContrastNetwork(ContrastSpec(**json.loads((folder / CONFIG).read_text())))
        network.load_state_dict({name: t.float() for name, t in load_file(folder / WEIGHTS).items()})
    except (ValueError, TypeError, RuntimeError) as error:
        raise MissingWeights(
            f"expected {WEIGHTS} and {CONFIG} of one model in {folder}, but they don't fit; fetch the folder again."
        ) from error
    return ContrastModel(network, Tokenizer.from_file(str(folder / WORDS)))
