"""What all runs below one folder, a sweep's or a comparison's, have in common.

The first of them decides, and leaves it in a file there, where the others find it.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from budgetsweep.folders import FORMAT


def share(folder: Path) -> None:
    """Let all runs in folders below this one compute alike and see the same images."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FORMAT).touch()


def shared_by(folder: Path | None) -> Path | None:
    """The nearest folder above a run's that `share` was called on."""
    above = folder.absolute().parents if folder else []
    return next((parent for parent in above if (parent / FORMAT).is_file()), None)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time reads a file and decides what it lacks; others wait meanwhile."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # where nothing can be written, nothing is kept
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = path.with_name(f".{path.name}.lock")
            fcntl.flock(stack.enter_context(open(lock, "ab")), fcntl.LOCK_EX)
        yield
