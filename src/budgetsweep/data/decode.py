"""Image files as tensors: decoded on all cores, once, and kept."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from budgetsweep.data import cache
from budgetsweep.data.image_file import read_image, reason
from budgetsweep.data.image_folder import File, shown
from budgetsweep.errors import DataError
from hydra_plugins.hydra_forkserver_launcher.cores import available_cores

log = logging.getLogger(__name__)

_CHUNK = 64  # files a thread takes at a time
_LISTED = 20  # unreadable files named in one message
_GREY = {"1", "L", "LA", "La", "I", "F"}  # Pillow's modes, 16 bits apart


def decode(
    part: str, files: Sequence[File], others: Sequence[File], top: Path, channels: int, size: int
) -> Tensor:
    """Image files as (N, C, S, S) uint8; what was decoded before and has not changed is read back.

    Args:
        part: what is kept of the folder under a name of its own.
        files: are decoded.
        others: are only looked at, so that what cannot be read is told of now.
        top: the folder that they lie in.
        channels: 1 grey, 3 colour.
        size: side, pixels.

    Raises:
        DataError: files cannot be read as images; they are named.
    """
    digest = hashlib.sha256(repr([list(files), list(others)]).encode()).hexdigest()
    place = cache.place("image_folder", top.absolute(), part, channels, size)

    def kept() -> Tensor | None:
        found = cache.load(place, lambda files: bool(files == digest))
        return found["images"] if found else None

    if (images := kept()) is not None:
        return images
    with cache.one_at_a_time(place):
        if (images := kept()) is None:
            images = _decode(files, others, top, channels, size)
            cache.save(place, digest, images=images)
    return images


def _decode(
    files: Sequence[File], others: Sequence[File], top: Path, channels: int, size: int
) -> Tensor:
    log.info("reading %d images in %s", len(files), shown(top))
    images = torch.empty(len(files), channels, size, size, dtype=torch.uint8)

    def read(i: int) -> None:
        images[i] = read_image(files[i].path, channels, size)

    bad = _on_all_cores(read, len(files), files) + _on_all_cores(
        lambda i: _verify(others[i].path), len(others), others
    )
    if bad:
        lines = [f"  {shown(Path(path).relative_to(top))} ({why})" for path, why in bad[:_LISTED]]
        rest = [f"  and {len(bad) - _LISTED} more"] if len(bad) > _LISTED else []
        n = len(files) + len(others)
        head = f"{shown(top)}: {len(bad)} of the {n} files cannot be read as images:"
        raise DataError("\n".join([head, *lines, *rest, "Repair or remove them."]))
    return images


def _on_all_cores(
    read: Callable[[int], None], n: int, files: Sequence[File]
) -> list[tuple[str, str]]:
    """Path and reason of each file that cannot be read. Pillow decodes without Python's lock."""

    def read_chunk(start: int) -> list[tuple[str, str]]:
        bad = []
        for i in range(start, min(start + _CHUNK, n)):
            try:
                read(i)
            except DataError as error:
                bad.append((files[i].path, reason(error.__cause__)))
        return bad

    pool = ThreadPoolExecutor(available_cores())
    try:
        return [found for bad in pool.map(read_chunk, range(0, n, _CHUNK)) for found in bad]
    finally:
        pool.shutdown(cancel_futures=True)


def _verify(path: str) -> None:
    """Look for damage without decoding the pixels."""
    try:
        with Image.open(path) as image:
            image.verify()
    except Exception as error:  # decoders raise whatever they like
        raise DataError(path) from error


def holds_colour(file: File) -> bool:
    """Whether an image file has colour channels, by its head; no if it cannot be read."""
    try:
        with Image.open(file.path) as image:
            return not (image.mode in _GREY or image.mode.startswith("I;"))
    except Exception:  # `decode` tells of it
        return False
