"""The System tab: facts of the machine and of what jobs needed, as plain text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from motion_transfer.jobs.worker import Worker
from motion_transfer.machine import this_machine
from motion_transfer.model.device_speed import SPEED_FILE, DeviceSpeed, save_speed
from motion_transfer.pipeline import Studio
from motion_transfer.ui.desk import Place
from motion_transfer.ui.learn import order_learning
from motion_transfer.ui.tab_system import _fit_rows, system_facts
from tests.ui.orders import learn_order


def test_the_machine_is_plausible(tmp_path: Path) -> None:
    machine = this_machine(tmp_path / "not" / "there")
    assert machine.num_cores >= 1 and 0 < machine.free_memory_gb <= machine.memory_gb and machine.free_disk_gb > 0
    assert bool(machine.gpu) == (machine.gpu_memory_gb > 0) and machine.processor


def test_what_fits_depends_on_the_machine(studio: Studio, tmp_path: Path) -> None:
    here = this_machine(tmp_path)
    card = replace(here, gpu="a card", gpu_memory_gb=16.0, free_gpu_memory_gb=1.0, memory_gb=32.0)
    rows = dict(_fit_rows(card, studio, tmp_path))
    assert rows["Wan2.1 1.3B, nf4"].endswith("fits, with every second block computed twice")
    assert rows["Wan2.1 14B, nf4"].endswith("fits, with weights visiting the GPU block by block")
    assert rows["Wan2.1 14B, bf16"].endswith("doesn't fit") and rows[f"{studio.spec.name}, nf4"].endswith("fits")
    assert "" not in rows and "takes days" in dict(_fit_rows(replace(here, gpu=""), studio, tmp_path))[""]


def test_what_takes_how_long_is_said_once_it_was_measured(studio: Studio, tmp_path: Path) -> None:
    card = replace(this_machine(tmp_path), gpu="a card", gpu_memory_gb=16.0, free_gpu_memory_gb=1.0)
    speed = DeviceSpeed(device="a card", products=500.0, attention=200.0, forward=250.0, step=225.0, tokens=1024)
    save_speed(speed, tmp_path / SPEED_FILE)
    rows = dict(_fit_rows(card, studio, tmp_path))
    assert "learning takes about" in rows["Wan2.1 1.3B, nf4"] and "a render 45 s" in rows["Wan2.1 1.3B, nf4"]
    assert "takes about" not in rows["Wan2.1 14B, bf16"]
    assert "takes about" not in dict(_fit_rows(replace(card, gpu="another card"), studio, tmp_path))["Wan2.1 1.3B, nf4"]


def test_facts_name_base_versions_and_the_latest_jobs(
    place: Place, studio: Studio, worker: Worker, clip_path: Path
) -> None:
    before = system_facts(place, studio)
    assert studio.spec.name in before and "torch" in before and "latest jobs" not in before
    order_learning(place, learn_order(clip_path, name="<b>wave</b>"))
    worker.work()
    after = system_facts(place, studio)
    assert "Wan2.1 14B, nf4" in before and f"{studio.spec.name}, int8" in before
    assert "&lt;b&gt;wave" in after and "<b>wave" not in after and "GB of memory" in after
