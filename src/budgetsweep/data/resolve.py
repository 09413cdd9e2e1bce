"""Settings that are left to the data: read off it, before the network is built."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from budgetsweep.config import DataConfig
from budgetsweep.data.image_folder import find
from budgetsweep.errors import SettingError

_LOOKED_AT = 64  # images whose heads tell whether a folder is in colour
_CHUNK = 4_096  # images counted at a time


def resolve(config: DataConfig) -> DataConfig:
    """`data.classes` and `data.channels` as numbers: a folder of images is listed, not decoded.

    Raises:
        SettingError: they are null for a dataset that is no folder, or there is no such folder.
        DataError: the folder's layout cannot be told.
    """
    missing = [key for key in ("classes", "channels") if getattr(config, key) is None]
    if not missing:
        return config
    if config.name != "image_folder":
        allowed = (
            f"must be a number for {config.name}; only data=image_folder reads it off the data."
        )
        raise SettingError(f"data.{missing[0]}", None, allowed)
    classes = config.classes or len(find(config.path).classes)
    return dataclasses.replace(
        config, classes=classes, channels=config.channels or _channels(config)
    )


def _channels(config: DataConfig) -> int:
    """3 where one of some images, evenly spread, is in colour."""
    from budgetsweep.data.decode import holds_colour  # Pillow

    samples = find(config.path).parts["train"]
    step = max(1, len(samples) // _LOOKED_AT)
    return 3 if any(holds_colour(file) for file, _ in samples[::step]) else 1


def normalization(config: DataConfig, images: Tensor) -> DataConfig:
    """`data.mean` and `data.std` as numbers: where auto, of the training images (N, C, S, S) uint8."""
    if not isinstance(config.mean, str) and not isinstance(config.std, str):
        return config
    mean, std = moments(images)
    return dataclasses.replace(
        config,
        mean=mean if isinstance(config.mean, str) else config.mean,
        std=std if isinstance(config.std, str) else config.std,
    )


def moments(images: Tensor) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel's pixels in 0–1, by counting the 256 values."""
    values = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in images.unbind(1):
        counts = sum(
            (c.flatten().bincount(minlength=256) for c in channel.split(_CHUNK)),
            torch.zeros(256, dtype=torch.int64),
        )
        share = counts.double() / counts.sum()
        mean = float(share @ values)
        means.append(round(mean, 4))
        # A channel that is the same everywhere has no deviation to divide by.
        stds.append(max(round(float(share @ (values - mean) ** 2) ** 0.5, 4), 1 / 255))
    return means, stds
