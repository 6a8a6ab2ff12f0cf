"""Between nano-clip's checkpoint and its shipped folder, both ways."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from motion_transfer.model.contrast import open_contrast, save_contrast
from motion_transfer.nano.checkpoint import save_state
from motion_transfer.nano.contrast import build_contrast
from motion_transfer.nano.export import FACTS, load_averaged, progress
from motion_transfer.nano.folder import build_tokenizer, restore_interrupted, swap_in
from motion_transfer.nano.processes import process_rank, wait_for_all


def export_contrast(work: Path, folder: Path) -> None:
    """Writes the averaged weights with their card and how far they are trained."""
    if process_rank() != 0:
        return
    network = build_contrast()
    facts = load_averaged(work / "contrast.safetensors", network)
    fresh = folder.with_name(folder.name + ".partial")
    shutil.rmtree(fresh, ignore_errors=True)
    save_contrast(fresh, network, build_tokenizer().backend_tokenizer)
    (fresh / FACTS).write_text(json.dumps(facts, indent=2) + "\n")
    (fresh / "README.md").write_text(_card(facts, sum(p.numel() for p in network.parameters())))
    swap_in(fresh, folder)


def start_contrast_from_folder(work: Path, folder: Path) -> None:
    """Makes a checkpoint of the shipped 16-bit weights where there is none, so that training goes on from them."""
    path = work / "contrast.safetensors"
    if process_rank() == 0 and not path.exists():
        restore_interrupted(folder)
        if (folder / FACTS).exists():
            network, facts = open_contrast(folder).network, json.loads((folder / FACTS).read_text())
            save_state(path, {f"ema/{n}": p.float() for n, p in network.named_parameters()}, facts)
    wait_for_all()


def _card(facts: dict[str, Any], num_parameters: int) -> str:
    """The weights' card: what they are, how far they are trained, what they can't do."""
    return f"""---
license: apache-2.0
library_name: safetensors
pipeline_tag: zero-shot-image-classification
---

# nano-clip

Says how well a picture of nano's toy world fits a text, and how alike two such pictures are: CLIP's contrastive
training (arXiv 2103.00020, section 2.3) at toy size, {num_parameters / 1e6:.1f} M parameters, pictures of 64 by 64
pixels, the world's own vocabulary. Its cosines can't be compared with those of other models, and it knows nothing of
real footage or of other words. Opens with `motion_transfer.model.contrast.open_contrast()`.

| trained so far | last 100 steps | command | seeds |
|---|---|---|---|
| {progress(facts)} | `python -m motion_transfer.nano contrast` | weights 2, data by step |

Trained on CPUs, bf16 autocast; the averaged weights ship in 16 bit. All training pictures are drawn by
`motion_transfer/video/synth`, every pair of shape and color among them; no outside data. How often it tells a true
caption from ones with one wrong word: `python -m motion_transfer.nano check-contrast`, `docs/results/contrast.json`.
"""
