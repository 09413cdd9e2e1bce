"""Random affine change of whole batches, each image by its own draw."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from budgetsweep.config import AugmentConfig


def affine_matrices(angle: Tensor, shift: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
    """The maps from output to input positions that `affine` samples by, (N, 2, 3).

    The image is sheared, turned, scaled about its centre, then shifted, as in
    `torchvision.transforms.functional.affine`.

    Args:
        angle: (N,) clockwise, radians.
        shift: (N, 2) to the right and down, share of the side.
        scale: (N,) factor.
        shear: (N,) along x, radians.
    """
    cos, sin, tan = torch.cos(angle), torch.sin(angle), torch.tan(shear)
    # The forward map [[cos, -cos·tan - sin], [sin, -sin·tan + cos]]·scale has determinant scale².
    inverse = torch.stack([cos - sin * tan, cos * tan + sin, -sin, cos], 1) / scale[:, None]
    inverse = inverse.view(-1, 2, 2)
    # grid_sample's coordinates run from -1 to 1: a share of the side counts twice.
    offset = -2 * inverse @ shift[:, :, None]
    return torch.cat([inverse, offset], 2)


def affine(images: Tensor, matrices: Tensor) -> Tensor:
    """Sample float images (N, C, S, S) through (N, 2, 3) maps, bilinear, zero outside."""
    # The grid of F.affine_grid, whose product of a tall matrix and a small one takes 20 × as long.
    side = images.shape[-1]
    grid = (matrices @ _pixels(side, images.device)).view(-1, 2, side, side).permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


@lru_cache
def _pixels(side: int, device: torch.device) -> Tensor:
    """The centres of a square's pixels, row by row, (3, S²): x, y from -1 to 1, and 1."""
    centres = (2 * torch.arange(side, device=device) + 1) / side - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)]).flatten(1)


def augment(images: Tensor, config: AugmentConfig) -> Tensor:
    """A new random draw for each float image (N, C, S, S), from torch's global generator."""
    if config.flip:
        mirrored = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
        images = torch.where(mirrored, images.flip(3), images)
    if not (config.rotation or config.shift or config.scale or config.shear):
        return images
    draws = torch.rand(5, len(images), device=images.device) * 2 - 1
    return affine(
        images,
        affine_matrices(
            angle=draws[0] * math.radians(config.rotation),
            shift=draws[1:3].T * config.shift,
            scale=1 + draws[3] * config.scale,
            shear=draws[4] * math.radians(config.shear),
        ),
    )
