"""A search space: what is suggested in which order, and the overrides of one candidate."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from hydra_budget_sweeper.space.axes import Axis
from hydra_budget_sweeper.space.grammar import override_text

Params = dict[str, Any]


@dataclass(frozen=True)
class Space:
    """The searched axes in the order they are suggested, and what every trial has in common."""

    axes: tuple[Axis, ...]
    fixed: dict[str, str]
    deletions: tuple[str, ...]

    def active(self, axis: Axis, params: Mapping[str, Any]) -> bool:
        """Return whether `axis` exists beside the values chosen so far."""
        return all(self._text_of(c.name, params) in c.texts for c in axis.when)

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """Write one candidate as Hydra overrides, in the stock sweeper's order."""
        by_name = {axis.name: axis for axis in self.axes}
        searched = [
            f"{name}={by_name[name].text(value) if name in by_name else override_text(value)}"
            for name, value in params.items()
        ]
        return [*searched, *self.fixed_overrides()]

    def fixed_overrides(self) -> list[str]:
        return [*(f"{name}={text}" for name, text in self.fixed.items()), *self.deletions]

    def decode(self, params: Mapping[str, Any]) -> Params:
        """Turn stored values into what the configuration holds."""
        by_name = {axis.name: axis for axis in self.axes}
        return {n: by_name[n].value(v) if n in by_name else v for n, v in params.items()}

    def candidates(self) -> Iterator[Params]:
        """Walk through every candidate of a finite space."""
        values = [axis.values() or [] for axis in self.axes]
        for combination in product(*values):
            drawn = dict(zip((axis.name for axis in self.axes), combination, strict=True))
            yield self.without_inactive(drawn)

    def without_inactive(self, drawn: Mapping[str, Any]) -> Params:
        params: Params = {}
        for axis in self.axes:
            if self.active(axis, params):
                params[axis.name] = drawn[axis.name]
        return params

    def size(self) -> int | None:
        """Return how many candidates there are at most; None where that is not finite."""
        values = [axis.values() for axis in self.axes]
        return None if any(v is None for v in values) else prod(len(v or ()) for v in values)

    def describe(self) -> dict[str, str]:
        return {axis.name: axis.describe() for axis in self.axes}

    def _text_of(self, name: str, params: Mapping[str, Any]) -> str | None:
        for axis in self.axes:
            if axis.name == name:
                return axis.text(params[name]) if name in params else None
        return self.fixed.get(name)
