"""The largest network of given proportions that meets a budget."""

from __future__ import annotations

from dataclasses import replace

from budgetsweep.config import BudgetConfig, DataConfig, ModelConfig
from budgetsweep.errors import BudgetError, SettingError
from budgetsweep.network.limits import Measure, limits, measure


def fit(model: ModelConfig, data: DataConfig, budget: BudgetConfig) -> ModelConfig:
    """The model as configured; with `budget.fit` the largest of its proportions within every limit on size.

    That is the largest `width_multiplier`, to 1/10,000, found by bisection, since a wider network costs
    more. Nearly always: where widths meet, a residual block's projection vanishes, so that a slightly
    wider network may cost less; what is found meets every limit, and such a wider one may be missed.

    Raises:
        BudgetError: even the narrowest rows are over a limit.
    """
    if not budget.fit:
        return model
    scaled = limits(budget).keys() - {"receptive_field"}
    if not scaled:
        raise SettingError("budget.fit", "true", "needs a limit to fit to, such as", "budget=20k.")

    def over(model: ModelConfig) -> list[Measure]:
        _, measures = measure(model, data, budget)
        return [m for m in measures if m.name in scaled and m.over > 0]

    def fits(ticks: int) -> bool:
        return not over(replace(model, width_multiplier=ticks / 10_000))

    if not fits(1):
        most = max(over(narrowest(model)), key=lambda m: m.excess)
        raise BudgetError(
            f"nothing fits: at its narrowest the network still has {most.value:,} {most.words}, and "
            f"{most.key}={most.limit:,}. Drop rows ('model.layers.NAME=null'), use model.head=gap, "
            "or raise the limit."
        )
    low, high = 1, 64 * 10_000 + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return replace(model, width_multiplier=low / 10_000)


def narrowest(model: ModelConfig) -> ModelConfig:
    """The model with the fewest channels that its rows can have, mostly one."""
    return replace(model, width_multiplier=1e-9)
