"""Interactive figures, as plotly's own descriptions; the page draws them in its colours.

Many points or lines are one trace: a browser draws ten thousand points, not ten thousand traces.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from budgetsweep.report import facts
from budgetsweep.report.collect import Run, Sweep, Trial
from budgetsweep.report.words import cost_name, number

# Readable on white and on near-black.
BLUE, ORANGE, GREEN, RED, GREY, VIOLET = (
    "#3b82f6", "#e8890c", "#16a34a", "#e5484d", "#8b95a5", "#a05cf0",
)  # fmt: skip
_NETWORKS = (BLUE, ORANGE, VIOLET, GREEN, RED, GREY)
_WORST, _BEST, _BANDS = (120, 135, 160), (240, 140, 10), 6

Curves = Sequence[tuple[str, Run]]


def size_figure(sweep: Sweep) -> go.Figure:
    """Quality against cost, or one objective against another: the front, reference and limit."""
    several = len(sweep.results.directions) > 1
    score, name = facts.score_of(sweep), facts.binding(sweep)
    figure = go.Figure()
    complete, pruned = facts.points(sweep, "complete"), facts.points(sweep, "pruned")
    _scatter(figure, pruned, "pruned", GREY, "circle-open")
    _scatter(figure, complete, "complete", BLUE, "circle")
    best = facts.front(sweep, complete)
    figure.add_scatter(
        x=[p.x for p in best], y=[p.y for p in best], mode="lines", name="front",
        line={"color": GREEN, "shape": "hv", "width": 2}, hoverinfo="skip",
    )  # fmt: skip
    _scatter(figure, [p for p in complete if p.trial is sweep.winner], "winner", ORANGE, "star", 15)
    known = facts.reference(sweep)
    _scatter(
        figure, [p for p in [*complete, *pruned] if p.trial is known],
        "reference", VIOLET, "diamond-open", 17,  # around the winner, where it is both
    )  # fmt: skip
    if several:
        _axes(figure, sweep.objectives[1], sweep.objectives[0])
        return figure
    sized = [(t, facts.cost(sweep, t, name)) for t in sweep.of("over budget")]
    _edge(figure, "over budget", [(t, x) for t, x in sized if x is not None], "x-thin-open")
    if (allowed := facts.limits(sweep).get(name)) is not None:
        figure.add_vline(
            allowed, line={"color": RED, "dash": "dash", "width": 1.5},
            # To the right, where no trained candidate lies.
            annotation={"text": f"budget {allowed:,}", "textangle": -90, "xanchor": "left"},
        )  # fmt: skip
    share = score.higher_is_better and all(0 <= p.y <= 1 for p in complete)
    _axes(figure, cost_name(name), score.name, percent=share)
    if view := score_view(sweep):
        figure.update_yaxes(range=view, selector={"overlaying": None})
    return figure


def score_view(sweep: Sweep) -> tuple[float, float] | None:
    """The scores to look at first, where pruned trials would press the complete ones together."""
    complete = [p.y for p in facts.points(sweep, "complete")]
    every = complete + [p.y for p in facts.points(sweep, "pruned")]
    if len(set(every)) == 1:
        return around(every[0])
    if len(complete) < 2:
        return None
    low, high = min(complete), max(complete)
    width = high - low
    if not 0 < 4 * width < max(every) - min(every):
        return None
    return low - width, high + width / 4


def around(value: float) -> tuple[float, float]:
    """An axis for one value; by itself it would get one from below 0 to above 100 %."""
    width = abs(value) / 50 or 1
    return value - width, value + width / 4


def _scatter(
    figure: go.Figure, points: Sequence[facts.Point], name: str, color: str, symbol: str,
    size: int = 9,
) -> None:  # fmt: skip
    if points:
        figure.add_scatter(
            x=[p.x for p in points], y=[p.y for p in points], mode="markers",
            name=name, marker={"color": color, "symbol": symbol, "size": size},
            text=[_hover(p.trial) for p in points],
            hovertemplate="%{text}<br>%{x:,}, %{y:.5g}<extra></extra>",
        )  # fmt: skip


def _edge(figure: go.Figure, name: str, marked: Sequence[tuple[Trial, float]], symbol: str) -> None:
    """Trials without a score, marked along the lower edge."""
    if marked:
        figure.add_scatter(
            x=[x for _, x in marked], y=[0.02] * len(marked), yaxis="y2", mode="markers",
            name=name, marker={"color": RED, "symbol": symbol, "size": 8},
            text=[_hover(t) for t, _ in marked], hovertemplate="%{text}<br>%{x:,}<extra></extra>",
        )  # fmt: skip
        hidden = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
        figure.update_layout(yaxis2=hidden)


def history_figure(sweep: Sweep) -> go.Figure:
    """The first objective trial by trial, with what became of each, and the best so far."""
    figure = go.Figure()
    looks = {"complete": (BLUE, "circle"), "pruned": (GREY, "circle-open"),
             "duplicate": (VIOLET, "diamond-open")}  # fmt: skip
    for state, (color, symbol) in looks.items():
        valued = [
            facts.Point(t, t.told.number, t.value) for t in sweep.of(state) if t.value is not None
        ]
        _scatter(figure, valued, state, color, symbol)
    numbers, best = best_so_far(sweep)
    if numbers:
        figure.add_scatter(
            x=numbers, y=best, mode="lines", name="best so far", hoverinfo="skip",
            line={"color": GREEN, "shape": "hv", "width": 2},
        )  # fmt: skip
    for state, symbol in (("over budget", "x-thin-open"), ("failed", "x")):
        _edge(figure, state, [(t, t.told.number) for t in sweep.of(state)], symbol)
    _axes(figure, "trial", sweep.objectives[0])
    values = [t.value for t in sweep.of(*looks) if t.value is not None]
    if len(set(values)) == 1:
        figure.update_yaxes(range=around(values[0]), selector={"overlaying": None})
    if is_wide(values):
        _log_axis(figure, values)
    if len(sweep.trials) <= 12:
        figure.update_xaxes(dtick=1)  # no ticks between trials
    return figure


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


def curves_figure(groups: Mapping[str, Curves], key: str, title: str) -> go.Figure:
    """One line a run and one trace a group: pruned, complete, winner, or seeds."""
    figure = go.Figure()
    styles: dict[str, dict[str, Any]] = {
        "pruned": {"color": GREY, "width": 1.3, "dash": "dot"},
        "winner": {"color": ORANGE, "width": 3},
        "complete": {"color": BLUE, "width": 1.3},
    }
    for place, (group, runs) in enumerate(groups.items()):
        x, y, labels = list[float | None](), list[float | None](), list[str]()
        for label, run in runs:
            rows = [row for row in run.epochs if key in row]
            x += [*(row["epoch"] for row in rows), None]  # None ends a line
            y += [*(row[key] for row in rows), None]
            labels += [plain(label)] * (len(rows) + 1)
        if runs:
            single = all(len(run.epochs) < 2 for _, run in runs)
            figure.add_scatter(
                x=x, y=y, text=labels, name=group, connectgaps=False,
                mode="lines+markers" if single else "lines",
                line=styles.get(group, {"color": _NETWORKS[place % 6], "width": 1.3}),
                opacity=1 if group == "winner" else 0.6, showlegend=len(groups) > 1,
                hovertemplate="%{text}, epoch %{x}: %{y:.4g}<extra></extra>",
            )  # fmt: skip
    _axes(figure, "epoch", title)
    _curve_axes(figure, [run for runs in groups.values() for _, run in runs], [key])
    return figure


def split_curves_figure(run: Run) -> go.Figure:
    """Training and validation loss of one run."""
    figure = go.Figure()
    for key, name, color in (
        ("train_loss", "training", BLUE), ("val_loss", "validation", ORANGE),
    ):  # fmt: skip
        rows = [row for row in run.epochs if key in row]
        if rows:
            figure.add_scatter(
                x=[row["epoch"] for row in rows], y=[row[key] for row in rows], name=name,
                mode="lines+markers", line={"color": color},
            )  # fmt: skip
    _axes(figure, "epoch", "loss")
    _curve_axes(figure, [run], ["train_loss", "val_loss"])
    return figure


def _curve_axes(figure: go.Figure, runs: Sequence[Run], keys: Sequence[str]) -> None:
    values = [row[key] for run in runs for row in run.epochs for key in keys if key in row]
    if is_wide(values):
        _log_axis(figure, values)
    if max((run.epochs[-1]["epoch"] for run in runs if run.epochs), default=0) <= 8:
        figure.update_xaxes(dtick=1)  # no ticks between epochs


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


def _log_axis(figure: go.Figure, values: Sequence[float]) -> None:
    ticks = log_ticks(min(values), max(values))
    figure.update_yaxes(
        type="log", tickvals=ticks, ticktext=[number(t) for t in ticks],
        selector={"overlaying": None},
    )  # fmt: skip


def seeds_figure(groups: Mapping[str, Sequence[tuple[str, float]]], band: Any = None) -> go.Figure:
    """Every seed's accuracy, one colour a network; of one network the mean and its interval."""
    figure = go.Figure()
    if band is not None:
        figure.add_hrect(
            band.low, band.high, fillcolor=GREEN, opacity=0.18, line_width=0, layer="below"
        )
        figure.add_hline(band.mean, line={"color": GREEN, "width": 2})
    for place, (name, pairs) in enumerate(groups.items()):
        figure.add_scatter(
            x=[seed for seed, _ in pairs], y=[value for _, value in pairs], mode="markers",
            name=plain(name), showlegend=len(groups) > 1,
            marker={"color": _NETWORKS[place % 6], "size": 10},
            hovertemplate="seed %{x}: %{y:.3%}<extra></extra>",
        )  # fmt: skip
    _axes(figure, "seed", "accuracy", percent=True)
    figure.update_xaxes(type="category")
    if band is not None:  # the interval's ends in view
        values = [value for pairs in groups.values() for _, value in pairs]
        bottom, top = min(band.low, *values), max(band.high, *values)
        room = (top - bottom) / 8
        figure.update_yaxes(range=[bottom - room, top + room])
    return figure


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Parameter names without the parts that only say where they live, if still unambiguous."""
    short = {n: n.removeprefix("model.layers.").removeprefix("model.") for n in names}
    return short if len(set(short.values())) == len(short) else {n: n for n in names}


def searched(trials: Sequence[Trial]) -> list[str]:
    """Parameters that all of these trials have and that took more than one value."""
    if not trials:
        return []
    shared = [n for n in trials[0].told.params if all(n in t.told.params for t in trials)]
    return [n for n in shared if len({repr(t.told.params[n]) for t in trials}) > 1]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Optuna without its log lines and hints, which are about calls a person did not make."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)


def importances_figure(trials: Sequence[Trial], values: Sequence[float]) -> go.Figure:
    """Optuna's picture of each parameter's share in what makes a good trial.

    Raises:
        ValueError, RuntimeError: they cannot be estimated.
    """
    import optuna

    names = searched(trials)
    short, spaces = short_names(names), {n: _distribution(trials, n) for n in names}
    with _quiet():
        study = optuna.create_study()
        for trial, value in zip(trials, values, strict=True):
            params = {n: _scalar(trial.told.params[n]) for n in names}
            study.add_trial(
                optuna.trial.create_trial(
                    params={plain(short[n]): v for n, v in params.items()},
                    distributions={plain(short[n]): d for n, d in spaces.items()},
                    value=value,
                )
            )
        figure = optuna.visualization.plot_param_importances(study)
    figure.update_traces(marker_color=BLUE, selector={"type": "bar"})
    figure.update_layout(title=None, showlegend=False)
    _axes(figure, "share of the objective's variation", "")
    figure.update_yaxes(showgrid=False)
    figure.update_layout(height=110 + 34 * len(names))
    return figure


def _scalar(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else str(value)


def _distribution(trials: Sequence[Trial], name: str) -> Any:
    """A space that holds what was tried; numbers beside words are words."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    values = [_scalar(t.told.params[name]) for t in trials]
    if all(isinstance(v, float) for v in values):
        return FloatDistribution(min(values), max(values))
    return CategoricalDistribution(list(dict.fromkeys(values)))


