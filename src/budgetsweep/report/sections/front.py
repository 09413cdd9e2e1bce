"""Quality against cost: every trained candidate, and the front of those that no other beats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from budgetsweep.network.limits import in_words
from budgetsweep.report.collect import Sweep, Trial
from budgetsweep.report.costs import binding, cost, limits
from budgetsweep.report.drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    VIOLET,
    Point,
    around,
    axes,
    edge,
    scatter,
)  # fmt: skip
from budgetsweep.report.page import Plot, Section, text
from budgetsweep.report.reference import reference
from budgetsweep.report.words import count, number, percent


@dataclass(frozen=True)
class Score:
    """What is drawn against the cost: validation accuracy, or the objective without one."""

    name: str
    higher_is_better: bool

    def of(self, trial: Trial) -> float | None:
        """The trial's score, if it has one."""
        return trial.accuracy if self.name == "validation accuracy" else trial.value


def score_of(sweep: Sweep) -> Score:
    """Validation accuracy if every complete trial has it."""
    complete = sweep.of("complete")
    if complete and all(t.accuracy is not None for t in complete):
        return Score("validation accuracy", True)
    return Score(sweep.objectives[0], sweep.results.directions[0] == "maximize")


def points(sweep: Sweep, *states: str) -> list[Point]:
    """Trials in these states, score against cost; of several objectives the first two."""
    if len(sweep.results.directions) > 1:
        pairs = [(t, t.told.values) for t in sweep.of(*states) if len(t.told.values) > 1]
        return [Point(t, v[1], v[0]) for t, v in pairs if all(map(math.isfinite, v))]
    score, name = score_of(sweep), binding(sweep)
    placed = [(t, cost(sweep, t, name), score.of(t)) for t in sweep.of(*states)]
    return [Point(t, x, y) for t, x, y in placed if x is not None and y is not None]


def front(sweep: Sweep, candidates: Sequence[Point]) -> list[Point]:
    """The best, by cost: the leaderboard's front, or those that no other beats in cost and score."""
    if len(sweep.results.directions) > 1:
        return sorted((p for p in candidates if p.trial.told.rank == 1), key=lambda p: p.x)
    sign = -1 if score_of(sweep).higher_is_better else 1
    best, chosen = math.inf, []
    for point in sorted(candidates, key=lambda p: (p.x, sign * p.y)):
        if sign * point.y < best:
            best = sign * point.y
            chosen.append(point)
    return chosen


def score_view(sweep: Sweep) -> tuple[float, float] | None:
    """The scores to look at first, where pruned trials would press the complete ones together."""
    complete = [p.y for p in points(sweep, "complete")]
    every = complete + [p.y for p in points(sweep, "pruned")]
    if len(set(every)) == 1:
        return around(every[0])
    if len(complete) < 2:
        return None
    low, high = min(complete), max(complete)
    width = high - low
    if not 0 < 4 * width < max(every) - min(every):
        return None
    return low - width, high + width / 4


def figure(sweep: Sweep) -> go.Figure:
    """Quality against cost, or one objective against another: the front, reference and limit."""
    several = len(sweep.results.directions) > 1
    score, name = score_of(sweep), binding(sweep)
    drawn = go.Figure()
    complete, pruned = points(sweep, "complete"), points(sweep, "pruned")
    scatter(drawn, pruned, "pruned", GREY, "circle-open")
    scatter(drawn, complete, "complete", BLUE, "circle")
    best = front(sweep, complete)
    drawn.add_scatter(
        x=[p.x for p in best], y=[p.y for p in best], mode="lines", name="front",
        line={"color": GREEN, "shape": "hv", "width": 2}, hoverinfo="skip",
    )  # fmt: skip
    scatter(drawn, [p for p in complete if p.trial is sweep.winner], "winner", ORANGE, "star", 15)
    known = [p for p in [*complete, *pruned] if p.trial is reference(sweep)]
    scatter(drawn, known, "reference", VIOLET, "diamond-open", 17)  # around a winner that it is
    if several:
        axes(drawn, sweep.objectives[1], sweep.objectives[0])
        return drawn
    sized = [(t, cost(sweep, t, name)) for t in sweep.of("over budget")]
    edge(drawn, "over budget", [(t, x) for t, x in sized if x is not None], "x-thin-open")
    outside = [(t, x) for t, x in sized if x is not None and t is reference(sweep)]
    edge(drawn, "reference", outside, "diamond-open", VIOLET)
    if (allowed := limits(sweep).get(name)) is not None:
        drawn.add_vline(
            allowed, line={"color": RED, "dash": "dash", "width": 1.5},
            # To the right, where no trained candidate lies.
            annotation={"text": f"budget {allowed:,}", "textangle": -90, "xanchor": "left"},
        )  # fmt: skip
    share = score.higher_is_better and all(0 <= p.y <= 1 for p in complete)
    axes(drawn, in_words(name), score.name, percent=share)
    if view := score_view(sweep):
        drawn.update_yaxes(range=view, selector={"overlaying": None})
    return drawn


def section(sweep: Sweep) -> Section:
    """The picture, and what it shows in words."""
    several = len(sweep.results.directions) > 1
    score, name = score_of(sweep), binding(sweep)
    title = f"{score.name} against {in_words(name)}"
    if several:
        title = f"{sweep.objectives[0]} against {sweep.objectives[1]}"
    title = title[:1].upper() + title[1:]
    complete = points(sweep, "complete")
    if not complete:
        return Section(title, [text("No complete trial with a known size yet.")])
    best = front(sweep, complete)
    told = percent if score.name == "validation accuracy" and not several else number
    unit = sweep.objectives[1] if several else in_words(name)
    ends = [f"{number(p.x)} {unit}, {told(p.y)}" for p in (best[0], best[-1])] if best else []
    caption = "Each point is a trained candidate"
    if ends:
        caption += (
            f"; {count(len(best), 'lies', 'lie')} on the front, where no other is better in both: "
            f"from {ends[0]}" + (f" to {ends[1]}" if len(best) > 1 else "")
        )
    if known := reference(sweep):
        state = f", {known.state}" if known.state in ("pruned", "over budget") else ""
        caption += f". The reference is trial {known.told.number}{state}."
    else:
        caption += ". The reference was not among the trials; hydra.sweeper.enqueue adds it."
    if not several and (view := score_view(sweep)):
        outside = [p for p in points(sweep, "pruned") if not view[0] <= p.y <= view[1]]
        caption += f" Outside the view: {len(outside):,} pruned; double-click it to see all."
    return Section(title, [Plot("size", figure(sweep), caption)])
