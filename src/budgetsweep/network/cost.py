"""What a network costs, counted without running it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import cast

import torch
from torch import Tensor, nn

from budgetsweep.config import DataConfig, ModelConfig
from budgetsweep.network.factory import build_model
from budgetsweep.network.modules import Network, Residual
from budgetsweep.network.trace import Norm, Operation, Trace, meta_copy

FLOAT_BYTES = 4
HEAD = "head"  # in place of a row's name


@dataclass(frozen=True)
class LayerCost:
    """One row of the network."""

    name: str
    operations: str
    output: tuple[int, ...]  # channels × height × width
    parameters: int
    macs: int
    activation_bytes: int  # most that is held during one of its operations
    receptive_field: int  # side, pixels; may be larger than the image
    norms: tuple[Norm, ...]


@dataclass(frozen=True)
class Cost:
    """A network's size and the price of one image's inference."""

    layers: tuple[LayerCost, ...]

    @property
    def parameters(self) -> int:
        """Trainable parameters; batch norm's running statistics are not counted."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and matrix products, one image."""
        return sum(layer.macs for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        """Peak of one image's inference in float32: the most that is held at once, an operation's
        input and output and what a later one needs. Activations, norms, dropout and additions work
        in place where their input is not needed again."""
        return max(layer.activation_bytes for layer in self.layers)

    @property
    def receptive_field(self) -> int:
        """Of the last row, before the head: side, pixels."""
        return self.layers[-2].receptive_field


def count(network: Network, data: DataConfig) -> Cost:
    """Count by one forward pass of shapes on the meta device; the network stays as it is."""
    return _count(cast(Network, meta_copy(network)), data)


def _count(meta: Network, data: DataConfig) -> Cost:
    x = torch.empty(1, data.channels, data.size, data.size, device="meta")
    stages = [*meta.layers.named_children(), (HEAD, meta.head)]
    outputs: dict[str, Tensor] = {}
    with torch.no_grad(), Trace(x) as trace:
        for name, stage in stages:
            trace.row = name
            outputs[name] = x = stage(x)
    work = defaultdict[str, list[tuple[Operation, int]]](list)
    for operation, held in trace.peaks():
        work[operation.row].append((operation, held))
    return Cost(
        tuple(_layer(n, s, outputs[n], work[n], trace.field(outputs[n])) for n, s in stages)
    )


def _layer(
    name: str, stage: nn.Module, y: Tensor, work: list[tuple[Operation, int]], field: int
) -> LayerCost:
    return LayerCost(
        name=name,
        operations=", ".join(_describe(stage)),
        output=tuple(y.shape[1:]),
        parameters=sum(p.numel() for p in stage.parameters() if p.requires_grad),
        macs=sum(op.macs for op, _ in work),
        activation_bytes=max((held for _, held in work), default=0) * FLOAT_BYTES,
        receptive_field=field,
        norms=tuple(op.norm for op, _ in work if op.norm),
    )


def _describe(stage: nn.Module) -> Iterator[str]:
    """The operations of a row in the words of its configuration; equal blocks once."""
    if not isinstance(stage, nn.Sequential):
        yield from _words(stage)
        return
    for words, same in groupby([list(_describe(child)) for child in stage]):
        n = len(list(same))
        yield from [f"{n} × ({', '.join(words)})"] if n > 1 and len(words) > 1 else n * words


def _words(module: nn.Module) -> Iterator[str]:
    match module:
        case nn.Conv2d():
            kind = "conv" if module.groups == 1 else f"conv in {module.groups} groups"
            kind = "depthwise" if 1 < module.groups == module.in_channels else kind
            step = f"/{module.stride[0]}" if module.stride[0] > 1 else ""
            apart = f" dilated {module.dilation[0]}" if module.dilation[0] > 1 else ""
            yield f"{kind} {module.kernel_size[0]}×{module.kernel_size[1]}{step}{apart}"
        case nn.MaxPool2d() | nn.AvgPool2d():
            yield f"{'max' if isinstance(module, nn.MaxPool2d) else 'avg'} pool {module.kernel_size}"
        case nn.AdaptiveAvgPool2d():
            yield "global avg pool"
        case nn.BatchNorm2d():
            yield "BN"
        case nn.GroupNorm():
            yield "GN"
        case nn.Dropout():
            yield f"dropout {module.p:g}"
        case Residual():
            skip = "" if isinstance(module.skip, nn.Identity) else " projected"
            yield from [*_describe(module.body), f"add{skip}", *_describe(module.end)]
        case _:
            yield type(module).__name__


def cost_of(model: ModelConfig, data: DataConfig) -> Cost:
    """Build on the meta device and count."""
    with torch.device("meta"):
        return _count(build_model(model, data).eval(), data)
