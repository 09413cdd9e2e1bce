"""Interactive figures, as plotly's own descriptions; the page draws them in its colours.

Many points or lines are one trace: a browser draws ten thousand points, not ten thousand traces.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from budgetsweep.report.collect import Trial
from budgetsweep.report.words import number

# Readable on white and on near-black.
BLUE, ORANGE, GREEN, RED, GREY, VIOLET = (
    "#3b82f6", "#e8890c", "#16a34a", "#e5484d", "#8b95a5", "#a05cf0",
)  # fmt: skip
MANY = 1_000  # points of a kind whose parameters would make the file large
NETWORKS = (BLUE, ORANGE, VIOLET, GREEN, RED, GREY)


class Point(NamedTuple):
    """A trial in a picture."""

    trial: Trial
    x: float
    y: float


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Parameter names without the parts that only say where they live, if still unambiguous."""
    short = {n: n.removeprefix("model.layers.").removeprefix("model.") for n in names}
    return short if len(set(short.values())) == len(short) else {n: n for n in names}


def plain(text: str) -> str:
    """Text that means itself in a figure: plotly reads a few HTML tags; a long one is cut."""
    text = text if len(text) <= 60 else f"{text[:59]}…"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def hover(trial: Trial, short: bool = False) -> str:
    """What is shown of a trial under the pointer: its number and its parameters."""
    params = {} if short else trial.told.params
    chosen = [f"{name}={number(params[full])}" for full, name in short_names(list(params)).items()]
    return "<br>".join([f"trial {trial.told.number}", *map(plain, chosen)])


def scatter(
    figure: go.Figure, points: Sequence[Point], name: str, color: str, symbol: str, size: int = 9
) -> None:
    """Trials as marks of one kind."""
    if points:
        figure.add_scatter(
            x=[p.x for p in points], y=[p.y for p in points], mode="markers",
            name=name, marker={"color": color, "symbol": symbol, "size": size},
            text=[hover(p.trial, short=len(points) > MANY) for p in points],
            hovertemplate="%{text}<br>%{x:,}, %{y:.5g}<extra></extra>",
        )  # fmt: skip


def edge(
    figure: go.Figure, name: str, marked: Sequence[tuple[Trial, float]], symbol: str,
    color: str = RED,
) -> None:  # fmt: skip
    """Trials without a score, marked along the lower edge."""
    if marked:
        figure.add_scatter(
            x=[x for _, x in marked], y=[0.02] * len(marked), yaxis="y2", mode="markers",
            name=name, marker={"color": color, "symbol": symbol, "size": 8},
            text=[hover(t, short=len(marked) > MANY) for t, _ in marked], hovertemplate="%{text}<br>%{x:,}<extra></extra>",
        )  # fmt: skip
        hidden = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
        figure.update_layout(yaxis2=hidden)


def axes(figure: go.Figure, x: str, y: str, percent: bool = False) -> None:
    """Name the axes; a figure that needs another height sets it afterwards."""
    figure.update_xaxes(title=plain(x), automargin=True)
    figure.update_yaxes(title={"text": plain(y), "standoff": 12}, automargin=True)
    if percent:
        figure.update_layout(yaxis_tickformat=".3~%")
    figure.update_layout(height=420)


def around(value: float) -> tuple[float, float]:
    """An axis for one value; by itself it would get one from below 0 to above 100 %."""
    width = abs(value) / 50 or 1
    return value - width, value + width / 4


def is_wide(values: Sequence[float]) -> bool:
    """Whether values span so much that a linear axis hides the small ones."""
    return bool(values) and 0 < 10 * min(values) < max(values)


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high`, both positive: at most nine, so that labels keep apart."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine = [m * 10.0**e for e in decades for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    if len(fine) <= 9:
        return fine
    return [10.0**e for e in decades[:: 1 + len(decades) // 9] if low <= 10.0**e <= high]


def log_axis(figure: go.Figure, values: Sequence[float]) -> None:
    """Make the y axis logarithmic, with a few round ticks."""
    ticks = log_ticks(min(values), max(values))
    figure.update_yaxes(
        type="log", tickvals=ticks, ticktext=[number(t) for t in ticks],
        selector={"overlaying": None},
    )  # fmt: skip
