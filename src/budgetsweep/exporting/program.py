"""The network with its normalization, as one graph."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from budgetsweep.config import DataConfig


class OnPixels(nn.Module):
    """A network with its normalization: pixels in 0–1 → log-probabilities.

    Normalized by a depthwise 1×1 convolution, which has an 8-bit form.
    """

    factor: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, data: DataConfig) -> None:
        super().__init__()
        self.network = network
        mean, std = torch.tensor(data.mean), torch.tensor(data.std)
        self.register_buffer("factor", (1 / std).view(-1, 1, 1, 1))
        self.register_buffer("shift", -mean / std)

    def forward(self, pixels: Tensor) -> Tensor:
        scores: Tensor = self.network(
            F.conv2d(pixels, self.factor, self.shift, groups=len(self.shift))
        )
        return scores


def trace(network: nn.Module, data: DataConfig) -> torch.export.ExportedProgram:
    """The network as one graph for any batch size, without the paths of this machine's files."""
    example = torch.zeros(2, data.channels, data.size, data.size)
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(network, (example,), dynamic_shapes=(batch,))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program
