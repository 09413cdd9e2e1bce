"""Random change of training images: a new draw for each image of a batch, on its device."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from budgetsweep.config import AugmentConfig, DataConfig
from budgetsweep.data import transforms
from budgetsweep.data.pixels import column

log = logging.getLogger(__name__)


class Augmentation:
    """The changes that are configured, in their order: place, colour, cutout, mixup.

    All draws are from torch's global generator, and a change that is off draws nothing.
    """

    def __init__(self, config: AugmentConfig, data: DataConfig) -> None:
        self.config, self.data = config, data
        if data.channels == 1 and (config.saturation or config.grey):
            log.warning("augment.saturation and augment.grey do nothing: the images are grey")

    def __call__(
        self, images: Tensor, labels: Tensor, progress: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Change a batch.

        Args:
            images: (N, C, S, S) float in 0–1.
            labels: (N,) int64.
            progress: share of the run that is over.

        Returns:
            The images, and their labels: (N,) int64, or under mixup the share of each class,
            (N, classes).
        """
        draw, config = _Draw(images, self._strength(progress)), self.config
        if config.flip:
            images = draw.some(images, lambda: images.flip(3), config.flip_p)
        if config.rotation or config.shift or config.scale or config.shear:
            images = self._affine(images, draw)
        if config.elastic:
            images = self._elastic(images, draw)
        if config.crop:
            images = self._crop(images, draw)
        images = self._colour(images, draw)
        if config.cutout:
            images = self._cutout(images, draw)
        if config.mixup:
            return self._mixup(images, labels, draw)
        return images, labels

    def _strength(self, progress: float) -> float:
        """What every probability is multiplied by: 1, and from `until` on less, to 0 at the end."""
        until = self.config.until
        return 1.0 if progress <= until else (1 - progress) / (1 - until)

    def _affine(self, images: Tensor, draw: _Draw) -> Tensor:
        config = self.config
        draws = draw.either_way(5)
        matrices = transforms.affine_matrices(
            angle=draws[0] * math.radians(config.rotation),
            shift=draws[1:3].T * config.shift,
            scale=1 + draws[3] * config.scale,
            shear=draws[4] * math.radians(config.shear),
        )
        return draw.some(
            images, lambda: self._filled(images, transforms.affine, matrices), config.affine_p
        )

    def _elastic(self, images: Tensor, draw: _Draw) -> Tensor:
        config = self.config
        points = draw.either_way(2 * config.elastic_points**2).T * config.elastic
        field = transforms.smooth_field(
            points.unflatten(1, (2, config.elastic_points, -1)), self.data.size
        )
        return draw.some(
            images, lambda: self._filled(images, transforms.elastic, field), config.elastic_p
        )

    def _filled(
        self, images: Tensor, change: Callable[[Tensor, Tensor, bool], Tensor], where: Tensor
    ) -> Tensor:
        """A change of place, and beside the images what `fill` says."""
        if self._fill == "mean":
            mean = column(*self.data.mean, device=images.device)
            return change(images - mean, where, False) + mean
        return change(images, where, self._fill == "edge")

    @cached_property
    def _fill(self) -> str:
        """Black corners are right for light drawings on black, and for no photograph."""
        auto = "edge" if self.data.name == "image_folder" else "black"
        return auto if self.config.fill == "auto" else self.config.fill

    def _crop(self, images: Tensor, draw: _Draw) -> Tensor:
        config, padding = self.config, self._pixels(self.config.crop)
        corners = torch.randint(2 * padding + 1, (draw.n, 2), device=images.device)
        mode = "constant" if config.crop_padding == "zero" else config.crop_padding
        chosen = draw.chosen(config.crop_p)
        corners = corners if chosen is None else corners.where(chosen[:, None], padding)
        return transforms.crop(images, corners, padding, mode)

    def _colour(self, images: Tensor, draw: _Draw) -> Tensor:
        config, coloured = self.config, images.shape[1] > 1
        if config.brightness:
            factor = draw.factor(config.brightness, config.brightness_p)
            images = transforms.adjust_brightness(images, factor)
        if config.contrast:
            factor = draw.factor(config.contrast, config.contrast_p)
            images = transforms.adjust_contrast(images, factor)
        if config.saturation and coloured:
            factor = draw.factor(config.saturation, config.saturation_p)
            images = transforms.adjust_saturation(images, factor)
        if config.grey and coloured:
            images = draw.some(
                images, lambda: transforms.grey(images).expand_as(images), config.grey
            )
        return images

    def _cutout(self, images: Tensor, draw: _Draw) -> Tensor:
        side = self._pixels(self.config.cutout)
        corners = torch.randint(images.shape[-1] - side + 1, (draw.n, 2), device=images.device)
        mean = column(*self.data.mean, device=images.device)
        return draw.some(
            images,
            lambda: transforms.erase(images, corners, side, mean),
            self.config.cutout_p,
        )

    def _mixup(self, images: Tensor, labels: Tensor, draw: _Draw) -> tuple[Tensor, Tensor]:
        alpha = torch.full((draw.n,), self.config.mixup, device=images.device)
        share = torch.distributions.Beta(alpha, alpha, validate_args=False).sample()
        chosen = draw.chosen(self.config.mixup_p)
        share = share if chosen is None else share.where(chosen, 1.0)
        targets = F.one_hot(labels, self.data.classes).to(images.dtype)
        return transforms.mix(images, share), transforms.mix(targets, share)

    def _pixels(self, share: float) -> int:
        return max(1, round(share * self.data.size))


class _Draw:
    """Random numbers for one batch."""

    def __init__(self, images: Tensor, strength: float) -> None:
        self.n, self._device, self._strength = len(images), images.device, strength

    def either_way(self, n: int) -> Tensor:
        """Numbers from -1 to 1, (n, N)."""
        return torch.rand(n, self.n, device=self._device) * 2 - 1

    def chosen(self, p: float) -> Tensor | None:
        """Which images a change of probability `p` is for, (N,) bool; None: all."""
        p *= self._strength
        return torch.rand(self.n, device=self._device) < p if p < 1 else None

    def some(self, images: Tensor, change: Callable[[], Tensor], p: float) -> Tensor:
        """The change of the images that it is for, and the others as they are."""
        chosen = self.chosen(p)
        changed = change()
        return (
            changed if chosen is None else torch.where(chosen[:, None, None, None], changed, images)
        )

    def factor(self, largest: float, p: float) -> Tensor:
        """1 more or less than at most `largest`, (N,); 1 for the images that it is not for."""
        factor = 1 + self.either_way(1)[0] * largest
        chosen = self.chosen(p)
        return factor if chosen is None else factor.where(chosen, 1.0)
