"""A row's block: its convolutions as data, and one loop that builds them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from torch import nn

from budgetsweep.config import BLOCKS, LayerConfig
from budgetsweep.network.modules import Residual, SqueezeExcite, activation, norm

NORMS = (nn.BatchNorm2d, nn.GroupNorm)


@dataclass(frozen=True)
class Conv:
    """A convolution with the norm and activation around it."""

    channels: int
    width: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    activates: bool = True
    gated: bool = False  # by squeeze-excite
    bare: bool = False  # neither norm nor activation
    bias: bool = True  # where the row leaves that open

    def size(self, size: int) -> int:
        """The side of the map that it makes of one of side `size`; 0 or less: none."""
        reach = self.dilation * (self.kernel - 1) + 1
        return (size + 2 * self.padding - reach) // self.stride + 1


def convolutions(row: LayerConfig, channels: int) -> list[Conv]:
    """The convolutions of one of the package's blocks, in order."""
    width, expand = row.width or 0, row.expand or 1
    first = Conv(
        channels, width, row.kernel or 1, row.stride or 1, int(row.padding or 0),
        row.dilation or 1, row.groups or 1,
    )  # fmt: skip
    if row.block == "inverted":
        inner = math.floor(channels * expand + 0.5)
        depthwise = replace(first, channels=inner, width=inner, groups=inner, gated=True)
        widen = [Conv(channels, inner)] if inner != channels else []
        return [*widen, depthwise, Conv(inner, width, activates=False)]
    convs = _of_kind(row, first)
    if row.block == "basic":
        convs += _of_kind(row, replace(first, channels=width, stride=1))
    return [*convs[:-1], replace(convs[-1], gated=True)]


def _of_kind(row: LayerConfig, conv: Conv) -> list[Conv]:
    depthwise = replace(conv, groups=conv.channels)
    pointwise = Conv(conv.channels, conv.width, groups=conv.groups)
    if row.conv == "depthwise":
        return [depthwise]
    if row.conv == "separable":
        return [replace(depthwise, width=conv.channels), pointwise]
    if row.conv == "separable_linear":
        # Nothing between the two; what the depthwise one adds, the pointwise one's bias can.
        before = row.order == "norm_act_conv"
        depthwise = replace(depthwise, width=conv.channels, bare=not before, bias=False)
        return [depthwise, replace(pointwise, bare=before)]
    return [conv]


def build(row: LayerConfig, channels: int, size: int, out: int) -> list[nn.Module]:
    """One of the package's blocks, from maps of side `size` to maps of side `out`, in order."""
    convs = convolutions(row, channels)
    fits = (channels, 1, size) == (row.width, row.stride, out)
    adds = row.block == "basic" or (row.block == "inverted" and fits)
    adds = adds if row.residual is None else row.residual
    # He et al. 2015: the activation that would end the block follows the addition.
    late = adds and row.block == "basic" and row.order == "conv_norm_act"
    if late:
        convs[-1] = replace(convs[-1], activates=False)
    body = [module for conv in convs for module in _modules(conv, row)]
    if not adds:
        return body
    drop_idle_biases([(module, row) for module in body])
    return [with_skip(row, channels, body, list(_activation(row, overwrite=True)) if late else [])]


def with_skip(
    row: LayerConfig, channels: int, body: list[nn.Module], end: list[nn.Module]
) -> nn.Module:
    """A block to which its input is added, projected where shapes differ."""
    width, stride = row.width or 0, row.stride or 1
    skip: nn.Module = nn.Identity()
    if channels != width or stride != 1:
        skip = nn.Conv2d(channels, width, 1, stride, bias=row.bias is True)
        wanted = row.block != "conv" if row.projection_norm is None else row.projection_norm
        if wanted and row.norm != "none":
            skip = nn.Sequential(skip, norm(row.norm or "", width))
    return Residual(nn.Sequential(*body), skip, nn.Sequential(*end))


def drop_idle_biases(chain: Sequence[tuple[nn.Module, LayerConfig]]) -> None:
    """Take the bias from convolutions that a norm follows, where the row leaves that open."""
    for (module, row), (following, _) in pairwise(chain):
        idle = isinstance(module, nn.Conv2d) and isinstance(following, NORMS)
        if idle and row.bias is None and row.block in BLOCKS:
            module.register_parameter("bias", None)


def _modules(conv: Conv, row: LayerConfig) -> Iterator[nn.Module]:
    """A convolution, its norm and activation, in the row's order, then the gate."""
    for step in (row.order or "").split("_"):
        if step == "conv":
            yield nn.Conv2d(
                conv.channels, conv.width, conv.kernel, conv.stride, conv.padding, conv.dilation,
                conv.groups, bias=conv.bias if row.bias is None else row.bias,
            )  # fmt: skip
        elif conv.bare:
            continue
        elif step == "norm" and row.norm != "none":
            before = row.order == "norm_act_conv"
            yield norm(row.norm or "", conv.channels if before else conv.width)
        elif step == "act" and conv.activates:
            # In place only behind the convolution, whose backward does not need its output.
            yield from _activation(row, overwrite=row.order == "conv_act_norm")
    if conv.gated and row.squeeze_excite:
        yield SqueezeExcite(conv.width, row.squeeze_excite)


def _activation(row: LayerConfig, overwrite: bool) -> Iterator[nn.Module]:
    if row.activation != "none":
        yield activation(row.activation or "", may_overwrite=overwrite)
