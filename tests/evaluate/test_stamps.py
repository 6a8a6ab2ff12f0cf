"""Stamps of results, on a small package of its own; and result files that outlive a kill."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from motion_transfer.errors import MissingWeights
from motion_transfer.evaluate.stamps import ResultFile, source_texts, stamp

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    "__init__.py": "",
    "measure.py": "import json\nfrom parcel.inner import ruler\n",
    "inner/__init__.py": "",
    "inner/ruler.py": "def length(x):\n    from parcel.inner.units import METER\n    return x * METER\n",
    "inner/units.py": "METER = 1.0\n",
    "unrelated.py": "from parcel import measure\n",
}


def _package(folder: Path) -> Path:
    for name, text in SOURCES.items():
        path = folder / "parcel" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "parcel"


def _weights(folder: Path) -> Path:
    (folder / "vae").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "vae" / "model.safetensors").write_bytes(bytes(1000))
    (folder / "README.md").write_text("card")
    return folder


def _stamp(package: Path, weights: Path, **settings: object) -> str:
    return stamp(modules=[package / "measure.py"], folders=[weights], settings={"steps": 20, **settings})


def test_a_stamp_depends_on_neither_time_nor_place(tmp_path: Path) -> None:
    package, weights = _package(tmp_path), _weights(tmp_path / "nano")
    first = _stamp(package, weights)
    assert len(first) == 16 and int(first, 16) >= 0
    assert _stamp(package, weights) == first
    moved, other = shutil.copytree(package, tmp_path / "far" / "parcel"), shutil.copytree(weights, tmp_path / "base")
    assert _stamp(moved, other) == first
    assert stamp(modules=[package / "measure.py"] * 2, folders=[weights], settings={"steps": 20}) == first


@pytest.mark.parametrize("name", ["measure.py", "inner/ruler.py", "inner/units.py", "inner/__init__.py"])
def test_a_stamp_changes_with_every_module_that_is_imported(tmp_path: Path, name: str) -> None:
    package, weights = _package(tmp_path), _weights(tmp_path / "nano")
    first = _stamp(package, weights)
    (package / name).write_text(SOURCES[name] + "OTHER = 1\n")
    assert _stamp(package, weights) != first
    (package / name).write_text(SOURCES[name])
    assert _stamp(package, weights) == first


def test_a_stamp_is_of_what_code_does_not_of_what_it_says(tmp_path: Path) -> None:
    """Comments, docstrings and blank lines don't count; texts that code uses do, with what looks like a comment."""
    package, weights = _package(tmp_path), _weights(tmp_path / "nano")
    plain = 'import json\nSIGN = "# no remark"\nclass A:\n    x = 1\n    def f(self):\n        return 2\n'
    said = (
        '"""A module\n\nof two paragraphs."""\nimport json  # why\n\n\n# what\nSIGN = "# no remark"\nclass A:\n'
        '    """A class."""\n    x = 1\n    def f(self):\n        """Two."""  # lines\n        return 2\n'
    )
    stamps = []
    for text in (plain, said, plain.replace("# no remark", "# a remark"), plain.replace("x = 1", "x = 2")):
        (package / "measure.py").write_text(text)
        stamps.append(_stamp(package, weights))
    assert stamps[0] == stamps[1] and len(set(stamps)) == 3


def test_a_stamp_changes_with_weights_and_settings_only(tmp_path: Path) -> None:
    package, weights = _package(tmp_path), _weights(tmp_path / "nano")
    first = _stamp(package, weights)
    (package / "unrelated.py").write_text("import parcel\n")
    (weights / "README.md").write_text("another card")
    assert _stamp(package, weights) == first
    assert _stamp(package, weights, seed=1) != first
    (weights / "vae" / "model.safetensors").write_bytes(bytes(999) + b"\1")
    changed = _stamp(package, weights)
    assert changed != first
    (weights / "config.json").write_text('{"a": 1}')
    assert _stamp(package, weights) not in (first, changed)


def test_modules_of_this_package_are_followed_by_name() -> None:
    texts = source_texts(["motion_transfer.evaluate.stamps"])
    assert set(texts) == {"motion_transfer", "motion_transfer.atomic", "motion_transfer.errors",
                          "motion_transfer.evaluate", "motion_transfer.evaluate.stamps"}  # fmt: skip
    assert source_texts([ROOT / "motion_transfer" / "evaluate" / "stamps.py"]) == texts
    assert "motion_transfer.video.synth.shapes" in source_texts(["motion_transfer.evaluate.report"])


def test_a_folder_without_weights_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="expected in none"):
        stamp(modules=[], folders=[tmp_path / "none"], settings={})


def test_rows_come_back_while_the_stamp_matches(tmp_path: Path) -> None:
    path = tmp_path / "results" / "bench.json"
    results = ResultFile(path, "aaaa")
    assert results.rows == {} and not path.exists()
    results.add("clip 1", {"fidelity": 0.5, "leakage": None, "leakage missing": "nothing differs"})
    results.add("clip 2", {"fidelity": 1 / 3})
    again = ResultFile(path, "aaaa")
    assert again.rows == results.rows and list(again.rows) == ["clip 1", "clip 2"] and again.started_over == ""
    assert again.rows["clip 2"]["fidelity"] == 1 / 3


def test_a_file_with_another_stamp_starts_over_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    ResultFile(path, "aaaa").add("clip 1", {"fidelity": 0.5})
    results = ResultFile(path, "bbbb")
    assert results.rows == {} and "(aaaa, now bbbb)" in results.started_over
    assert ResultFile(path, "aaaa").rows, "what is on disk stays until there is something new"
    results.add("clip 2", {"fidelity": 0.25})
    assert list(json.loads(path.read_text())["rows"]) == ["clip 2"]
    path.write_text("[]")
    assert "no table of results" in ResultFile(path, "bbbb").started_over


def test_values_that_json_cannot_hold_leave_the_file_as_it_was(tmp_path: Path) -> None:
    results = ResultFile(tmp_path / "bench.json", "aaaa")
    results.add("clip 1", {"fidelity": 0.5})
    with pytest.raises(ValueError, match="JSON"):
        results.add("clip 2", {"fidelity": float("nan")})
    assert list(results.rows) == list(ResultFile(results.path, "aaaa").rows) == ["clip 1"]


KILLED = """
import resource, signal, sys
from motion_transfer.evaluate.stamps import ResultFile
results = ResultFile(sys.argv[1], "aaaa")
results.add("clip 1", {"fidelity": 0.5})
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # the system kills whoever writes more
results.add("clip 2", {"fidelity": 0.25, "note": "x" * 5000})
"""


def test_work_killed_while_it_writes_goes_on_behind_the_last_row(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGXFSZ
    assert [p.stat().st_size for p in tmp_path.glob(".*.partial")] == [1000], "it died in the middle of the file"
    results = ResultFile(path, "aaaa")
    assert results.rows == {"clip 1": {"fidelity": 0.5}}
    results.add("clip 2", {"fidelity": 0.25})
    assert list(ResultFile(path, "aaaa").rows) == ["clip 1", "clip 2"]
