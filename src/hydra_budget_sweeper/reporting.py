"""What a task may call while it runs as a trial; does nothing outside a sweep."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Reporter = Callable[[float, int], None]

_reporter: ContextVar[Reporter | None] = ContextVar("budget_sweeper_reporter", default=None)


def report(value: float, step: int) -> None:
    """Tell the sweep the objective at `step`; a trial that is not worth finishing ends here.

    Call it once a step, with the quantity the task returns at its end. A step is how much training
    is done, counted from 1: pruners that halve compare it with their `min_resource`. It raises
    `optuna.TrialPruned` where the pruner gives the trial up: let it pass. Outside a sweep, and in a
    study with several objectives, it does nothing.

    Args:
        value: The objective so far, in the direction of the study.
        step: A whole number that grows; a step reported before (a resumed trial) is kept.
    """
    if (reporter := _reporter.get()) is not None:
        reporter(value, step)


@contextmanager
def reporting_to(reporter: Reporter) -> Iterator[None]:
    """Send `report` calls of this thread to `reporter` for the length of the block."""
    token = _reporter.set(reporter)
    try:
        yield
    finally:
        _reporter.reset(token)
