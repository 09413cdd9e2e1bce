"""The network with its normalization, as one graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from budgetsweep.config import DataConfig


class OnPixels(nn.Module):
    """A network with its normalization: pixels in 0–1 → log-probabilities."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, data: DataConfig) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(data.mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(data.std).view(-1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        scores: Tensor = self.network((pixels - self.mean) / self.std)
        return scores


def trace(network: nn.Module, data: DataConfig) -> torch.export.ExportedProgram:
    """The network as one graph for any batch size, without the paths of this machine's files."""
    example = torch.zeros(2, data.channels, data.size, data.size)
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(network, (example,), dynamic_shapes=(batch,))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program
