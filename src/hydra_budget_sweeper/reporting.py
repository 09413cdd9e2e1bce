"""What a task may call while it runs as a trial; does nothing outside a sweep."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

Reporter = Callable[[float, int], None]
Shower = Callable[[dict[str, Any]], None]

log = logging.getLogger(__name__)

_reporter: ContextVar[Reporter | None] = ContextVar("budget_sweeper_reporter", default=None)
_shower: ContextVar[Shower | None] = ContextVar("budget_sweeper_shower", default=None)
_n_trials = 0  # that run in this process


def report(value: float, step: int) -> None:
    """Tell the sweep the objective at `step`; a trial that is not worth finishing ends here.

    Call it once a step, with the quantity the task returns at its end. A step is how much training
    is done, counted from 1: pruners that halve compare it with their `min_resource`. It raises
    `optuna.TrialPruned` where the pruner gives the trial up: let it pass. Outside a sweep, and in a
    study with several objectives, it does nothing. A thread of the task's own is heard where it has the
    task's context (`contextvars.copy_context().run`).

    Args:
        value: The objective so far, in the direction of the study.
        step: A whole number that grows; a step reported before (a resumed trial) is kept.
    """
    if (reporter := _reporter.get()) is not None:
        reporter(value, step)
    elif _n_trials:
        _warn_of_thread("report")


def show(**values: float | str | None) -> None:
    """Tell the sweep what else there is to know of this trial: its size, its epoch, its accuracy.

    The terminal shows it while the trial runs, in the columns that `hydra.sweeper.columns` names; what
    was told last stays with the study, as user attributes of the trial. A call costs about a
    hundredth of a millisecond and leaves the study alone. Outside a sweep it does nothing.

    Args:
        values: By name: numbers, texts or None. A name that was told before gets its new value.
    """
    if (shower := _shower.get()) is not None:
        shower(values)
    elif _n_trials:
        _warn_of_thread("show")


@contextmanager
def reporting_to(reporter: Reporter, shower: Shower) -> Iterator[None]:
    """Send `report` and `show` calls of this thread there for the length of the block."""
    global _n_trials
    tokens = _reporter.set(reporter), _shower.set(shower)
    _n_trials += 1
    try:
        yield
    finally:
        _n_trials -= 1
        _reporter.reset(tokens[0])
        _shower.reset(tokens[1])


@cache  # once is enough
def _warn_of_thread(function: str) -> None:
    """A thread may outlive its trial, so that it is not guessed which one it speaks of."""
    log.warning(
        "%s() was called in a thread that belongs to no trial, and is not heard. Start the thread with "
        "the task's context: Thread(target=contextvars.copy_context().run, args=(function, ...))",
        function,
    )
