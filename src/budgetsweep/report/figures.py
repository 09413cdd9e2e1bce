"""Interactive figures, as plotly's own descriptions; the page draws them in its colours."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna.trial import FrozenTrial, TrialState

from budgetsweep.report import facts
from budgetsweep.report.collect import Run, Sweep, Trial
from budgetsweep.report.words import number

# Readable on white and on near-black.
BLUE, ORANGE, GREEN, RED, GREY, VIOLET = (
    "#3b82f6", "#e8890c", "#16a34a", "#e5484d", "#8b95a5", "#a05cf0",
)  # fmt: skip


def size_figure(sweep: Sweep) -> go.Figure:
    """Quality against parameters: the budget line, the front, the reference."""
    score = facts.score_of(sweep)
    complete = facts.points(sweep, "complete")
    figure = go.Figure()
    _scatter(figure, facts.points(sweep, "pruned"), "pruned", GREY, "circle-open")
    _scatter(figure, complete, "complete", BLUE, "circle")
    best = facts.front(complete, score.higher_is_better)
    figure.add_scatter(
        x=[p.parameters for p in best], y=[p.score for p in best], mode="lines", name="front",
        line={"color": GREEN, "shape": "hv", "width": 2}, hoverinfo="skip",
    )  # fmt: skip
    _scatter(figure, [p for p in complete if p.trial.rank == 1], "winner", ORANGE, "star", 15)
    known = facts.reference(sweep)
    _scatter(
        figure, [p for p in facts.points(sweep, "complete", "pruned") if p.trial is known],
        "reference", VIOLET, "diamond-open", 17,  # around the winner, where it is both
    )  # fmt: skip
    allowed = facts.limit(sweep)
    over = [facts.parameters(t, allowed) for t in sweep.of("over budget")]
    sized = [(t, p) for t, p in zip(sweep.of("over budget"), over, strict=True) if p is not None]
    if sized:  # they have no score: marked along the lower edge
        figure.add_scatter(
            x=[p for _, p in sized], y=[0.02] * len(sized), yaxis="y2", mode="markers",
            name="over budget", marker={"color": RED, "symbol": "x-thin-open", "size": 8},
            text=[f"trial {t.number}" for t, _ in sized],
            hovertemplate="%{text}: %{x:,} parameters, not trained<extra></extra>",
        )  # fmt: skip
        figure.update_layout(
            yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
        )
    if allowed is not None:
        figure.add_vline(
            allowed, line={"color": RED, "dash": "dash", "width": 1.5},
            # To the right, where no trained candidate lies.
            annotation={"text": f"budget {allowed:,}", "textangle": -90, "xanchor": "left"},
        )  # fmt: skip
    _axes(figure, "parameters", score.name, percent=score.higher_is_better and _is_share(complete))
    if view := score_view(sweep):
        figure.update_yaxes(range=view, selector={"overlaying": None})
    return figure


def score_view(sweep: Sweep) -> tuple[float, float] | None:
    """The scores to look at first, where pruned trials would press the complete ones together."""
    complete = [p.score for p in facts.points(sweep, "complete")]
    every = complete + [p.score for p in facts.points(sweep, "pruned")]
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


def _is_share(points: Sequence[facts.Point]) -> bool:
    return all(0 <= p.score <= 1 for p in points)


def _scatter(
    figure: go.Figure, points: Sequence[facts.Point], name: str, color: str, symbol: str,
    size: int = 9,
) -> None:  # fmt: skip
    if points:
        figure.add_scatter(
            x=[p.parameters for p in points], y=[p.score for p in points], mode="markers",
            name=name, marker={"color": color, "symbol": symbol, "size": size},
            text=[_hover(p.trial) for p in points],
            hovertemplate="%{text}<br>%{x:,} parameters, %{y:.5g}<extra></extra>",
        )  # fmt: skip


def history_figure(sweep: Sweep) -> go.Figure:
    """The objective trial by trial, with what became of each, and the best so far."""
    figure = go.Figure()
    looks = {
        "complete": (BLUE, "circle"),
        "pruned": (GREY, "circle-open"),
        "duplicate": (VIOLET, "diamond-open"),
    }
    for state, (color, symbol) in looks.items():
        shown = [t for t in sweep.of(state) if t.value is not None]
        if shown:
            figure.add_scatter(
                x=[t.number for t in shown], y=[t.value for t in shown], mode="markers",
                name=state, marker={"color": color, "symbol": symbol, "size": 9},
                text=[_hover(t) for t in shown],
                hovertemplate="%{text}<br>%{y:.5g}<extra></extra>",
            )  # fmt: skip
    numbers, best = best_so_far(sweep)
    if numbers:
        figure.add_scatter(
            x=numbers, y=best, mode="lines", name="best so far", hoverinfo="skip",
            line={"color": GREEN, "shape": "hv", "width": 2},
        )  # fmt: skip
    for state, color, symbol in (("over budget", RED, "x-thin-open"), ("failed", RED, "x")):
        if marked := sweep.of(state):
            figure.add_scatter(
                x=[t.number for t in marked], y=[0.02] * len(marked), yaxis="y2", mode="markers",
                name=state, marker={"color": color, "symbol": symbol, "size": 9},
                text=[_hover(t) for t in marked], hovertemplate="%{text}<extra></extra>",
            )  # fmt: skip
    figure.update_layout(
        yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
    )
    _axes(figure, "trial", objective_name(sweep))
    values = [t.value for s in looks for t in sweep.of(s) if t.value is not None]
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
    better = max if sweep.directions[0] == "maximize" else min
    for trial in sweep.of("complete"):
        if trial.value is not None:
            numbers.append(trial.number)
            values.append(better([*values[-1:], trial.value]))
    if numbers:
        numbers.append(max(t.number for t in sweep.trials))
        values.append(values[-1])
    return numbers, values


def objective_name(sweep: Sweep) -> str:
    """`validation loss` where that is what the trials returned."""
    winner = sweep.winner
    if winner and winner.run and winner.value == winner.run.summary.get("val_loss", object()):
        return "validation loss"
    return "objective"


def curves_figure(runs: Sequence[tuple[str, Run, bool, bool]], key: str, title: str) -> go.Figure:
    """One line a run: (label, run, pruned?, highlighted?)."""
    figure = go.Figure()
    for label, run, pruned, highlighted in sorted(runs, key=lambda r: r[3]):
        rows = [row for row in run.epochs if key in row]
        color = ORANGE if highlighted else GREY if pruned else BLUE
        figure.add_scatter(
            x=[row["epoch"] for row in rows], y=[row[key] for row in rows], name=label,
            mode="lines+markers" if len(rows) < 2 else "lines", opacity=1 if highlighted else 0.6,
            line={"color": color, "width": 3 if highlighted else 1.3,
                  "dash": "dot" if pruned else "solid"},
            hovertemplate=f"{label}, epoch %{{x}}: %{{y:.4g}}<extra></extra>",
            showlegend=False,
        )  # fmt: skip
    _axes(figure, "epoch", title)
    _curve_axes(figure, [run for _, run, *_ in runs], [key])
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
    if is_wide(values := losses(runs, keys)):
        _log_axis(figure, values)
    if max((run.epochs[-1]["epoch"] for run in runs if run.epochs), default=0) <= 8:
        figure.update_xaxes(dtick=1)  # no ticks between epochs


def losses(runs: Sequence[Run], keys: Sequence[str]) -> list[float]:
    """These columns of all runs' metrics, in one list."""
    return [row[key] for run in runs for row in run.epochs for key in keys if key in row]


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


