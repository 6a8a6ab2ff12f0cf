"""LoRA adapters on and off a transformer. The only place that knows peft."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from motion_transfer.errors import BadLora
from motion_transfer.lora.heads import COLUMN_MODULES
from motion_transfer.types import Lora, LowRank

MOTION, LATE = "motion", "late"  # adapters of a render


def _adapter_layers(transformer: nn.Module, name: str) -> dict[str, LoraLayer]:
    return {p: m for p, m in transformer.named_modules() if isinstance(m, LoraLayer) and name in m.lora_A}


def _activate(transformer: nn.Module, trainable: str | None) -> None:
    """Makes every adapter active and only `trainable` (if any) learn."""
    for module in transformer.modules():
        if isinstance(module, LoraLayer):
            module.set_adapter(list(module.lora_A))
            for name in module.lora_A:
                for matrix in (module.lora_A[name].weight, module.lora_B[name].weight):
                    matrix.requires_grad_(name == trainable)


def _refuse_to_merge(*_: object, **__: object) -> None:
    raise BadLora("a LoRA is merged into full weights, but these are quantized; open the base as bf16 or fp32.")


def _inject(transformer: nn.Module, name: str, ranks: Mapping[str, int]) -> dict[str, LoraLayer]:
    """Adds an adapter of the given rank to each named module; alpha equals rank, so no scale remains."""
    paths = list(ranks)
    if not paths:
        return {}
    config = LoraConfig(
        r=max(ranks.values()),
        lora_alpha=max(ranks.values()),
        target_modules=paths,
        rank_pattern={f"^{p}$".replace(".", r"\."): r for p, r in ranks.items()},
        alpha_pattern={f"^{p}$".replace(".", r"\."): r for p, r in ranks.items()},
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # two adapters are meant
        inject_adapter_in_model(config, transformer, adapter_name=name)
    layers = _adapter_layers(transformer, name)
    assert set(layers) == set(paths), set(paths) ^ set(layers)
    for layer in layers.values():
        if not layer.get_base_layer().weight.is_floating_point():
            layer.merge = _refuse_to_merge  # the sum would be rounded to few bits, and motion lost in the rounding
        for matrix in (layer.lora_A[name], layer.lora_B[name]):
            if matrix.weight.dtype in (torch.bfloat16, torch.float16):  # peft copies the base's type
                matrix.float()  # the optimizer's small steps would vanish in 16 bit
    return layers


def add_group_adapter(
    transformer: nn.Module, name: str, masks: Mapping[str, Tensor], *, rank: int, generator: torch.Generator
) -> dict[str, nn.Parameter]:
    """Attaches a trainable LoRA confined to a head group, and returns its `adapter_matrices`.

    Rows of `up` (for q, k, v) and columns of `down` (for the output projection) outside the group start at zero
    and get no gradient; AdamW's decay keeps zeros at zero.

    Args:
        transformer: the model; its other adapters stay active but frozen.
        name: the adapter's name.
        masks: channel mask per module path, from `heads.group_masks`.
        rank: rank of every layer.
        generator: draws the initial `down` matrices.
    """
    layers = _inject(transformer, name, dict.fromkeys(masks, rank))
    for path in sorted(layers):
        down, up = layers[path].lora_A[name].weight, layers[path].lora_B[name].weight
        mask = masks[path].to(device=down.device, dtype=down.dtype)
        with torch.no_grad():
            down.copy_(torch.randn(down.shape, generator=generator) / down.shape[1] ** 0.5)
            up.zero_()
            if path.endswith(COLUMN_MODULES):
                down.mul_(mask)
        if path.endswith(COLUMN_MODULES):
            down.register_hook(lambda g, m=mask: g * m)
        else:
            up.register_hook(lambda g, m=mask: g * m[:, None])
    _activate(transformer, name)
    return adapter_matrices(transformer, name)


def adapter_matrices(transformer: nn.Module, name: str) -> dict[str, nn.Parameter]:
    """An adapter's own matrices by module path and side, `blocks.0.attn1.to_q.down` or `.up`, in a fixed order."""
    out: dict[str, nn.Parameter] = {}
    for path, layer in sorted(_adapter_layers(transformer, name).items()):
        out[f"{path}.down"], out[f"{path}.up"] = layer.lora_A[name].weight, layer.lora_B[name].weight
    return out


def read_adapter(transformer: nn.Module, name: str) -> dict[str, LowRank]:
    """Copies an adapter's matrices out, on the CPU in float32."""
    out = {}
    for path, layer in sorted(_adapter_layers(transformer, name).items()):
        down, up = layer.lora_A[name].weight.detach(), layer.lora_B[name].weight.detach()
        out[path] = LowRank(down_RI=down.float().cpu().clone(), up_OR=up.float().cpu() * layer.scaling[name])
    return out


def _check_fits(transformer: nn.Module, lora: Lora) -> None:
    modules = dict(transformer.named_modules())
    for path, layer in lora.layers.items():
        module = modules.get(path)
        if module is None or not hasattr(module, "in_features"):
            raise BadLora(f"the LoRA changes {path}, which this base does not have; it was made for another base.")
        want, got = (module.out_features, module.in_features), (layer.up_OR.shape[0], layer.down_RI.shape[1])
        if want != got:
            raise BadLora(
                f"{path} is {want[0]}x{want[1]} in this base but {got[0]}x{got[1]} in the LoRA; use its own base."
            )


