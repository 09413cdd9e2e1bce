"""The study's file: Optuna's journal format, with a lock and a tail that survive kill -9.

Optuna's own journal lock is a file: a process that is killed while it holds it stalls every other
for the grace period (30 s). Here the lock is `flock` on an open file, which the kernel releases
with the process. And a line cut short (by a kill or a full disk) makes the journal unreadable once
another is appended to it, so every append first looks at the last byte and drops what is broken.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

_FINISHED = {1, 2, 3}  # COMPLETE, PRUNED, FAIL


class SweepJournal(JournalFileBackend):
    """Optuna's journal file; any tool that reads Optuna journals can open it."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        with self._locked() as file:
            _drop_broken_tail(file)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with self._locked() as file:
            _drop_cut_line(file)
            file.write(lines.encode())
            file.flush()
            # A killed process loses nothing that was written; only a power cut needs the disk to
            # be waited for, and only results are worth the wait.
            if any(log.get("state") in _FINISHED for log in logs):
                os.fsync(file.fileno())

    @contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        with open(self._file_path, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0, os.SEEK_END)
            yield file
            # Closing the file lets go of the lock.


def journal_storage(path: Path) -> JournalStorage:
    """Open the journal at `path`, made if need be, its tail mended."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(SweepJournal(path))


def _drop_cut_line(file: BinaryIO) -> None:
    size = file.tell()
    if size == 0:
        return
    file.seek(-1, os.SEEK_END)
    if file.read(1) != b"\n":
        file.truncate(_end_of_line_before(file, size))
    file.seek(0, os.SEEK_END)


def _drop_broken_tail(file: BinaryIO) -> None:
    """Drop lines at the end that are cut short or, after a power cut, not JSON."""
    _drop_cut_line(file)
    while size := file.tell():
        start = _end_of_line_before(file, size - 1)
        file.seek(start)
        try:
            json.loads(file.read())
        except ValueError:
            file.truncate(start)
            file.seek(0, os.SEEK_END)
        else:
            return


def _end_of_line_before(file: BinaryIO, position: int) -> int:
    while position > 0:
        start = max(0, position - 65536)
        file.seek(start)
        found = file.read(position - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0