def parallel_figure(
    trials: Sequence[Trial], values: Sequence[float], name: str, minimize: bool
) -> go.Figure:
    """One line a trial across the searched parameters and its value, the best drawn last.

    Optuna's own needs WebGL and scripts made at run time, which the page's policy refuses, and
    draws dark lines that vanish on a dark page.
    """
    names = searched(trials)
    columns: list[list[Any]] = [[t.told.params[n] for t in trials] for n in names]
    columns.append(list(values))
    places = [heights(column) for column in columns]
    labels = [*short_names(names).values(), name]
    worst_first = sorted(range(len(trials)), key=lambda i: values[i], reverse=minimize)
    figure = go.Figure()
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
        figure.add_scatter(
            x=x, y=y, text=hover, mode="lines+markers", connectgaps=False,
            # By place among the trials, as one very bad value would leave the others alike.
            line={"color": _color((low + high) / 2 / len(trials)), "width": 3.5 if best else 1.4},
            marker={"size": 5}, showlegend=False, opacity=1 if best else 0.75,
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    _ends(figure, columns)
    figure.update_xaxes(
        tickvals=list(range(len(labels))), ticktext=[plain(n) for n in labels],
        range=[-0.3, len(labels) - 0.7], automargin=True, autotickangles=[0, -45],
        ticklabeloverflow="allow",
    )  # fmt: skip
    figure.update_yaxes(visible=False, range=[-0.12, 1.12])
    figure.update_layout(height=440)
    return figure


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


def _ends(figure: go.Figure, columns: Sequence[Sequence[Any]]) -> None:
    """Write the lowest and highest value at the ends of each column."""
    for x, column in enumerate(columns):
        marks = {p: v for p, v in zip(heights(column), column, strict=True) if p is not None}
        for place in (0.0, 1.0):
            if place in marks:
                figure.add_annotation(
                    x=x, y=place, text=plain(number(marks[place]) or "null"),
                    showarrow=False, yshift=14 if place else -14,
                )  # fmt: skip


def _color(share: float) -> str:
    mixed = (round(w + share * (b - w)) for w, b in zip(_WORST, _BEST, strict=True))
    return f"rgb({','.join(map(str, mixed))})"


def time_figure(seconds: dict[str, float]) -> go.Figure:
    """One bar, cut by what the time went to."""
    colors = {
        "training": BLUE, "evaluating": GREEN, "setting up": VIOLET, "other": ORANGE,
        "between trials": GREY,
    }  # fmt: skip
    figure = go.Figure()
    for name, value in seconds.items():
        figure.add_bar(
            x=[value], y=[""], name=name, orientation="h", marker_color=colors.get(name, GREY),
            hovertemplate=f"{name}: %{{x:,.1f}} s<extra></extra>",
        )  # fmt: skip
    _axes(figure, "seconds", "")
    figure.update_yaxes(showgrid=False)
    figure.update_layout(barmode="stack", height=200, legend_traceorder="normal")
    return figure


def _hover(trial: Trial) -> str:
    params = trial.told.params
    chosen = [f"{name}={number(params[full])}" for full, name in short_names(list(params)).items()]
    return "<br>".join([f"trial {trial.told.number}", *map(plain, chosen)])


def plain(text: str) -> str:
    """Text that means itself in a figure: plotly reads a few HTML tags; a long one is cut."""
    text = text if len(text) <= 60 else f"{text[:59]}…"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _axes(figure: go.Figure, x: str, y: str, percent: bool = False) -> None:
    figure.update_xaxes(title=plain(x), automargin=True)
    figure.update_yaxes(title={"text": plain(y), "standoff": 12}, automargin=True)
    if percent:
        figure.update_layout(yaxis_tickformat=".3~%")
    figure.update_layout(height=420)
