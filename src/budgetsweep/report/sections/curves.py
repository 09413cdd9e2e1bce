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

Curves = Sequence[tuple[str, Run]]

_STYLES: dict[str, dict[str, Any]] = {
    "pruned": {"color": GREY, "width": 1.3, "dash": "dot"},
    "winner": {"color": ORANGE, "width": 3},
    "complete": {"color": BLUE, "width": 1.3},
}


def figure(groups: Mapping[str, Curves], key: str, title: str) -> go.Figure:
    """One line a run and one trace a group: pruned, complete, winner, or seeds."""
    drawn = go.Figure()
    for place, (group, runs) in enumerate(groups.items()):
        x, y, labels = list[float | None](), list[float | None](), list[str]()
        for label, run in runs:
            rows = [row for row in run.epochs if key in row]
            x += [*(row["epoch"] for row in rows), None]  # None ends a line
            y += [*(row[key] for row in rows), None]
            labels += [plain(label)] * (len(rows) + 1)
        if runs:
            single = all(len(run.epochs) < 2 for _, run in runs)
            drawn.add_scatter(
                x=x, y=y, text=labels, name=group, connectgaps=False,
                mode="lines+markers" if single else "lines",
                line=_STYLES.get(group, {"color": NETWORKS[place % 6], "width": 1.3}),
                opacity=1 if group == "winner" else 0.6, showlegend=len(groups) > 1,
                hovertemplate="%{text}, epoch %{x}: %{y:.4g}<extra></extra>",
            )  # fmt: skip
    _axes(drawn, title, [run for runs in groups.values() for _, run in runs], [key])
    return drawn


def split_figure(run: Run) -> go.Figure:
    """Training and validation loss of one run."""
    drawn = go.Figure()
    for key, name, color in (
        ("train_loss", "training", BLUE), ("val_loss", "validation", ORANGE),
    ):  # fmt: skip
        rows = [row for row in run.epochs if key in row]
        if rows:
            drawn.add_scatter(
                x=[row["epoch"] for row in rows], y=[row[key] for row in rows], name=name,
                mode="lines+markers", line={"color": color},
            )  # fmt: skip
    _axes(drawn, "loss", [run], ["train_loss", "val_loss"])
    return drawn


def _axes(drawn: go.Figure, title: str, runs: Sequence[Run], keys: Sequence[str]) -> None:
    axes(drawn, "epoch", title)
    values = [row[key] for run in runs for row in run.epochs for key in keys if key in row]
    if is_wide(values):
        log_axis(drawn, values)
    if max((run.epochs[-1]["epoch"] for run in runs if run.epochs), default=0) <= 8:
        drawn.update_xaxes(dtick=1)  # no ticks between epochs


def of_sweep(sweep: Sweep) -> Section:
    """Every trial's, the winner drawn last."""
    groups: dict[str, list[tuple[str, Run]]] = {"pruned": [], "complete": [], "winner": []}
    for t in sweep.trials:
        if t.run and t.state != "duplicate" and t.run.epochs:
            kind = "pruned" if t.state == "pruned" else "complete"
            kind = "winner" if t is sweep.winner else kind
            groups[kind].append((f"trial {t.told.number}", t.run))
    n = sum(map(len, groups.values()))
    if not n:
        return Section("Learning curves", [text("No trial has written metrics.csv yet.")])
    key, name = _loss(groups)
    caption = (
        f"The {name} after each epoch of {count(n, 'trial')}: complete ones solid, pruned "
        "ones dotted, the winner thick. Losses that span more than a factor of ten are drawn on a "
        "logarithmic axis."
    )
    return Section("Learning curves", [Plot("curves", figure(groups, key, name), caption)])


def of_run(run: Run) -> Block:
    """One run's two losses."""
    if not run.epochs:
        return text("There is no metrics.csv.")
    caption = (
        f"Loss after each of {count(len(run.epochs), 'epoch')}. Training loss includes label "
        "smoothing and augmentation, so it may lie above the validation loss."
    )
    return Plot("curves", split_figure(run), caption)


def of_networks(networks: Mapping[str, Sequence[Run]]) -> Block:
    """Several networks', a line a seed."""
    groups = {
        name: [(f"{name}, seed {run.summary.get('seed')}", run) for run in runs if run.epochs]
        for name, runs in networks.items()
    }
    if not any(groups.values()):
        return text("There is no metrics.csv.")
    key, name = _loss(groups)
    caption = f"The {name} after each epoch, one line a seed."
    return Plot("curves", figure(groups, key, name), caption)


def _loss(groups: Mapping[str, Curves]) -> tuple[str, str]:
    """The loss that curves are of, and its name: the validation loss where any run has it."""
    rows = (row for runs in groups.values() for _, run in runs for row in run.epochs)
    validated = any("val_loss" in row for row in rows)
    return ("val_loss", "validation loss") if validated else ("train_loss", "training loss")
