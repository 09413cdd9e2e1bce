"""One line a trial across its value and the searched parameters, as Optuna draws it."""

from __future__ import annotations

import optuna
import plotly.graph_objects as go

from budgetsweep.report.common import Common, quiet
from budgetsweep.report.drawing import GREY
from budgetsweep.report.page import Plot, Section

_WORST, _BEST = (120, 135, 160), (240, 140, 10)


def figure(common: Common) -> go.Figure:
    """Optuna's lines in colours that are seen on white and on near-black, the best one thick."""
    with quiet():
        drawn = optuna.visualization.plot_parallel_coordinate(common.study, target_name=common.name)
    lines = drawn.data[: len(common.trials)]
    for place, line in enumerate(lines, start=1):
        # By place among the trials, as one very bad value would leave the others alike.
        line.update(line_color=_color(place / len(lines)), opacity=0.75)
    lines[-1].update(line_width=3.5, opacity=1)
    drawn.data = lines  # without the scale of colours
    drawn.update_annotations(font_color=GREY)
    drawn.update_xaxes(automargin=True, autotickangles=[0, -45], ticklabeloverflow="allow")
    return drawn.update_layout(title=None, height=440)


def _color(share: float) -> str:
    mixed = (round(w + share * (b - w)) for w, b in zip(_WORST, _BEST, strict=True))
    return f"rgb({','.join(map(str, mixed))})"


def section(common: Common) -> Section:
    """The picture, and how it is read."""
    caption = (
        f"One line a trial ({common.n}) across its {common.name} and its parameters. The more "
        "orange, the better; the best is thick."
    )
    plot = Plot("parallel", figure(common), caption, columns=len(common.names) + 1)
    return Section("Parallel coordinates", [plot])
