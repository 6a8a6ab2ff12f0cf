"""What the page's tests share: a studio on the toy base, a workspace, and a clip on disk."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from motion_transfer.jobs.worker import Worker
from motion_transfer.library import Library
from motion_transfer.pipeline import Studio
from motion_transfer.types import Clip
from motion_transfer.ui.desk import Place
from motion_transfer.video.io import write_clip
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import FPS, Scene, sample_scene
from motion_transfer.workspace import Workspace
from tests.ui.orders import learn, learn_order


@pytest.fixture(scope="session")
def studio(tiny_base_folder: Path) -> Studio:
    return Studio(base=str(tiny_base_folder), precision="fp32", device="cpu")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(workspace=Workspace(tmp_path / "work"), owner="")


@pytest.fixture
def library(place: Place) -> Library:
    return place.workspace.library(place.owner)


@pytest.fixture
def worker(place: Place, studio: Studio) -> Worker:
    return Worker(place.workspace, studio, threading.Event())


@pytest.fixture(scope="session")
def scene() -> Scene:
    return sample_scene("page", kind="single")


@pytest.fixture(scope="session")
def clip_path(tmp_path_factory: pytest.TempPathFactory, scene: Scene) -> Path:
    """An example clip of the procedural world, as the program ships them."""
    path = tmp_path_factory.mktemp("clips") / "example.mp4"
    tag = {"scene": {"name": scene.name, "kind": "single"}, "caption": scene.caption}
    clip = Clip(frames_THWC=draw([scene], 64)[0].numpy(), fps=FPS)
    write_clip(clip, path, comment=json.dumps(tag))
    return path


@pytest.fixture
def learned(place: Place, worker: Worker, clip_path: Path) -> str:
    key = learn(place, worker, learn_order(clip_path)).saved
    assert key is not None
    return key
