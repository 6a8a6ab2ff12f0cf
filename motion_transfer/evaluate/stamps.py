"""Provenance of results: which code, weights and settings made them, and whether they still count."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from motion_transfer.atomic import replacing
from motion_transfer.errors import MissingWeights

Row = Mapping[str, float | str | None]

STAMP_LETTERS = 16
WHOLE = "whole"  # in a table of results: no row is missing
WHOLE_FILE_BYTES = 2**30  # of larger files only both ends and the size count
_END_BYTES = 2**20
_WEIGHT_FILES = frozenset({".safetensors", ".json", ".txt", ".model"})  # weights, configs, tokenizers; no cards
_PACKAGE = Path(__file__).resolve().parents[1]


def _located(module: Path | str) -> tuple[Path, str]:
    """The folder that holds a module's package, and the module's dotted name."""
    if isinstance(module, str):
        return _PACKAGE.parent, module
    home = module.resolve().parent
    while (home / "__init__.py").is_file():
        home = home.parent
    parts = module.resolve().relative_to(home).with_suffix("").parts
    return home, ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _source(home: Path, name: str) -> Path | None:
    """The file of a module or package; None if the name is something inside a module."""
    stem = home.joinpath(*name.split("."))
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


def _imported(text: str) -> Iterator[str]:
    """Dotted names of all imports in a source text, those inside functions included."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "imports are absolute, so that what a module needs can be read"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _without_remarks(text: str) -> str:
    """A source text without comments, docstrings, blank lines and space at line ends: what it does, not says.

    The text itself is cut, not written anew from its tree, which versions of Python do differently.
    """
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            said = node.body[0]
            if said.end_lineno is None or said.lineno == getattr(node, "lineno", 0):  # in the line of its def
                continue
            lines[said.lineno - 1 : said.end_lineno] = [""] * (said.end_lineno - said.lineno + 1)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        row, column = token.start
        if token.type == tokenize.COMMENT and lines[row - 1]:
            lines[row - 1] = lines[row - 1][:column]
    return "\n".join(line.rstrip() for line in lines if line.strip())


def source_texts(modules: Iterable[Path | str]) -> dict[str, str]:
    """Source by dotted name: the modules and all of their own package that they import, at first or second hand.

    The packages that a module lies in belong to it, since they run when it is imported.
    """
    waiting = [_located(module) for module in modules]
    for home, name in waiting:
        assert _source(home, name), f"there is no module {name}"
    texts: dict[str, str] = {}
    while waiting:
        home, name = waiting.pop()
        path = _source(home, name)
        if name in texts or path is None:
            continue
        texts[name] = path.read_text(encoding="utf-8")
        package = name.split(".")[0]
        near = [other for other in _imported(texts[name]) if other.split(".")[0] == package]
        waiting += [(home, other) for other in (*near, name.rpartition(".")[0]) if other]
    return texts


def _file_hash(path: Path) -> str:
    """SHA-256 of a file; of a giant one, of its size and both ends."""
    size = path.stat().st_size
    with open(path, "rb") as handle:
        if size <= WHOLE_FILE_BYTES:
            return hashlib.file_digest(handle, "sha256").hexdigest()
        ends = [handle.read(_END_BYTES)]
        handle.seek(-_END_BYTES, 2)
        ends.append(handle.read())
    return hashlib.sha256(f"{size}:".encode() + b"".join(ends)).hexdigest()


def _weight_hashes(folder: Path) -> dict[str, str]:
    """Hash by relative path of a folder's weights and configs; hidden files and folders are none."""
    paths = {path.relative_to(folder): path for path in folder.rglob("*") if path.suffix in _WEIGHT_FILES}
    found = {name.as_posix(): _file_hash(path) for name, path in sorted(paths.items())
             if path.is_file() and not any(part.startswith(".") for part in name.parts)}  # fmt: skip
    if not found:
        raise MissingWeights(f"weights are expected in {folder.name}, but there are none; check the folder.")
    return found


def stamp(*, modules: Iterable[Path | str], folders: Iterable[Path], settings: Mapping[str, Any]) -> str:
    """A short hash of everything that a result follows from; the same on every machine.

    Args:
        modules: where the work begins: dotted names in this package, or source files. What they import of
            their own package counts too; other libraries, comments and docstrings don't.
        folders: of weights and configs, in a fixed order. Their own names don't count.
        settings: JSON-ready.

    Returns:
        The first 16 letters of a SHA-256 in hexadecimal.

    Raises:
        MissingWeights: a folder holds no weights.
    """
    facts = {
        "sources": {name: _without_remarks(text) for name, text in source_texts(modules).items()},
        "weights": [_weight_hashes(Path(folder)) for folder in folders],
        "settings": dict(settings),
    }
    text = json.dumps(facts, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:STAMP_LETTERS]


class ResultFile:
    """A table of results on disk, one row a key, written after every row, so that killed work goes on where it was.

    Rows of a file with another stamp don't count: they are left on disk until the first new row replaces them.
    """

    def __init__(self, path: Path, stamp: str) -> None:
        self.path, self.stamp = Path(path), stamp
        self._rows, self._started_over = self._read()

    @property
    def rows(self) -> dict[str, Row]:
        """The rows so far, in the order in which they came."""
        return dict(self._rows)

    @property
    def started_over(self) -> str:
        """Why the rows of a file that was there don't count; empty if they do, or if there was no file."""
        return self._started_over

    def add(self, key: str, row: Row) -> None:
        """Puts a row at its key, and the file on disk in one atomic step.

        Args:
            key: names the row; an earlier one of that key is replaced.
            row: finite numbers, texts, or None.

        Raises:
            OSError: the file can't be written.
        """
        assert all(value is None or isinstance(value, (int, float, str)) for value in row.values())
        self._write({**self._rows, key: dict(row)}, whole=False)

    def finish(self) -> None:
        """Says on disk that no row is missing any more.

        Raises:
            OSError: the file can't be written.
        """
        self._write(self._rows, whole=True)

    def _write(self, rows: dict[str, Row], *, whole: bool) -> None:
        found = {"stamp": self.stamp, **({WHOLE: True} if whole else {}), "rows": rows}
        text = json.dumps(found, indent=1, allow_nan=False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as partial:
            partial.write_text(text + "\n", encoding="utf-8")
        self._rows = rows

    def _read(self) -> tuple[dict[str, Row], str]:
        """The rows on disk that count, and why others don't."""
        if not self.path.is_file():
            return {}, ""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            stamp, rows = found["stamp"], dict(found["rows"])
        except (ValueError, KeyError, TypeError):
            return {}, f"{self.path.name} is no table of results"
        if stamp != self.stamp:
            return {}, f"{self.path.name} was made by other code, weights or settings ({stamp}, now {self.stamp})"
        return rows, ""
