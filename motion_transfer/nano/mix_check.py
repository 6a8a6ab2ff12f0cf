"""Do motions add up? Two and three cameras at once, each as far as it goes alone.

`python -m motion_transfer.nano check-mixes` remakes `docs/results/mixes.json` and `mixes.md`. The cameras of the
shipped controls are rendered alone, in pairs and all three, forward and backward, with contents that nothing was
learned from; and so are LoRAs that were learned in the usual way (`usual_loras`), summed by weights.
What counts is how far each camera's motion is from what it is alone, over its range.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import combinations, product
from pathlib import Path
from statistics import mean
from typing import Any

from motion_transfer.evaluate.amplitude import PAN, TILT, ZOOM, amplitudes
from motion_transfer.evaluate.embedders import world_embedder
from motion_transfer.evaluate.flicker import flicker
from motion_transfer.evaluate.resumed import conclude, measure_missing
from motion_transfer.evaluate.stamps import ResultFile, Row, stamp
from motion_transfer.evaluate.tables import paired_interval
from motion_transfer.evaluate.text_match import text_match
from motion_transfer.lora.files import load_lora
from motion_transfer.methods.lion_fusion import compile_mix
from motion_transfer.nano.controls import PREFIX, Case, cases, opened, rendered
from motion_transfer.nano.usual_loras import USUAL_LORAS, usual_loras
from motion_transfer.types import Clip, Lora, Mix
from motion_transfer.video.kept import RENDERS, kept
from motion_transfer.video.synth.controls import CONTROLS

CAMERAS = (PAN, TILT, ZOOM)
HOW_FAR = 0.7  # of the whole strength, forward and backward
USUAL = "usual"  # LoRAs learned in the usual way and summed; the other ways are mixes of ours
SUM, APART = "sum", "orthogonal"  # rules of a mix; "norm" leaves controls with a curve as they are, and so is "sum"
WAYS = (SUM, APART, USUAL)


@dataclass(frozen=True, kw_only=True)
class Item:
    """One render: how the cameras are mixed, how far each goes, and with which content."""

    way: str
    strengths: tuple[float, ...]  # of `CAMERAS`
    number: int

    @property
    def key(self) -> str:
        """Of its row, and of its file."""
        return f"{self.way} {self.number} " + " ".join(f"{strength:+.2f}" for strength in self.strengths)


def items(num_contents: int, ways: Sequence[str] = WAYS) -> Iterator[Item]:
    """All renders: every camera alone, every two, all three, by all signs."""
    for way, number in product(ways, range(num_contents)):
        for size in (1, 2, 3):
            for some in combinations(range(len(CAMERAS)), size):
                if size == 1 and way == APART:
                    continue  # alone, there is nothing to turn a control from
                for signs in product((-1, 1), repeat=size):
                    strengths = [0.0] * len(CAMERAS)
                    for camera, sign in zip(some, signs, strict=True):
                        strengths[camera] = sign * HOW_FAR
                    yield Item(way=way, strengths=tuple(strengths), number=number)


@lru_cache(maxsize=1)
def _ours(folder: Path) -> tuple[Lora, ...]:
    return tuple(load_lora(folder / f"{PREFIX}{name}.safetensors") for name in CAMERAS)


@lru_cache(maxsize=1)
def _usual(folder: Path) -> tuple[Lora, ...]:
    return tuple(usual_loras(CAMERAS, folder, num_processes=1).values())


def _case(number: int) -> Case:
    return cases(CONTROLS[PAN], number + 1, "mixes")[-1]


def _render(shipped: Path, usual: Path, item: Item) -> Clip:
    loras = _usual(usual) if item.way == USUAL else _ours(shipped)
    moved = tuple((lora, strength) for lora, strength in zip(loras, item.strengths, strict=True) if strength)
    mix = Mix(items=moved, rule=SUM if item.way == USUAL else item.way)
    return rendered(compile_mix(mix), 1.0, _case(item.number))


def _measured(shipped: Path, usual: Path, renders: Path, item: Item) -> Row:
    clip = kept(renders / f"{item.key.replace(' ', '_')}.npz", lambda: _render(shipped, usual, item))
    case = _case(item.number)
    found = amplitudes(clip, case.look)
    shown = {name: None if found[name] is None else round(found[name] / CONTROLS[name].most, 5) for name in CAMERAS}
    asked = dict(zip((f"set {name}" for name in CAMERAS), item.strengths, strict=True))
    return {
        "way": item.way, "content": item.number, **asked, **shown,
        "text match": text_match(clip, case.prompt, world_embedder()), "flicker": flicker(clip),
    }  # fmt: skip


def _set(row: Row) -> tuple[float, ...]:
    return tuple(float(row[f"set {name}"] or 0.0) for name in CAMERAS)


_Key = tuple[int, tuple[float, ...], str]  # content, strengths, camera


def errors(rows: Sequence[Row], alone: Sequence[Row], size: int) -> dict[_Key, float]:
    """How far each camera of a mix is from what it shows alone, over its range from -1 to 1.

    Args:
        rows: of one way.
        alone: of the cameras alone, by the same LoRAs.
        size: how many cameras move at once.

    Returns:
        By content, strengths and camera.
    """
    single = {(int(row["content"]), name, strength): float(row[name])  # type: ignore[arg-type]
              for row in alone for name, strength in zip(CAMERAS, _set(row), strict=True)
              if strength and sum(map(bool, _set(row))) == 1 and row[name] is not None}  # fmt: skip
    reach = {name: mean(abs(value) for (_, of, _), value in single.items() if of == name) / HOW_FAR
             for name in CAMERAS if any(of == name for _, of, _ in single)}  # fmt: skip
    found = {}
    for row in rows:
        strengths = _set(row)
        if sum(map(bool, strengths)) != size:
            continue
        for name, strength in zip(CAMERAS, strengths, strict=True):
            before = single.get((int(row["content"]), name, strength))  # type: ignore[arg-type]
            if strength and before is not None and row[name] is not None:
                off = abs(float(row[name]) - before) / (2 * reach[name])  # type: ignore[arg-type]
                found[int(row["content"]), strengths, name] = off  # type: ignore[arg-type]
    return found


def _beside(own: Mapping[_Key, float], usual: Mapping[_Key, float]) -> list[float]:
    """By content, the mean difference over what could be read of both."""
    of: dict[int, list[float]] = {}
    for key in sorted(own.keys() & usual.keys()):
        of.setdefault(key[0], []).append(own[key] - usual[key])
    return [mean(differences) for differences in of.values()]


def summary(rows: Mapping[str, Row]) -> dict[str, Any]:
    """By way: additivity errors of pairs and triples, beside the usual sum's with a 95% interval by contents, and how
    many renders of several cameras could be read.
    """
    of = {way: [row for row in rows.values() if row["way"] == way] for way in WAYS}
    out: dict[str, Any] = {}
    for way, some in of.items():
        several = [row for row in some if sum(map(bool, _set(row))) > 1]
        alone = of[USUAL if way == USUAL else SUM]
        if not several:
            continue
        one: dict[str, Any] = {"read": round(mean(row[PAN] is not None for row in several), 4),
                               "text match": round(mean(float(row["text match"] or 0) for row in several), 4),
                               "flicker": round(mean(float(row["flicker"] or 0) for row in several), 4)}  # fmt: skip
        for size, name in ((2, "pairs"), (3, "triples")):
            own = errors(some, alone, size)
            less = [] if way == USUAL else _beside(own, errors(of[USUAL], of[USUAL], size))
            interval = paired_interval(less)
            one[name] = {"error": round(mean(own.values()), 4) if own else None,
                         "beside usual": round(mean(less), 4) if less else None,
                         "interval": None if interval is None else [round(end, 4) for end in interval]}  # fmt: skip
        out[way] = one
    return out


def table(found: Mapping[str, Any]) -> str:
    """The summary as a table in Markdown."""
    head = ("mix", "pairs: error %", "beside the usual", "triples: error %", "beside the usual", "could be read")
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for way, one in found.items():
        cells = [way]
        for name in ("pairs", "triples"):
            error, beside, interval = (one[name][key] for key in ("error", "beside usual", "interval"))
            cells.append("" if error is None else f"{100 * error:.1f}")
            ends = "" if interval is None else " ({:+.1f} to {:+.1f})".format(*(100 * end for end in interval))
            cells.append("" if beside is None else f"{100 * beside:+.1f}{ends}")
        cells.append(f"{one['read']:.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def mixes_stamp(shipped: Path, num_contents: int) -> str:
    """What the figures follow from."""
    return stamp(modules=[__name__], folders=[opened().spec.folder, shipped], settings={"contents": num_contents})


def check_mixes(
    shipped: Path, num_contents: int, results: Path, num_processes: int = 2, renders: Path = RENDERS,
    usual: Path = USUAL_LORAS, compiled: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Renders and measures; writes `mixes.json` and `mixes.md`, going on where it was stopped.

    Args:
        shipped: folder of the controls that ship.
        num_contents: contents of each mix.
        results: where the figures go.
        num_processes: that share the renders.
        renders: folder of the renders, to go on from.
        usual: folder of the usual LoRAs; those that it lacks are learned.
        compiled: learn them with compiled blocks, in half the time.
    """
    made_by = mixes_stamp(shipped, num_contents)
    file = ResultFile(results / "mixes.json", made_by)
    if any(item.key not in file.rows for item in items(num_contents)):
        usual_loras(CAMERAS, usual, num_processes, compiled)
    measure = partial(_measured, shipped, usual, renders / f"mixes-{made_by}")
    measure_missing(file, items(num_contents), measure, num_processes=num_processes)
    return conclude(file, summary, table)
