"""The Hugging Face Hub: motions are published with a card, and fetched by repository, commit and hash; so are bases."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, ModelCard, ModelCardData, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import LocalTokenNotFoundError
from huggingface_hub.file_download import repo_folder_name

from motion_transfer.errors import BadLora, BadSpec, HubFailed, MotionTransferError, StorageFailed
from motion_transfer.library import Library, check_size
from motion_transfer.library_files import Motion
from motion_transfer.lora.files import file_hash, read_lora, save_lora
from motion_transfer.lora.layouts import COMFYUI, DIFFUSERS
from motion_transfer.model.catalog import FILES, HUB_BASES, HubLora
from motion_transfer.presets import PresetLora

WEIGHTS, FOR_COMFYUI, ORIGINAL = "motion.safetensors", "motion-comfyui.safetensors", "original.safetensors"
_DISK_FULL = os.strerror(errno.ENOSPC)
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
_PUBLISHED_AS = {DIFFUSERS: WEIGHTS, COMFYUI: FOR_COMFYUI}  # a file of another layout goes beside both
_LEARNED = ", learned from one clip of “{caption}” by Follow-Your-Motion ([arXiv 2506.05207](https://arxiv.org/abs/2506.05207))"
_CARD = """---
{data}
---

# {name}

A motion LoRA of rank {rank} for the base `{base}`{learned}.

| | |
|---|---|
| SHA-256 of `{published}` | `{sha256}` |
| base | `{base}` {base_hash} |
| learned by | {method} |

```python
pipeline.load_lora_weights("{repository}", weight_name="{weights}")
```

`{for_comfyui}` holds it in the layout that ComfyUI and most other tools read.{unread}

The clip it was learned from is not part of this repository. Whoever publishes a motion answers for having the right to
learn it.
"""


@dataclass(frozen=True, kw_only=True)
class Published:
    """Where a motion lies: its page, and its name and commit as presets hold them."""

    address: str
    hub: str


def checked_name(name: str, what: str) -> str:
    """A repository's name.

    Raises:
        BadSpec: it is none.
    """
    if not _NAME.fullmatch(name):
        raise BadSpec(f"{what} is called owner/name, but this is {name!r:.60}; write both.")
    return name


def download(name: str, *, token: str | bool | None = None) -> Path:
    """Fetches a base of the catalog into the cache of the Hugging Face Hub; goes on where it stopped.

    Args:
        name: one of `HUB_BASES`.
        token: of an account; None takes that of this machine if there is one, False none.

    Returns:
        Its folder.

    Raises:
        BadSpec: there is no such base.
        StorageFailed: the disk has no room for it.
        HubFailed: the Hub does not give it, or gives another LoRA than the one that is part of it.
    """
    if name not in HUB_BASES:
        raise BadSpec(f"a base on the Hub is one of {', '.join(HUB_BASES)}, but is {name!r:.60}; choose one.")
    base, cache = HUB_BASES[name], Path(constants.HF_HUB_CACHE)
    missing = base.num_bytes - _fetched_bytes(cache, base.repository)
    if base.lora is not None:
        missing += base.lora.num_bytes - _fetched_bytes(cache, base.lora.repository)
    disk = next(path for path in (cache, *cache.parents) if path.is_dir())
    if missing > (free := shutil.disk_usage(disk).free):
        raise StorageFailed(f"{name} takes {missing / 1e9:.1f} GB more, but {cache} has {free / 1e9:.1f} GB "
                            "free; make room, or set HF_HOME to a folder on a larger disk.")  # fmt: skip
    if base.lora is not None:
        _download_lora(base.lora, token)
    with asking(f"give {base.repository}"):
        return Path(snapshot_download(base.repository, revision=base.revision, allow_patterns=FILES, token=token))


def _fetched_bytes(cache: Path, repository: str) -> int:
    """What came of a repository so far."""
    blobs = cache / repo_folder_name(repo_id=repository, repo_type="model") / "blobs"
    return sum(path.stat().st_size for path in blobs.glob("*"))


def _download_lora(lora: HubLora, token: str | bool | None) -> None:
    """Fetches the LoRA that is part of a base; one of another hash does not stay."""
    with asking(f"give the LoRA of {lora.repository}"):
        path = Path(hf_hub_download(lora.repository, lora.file, revision=lora.revision, token=token))
    if (found := file_hash(path)) != lora.sha256:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise HubFailed(f"{lora.file} of {lora.repository} should have SHA-256 {lora.sha256[:12]}…, but came with "
                        f"{found[:12]}…; try again.")  # fmt: skip


@contextmanager
def asking(deed: str) -> Iterator[None]:
    """Around calls of the Hub: whatever its libraries raise becomes one sentence.

    Args:
        deed: what the Hub should do.

    Raises:
        HubFailed: nobody is logged in, or the Hub does not do it.
        StorageFailed: the disk is full.
    """
    try:
        yield
    except MotionTransferError:
        raise
    except LocalTokenNotFoundError as error:
        raise HubFailed("an account of the Hub is expected, but nobody is logged in; run hf auth login.") from error
    except Exception as error:  # of the Hub, of whatever HTTP library it uses, or of the system
        if _is_disk_full(error):
            raise StorageFailed(f"the Hub should {deed}, but the disk is full; make room and do it again: what came so "
                                "far is kept.") from error  # fmt: skip
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:160]
        raise HubFailed(f"the Hub should {deed}, but does not ({reason}); check the name, the account's rights and the "
                        "connection.") from error  # fmt: skip


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says so; some libraries only put the system's words into theirs."""
    while error is not None:
        if getattr(error, "errno", None) == errno.ENOSPC or _DISK_FULL in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _plain(text: object) -> str:
    """Words of a recipe, which may be anybody's, as they stand in a card."""
    return re.sub(r"[^\w .,:'-]", " ", str(text))[:200].strip() or "?"


