"""A LoRA that begins in the directions in which the loss's gradient lies, not in random ones.

LoRA-GA (arXiv 2407.05000, section 3.2) takes them from the singular vectors of the gradient G by a layer's weights.
Here G is never held: while `down` is zero the adapter changes nothing, whatever `up` is, and the gradient of `down` is
`up^T G`, which with a random `up` is a sketch of G's row space (arXiv 0909.4061, section 4). What leads in the
sketches of several noise draws becomes `down`, at the norm that random rows have; `up` begins at zero, as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from motion_transfer.errors import Diverged
from motion_transfer.lora.heads import COLUMN_MODULES


@torch.no_grad()
def _prepare_sketch(
    matrices: Mapping[str, nn.Parameter], groups: Mapping[str, Tensor], generator: torch.Generator
) -> None:
    """Makes `down` zero, and `up` random within the group's rows."""
    for path, group in sorted(groups.items()):
        down, up = matrices[f"{path}.down"], matrices[f"{path}.up"]
        sketch_OR = torch.randn(up.shape, generator=generator)
        if not path.endswith(COLUMN_MODULES):
            sketch_OR *= group[:, None]
        up.copy_(sketch_OR)
        down.zero_()


def start_along_gradients(
    matrices: Mapping[str, nn.Parameter],
    groups: Mapping[str, Tensor],
    pull: Callable[[int], float],
    draws: int,
    generator: torch.Generator,
    spans: Sequence[slice] = (slice(None),),
) -> Iterator[None]:
    """Sets `down` to the leading directions of the gradient and `up` to zero; yields by draw.

    The rows are orthonormal, but for those cut to a group's columns. A gradient of lower rank leaves the last ones to
    chance.

    Args:
        matrices: of an adapter confined to head groups, `(R, I)` and `(O, R)` by module path and side.
        groups: the groups' channels by module path.
        pull: computes the loss of a draw and leaves its gradients in the matrices; draws are numbered -1, -2, ….
        draws: how many; together with the rank they bound the width of the sketch.
        generator: of the sketches.
        spans: ranks that are given different inputs, and so begin along gradients of their own.

    Raises:
        Diverged: a gradient is not finite.
    """
    seen: dict[str, list[Tensor]] = {path: [] for path in groups}
    for draw in range(1, draws + 1):
        _prepare_sketch(matrices, groups, generator)
        pull(-draw)
        for path, sketches in seen.items():
            gradient_RI = matrices[f"{path}.down"].grad
            assert gradient_RI is not None
            if not gradient_RI.isfinite().all():
                raise Diverged("finite gradients are expected, but those of a start along gradients are not; choose "
                               "0 gradient draws, or the precision bf16 or fp32.")  # fmt: skip
            sketches.append(gradient_RI.float().clone())
        yield
    with torch.no_grad():
        for path, sketches in seen.items():
            down, up = matrices[f"{path}.down"], matrices[f"{path}.up"]
            down.zero_()
            for span in spans:
                leading_CI = torch.linalg.svd(torch.cat([sketch[span] for sketch in sketches]), full_matrices=False).Vh
                ranks_RI = down[span]
                ranks_RI[: len(leading_CI)] = leading_CI[: len(ranks_RI)]  # one beyond the layer's width adds nothing
            if path.endswith(COLUMN_MODULES):
                down.mul_(groups[path].to(down.device))  # directions without any gradient may lie anywhere
            up.zero_()
            down.grad = up.grad = None
