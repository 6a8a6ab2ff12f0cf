"""Opens a base and calls its network: `velocity()` is the only call there is."""

from __future__ import annotations

import json
import math
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import diffusers.utils.logging
import torch
import transformers.utils.logging
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoTokenizer, UMT5Config, UMT5EncoderModel

from motion_transfer.errors import BadSpec, MissingWeights
from motion_transfer.lora.fuse import fuse
from motion_transfer.model.attention import WeightedTextProcessor, small_attention, weigh_text
from motion_transfer.model.catalog import BaseSpec, find_base, weights_hash
from motion_transfer.model.codec import Codec
from motion_transfer.model.flow import TIMESTEPS
from motion_transfer.model.quantize import product_dtype, quantize
from motion_transfer.model.rope import temporal_positions
from motion_transfer.model.tensor_cache import TensorCache, default_folder
from motion_transfer.model.text import OpenTextEncoder, TextEncoder, TextStates, VisitingTextEncoder, Vocabulary
from motion_transfer.types import PRECISIONS


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoBase:
    """An opened base. Made only by `open_base`."""

    spec: BaseSpec
    transformer: WanTransformer3DModel
    codec: Codec
    text: TextEncoder
    scheduler: UniPCMultistepScheduler
    text_attention: WeightedTextProcessor
    device: torch.device
    dtype: torch.dtype
    precision: str
    hash: str

    @property
    def num_latents(self) -> int:
        """Latent frames of a native clip."""
        return self.codec.num_latents(self.spec.num_frames)

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """`(Z, F, Y, X)` of a native clip."""
        scale = self.codec.vae.config.scale_factor_spatial
        return (
            self.transformer.config.in_channels,
            self.num_latents,
            self.spec.height // scale,
            self.spec.width // scale,
        )

    @property
    def frame_tokens(self) -> int:
        """Tokens of one latent frame."""
        _, _, height, width = self.latent_shape
        _, rows, columns = self.transformer.config.patch_size
        return (height // rows) * (width // columns)

    @property
    def num_heads(self) -> int:
        """Attention heads of each block."""
        return self.transformer.config.num_attention_heads

    @property
    def head_width(self) -> int:
        """Channels of each head."""
        return self.transformer.config.attention_head_dim

    def velocity(
        self, z_BZFYX: Tensor, sigma_B: Tensor, text: TextStates, times_F: tuple[float, ...] | None = None
    ) -> Tensor:
        """The network's velocity `noise - z` for noisy latents, float32 on the base's device.

        Args:
            z_BZFYX: noisy latents.
            sigma_B: noise levels in [0, 1].
            text: states of one prompt, or of one per batch row.
            times_F: places of the latent frames on the time axis; default 0, 1, 2, …
        """
        text = text.expand(z_BZFYX.shape[0]) if text.states_BMD.shape[0] == 1 else text
        self.text_attention.bias_BM = text.bias_BM.to(self.device)
        with ExitStack() as stack:
            if torch.is_grad_enabled():
                num_tokens = z_BZFYX[0, 0].numel() // math.prod(self.transformer.config.patch_size)
                stack.enter_context(small_attention(self.device, num_tokens))
            if times_F is not None:
                stack.enter_context(temporal_positions(self.transformer, times_F))
            velocity = self.transformer(
                z_BZFYX.to(self.device, self.dtype),
                (sigma_B * TIMESTEPS).to(self.device),
                text.states_BMD.to(self.device, self.dtype),
                return_dict=False,
            )[0]
        return velocity.float()


def check_precision(precision: str) -> None:
    """Sees that there is such a precision.

    Raises:
        BadSpec: there is none.
    """
    if precision not in PRECISIONS:
        raise BadSpec(f"precision must be one of {', '.join(PRECISIONS)}, but is {precision!r}; choose one.")


_MISFITS = (RuntimeError, TypeError, KeyError)  # what libraries raise where weights and configuration disagree


def _incomplete(spec: BaseSpec, error: Exception) -> MissingWeights:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return MissingWeights(
        f"expected all parts of a Wan pipeline in {spec.folder}, but one is missing or damaged "
        f"({reason}); fetch the folder again, with git lfs if it comes from git."
    )


def open_vocabulary(spec: BaseSpec) -> Vocabulary:
    """The words of a base, without its weights.

    Raises:
        MissingWeights: its folder is incomplete.
    """
    try:
        return Vocabulary(spec.folder)
    except (OSError, ValueError) as error:
        raise _incomplete(spec, error) from error


LARGE_BYTES = 10**9  # text encoders beyond this are opened for a moment only


def _encoder_weights(spec: BaseSpec) -> int:
    """How many weights the text encoder has, from its configuration alone."""
    with torch.device("meta"):
        encoder = UMT5EncoderModel(UMT5Config.from_pretrained(spec.folder / "text_encoder"))
    return sum(parameter.numel() for parameter in encoder.parameters())


def _open_encoder(spec: BaseSpec, dtype: torch.dtype) -> UMT5EncoderModel:
    """The text encoder's weights, on the CPU.

    Raises:
        MissingWeights: they aren't there, or damaged.
    """
    try:
        return UMT5EncoderModel.from_pretrained(spec.folder / "text_encoder", dtype=dtype, use_safetensors=True)
    except (OSError, ValueError, SafetensorError, *_MISFITS) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise _incomplete(spec, error) from error


def _check_files(folder: Path) -> None:
    """Sees that all files of a model are there and whole, without reading their weights.

    Raises:
        OSError, ValueError, KeyError, SafetensorError: one isn't.
    """
    index = folder / "model.safetensors.index.json"
    names = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else {"model.safetensors"}
    for name in names:
        with safe_open(folder / name, framework="pt"):
            pass


def _text_encoder(spec: BaseSpec, where: torch.device, cache: TensorCache | None, name: str) -> TextEncoder:
    """The base's text encoder; a large one, which comes with a cache, is not opened yet."""
    tokenizer = AutoTokenizer.from_pretrained(spec.folder / "tokenizer")
    if cache is None:
        return OpenTextEncoder(tokenizer, _open_encoder(spec, torch.float32), where)
    _check_files(spec.folder / "text_encoder")
    half = torch.bfloat16
    return VisitingTextEncoder(tokenizer, partial(_open_encoder, spec, half), device=where, cache=cache, name=name,
                               num_bytes=_encoder_weights(spec) * half.itemsize)  # fmt: skip


def open_base(
    name: str = "nano", *, precision: str = "nf4", device: str | None = None, cache: Path | None = None
) -> VideoBase:
    """Opens a base by catalog name or folder.

    Args:
        name: "nano", or a folder that stock diffusers opens as `WanPipeline`.
        precision: "nf4" and "int8" store the blocks' weights so; "bf16" and "fp32" store and compute alike. Beside
            quantized weights a GPU computes in bfloat16, a CPU in float32, but for nf4's matrix products where it has
            bfloat16 instructions.
        device: default the first GPU, else the CPU.
        cache: folder that keeps latents and text states of a large base; by default one of the system's for caches.

    Raises:
        MissingWeights: no such base, or its folder is incomplete.
        BadLora: the LoRA that is part of it can't be read whole, or doesn't fit.
        BadSpec: unknown precision.
    """
    check_precision(precision)
    spec = find_base(name)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    half = precision == "bf16" or (where.type == "cuda" and precision != "fp32")
    dtype = torch.bfloat16 if half else torch.float32
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
    try:
        safe = {"use_safetensors": True}  # never falls back to pickled weights, which can run code
        full = {"dtype": torch.float32, **safe}
        transformer = WanTransformer3DModel.from_pretrained(spec.folder, subfolder="transformer", dtype=dtype, **safe)
        vae = AutoencoderKLWan.from_pretrained(spec.folder, subfolder="vae", **full)
        weights = weights_hash(spec.folder)  # without the LoRA, which neither codec nor text encoder knows of
        is_large = _encoder_weights(spec) * torch.float32.itemsize > LARGE_BYTES
        kept = TensorCache(cache or default_folder()) if is_large else None
        text = _text_encoder(spec, where, kept, weights)
        scheduler = UniPCMultistepScheduler.from_pretrained(spec.folder, subfolder="scheduler")
    except (OSError, ValueError, SafetensorError, *_MISFITS) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise _incomplete(spec, error) from error
    transformer.eval().requires_grad_(False)
    if spec.lora is not None:
        fuse(transformer, spec.lora)
    if precision in ("nf4", "int8"):
        quantize(transformer, precision, where, product_dtype(where, dtype))
    return VideoBase(
        spec=spec,
        transformer=transformer.to(where),
        codec=Codec(vae, where, kept, weights),
        text=text,
        scheduler=scheduler,
        text_attention=weigh_text(transformer),
        device=where,
        dtype=dtype,
        precision=precision,
        hash=weights_hash(spec.folder, spec.lora) if spec.lora else weights,
    )
