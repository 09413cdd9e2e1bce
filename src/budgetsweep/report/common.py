"""What the trials of a sweep have in common, so that they can be compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from budgetsweep.report.collect import Sweep, Trial
from budgetsweep.report.words import count

FEWEST = 10  # trials that a statement about parameters rests on
MOST = 1_000  # of more, as many are taken evenly from the best to the worst


@dataclass(frozen=True)
class Common:
    """Trials with a value of one kind each, and the parameters that all of them have."""

    trials: Sequence[Trial]
    values: Sequence[float]
    name: str  # of the values, such as `validation loss at step 45`
    names: Sequence[str]  # of parameters that took more than one value
    n: str  # how many, in words


def common(sweep: Sweep) -> Common | None:
    """The trials that importances and parallel coordinates rest on; None if these are too few."""
    values, name = comparable(sweep)
    trials = [t for t in sweep.trials if t.told.number in values]
    names = searched(trials)
    if len(trials) < FEWEST or len(names) < 2:
        return None
    n = count(len(trials), "trained trial")
    if len(trials) > MOST:
        trials.sort(key=lambda t: values[t.told.number])
        trials = [trials[round(i * (len(trials) - 1) / (MOST - 1))] for i in range(MOST)]
        n = f"{MOST:,} of {n}, evenly from the best to the worst"
    return Common(trials, [values[t.told.number] for t in trials], name, names, n)


def comparable(sweep: Sweep) -> tuple[dict[int, float], str]:
    """Values that can be compared, by trial number, and what they are.

    A pruned trial's value is of another time than a complete one's: where some were pruned, all
    are taken at the last step that each of them reported.
    """
    name = sweep.objectives[0]
    complete = {t.told.number: t.value for t in sweep.of("complete") if t.value is not None}
    trained = [t for t in sweep.of("complete", "pruned") if t.told.reports]
    if sweep.of("pruned") and trained:
        common = set.intersection(*(set(t.told.reports) for t in trained))
        if common:
            step = max(common)
            at = {t.told.number: t.told.reports[step] for t in trained}
            return {n: v for n, v in at.items() if math.isfinite(v)}, f"{name} at step {step}"
    return complete, name


def searched(trials: Sequence[Trial]) -> list[str]:
    """Parameters that all of these trials have and that took more than one value."""
    if not trials:
        return []
    shared = [n for n in trials[0].told.params if all(n in t.told.params for t in trials)]
    return [n for n in shared if len({repr(t.told.params[n]) for t in trials}) > 1]
