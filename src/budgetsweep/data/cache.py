"""Datasets as tensors, kept in the user's cache folder once torchvision has read them.

torchvision takes longer to import than torch itself, and most starts need it only to read what an
earlier one has read. What is kept counts as long as the dataset's files have the sizes and times of
change that they had.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from budgetsweep.files import cache_dir, write_atomic

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decoded:
    """One part of a dataset, the one to train on or the one to test on."""

    images: Tensor  # (N, C, H, W) uint8
    labels: Tensor  # (N,) int64
    class_names: list[str]


def load(name: str, root: Path, train: bool) -> Decoded | None:
    """What is kept of a part of a dataset; None where nothing is, or the files have changed."""
    try:
        # Mapped, not read: the workers of a sweep share the memory.
        kept: dict[str, Any] = torch.load(_place(name, root, train), mmap=True, weights_only=True)
        files = kept.pop("files")
        return Decoded(**kept) if files == _signature(root, files) else None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError, TypeError):
        return None


def save(name: str, root: Path, train: bool, files: Iterable[Path], part: Decoded) -> None:
    """Keep a part of a dataset, which was read from these files below `root`."""
    try:
        signature = _signature(root, [str(file.relative_to(root)) for file in files])
        kept = {"files": signature, **dataclasses.asdict(part)}
        write_atomic(_place(name, root, train), lambda file: torch.save(kept, file))
    except OSError as error:
        log.debug("%s is not kept as tensors: %s", name, error)


def _place(name: str, root: Path, train: bool) -> Path:
    digest = hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:16]
    return cache_dir() / "datasets" / f"{name}-{'train' if train else 'test'}-{digest}.pt"


def _signature(root: Path, files: Iterable[str]) -> dict[str, list[int]]:
    stats = {file: (root / file).stat() for file in files}
    return {file: [stat.st_size, stat.st_mtime_ns] for file, stat in stats.items()}
