"""Locks: on a file or a server for the length of a block, on a file for that of a life."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from hydra_budget_sweeper.storage_url import on_server
from hydra_budget_sweeper.study.place import WORKERS, StudyPlace, server_lock

# What this process holds. To open such a file and close it again would let go of its lock.
_HELD: set[tuple[int, Path]] = set()


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock on `path` for the length of the block; wait for it if need be."""
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # Closing is not enough: a child forked meanwhile has the file open, too.
            fcntl.flock(file, fcntl.LOCK_UN)


def claim_lock(place: StudyPlace) -> AbstractContextManager[None]:
    """Hold what all workers of a study share: a server's own lock, else one on a file of the folder."""
    if place.storage is not None and on_server(place.storage):
        return server_lock(place.storage, place.name)
    return exclusive(place.folder / WORKERS / "claim.lock")


class LockedError(Exception):
    """Somebody who lives holds the lock."""


class LifeLock:
    """A lock that is held until `release` or the end of this process, not of one it forks.

    Raises:
        LockedError: Another process holds it, or another part of this one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        if is_mine(self.path):
            raise LockedError(path)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            # A POSIX lock: flock's would pass to a forked child and live on in it.
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            if isinstance(error, BlockingIOError | PermissionError):
                raise LockedError(path) from None
            raise
        _HELD.add((os.getpid(), self.path))

    def write(self, text: bytes) -> None:
        """Put `text`, as long as the one before it, at the file's start, and on the disk."""
        os.pwrite(self._file, text, 0)
        os.fsync(self._file)  # or another machine sees it whenever the file system likes

    def release(self) -> None:
        _HELD.discard((os.getpid(), self.path))
        os.close(self._file)


def is_mine(path: Path) -> bool:
    """Return whether this very process holds the life lock on `path`."""
    return (os.getpid(), path.absolute()) in _HELD


def is_locked(path: Path) -> bool:
    """Return whether another process holds the life lock on `path`."""
    try:
        with open(path, "r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
