"""One searched parameter: its values, how Optuna keeps them, and when it exists."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from json import JSONDecoder
from numbers import Real
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)

from hydra_budget_sweeper.space.grammar import override_text, parsed_text, plain_value, read_value

# Of a step; how far off the grid a value may be that was computed another way.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Condition:
    """Holds where the parameter or setting `name` has one of `texts`, as an override spells it."""

    name: str
    texts: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}={','.join(self.texts)}"

    @cached_property
    def values(self) -> list[Any]:
        return [read_value(text) for text in self.texts]

    def allows(self, value: Any) -> bool:
        """Return whether `value`, as the configuration holds it, is one of them."""
        text = override_text(value)
        return any(_equal(v, value) or override_text(v) == text for v in self.values)

    def excludes(self, other: "Condition") -> bool:
        """Return whether no value satisfies both."""
        return self.name == other.name and not any(map(self.allows, other.values))


@dataclass(frozen=True)
class Axis:
    """One searched parameter.

    Optuna stores only scalars, and takes `1`, `1.0` and `true` for one: a list or a mapping, or all
    choices where two are equal, are stored as the texts of their overrides. `literal` says which
    choices are such texts. `key` is what is overridden, where that is not `name`.
    """

    name: str
    distribution: BaseDistribution
    literal: frozenset[str] = frozenset()
    when: tuple[Condition, ...] = ()
    key: str = ""

    @property
    def target(self) -> str:
        """The key that is overridden."""
        return self.key or self.name

    @cached_property
    def n_values(self) -> int | None:
        """How many values there are, or None where they are not finite."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return len(d.choices)
        if isinstance(d, IntDistribution | FloatDistribution) and d.step is not None:
            return round((d.high - d.low) / d.step) + 1
        return None

    def at(self, index: int) -> Any:
        """Return one of finitely many values, as Optuna stores it."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return d.choices[index]
        assert isinstance(d, IntDistribution | FloatDistribution)
        assert d.step is not None
        if isinstance(d, IntDistribution):
            return d.low + index * d.step
        # As Hydra counts: 0.3, where adding up tenths in binary gives 0.30000000000000004.
        return float(Decimal(str(d.low)) + index * Decimal(str(d.step)))

    def values(self) -> list[Any] | None:
        """Return every value in order, or None where they are not finite."""
        return None if self.n_values is None else [self.at(i) for i in range(self.n_values)]

    def probes(self) -> list[Any]:
        """Return values worth trying alone: all of a choice, the two ends of a range."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return list(d.choices)
        assert isinstance(d, IntDistribution | FloatDistribution)
        return [d.low, d.high]

    def value(self, stored: Any) -> Any:
        """Return what `stored` means in the configuration: a real list for a list choice."""
        if isinstance(self.distribution, FloatDistribution):
            index = self.index(stored)
            return stored if index is None else self.at(index)
        return self._meanings.get(stored, stored) if isinstance(stored, str) else stored

    def text(self, stored: Any) -> str:
        """Write `stored` as the right-hand side of a Hydra override."""
        if isinstance(stored, str) and stored in self.literal:
            return stored
        return override_text(self.value(stored))

    def index(self, stored: Any) -> int | None:
        """Return the place of a stored value among finitely many, however it was rounded."""
        exact = self._places.get((type(stored), stored)) if self._places else None
        return self._index_of(stored) if exact is None else exact

    def identity(self, stored: Any) -> Hashable:
        """Name a stored value, so that two can be compared whichever sampler drew them."""
        if self.n_values is None and _is_number(stored):
            return float(stored)
        index = self.index(stored)
        return repr(stored) if index is None else index

    def stored(self, value: Any) -> Any:
        """Return what Optuna keeps for a value as the configuration would hold it.

        Raises:
            ValueError: It is none of this axis.
        """
        d = self.distribution
        if self.n_values is None:
            assert isinstance(d, FloatDistribution)
            if _is_number(value) and d.low <= value <= d.high:
                return float(value)
        elif (index := self._index_of(value)) is not None:
            return self.at(index)
        raise ValueError(f"{override_text(value)} is not in {self}")

    def describe(self) -> str:
        """Name the axis in the study, where a resumed sweep compares it."""
        when = "".join(f" if {c}" for c in self.when)
        return distribution_to_json(self.distribution) + when

    def __str__(self) -> str:
        """Name its values in Hydra's words."""
        return hydra_words(self.distribution, self.literal)

    @cached_property
    def _meanings(self) -> dict[str, Any]:
        return {text: read_value(text) for text in self.literal}

    @cached_property
    def _places(self) -> dict[tuple[type, Any], int]:
        d = self.distribution
        choices = d.choices if isinstance(d, CategoricalDistribution) else ()
        return {(type(c), c): i for i, c in enumerate(choices)}

    @cached_property
    def _texts(self) -> dict[str, int]:
        d = self.distribution
        choices = d.choices if isinstance(d, CategoricalDistribution) else ()
        return {override_text(self.value(c)): i for i, c in enumerate(choices)}

    def _index_of(self, value: Any) -> int | None:
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            exact = self._texts.get(override_text(value))
            if exact is not None:
                return exact
            # Where nothing else is meant, 1 may be written for 1.0.
            near = [i for i, c in enumerate(d.choices) if _equal(c, value)]
            return near[0] if len(near) == 1 else None
        if not isinstance(d, IntDistribution | FloatDistribution) or d.step is None:
            return None
        if not _is_number(value) or not math.isfinite(value):
            return None
        steps = (value - d.low) / d.step
        index = round(steps)
        inside = abs(steps - index) < _ROUNDING and 0 <= index < (self.n_values or 0)
        return index if inside else None


