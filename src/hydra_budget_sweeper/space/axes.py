"""One searched parameter: its values, how Optuna keeps them, and when it exists."""

from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from hydra_budget_sweeper.space.grammar import override_text, parser, plain_value


@dataclass(frozen=True)
class Condition:
    """Holds where the parameter or setting `name` has one of `texts`, as an override spells it."""

    name: str
    texts: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}={','.join(self.texts)}"


@dataclass(frozen=True)
class Axis:
    """One searched parameter.

    Optuna stores only scalars, so a list or mapping choice is stored as the text of its override;
    `literal` says which choices are such texts.
    """

    name: str
    distribution: BaseDistribution
    literal: frozenset[str] = frozenset()
    when: tuple[Condition, ...] = ()

    def text(self, value: Any) -> str:
        """Write `value` as the right-hand side of a Hydra override."""
        return value if value in self.literal else override_text(value)

    def value(self, stored: Any) -> Any:
        """Return what `stored` means in the configuration: a real list for a list choice."""
        if not isinstance(stored, str) or stored not in self.literal:
            return stored
        return plain_value(parser().parse_rule(stored, "element"))

    def values(self) -> list[Any] | None:
        """Return every value in order, or None where they are not finite."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return list(d.choices)
        if isinstance(d, IntDistribution):
            return list(range(d.low, d.high + 1, 1 if d.log else d.step))
        if isinstance(d, FloatDistribution) and d.step is not None:
            return [d.low + i * d.step for i in range(round((d.high - d.low) / d.step) + 1)]
        return None

    def probes(self) -> list[Any]:
        """Return values worth trying alone: all of a choice, the two ends of a range."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return list(d.choices)
        assert isinstance(d, IntDistribution | FloatDistribution)
        return [d.low, d.high]

    def describe(self) -> str:
        when = "".join(f" if {c}" for c in self.when)
        return distribution_to_json(self.distribution) + when
