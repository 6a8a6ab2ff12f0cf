"""The System tab: facts of the machine and of what jobs needed, as plain text."""

from __future__ import annotations

from pathlib import Path

from motion_transfer.jobs.worker import Worker
from motion_transfer.machine import this_machine
from motion_transfer.pipeline import Studio
from motion_transfer.ui.desk import Place
from motion_transfer.ui.learn import order_learning
from motion_transfer.ui.tab_system import system_facts
from tests.ui.orders import learn_order


def test_the_machine_is_plausible(tmp_path: Path) -> None:
    machine = this_machine(tmp_path / "not" / "there")
    assert machine.num_cores >= 1 and 0 < machine.free_memory_gb <= machine.memory_gb and machine.free_disk_gb > 0
    assert bool(machine.gpu) == (machine.gpu_memory_gb > 0) and machine.processor


def test_facts_name_base_versions_and_the_latest_jobs(
    place: Place, studio: Studio, worker: Worker, clip_path: Path
) -> None:
    before = system_facts(place, studio)
    assert studio.spec.name in before and "torch" in before and "latest jobs" not in before
    order_learning(place, learn_order(clip_path, name="<b>wave</b>"))
    worker.work()
    after = system_facts(place, studio)
    assert "&lt;b&gt;wave" in after and "<b>wave" not in after and "GB of memory" in after
