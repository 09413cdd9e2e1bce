"""Datasets as tensors: images uint8 in memory, split once, the test set apart."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from budgetsweep.config import DataConfig
from budgetsweep.data.checks import check_channels, check_classes, check_enough, validation_images
from budgetsweep.data.contents import contents
from budgetsweep.data.decode import decode
from budgetsweep.data.decoded import Decoded
from budgetsweep.data.image_folder import File, ImageFolder, Sample, find
from budgetsweep.data.pixels import resize
from budgetsweep.data.resolve import resolve
from budgetsweep.data.split import complement, stratified
from budgetsweep.errors import SettingError

log = logging.getLogger(__name__)

_DIGITS, _DIGITS_TEST = 1_797, 360
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
    # of a folder of images, which may change; the files of other datasets are known by their hashes
    contents: Mapping[str, str] = field(default_factory=dict)


def load(config: DataConfig) -> Dataset:
    """Read a dataset and split it; the same settings give the same object again.

    The validation images depend on `split_seed` and `validation` alone, not on `limit`; the test
    images on none of them.

    Raises:
        DataError: files are missing, altered or unreadable.
        SettingError: a setting does not fit the dataset.
    """
    config = _placed(config)
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    # Pixels are kept as they are; mean and std apply later.
    del values["mean"], values["std"]
    return _load(**values)


def check(config: DataConfig) -> None:
    """Refuse what `load` would refuse, before anything waits for it.

    Files that are missing are fetched. A folder of images is listed, not decoded: a file of it that
    cannot be read is for `load` to name.

    Raises:
        DataError: files are missing or altered, or a folder's layout cannot be told.
        SettingError: a setting does not fit the dataset.
    """
    config = _placed(config)
    if config.name == "image_folder":
        _, (train, held_out, _) = _listed(config)
        if not held_out:
            validation_images(config, len(train))
    elif config.name == "digits":
        check_classes(config, tuple("0123456789"))
        validation_images(config, _DIGITS - _DIGITS_TEST)
    else:
        validation_images(config, len(_training_part(config).labels))


def _placed(config: DataConfig) -> DataConfig:
    """The settings with what is read off the data, and with absolute folders."""
    config = resolve(config)
    check_channels(config)
    if not config.root.strip():
        raise SettingError("data.root", "''", "must name a folder (the current one is .).")
    config = dataclasses.replace(config, root=str(Path(config.root).expanduser().absolute()))
    if config.path and config.path.strip():  # else `find` refuses it as it is
        config.path = str(Path(config.path).expanduser().absolute())
    return config


@lru_cache(maxsize=2)
def _load(**values: object) -> Dataset:
    config = DataConfig(**values)  # type: ignore[arg-type]
    found: dict[str, str] = {}
    if config.name == "image_folder":
        full, validation, names, test, found = _image_folder(config)
    else:
        full, names, test = _read(config)
        validation = None
    if validation is None and (n := validation_images(config, len(full))):
        held_out = stratified(full.labels, n, config.split_seed)
        validation, full = full[held_out], full[complement(held_out, len(full))]
    if config.limit and config.limit < len(full):
        full = full[stratified(full.labels, config.limit, config.split_seed)]
    return Dataset(full, validation, names, test, found)


def held(config: DataConfig) -> dict[str, str]:
    """What a folder of images holds, by its listing: see `contents`; empty for other datasets.

    Raises:
        SettingError: there is no such folder.
        DataError: its layout cannot be told, or a class has too few images.
    """
    if config.name != "image_folder":
        return {}
    folder = find(config.path)
    return _held(folder, _split_folder(config, folder))


def _held(folder: ImageFolder, split: Sequence[list[Sample]]) -> dict[str, str]:
    parts = zip(("train", "validation", "test"), split, strict=True)
    return contents(folder.classes, {part: samples for part, samples in parts if samples})


def _read(config: DataConfig) -> tuple[Images, tuple[str, ...], Callable[[], Images]]:
    if config.name == "digits":
        return _digits(config)
    part = _training_part(config)

    def read_test() -> Images:
        part = _part(config, train=False)
        return _fit(part.images, part.labels, config)

    return _fit(part.images, part.labels, config), tuple(part.class_names), read_test


def _training_part(config: DataConfig) -> Decoded:
    """The images to train and to validate on, as many classes as the settings say."""
    if config.mirror:
        from budgetsweep.data.download import check_mirror  # pooch

        check_mirror(config.mirror)
    part = _part(config, train=True)
    check_classes(config, part.class_names)
    return part


def _part(config: DataConfig, train: bool) -> Decoded:
    """A part of a dataset as kept, or from its original files, fetched where they are missing."""
    root = Path(config.root)
    if kept := Decoded.kept(config.name, root, train):
        return kept
    from budgetsweep.data import torchvision_datasets  # torchvision takes seconds to import

    check_classes(config, torchvision_datasets.SOURCES[config.name].class_names)
    torchvision_datasets.prepare(config.name, root, config.mirror, config.download)
    return torchvision_datasets.read(config.name, root, train)


def _digits(config: DataConfig) -> tuple[Images, tuple[str, ...], Callable[[], Images]]:
    """scikit-learn's 1,797 digits, 8×8 pixels of 0–16, split into 1,437 and 360."""
    from sklearn.datasets import load_digits  # importing it takes over a second

    digits = load_digits()
    names = tuple(map(str, digits.target_names))
    check_classes(config, names)
    grey = (torch.from_numpy(digits.images)[:, None] * (255 / 16)).round().to(torch.uint8)
    labels = torch.from_numpy(digits.target).long()
    test = stratified(labels, _DIGITS_TEST, seed=0)

    def part(index: Tensor) -> Images:
        return _fit(grey[index], labels[index], config)

    return part(complement(test, len(labels))), names, lambda: part(test)


