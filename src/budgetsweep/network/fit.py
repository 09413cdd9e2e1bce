"""The largest network of given proportions that meets a budget."""

from __future__ import annotations

from dataclasses import replace

from budgetsweep.config import BudgetConfig, DataConfig, ModelConfig
from budgetsweep.errors import BudgetError, SettingError
from budgetsweep.network.cost import cost_of
from budgetsweep.network.limits import LIMITS, excess


def fit(model: ModelConfig, data: DataConfig, budget: BudgetConfig) -> ModelConfig:
    """The model with the largest `width_multiplier` (to 1/10,000) that meets every limit.

    Found by bisection, since a wider network costs more. Nearly always: where widths meet, a residual
    block's projection vanishes, so that a slightly wider network may cost less; what is found meets
    every limit, and such a wider one may be missed.

    Raises:
        BudgetError: even the narrowest rows are over a limit.
    """
    if all(limit is None for limit in (getattr(budget, f) for f in LIMITS.values())):
        raise SettingError("budget.fit", "true", "needs a limit to fit to, such as", "budget=20k.")

    def fits(ticks: int) -> bool:
        candidate = replace(model, width_multiplier=ticks / 10_000)
        return all(over <= 0 for over in excess(cost_of(candidate, data), budget).values())

    if not fits(1):
        least = cost_of(narrowest(model), data)
        name, _ = max(excess(least, budget).items(), key=lambda item: item[1])
        raise BudgetError(
            f"nothing fits: at its narrowest the network still has "
            f"{getattr(least, name):,} {name.replace('_', ' ')}, and "
            f"budget.{LIMITS[name]}={getattr(budget, LIMITS[name]):,}. Drop rows "
            f"('model.layers.NAME=null'), use model.head=gap, or raise the limit."
        )
    low, high = 1, 64 * 10_000 + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return replace(model, width_multiplier=low / 10_000)


def narrowest(model: ModelConfig) -> ModelConfig:
    """The model with the fewest channels that its rows can have, mostly one."""
    return replace(model, width_multiplier=1e-9)
