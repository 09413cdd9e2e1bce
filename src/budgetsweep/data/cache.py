"""What was decoded once, kept in the user's cache folder as tensors.

What is kept counts as long as the files that it was made from have the sizes and times of change that
they had.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from budgetsweep import tensors
from budgetsweep.errors import UserError
from budgetsweep.files import cache_dir

log = logging.getLogger(__name__)


def place(name: str, *what: object) -> Path:
    """Where the tensors of `what` are kept: the same for the same, whichever process asks."""
    digest = hashlib.sha256("\n".join(map(repr, what)).encode()).hexdigest()[:16]
    return cache_dir() / "datasets" / f"{name}-{digest}.pt"


def load(path: Path, unchanged: Callable[[Any], bool]) -> dict[str, Any] | None:
    """What is kept at a place, if what it was made from is unchanged; else None."""
    try:
        # Mapped, not read: the workers of a sweep share the memory.
        kept: dict[str, Any] = tensors.load(path, mmap=True)
        return kept if unchanged(kept.pop("files")) else None
    except (
        UserError,
        OSError,
        AttributeError,
        KeyError,
        TypeError,
    ):  # damaged, of another program, gone
        return None


def save(path: Path, files: Any, **content: Any) -> None:
    """Keep tensors, with what tells of a change in the files that they were made from."""
    try:
        tensors.save(path, {"files": files, **content})
    except OSError as error:
        log.debug("%s is not kept: %s", path, error)


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """One process makes what is to be kept there, others wait; the lock dies with its process."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock").open("w")
    except OSError:  # without a cache each makes its own
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
