"""Datasets as tensors: images uint8 in memory, split once, the test set apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from budgetsweep import decoded
from budgetsweep.archives import check_mirror
from budgetsweep.config import DataConfig
from budgetsweep.errors import DataError, SettingError
from budgetsweep.image_folder import image_folder_classes, read_folder, read_image

__all__ = ["Dataset", "Images", "image_folder_classes", "load", "read_image", "resize"]

_DIGITS_TEST = 360
_RESIZE_CHUNK = 4_096  # images resized at a time, to keep intermediate tensors small


@dataclass(frozen=True)
class Images:
    """Labelled images of one split."""

    images: Tensor  # (N, C, S, S) uint8
    labels: Tensor  # (N,) int64

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor) -> Images:
        """The images at an index tensor, copied."""
        return Images(self.images[index], self.labels[index])


@dataclass(frozen=True)
class Dataset:
    """The splits of a dataset; `validation` is None when `data.validation` is 0."""

    train: Images
    validation: Images | None
    class_names: tuple[str, ...]
    test: Callable[[], Images]  # reads the test set when called, never before


def load(config: DataConfig) -> Dataset:
    """Read a dataset and split it; the same settings give the same object again.

    The validation images depend on `split_seed` and `validation` alone, not on `limit`.

    Raises:
        DataError: files are missing, altered or unreadable.
        SettingError: a setting does not fit the dataset.
    """
    _check_channels(config)
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    # Pixels are kept as they are; mean and std apply later.
    del values["mean"], values["std"]
    values["root"] = str(Path(config.root).expanduser().absolute())
    values["path"] = config.path and str(Path(config.path).expanduser().absolute())
    return _load(**values)


@lru_cache(maxsize=2)
def _load(**values: object) -> Dataset:
    config = DataConfig(**values)  # type: ignore[arg-type]
    full, class_names, test = _read(config)
    rest, validation = full, None
    if config.validation:
        _check_validation(config, full.labels)
        held_out = stratified(full.labels, config.validation, config.split_seed)
        validation, rest = full[held_out], full[_complement(held_out, len(full))]
    if config.limit and config.limit < len(rest):
        rest = rest[stratified(rest.labels, config.limit, config.split_seed)]
    return Dataset(rest, validation, class_names, test)


def _read(config: DataConfig) -> tuple[Images, tuple[str, ...], Callable[[], Images]]:
    if config.name == "image_folder":
        train, test = _image_folder(config)
        return train, image_folder_classes(config.path), lambda: test
    if config.name == "digits":
        train, test, names = _digits(config)
        return train, names, lambda: test
    if config.mirror:
        check_mirror(config.mirror)
    part = _part(config, train=True)
    _check_classes(config, part.class_names)

    def read_test() -> Images:
        part = _part(config, train=False)
        return _fit(part.images, part.labels, config)

    return _fit(part.images, part.labels, config), tuple(part.class_names), read_test


def _part(config: DataConfig, train: bool) -> decoded.Decoded:
    """A part of a dataset as kept, or from its original files, fetched where they are missing."""
    root = Path(config.root)
    if kept := decoded.load(config.name, root, train):
        return kept
    from budgetsweep import sources  # torchvision takes seconds to import

    _check_classes(config, sources.SOURCES[config.name].class_names)
    sources.prepare(config.name, root, config.mirror, config.download)
    return sources.read(config.name, root, train)


def _digits(config: DataConfig) -> tuple[Images, Images, tuple[str, ...]]:
    """scikit-learn's 1,797 digits, 8×8 pixels of 0–16, split into 1,437 and 360."""
    from sklearn.datasets import load_digits  # importing it takes over a second

    digits = load_digits()
    names = tuple(map(str, digits.target_names))
    _check_classes(config, names)
    grey = torch.from_numpy(digits.images)[:, None] * (255 / 16)
    labels = torch.from_numpy(digits.target).long()
    full = _fit(grey.round().to(torch.uint8), labels, config)
    test = stratified(full.labels, _DIGITS_TEST, seed=0)
    return full[_complement(test, len(full))], full[test], names


