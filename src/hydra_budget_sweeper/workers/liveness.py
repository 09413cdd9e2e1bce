"""Who is alive: sweeper and workers, across processes and machines, whatever the clocks say.

Each process holds a lock on a file of its own for as long as it lives; the kernel lets go of it
at the process's end, however that comes, and a process number that is used again cannot be
mistaken for it. Between machines, where such locks are not to be relied on, the file also counts
beats, and a count that stands still for the lease means death: only the watcher's own monotonic
clock is asked. Where a server has the study, the beats are in it, too, for who does not see the folder.
"""

import json
import logging
import os
import socket
import time
import uuid
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from optuna.exceptions import OptunaError

from hydra_budget_sweeper.study.store import StudyStore
from hydra_budget_sweeper.workers.locks import LifeLock, is_locked, is_mine

log = logging.getLogger(__name__)

# Written over the one before it, at no more room on a disk that may have become full.
_SIGN_LENGTH = 127
_BEATS = "budget_sweep:beats:"  # begins the attributes of a study that are signs of life


class Presence:
    """The sign of life of this process, from now until `leave` or its end.

    Args:
        folder: Where it is; None: others do not see the folder from their machines.
        role: Begins its name.
        store: The study, where there are others who do not see the folder.
    """

    def __init__(self, folder: Path | None, role: str, store: StudyStore | None = None) -> None:
        self.name = f"{role}-{uuid.uuid4().hex[:12]}"
        self._lock = LifeLock(_path(folder, self.name)) if folder is not None else None
        self._store = store
        self._beats = 0
        self._left = False
        self.beat()

    def beat(self) -> None:
        """Count on; a disk that is full costs this sign of life, not the process."""
        self._beats += 1
        sign = json.dumps({"host": _machine(), "pid": os.getpid(), "beats": self._beats})
        try:
            if self._lock is not None:
                self._lock.write(sign.ljust(_SIGN_LENGTH).encode() + b"\n")
            if self._store is not None:
                self._store.set_attribute(_BEATS + self.name, sign)
        except (OSError, OptunaError) as error:
            log.warning("Cannot write a sign of life of %s: %s", self.name, error)

    def leave(self) -> None:
        """Take the sign away, once; later calls change nothing."""
        if self._left:
            return
        self._left = True
        try:
            if self._store is not None:
                self._store.set_attribute(_BEATS + self.name, None)
            if self._lock is not None:
                self._lock.path.unlink(missing_ok=True)
        except (OSError, OptunaError) as error:
            log.warning("Cannot take back the sign of life of %s: %s", self.name, error)
        if self._lock is not None:
            self._lock.release()


class Watch:
    """Looks after the presences in `folder`, else in the study.

    Args:
        folder: Where the signs of life are.
        lease: Seconds after which a sign from elsewhere that stands still means death.
        still: Signs that another watch has seen stand still for so long, by name.
        store: The study, if there are signs in it.
    """

    def __init__(
        self,
        folder: Path,
        lease: float,
        still: Mapping[str, str] | None = None,
        store: StudyStore | None = None,
    ) -> None:
        self._folder = folder
        self._lease = lease
        self._store = store
        self._seen = {name: (sign, -float("inf")) for name, sign in (still or {}).items()}

    def still(self) -> dict[str, str]:
        """Return the signs that have stood still for the lease, for another watch."""
        now = time.monotonic()
        return {n: sign for n, (sign, since) in self._seen.items() if now - since >= self._lease}

    def is_alive(self, name: str) -> bool:
        path = _path(self._folder, name)
        if is_mine(path):
            return True
        try:
            sign = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            said = self._store.attribute(_BEATS + name) if self._store is not None else None
            return said is not None and self._moves(name, said)
        except OSError:
            sign = self._seen.get(name, ("", 0.0))[0]  # unreadable just now: as long as its lease
        if not sign.strip() or f'"{_machine()}"' in sign:
            locked = is_locked(path)
            if locked or sign.strip():
                return locked
        return self._moves(name, sign)

    def _moves(self, name: str, sign: str) -> bool:
        """Whether a sign is another than the last time, or was not long ago."""
        now = time.monotonic()
        last, since = self._seen.setdefault(name, (sign, now))
        if last != sign:
            self._seen[name] = (sign, now)
            return True
        return now - since < self._lease

    def has_sign(self, name: str) -> bool:
        """Return whether there is a sign of life, new or old: who leaves in order takes it away."""
        return _path(self._folder, name).exists()

    def is_here(self, name: str) -> bool:
        """Return whether it is this very process."""
        return is_mine(_path(self._folder, name))


def _path(folder: Path, name: str) -> Path:
    return (folder / f"{name}.alive").absolute()


@cache
def _machine() -> str:
    """Name the machine whose kernel keeps the locks; containers share it, whatever their names."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{socket.gethostname()}-{uuid.getnode():x}"
