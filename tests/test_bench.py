"""The benchmark on a toy base: every method runs, a killed bench goes on, the table and sheets are there."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from motion_transfer import bench as bench_module
from motion_transfer import contenders as contenders_module
from motion_transfer import pace
from motion_transfer.bench import Bench
from motion_transfer.cli.benches import _only, _read_variants
from motion_transfer.contenders import Contender
from motion_transfer.errors import BadSpec
from motion_transfer.evaluate import report
from motion_transfer.evaluate.clip_folder import FolderCase, folder_cases
from motion_transfer.evaluate.motionbench import quick_cases
from motion_transfer.lineup import ABLATIONS, CONTENDERS, ablations, chosen, grid, variants
from motion_transfer.model.base import VideoBase
from motion_transfer.pace import of_equal_seconds
from motion_transfer.pipeline import Studio
from motion_transfer.ranks import Ranks
from motion_transfer.types import Clip, RenderSpec
from motion_transfer.video.io import write_clip
from motion_transfer.work import drive

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def studio(tiny_base: VideoBase, tiny_base_folder: Path) -> Studio:
    studio = Studio(base=str(tiny_base_folder), precision="fp32")
    studio.__dict__["base"] = tiny_base
    return studio


@pytest.fixture
def quick_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds to measure is read off the pictures' brightness: for tests of the benchmark's books."""

    def brightness(_: Clip, generated: Clip) -> float:
        return float(generated.frames_THWC.mean()) / 255

    for name in ("motion_fidelity", "motion_fidelity_script", "residual_flow_error"):
        monkeypatch.setattr(report, name, brightness)
    for name in ("flicker", "temporal_consistency"):
        monkeypatch.setattr(report, name, lambda generated: brightness(generated, generated))


@pytest.fixture
def cases(square_clip: Clip, tmp_path: Path) -> tuple[FolderCase, ...]:
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        write_clip(square_clip, folder / name)
    with open(folder / "captions.csv", "w", newline="") as handle:
        rows = [["file", "caption", "prompt", "prompt2"]]
        rows += [[n, "a red square", "a blue circle", "a green star"] for n in ("a.mp4", "b.mp4")]
        csv.writer(handle).writerows(rows)
    return folder_cases(folder)


def _short(contender: Contender) -> Contender:
    if contender.learns is None:
        return contender
    few = replace(contender.learns, spatial_steps=min(1, contender.learns.spatial_steps), temporal_steps=1, rank=2)
    return replace(contender, learns=few)


def _bench(studio: Studio, cases: tuple, tmp_path: Path, names: str, prompts: int = 2) -> Bench:
    return Bench(studio=studio, contenders=[_short(c) for c in chosen(names.split(","))], cases=cases,
                 prompts_per_case=prompts, render=RenderSpec(steps=1), results=tmp_path / "out" / "bench.json",
                 renders=tmp_path / "renders")  # fmt: skip


