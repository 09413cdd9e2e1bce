"""A network's rows and what each costs, drawn and told beside the reference's."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from budgetsweep.network.cost import Cost, LayerCost
from budgetsweep.network.limits import in_words, measure
from budgetsweep.network.saved import SavedRun
from budgetsweep.report.drawing import BLUE, VIOLET, axes, plain
from budgetsweep.report.page import Block, Pair, Plot, Table, text

_HEAD = ["layer", "operations", "output", "parameters", "MACs", "receptive field"]


def blocks(saved: SavedRun, cost: Cost, beside: Cost | None, whose: str) -> list[Block]:
    """The picture, the table, and the limits in words."""
    config = saved.config
    measures = measure(config.model, config.data, config.budget)[1]
    limits = "; ".join(map(str, measures))
    by = "macs" if [m.name for m in measures] == ["macs"] else "parameters"
    drawn = f"Where {whose} spends its {in_words(by)}, row by row"
    drawn += ", beside the reference" if beside else ""
    small = "Small figures are the reference's, where it differs. " if beside else ""
    return [
        Plot("rows", figure(cost, beside, by, whose), f"{drawn}; at the bars their outputs."),
        _table(cost, beside),
        text(
            small + (f"Against the budget: {limits}." if limits else "There was no budget."),
            kind="soft",
        ),
    ]


def figure(cost: Cost, beside: Cost | None, by: str, whose: str) -> go.Figure:
    """A bar a row and network, as long as what the row costs."""
    drawn = go.Figure()
    for name, color, of in (("reference", VIOLET, beside), (whose, BLUE, cost)):
        if of is not None:
            costs = [getattr(layer, by) for layer in of.layers]
            drawn.add_bar(
                x=costs, y=[plain(layer.name) for layer in of.layers], name=name, orientation="h",
                text=[_output(layer) for layer in of.layers], textposition="auto",
                marker_color=color, hovertemplate="%{y}: %{x:,}<extra></extra>",
                showlegend=beside is not None,
            )  # fmt: skip
    names = _names(cost, beside)
    axes(drawn, in_words(by), "")
    drawn.update_yaxes(showgrid=False, categoryarray=[plain(n) for n in reversed(names)])
    height = 110 + (44 if beside else 30) * len(names)
    return drawn.update_layout(barmode="group", height=height, legend_traceorder="reversed")


def _names(cost: Cost, beside: Cost | None) -> list[str]:
    """The rows of both, the network's own order first."""
    every = [*cost.layers, *(beside.layers if beside else [])]
    return list(dict.fromkeys(layer.name for layer in every))


def _table(cost: Cost, beside: Cost | None) -> Table:
    own, other = _by_name(cost), _by_name(beside) if beside else {}
    rows: list[list[Any]] = []
    foot: list[Any] = ["total", "", "", f"{cost.parameters:,}", f"{cost.macs:,}", ""]
    for name in _names(cost, beside):
        told = own.get(name, ["none"] + [""] * 4)
        known = other.get(name, ["none"] + [""] * 4) if beside else told
        rows.append(
            [name, *(Pair(a, b) if a != b else a for a, b in zip(told, known, strict=True))]
        )
    if beside:
        foot[3:5] = [Pair(foot[3], f"{beside.parameters:,}"), Pair(foot[4], f"{beside.macs:,}")]
    return Table(_HEAD, rows, foot, words=3)


def _by_name(cost: Cost) -> dict[str, list[str]]:
    return {layer.name: _cells(layer) for layer in cost.layers}


def _cells(layer: LayerCost) -> list[str]:
    costs = [layer.parameters, layer.macs, layer.receptive_field]
    return [layer.operations, _output(layer), *(f"{n:,}" for n in costs)]


def _output(layer: LayerCost) -> str:
    return "×".join(map(str, layer.output))
