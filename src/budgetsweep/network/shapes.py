"""A network that computes shapes only, in no time."""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor, nn

from budgetsweep.network.modules import ACTIVATIONS, Network

WINDOWS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_KEEP_SHAPE = (nn.BatchNorm2d, nn.GroupNorm, nn.Dropout, *ACTIVATIONS.values())


def shapes_only(network: Network) -> Network:
    """Have every operation give an empty map of the right shape.

    torch's own meta kernels import its compiler's symbolic arithmetic, which takes about as long as
    all the rest of a start, and most of the time of a count.
    """
    for module in network.modules():
        if isinstance(module, _KEEP_SHAPE):
            module.forward = _identity
        elif isinstance(module, WINDOWS):
            module.forward = functools.partial(_slide, module)  # type: ignore[method-assign]
    return network


def _identity(x: Tensor) -> Tensor:
    return x


def _slide(module: Any, x: Tensor) -> Tensor:
    """The shape a convolution or pool gives, from a map (1, C, S, S)."""
    channels, size = x.shape[1:3]
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return x.new_empty(1, channels, 1, 1)
    channels = module.out_channels if isinstance(module, nn.Conv2d) else channels
    kernel, stride, padding = (
        _side(v) for v in (module.kernel_size, module.stride, module.padding)
    )
    size = (size + 2 * padding - kernel) // stride + 1
    return x.new_empty(1, channels, size, size)


def _side(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]
