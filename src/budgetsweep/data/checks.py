"""Whether the settings fit the dataset that they name."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from budgetsweep.config import DataConfig
from budgetsweep.data.image_folder import listed
from budgetsweep.errors import DataError, SettingError


def check_channels(config: DataConfig) -> None:
    """Grey or colour, with a mean and a standard deviation for each channel or for all."""
    if config.channels not in (1, 3):
        raise SettingError("data.channels", config.channels, "must be 1 (grey) or 3 (colour).")
    for key in ("mean", "std"):
        values = getattr(config, key)
        if not isinstance(values, str) and len(values) not in (1, config.channels):
            allowed = f"must hold one value, or as many as data.channels ({config.channels})."
            raise SettingError(f"data.{key}", values, allowed)
        if not isinstance(values, str) and not all(map(math.isfinite, values)):
            raise SettingError(f"data.{key}", values, "must be finite numbers.")
    if not isinstance(config.std, str) and not all(value > 0 for value in config.std):
        raise SettingError("data.std", config.std, "must be > 0.")


def check_classes(config: DataConfig, names: Sequence[str]) -> None:
    """As many classes as the dataset has."""
    if config.classes != len(names):
        folder = f" ({config.path})" if config.name == "image_folder" else ""
        allowed = f"must be {len(names)}, the number of classes of {config.name}{folder}."
        raise SettingError("data.classes", config.classes, allowed)


def check_enough(
    config: DataConfig, names: Sequence[str], labels: Tensor, parts: list[str]
) -> None:
    """Each class needs an image in every part that is cut from `labels`."""
    counts = labels.bincount(minlength=len(names)).tolist()
    few = [f"{name} ({n})" for name, n in zip(names, counts, strict=True) if n < len(parts)]
    if few:
        raise DataError(
            f"{config.path}: too few images in {listed(few)}; each class needs at least "
            f"{len(parts)}: one {', one '.join(parts)}. Add images, or remove the folder."
        )


def validation_images(config: DataConfig, n_train: int) -> int:
    """How many of `n_train` images to hold out: each class has one on either side.

    Raises:
        SettingError: so many cannot be.
    """
    if config.validation == "auto":
        return max(min(n_train // 5, 5_000), config.classes)
    highest = n_train - config.classes
    if config.validation and not config.classes <= config.validation <= highest:
        allowed = (
            f"must be auto, 0, or {config.classes:,} to {highest:,}: of the {n_train:,} training "
            f"images, each of the {config.classes} classes needs one on either side."
        )
        raise SettingError("data.validation", config.validation, allowed)
    return config.validation
