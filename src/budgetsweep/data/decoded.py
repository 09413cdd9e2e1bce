"""A part of one of torchvision's datasets, kept once it has been read.

torchvision takes longer to import than torch itself, and most starts need it only to read what an
earlier one has read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from budgetsweep.data import cache


@dataclass(frozen=True)
class Decoded:
    """The part to train on or the one to test on."""

    images: Tensor  # (N, C, H, W) uint8
    labels: Tensor  # (N,) int64
    class_names: list[str]

    @classmethod
    def kept(cls, name: str, root: Path, train: bool) -> Decoded | None:
        """What is kept of a part; None where nothing is, or the files have changed."""
        place = cache.place(name, root.absolute(), train)
        kept = cache.load(place, lambda files: _signature(root, files) == files)
        return cls(**kept) if kept else None

    def keep(self, name: str, root: Path, train: bool, files: Iterable[Path]) -> None:
        """Keep it for the next start; it was read from these files below `root`."""
        signature = _signature(root, [str(file.relative_to(root)) for file in files])
        cache.save(cache.place(name, root.absolute(), train), signature, **dataclasses.asdict(self))


def _signature(root: Path, files: Iterable[str]) -> dict[str, list[int]]:
    stats = {file: (root / file).stat() for file in files}
    return {file: [stat.st_size, stat.st_mtime_ns] for file, stat in stats.items()}
