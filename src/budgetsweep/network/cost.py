"""What a network costs, counted without running it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from budgetsweep.config import DataConfig, ModelConfig
from budgetsweep.network.factory import build_model
from budgetsweep.network.modules import Network, Residual
from budgetsweep.network.shapes import WINDOWS, shapes_only

FLOAT_BYTES = 4


@dataclass(frozen=True)
class LayerCost:
    """One row of the network."""

    name: str
    operations: str
    output: tuple[int, int, int]  # channels × height × width
    parameters: int
    macs: int
    activation_bytes: int  # the row's largest operation
    receptive_field: int  # side, pixels of the image


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
        """Multiply-accumulates of convolutions, one image."""
        return sum(layer.macs for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        """Peak of one image's inference in float32: the largest sum of an operation's input,
        output and, inside a residual row, the row's input kept for the addition. Activations,
        norms and dropout work in place."""
        return max(layer.activation_bytes for layer in self.layers)


def count(network: Network, data: DataConfig) -> Cost:
    """Count by one forward pass of shapes on the meta device, which allocates nothing."""
    meta = shapes_only(network.to("meta").eval())
    x = torch.empty(1, data.channels, data.size, data.size, device="meta")
    layers, field, jump = [], 1, 1
    stages = [*meta.layers.named_children(), ("head", meta.head)]
    for name, stage in stages:
        with torch.no_grad(), _Recorder(stage) as recorder:
            y = stage(x)
        for kernel, stride in recorder.windows:
            field, jump = field + (kernel - 1) * jump, jump * stride
        layers.append(
            LayerCost(
                name=name,
                operations=", ".join(_describe(stage)),
                output=tuple(y.shape[1:]),
                parameters=sum(p.numel() for p in stage.parameters() if p.requires_grad),
                macs=recorder.macs,
                activation_bytes=recorder.peak(extra=x if isinstance(stage, Residual) else None),
                receptive_field=min(field, data.size) if name == "head" else field,
            )
        )
        x = y
    return Cost(tuple(layers))


class _Recorder:
    """Forward hooks over one row's convolutions and pools."""

    def __init__(self, stage: nn.Module) -> None:
        self.macs, self.windows, self._bytes = 0, list[tuple[int, int]](), 0
        self._stage, self._handles = stage, list[Any]()

    def __enter__(self) -> _Recorder:
        for name, module in self._stage.named_modules():
            if isinstance(module, WINDOWS):
                hook = functools.partial(self._record, on_skip=name.startswith("skip"))
                self._handles.append(module.register_forward_hook(hook))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _record(self, module: Any, args: tuple[Tensor], out: Tensor, on_skip: bool) -> None:
        self._bytes = max(self._bytes, (args[0].numel() + out.numel()) * FLOAT_BYTES)
        if isinstance(module, nn.Conv2d):
            self.macs += out.numel() * module.weight[0].numel()
            window = module.kernel_size[0], module.stride[0]
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            window = int(args[0].shape[-1]), 1
        else:
            window = int(module.kernel_size), int(module.stride)
        if not on_skip:  # the longest path sees the most
            self.windows.append(window)

    def peak(self, extra: Tensor | None) -> int:
        return self._bytes + (0 if extra is None else extra.numel() * FLOAT_BYTES)


def _describe(stage: nn.Module) -> Iterator[str]:
    """The operations of a row in the words of its configuration."""
    for module in stage.modules():
        match module:
            case nn.Conv2d():
                kind = "depthwise" if module.groups > 1 else "conv"
                step = f"/{module.stride[0]}" if module.stride[0] > 1 else ""
                yield f"{kind} {module.kernel_size[0]}×{module.kernel_size[1]}{step}"
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
            case nn.Sequential() | Residual() | nn.Identity():
                pass
            case _:
                yield type(module).__name__


def cost_of(model: ModelConfig, data: DataConfig) -> Cost:
    """Build on the meta device and count."""
    with torch.device("meta"):
        return count(build_model(model, data), data)
