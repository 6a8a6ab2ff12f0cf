"""A studio on the tiny base."""

from __future__ import annotations

from pathlib import Path

import pytest

from motion_transfer.model.base import VideoBase
from motion_transfer.pipeline import Studio


@pytest.fixture
def studio(tiny_base: VideoBase, tiny_base_folder: Path) -> Studio:
    studio = Studio(base=str(tiny_base_folder))
    studio.__dict__["base"] = tiny_base
    return studio
