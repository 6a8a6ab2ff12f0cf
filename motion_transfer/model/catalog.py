"""Which bases there are, and where their folders lie."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import torch
from safetensors import safe_open

from motion_transfer.errors import MissingWeights

ASSETS = Path(__file__).resolve().parents[2] / "assets"
WAN_NATIVE = {"height": 480, "width": 832, "num_frames": 81, "fps": 16.0}
NANO_NOTE = (
    "**nano** is a small model for teaching and testing. It knows only a toy world of colored shapes on colored "
    "backgrounds. Real footage needs Wan2.1 and a GPU."
)
UNSETTLED_NOTE = (
    " **It is still being trained: its renders are not good yet, and motions learned now won't fit later.**"
)
WHOLE_HASH_BYTES = 2**30


@dataclass(frozen=True, kw_only=True)
class HubBase:
    """A base on the Hugging Face Hub, at a fixed commit, and its size in bytes."""

    repository: str
    revision: str
    num_bytes: int


HUB_BASES = {
    "wan2.1-1.3b": HubBase(repository="Wan-AI/Wan2.1-T2V-1.3B-Diffusers", num_bytes=28_928_887_859,
                           revision="0fad780a534b6463e45facd96134c9f345acfa5b"),
    "wan2.1-14b": HubBase(repository="Wan-AI/Wan2.1-T2V-14B-Diffusers", num_bytes=80_406_933_703,
                          revision="38ec498cb3208fb688890f8cc7e94ede2cbd7f68"),
}  # fmt: skip
PARTS = ("transformer", "vae", "text_encoder")  # that hold weights
FILES = ["model_index.json", *(f"{part}/*" for part in (*PARTS, "tokenizer", "scheduler"))]


@dataclass(frozen=True, kw_only=True)
class BaseSpec:
    """A base's name, folder and native clip format (pixels, frames, frames a second); `note` says what to expect."""

    name: str
    folder: Path
    height: int
    width: int
    num_frames: int
    fps: float
    note: str = ""


def fetched(name: str) -> Path | None:
    """The folder of a base that was fetched from the Hub, whole; None if it isn't here, or not all of it."""
    base = HUB_BASES[name]
    index = huggingface_hub.try_to_load_from_cache(base.repository, "model_index.json", revision=base.revision)
    if not isinstance(index, str):
        return None
    folder = Path(index).parent
    return folder if all(_has_weights(folder / part) for part in PARTS) else None


def _has_weights(part: Path) -> bool:
    """Whether all files are there that a part's list of files names; or its only one, if it has no list."""
    lists = list(part.glob("*.safetensors.index.json"))
    names = {name for one in lists for name in json.loads(one.read_text())["weight_map"].values()}
    return all((part / name).is_file() for name in names) if names else any(part.glob("*.safetensors"))


def _folder(name: str) -> Path:
    if name in HUB_BASES:
        found = fetched(name)
        if found is None:
            raise MissingWeights(
                f"{name} is expected in the cache of the Hugging Face Hub, but isn't there, or not all of its "
                f"{HUB_BASES[name].num_bytes / 1e9:.1f} GB; run python -m motion_transfer download {name}."
            )
        return found
    return ASSETS / name if name == "nano" else Path(name).expanduser()


def find_base(name: str) -> BaseSpec:
    """The base of that name, or the Wan folder at that path.

    Raises:
        MissingWeights: neither is there, or its `native.json` is damaged.
    """
    folder = _folder(name)
    if not (folder / "model_index.json").is_file():
        raise MissingWeights(
            f"expected a base called nano, {', '.join(HUB_BASES)}, or a folder in diffusers' Wan layout, "
            f"but found no model_index.json in {name}; check the name."
        )
    _check_kind(folder)
    native_path = folder / "native.json"
    try:
        native = json.loads(native_path.read_text()) if native_path.is_file() else WAN_NATIVE
        if name != "nano":
            return BaseSpec(name=name if name in HUB_BASES else folder.name, folder=folder, **native)
        settled = (json.loads((folder / "training.json").read_text())["base"] or {}).get("settled", False)
        return BaseSpec(name=name, folder=folder, note=NANO_NOTE if settled else NANO_NOTE + UNSETTLED_NOTE, **native)
    except (ValueError, TypeError, KeyError, OSError) as error:
        keys = ", ".join(WAN_NATIVE)
        raise MissingWeights(
            f"native.json in {folder} must hold {keys}, and nano a training.json beside it, but do not; "
            "fetch the folder again."
        ) from error


def _check_kind(folder: Path) -> None:
    """Sees that a folder holds a text-to-video pipeline with one transformer."""
    try:
        index = json.loads((folder / "model_index.json").read_text())
        kind, second = index.get("_class_name"), index.get("transformer_2")
    except (ValueError, AttributeError, OSError) as error:
        raise MissingWeights(
            f"model_index.json in {folder} must be a diffusers pipeline's, but can't be read; fetch the folder again."
        ) from error
    if kind != "WanPipeline" or any(part is not None for part in second or ()):
        found = "one of two transformers" if kind == "WanPipeline" else kind
        raise MissingWeights(f"expected a text-to-video WanPipeline of one transformer, such as Wan2.1's, but {folder} "
                             f"holds {found}; choose another folder.")  # fmt: skip


def weights_hash(folder: Path) -> str:
    """SHA-256 over the weights that a LoRA hangs on; of giant files, their heads, tails and sizes only.

    The codec's decoder is left out: it turns latents into pixels, and may be refined without any LoRA noticing.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        size = path.stat().st_size
        name = path.relative_to(folder)
        if size <= WHOLE_HASH_BYTES and name.parts[0] == "vae":
            _add_encoder(digest, path)
            continue
        digest.update(f"{name.as_posix()}:{size}".encode())
        with open(path, "rb") as handle:
            if size <= WHOLE_HASH_BYTES:
                digest.update(handle.read())
            else:
                digest.update(handle.read(2**20))
                handle.seek(-(2**20), 2)
                digest.update(handle.read())
    return digest.hexdigest()


def _add_encoder(digest: hashlib._Hash, path: Path) -> None:
    """Adds the tensors of a codec file that latents depend on."""
    with safe_open(path, framework="pt") as handle:
        for name in sorted(handle.keys()):
            if name.startswith(("encoder.", "quant_conv.")):
                tensor = handle.get_tensor(name)
                digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
                digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
