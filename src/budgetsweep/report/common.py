"""What the trials of a sweep have in common, as a study that Optuna's pictures can be made of."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.study import StudyDirection

from budgetsweep.report.collect import Sweep, Trial
from budgetsweep.report.drawing import plain, short_names
from budgetsweep.report.words import count

FEWEST = 10  # trials that a statement about parameters rests on
MOST = 1_000  # of more, as many are taken evenly from the best to the worst
_WIDE = 30  # times the lowest value from which a range is looked at by its logarithm


@dataclass(frozen=True)
class Common:
    """Trials with a value of one kind each, and the parameters that all of them have."""

    trials: Sequence[Trial]  # from the worst to the best
    values: Sequence[float]
    name: str  # of the values, such as `validation loss at step 45`
    names: Sequence[str]  # of parameters that took more than one value
    n: str  # how many, in words
    direction: str  # minimize or maximize

    @cached_property
    def study(self) -> optuna.Study:
        """In memory, its parameters by their short names."""
        short = short_names(self.names)
        columns = {plain(short[n]): _column([t.told.params[n] for t in self.trials]) for n in short}
        spaces = {name: _distribution(column) for name, column in columns.items()}
        with quiet():
            study = optuna.create_study(direction=StudyDirection[self.direction.upper()])
            for i, value in enumerate(self.values):
                params = {name: column[i] for name, column in columns.items()}
                trial = optuna.trial.create_trial(params=params, distributions=spaces, value=value)
                study.add_trial(trial)
        return study


def common(sweep: Sweep) -> Common | None:
    """The trials that importances and parallel coordinates rest on; None if these are too few."""
    values, name = comparable(sweep)
    trials = [t for t in sweep.trials if t.told.number in values]
    names = searched(trials)
    if len(trials) < FEWEST or len(names) < 2:
        return None
    n = count(len(trials), "trained trial")
    direction = sweep.results.directions[0]
    sign = -1 if direction == "minimize" else 1
    trials.sort(key=lambda t: sign * values[t.told.number])
    if len(trials) > MOST:
        trials = [trials[round(i * (len(trials) - 1) / (MOST - 1))] for i in range(MOST)]
        n = f"{MOST:,} of {n}, evenly from the worst to the best"
    return Common(trials, [values[t.told.number] for t in trials], name, names, n, direction)


def comparable(sweep: Sweep) -> tuple[dict[int, float], str]:
    """Values that can be compared, by trial number, and what they are.

    A pruned trial's value is of another time than a complete one's: where some were pruned, all
    are taken at the last step that each of them reported.
    """
    name = sweep.objectives[0]
    complete = {t.told.number: t.value for t in sweep.of("complete") if t.value is not None}
    trained = [t for t in sweep.of("complete", "pruned") if t.told.reports]
    if sweep.of("pruned") and trained:
        shared = set.intersection(*(set(t.told.reports) for t in trained))
        if shared:
            step = max(shared)
            at = {t.told.number: t.told.reports[step] for t in trained}
            return {n: v for n, v in at.items() if math.isfinite(v)}, f"{name} at step {step}"
    return complete, name


def searched(trials: Sequence[Trial]) -> list[str]:
    """Parameters that all of these trials have and that took more than one value."""
    if not trials:
        return []
    shared = [n for n in trials[0].told.params if all(n in t.told.params for t in trials)]
    return [n for n in shared if len({repr(t.told.params[n]) for t in trials}) > 1]


def _column(values: list[Any]) -> list[Any]:
    """All numbers, or all words: numbers beside words are words."""
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return [float(v) for v in values]
    return [str(v) for v in values]


def _distribution(column: list[Any]) -> BaseDistribution:
    """A space that holds what was tried."""
    if isinstance(column[0], str):
        return CategoricalDistribution(sorted(set(column)))
    low, high = min(column), max(column)
    return FloatDistribution(low, high, log=0 < _WIDE * low < high)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Optuna without its log lines and hints, which are about calls a person did not make."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)
