"""The limits of a budget, and how far a cost exceeds them."""

from __future__ import annotations

from budgetsweep.config import BudgetConfig
from budgetsweep.network.cost import Cost

LIMITS = {
    "parameters": "max_parameters",
    "macs": "max_macs",
    "activation_bytes": "max_activation_bytes",
}


def excess(cost: Cost, budget: BudgetConfig) -> dict[str, float]:
    """Each limit's (value − limit) / limit; above 0 the limit is broken."""
    limits = {name: getattr(budget, field) for name, field in LIMITS.items()}
    return {
        name: (getattr(cost, name) - limit) / limit
        for name, limit in limits.items()
        if limit is not None
    }