def choice_axis(name: str, parsed: Sequence[Any], when: tuple[Condition, ...] = ()) -> Axis:
    """Return the axis of choices as the grammar read them, each once."""
    distinct = {override_text(plain_value(choice)): choice for choice in reversed(parsed)}
    choices = list(reversed(distinct.values()))
    literal = [isinstance(choice, list | dict) for choice in choices]
    stored = [
        parsed_text(c) if is_text else plain_value(c)
        for c, is_text in zip(choices, literal, strict=True)
    ]
    if len(set(stored)) < len(stored) or any(s != s for s in stored):
        literal = [True] * len(choices)
        stored = [parsed_text(choice) for choice in choices]
    texts = frozenset(s for s, is_text in zip(stored, literal, strict=True) if is_text)
    return Axis(name, CategoricalDistribution(stored), texts, when)


def hydra_words(distribution: BaseDistribution, literal: frozenset[str] = frozenset()) -> str:
    """Write a distribution as the sweep that a person would give Hydra."""
    d = distribution
    if isinstance(d, CategoricalDistribution):
        words = (c if isinstance(c, str) and c in literal else override_text(c) for c in d.choices)
        return f"choice({','.join(words)})"
    assert isinstance(d, IntDistribution | FloatDistribution)
    if isinstance(d, FloatDistribution) and d.step is not None:
        stop = Decimal(str(d.high)) + Decimal(str(d.step))
        return f"range({_number(d.low)},{_number(float(stop))},{d.step})"
    if isinstance(d, IntDistribution) and not d.log and d.step != 1:
        return f"range({d.low},{d.high + 1},{d.step})"
    interval = f"interval({_number(d.low)},{_number(d.high)})"
    if isinstance(d, IntDistribution):
        interval = f"int({interval})"
    return f"tag(log,{interval})" if d.log else interval


def described_in_words(description: str) -> str:
    """Write what `Axis.describe` kept in a study as `hydra_words` does, its conditions after it."""
    _, end = JSONDecoder().raw_decode(description)
    distribution = json_to_distribution(description[:end])
    # Which strings are texts of overrides is not kept; lists and mappings mostly are.
    choices = getattr(distribution, "choices", ())
    texts = frozenset(c for c in choices if isinstance(c, str) and c[:1] in ("[", "{"))
    return hydra_words(distribution, texts) + description[end:]


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")


def _is_number(value: Any) -> bool:
    # The first answer is the quick one.
    return type(value) in (float, int) or (isinstance(value, Real) and not isinstance(value, bool))


def _equal(one: Any, other: Any) -> bool:
    return _is_number(one) and _is_number(other) and bool(one == other)
