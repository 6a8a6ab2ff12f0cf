"""Summaries and tables, on figures that can be worked out by hand."""

from __future__ import annotations

import random

import pytest

from motion_transfer.evaluate.tables import (
    Column,
    _student_quantile,
    markdown_table,
    nondominated,
    paired_interval,
    row_of,
    summary,
)
from motion_transfer.types import Measure, Report


def _rows(values: dict[tuple[str, str], float | None], leakage: float | None = 0.1) -> list[dict]:
    why = {} if leakage is not None else {"leakage missing": "the prompt names nothing else"}
    return [{"clip": clip, "prompt": prompt, "fidelity": value, "leakage": leakage, **why}
            for (clip, prompt), value in values.items()]  # fmt: skip


BARE = _rows({("a", "1"): 0.4, ("a", "2"): 0.6, ("b", "1"): 0.3}, leakage=None)
OURS = _rows({("a", "1"): 0.6, ("a", "2"): 0.8, ("b", "1"): 0.7}, leakage=0.1)
COPY = _rows({("a", "1"): 0.9, ("a", "2"): 0.9, ("b", "1"): None}, leakage=0.9)
CEILING = _rows({("a", "1"): 1.0, ("a", "2"): 1.0, ("b", "1"): 0.9}, leakage=0.0)
METHODS = {"bare": BARE, "ours": OURS, "copy": COPY, "ceiling": CEILING}
CELLS = summary(METHODS, ["fidelity", "leakage"], "bare", ceiling="ceiling")


def test_the_interval_holds_the_mean_and_shrinks() -> None:
    few, many = (paired_interval([0.1, 0.3, 0.2, 0.4] * count) for count in (2, 25))
    assert few is not None and many is not None
    assert 0.1 <= few[0] < 0.25 < few[1] <= 0.4
    assert many[1] - many[0] < few[1] - few[0]
    assert paired_interval([0.1, 0.3, 0.2, 0.4]) is None
    assert paired_interval([0.2] * 5) == pytest.approx((0.2, 0.2))


@pytest.mark.parametrize("count", [5, 9, 53])
def test_the_interval_covers_the_truth_as_often_as_it_says(count: int) -> None:
    """Of 400 normal samples of mean zero about 95% do; by chance 93 to 97%, and a little less for few values."""
    rng = random.Random(count)
    samples = [[rng.gauss(0, 1) for _ in range(count)] for _ in range(400)]
    intervals = [paired_interval(sample, resamples=2000) for sample in samples]
    covered = sum(found is not None and found[0] <= 0 <= found[1] for found in intervals)
    assert 0.91 <= covered / 400 <= 0.98


@pytest.mark.parametrize(("share", "freedom", "known"), [(0.975, 4, 2.776), (0.975, 8, 2.306), (0.975, 52, 2.007)])
def test_quantiles_of_student(share: float, freedom: int, known: float) -> None:
    assert _student_quantile(share, freedom) == pytest.approx(known, abs=0.01)


def test_clips_count_alike_however_many_prompts_they_have() -> None:
    assert CELLS["bare"]["fidelity"].mean == pytest.approx((0.5 + 0.3) / 2)
    ours = CELLS["ours"]["fidelity"]
    assert (ours.mean, ours.num_clips, ours.num_values, ours.num_missing) == (pytest.approx(0.7), 2, 3, 0)


def test_differences_are_paired_by_prompt_and_drawn_by_clip() -> None:
    ours = CELLS["ours"]["fidelity"]
    assert ours.difference == pytest.approx((0.2 + 0.4) / 2)
    assert ours.interval is None  # two clips tell none
    assert ours.of_ceiling == pytest.approx(0.3 / ((0.5 + 0.6) / 2))
    bare = CELLS["bare"]["fidelity"]
    assert bare.difference is None and bare.interval is None and bare.of_ceiling == 0
    assert CELLS["ceiling"]["fidelity"].of_ceiling == 1


def test_an_interval_is_over_clips_and_stands_beside_its_difference() -> None:
    """Seven clips with two prompts each are seven draws."""
    base, other = (_rows({(str(clip), str(prompt)): 0.1 * clip * more + 0.2 * prompt * more for clip in range(7)
                          for prompt in range(2)}) for more in (0.0, 1.0))  # fmt: skip
    cells = summary({"bare": base, "ours": other}, ["fidelity"], "bare")
    found = cells["ours"]["fidelity"]
    assert found.difference == pytest.approx(0.4)
    assert found.interval == paired_interval([0.1 * clip + 0.1 for clip in range(7)])
    low, high = found.interval
    text = markdown_table(cells, [Column(name="fidelity", title="fidelity", digits=2)])
    assert f"**0.40** (+0.40; +{low:.2f} to +{high:.2f})" in text


def test_what_is_missing_is_counted_and_compared_only_where_it_is_there() -> None:
    copy, leak = CELLS["copy"]["fidelity"], CELLS["bare"]["leakage"]
    assert (copy.num_missing, copy.num_clips, copy.why_missing) == (1, 1, "not measured")
    assert copy.difference == pytest.approx(0.4) and copy.of_ceiling == pytest.approx(0.4 / 0.5)
    assert (leak.mean, leak.why_missing) == (None, "the prompt names nothing else")
    assert CELLS["ours"]["leakage"].difference is None and CELLS["ours"]["leakage"].of_ceiling is None
    assert summary({"bare": []}, ["fidelity"], "bare")["bare"]["fidelity"].mean is None


def test_a_report_is_a_row_with_its_reasons() -> None:
    report = Report(
        measures=(Measure(name="fidelity", value=0.5), Measure(name="leakage", value=None, why_missing="no prompt"))
    )
    row = {"clip": "a", "prompt": "1", **row_of(report)}
    assert row == {"clip": "a", "prompt": "1", "fidelity": 0.5, "leakage": None, "leakage missing": "no prompt"}
    assert summary({"bare": [row]}, ["leakage"], "bare")["bare"]["leakage"].why_missing == "no prompt"


TABLE = """\
| method  | clips |             fidelity | fidelity of ceiling |  leakage |
| ------- | ----: | -------------------: | ------------------: | -------: |
| bare    |     2 |                 0.40 |                  0% |    - [2] |
| ours    |     2 |         0.70 (+0.30) |                 55% | **0.10** |
| copy    |     2 | **0.90** (+0.40) [1] |                 80% |     0.90 |
| ceiling |     2 |         0.95 (+0.55) |                100% |     0.00 |

[1] 1 of 3 values missing, mostly: not measured.

[2] the prompt names nothing else."""


def test_the_table_in_full() -> None:
    columns = [
        Column(name="fidelity", title="fidelity", digits=2, of_ceiling=True),
        Column(name="leakage", title="leakage", digits=2, higher_is_better=False),
    ]
    assert markdown_table(CELLS, columns, unranked=["ceiling"]) == TABLE


def test_equal_figures_are_all_best() -> None:
    cells = summary({"bare": BARE, "same": BARE}, ["fidelity"], "bare")
    assert markdown_table(cells, [Column(name="fidelity", title="fidelity", digits=1)]).count("**0.4**") == 2


def test_only_points_that_none_beats_remain() -> None:
    points = {"ours": (0.8, 0.1), "copy": (0.9, 0.9), "worse": (0.7, 0.2), "level": (0.8, 0.3), "twin": (0.8, 0.1)}
    assert nondominated(points) == ("ours", "copy", "twin")
    assert nondominated({"only": (0.0, 1.0)}) == ("only",) and nondominated({}) == ()
