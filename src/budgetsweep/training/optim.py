"""Optimizers and learning-rate schedules, from the configuration."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from budgetsweep.config import OptimizerConfig, SchedulerConfig


def _uncompiled(optimizer: type[Optimizer]) -> type[Any]:
    """The same optimizer without its ties to torch's compiler.

    torch's own imports the compiler, which takes longer than torch itself, only to tell it to keep
    off these methods.
    """
    names = "add_param_group", "zero_grad", "step", "state_dict", "load_state_dict"
    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in names}
    methods["step"] = torch.no_grad()(methods["step"])
    return type(optimizer.__name__, (optimizer,), methods)


def build_optimizer(config: OptimizerConfig, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """SGD or AdamW over all parameters, in their fused form."""
    if config.name == "adamw":
        return _uncompiled(AdamW)(
            parameters,
            lr=config.lr,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
            fused=True,
        )
    return _uncompiled(SGD)(
        parameters,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov and config.momentum > 0,
        weight_decay=config.weight_decay,
        fused=True,
    )


def build_scheduler(
    config: SchedulerConfig, optimizer: Optimizer, *, epochs: int, steps_per_epoch: int
) -> LRScheduler:
    """A schedule to be stepped after every batch."""
    total = epochs * steps_per_epoch
    if config.name == "one_cycle" and total > 1:
        (group,) = optimizer.param_groups
        return OneCycleLR(
            optimizer,
            max_lr=group["lr"],
            total_steps=total,
            pct_start=max(config.warmup, 1.5 / total),  # the rise takes a step at least
            div_factor=1 / config.start_factor,
            final_div_factor=_final_division(config),
            cycle_momentum=config.cycle_momentum,
        )
    return LambdaLR(optimizer, lambda step: factor(config, step, total, steps_per_epoch))


def _final_division(config: SchedulerConfig) -> float:
    """What OneCycleLR divides the first rate by for the last; 10,000 is its own default."""
    if config.end_factor is None:
        return 1e4
    return config.start_factor / config.end_factor if config.end_factor else math.inf


def factor(config: SchedulerConfig, step: int, total: int, steps_per_epoch: int) -> float:
    """The share of the peak rate at a step of a cosine, step or constant schedule."""
    if config.name == "step":
        return float(config.gamma ** (step // (config.step_epochs * steps_per_epoch)))
    if config.name == "constant":
        return 1.0
    warmup = round(config.warmup * total)
    if step < warmup:
        return config.start_factor + (1 - config.start_factor) * step / warmup
    end, share = config.end_factor or 0.0, min(1.0, (step - warmup) / max(1, total - warmup))
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * share))
