"""Takes down where tuning stands, and goes on from there to the same bytes.

Noise and data follow from seed, stage and step, so matrices, moments, the step number and what checks found are all
there is to keep.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from motion_transfer.types import TuneState

Matrices = Mapping[str, nn.Parameter]
MOMENTS = ("exp_avg", "exp_avg_sq")


def take_state(
    stage: str,
    step: int,
    adapters: Mapping[str, Matrices],
    optimizer: torch.optim.AdamW,
    checks: tuple[float | None, ...] = (),
) -> TuneState:
    """Copies, on the CPU, of all adapters' matrices and of the optimizer's moments.

    Args:
        stage: the stage under way; its adapter has the same name.
        step: steps done in it.
        adapters: `adapter_matrices` by adapter name.
        optimizer: of the stage's adapter.
        checks: what the stage's checks found so far.
    """
    tensors: dict[str, Tensor] = {}
    for adapter, matrices in adapters.items():
        for name, matrix in matrices.items():
            tensors[f"{adapter}/{name}"] = matrix.detach().cpu().clone()
    for name, matrix in adapters[stage].items():
        for moment in MOMENTS:
            tensors[f"{stage}/{name}/{moment}"] = optimizer.state[matrix][moment].cpu().clone()
    return TuneState(stage=stage, step=step, tensors=tensors, checks=checks)


@torch.no_grad()
def restore_matrices(adapter: str, matrices: Matrices, state: TuneState) -> None:
    """Gives an adapter the state's matrices."""
    for name, matrix in matrices.items():
        matrix.copy_(state.tensors[f"{adapter}/{name}"])


def restore_optimizer(matrices: Matrices, optimizer: torch.optim.AdamW, state: TuneState) -> None:
    """Gives the optimizer of the stage's adapter the state's moments."""
    for name, matrix in matrices.items():
        moments = {m: state.tensors[f"{state.stage}/{name}/{m}"].to(matrix.device).clone() for m in MOMENTS}
        steps = torch.tensor(float(state.step), device=matrix.device)
        optimizer.state[matrix] = {"step": steps, **moments}