def seeds_figure(values: Sequence[float], labels: Sequence[str], low: float, high: float) -> Any:
    """Every seed's accuracy, the mean's interval behind."""
    figure = go.Figure()
    if high - low < float("inf"):
        figure.add_hrect(low, high, fillcolor=GREEN, opacity=0.18, line_width=0, layer="below")
    figure.add_hline(sum(values) / len(values), line={"color": GREEN, "width": 2})
    figure.add_scatter(
        x=list(labels), y=list(values), mode="markers", marker={"color": BLUE, "size": 10},
        hovertemplate="seed %{x}: %{y:.3%}<extra></extra>", showlegend=False,
    )  # fmt: skip
    _axes(figure, "seed", "accuracy", percent=True)
    figure.update_xaxes(type="category")
    if low < high < float("inf"):  # the interval's ends in view
        bottom, top = min(low, *values), max(high, *values)
        room = (top - bottom) / 8
        figure.update_yaxes(range=[bottom - room, top + room])
    return figure


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Parameter names without the parts that only say where they live, if still unambiguous."""
    short = {n: n.removeprefix("model.layers.").removeprefix("model.") for n in names}
    return short if len(set(short.values())) == len(short) else {n: n for n in names}


def searched(sweep: Sweep) -> list[str]:
    """Parameters that took more than one value among complete trials, in the first's order."""
    names = dict.fromkeys(name for t in sweep.of("complete") for name in t.params)
    varied = {n: {repr(t.params.get(n)) for t in sweep.of("complete")} for n in names}
    return [n for n in names if len(varied[n]) > 1]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Optuna without its log lines and hints, which are about calls a person did not make."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)


