"""Whether a network is within its budget: asked by a sweep, enforced in a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from budgetsweep.config import BudgetConfig, DataConfig, LayerConfig, ModelConfig, check
from budgetsweep.errors import BudgetError, SettingError
from budgetsweep.network.cost import Cost, cost_of
from budgetsweep.network.fit import fit, narrowest
from budgetsweep.network.limits import LIMITS, excess


def violations(cfg: DictConfig) -> Mapping[str, float]:
    """The sweep's constraint: a composed configuration → each limit's relative excess.

    A network that cannot be built at all (its feature map vanishes, say) has the one violation
    `shape`. With `budget.fit` the widths adapt, so that only what cannot be made to fit is over.
    """
    data, budget = (OmegaConf.to_object(cfg[k]) for k in ("data", "budget"))
    assert isinstance(data, DataConfig)
    assert isinstance(budget, BudgetConfig)
    try:
        model = _model(cfg)
        if budget.fit:
            model = fit(model, data, budget)
        cost = cost_of(model, data)
        refuse_single_values(cost, cfg.trainer.batch_size)
        return {"shape": 0.0, **excess(cost, budget)}
    except BudgetError:
        return {"shape": 0.0, **excess(cost_of(narrowest(_model(cfg)), data), budget)}
    except SettingError:
        return {"shape": 1.0}


def _model(cfg: DictConfig) -> ModelConfig:
    model = OmegaConf.to_object(cfg.model)
    assert isinstance(model, ModelConfig)
    for name, row in model.layers.items():
        if isinstance(row, dict):  # an override added it, and it has no types yet
            typed: Any = OmegaConf.merge(OmegaConf.structured(LayerConfig), row)
            model.layers[name] = OmegaConf.to_object(typed)
    check(model, "model.")
    return model


def refuse_single_values(cost: Cost, batch_size: int) -> None:
    """Refuse a training whose batch norm would average over one value a channel.

    Raises:
        SettingError: the batch is one image, and a batch norm's map one pixel.
    """
    for layer in cost.layers:
        if batch_size == 1 and layer.batch_norm_pixels == 1:
            raise SettingError(
                "trainer.batch_size",
                batch_size,
                f"the map in model.layers.{layer.name} has one pixel there, and batch norm cannot be "
                "trained on a single value a channel.",
                f"Train on batches of two images or more, or set model.layers.{layer.name}.norm=group.",
            )


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
