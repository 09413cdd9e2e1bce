"""Changes of whole batches, each image by parameters of its own; random draws are `augment`'s.

Images are float (N, C, S, S) in 0–1. Each change is the one of the same name in
`torchvision.transforms.v2.functional`, which takes one image or one set of parameters at a time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from budgetsweep.data.pixels import column

_LUMA = (0.2989, 0.587, 0.114)  # ITU-R 601-2, as Pillow and torchvision have it


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


def affine(images: Tensor, matrices: Tensor, edge: bool = False) -> Tensor:
    """Sample through (N, 2, 3) maps, bilinear; outside lies zero, or the border drawn on."""
    # The grid of F.affine_grid, whose product of a tall matrix and a small one takes 20 × as long.
    side = images.shape[-1]
    return _sampled(
        images, (matrices @ _pixels(side, images.device)).unflatten(2, (side, side)), edge
    )


def smooth_field(points: Tensor, side: int) -> Tensor:
    """A displacement for each pixel (N, 2, side, side) by those of a few points (N, 2, P, P).

    Cubic between the points, so that it is smooth as the blurred noise of Simard et al. (2003, "Best
    Practices for Convolutional Neural Networks Applied to Visual Document Analysis"), and cheaper.
    """
    return F.interpolate(points, side, mode="bicubic", align_corners=True)


def elastic(images: Tensor, field: Tensor, edge: bool = False) -> Tensor:
    """Take each pixel from elsewhere, (N, 2, S, S) to the right and down, share of the side, bilinear."""
    side = images.shape[-1]
    at = _pixels(side, images.device)[:2].unflatten(1, (side, side))
    return _sampled(images, at + 2 * field, edge)


def _sampled(images: Tensor, at: Tensor, edge: bool) -> Tensor:
    """The images at positions (N, 2, S, S) of -1 to 1; outside lies zero, or the border drawn on."""
    padding = "border" if edge else "zeros"
    return F.grid_sample(images, at.permute(0, 2, 3, 1), padding_mode=padding, align_corners=False)


@lru_cache
def _pixels(side: int, device: torch.device) -> Tensor:
    """The centres of a square's pixels, row by row, (3, S²): x, y from -1 to 1, and 1."""
    centres = (2 * torch.arange(side, device=device) + 1) / side - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)]).flatten(1)


def crop(
    images: Tensor, corners: Tensor, padding: int, mode: Literal["reflect", "replicate", "constant"]
) -> Tensor:
    """Pad on each side, then cut an image of the old size at its corner (N, 2): top, left."""
    n, side = torch.arange(len(images), device=images.device), images.shape[-1]
    windows = F.pad(images, (padding,) * 4, mode=mode).unfold(2, side, 1).unfold(3, side, 1)
    return windows[n, :, corners[:, 0], corners[:, 1]]


def grey(images: Tensor) -> Tensor:
    """The brightness of colour images, (N, 1, S, S); grey ones as they are."""
    if images.shape[1] == 1:
        return images
    n, _, *sides = images.shape
    return (column(*_LUMA, device=images.device).flatten() @ images.flatten(2)).view(n, 1, *sides)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Times a factor (N,): 0 is black, 1 the image."""
    return (images * _each(factor)).clamp_(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Towards the mean brightness of each image, by a factor (N,): 0 is flat, 1 the image."""
    return _blend(images, grey(images).mean((1, 2, 3), keepdim=True), factor)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Towards grey, by a factor (N,): 0 is grey, 1 the image."""
    return _blend(images, grey(images), factor)


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return torch.lerp(other, images, _each(factor)).clamp_(0, 1)


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def erase(images: Tensor, corners: Tensor, side: int, fill: Tensor) -> Tensor:
    """Cover a square of each image with `fill` (C, 1, 1); corners (N, 2) are its top and left."""
    places = torch.arange(images.shape[-1], device=images.device) - corners[:, :, None]
    within = (places >= 0) & (places < side)  # (N, 2, S)
    return torch.where(within[:, 0, None, :, None] & within[:, 1, None, None, :], fill, images)


def mix(values: Tensor, share: Tensor) -> Tensor:
    """Of each batch entry its share (N,), the rest of the entry before it, as MixUp does."""
    share = share.view(-1, *[1] * (values.dim() - 1))
    return torch.lerp(values.roll(1, 0), values, share)
