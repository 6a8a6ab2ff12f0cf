"""nano as a folder that stock diffusers opens with `WanPipeline.from_pretrained`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from motion_transfer.nano.codec import SIZE_PX, Z_DIM
from motion_transfer.video.synth.palette import vocabulary
from motion_transfer.video.synth.scene import FPS, NUM_FRAMES

TEXT_WIDTH = 128
FLOW_SHIFT = 3.0
SHARD = "14MB"


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer over the world's vocabulary; `</s>` ends every prompt."""
    words = ["<pad>", "</s>", "<unk>", *vocabulary()]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.Replace("grey", "gray"),
            normalizers.Replace(Regex("[^a-z0-9, ]"), " "),  # other punctuation would become an unknown word
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def build_text_encoder(vocab_size: int) -> UMT5EncoderModel:
    """An untrained UMT5 encoder of two layers."""
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=vocab_size,
            d_model=TEXT_WIDTH,
            d_kv=32,
            d_ff=256,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
        )
    )


def build_transformer() -> WanTransformer3DModel:
    """An untrained Wan transformer with 8 blocks of width 256."""
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=8,
        attention_head_dim=32,
        in_channels=Z_DIM,
        out_channels=Z_DIM,
        text_dim=TEXT_WIDTH,
        freq_dim=256,
        ffn_dim=1024,
        num_layers=8,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=64,
    )
    _start_as_identity(transformer)
    return transformer


@torch.no_grad()
def _start_as_identity(transformer: WanTransformer3DModel) -> None:
    """Initial weights of DiT (arXiv 2212.09748, section 3.2, adaLN-Zero): blocks pass their input, output is zero."""
    for module in transformer.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    nn.init.xavier_uniform_(transformer.patch_embedding.weight.flatten(1))
    for zero in (transformer.condition_embedder.time_proj, transformer.proj_out):
        nn.init.zeros_(zero.weight)
    for table in [transformer.scale_shift_table, *(block.scale_shift_table for block in transformer.blocks)]:
        nn.init.zeros_(table)


def save_folder(
    folder: Path,
    transformer: WanTransformer3DModel,
    text_encoder: UMT5EncoderModel,
    codec: AutoencoderKLWan,
    texts: dict[str, str],
) -> None:
    """Writes the whole pipeline in 16 bit with `native.json` and further text files, then swaps it in whole."""
    pipeline = WanPipeline(
        tokenizer=build_tokenizer(),
        text_encoder=text_encoder.to(torch.float16),
        vae=codec.to(torch.float16),
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction",
            use_flow_sigmas=True,
            num_train_timesteps=1000,
            flow_shift=FLOW_SHIFT,
        ),
        transformer=transformer.to(torch.float16),
    )
    fresh = folder.with_name(folder.name + ".partial")
    shutil.rmtree(fresh, ignore_errors=True)
    pipeline.save_pretrained(fresh, max_shard_size=SHARD)
    for path in fresh.glob("*/config.json"):  # diffusers notes where weights came from: a path of this machine
        config = json.loads(path.read_text())
        if config.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    native = {"height": SIZE_PX, "width": SIZE_PX, "num_frames": NUM_FRAMES, "fps": FPS}
    for name, text in ({"native.json": json.dumps(native, indent=2) + "\n"} | texts).items():
        (fresh / name).write_text(text)
    swap_in(fresh, folder)


def swap_in(fresh: Path, folder: Path) -> None:
    """Puts a folder that is written in full in the place of an older one."""
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def restore_interrupted(folder: Path) -> None:
    """Puts the old folder back where `swap_in` was killed before the new one took its place."""
    old = folder.with_name(folder.name + ".old")
    if not folder.exists() and old.exists():
        old.rename(folder)


def load_codec(folder: Path) -> AutoencoderKLWan:
    """The trained codec of a nano folder, float32."""
    return AutoencoderKLWan.from_pretrained(folder / "vae", dtype=torch.float32).eval().requires_grad_(False)
