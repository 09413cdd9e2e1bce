"""`python -m budgetsweep.summary`: the layer table of a configuration, against its budget."""

from __future__ import annotations

import sys

import hydra
from omegaconf import DictConfig

from budgetsweep.config import CONF_DIR, Config, register, to_config
from budgetsweep.errors import UserError

register()


@hydra.main(config_path=str(CONF_DIR), config_name="summary")
def main(cfg: DictConfig) -> None:
    """Print the table; an over-budget network is shown too, and exits with 1."""
    try:
        text, within = table(to_config(cfg))
    except UserError as error:
        sys.exit(str(error))
    print(text)
    if not within:
        sys.exit(1)


def table(config: Config) -> tuple[str, bool]:
    """The layer table as text, and whether the network is within its budget."""
    from budgetsweep import budget

    model = config.model
    if config.budget.fit:
        model = budget.fit(model, config.data, config.budget)
    cost = budget.cost_of(model, config.data)
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
    over = budget.excess(cost, config.budget)
    for name, share in over.items():
        value, limit = getattr(cost, name), getattr(config.budget, budget.LIMITS[name])
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


if __name__ == "__main__":
    main()
