"""One searched parameter: its values, how Optuna keeps them, and when it exists."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from random import Random
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hydra_budget_sweeper.space.grammar import (
    is_number,
    override_text,
    plain_key,
    read_value,
    same,
)

# Of a step; how far off the grid a value may be that was computed another way.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Condition:
    """Holds where the parameter or setting `key` has one of `texts`, as an override spells it."""

    key: str
    texts: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.key}={','.join(self.texts)}"

    @cached_property
    def values(self) -> list[Any]:
        return [read_value(text) for text in self.texts]

    def allows(self, value: Any) -> bool:
        """Return whether `value`, as the configuration holds it, is one of them."""
        return any(same(v, value) for v in self.values)

    def excludes(self, other: "Condition") -> bool:
        """Return whether no value satisfies both."""
        return self.key == other.key and not any(map(self.allows, other.values))


@dataclass(frozen=True, kw_only=True)
class _Named:
    """What every axis has.

    Args:
        name: How Optuna knows it.
        target: What is overridden.
        when: Holds in the candidates that have it.
    """

    name: str
    target: str
    when: tuple[Condition, ...] = ()

    @property
    def key(self) -> str:
        """What conditions and known points call it."""
        return plain_key(self.target)

    def describe(self) -> str:
        """Name the axis in the study, where a resumed sweep compares it."""
        return str(self) + "".join(f" if {c}" for c in self.when)


@dataclass(frozen=True, kw_only=True)
class Choice(_Named):
    """Values listed one by one; `texts` are the same as overrides spell them.

    Optuna stores only scalars, and takes `1`, `1.0` and `true` for one: a list or a mapping, or all
    choices where two are equal, are stored as their texts.
    """

    distribution: CategoricalDistribution
    texts: tuple[str, ...]

    @classmethod
    def of(cls, target: str, values: Sequence[Any]) -> "Choice":
        """Return the axis of `values`, each once."""
        distinct = {override_text(value): value for value in values}
        stored = [t if isinstance(v, list | dict) else v for t, v in distinct.items()]
        if len(set(stored)) < len(stored) or any(s != s for s in stored):
            stored = list(distinct)
        distribution = CategoricalDistribution(stored)
        return cls(name=target, target=target, distribution=distribution, texts=tuple(distinct))

    @property
    def n_values(self) -> int:
        return len(self.texts)

    def values(self) -> list[Any]:
        """Return every value in order, as Optuna stores it."""
        return list(self.distribution.choices)

    def probes(self) -> list[Any]:
        """Return values worth trying alone: all of a choice, the two ends of a range."""
        return self.values()

    def draw(self, rng: Random) -> Any:
        return rng.choice(self.distribution.choices)

    def value(self, stored: Any) -> Any:
        """Return what `stored` means in the configuration."""
        return self._meanings[self._places[stored]]

    def text(self, stored: Any) -> str:
        """Write `stored` as the right-hand side of a Hydra override."""
        return self.texts[self._places[stored]]

    def identity(self, stored: Any) -> Hashable:
        """Name a stored value, so that two can be compared whichever sampler drew them."""
        return self._places[stored]

    def stored(self, value: Any) -> Any:
        """Return what Optuna keeps for a value as the configuration would hold it.

        Raises:
            ValueError: It is none of this axis.
        """
        text = override_text(value)
        if text in self.texts:
            return self.distribution.choices[self.texts.index(text)]
        # Where nothing else is meant, 1 may be written for 1.0.
        (alike,) = (i for i, meant in enumerate(self._meanings) if same(meant, value))
        return self.distribution.choices[alike]

    def __str__(self) -> str:
        """Write the values as the sweep that a person would give Hydra."""
        return f"choice({','.join(self.texts)})"

    @cached_property
    def _meanings(self) -> list[Any]:
        return [read_value(text) for text in self.texts]

    @cached_property
    def _places(self) -> dict[Any, int]:
        return {stored: i for i, stored in enumerate(self.distribution.choices)}


@dataclass(frozen=True, kw_only=True)
class Range(_Named):
    """Numbers between two ends, all of them or those a step apart; methods as of `Choice`."""

    distribution: IntDistribution | FloatDistribution

    @cached_property
    def n_values(self) -> int | None:
        """How many there are, or None where they are not finite."""
        d = self.distribution
        return None if d.step is None else round((d.high - d.low) / d.step) + 1

    def values(self) -> list[Any] | None:
        return None if self.n_values is None else [self._at(i) for i in range(self.n_values)]

    def probes(self) -> list[Any]:
        return [self.distribution.low, self.distribution.high]

    def draw(self, rng: Random) -> Any:
        d = self.distribution
        if d.log:
            drawn = float(d.low * (d.high / d.low) ** rng.random())
            return round(drawn) if isinstance(d, IntDistribution) else drawn
        if self.n_values is not None:
            return self._at(rng.randrange(self.n_values))
        return rng.uniform(d.low, d.high)

    def value(self, stored: Any) -> Any:
        index = self._index(stored)
        return stored if index is None else self._at(index)

    def text(self, stored: Any) -> str:
        return override_text(self.value(stored))

    def identity(self, stored: Any) -> Hashable:
        index = self._index(stored)
        return repr(float(stored)) if index is None else index

    def stored(self, value: Any) -> Any:
        d = self.distribution
        if self.n_values is None and is_number(value) and d.low <= value <= d.high:
            return float(value)
        if (index := self._index(value)) is not None:
            return self._at(index)
        raise ValueError(value)

    def __str__(self) -> str:
        d = self.distribution
        if isinstance(d, FloatDistribution) and d.step is not None:
            stop = Decimal(str(d.high)) + Decimal(str(d.step))
            return f"range({_short(d.low)},{_short(float(stop))},{d.step})"
        if isinstance(d, IntDistribution) and not d.log and d.step != 1:
            return f"range({d.low},{d.high + 1},{d.step})"
        interval = f"interval({_short(d.low)},{_short(d.high)})"
        if isinstance(d, IntDistribution):
            interval = f"int({interval})"
        return f"tag(log,{interval})" if d.log else interval

    def _at(self, index: int) -> Any:
        d = self.distribution
        if isinstance(d, IntDistribution):
            return d.low + index * d.step
        # As Hydra counts: 0.3, where adding up tenths in binary gives 0.30000000000000004.
        return float(Decimal(str(d.low)) + index * Decimal(str(d.step)))

    def _index(self, value: Any) -> int | None:
        """Return the place of a value among finitely many, however it was rounded."""
        d = self.distribution
        if self.n_values is None or not is_number(value) or not math.isfinite(value):
            return None
        steps = (value - d.low) / d.step
        index = round(steps)
        inside = abs(steps - index) < _ROUNDING and 0 <= index < self.n_values
        return index if inside else None


Axis = Choice | Range


def _short(value: float) -> str:
    return repr(value).removesuffix(".0")
