"""Who may import whom: downwards only, and every third party has one home."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "motion_transfer"
FILES = [ROOT / "app.py", *sorted((ROOT / PACKAGE).rglob("*.py"))]

# From the ground up; a room imports from its own floor or a lower one.
FLOORS = (
    ("types", "errors", "atomic", "processes", "version", "work"),
    ("video", "lora"),
    ("model",),
    ("methods", "evaluate", "nano", "transfer", "presets"),
    (
        "jobs",
        "effort",
        "ladder",
        "planner",
        "pipeline",
        "recipes",
        "machine",
        "pace",
        "sparse_check",
        "ranks",
        "together",
        "hub",
        "space",
        "copies",
        "library",
        "library_files",
        "workspace",
        "flags",
        "contenders",
        "following",
        "slider_check",
        "lineup",
        "bench",
    ),
    ("app", "cli", "ui", "__main__", "__init__"),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

HOMES = {
    "gradio": ("app.py", "ui/*"),
    "peft": ("lora/attach.py",),
    "diffusers": ("model/*", "nano/*"),
    "transformers": ("model/text.py", "model/base.py", "nano/*", "evaluate/*"),
    "bitsandbytes": ("model/quantize.py",),
    "av": ("video/io.py",),
}
UI_ROOMS = {
    "ui",
    "pipeline",
    "recipes",
    "machine",
    "planner",
    "presets",
    "hub",
    "jobs",
    "library",
    "library_files",
    "workspace",
    "video",
    "types",
    "errors",
}
UI_LIBRARIES = {"gradio", "numpy", "pandas", "segno"}


def _name(path: Path) -> str:
    """The file as it is called inside the package."""
    inside = ROOT / PACKAGE
    return str(path.relative_to(inside if path.is_relative_to(inside) else ROOT))


def _room(name: str) -> str:
    return name.split("/")[0].removesuffix(".py")


def _imports(path: Path) -> Iterator[str]:
    """Dotted names of all imports, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _own_imports(path: Path) -> Iterator[str]:
    """Modules of the package that a file imports, without the package's name."""
    for name in _imports(path):
        if name.startswith(f"{PACKAGE}."):
            yield name.removeprefix(f"{PACKAGE}.")


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_imports_go_downwards(path: Path) -> None:
    floor = FLOOR_OF[_room(_name(path))]
    upwards = [name for name in _own_imports(path) if FLOOR_OF[name.split(".")[0]] > floor]
    assert upwards == []


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_every_third_party_has_one_home(path: Path) -> None:
    name = _name(path)
    roots = {imported.split(".")[0] for imported in _imports(path)}
    astray = [root for root in roots & HOMES.keys() if not any(fnmatch(name, home) for home in HOMES[root])]
    assert astray == []


def test_a_method_never_imports_another_method() -> None:
    for path in (ROOT / PACKAGE / "methods").glob("*.py"):
        method = path.stem.split("_")[0]  # the first word of a file's name says which method it is part of
        others = [name for name in _own_imports(path) if name.startswith("methods")]
        assert not [name for name in others if not name.startswith(f"methods.{method}_")], path


def test_the_ui_knows_only_what_lies_right_below_it() -> None:
    for path in (ROOT / PACKAGE / "ui").glob("*.py"):
        roots = {name.split(".")[0] for name in _imports(path)}
        assert roots - sys.stdlib_module_names - UI_LIBRARIES <= {PACKAGE}, path
        assert {name.split(".")[0] for name in _own_imports(path)} <= UI_ROOMS, path