def card_of(motion: Motion, repository: str) -> str:
    """The card of a motion's repository."""
    found = read_lora(motion.path)
    info, published = found.lora.info, _PUBLISHED_AS.get(found.layout, ORIGINAL)
    lost = len(found.unread)
    unread = f" {lost} keys of `{published}` could not be read; no other file has them." if lost else ""
    learned = _LEARNED.format(caption=_plain(motion.caption)) if info.get("method") == "follow-your-motion" else ""
    base = {"base_model": HUB_BASES[motion.base].repository} if motion.base in HUB_BASES else {}
    data = ModelCardData(library_name="diffusers", pipeline_tag="text-to-video", **base,
                         tags=["lora", "motion-transfer", "video", "wan"])  # fmt: skip
    if base:
        data.base_model_relation = "adapter"
    return _CARD.format(
        data=data.to_yaml(), name=_plain(motion.name), learned=learned, base=_plain(motion.base), published=published,
        base_hash=_plain(info.get("base_hash", ""))[:12], rank=motion.rank or "?", sha256=file_hash(motion.path),
        method=_plain(info.get("method", "")), repository=repository, weights=WEIGHTS, for_comfyui=FOR_COMFYUI,
        unread=unread,
    )  # fmt: skip


def publish(motion: Motion, repository: str, *, private: bool, token: str | bool = True) -> Published:
    """Puts a motion on the Hub, or a newer version of it; the clip it was learned from stays here.

    Args:
        motion: of a library.
        repository: `owner/name`.
        private: whether others see it; of a repository that is there, nothing changes.
        token: of an account; True takes that of who is logged in on this machine.

    Raises:
        BadSpec: the name is none.
        HubFailed: nobody is logged in, or the Hub does not take it.
    """
    hub = HfApi(token=token)
    checked_name(repository, "a repository")
    with tempfile.TemporaryDirectory() as folder, asking(f"take the motion {repository}"):
        found = read_lora(motion.path)
        weights, for_comfyui = Path(folder) / WEIGHTS, Path(folder) / FOR_COMFYUI
        # As it is, for presets name it by its hash.
        shutil.copyfile(motion.path, Path(folder) / _PUBLISHED_AS.get(found.layout, ORIGINAL))
        for path, layout in ((weights, DIFFUSERS), (for_comfyui, COMFYUI)):
            if not path.is_file():
                save_lora(found.lora, path, layout)
        ModelCard(card_of(motion, repository)).save(Path(folder) / "README.md")
        made = hub.create_repo(repository, private=private, exist_ok=True)
        commit = hub.upload_folder(repo_id=repository, folder_path=folder, commit_message=f"Motion {motion.name:.60}")
    return Published(address=str(made), hub=f"{repository}@{commit.oid}")


def fetch(hub: str, sha256: str, folder: Path, *, token: str | bool | None = None) -> Path:
    """Downloads a published LoRA into a folder.

    Args:
        hub: `owner/name@commit`.
        sha256: of the file that is wanted.
        folder: that it goes to.
        token: of an account; None takes that of this machine if there is one, False none.

    Raises:
        BadLora: the repository has no such file, or it is too large.
        HubFailed: the Hub does not give it.
    """
    repository, _, commit = hub.partition("@")
    api = HfApi(token=token)
    with asking(f"give the LoRA of {repository}"):
        files = api.list_repo_tree(checked_name(repository, "a repository"), revision=commit, recursive=True)
        found = [file for file in files if getattr(getattr(file, "lfs", None), "sha256", None) == sha256]
        if not found:
            raise BadLora(f"{hub} should hold a file with SHA-256 {sha256[:12]}…, but does not; ask who shared the "
                          "link.")  # fmt: skip
        check_size(found[0].size, f"that of {hub}")
        path = Path(api.hf_hub_download(repository, found[0].path, revision=commit, local_dir=folder))
    if file_hash(path) != sha256:
        path.unlink(missing_ok=True)
        raise BadLora(f"the file of {hub} should have SHA-256 {sha256[:12]}…, but came as another; try again.")
    return path


def fetch_into(library: Library, lora: PresetLora, *, token: str | bool | None = None) -> Motion:
    """Fetches a LoRA that a preset names into a library, which notes where it comes from.

    Args:
        library: that takes it in.
        lora: with the place on the Hub where it is published.
        token: see `fetch`.

    Raises:
        BadSpec, BadLora, HubFailed: see `fetch`.
        OSError: the disk does not take it.
    """
    hub = lora.hub or ""
    with tempfile.TemporaryDirectory() as folder:
        motion = library.import_motion(fetch(hub, lora.sha256, Path(folder), token=token), lora.name)
    library.note_hub(motion, hub)
    return motion
