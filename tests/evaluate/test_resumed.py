"""Measuring one by one: what is there is not measured again, and what follows lies beside the rows."""

from __future__ import annotations

from dataclasses import dataclass

from motion_transfer.evaluate.resumed import conclude, measure_missing
from motion_transfer.evaluate.stamps import ResultFile


@dataclass(frozen=True)
class _Item:
    key: str


def test_only_what_is_missing_is_measured(tmp_path) -> None:
    path, measured = tmp_path / "numbers.json", []

    def measure(item: _Item) -> dict:
        measured.append(item.key)
        return {"letters": len(item.key)}

    file = ResultFile(path, "stamp")
    file.add("one", {"letters": 3})
    measure_missing(file, [_Item(key) for key in ("one", "two", "three")], measure, num_processes=1)
    assert measured == ["two", "three"]
    again = ResultFile(path, "stamp")
    assert {key: row["letters"] for key, row in again.rows.items()} == {"one": 3, "two": 3, "three": 5}
    found = conclude(again, lambda rows: {"rows": len(rows)}, lambda summary: f"| {summary['rows']} |\n")
    assert found == {"rows": 3} and (tmp_path / "numbers.md").read_text() == "| 3 |\n"
    assert '"whole": true' in path.read_text()