def add_frozen(transformer: nn.Module, name: str, lora: Lora) -> None:
    """Attaches a LoRA as it is.

    Raises:
        BadLora: its layers do not fit this transformer.
    """
    _check_fits(transformer, lora)
    layers = _inject(transformer, name, {p: x.down_RI.shape[0] for p, x in lora.layers.items()})
    with torch.no_grad():
        for path, x in lora.layers.items():
            layers[path].lora_A[name].weight.copy_(x.down_RI)
            layers[path].lora_B[name].weight.copy_(x.up_OR)
    _activate(transformer, None)


def remove_adapters(transformer: nn.Module) -> None:
    """Puts every base layer back, so that the transformer is as if no adapter had been there."""
    for path, module in list(transformer.named_modules()):
        if isinstance(module, LoraLayer):
            parent, _, child = path.rpartition(".")
            setattr(transformer.get_submodule(parent), child, module.get_base_layer())
    if hasattr(transformer, "peft_config"):
        del transformer.peft_config


@contextmanager
def acting(transformer: nn.Module) -> Iterator[Callable[..., None]]:
    """While open, what it gives sets the share of their strength that adapters act with; 0 runs the bare base.

    It is given the share of all, or that of all but the late one and the late one's.
    """
    layers = [m for m in transformer.modules() if isinstance(m, LoraLayer)]
    whole = [dict(layer.scaling) for layer in layers]

    def act(share: float, late_share: float | None = None) -> None:
        of_late = share if late_share is None else late_share
        for layer, scaling in zip(layers, whole, strict=True):
            shares = {name: of_late if name == LATE else share for name in scaling}
            layer.enable_adapters(any(shares.values()))
            layer.scaling.update({name: shares[name] * scale for name, scale in scaling.items()})

    try:
        yield act
    finally:
        act(1.0)


def scale_adapter(transformer: nn.Module, name: str, scales: Mapping[str, float]) -> None:
    """Lets an adapter act in each of its layers with so much of its strength; `read_adapter` folds that in."""
    for path, layer in _adapter_layers(transformer, name).items():
        layer.scaling[name] = scales[path]


@contextmanager
def per_row(transformer: nn.Module, name: str, always: int = 0) -> Iterator[Callable[[Tensor], None]]:
    """While open, what it gives sets the strength with which an adapter acts on each row of a batch, `(B,)`.

    So many of its first ranks act always. Strengths are 1 until they are set; one strength counts for any batch.
    """
    strength_B11 = torch.ones(1, 1, 1)

    def act(strength_B: Tensor) -> None:
        nonlocal strength_B11
        strength_B11 = strength_B.view(-1, 1, 1)

    def weigh(_: nn.Module, __: object, inner_BSR: Tensor) -> Tensor:
        by_strength_BSR = inner_BSR[..., always:] * strength_B11.to(inner_BSR)
        return torch.cat([inner_BSR[..., :always], by_strength_BSR], -1) if always else by_strength_BSR

    hooks = [layer.lora_A[name].register_forward_hook(weigh)
             for layer in _adapter_layers(transformer, name).values()]  # fmt: skip
    try:
        yield act
    finally:
        for hook in hooks:
            hook.remove()


Look = Callable[[str, Tensor, Tensor, Tensor], None]


@contextmanager
def watched(transformer: nn.Module, name: str, look: Look) -> Iterator[None]:
    """While open, every pass shows an adapter's layers at work.

    Args:
        transformer: with the adapter.
        name: of the adapter.
        look: is given the layer's path, what goes into it, what the adapter makes of that (before its scale), and what
            the base's weights make of it (without their bias).
    """

    def watching(path: str) -> Callable[[LoraLayer, tuple[Tensor], Tensor], None]:
        @torch.no_grad()
        def watch(layer: LoraLayer, inputs: tuple[Tensor], _: Tensor) -> None:
            base, given = layer.get_base_layer(), inputs[0]
            of_weights = base(given) - (0 if base.bias is None else base.bias)
            look(path, given, layer.lora_B[name](layer.lora_A[name](given.to(layer.lora_A[name].weight.dtype))),
                 of_weights)  # fmt: skip

        return watch

    hooks = [layer.register_forward_hook(watching(path)) for path, layer in _adapter_layers(transformer, name).items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def solo(transformer: nn.Module, name: str, strength: float) -> Iterator[None]:
    """While open, only the named adapter acts, `strength` times as strong; gradients are kept as they were."""
    learning = {p: p.requires_grad for p in transformer.parameters()}
    layers = [m for m in transformer.modules() if isinstance(m, LoraLayer)]
    before = [list(layer.active_adapters) for layer in layers]
    for layer in layers:
        layer.set_adapter([name] if name in layer.lora_A else [])
        layer.scale_layer(strength)
    try:
        yield
    finally:
        for layer, names in zip(layers, before, strict=True):
            layer.unscale_layer(strength)
            layer.set_adapter(names)
        for parameter, grad in learning.items():
            parameter.requires_grad_(grad)


@contextmanager
def attached(transformer: nn.Module, lora: Lora | None) -> Iterator[None]:
    """While open, the transformer carries the LoRA (or none), and the one that takes its place late, if any."""
    parts = {MOTION: lora, LATE: lora.late if lora is not None else None}
    carried = {name: part for name, part in parts.items() if part is not None and part.layers}
    if not carried:
        yield
        return
    try:
        for name, part in carried.items():
            add_frozen(transformer, name, part)
        yield
    finally:
        remove_adapters(transformer)
