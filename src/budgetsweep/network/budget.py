"""Whether a network is within its budget: asked by a sweep, enforced in a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from budgetsweep.config import (
    BLOCKS,
    BudgetConfig,
    DataConfig,
    LayerConfig,
    ModelConfig,
    check,
    check_objectives,
    refuse_missing,
    typed,
)
from budgetsweep.data.resolve import resolve
from budgetsweep.errors import BudgetError, SettingError, UserError
from budgetsweep.network.cost import HEAD, Cost
from budgetsweep.network.fit import fit, narrowest
from budgetsweep.network.limits import Measure, excess, limits, measure
from budgetsweep.network.modules import norm_groups
from hydra_budget_sweeper.errors import SweepError


def violations(cfg: DictConfig) -> Mapping[str, float]:
    """The sweep's constraint: a composed configuration → each limit's relative excess.

    A network that cannot be built at all (its feature map vanishes, say) has the one violation
    `shape`. With `budget.fit` the widths adapt, so that only what cannot be made to fit is over.

    Raises:
        SweepError: no candidate could give the sweep's objectives.
    """
    try:
        refuse_missing(cfg)
        data, budget = resolve(typed(cfg, "data")), typed(cfg, "budget")
        check(budget, "budget.")
        limits(budget)
        check_objectives(cfg.objectives, data.validation, cfg.target)
    except UserError as error:  # no candidate's fault: none could do better
        raise SweepError(str(error)) from None
    try:
        model = fit(_model(cfg), data, budget)
        cost, measures = measure(model, data, budget)
        refuse_constants(model, cost)
        refuse_single_values(cost, cfg.trainer.batch_size)
        return {"shape": 0.0, **excess(measures)}
    except BudgetError:
        _, measures = measure(narrowest(_model(cfg)), data, budget)
        return {"shape": 0.0, **excess(measures)}
    except SettingError:
        return {"shape": 1.0}


def _model(cfg: DictConfig) -> ModelConfig:
    model: ModelConfig = typed(cfg, "model")
    for name, row in model.layers.items():
        if isinstance(row, dict):  # an override added it, and it has no types yet
            whole: Any = OmegaConf.merge(OmegaConf.structured(LayerConfig), row)
            model.layers[name] = OmegaConf.to_object(whole)
    check(model, "model.")
    return model


def refuse_single_values(cost: Cost, batch_size: int) -> None:
    """Refuse a training whose batch norm would average over one value a channel.

    Raises:
        SettingError: the batch is one image, and a batch norm's map one pixel.
    """
    norms = [(layer.name, norm) for layer in cost.layers for norm in layer.norms]
    for row, norm in norms:
        if batch_size == 1 and norm.kind == "batch_norm" and norm.values == 1:
            other = "group" if norm_groups(norm.channels) < norm.channels else "none"
            raise SettingError(
                "trainer.batch_size",
                batch_size,
                f"the map in model.layers.{row} has one pixel there, and batch norm cannot be "
                "trained on a single value a channel.",
                f"Train on batches of two images or more, or set model.layers.{row}.norm={other}.",
            )


def refuse_constants(model: ModelConfig, cost: Cost) -> None:
    """Refuse a network with a norm that gives the same for every image.

    Raises:
        SettingError: a group of group norm, or what another averages over in each image by itself,
            is a single value, which less itself is 0.
    """
    for layer in cost.layers:
        for norm in layer.norms:
            if norm.kind == "batch_norm" or norm.values > 1:
                continue
            row = model.layers.get(layer.name)
            block = (row and row.block) or model.defaults.block
            if block and block not in BLOCKS:
                raise SettingError(
                    f"model.layers.{layer.name}.block",
                    block,
                    f"its {norm.kind.replace('_', ' ')} has a single value of each image to average "
                    "over, and gives the same for all.",
                    "Keep a larger map there, or more channels in a group.",
                )
            raise SettingError(
                f"model.layers.{layer.name}.norm",
                "group",
                f"the map has one pixel there and each of its {norm.channels} channels is a group by "
                "itself, so that the norm gives the same for every image.",
                "Keep a larger map there, norm more than 8 channels, or set norm=batch or none.",
            )


def enforce(model: ModelConfig, data: DataConfig, budget: BudgetConfig) -> tuple[ModelConfig, Cost]:
    """The model to train and its cost: as configured, or with `budget.fit` scaled to fit.

    Raises:
        SettingError: the rows do not make a network that could learn.
        BudgetError: it is over a limit; names the count, the limit and the largest rows.
    """
    model = fit(model, data, budget)
    cost, measures = measure(model, data, budget)
    refuse_constants(model, cost)
    if broken := [m for m in measures if m.over > 0]:
        raise BudgetError(_refusal(broken[0], broken[1:]))
    return model, cost


def _refusal(first: Measure, others: list[Measure]) -> str:
    also = "".join(f"; also over {m.key}={m.limit:,}, by {m.over:,}" for m in others)
    if first.is_least:
        return (
            f"over budget: {first.words} {first.value:,}, {first.over:,} less than "
            f"{first.key}={first.limit:,}{also}. Add rows, or give some a larger kernel, dilation, "
            "stride or pool, or lower the limit."
        )
    largest = sorted(first.rows.items(), key=lambda row: row[1], reverse=True)[:3]
    rows = ", ".join(f"{name} {value:,}" for name, value in largest)
    name = largest[0][0]
    advice = f"Make a row narrower (model.layers.{name}.width=...)"
    if name == HEAD:
        advice = "Average the last map (model.head=gap), pool more before it, make its row narrower"
    return (
        f"over budget: {first.value:,} {first.words}, {first.over:,} more than "
        f"{first.key}={first.limit:,}; largest rows: {rows}{also}. {advice}, "
        f"set budget.fit=true to scale all widths, or raise the limit."
    )