def _image_folder(config: DataConfig) -> tuple[Images, Images]:
    """Both parts are read at once, so that every bad file is named before any training."""
    names = image_folder_classes(config.path)
    _check_classes(config, names)
    images, labels, in_test = read_folder(config.path, config.channels, config.size)
    full = Images(images, labels)
    _check_enough(config, names, labels if in_test is None else labels[~in_test], in_test is None)
    if in_test is None:
        n_test = max(round(len(full) / 5), len(names))
        test = stratified(labels, n_test, config.split_seed)
    else:
        test = in_test.nonzero().squeeze(1)
    return full[_complement(test, len(full))], full[test]


def _fit(images: Tensor, labels: Tensor, config: DataConfig) -> Images:
    """Images of (N, C, H, W) uint8 with the configured channels and size, contiguous."""
    if images.shape[1] > config.channels:
        from torchvision.transforms.v2.functional import rgb_to_grayscale  # seconds to import

        images = rgb_to_grayscale(images)
    if images.shape[2:] != (config.size, config.size):
        chunks = [resize(c, config.size, config.size) for c in images.split(_RESIZE_CHUNK)]
        images = torch.cat(chunks)
    return Images(images.expand(-1, config.channels, -1, -1).contiguous(), labels)


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """Images (N, C, H, W), uint8 or float, in another size, bilinear with antialiasing."""
    return F.interpolate(images, (height, width), mode="bilinear", antialias=True)


def stratified(labels: Tensor, n: int, seed: int) -> Tensor:
    """Sorted indices of `n` images, each class by its share, drawn at random within the class.

    Where `n` allows, no class is left out, and no class with two images is taken whole.
    """
    values = labels.numpy()
    counts = np.bincount(values)
    # numpy keeps this generator's stream the same for ever, so that a split stays a split.
    rng = np.random.RandomState(seed)
    shuffled = [rng.permutation(np.flatnonzero(values == c)) for c in range(len(counts))]
    taken = [s[:k] for s, k in zip(shuffled, _quotas(counts, n), strict=True)]
    return torch.from_numpy(np.sort(np.concatenate(taken)))


def _quotas(counts: np.ndarray, n: int) -> np.ndarray:
    """How many of each class, by largest remainder, so that they sum to `n`."""
    present = np.count_nonzero(counts)
    lowest = np.minimum(counts, 1) if n >= present else np.zeros_like(counts)
    highest = np.maximum(counts - 1, lowest) if n <= counts.sum() - present else counts
    ideal = n * counts / counts.sum()
    quotas = np.clip(np.floor(ideal).astype(int), lowest, highest)
    while quotas.sum() < n:
        quotas[np.argmax(np.where(quotas < highest, ideal - quotas, -np.inf))] += 1
    while quotas.sum() > n:
        quotas[np.argmin(np.where(quotas > lowest, ideal - quotas, np.inf))] -= 1
    return quotas


def _complement(indices: Tensor, n: int) -> Tensor:
    rest = torch.ones(n, dtype=torch.bool)
    rest[indices] = False
    return rest.nonzero().squeeze(1)


def _check_channels(config: DataConfig) -> None:
    if config.channels not in (1, 3):
        raise SettingError("data.channels", config.channels, "must be 1 (grey) or 3 (colour).")
    for key in ("mean", "std"):
        values = getattr(config, key)
        if len(values) not in (1, config.channels):
            allowed = f"must hold one value, or as many as data.channels ({config.channels})."
            raise SettingError(f"data.{key}", values, allowed)
    if not all(value > 0 for value in config.std):
        raise SettingError("data.std", config.std, "must be > 0.")


def _check_classes(config: DataConfig, names: Sequence[str]) -> None:
    if config.classes != len(names):
        folder = f" ({config.path})" if config.name == "image_folder" else ""
        allowed = f"must be {len(names)}, the number of classes of {config.name}{folder}."
        raise SettingError("data.classes", config.classes, allowed)


def _check_enough(
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


def _check_validation(config: DataConfig, labels: Tensor) -> None:
    highest = len(labels) - config.classes
    if not config.classes <= config.validation <= highest:
        allowed = (
            f"must be 0, or {config.classes:,} to {highest:,}: of the {len(labels):,} training "
            f"images, each of the {config.classes} classes needs one on either side."
        )
        raise SettingError("data.validation", config.validation, allowed)
