"""The benchmark: every method on every clip, resumable by clip, with a table and a contact sheet per method."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from motion_transfer.atomic import replacing
from motion_transfer.contenders import Case, Contender, seed_of, show, true_scene
from motion_transfer.errors import BadSpec, MotionTransferError
from motion_transfer.evaluate.bench_row import measured
from motion_transfer.evaluate.clip_folder import FolderCase
from motion_transfer.evaluate.stamps import STAMP_LETTERS, ResultFile, Row, stamp
from motion_transfer.evaluate.tables import CLIP, FAILED, PROMPT, Column, Summary, markdown_table, nondominated, summary
from motion_transfer.model.contrast import NANO_CLIP
from motion_transfer.model.quantize import product_dtype
from motion_transfer.pipeline import Studio
from motion_transfer.processes import each
from motion_transfer.ranks import ALONE, Ranks
from motion_transfer.types import Clip, Progress, RenderSpec, Work
from motion_transfer.video.frames import contact_sheet, save_png
from motion_transfer.video.io import read_clip, write_clip
from motion_transfer.work import drive

BASELINE, CEILING, OURS = "bare", "ceiling", "ours"
COLUMNS = (
    Column(name="motion_fidelity", title="fidelity", of_ceiling=True),
    Column(name="motion_fidelity_script", title="fidelity (script)", of_ceiling=True),
    Column(name="trajectory_error", title="path error %", digits=1, higher_is_better=False),
    Column(name="joint_error", title="joints deg", digits=1, higher_is_better=False),
    Column(name="camera_error", title="camera error %", digits=1, higher_is_better=False),
    Column(name="residual_flow_error", title="objects' speed error", higher_is_better=False),
    Column(name="leakage", title="leakage", higher_is_better=False),
    Column(name="reference_similarity", title="looks like reference", higher_is_better=False),
    Column(name="object_present", title="object seen"),
    Column(name="color_right", title="color"),
    Column(name="shape_right", title="shape"),
    Column(name="text_match", title="text match"),
    Column(name="frame_consistency", title="consistency"),
    Column(name="temporal_consistency", title="steadiness"),
    Column(name="tuning_s", title="tuning s, beside whatever ran", digits=0, higher_is_better=False),
    Column(name="rendering_s", title="rendering s, beside whatever ran", digits=0, higher_is_better=False),
)
IN_BRIEF = tuple(column for column in COLUMNS if column.name in (
    "motion_fidelity", "trajectory_error", "leakage", "shape_right", "text_match"))  # fmt: skip
SHEET_CLIPS, SHEET_FRAMES = 12, 9
RENDERED_BY = ("motion_transfer.contenders",)
MEASURED_BY = ("motion_transfer.evaluate.bench_row", "motion_transfer.evaluate.motionbench")

_CONTENTS: dict[str, str] = {}  # of cases: clips do not change while a benchmark runs


@lru_cache(maxsize=256)  # nor do sources and weights
def _stamp(modules: tuple[str, ...], folders: tuple[Path, ...], settings: str) -> str:
    return stamp(modules=modules, folders=folders, settings=json.loads(settings))


def _content(case: Case) -> str:
    """A hash of a case's clip, caption and prompts: another clip of the same name has other results.

    A clip of the procedural world is drawn by code that the rows' stamps cover, from its name, and the last bit of a
    pixel may differ between processors; of other clips the file counts.
    """
    known = _CONTENTS.get(repr(case))
    if known is None:
        if isinstance(case, FolderCase):
            clip, caption = hashlib.sha256(case.path.read_bytes()).hexdigest(), case.caption
        else:
            clip, caption = case.scene.name, case.scene.caption
        texts = json.dumps([case.name, clip, caption, case.prompts])
        known = hashlib.sha256(texts.encode()).hexdigest()[:STAMP_LETTERS]
        _CONTENTS[repr(case)] = known
    return known


def _front(cells: Summary, unranked: Sequence[str]) -> str:
    """A line on which methods no other one beats in both fidelity and leakage; empty where leakage is not known."""
    points = {}
    for method, row in cells.items():
        fidelity, leak = row["motion_fidelity"].mean, row["leakage"].mean
        if method not in unranked and fidelity is not None and leak is not None:
            points[method] = (fidelity, leak)
    return f"Not dominated in (fidelity, leakage): {', '.join(nondominated(points))}.\n\n" if points else ""


def _variants_of(name: str, names: Sequence[str]) -> list[str]:
    """Those that vary it and nothing nearer: `ours-sparse-no-positions` varies `ours-sparse`."""
    return [other for other in names
            if max((one for one in names if other.startswith(f"{one}-")), key=len, default="") == name]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What is measured, and where results and renders go.

    Attributes:
        studio: with the base.
        contenders: methods; the others are compared with `bare`, or with the first where that is not asked for.
        cases: clips.
        prompts_per_case: how many of each clip's prompts are rendered.
        render: settings of the renders; each gets its own prompt.
        results: JSON file; the table and the sheets go beside it.
        renders: folder of the rendered clips, kept so that new measures need no new renders.
        num_processes: that share the clips and the cores.
        ranks: that share the clips beyond that, each with processes of its own.
    """

    studio: Studio
    contenders: Sequence[Contender]
    cases: Sequence[Case]
    prompts_per_case: int
    render: RenderSpec
    results: Path
    renders: Path
    num_processes: int = 1
    ranks: Ranks = ALONE

    def _made_by(self, contender: Contender) -> str:
        """A hash of the code, weights and settings that a contender's renders follow from."""
        base = self.studio.base
        settings = {"contender": contender.settings(), "render": asdict(self.render), "precision": base.precision,
                    "device": base.device.type, "products": str(product_dtype(base.device, base.dtype))}  # fmt: skip
        return _stamp(RENDERED_BY, (self.studio.base.spec.folder,), json.dumps(settings, sort_keys=True))

    def _clip_paths(self, contender: Contender, case: Case) -> list[Path]:
        """Where a case's renders lie."""
        folder = self.renders / f"{contender.name}-{self._made_by(contender)}"
        stem = f"{case.name.replace('/', '-')}-{_content(case)}"
        return [folder / f"{stem}-{i}.mp4" for i in range(len(case.prompts[: self.prompts_per_case]))]

    def _shown(self, contender: Contender, case: Case) -> tuple[list[Clip], dict[str, float]]:
        """A case's renders and seconds, from disk where they are."""
        paths = self._clip_paths(contender, case)
        facts = paths[0].with_suffix(".json")
        if not (facts.is_file() and all(path.is_file() for path in paths)):
            specs = [replace(self.render, prompt=prompt, seed=seed_of(self.render.seed, case.name, i))
                     for i, prompt in enumerate(case.prompts[: len(paths)])]  # fmt: skip
            shown = drive(show(self.studio.base, contender, case, specs))
            paths[0].parent.mkdir(parents=True, exist_ok=True)
            for path, clip in zip(paths, shown.clips, strict=True):
                write_clip(clip, path)
            with replacing(facts) as partial:
                partial.write_text(json.dumps({"tuning_s": shown.tuning_s, "rendering_s": shown.rendering_s}))
        return [read_clip(path) for path in paths], json.loads(facts.read_text())

    def _rows(self, pair: tuple[Contender, Case]) -> list[Row]:
        """What is measured on a contender's renders of a case."""
        contender, case = pair
        prompts = case.prompts[: self.prompts_per_case]
        whose = {"method": contender.name, "made_by": self._made_by(contender), CLIP: case.name,
                 "content": _content(case), "kind": case.kind}  # fmt: skip
        try:
            clips, seconds = self._shown(contender, case)
            reference = case.reference()
        except MotionTransferError as error:  # the others go on
            return [{**whose, PROMPT: prompt, FAILED: str(error)} for prompt in prompts]
        return [{**whose, PROMPT: prompt, **seconds,
                 **measured(reference, clip, scene=case.scene, **self._asked(contender, case, prompt))}
                for clip, prompt in zip(clips, prompts, strict=True)]  # fmt: skip

    def _asked(self, contender: Contender, case: Case, prompt: str) -> dict[str, Any]:
        """What a render is judged by: its prompt and what that shows things as; of the truth, what it does show."""
        if contender.needs_truth:
            scene = true_scene(case, prompt)
            return {"prompt": scene.caption, "looks": tuple((thing.kind, thing.color) for thing in scene.things)}
        return {"prompt": prompt,
                "looks": next((target.looks for target in case.targets if target.prompt == prompt), None)}  # fmt: skip

    def table(self) -> ResultFile:
        """The results so far; they count for the code that measures, and each row for the code that rendered."""
        weights = (self.studio.base.spec.folder, *(path for path in (NANO_CLIP,) if path.is_dir()))
        return ResultFile(self.results, _stamp(MEASURED_BY, weights, "{}"))

    @property
    def _parts(self) -> Path:
        """Folder of the other ranks' rows."""
        return self.results.with_suffix(".parts")

    def _part(self, rank: int) -> ResultFile:
        """The rows of one of the other ranks."""
        return ResultFile(self._parts / f"{rank}.json", self.table().stamp)

    def _gather(self) -> None:
        """Puts the ranks' rows together, those of a run that was killed too; all ranks wait for the first one."""
        self.ranks.wait()
        if self.ranks.is_first and self._parts.is_dir():
            table = self.table()
            for path in sorted(self._parts.glob("*.json")):
                part = ResultFile(path, table.stamp)
                for key, row in part.rows.items():
                    table.add(key, row)
                if not part.started_over:  # what other code made stays where it is
                    path.unlink()
            if not any(self._parts.iterdir()):
                self._parts.rmdir()
        self.ranks.wait()

    def _rows_of(self, table: ResultFile, contender: Contender) -> dict[str, Row]:
        """A contender's rows on this benchmark's clips, as far as they are done."""
        rows, made_by = table.rows, self._made_by(contender)
        mine = {key: _content(case) for case in self.cases for key in self._keys(contender, case)}
        return {key: rows[key] for key, content in mine.items()
                if key in rows and rows[key]["made_by"] == made_by and rows[key]["content"] == content}  # fmt: skip

    def _keys(self, contender: Contender, case: Case) -> list[str]:
        """Of a case's rows, one per render."""
        return [f"{contender.name}/{case.name}/{i}" for i in range(len(self._clip_paths(contender, case)))]

    def _left(self, table: ResultFile) -> list[tuple[Contender, Case]]:
        """What is not done yet, clip by clip; for several ranks method by method, that each gets its part of all."""
        done = {contender.name: self._rows_of(table, contender).keys() for contender in self.contenders}
        left = [(contender, case) for case in self.cases for contender in self.contenders
                if (case.targets or not contender.needs_truth)
                and not done[contender.name] >= set(self._keys(contender, case))]  # fmt: skip
        names = [contender.name for contender in self.contenders]
        return left if self.ranks.count == 1 else sorted(left, key=lambda pair: names.index(pair[0].name))

    def work(self) -> Work[str]:
        """Does what is not done yet; returns the table as Markdown, which lies beside the results.

        Of several ranks, each keeps its rows in a file of its own until the first one puts them together at the end,
        or at the next beginning; the others return nothing.
        """
        self._gather()
        table = self.table() if self.ranks.is_first else self._part(self.ranks.rank)
        left = self.ranks.share(self._left(self.table()))
        self.ranks.wait()  # until all have seen the same table
        alone = replace(self, contenders=(), cases=(), ranks=ALONE)  # what travels to other processes is small
        measured = each(alone._rows, left, num_processes=self.num_processes)
        with closing(measured):
            for step, ((contender, case), rows) in enumerate(measured, 1):
                for key, row in zip(self._keys(contender, case), rows, strict=True):
                    table.add(key, row)
                yield Progress(stage="clips and methods", step=step, total=len(left))
        self._gather()
        if not self.ranks.is_first:
            return ""
        text = self._markdown(self.table())
        with replacing(self.results.with_suffix(".md")) as partial:
            partial.write_text(text)
        self._sheets()
        return text

    def _markdown(self, table: ResultFile) -> str:
        rows = {c.name: list(self._rows_of(table, c).values()) for c in self.contenders}
        rows = {name: of_method for name, of_method in rows.items() if of_method}
        unranked = [contender.name for contender in self.contenders if contender.needs_truth]
        ranked = [name for name in rows if name not in unranked]
        if not rows:
            raise BadSpec("a table needs a method with results, but the truth is not known of these clips; ask for "
                          "another method.")  # fmt: skip
        ceiling = CEILING if CEILING in rows else None
        baseline = BASELINE if BASELINE in ranked else (ranked or list(rows))[0]
        cells = summary(rows, [column.name for column in COLUMNS], baseline, ceiling=ceiling)
        notes = _front(cells, unranked) + self._best_settings(cells)
        brief = markdown_table(cells, IN_BRIEF, unranked=unranked)
        parts = [brief, "All measures:", markdown_table(cells, COLUMNS, unranked=unranked)]
        others = {OURS: ranked} if OURS in ranked and len(ranked) > 2 else {}
        others |= {name: [name, *varied] for name in ranked if (varied := _variants_of(name, ranked)) and name != OURS}
        for name, of_name in others.items():
            if name != baseline:
                beside = {name: rows[name]} | {other: rows[other] for other in of_name}
                cells = summary(beside, [column.name for column in IN_BRIEF], name)
                parts += [f"Differences to {name}, on the same clips and prompts:", markdown_table(cells, IN_BRIEF)]
        return "\n\n".join([*parts, f"{notes}Stamp {table.stamp}.\n"])

    def _best_settings(self, cells: Summary) -> str:
        """Of each method that was searched, the settings of most fidelity less leakage; empty without a search."""
        found: dict[str, tuple[float, str]] = {}
        for contender in self.contenders:
            row = cells.get(contender.name)
            if contender.variant_of and row and row["motion_fidelity"].mean is not None:
                score = row["motion_fidelity"].mean - (row["leakage"].mean or 0.0)
                found[contender.variant_of] = max(found.get(contender.variant_of, (score, "")), (score, contender.name))
        best = ", ".join(f"{name} ({score:.3f})" for score, name in found.values())
        return f"Most fidelity less leakage: {best}.\n\n" if best else ""

    def _sheets(self) -> None:
        """A picture per method: references and first renders, one below the other; as it was where renders are gone."""
        for contender in self.contenders:
            cases = [case for case in self.cases[:: max(1, len(self.cases) // SHEET_CLIPS)][:SHEET_CLIPS]
                     if case.targets or not contender.needs_truth]  # fmt: skip
            firsts = [self._clip_paths(contender, case)[0] for case in cases]
            if cases and all(first.is_file() for first in firsts):
                clips = [clip for case, first in zip(cases, firsts, strict=True)
                         for clip in (self.studio.fit(case.reference()), read_clip(first))]  # fmt: skip
                name = f"{self.results.stem}-{contender.name}.png"
                save_png(contact_sheet(clips, columns_frames=SHEET_FRAMES, scale=1), self.results.with_name(name))
