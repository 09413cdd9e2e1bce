"""The table of every proposal."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from budgetsweep.network.limits import in_words
from budgetsweep.report.collect import STATES, Sweep, Trial
from budgetsweep.report.costs import binding, cost, misses
from budgetsweep.report.drawing import short_names
from budgetsweep.report.page import Row, TrialTable, link
from budgetsweep.report.reference import reference
from budgetsweep.report.words import duration, number, percent


def table(sweep: Sweep, beside: Path) -> TrialTable:
    """Every proposal, the leaderboard's order first."""
    names = list(dict.fromkeys(name for t in sweep.trials for name in t.told.params))
    short, sized = short_names(names), [binding(sweep)]
    if in_words(sized[0]) in sweep.objectives:
        sized = []
    head = [
        "trial", "state", "rank", *sweep.objectives, "accuracy", *map(in_words, sized), "epochs",
        "time", *(short[n] for n in names), "remark",
    ]  # fmt: skip
    places = {trial.number: place for place, trial in enumerate(sweep.results.trials)}
    order = sorted(sweep.trials, key=lambda t: (t.told.rank is None, places[t.told.number]))
    rows = [_row(sweep, trial, names, sized, beside) for trial in order]
    return TrialTable(head, rows, [s for s in STATES if sweep.of(s)])


def _row(sweep: Sweep, trial: Trial, names: list[str], sized: list[str], beside: Path) -> Row:
    told, run = trial.told, trial.run
    epochs = run.rows[-1]["epoch"] if run and run.rows else None
    sizes = [cost(sweep, trial, name) for name in sized]
    values = [*told.values, *[None] * len(sweep.objectives)][: len(sweep.objectives)]
    cells = [
        (number(told.rank), told.rank),
        *((number(v), _key(v)) for v in values),
        (percent(trial.accuracy), trial.accuracy),
        *((number(size), size) for size in sizes),
        (number(epochs), epochs),
        (duration(told.seconds), told.seconds),
        *((parameter(trial, n), _key(told.params.get(n))) for n in names),
    ]
    where = link(told.number, trial.folder, beside)
    return Row(trial.state, trial is sweep.winner, where, cells, _remark(sweep, trial))


def _key(value: Any) -> Any:
    """What a cell is sorted by; None: by what it shows."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else None


def _remark(sweep: Sweep, trial: Trial) -> str:
    """What a person asks about a trial that was not trained to its end, and which one this is."""
    if trial.told.error:
        return trial.told.error
    if trial.told.duplicate_of is not None:
        return f"the same configuration as trial {trial.told.duplicate_of}"
    if over := misses(sweep, trial):
        return "; ".join(over)
    if trial is reference(sweep):
        return "the reference"
    return "enqueued" if trial.told.enqueued else ""


def parameter(trial: Trial, name: str) -> str:
    """A searched parameter's value; empty where the candidate has not got it, while null is a value."""
    if name not in trial.told.params:
        return ""
    value = trial.told.params[name]
    return "null" if value is None else number(value)
