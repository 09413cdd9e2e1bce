"""The layer table of a configuration, against its budget."""

from __future__ import annotations

from budgetsweep.config import Config
from budgetsweep.network.budget import refuse_constants
from budgetsweep.network.fit import fit
from budgetsweep.network.limits import measure


def layer_table(config: Config) -> tuple[str, bool]:
    """The layer table as text, and whether the network is within its budget."""
    model = fit(config.model, config.data, config.budget)
    cost, measures = measure(model, config.data, config.budget)
    refuse_constants(model, cost)
    rows = [
        [
            layer.name,
            "×".join(map(str, layer.output)),
            f"{layer.parameters:,}",
            f"{layer.macs:,}",
            f"{layer.receptive_field}",
            layer.operations,
        ]
        for layer in cost.layers
    ]
    head = ["layer", "output", "parameters", "MACs", "receptive field", "operations"]
    total = ["total", "", f"{cost.parameters:,}", f"{cost.macs:,}", "", ""]
    lines = _align([head, *rows, total])
    lines.insert(1, "─" * len(lines[0]))
    lines.insert(-1, "─" * len(lines[0]))
    if config.budget.fit:
        lines.append(f"width_multiplier {model.width_multiplier:g}, chosen to fit")
    lines += map(str, measures)
    return "\n".join(lines), all(m.over <= 0 for m in measures)


def _align(rows: list[list[str]]) -> list[str]:
    """Columns of equal width: words to the left, numbers to the right; the longest words are the last."""
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(size) if 2 <= i <= 4 else cell.ljust(size)
            for i, (cell, size) in enumerate(zip(row, sizes, strict=True))
        ).rstrip()
        for row in rows
    ]
