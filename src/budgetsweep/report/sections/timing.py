"""Where the time went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from budgetsweep.report.collect import Run, Sweep
from budgetsweep.report.drawing import BLUE, GREEN, GREY, ORANGE, VIOLET, axes
from budgetsweep.report.page import Block, Plot, text
from budgetsweep.report.words import duration

_COLORS = {
    "training": BLUE,
    "evaluating": GREEN,
    "setting up": VIOLET,
    "other": ORANGE,
    "between trials": GREY,
}
_NOTES = {
    "other": "Other is loading PyTorch, checkpoints, logs, and a pruned trial's evaluation and set-up.",
    "between trials": "Between trials: starting workers, choosing and checking candidates.",
}


def of_run(run: Run) -> dict[str, float]:
    """Seconds of one run by what they went to."""
    keys = {"training": "train", "evaluating": "evaluate", "setting up": "setup"}
    found = {name: run.summary.get(f"{key}_seconds") for name, key in keys.items()}
    if found["training"] is None and run.rows:
        found["training"] = run.rows[-1].get("seconds")
    return {name: float(seconds) for name, seconds in found.items() if seconds is not None}


def of_runs(runs: Sequence[Run]) -> dict[str, float]:
    """Seconds of several runs together."""
    total = Counter[str]()
    for run in runs:
        total.update(of_run(run))
    return dict(total)


def of_sweep(sweep: Sweep) -> dict[str, float]:
    """Seconds of all workers together by what they went to.

    What a pruned trial spent beside training is under `other`, as it leaves no summary. The time
    between trials is known for a sweep that was started once.
    """
    total: dict[str, float] = {}
    busy = 0.0
    for trial in sweep.trials:
        spent = of_run(trial.run) if trial.run and trial.state != "duplicate" else {}
        if trial.told.seconds is not None:
            busy += trial.told.seconds
            spent["other"] = max(0.0, trial.told.seconds - sum(spent.values()))
        for name, seconds in spent.items():
            total[name] = total.get(name, 0.0) + seconds
    status = sweep.results.status
    wall = status.get("seconds", 0) * status.get("workers", 1)
    if wall > busy > 0:
        total["between trials"] = wall - busy
    return {name: total[name] for name in _COLORS if total.get(name, 0) > 0}


def figure(seconds: Mapping[str, float]) -> go.Figure:
    """One bar, cut by what the time went to."""
    drawn = go.Figure()
    for name, value in seconds.items():
        drawn.add_bar(
            x=[value], y=[""], name=name, orientation="h", marker_color=_COLORS[name],
            hovertemplate=f"{name}: %{{x:,.1f}} s<extra></extra>",
        )  # fmt: skip
    axes(drawn, "seconds", "")
    drawn.update_yaxes(showgrid=False)
    drawn.update_layout(barmode="stack", height=200, legend_traceorder="normal")
    return drawn


def block(seconds: Mapping[str, float]) -> Block:
    """One bar, and each part in words."""
    if not seconds:
        return text("Nothing was timed yet.")
    total = sum(seconds.values()) or 1
    parts = [f"{name} {duration(s)} ({100 * s / total:.0f} %)" for name, s in seconds.items()]
    words = [
        f"{', '.join(parts).capitalize()}.",
        *(n for key, n in _NOTES.items() if key in seconds),
    ]
    return Plot("time", figure(seconds), " ".join(words))
