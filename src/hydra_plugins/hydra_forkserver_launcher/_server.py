"""A server that has the imports done; the jobs' processes are forked from it.

Forked after the imports but before any work, a process has them without their time (seconds, for
torch) and shares their memory. The server does nothing else, so that a fork finds no thread half
way through something.
"""

import inspect
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

from hydra.errors import CompactHydraException
from hydra.types import TaskFunction

from .cores import available_cores

_GUARD = f"{__package__}._guard"


def start_server(n_jobs: int, preload: Sequence[str], task: TaskFunction) -> None:
    """Start the process that imports, if it does not run yet; return without waiting for it.

    Raises:
        CompactHydraException: The application has been started by the import of its script.
    """
    own = [getattr(f, "__module__", None) for f in (task, inspect.unwrap(task))]
    if "__mp_main__" in own:
        raise CompactHydraException(
            f"{sys.argv[0]} runs its application whenever it is imported, as each process of "
            'hydra/launcher=forkserver does. Put the call under `if __name__ == "__main__":`.'
        )
    # A main module is run anew in each process, under another name.
    modules = {*preload, f"{__package__}._job", *filter(None, own)} - {"__main__"}
    multiprocessing.set_forkserver_preload([*_guards(), *sorted(modules)])
    with _deaf_to_interrupts(), _share_of_cores(n_jobs):
        forkserver.ensure_running()


class JobProcess(ForkServerProcess):
    """A process for jobs, which ends with the one that launched them."""

    at_once = False

    def start(self) -> None:
        with _interrupts_put_off() if self.at_once else nullcontext():
            super().start()

    def run(self) -> None:
        if _GUARD not in sys.modules:
            threading.Thread(target=_end_with_launcher, daemon=True).start()
        super().run()


class JobContext(ForkServerContext):
    """Starts processes for one launch, and knows them."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[JobProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> JobProcess:  # type: ignore[override]
        process = JobProcess(*args, **kwargs)
        # A start that is broken off leaves a process that nobody knows, and that takes jobs. The
        # first one, though, may wait for the server's imports, and there are no jobs to take yet.
        process.at_once = bool(self.processes)
        self.processes.append(process)
        return process


def _guards() -> list[str]:
    # The kernel's word is of the thread that starts the server: only a main thread lasts.
    main_thread = threading.current_thread() is threading.main_thread()
    return [_GUARD] if sys.platform == "linux" and main_thread else []


def _end_with_launcher() -> None:
    if (launcher := multiprocessing.parent_process()) is not None:
        launcher.join()
        os._exit(1)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let Ctrl-C, which goes to all processes of a terminal, leave the server and jobs alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _interrupts_put_off() -> Iterator[None]:
    """Let a signal that ends or interrupts this process do so after the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    before = {
        s: signal.signal(s, lambda number, _: heard.append(number))
        for s in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        for number in heard:
            signal.raise_signal(number)


@contextmanager
def _share_of_cores(n_jobs: int) -> Iterator[None]:
    """Let numerical libraries in the processes use their share, unless the user has said."""
    name = "OMP_NUM_THREADS"
    if name in os.environ:
        yield
        return
    os.environ[name] = str(max(1, available_cores() // n_jobs))
    try:
        yield
    finally:
        del os.environ[name]
