"""Whether a network is within its budget: asked by a sweep, enforced in a run."""

from __future__ import annotations

from collections.abc import Mapping

from omegaconf import DictConfig, OmegaConf

from budgetsweep.config import BudgetConfig, DataConfig, ModelConfig, check, check_objectives
from budgetsweep.errors import BudgetError, SettingError
from budgetsweep.network.cost import Cost, cost_of
from budgetsweep.network.fit import fit, narrowest
from budgetsweep.network.limits import LIMITS, excess
from hydra_budget_sweeper.errors import SweepError


def violations(cfg: DictConfig) -> Mapping[str, float]:
    """The sweep's constraint: a composed configuration → each limit's relative excess.

    A network that cannot be built at all (its feature map vanishes, say) has the one violation
    `shape`. With `budget.fit` the widths adapt, so that only what cannot be made to fit is over.

    Raises:
        SweepError: no candidate could give the sweep's objectives.
    """
    try:
        check_objectives(cfg.objectives, cfg.data.validation)
    except SettingError as error:
        raise SweepError(str(error)) from None
    model, data, budget = (OmegaConf.to_object(cfg[k]) for k in ("model", "data", "budget"))
    assert isinstance(model, ModelConfig)
    assert isinstance(data, DataConfig)
    assert isinstance(budget, BudgetConfig)
    try:
        check(model, "model.")
        if budget.fit:
            model = fit(model, data, budget)
        return {"shape": 0.0, **excess(cost_of(model, data), budget)}
    except BudgetError:
        return {"shape": 0.0, **excess(cost_of(narrowest(model), data), budget)}
    except SettingError:
        return {"shape": 1.0}


def enforce(model: ModelConfig, data: DataConfig, budget: BudgetConfig) -> tuple[ModelConfig, Cost]:
    """The model to train and its cost: as configured, or with `budget.fit` scaled to fit.

    Raises:
        BudgetError: it is over a limit; names the count, the limit and the largest rows.
    """
    if budget.fit:
        model = fit(model, data, budget)
    cost = cost_of(model, data)
    for name, over in excess(cost, budget).items():
        if over > 0:
            raise BudgetError(_refusal(cost, name, getattr(budget, LIMITS[name])))
    return model, cost


def _refusal(cost: Cost, name: str, limit: int) -> str:
    value = getattr(cost, name)
    largest = sorted(cost.layers, key=lambda layer: getattr(layer, name), reverse=True)[:3]
    rows = ", ".join(f"{layer.name} {getattr(layer, name):,}" for layer in largest)
    return (
        f"over budget: {value:,} {name.replace('_', ' ')}, {value - limit:,} more than "
        f"budget.{LIMITS[name]}={limit:,}; largest rows: {rows}. Make a row narrower "
        f"(model.layers.{largest[0].name}.width=...), set budget.fit=true to scale all widths, "
        f"or raise the limit."
    )
