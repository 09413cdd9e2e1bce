"""The objective trial by trial."""

from __future__ import annotations

import plotly.graph_objects as go

from budgetsweep.report.collect import Sweep
from budgetsweep.report.drawing import (
    BLUE,
    GREEN,
    GREY,
    VIOLET,
    Point,
    around,
    axes,
    edge,
    is_wide,
    log_axis,
    scatter,
)  # fmt: skip
from budgetsweep.report.page import Plot, Section

_LOOKS = {
    "complete": (BLUE, "circle"),
    "pruned": (GREY, "circle-open"),
    "duplicate": (VIOLET, "diamond-open"),
}


def figure(sweep: Sweep) -> go.Figure:
    """The first objective trial by trial, with what became of each, and the best so far."""
    drawn = go.Figure()
    for state, look in _LOOKS.items():
        valued = [Point(t, t.told.number, t.value) for t in sweep.of(state) if t.value is not None]
        scatter(drawn, valued, state, *look)
    numbers, best = best_so_far(sweep)
    if numbers:
        drawn.add_scatter(
            x=numbers, y=best, mode="lines", name="best so far", hoverinfo="skip",
            line={"color": GREEN, "shape": "hv", "width": 2},
        )  # fmt: skip
    for state, symbol in (("over budget", "x-thin-open"), ("failed", "x")):
        edge(drawn, state, [(t, t.told.number) for t in sweep.of(state)], symbol)
    axes(drawn, "trial", sweep.objectives[0])
    values = [t.value for t in sweep.of(*_LOOKS) if t.value is not None]
    if len(set(values)) == 1:
        drawn.update_yaxes(range=around(values[0]), selector={"overlaying": None})
    if is_wide(values):
        log_axis(drawn, values)
    if len(sweep.trials) <= 12:
        drawn.update_xaxes(dtick=1)  # no ticks between trials
    return drawn


def best_so_far(sweep: Sweep) -> tuple[list[int], list[float]]:
    """Trial numbers and the best value of a complete trial up to each."""
    numbers, values = list[int](), list[float]()
    better = max if sweep.results.directions[0] == "maximize" else min
    for trial in sweep.of("complete"):
        if trial.value is not None:
            numbers.append(trial.told.number)
            values.append(better([*values[-1:], trial.value]))
    if numbers:
        numbers.append(max(t.told.number for t in sweep.trials))
        values.append(values[-1])
    return numbers, values


def section(sweep: Sweep) -> Section:
    """The picture, and how it is read."""
    caption = (
        f"The {sweep.objectives[0]} of every trial in the order they were proposed: complete, pruned "
        "(the last value it reported), and along the lower edge those over budget and those that "
        "failed. The line is the best complete one so far. Values that span more than a factor of "
        "ten are drawn on a logarithmic axis."
    )
    return Section("History", [Plot("history", figure(sweep), caption)])