def complete_study(sweep: Sweep) -> optuna.Study:
    """A copy in memory of the complete trials, their first objective, short parameter names."""
    assert sweep.study is not None
    complete = {t.number for t in sweep.of("complete")}
    trials = [t for t in sweep.study.trials if t.number in complete]
    names = short_names(list(dict.fromkeys(n for t in trials for n in t.params)))
    copy = optuna.create_study(direction=sweep.study.directions[0])
    for t in trials:
        copy.add_trial(_renamed(t, names))
    return copy


def _renamed(trial: FrozenTrial, names: dict[str, str]) -> FrozenTrial:
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE,
        params={names[k]: v for k, v in trial.params.items()},
        distributions={names[k]: v for k, v in trial.distributions.items()},
        value=trial.values[0],
    )


def importances(sweep: Sweep) -> dict[str, float]:
    """Each parameter's share in what makes a good trial, Optuna's estimate."""
    with quiet():
        return optuna.importance.get_param_importances(complete_study(sweep))


def importances_figure(shares: dict[str, float]) -> go.Figure:
    """Bars, the most important on top."""
    names = list(reversed(shares))
    figure = go.Figure(
        go.Bar(
            x=[shares[n] for n in names], y=names, orientation="h", marker_color=BLUE,
            texttemplate="%{x:.0%}", textposition="auto", textangle=0,
            hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        )
    )  # fmt: skip
    _axes(figure, "share of the objective's variation", "", percent=False)
    figure.update_xaxes(tickformat=".0%", rangemode="tozero")
    figure.update_yaxes(showgrid=False)
    figure.update_layout(height=110 + 34 * len(names))
    return figure


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
    chosen = [f"{name}={_short(trial.params[full])}" for full, name in _names(trial).items()]
    return "<br>".join([f"trial {trial.number}", *map(plain, chosen)])


def _names(trial: Trial) -> dict[str, str]:
    return short_names(list(trial.params))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def plain(text: str) -> str:
    """Text that means itself in a figure: plotly reads a few HTML tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _axes(figure: go.Figure, x: str, y: str, percent: bool = False) -> None:
    figure.update_xaxes(title=x, automargin=True)
    figure.update_yaxes(title={"text": y, "standoff": 12}, automargin=True)
    if percent:
        figure.update_layout(yaxis_tickformat=".3~%")
    figure.update_layout(height=420)
