"""The same figures as PNG files, for slides and papers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from budgetsweep.files import write_atomic
from budgetsweep.report import facts, figures
from budgetsweep.report.collect import Run, Seeds, Sweep
from budgetsweep.report.figures import BLUE, GREEN, GREY, ORANGE, RED, VIOLET
from budgetsweep.report.run import SCORES, scores
from budgetsweep.report.sweep import curves, too_few
from budgetsweep.report.winner import Mistakes, Winner
from budgetsweep.report.words import number
from budgetsweep.runs.statistics import interval


def draw(found: Sweep | Run | Seeds, winner: Winner, folder: Path) -> None:
    """Write every picture there is something to draw for."""
    for name, figure in _figures(found, winner):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150)
        data = buffer.getvalue()
        write_atomic(folder / f"{name}.png", lambda file, data=data: file.write(data))  # type: ignore[misc]


def _figures(found: Sweep | Run | Seeds, winner: Winner) -> Iterator[tuple[str, Figure]]:
    if isinstance(found, Sweep):
        yield from _sweep_figures(found)
    elif isinstance(found, Seeds):
        yield from _seeds_figures(found)
    elif found.epochs:
        yield "curves", _run_curves(found)
    if winner.mistakes:
        yield "confusion", _confusion(winner.mistakes)
        if winner.mistakes.worst:
            yield "mistakes", _worst(winner.mistakes)


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 4.3), layout="constrained")
    axes = figure.add_subplot(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _sweep_figures(sweep: Sweep) -> Iterator[tuple[str, Figure]]:
    if facts.points(sweep, "complete"):
        yield "size", _size(sweep)
    yield "history", _history(sweep)
    runs, key = curves(sweep)
    if runs:
        yield "curves", _curves(runs, key)
    if not too_few(sweep):
        try:
            yield "importances", _importances(figures.importances(sweep))
        except (ValueError, RuntimeError):
            return  # the page says why


def _size(sweep: Sweep) -> Figure:
    score, allowed = facts.score_of(sweep), facts.limit(sweep)
    figure, axes = _axes("parameters", score.name)
    complete, pruned = facts.points(sweep, "complete"), facts.points(sweep, "pruned")
    known = facts.reference(sweep)
    for points, label, style in (
        (pruned, "pruned", {"facecolors": "none", "edgecolors": GREY}),
        (complete, "complete", {"color": BLUE}),
        ([p for p in complete if p.trial.rank == 1], "winner",
         {"color": ORANGE, "marker": "*", "s": 160}),
        ([p for p in [*complete, *pruned] if p.trial is known], "reference",
         {"facecolors": "none", "edgecolors": VIOLET, "marker": "D", "s": 120}),
    ):  # fmt: skip
        if points:
            x, y = [p.parameters for p in points], [p.score for p in points]
            axes.scatter(x, y, label=label, zorder=3, **style)
    best = facts.front(complete, score.higher_is_better)
    x, y = [p.parameters for p in best], [p.score for p in best]
    axes.step(x, y, where="post", color=GREEN, label="front")
    if view := figures.score_view(sweep):
        axes.set_ylim(*view)
    if allowed is not None:
        axes.axvline(allowed, color=RED, linestyle="--", label=f"budget {allowed:,}")
    axes.legend(frameon=False)
    return figure


def _history(sweep: Sweep) -> Figure:
    figure, axes = _axes("trial", figures.objective_name(sweep))
    edge = axes.get_xaxis_transform()  # x by the data, y by the axes: the lower edge
    for state, style in (
        ("complete", {"color": BLUE}),
        ("pruned", {"facecolors": "none", "edgecolors": GREY}),
        ("duplicate", {"facecolors": "none", "edgecolors": VIOLET, "marker": "D"}),
    ):
        shown = [t for t in sweep.of(state) if t.value is not None]
        if shown:
            x, y = [t.number for t in shown], [t.value or 0.0 for t in shown]
            axes.scatter(x, y, label=state, **style)  # type: ignore[arg-type]
    for state, marker in (("over budget", "|"), ("failed", "X")):
        if marked := [t.number for t in sweep.of(state)]:
            axes.scatter(
                marked, [0.02] * len(marked), transform=edge, color=RED, marker=marker, label=state
            )
    known = ("complete", "pruned", "duplicate")
    _log_if_wide(axes, [t.value for s in known for t in sweep.of(s) if t.value is not None])
    numbers, best = figures.best_so_far(sweep)
    if numbers:
        axes.step(numbers, best, where="post", color=GREEN, label="best so far")
    if axes.has_data():  # a sweep that was stopped before its first result has nothing
        axes.legend(frameon=False)
    return figure


def _curves(runs: list[tuple[str, Run, bool, bool]], key: str) -> Figure:
    figure, axes = _axes("epoch", "validation loss" if key == "val_loss" else "training loss")
    for _, run, pruned, best in sorted(runs, key=lambda r: r[3]):
        rows = [row for row in run.epochs if key in row]
        axes.plot(
            [r["epoch"] for r in rows], [r[key] for r in rows],
            color=ORANGE if best else GREY if pruned else BLUE,
            linestyle=":" if pruned else "-", linewidth=2.5 if best else 1,
            marker="o" if len(rows) == 1 else None,
        )  # fmt: skip
    _scale(axes, [run for _, run, *_ in runs], [key])
    return figure


def _run_curves(run: Run) -> Figure:
    figure, axes = _axes("epoch", "loss")
    for key, name, color in (("train_loss", "training", BLUE), ("val_loss", "validation", ORANGE)):
        if rows := [row for row in run.epochs if key in row]:
            x, y = [r["epoch"] for r in rows], [r[key] for r in rows]
            axes.plot(x, y, color=color, label=name, marker="o")
    _scale(axes, [run], ["train_loss", "val_loss"])
    axes.legend(frameon=False)
    return figure


def _scale(axes: Axes, runs: list[Run], keys: list[str]) -> None:
    _log_if_wide(axes, figures.losses(runs, keys))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _log_if_wide(axes: Axes, values: list[float]) -> None:
    if figures.is_wide(values):
        axes.set_yscale("log")
        axes.minorticks_off()
        ticks = figures.log_ticks(min(values), max(values))
        axes.set_yticks(ticks, [number(t) for t in ticks])


def _importances(shares: dict[str, float]) -> Figure:
    figure, axes = _axes("share of the objective's variation", "")
    axes.barh(list(reversed(shares)), list(reversed(shares.values())), color=BLUE)
    return figure


def _seeds_figures(seeds: Seeds) -> Iterator[tuple[str, Figure]]:
    score, values = scores(seeds)
    if values:
        figure, axes = _axes("seed", SCORES[score])
        stats = interval(values)
        if stats.n > 1:
            axes.axhspan(stats.low, stats.high, color=GREEN, alpha=0.18, label="95 % interval")
        axes.axhline(stats.mean, color=GREEN, label="mean")
        axes.scatter([str(r.summary.get("seed")) for r in seeds.runs], values, color=BLUE, zorder=3)
        axes.legend(frameon=False)
        yield "seeds", figure
    runs = [("", run, False, False) for run in seeds.runs if run.epochs]
    if runs:
        validated = any("val_loss" in row for _, run, *_ in runs for row in run.epochs)
        yield "curves", _curves(runs, "val_loss" if validated else "train_loss")


def _confusion(mistakes: Mistakes) -> Figure:
    names, matrix = mistakes.names, mistakes.confusion
    side = min(12.0, 3 + 0.4 * len(names))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot(xlabel="predicted", ylabel=f"true ({mistakes.split} images)")
    rows = np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(np.sqrt(matrix / rows), cmap="Blues", vmax=1.4)
    axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 2 else 0)
    axes.set_yticks(range(len(names)), names)
    if len(names) <= 20:
        for (i, j), n in np.ndenumerate(matrix):
            axes.text(j, i, f"{n}" if n else "", ha="center", va="center", fontsize=8)
    return figure


def _worst(mistakes: Mistakes) -> Figure:
    columns = min(8, len(mistakes.worst))
    lines = -(-len(mistakes.worst) // columns)
    figure = Figure(figsize=(1.2 * columns, 1.45 * lines), layout="constrained")
    for place, mistake in enumerate(mistakes.worst, start=1):
        axes = figure.add_subplot(lines, columns, place)
        axes.imshow(mistake.image, cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
        told = f"{mistake.truth} → {mistake.predicted}\n{100 * mistake.probability:.0f} %"
        axes.set_title(told, fontsize=7, parse_math=False)
    return figure
