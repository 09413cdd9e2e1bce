"""What a worker does beside its work: it gives signs of life, and looks for its sweeper's."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra_budget_sweeper.workers.liveness import Presence, Watch

_WATCH_SECONDS = 0.5

# By process, for threads do not pass to a forked child.
_watched: set[tuple[int, str]] = set()
_working: set[tuple[int, str]] = set()


@contextmanager
def heartbeat(presence: Presence, seconds: float) -> Iterator[None]:
    """Give a sign of life every `seconds` until the block ends."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(seconds):
            presence.beat()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def end_with_sweeper(folder: Path, sweeper: str) -> Iterator[None]:
    """End this process if the sweeper is gone, in the block, or by a kill after it.

    A pool's idle process would outlive a killed sweeper, which cannot call its workers back; a
    new start takes their trials up again. Elsewhere than on the sweeper's machine a worker
    outlives it, and finishes its trial.
    """
    me = (os.getpid(), sweeper)
    _working.add(me)
    if me not in _watched and not Watch(folder, float("inf")).is_here(sweeper):
        _watched.add(me)
        threading.Thread(target=_watch, args=(folder, sweeper), daemon=True).start()
    try:
        yield
    finally:
        _working.discard(me)


def _watch(folder: Path, sweeper: str) -> None:
    watch = Watch(folder, float("inf"))
    while watch.is_alive(sweeper):
        time.sleep(_WATCH_SECONDS)
    if (os.getpid(), sweeper) in _working or watch.has_sign(sweeper):
        os._exit(1)
