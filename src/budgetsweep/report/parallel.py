"""Parallel coordinates of the complete trials.

Optuna's own figure needs WebGL and draws dark lines that vanish on a dark page; this one is plain
lines, in colours for both.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from budgetsweep.report import figures
from budgetsweep.report.collect import Sweep
from budgetsweep.report.words import number

_WORST, _BEST = (120, 135, 160), (240, 140, 10)


def parallel_figure(sweep: Sweep) -> go.Figure:
    """One line a trial across the searched parameters and the objective, the best drawn last."""
    trials = [t for t in sweep.of("complete") if t.value is not None]
    names = figures.searched(sweep)
    short = figures.short_names(names)
    columns = [[t.params.get(n) for t in trials] for n in names]
    columns.append([t.value for t in trials])
    places = [heights(column) for column in columns]
    order = sorted(range(len(trials)), key=lambda i: trials[i].value or 0.0)
    best_first = order if sweep.directions[0] == "minimize" else order[::-1]
    labels = [*short.values(), figures.objective_name(sweep)]
    figure = go.Figure()
    for rank, i in reversed(list(enumerate(best_first))):
        # By place among the trials, as one very bad value would leave the others alike.
        share = 1 - rank / max(1, len(trials) - 1)
        values = "<br>".join(
            figures.plain(f"{label} = {number(column[i])}")
            for label, column in zip(labels, columns, strict=True)
        )
        figure.add_scatter(
            x=list(range(len(labels))), y=[place[i] for place in places], mode="lines+markers",
            line={"color": _color(share), "width": 3.5 if rank == 0 else 1.4},
            marker={"size": 5}, showlegend=False, opacity=1 if rank == 0 else 0.75,
            hovertemplate=f"trial {trials[i].number}<br>{values}<extra></extra>",
        )  # fmt: skip
    _ends(figure, columns)
    figure.update_xaxes(
        tickvals=list(range(len(labels))), ticktext=[figures.plain(n) for n in labels],
        range=[-0.3, len(labels) - 0.7], automargin=True, autotickangles=[0, -45],
        ticklabeloverflow="allow",
    )  # fmt: skip
    figure.update_yaxes(visible=False, range=[-0.12, 1.12])
    figure.update_layout(height=440)
    return figure


def heights(column: Sequence[Any]) -> list[float | None]:
    """Each value's place between the lowest (0) and the highest (1); words in order of name."""
    known = [v for v in column if v is not None]
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in known):
        low, high = min(known), max(known)
        width = (high - low) or 1
        return [None if v is None else (v - low) / width for v in column]
    ordered = sorted({str(v) for v in column})
    return [bisect.bisect_left(ordered, str(v)) / max(1, len(ordered) - 1) for v in column]


def _ends(figure: go.Figure, columns: Sequence[Sequence[Any]]) -> None:
    """Write the lowest and highest value at the ends of each column."""
    for x, column in enumerate(columns):
        marks = {p: v for p, v in zip(heights(column), column, strict=True) if p is not None}
        for place in (0.0, 1.0):
            if place in marks:
                figure.add_annotation(
                    x=x, y=place, text=figures.plain(number(marks[place]) or "null"),
                    showarrow=False, yshift=14 if place else -14,
                )  # fmt: skip


def _color(share: float) -> str:
    mixed = (round(w + share * (b - w)) for w, b in zip(_WORST, _BEST, strict=True))
    return f"rgb({','.join(map(str, mixed))})"
