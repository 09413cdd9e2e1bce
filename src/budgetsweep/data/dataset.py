"""Datasets as tensors: images uint8 in memory, split once, the test set apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from budgetsweep.config import DataConfig
from budgetsweep.data import cache
from budgetsweep.data.checks import check_channels, check_classes, check_enough, check_validation
from budgetsweep.data.download import check_mirror
from budgetsweep.data.image_folder import image_folder_classes, read_folder
from budgetsweep.data.pixels import resize
from budgetsweep.data.split import complement, stratified

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
    check_channels(config)
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
        check_validation(config, full.labels)
        held_out = stratified(full.labels, config.validation, config.split_seed)
        validation, rest = full[held_out], full[complement(held_out, len(full))]
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
    check_classes(config, part.class_names)

    def read_test() -> Images:
        part = _part(config, train=False)
        return _fit(part.images, part.labels, config)

    return _fit(part.images, part.labels, config), tuple(part.class_names), read_test


def _part(config: DataConfig, train: bool) -> cache.Decoded:
    """A part of a dataset as kept, or from its original files, fetched where they are missing."""
    root = Path(config.root)
    if kept := cache.load(config.name, root, train):
        return kept
    from budgetsweep.data import torchvision_datasets  # torchvision takes seconds to import

    check_classes(config, torchvision_datasets.SOURCES[config.name].class_names)
    torchvision_datasets.prepare(config.name, root, config.mirror, config.download)
    return torchvision_datasets.read(config.name, root, train)


def _digits(config: DataConfig) -> tuple[Images, Images, tuple[str, ...]]:
    """scikit-learn's 1,797 digits, 8×8 pixels of 0–16, split into 1,437 and 360."""
    from sklearn.datasets import load_digits  # importing it takes over a second

    digits = load_digits()
    names = tuple(map(str, digits.target_names))
    check_classes(config, names)
    grey = torch.from_numpy(digits.images)[:, None] * (255 / 16)
    labels = torch.from_numpy(digits.target).long()
    full = _fit(grey.round().to(torch.uint8), labels, config)
    test = stratified(full.labels, _DIGITS_TEST, seed=0)
    return full[complement(test, len(full))], full[test], names


def _image_folder(config: DataConfig) -> tuple[Images, Images]:
    """Both parts are read at once, so that every bad file is named before any training."""
    names = image_folder_classes(config.path)
    check_classes(config, names)
    images, labels, in_test = read_folder(config.path, config.channels, config.size)
    full = Images(images, labels)
    check_enough(config, names, labels if in_test is None else labels[~in_test], in_test is None)
    if in_test is None:
        n_test = max(round(len(full) / 5), len(names))
        test = stratified(labels, n_test, config.split_seed)
    else:
        test = in_test.nonzero().squeeze(1)
    return full[complement(test, len(full))], full[test]


def _fit(images: Tensor, labels: Tensor, config: DataConfig) -> Images:
    """Images of (N, C, H, W) uint8 with the configured channels and size, contiguous."""
    if images.shape[1] > config.channels:
        from torchvision.transforms.v2.functional import rgb_to_grayscale  # seconds to import

        images = rgb_to_grayscale(images)
    if images.shape[2:] != (config.size, config.size):
        chunks = [resize(c, config.size, config.size) for c in images.split(_RESIZE_CHUNK)]
        images = torch.cat(chunks)
    return Images(images.expand(-1, config.channels, -1, -1).contiguous(), labels)
