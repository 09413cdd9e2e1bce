"""The table of all trials: sorted and filtered in the page, linked to their folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from budgetsweep.report import facts, figures
from budgetsweep.report.collect import Sweep, Trial
from budgetsweep.report.page import Section, escape
from budgetsweep.report.words import duration, number, percent

_STATES = ("complete", "pruned", "over budget", "failed", "duplicate", "running")


def section(sweep: Sweep, beside: Path) -> Section:
    """The table; links are relative to `beside`, the folder of the page."""
    names = list(dict.fromkeys(name for t in sweep.trials for name in t.params))
    short = figures.short_names(names)
    head = ["trial", "rank", "state", "objective", "accuracy", "parameters", "epochs", "time"]
    headings = "".join(
        f'<th scope="col"><button type="button">{escape(h)}</button></th>'
        for h in [*head, *(short[n] for n in names), "remark"]
    )
    order = sorted(sweep.trials, key=lambda t: (t.rank is None, t.rank or 0, t.number))
    rows = "".join(_row(sweep, trial, names, beside) for trial in order)
    states = "".join(f"<option>{s}</option>" for s in _STATES if sweep.of(s))
    return Section(
        "Trials",
        '<div class="filter"><input id="words" type="search" placeholder="filter, such as pruned" '
        'aria-label="Show trials that contain these words"><select id="state" '
        f'aria-label="State"><option value="">every state</option>{states}</select>'
        '<span id="shown" class="soft" role="status"></span></div>'
        f'<div class="wide"><table id="trial-table"><thead><tr>{headings}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>",
    )


def _row(sweep: Sweep, trial: Trial, names: list[str], beside: Path) -> str:
    epochs = trial.run.epochs[-1]["epoch"] if trial.run and trial.run.epochs else None
    size = facts.parameters(trial, facts.limit(sweep))
    cells = [
        _cell(trial.number, link(trial, beside)),
        _cell(trial.rank, number(trial.rank)),
        f'<td class="state-{trial.state.split()[0]}">{escape(trial.state)}</td>',
        _cell(trial.value, escape(", ".join(map(number, trial.values)))),
        _cell(trial.accuracy, percent(trial.accuracy)),
        _cell(size, number(size)),
        _cell(epochs, number(epochs)),
        _cell(trial.seconds, duration(trial.seconds)),
        *(_cell(_known(trial, n), escape(_shown(trial, n))) for n in names),
        f'<td class="text">{escape(remark(trial))}</td>',
    ]
    best = ' class="best"' if trial.rank == 1 else ""
    return f'<tr data-state="{escape(trial.state)}"{best}>{"".join(cells)}</tr>'


def link(trial: Trial, beside: Path) -> str:
    """The trial's number, linked to its folder if there is one."""
    if trial.run is None:
        return str(trial.number)
    address = quote(os.path.relpath(trial.run.folder, beside).replace(os.sep, "/"))
    return f'<a href="{escape(address)}/">{trial.number}</a>'


def remark(trial: Trial) -> str:
    """What a person asks about a trial that was not trained to its end."""
    if trial.error:
        return trial.error
    if trial.duplicate_of is not None:
        return f"the same configuration as trial {trial.duplicate_of}"
    over = {name: share for name, share in trial.violations.items() if share > 0}
    if "shape" in over:
        return "cannot be built: its feature map vanishes"
    return ", ".join(f"{100 * share:.0f} % too many {name}" for name, share in over.items())


def _known(trial: Trial, name: str) -> Any:
    return trial.params.get(name)


def _shown(trial: Trial, name: str) -> str:
    # An empty cell is a parameter the candidate has not; null is a value.
    if name not in trial.params:
        return ""
    value = trial.params[name]
    return "null" if value is None else number(value) if isinstance(value, float) else str(value)


def _cell(value: Any, shown: str) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f'<td class="n" data-sort="{value}">{shown}</td>'
    return f'<td class="n">{shown}</td>'
