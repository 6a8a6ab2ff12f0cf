"""States of a tuning job on disk: written whole, checked when read, the one before kept as a reserve."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open

from motion_transfer.atomic import replacing
from motion_transfer.lora.files import file_hash, write_tensors
from motion_transfer.types import TuneState

KEPT = 2


class Checkpoints:
    """The states of one job. A file's name ends in the hash of its content.

    Args:
        folder: of the job's files.
        made_for: what the states depend on; those made for something else are left alone.
    """

    def __init__(self, folder: Path, made_for: str) -> None:
        self.folder, self.made_for = Path(folder), made_for
        self._last: tuple[str, int, Path] | None = None

    def _files(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob("state-*.safetensors"), reverse=True)

    def save(self, state: TuneState) -> Path:
        """Writes a state, then drops all but the newest two; the last one, as in a preview, is not written again.

        Raises:
            OSError: the disk does not take it.
        """
        if self._last is not None and self._last[:2] == (state.stage, state.step) and self._last[2].is_file():
            return self._last[2]
        facts = {"stage": state.stage, "step": state.step, "checks": state.checks, "made_for": self.made_for}
        number = 1 + max((int(path.name.split("-")[1]) for path in self._files()), default=0)
        written = self.folder / f"state-{number:06d}-.safetensors"
        with replacing(written) as partial:
            write_tensors(state.tensors, partial, {"facts": json.dumps(facts)})
        path = self.folder / f"state-{number:06d}-{file_hash(written)[:32]}.safetensors"
        os.replace(written, path)
        for old in self._files()[KEPT:]:
            old.unlink(missing_ok=True)
        self._last = (state.stage, state.step, path)
        return path

    def newest(self) -> tuple[TuneState | None, list[Path]]:
        """The newest state that is whole and made for this job, and the damaged files passed over."""
        damaged = []
        for path in self._files():
            with suppress(SafetensorError, OSError, ValueError, KeyError):
                if file_hash(path)[:32] == path.stem.rpartition("-")[2]:
                    state = self._read(path)
                    if state is not None:
                        return state, damaged
                    continue
            damaged.append(path)
        return None, damaged

    def _read(self, path: Path) -> TuneState | None:
        with safe_open(str(path), framework="pt") as handle:
            facts = json.loads(handle.metadata()["facts"])
            if facts["made_for"] != self.made_for:
                return None
            tensors = {name: handle.get_tensor(name).clone() for name in handle.keys()}  # noqa: SIM118
        checks = tuple(facts.get("checks", ()))
        return TuneState(stage=facts["stage"], step=facts["step"], tensors=tensors, checks=checks)

    def clear(self) -> None:
        """Removes all states."""
        for path in self._files():
            path.unlink(missing_ok=True)
