"""The commands that look into LoRA files and write them anew for other tools."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from motion_transfer.cli.shared import JsonOpt, app, prepare, write_json
from motion_transfer.errors import BadSpec
from motion_transfer.lora.doctor import Checkup, examine
from motion_transfer.lora.files import WRITTEN, read_lora, save_lora

MOST_SHOWN = 10  # keys and norms

lora = typer.Typer(no_args_is_help=True, help="Look into LoRA files, and write them anew for other tools.")
app.add_typer(lora, name="lora")

FileArg = Annotated[Path, typer.Argument(help="LoRA file of any Wan tool.")]


def _lines(checkup: Checkup) -> Iterator[str]:
    """A checkup in words."""
    yield f"layout: {checkup.layout}"
    yield f"base: {checkup.base or 'unknown'}" + (" (by its shapes)" if checkup.base and checkup.is_guess else "")
    yield f"rank: {', '.join(map(str, checkup.ranks))}"
    yield f"blocks: {checkup.num_blocks}"
    yield "layers: " + ", ".join(f"{module} in {count}" for module, count in sorted(checkup.modules.items()))
    if checkup.heads:
        yield f"self-attention heads: {checkup.heads[0]} of {checkup.heads[1]}"
    strongest = sorted(checkup.norms.items(), key=lambda item: -item[1])[:MOST_SHOWN]
    yield "largest changes: " + ", ".join(f"{name} {size:.3g}" for name, size in strongest)
    for key in checkup.unread[:MOST_SHOWN]:
        yield f"not read: {key}"
    if len(checkup.unread) > MOST_SHOWN:
        yield f"not read: {len(checkup.unread) - MOST_SHOWN} more"
    yield from (f"note: {warning}" for warning in checkup.misread_by)


@lora.command()
def inspect(file: FileArg, json_path: JsonOpt = None) -> None:
    """Layout, base, rank, blocks, heads, norms, keys that nothing was made of, and which tool will misread the file."""
    prepare(json_path, inputs=(file,))
    checkup = examine(read_lora(file))
    print("\n".join(_lines(checkup)))
    write_json(json_path, asdict(checkup))


@lora.command()
def convert(
    file: FileArg,
    out: Annotated[Path, typer.Argument(help="File to write.")],
    layout: Annotated[str, typer.Option(help=f"{' or '.join(WRITTEN)}.")] = WRITTEN[1],
) -> None:
    """Writes a LoRA in another layout: ComfyUI's for most tools, diffusers' for scripts."""
    known = {name.lower(): name for name in WRITTEN}
    if layout.lower() not in known:
        raise BadSpec(f"a layout is {' or '.join(WRITTEN)}, but {layout!r:.40} is asked for; choose one of them.")
    if out.resolve() == file.resolve():
        raise BadSpec(f"another file is expected, but {out} is the one to be read; choose another name.")
    found = read_lora(file)
    save_lora(found.lora, out, known[layout.lower()])
    for key in found.unread:
        print(f"note: {key} could not be read and is not in the new file", file=sys.stderr)
