"""What a sweep compares its trials by while they train: early, cheap, and telling of the end.

A look takes the loss of some validation images by batch statistics. The running averages that batch
norm evaluates with lag behind weights that change fast: while the learning rate is high, a loss by
them says more about the lag than about the network (docs/benchmarks.md has figures).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from budgetsweep.config import Config
from budgetsweep.data import Images
from budgetsweep.training.evaluation import Evaluation, evaluate
from budgetsweep.training.number_format import Format

BATCH_SIZE = 500  # images whose statistics a look takes together
SPACING = 3  # a look comes after so many times the steps of the one before


def look_steps(first: int | None, epoch: int, steps_per_epoch: int) -> set[int]:
    """The steps within an epoch after which there is a look, counted from 1; epochs from 0."""
    steps, step = set(), first
    while step and step < (epoch + 1) * steps_per_epoch:
        steps.add(step - epoch * steps_per_epoch)
        step *= SPACING
    return {step for step in steps if step > 0}


def sample(validation: Images, n: int, seed: int) -> Images:
    """At most `n` of the validation images in a random order, in full batches where there is one."""
    n = min(n, len(validation))
    if n > BATCH_SIZE:
        n -= n % BATCH_SIZE
    generator = torch.Generator().manual_seed(seed)
    return validation[torch.randperm(len(validation), generator=generator)[:n]]


def look(network: nn.Module, images: Images, config: Config, fmt: Format) -> Evaluation:
    """Loss and accuracy by the statistics of these images; changes nothing in the network."""
    with _batch_statistics(network):
        return evaluate(network, images, config, fmt, BATCH_SIZE)


@contextmanager
def _batch_statistics(network: nn.Module) -> Iterator[None]:
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    kept = [(norm.running_mean, norm.running_var) for norm in norms]
    for norm in norms:
        norm.running_mean = norm.running_var = None
    try:
        yield
    finally:
        for norm, (mean, variance) in zip(norms, kept, strict=True):
            norm.running_mean, norm.running_var = mean, variance
