"""Puts committed results into the front page: `python docs/fill_readme.py` renews every marked part of README.md.

A part begins with `<!-- from docs/results/NAME.md -->` and ends with `<!-- end -->`; between them stands the file, or
only its first table, with the notes below it, where the mark says `<!-- first table of docs/results/NAME.md -->`.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PART = re.compile(
    r"(?P<begin><!-- (?P<what>from|first table of) (?P<file>docs/results/[\w.-]+\.md) -->\n).*?(?P<end><!-- end -->)",
    re.DOTALL,
)


def _part(found: re.Match[str]) -> str:
    text = (ROOT / found["file"]).read_text().strip()
    if found["what"] != "from":
        text = re.split(r"\n\n(?![|\[])", text, maxsplit=1)[0]
    return f"{found['begin']}\n{text}\n\n{found['end']}"


def filled(readme: str) -> str:
    """The front page with every marked part as its file is now."""
    return _PART.sub(_part, readme)


def main() -> None:
    """Renews README.md."""
    readme = ROOT / "README.md"
    readme.write_text(filled(readme.read_text()))


if __name__ == "__main__":
    main()
