"""What the page says of jobs and results: lines, buttons, curves, tables, and the tour."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest

from motion_transfer.errors import BadClip, StorageFailed
from motion_transfer.jobs.orders import TuneOrder, from_json
from motion_transfer.jobs.store import CANCELLED, DONE, PAUSED, QUEUED, RUNNING
from motion_transfer.jobs.worker import Worker
from motion_transfer.pipeline import Studio
from motion_transfer.types import Measure
from motion_transfer.ui import words
from motion_transfer.ui.buttons import usable
from motion_transfer.ui.desk import Fault, Place, clock, in_words, job_line, problem
from motion_transfer.ui.forecast import took_line
from motion_transfer.ui.plots import MAX_POINTS, loss_table, score_table, word_lists
from motion_transfer.ui.tour import build_tour
from motion_transfer.video.synth.palette import vocabulary
from tests.ui.orders import learn, learn_order, render, render_order, running


def test_a_fault_of_the_program_does_not_leak_its_text() -> None:
    error = in_words(RuntimeError("/secret/path"))
    assert isinstance(error, Fault) and "RuntimeError" in str(error) and "secret" not in str(error)
    assert isinstance(in_words(OSError(28, "No space left on device")), StorageFailed)


def test_a_running_job_tells_stage_step_rate_time_and_memory() -> None:
    line = job_line(running(), 0, "")
    for part in ("step 5 of 201", "2.0 steps a second", "1 min 38 s left", "0.250", "30 s so far", "1.2 GB"):
        assert part in line
    assert "steps a second" not in job_line(running(rate=None), 0, "")
    assert words.CANCELLING in job_line(running(wish="cancel"), 0, "")
    assert "Memory ran out &lt;so&gt;" in job_line(running(note="memory ran out <so>"), 0, "")
    assert "step 5" in job_line(running(state=PAUSED), 0, "")
    assert 'role="alert"' in job_line(running(state="failed", note="no <space>."), 0, "")
    assert words.NO_WORKER in job_line(running(state=QUEUED), None, "")
    assert [clock(s) for s in (59.4, 61, 7300)] == ["59 s", "1 min 01 s", "2 h 01 min"]


@pytest.mark.parametrize(
    ("state", "wish", "expected"),
    [(RUNNING, "", "101"), (RUNNING, "pause", "000"), (PAUSED, "", "011"), (DONE, "", "000"), (CANCELLED, "", "010")],
)
def test_buttons_follow_the_state(state: str, wish: str, expected: str) -> None:
    assert "".join(str(int(button.interactive)) for button in usable(running(state=state, wish=wish))) == expected


def test_messages_are_escaped() -> None:
    assert "<script>" not in problem(BadClip("no <script> here"))


def test_long_loss_curves_are_thinned() -> None:
    assert loss_table([]) is None
    losses = [("spatial", i, 1.0) for i in range(999)] + [("temporal", i, 3.0) for i in range(9)]
    table = loss_table(losses)
    assert table is not None and set(table["stage"][:2]) == {"spatial", "temporal"} and table["loss"][:2].isna().all()
    table = table.dropna()
    assert len(table) <= MAX_POINTS + 2
    assert set(table["stage"]) == {"spatial", "temporal"} and table["step"].max() == 1008
    assert table[table["stage"] == "temporal"]["loss"].eq(3.0).all()


def test_scores_say_why_they_are_missing() -> None:
    rows = score_table(
        [
            Measure(name="motion_fidelity", value=0.5),
            Measure(name="leakage", value=None, higher_is_better=False, why_missing="a | b <c>"),
        ]
    ).splitlines()
    assert rows[2] == "| Motion: moves like the reference | 0.500 | higher |"
    assert r"– (a \| b &lt;c>)" in rows[3] and rows[3].endswith("lower |")


def test_words_are_listed_by_what_they_name() -> None:
    text = "\n\n".join(word_lists(sorted(word for word in vocabulary() if word.isalpha())))
    assert (
        "**Colors:** black, blue" in text and "people" in text.split("\n\n")[1] and "striped" in text.split("\n\n")[2]
    )
    assert word_lists([]) == []


def test_the_tour_follows_what_was_done(
    studio: Studio, place: Place, worker: Worker, clip_path: Path, tmp_path: Path
) -> None:
    with gr.Blocks():
        tour = build_tour(studio, lambda _: place, [clip_path])

    def shown() -> tuple[bool, str]:
        panel, text, _ = tour.show(None, False)
        return panel.visible, text if panel.visible else ""

    assert shown()[0] and f"1. **{words.TOUR_CHOOSE}**" in shown()[1]
    key, _ = tour.learn(None)
    job = place.workspace.jobs.job(key)
    assert job.title == clip_path.stem and f"2. **{words.TOUR_WAIT}**" in shown()[1]
    assert from_json(TuneOrder, job.orders).spec.caption
    place.workspace.jobs.cancel(key)
    learn(place, worker, learn_order(clip_path))
    assert f"3. **{words.TOUR_PROMPT}**" in shown()[1]
    assert tour.show(None, True)[0].visible is False
    render(place, worker, render_order())
    assert shown() == (False, "")


def test_what_is_left_in_all_is_told_beside_the_stage() -> None:
    job = running(orders={"expected": {"seconds": 3630.0}})
    assert "1 min 38 s left in this stage" in job_line(job, 0, "")
    assert "about 1 h 00 min left in all" in job_line(job, 0, "")
    assert "in all" not in job_line(running(orders={"expected": {"seconds": 31.0}}), 0, "")


def test_what_was_expected_by_the_shapes_is_compared() -> None:
    job = running(state="done", orders={"expected": {"memory_mb": 900.0}}, results={"file_mb": 0.5})
    assert "Expected: 0.9 GB of memory" in took_line(job) and "Expected" not in took_line(running(state="done"))
