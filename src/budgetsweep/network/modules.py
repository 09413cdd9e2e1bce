"""What networks are made of."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from budgetsweep.own import Own

_ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
}
POOLS: dict[str, type[nn.MaxPool2d] | type[nn.AvgPool2d]] = {
    "max": nn.MaxPool2d,
    "avg": nn.AvgPool2d,
}


def activation(name: str, may_overwrite: bool = False) -> nn.Module:
    """The nonlinearity of that name, in place where that is allowed and it can."""
    make = _ACTIVATIONS.get(name) or Own().activations[name]
    inplace = may_overwrite and "inplace" in inspect.signature(make).parameters
    made = make(inplace=True) if inplace else make()
    if not isinstance(made, nn.Module):
        raise TypeError(
            f"the activation {name} returned {reprlib.repr(made)}, which is no nn.Module"
        )
    return made


def norm(kind: str, width: int) -> nn.Module:
    """Batch norm, or group norm with the most groups, up to 8, that divide the width."""
    if kind == "batch":
        return nn.BatchNorm2d(width)
    return nn.GroupNorm(norm_groups(width), width)


def norm_groups(width: int) -> int:
    """Of group norm over so many channels; up to 8 of them each is a group of its own."""
    return max(n for n in range(1, 9) if width % n == 0)


class Network(nn.Module):
    """Rows, then a head: images (N, C, S, S) → log-probabilities (N, classes)."""

    def __init__(self, layers: dict[str, nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for name, layer in layers.items():
            self.layers.add_module(name, layer)
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        return F.log_softmax(self.logits(images), dim=1)

    def logits(self, images: Tensor) -> Tensor:
        """Scores before the softmax, (N, classes)."""
        scores: Tensor = self.head(self.layers(images))
        return scores.flatten(1)


class Residual(nn.Module):
    """A block whose input is added to its output (He et al. 2015)."""

    def __init__(self, body: nn.Module, skip: nn.Module, end: nn.Module) -> None:
        super().__init__()
        self.body, self.skip, self.end = body, skip, end

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.end(self.body(x) + self.skip(x))
        return y


class SqueezeExcite(nn.Module):
    """A weight in 0–1 for each channel, from the averages of all (Hu et al. 2018)."""

    def __init__(self, channels: int, share: float) -> None:
        super().__init__()
        inner = max(1, round(channels * share))
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, inner, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x * self.gate(x)
        return y
