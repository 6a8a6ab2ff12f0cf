"""The System tab: the machine, the base, what fits, the versions, and what the latest jobs needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path

import gradio as gr

from motion_transfer.jobs.store import DONE
from motion_transfer.machine import Machine, this_machine
from motion_transfer.pipeline import Studio
from motion_transfer.planner import WAN_SIZES, size_in, speed_of, what_fits
from motion_transfer.recipes import versions
from motion_transfer.types import TuneSpec
from motion_transfer.ui import words
from motion_transfer.ui.buttons import QUIET, PlaceOf
from motion_transfer.ui.desk import Place, clock, problem, told

LATEST_JOBS = 5


@dataclass(frozen=True, kw_only=True)
class SystemTab:
    """What other parts of the page need: how to renew the facts."""

    refresh: Callable[..., str]
    facts: gr.HTML


def _table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f'<h3>{escape(title)}</h3><table class="facts">{lines}</table>'


def _machine_rows(machine: Machine) -> list[tuple[str, str]]:
    free = words.FREE_OF
    gpu = f"{machine.gpu}, {free.format(free=machine.free_gpu_memory_gb, whole=machine.gpu_memory_gb)}"
    return [
        (words.SYSTEM, machine.system),
        (words.PROCESSOR, words.CORES.format(name=machine.processor, cores=machine.num_cores)),
        (words.RAM, free.format(free=machine.free_memory_gb, whole=machine.memory_gb)),
        (words.GPU, gpu if machine.gpu else words.NO_GPU),
        (words.DISK, words.FREE.format(free=machine.free_disk_gb)),
    ]


def _fit_rows(machine: Machine, studio: Studio, workspace: Path) -> list[tuple[str, str]]:
    """Memory and time that this base and Wan2.1's need; nothing of a base whose folder is incomplete."""
    with suppress(OSError, ValueError, KeyError):
        rows = []
        for one in what_fits(machine, {studio.spec.name: size_in(studio.spec), **WAN_SIZES}, TuneSpec(),
                             speed_of(machine, workspace), {studio.spec.name: studio.suited()}):  # fmt: skip
            how = words.FITTING[one.needs.way] if one.fits else words.NOT_FITTING
            sizes = {"learning": one.needs.learning / 1e9, "rendering": one.needs.rendering / 1e9}
            if one.fits and one.learning_s is not None and one.rendering_s is not None:
                how += words.FIT_TIMES.format(learning=clock(one.learning_s), rendering=clock(one.rendering_s))
            rows.append((f"{one.name}, {one.precision}", words.FIT.format(**sizes, how=how)))
        return rows if machine.gpu else [*rows, ("", words.FITS_SLOWLY)]
    return []


def system_facts(place: Place, studio: Studio) -> str:
    """Everything as HTML: the machine, the base, what the owner's latest jobs needed, and the versions."""
    spec = studio.spec
    size_mb = sum(path.stat().st_size for path in spec.folder.rglob("*") if path.is_file()) / 1e6
    base = [(words.NAME, spec.name), (words.FORMAT, words.FORMAT_FACTS.format(width=spec.width, height=spec.height,
             frames=spec.num_frames)), (words.PRECISION, studio.precision),
            (words.SIZE, words.MEGABYTES.format(size=size_mb))]  # fmt: skip
    jobs = place.workspace.jobs.jobs(place.owner, states=(DONE,))[:LATEST_JOBS]
    needed = [(job.title, words.NEEDED.format(kind=words.JOB_KINDS[job.kind], time=clock(job.worked_s),
               gb=(job.peak_memory_mb or 0) / 1000)) for job in jobs]  # fmt: skip
    machine = this_machine(place.workspace.root)
    tables = [_table(words.MACHINE, _machine_rows(machine)), _table(words.BASE, base)]
    tables += [_table(words.FITS, fits)] if (fits := _fit_rows(machine, studio, place.workspace.root)) else []
    tables += [_table(words.LATEST, needed)] if needed else []
    return "".join([*tables, _table(words.VERSIONS, list(versions().items()))])


def build_system_tab(studio: Studio, place_of: PlaceOf, visitor: gr.BrowserState) -> SystemTab:
    """Builds the tab's content where it is called."""
    facts = gr.HTML("", elem_id="system")

    def refresh(token: str | None) -> str:
        found, error = told(lambda: system_facts(place_of(token), studio))
        return problem(error) if error is not None else found or ""

    gr.Button(words.REFRESH, scale=0).click(refresh, visitor, facts, **QUIET)
    return SystemTab(refresh=refresh, facts=facts)
