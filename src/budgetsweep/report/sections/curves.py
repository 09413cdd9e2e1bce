"""Learning curves: of a sweep's trials, of one run, of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from budgetsweep.report.collect import Run, Sweep
from budgetsweep.report.drawing import (
    BLUE,
    GREY,
    NETWORKS,
    ORANGE,
    axes,
    is_wide,
    log_axis,
    plain,
)  # fmt: skip
from budgetsweep.report.page import Block, Plot, Section, text
from budgetsweep.report.words import count

Line = tuple[str, list[tuple[float, float]]]  # label, (epoch, loss)

_STYLES: dict[str, dict[str, Any]] = {
    "pruned": {"color": GREY, "width": 1.3, "dash": "dot"},
    "winner": {"color": ORANGE, "width": 3},
    "complete": {"color": BLUE, "width": 1.3},
    "training": {"color": BLUE},
    "validation": {"color": ORANGE},
}


def figure(groups: Mapping[str, Sequence[Line]], title: str) -> go.Figure:
    """One line a run and one trace a group: pruned, complete, winner, or networks."""
    drawn = go.Figure()
    for place, (group, lines) in enumerate(groups.items()):
        x, y, labels = list[float | None](), list[float | None](), list[str]()
        for label, points in lines:
            x += [*(epoch for epoch, _ in points), None]  # None ends a line
            y += [*(loss for _, loss in points), None]
            labels += [plain(label)] * (len(points) + 1)
        if lines:
            marked = len(lines) == 1 or all(len(points) < 2 for _, points in lines)
            drawn.add_scatter(
                x=x, y=y, text=labels, name=group, connectgaps=False,
                mode="lines+markers" if marked else "lines",
                line=_STYLES.get(group, {"color": NETWORKS[place % 6], "width": 1.3}),
                opacity=1 if len(lines) == 1 else 0.6, showlegend=len(groups) > 1,
                hovertemplate="%{text}, epoch %{x}: %{y:.4g}<extra></extra>",
            )  # fmt: skip
    axes(drawn, "epoch", title)
    every = [point for lines in groups.values() for _, points in lines for point in points]
    if is_wide(losses := [loss for _, loss in every]):
        log_axis(drawn, losses)
    if max((epoch for epoch, _ in every), default=0) <= 8:
        drawn.update_xaxes(dtick=1)  # no ticks between epochs
    return drawn


def of_sweep(sweep: Sweep) -> Section:
    """Every trial's, the winner drawn last."""
    runs: dict[str, list[tuple[str, Run]]] = {"pruned": [], "complete": [], "winner": []}
    for t in sweep.trials:
        if t.run and t.state != "duplicate" and t.run.epochs:
            kind = "pruned" if t.state == "pruned" else "complete"
            kind = "winner" if t is sweep.winner else kind
            runs[kind].append((f"trial {t.told.number}", t.run))
    n = sum(map(len, runs.values()))
    if not n:
        return Section("Learning curves", [text("No trial has written metrics.csv yet.")])
    groups, name = _losses(runs)
    caption = (
        f"The {name} after each epoch of {count(n, 'trial')}: complete ones solid, pruned "
        "ones dotted, the winner thick. Losses that span more than a factor of ten are drawn on a "
        "logarithmic axis."
    )
    return Section("Learning curves", [Plot("curves", figure(groups, name), caption)])


def of_run(run: Run) -> Block:
    """One run's two losses."""
    if not run.epochs:
        return text("There is no metrics.csv.")
    caption = (
        f"Loss after each of {count(len(run.epochs), 'epoch')}. Training loss includes label "
        "smoothing and augmentation, so it may lie above the validation loss."
    )
    both = {
        "training": _line("training", run, "train_loss"),
        "validation": _line("validation", run),
    }
    groups = {name: [line] for name, line in both.items() if line[1]}
    return Plot("curves", figure(groups, "loss"), caption)


def of_networks(networks: Mapping[str, Sequence[Run]]) -> Block:
    """Several networks', a line a seed."""
    groups, name = _losses(
        {
            network: [(f"{network}, seed {run.summary.get('seed')}", run) for run in runs]
            for network, runs in networks.items()
        }
    )
    if not any(points for lines in groups.values() for _, points in lines):
        return text("There is no metrics.csv.")
    return Plot("curves", figure(groups, name), f"The {name} after each epoch, one line a seed.")


def _losses(runs: Mapping[str, Sequence[tuple[str, Run]]]) -> tuple[dict[str, list[Line]], str]:
    """The validation losses, or the training losses where no run has those; and their name."""
    every = [row for of in runs.values() for _, run in of for row in run.epochs]
    kind = "val" if any("val_loss" in row for row in every) else "train"
    groups = {g: [_line(label, run, f"{kind}_loss") for label, run in of] for g, of in runs.items()}
    return groups, "validation loss" if kind == "val" else "training loss"


def _line(label: str, run: Run, key: str = "val_loss") -> Line:
    return label, [(row["epoch"], row[key]) for row in run.epochs if key in row]
