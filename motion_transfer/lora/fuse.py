"""A LoRA that becomes part of a base's weights, below every motion."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from motion_transfer.errors import BadLora
from motion_transfer.lora.algebra import delta
from motion_transfer.lora.files import read_lora


def _add(parameters: dict[str, nn.Parameter], path: str, change: Tensor, name: str) -> None:
    parameter = parameters.get(path)
    if parameter is None:
        raise BadLora(f"{name} changes {path}, which this base does not have; it was made for another base.")
    if parameter.numel() != change.numel() or parameter.shape[0] != change.shape[0]:
        want, got = ("x".join(map(str, one.shape)) for one in (parameter, change))
        raise BadLora(f"{path} is {want} in this base but {got} in {name}; use the LoRA's own base.")
    summed = parameter.float() + change.to(parameter.device).view(parameter.shape)
    parameter.copy_(summed)  # rounded once, to the parameter's own type


@torch.no_grad()
def fuse(transformer: nn.Module, path: Path) -> None:
    """Adds all changes of a LoRA file to a transformer's weights and biases, in place.

    Before weights are stored in few bits: what is rounded then is the sum, no more coarsely than the weights alone
    would be, and neither memory nor time is spent on an adapter later.

    Args:
        transformer: with plain weights.
        path: file of any layout that `read_lora` reads.

    Raises:
        BadLora: it can't be read whole, or doesn't fit; the transformer may be changed in part then.
    """
    found = read_lora(path, whole=True)
    if found.unread or found.lora.tokens:
        first = found.unread[0] if found.unread else "a strength token"
        raise BadLora(f"a LoRA that is part of a base must be read whole, but nothing is known of {first[:80]} in "
                      f"{path.name}; choose another file.")  # fmt: skip
    parameters = dict(transformer.named_parameters())
    for module, layer in found.lora.layers.items():
        _add(parameters, f"{module}.weight", delta(layer), path.name)
    for parameter, change in found.whole.items():
        _add(parameters, parameter, change, path.name)
