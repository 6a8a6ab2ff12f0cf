"""Which bases there are, and where their folders lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from safetensors import safe_open

from motion_transfer.errors import BadSpec, MissingWeights
from motion_transfer.lora.files import file_hash
from motion_transfer.model.distilled import Distilled

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


# FastVideo's pipeline for its three-step models renders at these levels, whatever steps it is asked for
# (DMD2, arXiv 2405.14867; their FastWan2.1 configuration), at the size that they were trained at.
FASTWAN = Distilled(steps=3, flow_shift=8.0, timesteps=(1000.0, 757.0, 522.0), fresh_noise=True)
FASTWAN_NATIVE = WAN_NATIVE | {"height": 448, "num_frames": 61}
# LightX2V's rule: levels 1, 3/4, 2/4, 1/4 before the shift, Euler's rule, no guidance.
LIGHTX2V = Distilled(steps=4, flow_shift=5.0)
SPARSE_NOTE = (
    "**FastWan2.1** is Wan2.1-1.3B distilled to three steps, and trained with sparse attention (VSA). Here it renders "
    "with full attention, without its gate for coarse attention: fine detail may differ from FastVideo's own renders."
)


@dataclass(frozen=True, kw_only=True)
class HubLora:
    """A LoRA on the Hub that is part of a base: a file of a repository at a fixed commit, with its SHA-256."""

    repository: str
    revision: str
    file: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class HubBase:
    """A base on the Hugging Face Hub, at a fixed commit, and its size in bytes.

    Attributes:
        lora: is added to its weights, below every motion.
        distilled: how it is rendered, if it is distilled, by itself or by the LoRA.
        native: its clip format.
        note: what to expect.
    """

    repository: str
    revision: str
    num_bytes: int
    lora: HubLora | None = None
    distilled: Distilled | None = None
    native: Mapping[str, Any] = field(default_factory=lambda: WAN_NATIVE)
    note: str = ""

    @property
    def all_bytes(self) -> int:
        """With its LoRA."""
        return self.num_bytes + (self.lora.num_bytes if self.lora else 0)


_WAN_14B: dict[str, Any] = {"repository": "Wan-AI/Wan2.1-T2V-14B-Diffusers", "num_bytes": 80_406_933_703,
                            "revision": "38ec498cb3208fb688890f8cc7e94ede2cbd7f68"}  # fmt: skip
HUB_BASES = {
    "wan2.1-1.3b": HubBase(repository="Wan-AI/Wan2.1-T2V-1.3B-Diffusers", num_bytes=28_928_887_859,
                           revision="0fad780a534b6463e45facd96134c9f345acfa5b"),
    "wan2.1-14b": HubBase(**_WAN_14B),
    # The commit is the one that FastVideo's own Apple runtime names; the size is rounded, as the Hub's page shows it.
    "wan2.1-1.3b-fast": HubBase(repository="FastVideo/FastWan2.1-T2V-1.3B-Diffusers", num_bytes=26_200_000_000,
                                revision="25e7ed7f41fd8ce2fdd108688c65e8caf0ce3aef", distilled=FASTWAN,
                                native=FASTWAN_NATIVE, note=SPARSE_NOTE),
    # The LoRA is pinned by commit and by the SHA-256 that the Hub's page of the file shows; its size is rounded.
    "wan2.1-14b-fast": HubBase(**_WAN_14B, distilled=LIGHTX2V, lora=HubLora(
        repository="lightx2v/Wan2.1-Distill-Loras", revision="27ae38da91014b947dd39cc3fa78b97cd7b386dd",
        file="wan2.1_t2v_14b_lora_rank64_lightx2v_4step.safetensors", num_bytes=631_000_000,
        sha256="1c918df9eaa102766d8f99104209ce55fe7a892278a667a63d721c5d1c18efb1")),
}  # fmt: skip
PARTS = ("transformer", "vae", "text_encoder")  # that hold weights
FILES = ["model_index.json", *(f"{part}/*" for part in (*PARTS, "tokenizer", "scheduler"))]


@dataclass(frozen=True, kw_only=True)
class BaseSpec:
    """A base's name, folder and native clip format (pixels, frames, frames a second); `note` says what to expect.

    `distilled` says how it is rendered, if it is distilled; `lora` is a file that becomes part of its weights.
    """

    name: str
    folder: Path
    height: int
    width: int
    num_frames: int
    fps: float
    note: str = ""
    distilled: Distilled | None = None
    lora: Path | None = None


def _cached(repository: str, file: str, revision: str) -> Path | None:
    found = huggingface_hub.try_to_load_from_cache(repository, file, revision=revision)
    return Path(found) if isinstance(found, str) else None


def fetched(name: str) -> Path | None:
    """The folder of a base that was fetched from the Hub, whole; None if it isn't here, or not all of it."""
    base = HUB_BASES[name]
    index = _cached(base.repository, "model_index.json", base.revision)
    if index is None or (base.lora is not None and fetched_lora(base.lora) is None):
        return None
    return index.parent if all(_has_weights(index.parent / part) for part in PARTS) else None


