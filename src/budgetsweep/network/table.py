"""The layer table of a configuration, against its budget."""

from __future__ import annotations

from budgetsweep.config import Config
from budgetsweep.network.cost import cost_of
from budgetsweep.network.fit import fit
from budgetsweep.network.limits import LIMITS, excess


def layer_table(config: Config) -> tuple[str, bool]:
    """The layer table as text, and whether the network is within its budget."""
    model = config.model
    if config.budget.fit:
        model = fit(model, config.data, config.budget)
    cost = cost_of(model, config.data)
    rows = [
        [
            layer.name,
            layer.operations,
            "×".join(map(str, layer.output)),
            f"{layer.parameters:,}",
            f"{layer.macs:,}",
            f"{layer.receptive_field}",
        ]
        for layer in cost.layers
    ]
    head = ["layer", "operations", "output", "parameters", "MACs", "receptive field"]
    total = ["total", "", "", f"{cost.parameters:,}", f"{cost.macs:,}", ""]
    lines = _align([head, *rows, total])
    lines.insert(1, "─" * len(lines[0]))
    lines.insert(-1, "─" * len(lines[0]))
    if config.budget.fit:
        lines.append(f"width_multiplier {model.width_multiplier:g}, chosen to fit")
    over = excess(cost, config.budget)
    for name, share in over.items():
        value, limit = getattr(cost, name), getattr(config.budget, LIMITS[name])
        verdict = f"{value - limit:,} over" if share > 0 else f"{limit - value:,} to spare"
        lines.append(f"{name.replace('_', ' ')}: {value:,} of {limit:,}, {verdict}")
    return "\n".join(lines), all(share <= 0 for share in over.values())


def _align(rows: list[list[str]]) -> list[str]:
    """Columns of equal width: words to the left, numbers to the right."""
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(size) if i < 3 else cell.rjust(size)
            for i, (cell, size) in enumerate(zip(row, sizes, strict=True))
        ).rstrip()
        for row in rows
    ]
