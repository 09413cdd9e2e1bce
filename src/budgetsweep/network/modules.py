"""What networks are made of."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
}
POOLS: dict[str, type[nn.MaxPool2d] | type[nn.AvgPool2d]] = {
    "max": nn.MaxPool2d,
    "avg": nn.AvgPool2d,
}


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
    """A row whose input is added to its output before pooling (He et al. 2015)."""

    def __init__(self, body: nn.Module, skip: nn.Module, tail: nn.Module) -> None:
        super().__init__()
        self.body, self.skip, self.tail = body, skip, tail

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.tail(self.body(x) + self.skip(x))
        return y
