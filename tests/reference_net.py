"""The published 19,668-parameter network, written out by hand: the oracle for the factory."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ReferenceNet(nn.Module):
    """Convolutions with biases; convolution, ReLU, batch norm; log-probabilities of 10 classes."""

    def __init__(self, dropout: float = 0.05) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.BatchNorm2d(8),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
            nn.BatchNorm2d(16),
            nn.MaxPool2d(2, 2),
            nn.Conv2d(16, 8, 1),
            nn.Dropout(dropout),
        )
        self.layer2 = nn.Sequential(
            nn.Conv2d(8, 16, 3),
            nn.ReLU(),
            nn.BatchNorm2d(16),
            nn.Conv2d(16, 32, 3),
            nn.ReLU(),
            nn.BatchNorm2d(32),
            nn.Conv2d(32, 32, 3),
            nn.ReLU(),
            nn.BatchNorm2d(32),
            nn.MaxPool2d(2, 2),
            nn.Dropout(dropout),
        )
        self.conv3 = nn.Sequential(
            nn.Conv2d(32, 10, 3),
            nn.ReLU(),
            nn.BatchNorm2d(10),
            nn.MaxPool2d(2, 2),
            nn.Dropout(dropout),
        )
        self.conv4 = nn.Conv2d(10, 10, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv4(self.conv3(self.layer2(self.layer1(x))))
        return F.log_softmax(x.view(-1, 10), dim=1)
