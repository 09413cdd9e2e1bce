"""Who is alive: sweeper and workers, across processes and machines, whatever the clocks say.

Each process holds a lock on a file of its own for as long as it lives; the kernel lets go of it
at the process's end, however that comes, and a process number that is used again cannot be
mistaken for it. Between machines, where such locks are not to be relied on, the file also counts
beats, and a count that stands still for the lease means death: only the watcher's own monotonic
clock is asked.
"""

import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_HERE: set[tuple[int, str]] = set()


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock on `path` for the length of the block; wait for it if need be."""
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def try_exclusive(path: Path) -> IO[bytes] | None:
    """Take the lock on `path` for as long as the returned file is open; None if it is held."""
    file = open(path, "ab")  # noqa: SIM115 - the caller keeps it open
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


class Presence:
    """The sign of life of this process in `folder`, from now until `leave` or its end."""

    def __init__(self, folder: Path, role: str) -> None:
        self.name = f"{role}-{uuid.uuid4().hex[:12]}"
        self._path = folder / f"{self.name}.alive"
        self._beats = 0
        self._file = open(self._path, "w+", encoding="utf-8")  # noqa: SIM115
        # A POSIX lock, unlike flock, does not pass to forked children that outlive the process.
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        _HERE.add((os.getpid(), self.name))
        self.beat()

    def beat(self) -> None:
        self._beats += 1
        self._file.seek(0)
        sign = {"host": socket.gethostname(), "pid": os.getpid(), "beats": self._beats}
        self._file.write(json.dumps(sign) + "\n")
        self._file.truncate()
        self._file.flush()

    def leave(self) -> None:
        _HERE.discard((os.getpid(), self.name))
        self._path.unlink(missing_ok=True)
        self._file.close()


class Watch:
    """Looks after the presences in `folder`."""

    def __init__(self, folder: Path, lease: float) -> None:
        self._folder = folder
        self._lease = lease
        self._seen: dict[str, tuple[str, float]] = {}

    def is_alive(self, name: str) -> bool:
        if (os.getpid(), name) in _HERE:
            return True  # opening our own lock file would let go of the lock
        path = self._folder / f"{name}.alive"
        try:
            sign = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return False
        if f'"{socket.gethostname()}"' in sign:
            return _is_locked(path)
        now = time.monotonic()
        last, since = self._seen.setdefault(name, (sign, now))
        if last != sign:
            self._seen[name] = (sign, now)
            return True
        return now - since < self._lease

    def was_killed(self, name: str) -> bool:
        """Return whether a process that is gone went without leaving properly."""
        return (self._folder / f"{name}.alive").exists()


def _is_locked(path: Path) -> bool:
    try:
        with open(path, "r+", encoding="utf-8") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
