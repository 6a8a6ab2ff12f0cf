"""What is stale is made anew, in order, and nothing else is."""

import json
from pathlib import Path

import pytest

from motion_transfer.evaluate.stamps import ResultFile
from motion_transfer.nano import rebuild
from motion_transfer.nano.rebuild import COUNTS, QUICK_COUNTS, Part, base_stale, figures_stale


def test_a_base_of_another_codec_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "load_codec", lambda folder: None)
    monkeypatch.setattr(rebuild, "encoder_hash", lambda codec: "this")
    for made_for, why in (("this", ""), ("other", "another codec")):
        (tmp_path / "training.json").write_text(json.dumps({"codec": {}, "base": {"made_for": made_for}}))
        assert why in base_stale(tmp_path) and bool(base_stale(tmp_path)) == bool(why)
    (tmp_path / "training.json").write_text(json.dumps({"codec": {}, "base": None}))
    assert base_stale(tmp_path)


def test_figures_count_while_their_stamp_matches(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    assert figures_stale(path, lambda: "a")
    path.write_text(json.dumps({"stamp": "a"}))
    assert figures_stale(path, lambda: "a") == ""
    assert figures_stale(path, lambda: "b")
    path.write_text("{}")
    assert figures_stale(path, lambda: "a")


def test_figures_that_are_made_row_by_row_count_once_they_are_whole(tmp_path: Path) -> None:
    file = ResultFile(tmp_path / "figures.json", "a")
    file.add("one", {"x": 1.0})
    assert "whole" in figures_stale(file.path, lambda: "a", by_row=True)
    assert figures_stale(file.path, lambda: "a") == ""
    file.finish()
    assert figures_stale(file.path, lambda: "a", by_row=True) == ""
    assert ResultFile(file.path, "a").rows == {"one": {"x": 1.0}}
    file.add("two", {"x": 2.0})
    assert figures_stale(file.path, lambda: "a", by_row=True)


@pytest.mark.parametrize("dry_run", [False, True])
def test_only_what_is_stale_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dry_run: bool
) -> None:
    made: list[str] = []
    states = {"codec": "", "base": "it was never trained", "figures": "there is none"}

    def some_parts(*folders: Path) -> list[Part]:
        return [Part(name=n, stale=lambda why=w: why, make=lambda n=n: made.append(n)) for n, w in states.items()]

    monkeypatch.setattr(rebuild, "parts", some_parts)
    rebuild.rebuild(tmp_path, tmp_path, tmp_path, dry_run=dry_run)
    assert made == ([] if dry_run else ["base", "figures"])
    assert capsys.readouterr().out.splitlines() == [
        "codec: up to date", "base: it was never trained", "figures: there is none"
    ]  # fmt: skip


def test_every_check_has_a_quick_extent() -> None:
    assert QUICK_COUNTS.keys() == COUNTS.keys()
    assert all(QUICK_COUNTS[part] < COUNTS[part] for part in COUNTS)