def fetched_lora(lora: HubLora) -> Path | None:
    """The file of a base's LoRA; None if it isn't here."""
    return _cached(lora.repository, lora.file, lora.revision)


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
                f"{HUB_BASES[name].all_bytes / 1e9:.1f} GB; run python -m motion_transfer download {name}."
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
    kind = _kind(folder)
    if name in HUB_BASES:
        row = HUB_BASES[name]
        lora = fetched_lora(row.lora) if row.lora else None
        return BaseSpec(name=name, folder=folder, note=row.note, distilled=row.distilled, lora=lora, **row.native)
    told = _told(folder, kind)
    if name != "nano":
        return BaseSpec(name=folder.name, folder=folder, **told)
    try:
        settled = (json.loads((folder / "training.json").read_text())["base"] or {}).get("settled", False)
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise MissingWeights(
            f"training.json in {folder} must say how far nano is, but doesn't; fetch the folder again."
        ) from error
    return BaseSpec(name=name, folder=folder, note=NANO_NOTE if settled else NANO_NOTE + UNSETTLED_NOTE, **told)


def _told(folder: Path, kind: str) -> dict[str, Any]:
    """What a folder says of itself in `native.json`: its clip format, and if it is distilled, how it is rendered.

    `"distilled"` holds the fields of `Distilled`, `"lora"` the name of a file beside, which becomes part of the
    weights. Without a `native.json` it is Wan2.1, or FastWan where the pipeline is FastVideo's.

    Raises:
        MissingWeights: it is damaged, or the LoRA isn't there.
    """
    path = folder / "native.json"
    try:
        if not path.is_file():
            return dict(WAN_NATIVE) if kind == WAN else {**FASTWAN_NATIVE, "distilled": FASTWAN, "note": SPARSE_NOTE}
        told = dict(json.loads(path.read_text()))
        format_ = {name: told.pop(name) for name in WAN_NATIVE}
        distilled, lora = told.pop("distilled", None), told.pop("lora", None)
        if told or not all(type(one) in (int, float) for one in format_.values()):
            raise ValueError(f"{told or format_}")
        if distilled is not None:
            distilled = Distilled(**distilled)
        lora = lora if lora is None else _beside(folder, lora)
        return format_ | {"distilled": distilled, "lora": lora}
    except (ValueError, TypeError, KeyError, OSError, BadSpec) as error:
        reason = (str(error).splitlines() or [""])[0][:160]
        raise MissingWeights(
            f"native.json in {folder} must hold {', '.join(WAN_NATIVE)}, of a distilled base also distilled (with "
            f"steps and flow_shift), and lora only if a file is called so, but does not ({reason}); correct it, or "
            "fetch the folder again."
        ) from error


def _beside(folder: Path, name: str) -> Path:
    """A file of a folder, by its mere name."""
    path = folder / name
    if path.name != name or not path.is_file():
        raise ValueError(f"there is no file {name!r:.60} beside it")
    return path


WAN, FASTVIDEO = KINDS = ("WanPipeline", "WanDMDPipeline")


def _kind(folder: Path) -> str:
    """Sees that a folder holds a text-to-video pipeline with one transformer, and says which of `KINDS`."""
    try:
        index = json.loads((folder / "model_index.json").read_text())
        kind, second = index.get("_class_name"), index.get("transformer_2")
    except (ValueError, AttributeError, OSError) as error:
        raise MissingWeights(
            f"model_index.json in {folder} must be a diffusers pipeline's, but can't be read; fetch the folder again."
        ) from error
    if kind not in KINDS or any(part is not None for part in second or ()):
        found = "one of two transformers" if kind in KINDS else kind
        raise MissingWeights(f"expected a text-to-video WanPipeline of one transformer, such as Wan2.1's, but {folder} "
                             f"holds {found}; choose another folder.")  # fmt: skip
    return kind


def weights_hash(folder: Path, lora: Path | None = None) -> str:
    """SHA-256 over the weights that a LoRA hangs on; of giant files, their heads, tails and sizes only.

    The codec's decoder is left out: it turns latents into pixels, and may be refined without any LoRA noticing.

    Args:
        folder: of the base.
        lora: that is part of its weights, wherever it lies and whatever it is called.
    """
    digest = hashlib.sha256()
    for path in sorted(set(folder.rglob("*.safetensors")) - {lora}):
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
    if lora is not None:
        digest.update(f"lora:{file_hash(lora)}".encode())
    return digest.hexdigest()


def _add_encoder(digest: hashlib._Hash, path: Path) -> None:
    """Adds the tensors of a codec file that latents depend on."""
    with safe_open(path, framework="pt") as handle:
        for name in sorted(handle.keys()):
            if name.startswith(("encoder.", "quant_conv.")):
                tensor = handle.get_tensor(name)
                digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
                digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