def _image_folder(
    config: DataConfig,
) -> tuple[Images, Images | None, tuple[str, ...], Callable[[], Images], dict[str, str]]:
    """Every bad file is named before any training; the test images are decoded when called for."""
    folder, split = _listed(config)
    train, held_out, test = split
    files = [file for file, _ in train + held_out]

    def read(part: str, files: list[File], others: list[File]) -> Tensor:
        return decode(part, files, others, Path(str(config.path)), config.channels, config.size)

    def read_test() -> Images:
        return Images(read("test", [file for file, _ in test], []), _labels(test))

    images = Images(read("train", files, [file for file, _ in test]), _labels(train + held_out))
    if not held_out or config.validation == 0:  # then nothing is held out: all are trained on
        return images, None, folder.classes, read_test, _held(folder, split)
    if config.validation not in ("auto", len(held_out)):
        log.warning(
            "data.validation=%s has no effect: %s has a folder of %d validation images",
            config.validation, config.path, len(held_out),
        )  # fmt: skip
    first, last = torch.arange(len(train)), torch.arange(len(train), len(files))
    return images[first], images[last], folder.classes, read_test, _held(folder, split)


def _listed(
    config: DataConfig,
) -> tuple[ImageFolder, tuple[list[Sample], list[Sample], list[Sample]]]:
    """The folder, as many classes as the settings say, and its samples as `_split_folder` has them."""
    folder = find(config.path)
    check_classes(config, folder.classes)
    return folder, _split_folder(config, folder)


def _split_folder(
    config: DataConfig, folder: ImageFolder
) -> tuple[list[Sample], list[Sample], list[Sample]]:
    """The samples to train on, to validate on where a folder says so, and to test on."""
    train, held_out = folder.parts["train"], folder.parts.get("validation", [])
    labels = _labels(train)
    cut = ["to train"] + ["to validate"] * (config.validation != 0 and not held_out)
    test = folder.parts.get("test")
    check_enough(config, folder.classes, labels, cut + ["to test"] * (test is None))
    if test is None:
        # No setting moves the test set: what was once trained on is never tested on.
        n = max(round(len(train) / 5), len(folder.classes))
        chosen = stratified(labels, n, seed=0)
        test = [train[i] for i in chosen]
        train = [train[i] for i in complement(chosen, len(train))]
    return train, held_out, test


def _labels(samples: list[Sample]) -> Tensor:
    return torch.tensor([label for _, label in samples], dtype=torch.int64)


def _fit(images: Tensor, labels: Tensor, config: DataConfig) -> Images:
    """Images of (N, C, H, W) uint8 with the configured channels and size, contiguous."""
    if images.shape[1] > config.channels:
        from torchvision.transforms.v2.functional import rgb_to_grayscale  # seconds to import

        images = rgb_to_grayscale(images)
    if images.shape[2:] != (config.size, config.size):
        chunks = [resize(c, config.size, config.size) for c in images.split(_RESIZE_CHUNK)]
        images = torch.cat(chunks)
    return Images(images.expand(-1, config.channels, -1, -1).contiguous(), labels)
