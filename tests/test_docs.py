"""The front page shows results as their files are."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def fill_readme():
    spec = importlib.util.spec_from_file_location("fill_readme", ROOT / "docs" / "fill_readme.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_front_page_is_filled(fill_readme) -> None:
    readme = (ROOT / "README.md").read_text()
    assert fill_readme.filled(readme) == readme, "run python docs/fill_readme.py"


def test_marked_parts_become_their_file(fill_readme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs" / "results").mkdir(parents=True)
    (tmp_path / "docs" / "results" / "a.md").write_text("| new |\n")
    monkeypatch.setattr(fill_readme, "ROOT", tmp_path)
    text = "before\n<!-- from docs/results/a.md -->\nold\n<!-- end -->\nafter\n"
    once = fill_readme.filled(text)
    assert once == "before\n<!-- from docs/results/a.md -->\n\n| new |\n\n<!-- end -->\nafter\n"
    assert fill_readme.filled(once) == once
    (tmp_path / "docs" / "results" / "a.md").write_text("| new [1] |\n\n[1] note.\n\nmore:\n\n| other |\n")
    table = fill_readme.filled(text.replace("from", "first table of"))
    assert "| new [1] |\n\n[1] note." in table and "more" not in table and "other" not in table
    assert fill_readme.filled(table) == table
