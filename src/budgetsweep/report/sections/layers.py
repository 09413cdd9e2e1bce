"""A network's rows and what each costs, the reference's beside them."""

from __future__ import annotations

from budgetsweep.network.cost import Cost, LayerCost
from budgetsweep.network.limits import measure
from budgetsweep.report.page import Block, Table, text
from budgetsweep.runs.loading import SavedRun

_HEAD = ["layer", "operations", "output", "parameters", "MACs", "receptive field"]


def blocks(saved: SavedRun, cost: Cost, beside: Cost | None) -> list[Block]:
    """The table, and the limits in words."""
    head, foot = list(_HEAD), _total(cost)
    rows = [_row(layer) for layer in cost.layers]
    if beside is not None:
        head += ["reference: output", "parameters", "MACs"]
        there = {layer.name: layer for layer in beside.layers}
        empty = ["", "", ""]
        for row in rows:
            row += _row(there.pop(row[0]))[2:5] if row[0] in there else empty
        rows += [[n, *empty, "", "", *_row(layer)[2:5]] for n, layer in there.items()]
        foot += _total(beside)[2:5]
    config = saved.config
    limits = "; ".join(map(str, measure(config.model, config.data, config.budget)[1]))
    said = f"Against the budget: {limits}." if limits else "There was no budget."
    return [Table(head, rows, foot, words=3), text(said, kind="soft")]


def _row(layer: LayerCost) -> list[str]:
    output = "×".join(map(str, layer.output))
    costs = [f"{layer.parameters:,}", f"{layer.macs:,}"]
    return [layer.name, layer.operations, output, *costs, str(layer.receptive_field)]


def _total(cost: Cost) -> list[str]:
    return ["total", "", "", f"{cost.parameters:,}", f"{cost.macs:,}", ""]
