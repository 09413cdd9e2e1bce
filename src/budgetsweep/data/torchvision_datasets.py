"""torchvision's datasets: their original files, and how torchvision reads them.

Everything lands where torchvision itself looks below `data.root`, so a folder that torchvision
filled before is used as it is. Its classes only read; fetching is the business of `download`, and
`cache` keeps what was read, so that most starts need neither this module nor torchvision.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torchvision.datasets import CIFAR10, EMNIST, KMNIST, MNIST, QMNIST, USPS, FashionMNIST

from budgetsweep.data.decoded import Decoded
from budgetsweep.data.download import Archive, Member, complete
from budgetsweep.errors import DataError

DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Source:
    """One dataset; `folder` is where torchvision looks for its archives, below `data.root`."""

    folder: str
    class_names: tuple[str, ...]
    archives: Callable[[], list[Archive]]  # called late: torchvision's own list of files and MD5s
    read: Callable[[Path, bool], tuple[Any, Any]]  # (root, train) → images, labels


def _idx_archives(files: list[tuple[str, str, tuple[str, ...]]], n_test: int) -> list[Archive]:
    """Archives of one IDX file each, from (name, MD5, addresses)."""
    return [
        Archive(name, md5, urls, (_idx_member(name.removesuffix(".gz"), n_test),))
        for name, md5, urls in files
    ]


def _idx_member(name: str, n_test: int, n_train: int = 60_000) -> Member:
    return Member(name, count=n_train if "train" in name else n_test)


def _mnist_archives(dataset: type[MNIST]) -> list[Archive]:
    files = [(f, md5, tuple(m + f for m in dataset.mirrors)) for f, md5 in dataset.resources]
    return _idx_archives(files, n_test=10_000)


def _qmnist_archives() -> list[Archive]:
    resources = QMNIST.resources["train"] + QMNIST.resources["test"]
    return _idx_archives([(_last(url), md5, (url,)) for url, md5 in resources], n_test=60_000)


def _emnist_archives() -> list[Archive]:
    members = tuple(
        _idx_member(f"emnist-balanced-{split}-{kind}-ubyte", n_test=18_800, n_train=112_800)
        for split in ("train", "test")
        for kind in ("images-idx3", "labels-idx1")
    )
    return [Archive(_last(EMNIST.url), EMNIST.md5, (EMNIST.url,), members)]


def _usps_archives() -> list[Archive]:
    return [Archive(name, md5, (url,)) for url, name, md5 in USPS.split_list.values()]


def _cifar10_archives() -> list[Archive]:
    batches = [*CIFAR10.train_list, *CIFAR10.test_list]
    batches.append((CIFAR10.meta["filename"], CIFAR10.meta["md5"]))
    members = tuple(Member(f"{CIFAR10.base_folder}/{name}", md5=md5) for name, md5 in batches)
    return [Archive(CIFAR10.filename, CIFAR10.tgz_md5, (CIFAR10.url,), members)]


def _last(url: str) -> str:
    return url.rpartition("/")[2]


def _mnist_like(dataset: type[MNIST], class_names: tuple[str, ...]) -> Source:
    def read(root: Path, train: bool) -> tuple[Any, Any]:
        content = dataset(root, train=train)
        return content.data, content.targets

    folder = f"{dataset.__name__}/raw"
    return Source(folder, class_names, lambda: _mnist_archives(dataset), read)


def _read_qmnist(root: Path, train: bool) -> tuple[Any, Any]:
    content = QMNIST(root, train=train)
    return content.data, content.targets[:, 0]  # the other columns tell who wrote it


def _read_emnist(root: Path, train: bool) -> tuple[Any, Any]:
    content = EMNIST(root, split="balanced", train=train)
    return content.data.transpose(1, 2), content.targets  # its files hold columns as rows


def _read_usps(root: Path, train: bool) -> tuple[Any, Any]:
    content = USPS(root, train=train)
    return content.data, content.targets


def _read_cifar10(root: Path, train: bool) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        # The batches were pickled long ago; numpy deprecates how they spell their dtype.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", message=".*align should be passed")
        content = CIFAR10(root, train=train)
    return content.data, content.targets


_CIFAR10_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_EMNIST_NAMES = tuple(EMNIST.classes_split_dict["balanced"])
SOURCES: dict[str, Source] = {
    "mnist": _mnist_like(MNIST, DIGITS),
    "fashion_mnist": _mnist_like(FashionMNIST, tuple(FashionMNIST.classes)),
    "kmnist": _mnist_like(KMNIST, tuple(KMNIST.classes)),
    "qmnist": Source("QMNIST/raw", DIGITS, _qmnist_archives, _read_qmnist),
    "emnist": Source("EMNIST/raw", _EMNIST_NAMES, _emnist_archives, _read_emnist),
    "usps": Source("", DIGITS, _usps_archives, _read_usps),
    "cifar10": Source("", _CIFAR10_NAMES, _cifar10_archives, _read_cifar10),
}


def read(name: str, root: Path, train: bool) -> Decoded:
    """A part of a prepared dataset, which is also kept for the next start."""
    source = SOURCES[name]
    images, labels = (torch.as_tensor(part) for part in source.read(root, train))
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
    if len(images) != len(labels):
        raise DataError(f"{name} in {root}: {len(images)} images but {len(labels)} labels.")
    part = Decoded(images.contiguous(), labels.long(), list(source.class_names))
    part.keep(name, root, train, _files(source, root))
    return part


def _files(source: Source, root: Path) -> Iterator[Path]:
    """The files of a prepared dataset, archives and what was taken out of them."""
    for archive in source.archives():
        for file in (archive.name, *(member.name for member in archive.members)):
            if (path := root / source.folder / file).exists():
                yield path


def prepare(name: str, root: Path, mirror: str | None, download: bool) -> None:
    """Have all files of a dataset below `root`; see `download.complete` for its errors."""
    source = SOURCES[name]
    complete(name, source.archives(), root, root / source.folder, mirror, download)
