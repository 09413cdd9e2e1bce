"""Overrides and YAML to a search space: what is sampled, what is fixed, what depends on what."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from hydra._internal.grammar import grammar_functions
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Override,
    Quote,
    QuotedString,
    Transformer,
)
from hydra.errors import HydraException
from hydra_plugins.hydra_optuna_sweeper._impl import create_optuna_distribution_from_override
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from hydra_budget_sweeper.errors import SweepError

Params = dict[str, Any]


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
        return plain_value(_parser().parse_rule(stored, "element"))

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


def parse_space(
    params: Mapping[str, Any], arguments: Iterable[str], settings: Mapping[str, str]
) -> Space:
    """Read `hydra.sweeper.params`, then the command line, which wins.

    Args:
        params: Parameter to values; `key=value` to a mapping of parameters that depend on it.
        arguments: The task's overrides on the command line.
        settings: What conditions may also refer to: group choices and plain values, as texts.
    """
    fixed: dict[str, str] = {}
    deletions: list[str] = []
    axes: dict[str, Axis] = {}

    def add(override: Override, when: tuple[Condition, ...]) -> None:
        name = override.get_key_element()
        if override.is_delete():
            deletions.append(override.input_line or name)
        elif override.is_sweep_override():
            axes.pop(name, None)
            axes[name] = _axis(name, override, when)
        elif when:
            raise SweepError(
                f"{name} under '{when[-1]}' in hydra.sweeper.params must list values to search, "
                f"such as choice(...), but got {override.get_value_element_as_str()}."
            )
        else:
            fixed[name] = override.get_value_element_as_str()

    for override, when in _flatten(params, ()):
        add(override, when)
    for override in _parse_all(list(arguments)):
        add(
            override,
            axes[n].when
            if (n := override.get_key_element()) in axes and override.is_sweep_override()
            else (),
        )
    # A value on the command line takes the parameter out of the search, as with the stock sweeper.
    searched = [axis for name, axis in axes.items() if name not in fixed]
    return _resolve_conditions(searched, fixed, tuple(deletions), settings)


def override_text(value: Any) -> str:
    """Write a scalar so that Hydra's grammar reads the same value back."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return str(value)
    try:
        read = _parser().parse_rule(value, "element") if value else None
    except HydraException:
        read = None
    # Whatever the grammar reads as another type (null, 1, [a]) or not at all must be quoted.
    return value if read == value else QuotedString(value, Quote.single).with_quotes()


def parse_point(entry: Any) -> dict[str, Any]:
    """Read one entry of `enqueue`: "a=1 b=2", ["a=1", "b=2"] or {a: 1, b: 2}."""
    if isinstance(entry, Mapping):
        lines = [f"{name}={override_value_text(value)}" for name, value in entry.items()]
    else:
        lines = entry.split() if isinstance(entry, str) else [str(line) for line in entry]
    return {o.get_key_element(): _stored(o.value()) for o in _parse_all(lines)}


def override_value_text(value: Any) -> str:
    """As `override_text`, for lists and mappings too."""
    if isinstance(value, list | tuple):
        return f"[{','.join(override_value_text(v) for v in value)}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{override_value_text(v)}" for k, v in value.items()) + "}"
    return override_text(value)


def _flatten(
    params: Mapping[str, Any], when: tuple[Condition, ...]
) -> Iterator[tuple[Override, tuple[Condition, ...]]]:
    # Plain parameters first: what they decide is known before what depends on them.
    nested = {k: v for k, v in params.items() if isinstance(v, Mapping) and "=" in str(k)}
    plain = [f"{k}={_yaml_text(v)}" for k, v in params.items() if k not in nested]
    for override in _parse_all(plain):
        yield override, when
    for key, inner in nested.items():
        name, _, texts = str(key).partition("=")
        condition = Condition(name.strip(), tuple(t.strip() for t in texts.split(",")))
        yield from _flatten(inner, (*when, condition))


def _yaml_text(value: Any) -> str:
    # Strings are override text already; a YAML list or mapping is a value.
    return value if isinstance(value, str) else override_value_text(value)


def _resolve_conditions(
    searched: list[Axis],
    fixed: dict[str, str],
    deletions: tuple[str, ...],
    settings: Mapping[str, str],
) -> Space:
    """Settle the conditions on what is fixed; order the rest after what they depend on."""
    names = {axis.name for axis in searched}
    kept: list[Axis] = []
    for axis in searched:
        open_conditions = []
        holds = True
        for condition in axis.when:
            if condition.name in names:
                open_conditions.append(condition)
                continue
            text = fixed.get(condition.name, settings.get(condition.name))
            if text is None:
                raise SweepError(
                    f"'{condition}' in hydra.sweeper.params: {condition.name} is neither searched "
                    "nor part of the configuration."
                )
            holds = holds and text in condition.texts
        if holds:
            kept.append(Axis(axis.name, axis.distribution, axis.literal, tuple(open_conditions)))
    return Space(tuple(_in_order(kept)), fixed, deletions)


def _in_order(axes: list[Axis]) -> list[Axis]:
    done: list[Axis] = []
    left = list(axes)
    while left:
        missing = {axis.name for axis in left}
        ready = [a for a in left if not any(c.name in missing for c in a.when)]
        if not ready:
            raise SweepError(
                "Conditions in hydra.sweeper.params go round in a circle: "
                + ", ".join(a.name for a in left)
            )
        done += ready
        left = [a for a in left if a not in ready]
    return done


def _axis(name: str, override: Override, when: tuple[Condition, ...]) -> Axis:
    value = override.value()
    if not isinstance(value, ChoiceSweep):
        try:
            return Axis(name, create_optuna_distribution_from_override(override), when=when)
        except (AssertionError, NotImplementedError, ValueError) as error:
            raise SweepError(f"Cannot search {override.input_line}: {error}") from None
    choices = [_stored(choice) for choice in value.list]
    if value.shuffle:
        # Another order at each start would make another space of it.
        choices.sort(key=repr)
    unique = list({repr(choice): choice for choice in choices}.values())
    literal = frozenset(_stored(c) for c in value.list if isinstance(c, list | dict))
    return Axis(name, CategoricalDistribution(unique), literal, when)


def _stored(value: Any) -> Any:
    """Return what Optuna keeps for a parsed value: scalars as they are, the rest as text."""
    if isinstance(value, QuotedString):
        return value.text
    return Transformer.str(value) if isinstance(value, list | dict) else value


def plain_value(value: Any) -> Any:
    """Return what the grammar read as plain Python, quotes gone."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [plain_value(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain_value(v) for k, v in value.items()}
    return value


def _parse_all(lines: list[str]) -> list[Override]:
    try:
        return _parser().parse_overrides(lines)
    except HydraException as error:
        raise SweepError(f"Cannot read the search space: {error}") from None


def _choice(
    *args: str | int | float | bool | dict[Any, Any] | list[Any] | ChoiceSweep | None,
) -> ChoiceSweep:
    """Hydra's `choice`, which takes null as well."""
    if None in args:
        return ChoiceSweep(list=list(args))  # type: ignore[arg-type]
    return grammar_functions.choice(*args)  # type: ignore[arg-type]


_PARSERS: list[OverridesParser] = []


def _parser() -> OverridesParser:
    if not _PARSERS:
        import inspect

        functions = create_functions()
        functions.functions["choice"] = _choice
        functions.definitions["choice"] = inspect.signature(_choice)
        _PARSERS.append(OverridesParser(functions=functions))
    return _PARSERS[0]
