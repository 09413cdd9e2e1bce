"""How much each parameter matters, as Optuna estimates it."""

from __future__ import annotations

import optuna
import plotly.graph_objects as go

from budgetsweep.report.common import Common, quiet
from budgetsweep.report.drawing import BLUE, axes
from budgetsweep.report.page import Plot, Section, text

FEW = 20  # trials under which importances are a hint


def figure(common: Common) -> go.Figure:
    """Each parameter's share in what makes a good trial.

    Raises:
        ValueError, RuntimeError: they cannot be estimated.
    """
    with quiet():
        drawn = optuna.visualization.plot_param_importances(common.study)
    drawn.update_traces(marker_color=BLUE, selector={"type": "bar"})
    axes(drawn, "share of the objective's variation", "")
    drawn.update_yaxes(showgrid=False)
    drawn.update_layout(title=None, showlegend=False, height=110 + 34 * len(common.names))
    return drawn


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
