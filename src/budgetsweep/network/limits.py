"""The limits of a budget, and how far a network is from each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from budgetsweep.config import BYTES, BudgetConfig, DataConfig, ModelConfig
from budgetsweep.errors import SettingError
from budgetsweep.network.cost import FLOAT_BYTES, HEAD, Cost, cost_of
from budgetsweep.network.factory import build_model

LIMITS = {
    "parameters": "max_parameters",
    "macs": "max_macs",
    "weight_bytes": "max_weight_bytes",
    "activation_bytes": "max_activation_bytes",
    "receptive_field": "min_receptive_field",
}
_UNITS = {"b": 1, "kb": 1_000, "mb": 1_000_000, "kib": 1_024, "mib": 1_048_576}


def in_words(name: str) -> str:
    """A quantity's name to a person: `activation bytes`, `MACs`."""
    return "MACs" if name == "macs" else name.replace("_", " ")


@dataclass(frozen=True)
class Measure:
    """A limited quantity of a network, by row too where one may want to know the largest."""

    name: str
    limit: int
    value: int
    rows: Mapping[str, int]

    @property
    def key(self) -> str:
        return f"budget.{LIMITS[self.name]}"

    @property
    def words(self) -> str:
        return in_words(self.name)

    @property
    def is_least(self) -> bool:
        """Whether the limit is the least that is allowed, which no width changes."""
        return LIMITS[self.name].startswith("min_")

    @property
    def over(self) -> int:
        """What is too much, or of the least allowed what is missing; 0 or less is within."""
        return self.limit - self.value if self.is_least else self.value - self.limit

    @property
    def excess(self) -> float:
        """`over` as a share of the limit."""
        return self.over / self.limit

    def __str__(self) -> str:
        verdict = "missing" if self.is_least else "over"
        verdict = f"{self.over:,} {verdict}" if self.over > 0 else f"{-self.over:,} to spare"
        at_least = "at least " if self.is_least else ""
        return f"{self.words}: {self.value:,} of {at_least}{self.limit:,}, {verdict}"


def limits(budget: BudgetConfig) -> dict[str, int]:
    """The limits that are set, by their quantity's name.

    Raises:
        SettingError: a number of bytes cannot be read.
    """
    given = {name: getattr(budget, key) for name, key in LIMITS.items()}
    return {name: _number(name, value) for name, value in given.items() if value is not None}


def measure(
    model: ModelConfig, data: DataConfig, budget: BudgetConfig
) -> tuple[Cost, list[Measure]]:
    """The network's cost, and each limited quantity of it."""
    cost = cost_of(model, data)
    return cost, [
        Measure(name, limit, *_quantity(name, cost, model, data, budget.bits))
        for name, limit in limits(budget).items()
    ]


def excess(measures: list[Measure]) -> dict[str, float]:
    """Each limit's (value − limit) / limit; above 0 the limit is broken."""
    return {m.name: m.excess for m in measures}


def weight_bytes(stage: nn.Module, bits: int) -> int:
    """The flash that a network's, or a row's, numbers take at `bits` bits.

    Kernels and matrices take `bits` bits a number. With 8, what is added up in 32 bits stays there,
    biases and norms, and every output channel of a kernel has a scale of 4 bytes, as in
    LiteRT's 8-bit quantization specification. Batch norm counts its two trainable numbers a channel:
    the running statistics are merged into them.
    """
    total = 0
    for parameter in stage.parameters():
        is_vector = parameter.ndim < 2
        total += parameter.numel() * (FLOAT_BYTES if is_vector and bits == 8 else bits // 8)
        total += 0 if is_vector or bits > 8 else len(parameter) * FLOAT_BYTES
    return total


def _quantity(
    name: str, cost: Cost, model: ModelConfig, data: DataConfig, bits: int
) -> tuple[int, dict[str, int]]:
    """A quantity of the whole network, and of each row."""
    if name == "weight_bytes":
        with torch.device("meta"):
            network = build_model(model, data)
        stages = [*network.layers.named_children(), (HEAD, network.head)]
        rows = {row: weight_bytes(stage, bits) for row, stage in stages}
        return sum(rows.values()), rows
    share = bits / (8 * FLOAT_BYTES) if name == "activation_bytes" else 1
    rows = {layer.name: round(getattr(layer, name) * share) for layer in cost.layers}
    return round(getattr(cost, name) * share), rows


def _number(name: str, value: int | str) -> int:
    if isinstance(value, int):
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kKmM]?i?[bB])", value)
    number = round(float(found[1]) * _UNITS.get(found[2].lower(), 0)) if found else 0
    if number < 1:
        raise SettingError(f"budget.{LIMITS[name]}", value, BYTES)
    return number
