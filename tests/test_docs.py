"""The front page shows results as their files are."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fill_readme() -> ModuleType:
    return _script("fill_readme")


@pytest.mark.parametrize("script", sorted(path.stem for path in (ROOT / "docs").glob("*.py")))
def test_scripts_find_the_program_from_any_folder(script: str, tmp_path: Path) -> None:
    """As `python docs/SCRIPT.py` does, only the script's own folder is searched beside the libraries."""
    if "playwright" in (ROOT / "docs" / f"{script}.py").read_text():
        pytest.importorskip("playwright", reason="playwright is not installed")
    load = f"import sys; sys.path[0] = {str(ROOT / 'docs')!r}; import {script}"
    ran = subprocess.run([sys.executable, "-c", load], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_the_front_page_is_filled(fill_readme: ModuleType) -> None:
    readme = (ROOT / "README.md").read_text()
    assert fill_readme.filled(readme) == readme, "run python docs/fill_readme.py"


def test_marked_parts_become_their_file(
    fill_readme: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def _rows(**fidelities: float) -> str:
    """A file of results: six clips of each method around its mean."""
    rows = {}
    for method, mean in fidelities.items():
        for clip in range(6):
            rows[f"{method}/{clip}"] = {"method": method, "clip": str(clip), "prompt": "x", "leakage": mean / 2,
                                        "motion_fidelity": mean + clip / 99}  # fmt: skip
    return json.dumps({"stamp": "x", "rows": rows})


def test_the_figure_of_seconds_shows_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = _script("seconds_figure")
    monkeypatch.setattr(script, "RESULTS", tmp_path)
    with pytest.raises(SystemExit, match="run it first"):
        script.main()
    (tmp_path / "motionbench-quick-30s.json").write_text(_rows(bare=0.4, ours=0.6))
    (tmp_path / "motionbench-quick-60s.json").write_text(_rows(bare=0.4, ours=0.7, naive=0.5))
    (tmp_path / "motionbench-quick-120s.json").write_text(_rows(ours=0.7))  # under way
    script.main()
    assert "no rows of the bare base" in capsys.readouterr().err
    drawn = ElementTree.fromstring((tmp_path / "seconds.svg").read_text())
    points = [circle for circle in drawn if circle.tag.endswith("circle")]
    assert len(points) == 2 * (2 + 1 + 1)  # in both panels: ours twice, naive once, and the bare base
    heights = [float(circle.attrib["cy"]) for circle in points if circle.attrib["fill"] == script.COLORS["ours"]]
    assert heights[1] < heights[0] and all(script.TOP <= y <= script.TOP + script.HEIGHT for y in heights)
