"""A search space: what is suggested in which order, and the overrides of one candidate."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

from hydra_budget_sweeper.space.axes import Axis, Condition
from hydra_budget_sweeper.space.grammar import override_text, plain_key, read_value

Params = dict[str, Any]


@dataclass(frozen=True)
class Given:
    """One override that every candidate has, as it was written; without `text`, a deletion."""

    name: str
    text: str | None
    line: str


@dataclass(frozen=True)
class Space:
    """The searched axes in the order they are suggested, and all overrides as they were written.

    In Hydra later overrides win, so a candidate's stand in the order of `written`. What is
    suggested after what is another order.
    """

    axes: tuple[Axis, ...]
    written: tuple[Given | Axis, ...]

    @property
    def fixed(self) -> dict[str, str]:
        """The keys that every candidate sets alike, and their texts."""
        return {g.name: g.text for g in self._given if g.text is not None}

    @cached_property
    def fixed_keys(self) -> dict[str, str]:
        """The same by the keys' one name."""
        return {plain_key(name): text for name, text in self.fixed.items()}

    @property
    def deletions(self) -> tuple[str, ...]:
        return tuple(g.line for g in self._given if g.text is None)

    def active(self, axis: Axis, params: Mapping[str, Any]) -> bool:
        """Return whether `axis` exists beside the values chosen so far."""
        return all(self._holds(condition, params) for condition in axis.when)

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """Write one candidate as Hydra overrides, in the order they were written.

        What a custom search space suggested comes after the last searched one.
        """
        lines: list[str] = []
        custom = [f"{n}={override_text(v)}" for n, v in params.items() if n not in self._by_name]
        place = 0
        for item in self.written:
            if isinstance(item, Given):
                lines.append(item.line)
            elif item.name in params:
                lines.append(f"{item.target}={item.text(params[item.name])}")
                place = len(lines)
        return [*lines[:place], *custom, *lines[place:]]

    def fixed_overrides(self) -> list[str]:
        return [given.line for given in self._given]

    def decode(self, params: Mapping[str, Any]) -> Params:
        """Turn stored values into what the configuration holds, by the keys they are held under."""
        by_name = self._by_name
        return {
            by_name[n].target if n in by_name else n: by_name[n].value(v) if n in by_name else v
            for n, v in params.items()
        }

    def point(self, params: Mapping[str, Any]) -> tuple[tuple[str, Hashable], ...]:
        """Name a candidate by its values, so that two are known as one whichever sampler drew them."""
        by_name = self._by_name
        named = (
            (n, by_name[n].identity(v) if n in by_name else repr(v)) for n, v in params.items()
        )
        return tuple(sorted(named, key=lambda pair: pair[0]))

    def candidates(self) -> Iterator[Params]:
        """Walk through every candidate of a finite space."""
        values = [axis.values() or [] for axis in self.axes]
        for combination in product(*values):
            drawn = dict(zip((axis.name for axis in self.axes), combination, strict=True))
            yield self.without_inactive(drawn)

    def without_inactive(self, drawn: Mapping[str, Any]) -> Params:
        return self.draw(lambda axis: drawn[axis.name])

    def draw(self, choose: Callable[[Axis], Any]) -> Params:
        """Let `choose` give each axis a value, in order, that exists beside those before it."""
        params: Params = {}
        for axis in self.axes:
            if self.active(axis, params):
                params[axis.name] = choose(axis)
        return params

    def size(self) -> int | None:
        """Return how many candidates there are at most; None where that is not finite."""
        numbers = [axis.n_values for axis in self.axes]
        return None if None in numbers else prod(n or 0 for n in numbers)

    def describe(self) -> dict[str, str]:
        return {axis.name: axis.describe() for axis in self.axes}

    @property
    def _given(self) -> list[Given]:
        return [item for item in self.written if isinstance(item, Given)]

    @cached_property
    def _by_name(self) -> dict[str, Axis]:
        return {axis.name: axis for axis in self.axes}

    def _holds(self, condition: Condition, params: Mapping[str, Any]) -> bool:
        for axis in self.axes:
            if axis.key == condition.key and axis.name in params:
                return condition.allows(axis.value(params[axis.name]))
        text = self.fixed_keys.get(condition.key)
        return text is not None and condition.allows(read_value(text))
