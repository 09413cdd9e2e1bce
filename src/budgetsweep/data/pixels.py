"""Batches of pixels: sizes and ranges."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from budgetsweep.config import DataConfig


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """Images (N, C, H, W), uint8 or float, in another size, bilinear with antialiasing."""
    return F.interpolate(images, (height, width), mode="bilinear", antialias=True)


def to_unit(images: Tensor) -> Tensor:
    """uint8 pixels → float32 in 0–1."""
    return images.float().div_(255)


def normalize(images: Tensor, data: DataConfig) -> Tensor:
    """Subtract the mean and divide by the standard deviation, a channel each."""
    return (images - column(*data.mean, device=images.device)).div_(
        column(*data.std, device=images.device)
    )


@lru_cache
def column(*values: float, device: torch.device) -> Tensor:
    """One value a channel, (C, 1, 1); kept, so that no batch waits for it to reach the device."""
    return torch.tensor(values, device=device).view(-1, 1, 1)
