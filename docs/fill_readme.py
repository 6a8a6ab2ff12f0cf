"""Puts committed results into the front page: `python docs/fill_readme.py` renews every marked part of README.md.

A part begins with `<!-- from docs/results/NAME.md -->` and ends with `<!-- end -->`; between them stands the file.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PART = re.compile(r"(<!-- from (?P<file>docs/results/[\w.-]+\.md) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(readme: str) -> str:
    """The front page with every marked part as its file is now."""
    return _PART.sub(lambda part: f"{part[1]}\n{(ROOT / part['file']).read_text().strip()}\n\n{part[3]}", readme)


def main() -> None:
    """Renews README.md."""
    readme = ROOT / "README.md"
    readme.write_text(filled(readme.read_text()))


if __name__ == "__main__":
    main()
