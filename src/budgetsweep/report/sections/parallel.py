"""One line a trial across the searched parameters and its value.

Optuna's own picture of it needs WebGL and scripts made at run time, which the page's policy
refuses, and draws dark lines that vanish on a dark page.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from budgetsweep.report.common import Common
from budgetsweep.report.drawing import plain, short_names
from budgetsweep.report.page import Plot, Section
from budgetsweep.report.words import number

_WORST, _BEST, _BANDS = (120, 135, 160), (240, 140, 10), 6


def figure(common: Common, minimize: bool) -> go.Figure:
    """The lines, the best drawn last."""
    trials, values = common.trials, common.values
    columns: list[list[Any]] = [[t.told.params[n] for t in trials] for n in common.names]
    columns.append(list(values))
    places = [heights(column) for column in columns]
    labels = [*short_names(common.names).values(), common.name]
    worst_first = sorted(range(len(trials)), key=lambda i: values[i], reverse=minimize)
    drawn = go.Figure()
    for low, high in _bands(len(trials)):
        x, y, hover = list[int | None](), list[float | None](), list[str]()
        for i in worst_first[low:high]:
            told = "<br>".join(
                plain(f"{label} = {number(column[i])}")
                for label, column in zip(labels, columns, strict=True)
            )
            x += [*range(len(labels)), None]  # None ends a line
            y += [*(place[i] for place in places), None]
            hover += [f"trial {trials[i].told.number}<br>{told}"] * (len(labels) + 1)
        best = low == len(trials) - 1
        drawn.add_scatter(
            x=x, y=y, text=hover, mode="lines+markers", connectgaps=False,
            # By place among the trials, as one very bad value would leave the others alike.
            line={"color": _color((low + high) / 2 / len(trials)), "width": 3.5 if best else 1.4},
            marker={"size": 5}, showlegend=False, opacity=1 if best else 0.75,
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    _ends(drawn, columns)
    drawn.update_xaxes(
        tickvals=list(range(len(labels))), ticktext=[plain(n) for n in labels],
        range=[-0.3, len(labels) - 0.7], automargin=True, autotickangles=[0, -45],
        ticklabeloverflow="allow",
    )  # fmt: skip
    drawn.update_yaxes(visible=False, range=[-0.12, 1.12])
    drawn.update_layout(height=440)
    return drawn


def _bands(n: int) -> list[tuple[int, int]]:
    """Places from the worst trial to the best, which stands alone, in a few bands of a colour."""
    edges = sorted({round(i * (n - 1) / _BANDS) for i in range(_BANDS + 1)})
    return [*itertools.pairwise(edges), (n - 1, n)]


def heights(column: Sequence[Any]) -> list[float | None]:
    """Each value's place between the lowest (0) and the highest (1); words in order of name."""
    known = [v for v in column if v is not None]
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in known):
        low, high = min(known), max(known)
        width = (high - low) or 1
        return [None if v is None else (v - low) / width for v in column]
    ordered = sorted({str(v) for v in column})
    return [bisect.bisect_left(ordered, str(v)) / max(1, len(ordered) - 1) for v in column]


def _ends(drawn: go.Figure, columns: Sequence[Sequence[Any]]) -> None:
    """Write the lowest and highest value at the ends of each column."""
    for x, column in enumerate(columns):
        marks = {p: v for p, v in zip(heights(column), column, strict=True) if p is not None}
        for place in (0.0, 1.0):
            if place in marks:
                drawn.add_annotation(
                    x=x, y=place, text=plain(number(marks[place]) or "null"),
                    showarrow=False, yshift=14 if place else -14,
                )  # fmt: skip


def _color(share: float) -> str:
    mixed = (round(w + share * (b - w)) for w, b in zip(_WORST, _BEST, strict=True))
    return f"rgb({','.join(map(str, mixed))})"


def section(common: Common, minimize: bool) -> Section:
    """The picture, and how it is read."""
    caption = (
        f"One line a trial (the {common.name} of {common.n}), across its parameters, each between "
        f"its lowest and highest value; the last column is the {common.name}. The more orange, the "
        "better; the best is thick."
    )
    plot = Plot("parallel", figure(common, minimize), caption, columns=len(common.names) + 1)
    return Section("Parallel coordinates", [plot])
