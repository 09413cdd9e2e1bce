"""Signals that become exceptions, but only where an exception does no harm.

A signal in the middle of a write to the study would leave half of it in memory, and one between a
task's end and its record would lose a result. So a worker lets signals through while the task
itself runs, and keeps them for the next such moment otherwise.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """What one worker does about signals: nothing until `let_through`."""

    def __init__(self) -> None:
        self._open = False
        self._thread = threading.get_ident()
        self._pending: BaseException | None = None
        self._raised: BaseException | None = None

    @contextmanager
    def handle(self, *signals: signal.Signals) -> Iterator[None]:
        """Take `signals` as Ctrl-C; only a main thread can, another leaves them as they are."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.signal(s, self._ring) for s in signals}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def deliver(self, error: BaseException) -> None:
        """Raise `error` now, or as soon as that is harmless."""
        if self._open:
            self._raised = error
            raise error
        self._pending = error

    def forget(self, kind: type[BaseException]) -> None:
        """Drop a pending exception whose reason is gone."""
        if isinstance(self._pending, kind):
            self._pending = None

    @contextmanager
    def let_through(self, open_: bool = True) -> Iterator[None]:
        """Raise what is pending, then whatever comes up to the end of the block.

        A thread that the task has started has no part in it: signals are the main thread's.
        """
        if threading.get_ident() != self._thread:
            yield
            return
        before, self._open = self._open, open_
        try:
            if open_:
                self._raised = None
                self.check()
            yield
        finally:
            self._open = before
        if before and not open_:
            self.check()

    def insist(self) -> None:
        """Raise again what the task was interrupted by, if it took that for itself.

        Lightning answers Ctrl-C by `sys.exit(1)`, other frameworks by returning what they have.
        """
        if self._raised is not None:
            error, self._raised = self._raised, None
            raise error

    def check(self) -> None:
        if self._pending is not None:
            error, self._pending = self._pending, None
            raise error

    def _ring(self, _signal: int, _frame: FrameType | None) -> None:
        self.deliver(KeyboardInterrupt())


class Requeue(KeyboardInterrupt):
    """The scheduler takes this process's machine away, and will start its job again."""


@contextmanager
def put_off_requeue(interrupts: Interrupts) -> Iterator[None]:
    """Keep a scheduler's notice of a time limit or preemption from submitit until the block's end.

    submitit's own handler queues the job again and ends the process, wherever that is: in a task
    that would be a failure, in a write to the study half of it. So the worker first gives its trial
    back, by `Requeue`. Where nothing has been raised up to the block's end, the job is done.
    """
    notice = getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}", None)
    handler = signal.getsignal(notice) if notice and "SUBMITIT_EXECUTOR" in os.environ else None
    if notice is None or not callable(handler):
        yield
        return
    signal.signal(notice, lambda _signal, _frame: interrupts.deliver(Requeue()))
    try:
        yield
    except Requeue:
        handler(notice, None)
        raise
    finally:
        signal.signal(notice, handler)


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Let SIGTERM (a scheduler's, a shutdown's) end the block as cleanly as Ctrl-C."""
    sweeper = os.getpid()

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        if os.getpid() != sweeper:
            # A forked child has the handler, too, and is just told to end.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
