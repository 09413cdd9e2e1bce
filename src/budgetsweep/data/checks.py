"""Whether the settings fit the dataset that they name."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from budgetsweep.config import DataConfig
from budgetsweep.errors import DataError, SettingError


def check_channels(config: DataConfig) -> None:
    """Grey or colour, with a mean and a standard deviation for each channel or for all."""
    if config.channels not in (1, 3):
        raise SettingError("data.channels", config.channels, "must be 1 (grey) or 3 (colour).")
    for key in ("mean", "std"):
        values = getattr(config, key)
        if len(values) not in (1, config.channels):
            allowed = f"must hold one value, or as many as data.channels ({config.channels})."
            raise SettingError(f"data.{key}", values, allowed)
    if not all(value > 0 for value in config.std):
        raise SettingError("data.std", config.std, "must be > 0.")


def check_classes(config: DataConfig, names: Sequence[str]) -> None:
    """As many classes as the dataset has."""
    if config.classes != len(names):
        folder = f" ({config.path})" if config.name == "image_folder" else ""
        allowed = f"must be {len(names)}, the number of classes of {config.name}{folder}."
        raise SettingError("data.classes", config.classes, allowed)


def check_enough(
    config: DataConfig, names: tuple[str, ...], labels: Tensor, makes_test: bool
) -> None:
    """Each class needs an image in every part that is cut from `labels`."""
    parts = ["to train"] + ["to validate"] * (config.validation > 0) + ["to test"] * makes_test
    counts = labels.bincount(minlength=len(names)).tolist()
    few = [f"{name} ({n})" for name, n in zip(names, counts, strict=True) if n < len(parts)]
    if few:
        raise DataError(
            f"{config.path}: too few images in {', '.join(few)}; each class needs at least "
            f"{len(parts)}: one {', one '.join(parts)}."
        )


def check_validation(config: DataConfig, labels: Tensor) -> None:
    """Each class has an image on either side of the split."""
    highest = len(labels) - config.classes
    if not config.classes <= config.validation <= highest:
        allowed = (
            f"must be 0, or {config.classes:,} to {highest:,}: of the {len(labels):,} training "
            f"images, each of the {config.classes} classes needs one on either side."
        )
        raise SettingError("data.validation", config.validation, allowed)