@pytest.mark.usefixtures("quick_measures")
def test_all_methods_on_a_folder_of_clips(studio: Studio, cases: tuple[FolderCase, ...], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    bench = _bench(studio, cases, tmp_path, ",".join(CONTENDERS), prompts=1)
    text = drive(bench.work())
    table = bench.table()
    methods = [name for name, one in CONTENDERS.items() if not one.needs_truth]  # nobody knows that of real clips
    assert set(table.rows) == {f"{m}/{c.name}/0" for m in methods for c in cases}
    assert all(f"| {name} " in text for name in methods) and "| ceiling " not in text and table.stamp in text
    assert (tmp_path / "out" / "bench.md").read_text() == text
    assert {p.stem for p in (tmp_path / "out").glob("*.png")} == {f"bench-{name}" for name in methods}
    assert table.rows["naive/a.mp4/0"]["tuning_s"] > 10 * table.rows["bare/a.mp4/0"]["tuning_s"]


@pytest.mark.usefixtures("quick_measures")
def test_a_killed_bench_goes_on(
    studio: Studio, cases: tuple[FolderCase, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    bench = _bench(studio, cases, tmp_path, "bare,ours")
    learn, learned = contenders_module._learned, []

    def once(base: VideoBase, contender: Contender, case: FolderCase):
        learned.append((contender.name, case.name))
        if len(learned) == 4:
            raise KeyboardInterrupt
        return (yield from learn(base, contender, case))

    monkeypatch.setattr(contenders_module, "_learned", once)
    with pytest.raises(KeyboardInterrupt):
        drive(bench.work())
    assert len(bench.table().rows) == 6
    before = json.loads(bench.results.read_text())["rows"]
    drive(bench.work())
    assert learned[3:] == [("ours", "b.mp4")] * 2
    after = json.loads(bench.results.read_text())["rows"]
    assert len(after) == 8 and all(after[key] == row for key, row in before.items())


@pytest.mark.usefixtures("quick_measures")
def test_another_clip_of_the_same_name_is_measured_anew(
    studio: Studio, cases: tuple[FolderCase, ...], square_clip: Clip, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    drive(_bench(studio, cases, tmp_path, "bare").work())
    backwards = replace(square_clip, frames_THWC=square_clip.frames_THWC[::-1])
    write_clip(backwards, tmp_path / "clips" / "a.mp4")
    other = folder_cases(tmp_path / "clips")
    bench = _bench(studio, tuple(replace(case) for case in other), tmp_path, "bare")
    bench_module._CONTENTS.clear()
    assert [case.name for _, case in bench._left(bench.table())] == ["a.mp4"]
    reworded = replace(cases[1], prompts=("a pink star", *cases[1].prompts[1:]))
    assert replace(bench, cases=(reworded,))._left(bench.table())


def test_the_ceiling_is_a_true_render(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    bench = _bench(studio, quick_cases()[-1:], tmp_path, "ceiling,truth-led,bare")
    drive(replace(bench, render=RenderSpec(steps=30, motion_until=0.0)).work())
    rows = bench.table().rows
    ceiling, led, bare = (
        [row for row in rows.values() if row["method"] == m] for m in ("ceiling", "truth-led", "bare")
    )
    assert len(ceiling) == 2 and all(row["motion_fidelity"] > 0.8 and row["color_right"] == 1.0 for row in ceiling)
    assert sum(row["text_match"] for row in led) > sum(row["text_match"] for row in bare)
    assert "Not dominated in (fidelity, leakage): bare." in bench.results.with_suffix(".md").read_text()


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(BadSpec, match="motiondirector"):
        chosen(["ours", "magic"])


def test_seconds_become_steps(studio: Studio, cases: tuple[FolderCase, ...], tmp_path: Path) -> None:
    """More seconds, more steps, in the proportion of the two stages; what learns nothing stays."""
    contenders = chosen(["bare", "ours"])
    short, long = (of_equal_seconds(studio, cases[:1], contenders, seconds, tmp_path / f"{seconds}.json",
                                    num_processes=1) for seconds in (2.0, 40.0))  # fmt: skip
    assert short[0] == long[0] == CONTENDERS["bare"]
    own, few, many = (one.learns for one in (CONTENDERS["ours"], short[1], long[1]))
    assert own is not None and few is not None and many is not None
    assert many.temporal_steps > 4 * few.temporal_steps > 0
    assert many.spatial_steps / many.temporal_steps == pytest.approx(own.spatial_steps / own.temporal_steps, rel=0.05)


def test_a_benchmark_that_goes_on_keeps_its_steps(
    studio: Studio, cases: tuple[FolderCase, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = partial(of_equal_seconds, studio, cases[:1], chosen(["ours"]), path=tmp_path / "steps.json", num_processes=1)
    monkeypatch.setattr(pace, "steps_within", lambda *_: (12, 34))
    first = ask(seconds=5.0)
    monkeypatch.setattr(pace, "steps_within", lambda *_: (1, 1))
    assert ask(seconds=5.0) == first and first[0].learns is not None and first[0].learns.temporal_steps == 34
    other = ask(seconds=6.0)
    assert other[0].learns is not None and other[0].learns.temporal_steps == 1


def test_the_search_is_the_same_for_all_that_learn() -> None:
    ours, naive = grid(CONTENDERS["ours"]), grid(CONTENDERS["naive"])
    points = [{(c.learns.rank, c.learns.spatial_rate, c.learns.temporal_rate) for c in cs} for cs in (ours, naive)]
    assert points[0] == points[1] and len(points[0]) == len({c.name for c in ours}) == 6
    guided = grid(CONTENDERS["ditflow"])
    assert len({(c.guides.first_rate, c.guides.guided_share) for c in guided}) == len({c.name for c in guided}) == 6
    assert grid(CONTENDERS["bare"]) == [CONTENDERS["bare"]]


def test_some_ablations_can_be_chosen_by_the_end_of_their_names() -> None:
    ours = CONTENDERS["ours"]
    found = _only(ablations(ours), ["sparse", "no-positions"], [ours])
    assert [one.name for one in found] == ["ours", "ours-sparse", "ours-sparse-no-positions"]
    with pytest.raises(BadSpec, match=r"ours-no-decoupling.*'magic'"):
        _only(ablations(ours), ["magic"], [ours])


def test_a_variant_stands_beside_the_method_that_it_varies() -> None:
    names = ["bare", "ours", "ours-sparse", "ours-sparse-pixel", "ours-decoupled", "oursome"]
    assert bench_module._variants_of("ours", names) == ["ours-sparse", "ours-decoupled"]
    assert bench_module._variants_of("ours-sparse", names) == ["ours-sparse-pixel"]
    assert bench_module._variants_of("bare", names) == []


def test_ablations_change_one_thing_each() -> None:
    ours, *others = ablations(CONTENDERS["ours"])
    assert ours == CONTENDERS["ours"] and len({one.name for one in others}) == len(others) == len(ABLATIONS)
    for one in others:
        own, changed = asdict(ours.learns), asdict(one.learns)
        differing = {name for name in own if own[name] != changed[name]}
        assert differing == set(ABLATIONS[one.name.removeprefix("ours-")]) and differing
    assert ablations(CONTENDERS["bare"]) == [CONTENDERS["bare"]]


def test_variants_are_what_a_file_says(tmp_path: Path) -> None:
    ours, small = variants(CONTENDERS["ours"], {"small": {"rank": 2, "noise_shift": 3.0}})
    assert ours == CONTENDERS["ours"] and small.name == "ours-small" and small.learns is not None
    assert small.learns == replace(ours.learns, rank=2, noise_shift=3.0)
    assert variants(CONTENDERS["bare"], {"small": {"rank": 2}}) == [CONTENDERS["bare"]]
    for harmful in ({"a/b": {}}, {"x": {"rnak": 2}}, {"x": 3}, {"x": {"rank": 0}}, {"x": {"rank": "two"}}):
        with pytest.raises(BadSpec):
            variants(CONTENDERS["ours"], harmful)
    path = tmp_path / "variants.json"
    for text in (None, "[1]", "{"):
        if text is not None:
            path.write_text(text)
        with pytest.raises(BadSpec, match="variants"):
            _read_variants(path)


@pytest.mark.usefixtures("quick_measures")
def test_without_the_bare_base_the_first_method_is_the_yardstick(
    studio: Studio, cases: tuple[FolderCase, ...], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    bench = _bench(studio, cases[:1], tmp_path, "ours")
    ours = bench.contenders[0]
    other = replace(ours, name="other", learns=replace(ours.learns, motion_loss="off"))
    lines = drive(replace(bench, contenders=[ours, other]).work()).splitlines()
    first, second = (next(line for line in lines if line.startswith(f"| {name} ")) for name in ("ours", "other"))
    assert "(" not in first and "(+" in second.replace("(-", "(+")


@pytest.mark.usefixtures("quick_measures")
def test_a_search_names_the_best_settings(studio: Studio, cases: tuple[FolderCase, ...], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    bench = _bench(studio, cases[:1], tmp_path, "bare,ditflow")
    variants = [variant for contender in bench.contenders for variant in grid(contender)]
    text = drive(replace(bench, contenders=variants).work())
    rows = bench.table().rows

    def score(name: str) -> float:
        of_name = [rows[f"{name}/a.mp4/{i}"] for i in range(2)]
        return mean(row["motion_fidelity"] for row in of_name) - mean(row["leakage"] for row in of_name)

    best = max((variant.name for variant in variants[1:]), key=lambda name: (score(name), name))
    assert f"Most fidelity less leakage: {best} ({score(best):.3f})." in text


def test_two_processes_do_the_same(tiny_base_folder: Path, cases: tuple[FolderCase, ...], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    studio = Studio(base=str(tiny_base_folder), precision="fp32")
    bench = _bench(studio, cases[:1], tmp_path, "bare,ours", prompts=1)
    rows = {}
    for num_processes in (1, 2):
        apart = replace(bench, num_processes=num_processes, results=tmp_path / "out" / f"{num_processes}.json",
                        renders=tmp_path / f"renders{num_processes}")  # fmt: skip
        drive(apart.work())
        rows[num_processes] = apart.table().rows
    assert rows[1].keys() == rows[2].keys() and len(rows[1]) == 2
    for key, row in rows[1].items():
        assert rows[2][key]["motion_fidelity"] == pytest.approx(row["motion_fidelity"], abs=0.02)


def _without_seconds(rows: dict[str, Any]) -> dict[str, Any]:
    return {key: {name: value for name, value in row.items() if not name.endswith("_s")} for key, row in rows.items()}


@pytest.mark.usefixtures("quick_measures")
def test_ranks_fill_one_table(studio: Studio, cases: tuple[FolderCase, ...], tmp_path: Path) -> None:
    """The same rows as one process; what a rank did before the first one was killed counts."""
    (tmp_path / "out").mkdir()
    alone = _bench(studio, cases, tmp_path, "bare,naive")
    drive(alone.work())
    shared = replace(alone, results=tmp_path / "out" / "shared.json", renders=tmp_path / "others")
    second = replace(shared, ranks=Ranks(rank=1, count=2))
    assert drive(second.work()) == "" and not shared.results.exists()
    assert (tmp_path / "out" / "shared.parts" / "1.json").is_file()
    table = drive(replace(shared, ranks=Ranks(rank=0, count=2)).work())
    assert "| naive " in table and not (tmp_path / "out" / "shared.parts").exists()
    done = [row["method"] for row in shared.table().rows.values()]
    assert set(done) == {"bare", "naive"} and 4 <= len(done) < 8  # the second one's, and half of what was left
    drive(shared.work())
    assert _without_seconds(shared.table().rows) == _without_seconds(alone.table().rows)


def test_two_launched_processes_fill_one_table(
    studio: Studio, cases: tuple[FolderCase, ...], tmp_path: Path, tiny_base_folder: Path
) -> None:
    """As `torchrun` starts them, over gloo."""
    (tmp_path / "out").mkdir()
    alone = replace(
        _bench(studio, cases, tmp_path, "bare", prompts=1),
        render=RenderSpec(steps=1, guidance=1.0, early_guidance=1.0),
    )
    drive(alone.work())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m",
               "motion_transfer", "bench", "--clips", str(tmp_path / "clips"), "--methods", "bare", "--prompts", "1",
               "--base", str(tiny_base_folder), "--precision", "fp32", "--steps", "1", "--guidance", "1",
               "--early-guidance", "1", "--processes", "1", "--json", str(tmp_path / "out" / "shared.json"),
               "--renders", str(tmp_path / "others")]  # fmt: skip
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("Stamp ") == 1
    rows = replace(alone, results=tmp_path / "out" / "shared.json").table().rows
    assert _without_seconds(rows) == _without_seconds(alone.table().rows) and len(rows) == 2
