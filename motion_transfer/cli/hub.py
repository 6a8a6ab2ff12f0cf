"""The commands that reach the Hugging Face Hub; nothing else of the command line does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from motion_transfer import hub, space
from motion_transfer.cli.shared import app
from motion_transfer.errors import BadLora, BadSpec
from motion_transfer.library_files import motion_at
from motion_transfer.model.catalog import HUB_BASES


@app.command()
def deploy(
    name: Annotated[str, typer.Argument(help="The Space, as owner/name.")] = "",
    into: Annotated[Path | None, typer.Option(help="Only write its files into this new folder.")] = None,
    private: Annotated[bool, typer.Option(help="A Space that only its owner sees.")] = False,
) -> None:
    """Makes this program a Hugging Face Space of one's own, or brings that up to date."""
    if (into is None) == (not name):
        raise BadSpec("a Space's name or a folder is expected, but there is neither or both; give one of them.")
    if into is not None:
        if into.exists():
            raise BadSpec(f"a new folder is expected, but {into} is there already; choose another.")
        space.assemble(into)
        print(into)
    else:
        print(space.deploy(name, private=private))


@app.command()
def publish(
    lora: Annotated[Path, typer.Argument(help="The motion's file.")],
    repository: Annotated[str, typer.Argument(help="Where to, as owner/name.")],
    private: Annotated[bool, typer.Option(help="A repository that only its owner sees.")] = False,
) -> None:
    """Puts a motion on the Hugging Face Hub, with a card; the clip it was learned from stays here."""
    motion = motion_at(lora)
    if motion is None:
        raise BadLora(f"a LoRA file is expected, but {lora} is none; check the path.")
    published = hub.publish(motion, repository, private=private)
    print(f"{published.address}\n{published.hub}")


@app.command()
def download(
    base: Annotated[str, typer.Argument(help=f"One of {', '.join(HUB_BASES)}.")],
) -> None:
    """Fetches a base from the Hugging Face Hub; goes on where it stopped."""
    print(hub.download(base))
