"""Any folder of clips as a bench: real clips with their captions and prompts, whose true motion nobody knows."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from motion_transfer.errors import BadClip, BadSpec
from motion_transfer.types import Clip
from motion_transfer.video.io import read_clip

TABLE_NAME = "captions.csv"

_COLUMNS = "the columns file, caption and prompt"
_PROMPT_COLUMN = re.compile(r"prompt\d*")


@dataclass(frozen=True, kw_only=True)
class FolderCase:
    """A clip of a folder with its prompts. How it moves, and exactly what it shows, is not known."""

    name: str
    path: Path
    caption: str
    prompts: tuple[str, ...]
    kind: str = "real"
    scene: None = None
    targets: tuple[()] = ()

    def reference(self) -> Clip:
        """The reference clip, with its caption.

        Raises:
            BadClip: the file is not a readable video.
        """
        return read_clip(self.path, caption=self.caption)


def _table(path: Path) -> list[dict[str, str]]:
    """The rows of a table of clips by column, without the spaces around cells."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:  # spreadsheets put a mark before UTF-8
            lines = [[cell.strip() for cell in line] for line in csv.reader(handle) if any(map(str.strip, line))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadSpec(f"a folder of clips needs a {TABLE_NAME} in UTF-8, but {path.parent.name} has none that can "
                      f"be read ({type(error).__name__}); write one with {_COLUMNS}.") from error  # fmt: skip
    header = lines[0] if lines else []
    missing = [column for column in ("file", "caption", "prompt") if column not in header]
    if missing:
        raise BadSpec(f"{TABLE_NAME} needs {_COLUMNS}, but {', '.join(missing)} is not in its first line; add it.")
    if not lines[1:]:
        raise BadSpec(f"{TABLE_NAME} needs at least one clip, but has none below its first line; add one a line.")
    for number, line in enumerate(lines[1:], 1):
        if len(line) > len(header):
            raise BadSpec(f"{TABLE_NAME} has {len(header)} columns, but clip {number} has {len(line)} cells; put "
                          "texts that hold commas in double quotes.")  # fmt: skip
    return [dict(zip(header, line + [""] * len(header), strict=False)) for line in lines[1:]]


def _folder_case(folder: Path, row: dict[str, str]) -> FolderCase:
    """The case of one row; its clip must be there."""
    name, path = row["file"], folder / row["file"]
    if not path.is_file():
        raise BadClip(f"{TABLE_NAME} names the clip {name!r}, but there is no such file beside it; check the name.")
    prompts = tuple(text for column, text in row.items() if _PROMPT_COLUMN.fullmatch(column) and text)
    if not prompts:
        raise BadSpec(f"{TABLE_NAME} must say what to show with each clip's motion, but the prompt of {name} is "
                      "empty; write one.")  # fmt: skip
    return FolderCase(name=name, path=path, caption=row["caption"], prompts=prompts)


def folder_cases(folder: str | Path) -> tuple[FolderCase, ...]:
    """The clips of a folder that holds a `captions.csv`, in the order of its lines.

    Its columns are `file` (beside the table), `caption` (what the clip shows; may be empty), `prompt`, and as many
    of `prompt2`, `prompt3`, … as wanted.

    Raises:
        BadSpec: the table is missing, unreadable or empty, lacks a column or a prompt, or names a clip twice.
        BadClip: a clip is not there.
    """
    folder = Path(folder)
    cases = tuple(_folder_case(folder, row) for row in _table(folder / TABLE_NAME))
    twice = [name for name, count in Counter(case.name for case in cases).items() if count > 1]
    if twice:
        raise BadSpec(f"{TABLE_NAME} needs one line for each clip, but {twice[0]} has more; put further prompts into "
                      "columns prompt2, prompt3, ….")  # fmt: skip
    return cases
