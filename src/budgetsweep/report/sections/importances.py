"""How much each parameter matters, as Optuna estimates it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from budgetsweep.report.common import Common
from budgetsweep.report.drawing import BLUE, axes, plain, short_names
from budgetsweep.report.page import Plot, Section, text

FEW = 20  # trials under which importances are a hint


def figure(common: Common) -> go.Figure:
    """Optuna's picture of each parameter's share in what makes a good trial.

    Raises:
        ValueError, RuntimeError: they cannot be estimated.
    """
    short = {n: plain(s) for n, s in short_names(common.names).items()}
    columns = {n: [_scalar(t.told.params[n]) for t in common.trials] for n in common.names}
    spaces = {short[n]: _distribution(column) for n, column in columns.items()}
    with _quiet():
        study = optuna.create_study()
        for i, value in enumerate(common.values):
            params = {short[n]: column[i] for n, column in columns.items()}
            trial = optuna.trial.create_trial(params=params, distributions=spaces, value=value)
            study.add_trial(trial)
        drawn = optuna.visualization.plot_param_importances(study)
    drawn.update_traces(marker_color=BLUE, selector={"type": "bar"})
    axes(drawn, "share of the objective's variation", "")
    drawn.update_yaxes(showgrid=False)
    drawn.update_layout(title=None, showlegend=False, height=110 + 34 * len(common.names))
    return drawn


def _scalar(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else str(value)


def _distribution(column: list[Any]) -> BaseDistribution:
    """A space that holds what was tried; numbers beside words are words."""
    if all(isinstance(v, float) for v in column):
        return FloatDistribution(min(column), max(column))
    return CategoricalDistribution(list(dict.fromkeys(column)))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Optuna without its log lines and hints, which are about calls a person did not make."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)


def section(common: Common) -> Section:
    """The picture, or why there is none."""
    try:
        drawn = figure(common)
    except (ValueError, RuntimeError) as error:
        return Section("Importances", [text(f"Optuna cannot estimate them: {error}")])
    hint = f"; with under {FEW}, take it as a hint" if len(common.trials) < FEW else ""
    caption = (
        "How much of the variation each parameter explains, as Optuna estimates it from the "
        f"{common.name} of {common.n}{hint}."
    )
    return Section("Importances", [Plot("importances", drawn, caption)])
