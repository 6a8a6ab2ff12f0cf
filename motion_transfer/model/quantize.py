"""Stores a transformer's blocks in few bits with bitsandbytes; diffusers' own quantizer refuses to without a GPU."""

from __future__ import annotations

import bitsandbytes as bnb
import torch
import torch.nn.functional as F
from diffusers import WanTransformer3DModel
from torch import Tensor, nn

UNPACKED_BYTES = 256 << 20  # up to so many, the weights' rounded values are kept at hand as well


class _Nf4Linear(bnb.nn.Linear4bit):
    """NF4 weights whose rounded values may be kept unpacked: the same numbers, without unpacking at every call.

    Of a small model, unpacking is a fifth of a tuning step's time. A large one has no room for it.
    """

    unpacked_OI: Tensor | None = None

    def keep_unpacked(self) -> None:
        """Unpacks once and for all."""
        values = bnb.functional.dequantize_4bit(self.weight.data, self.weight.quant_state)
        self.unpacked_OI = values.to(self.compute_dtype)

    def forward(self, x: Tensor) -> Tensor:
        """`x W^T + b`, `(…, I)` to `(…, O)`."""
        if self.unpacked_OI is None:
            return super().forward(x)
        bias = None if self.bias is None else self.bias.to(self.compute_dtype)
        return F.linear(x.to(self.compute_dtype), self.unpacked_OI, bias).to(x.dtype)


def product_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """What matrix products with NF4 weights are computed in, where everything else is computed in `dtype`.

    A CPU with bfloat16 instructions takes about two thirds of the time with them, tuning as well as rendering; on
    others, bfloat16 is emulated and slower than float32.
    """
    if device.type != "cpu":
        return dtype
    known = getattr(torch.cpu, "get_capabilities", dict)()  # PyTorch 2.8 can't say
    return torch.bfloat16 if known.get("avx512_bf16") or known.get("amx_bf16") else dtype


def _quantizable(transformer: WanTransformer3DModel) -> list[str]:
    """Linear layers of the blocks. Embedders, norms, modulation and `proj_out` are sensitive and stay out."""
    return [p for p, m in transformer.named_modules() if p.startswith("blocks.") and isinstance(m, nn.Linear)]


def _nf4(linear: nn.Linear, dtype: torch.dtype) -> nn.Module:
    quantized = _Nf4Linear(
        linear.in_features,
        linear.out_features,
        bias=linear.bias is not None,
        compute_dtype=dtype,
        compress_statistics=True,
        quant_type="nf4",
    )
    quantized.weight = bnb.nn.Params4bit(
        linear.weight.data.float(), requires_grad=False, quant_type="nf4", compress_statistics=True, module=quantized
    )
    quantized.bias = linear.bias
    # In eval mode bitsandbytes repacks the weights for new CPUs' own kernel, which has no gradient.
    quantized.support_avx512bf16_for_cpu = False
    return quantized


def _int8(linear: nn.Linear) -> nn.Module:
    quantized = bnb.nn.Linear8bitLt(
        linear.in_features, linear.out_features, bias=linear.bias is not None, has_fp16_weights=False
    )
    quantized.weight = bnb.nn.Int8Params(linear.weight.data.half(), requires_grad=False, has_fp16_weights=False)
    quantized.bias = linear.bias
    return quantized.train()  # in eval mode on the CPU, bitsandbytes rounds the inputs to 8 bit too, and is slow


def quantize(transformer: WanTransformer3DModel, precision: str, device: torch.device, dtype: torch.dtype) -> None:
    """Replaces the blocks' linear layers by quantized ones, in place, and moves the model to `device`.

    The model is marked so that peft picks its quantized LoRA layers, which never merge into the weights by
    accident.

    Args:
        transformer: with plain weights.
        precision: "nf4" or "int8".
        device: where it computes.
        dtype: what NF4 matrix products are computed in.
    """
    for path in _quantizable(transformer):
        linear = transformer.get_submodule(path)
        parent, _, child = path.rpartition(".")
        fresh = _nf4(linear, dtype) if precision == "nf4" else _int8(linear)
        setattr(transformer.get_submodule(parent), child, fresh)
    transformer.is_loaded_in_4bit = precision == "nf4"
    transformer.is_loaded_in_8bit = precision == "int8"
    transformer.to(device)
    layers = [m for m in transformer.modules() if isinstance(m, _Nf4Linear)]
    if sum(m.in_features * m.out_features for m in layers) * dtype.itemsize <= UNPACKED_BYTES:
        for layer in layers:
            layer.keep_unpacked()
