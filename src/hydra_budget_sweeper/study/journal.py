"""The study's file: Optuna's journal format, with a lock and a tail that survive kill -9.

Optuna's own journal lock is a file: a process that is killed while it holds it stalls every other
for the grace period (30 s). Here the lock is `flock` on an open file, which the kernel releases
with the process. Other programs (optuna-dashboard, `optuna`) do not take it, so a line is only
ever appended, in one write, wherever the file then ends.

A line cut short (by a kill or a full disk) makes the journal unreadable once another is appended
to it, so every append first looks at the last byte and drops what is broken, and takes back its
own line where the disk has no room for all of it.
"""

import errno
import fcntl
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from optuna.exceptions import OptunaError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from hydra_budget_sweeper.errors import SweepError

# How long an append waits for room on a full disk, and how often it looks.
FULL_DISK_SECONDS = 120.0
_LOOK_SECONDS = 0.5

_FULL = {errno.ENOSPC, errno.EDQUOT}
_BEGINS = b'{"op_code":'  # each line of a journal
_FINISHED = {1, 2, 3}  # COMPLETE, PRUNED, FAIL


class SweepJournal(JournalFileBackend):
    """Optuna's journal file; any tool that reads Optuna journals can open it."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path
        self._patience = FULL_DISK_SECONDS
        with self._locked() as file:
            if _whole_length(file) < _length(file):
                _refuse_other(path, file)
                self._mend(file)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """Read what is new.

        Raises:
            SweepError: A line is not JSON, and others follow it; names the line.
        """
        try:
            yield from super().read_logs(log_number_from)
        except ValueError:
            raise SweepError(describe_broken_line(self.path)) from None

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append `logs`, all or nothing; wait for a while where the disk is full.

        Raises:
            SweepError: The disk stayed full.
        """
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        # A killed process loses nothing that was written; only a power cut needs the disk to
        # be waited for, and only results are worth the wait.
        to_disk = any(log.get("state") in _FINISHED for log in logs)
        # The lock is kept while waiting: whoever read the line already finds it in the same place.
        # The time for the lock counts: others may be waiting for room, one after the other.
        until = time.monotonic() + self._patience
        with self._locked() as file:
            if not _ends_with_newline(file):
                self._mend(file)
            self._wait_for_room(until, lambda: _append(file, lines.encode(), to_disk))

    def _wait_for_room(self, until: float, append: Callable[[], None]) -> None:
        told = False
        while True:
            try:
                append()
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                if time.monotonic() >= until:
                    self._patience = 0.0  # asked again, it says so at once
                    raise SweepError(
                        f"{self.path}: {error.strerror}, for {FULL_DISK_SECONDS:g} s. Make room; "
                        "then the same command on the same folder goes on."
                    ) from None
                if not told:
                    _say(f"{self.path}: {error.strerror}; waiting for room")
                    told = True
                time.sleep(_LOOK_SECONDS)
            else:
                self._patience = FULL_DISK_SECONDS
                return

    def _mend(self, file: BinaryIO) -> None:
        """Drop what is broken at the end, unless it is a line that another program still writes."""
        lock = JournalFileSymlinkLock(str(self.path))
        lock.acquire()
        try:
            file.truncate(_whole_length(file))
        finally:
            lock.release()

    @contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        with open(self.path, "a+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
            # Closing the file lets go of the lock.


def journal_storage(path: Path) -> JournalStorage:
    """Open the journal at `path`, made if need be, its tail mended.

    Raises:
        SweepError: The file is no journal, or a line of it is broken.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return JournalStorage(SweepJournal(path))
    except SweepError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, OptunaError) as error:
        raise SweepError(f"{path} cannot be read as a study: {error!r}") from None


def _say(text: str) -> None:
    # The log's files are most likely on the same disk.
    with suppress(OSError):
        os.write(sys.stderr.fileno(), f"{text}\n".encode())


def _append(file: BinaryIO, data: bytes, to_disk: bool) -> None:
    """Write all of `data` at the end, or leave the file as it was."""
    start = _length(file)
    written = 0
    try:
        while written < len(data):
            written += os.write(file.fileno(), data[written:])
        if to_disk:
            os.fsync(file.fileno())
    except OSError:
        if _length(file) == start + written:
            file.truncate(start)
        raise


def _length(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _ends_with_newline(file: BinaryIO) -> bool:
    if file.seek(0, os.SEEK_END) == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _refuse_other(path: Path, file: BinaryIO) -> None:
    """Keep a file of which no line is a journal's; a kill may leave the beginning of the first."""
    file.seek(0)
    begins = file.read(len(_BEGINS))
    if _whole_length(file) == 0 and not (begins and _BEGINS.startswith(begins)):
        raise SweepError(
            f"{path} cannot be read as a study: it is no journal. Put the study's own file back, or "
            "take another folder (hydra.sweep.dir)."
        )


def _whole_length(file: BinaryIO) -> int:
    """Return up to where the lines are whole and, as they may not be after a power cut, JSON."""
    file.seek(0)
    content = file.read()
    end = content.rfind(b"\n") + 1
    while end > 0:
        start = content.rfind(b"\n", 0, end - 1) + 1
        if is_json(content[start:end]):
            break
        end = start
    return end


def is_json(line: bytes) -> bool:
    """Return whether a line is whole."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def describe_broken_line(path: Path) -> str:
    """Name the first line that is broken, and the command that makes the rest readable."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not is_json(line):
                return (
                    f"{path}: line {number} is broken, so the study cannot be read: "
                    f"{line[:60]!r}. Another program or a failing disk left it. To go on without "
                    f"it: python -m hydra_budget_sweeper.mend_journal {shlex.quote(str(path))}"
                )
    return f"{path} was being written to; try again."
