"""`hydra.sweeper.params` and the command line to a search space."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    RangeSweep,
    Sweep,
)
from hydra.errors import HydraException

# The one name of the stock plugin's inside: ranges and intervals mean what they mean there.
from hydra_plugins.hydra_optuna_sweeper._impl import create_optuna_distribution_from_override
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.space.axes import Axis, Choice, Condition, Range
from hydra_budget_sweeper.space.grammar import (
    fixed_text,
    key_of,
    listed_values,
    override_text,
    parse_all,
    plain_value,
    read_value,
)
from hydra_budget_sweeper.space.space import Given, Space
from hydra_budget_sweeper.space.written import Written, add, written_as

PARAMS = "hydra.sweeper.params"


def parse_space(
    params: Mapping[str, Any],
    arguments: Iterable[str],
    settings: Mapping[str, str],
    loader: ConfigLoader | None = None,
) -> Space:
    """Read `hydra.sweeper.params`, then the command line, which wins.

    Args:
        params: Parameter to values; `key=value` to a mapping of parameters that depend on it.
        arguments: The task's overrides on the command line.
        settings: What conditions may also refer to: group choices and plain values, as texts.
        loader: Hydra's; knows the config groups, which `glob` searches.

    Raises:
        SweepError: Something cannot be read or searched, or depends on what is not there.
    """
    written: list[Written] = []
    for override, when in _flatten(params, (), loader):
        if when and not override.is_sweep_override():
            raise SweepError(
                f"{override.get_key_element()} under '{when[-1]}' in {PARAMS} must list values to "
                f"search, such as choice(...), but got {override.input_line}."
            )
        add(written, written_as(override, loader, when), inherit=False)
    for override in parse_all(list(arguments), "the search space", loader):
        add(written, written_as(override, loader), inherit=True)
    return _space(written, settings)


def _flatten(
    params: Mapping[str, Any], when: tuple[Condition, ...], loader: ConfigLoader | None
) -> Iterator[tuple[Override, tuple[Condition, ...]]]:
    # What holds in general comes first: a condition's parameters are the more particular ones.
    nested = {k: v for k, v in params.items() if isinstance(v, Mapping) and "=" in str(k)}
    plain = [f"{k}={_yaml_text(v)}" for k, v in params.items() if k not in nested]
    for override in parse_all(plain, PARAMS, loader):
        yield override, when
    for key, inner in nested.items():
        yield from _flatten(inner, (*when, _condition(str(key))), loader)


def _yaml_text(value: Any) -> str:
    # Strings are override text already; a YAML list or mapping is a value.
    return value if isinstance(value, str) else override_text(value)


def _condition(text: str) -> Condition:
    key, _, values = text.partition("=")
    (override,) = parse_all(
        [f"{key.strip()}={values.strip()}"], f"the condition '{text}' in {PARAMS}"
    )
    if override.is_sweep_override() and not isinstance(override.value(), ChoiceSweep):
        raise SweepError(f"The condition '{text}' in {PARAMS} must name values, such as x=a,b.")
    return Condition(key_of(override), tuple(map(override_text, listed_values(override))))


def _space(written: Sequence[Written], settings: Mapping[str, str]) -> Space:
    """Settle the conditions on what is fixed; order the rest after what they depend on."""
    searched = {w.key for w in written if w.searched}
    fixed = [w for w in written if not (w.searched or w.override.is_delete())]
    known = {**settings, **{w.key: fixed_text(w.override) for w in fixed}}
    items: list[Given | Axis] = []
    for one in written:
        if not one.searched:
            items.append(_given(one))
            continue
        axis = _axis(one)
        if (still_open := _open(one.when, searched, known)) is not None:
            items.append(replace(axis, when=still_open))
    items = [_named_apart(item, items) if isinstance(item, Axis) else item for item in items]
    axes = _in_order([item for item in items if isinstance(item, Axis)])
    return Space(tuple(axes), tuple(items))


def _given(written: Written) -> Given:
    override = written.override
    if override.is_delete():
        return Given(written.name, None, override.input_line or written.name)
    text = fixed_text(override)
    return Given(written.name, text, f"{written.name}={text}")


def _axis(written: Written) -> Axis:
    override = written.override
    try:
        _refuse_idle_tag(override.value())
        values = _values(override)
        if values is None:
            distribution = create_optuna_distribution_from_override(override)
            if not isinstance(distribution, CategoricalDistribution):
                return _numbers(written.name, distribution)
            values = distribution.choices
        return Choice.of(written.name, values)
    except (AssertionError, NotImplementedError, ValueError, HydraException) as error:
        raise SweepError(f"Cannot search {override.input_line}: {error}") from None


def _refuse_idle_tag(value: Any) -> None:
    if isinstance(value, Sweep) and "log" in value.tags and not isinstance(value, IntervalSweep):
        raise ValueError(
            "log is a scale of intervals: tag(log,interval(low,high)), or for whole numbers "
            "tag(log,int(interval(low,high)))"
        )


def _numbers(name: str, distribution: IntDistribution | FloatDistribution) -> Axis:
    if not (math.isfinite(distribution.low) and math.isfinite(distribution.high)):
        raise ValueError("both ends must be finite numbers")
    if distribution.step is None and distribution.single():  # of all numbers between two: one
        return Choice.of(name, [distribution.low])
    return Range(name=name, target=name, distribution=distribution)


def _values(override: Override) -> Sequence[Any] | None:
    """Return the values of a sweep that lists them; those of a shuffled one unshuffled."""
    value = override.value()
    if isinstance(value, Glob):
        listed = list(override.sweep_iterator()) if override.config_loader else []
        if not listed:
            raise ValueError(f"no option of a config group {override.key_or_group} matches")
        return listed
    if isinstance(value, ChoiceSweep):
        return listed_values(override)
    if isinstance(value, RangeSweep) and (value.shuffle or value.transformers):
        if not (numbers := [plain_value(number) for number in value]):
            raise ValueError("the range is empty")
        return numbers
    return None


def _open(
    when: tuple[Condition, ...], searched: set[str], known: Mapping[str, str]
) -> tuple[Condition, ...] | None:
    """Return the conditions that candidates decide, or None if one never holds."""
    for condition in when:
        if condition.key not in searched and condition.key not in known:
            raise SweepError(
                f"'{condition}' in {PARAMS}: {condition.key} is neither searched "
                "nor part of the configuration."
            )
    settled = [c for c in when if c.key not in searched]
    if not all(c.allows(read_value(known[c.key])) for c in settled):
        return None
    return tuple(c for c in when if c.key in searched)


def _named_apart(axis: Axis, items: Sequence[Given | Axis]) -> Axis:
    """Give one of several axes of a key a name of its own, by its conditions."""
    others = [
        other
        for other in items
        if isinstance(other, Axis) and other is not axis and other.target == axis.target
    ]
    for other in others:
        if not any(c.excludes(d) for c in axis.when for d in other.when):
            raise SweepError(
                f"{axis.target} is searched twice in {PARAMS}, over {axis} and over {other}, and "
                "both can hold at once. Put each under a condition that excludes the other."
            )
    name = f"{axis.target} if {' and '.join(map(str, axis.when))}"
    return replace(axis, name=name) if others else axis


def _in_order(axes: list[Axis]) -> list[Axis]:
    done: list[Axis] = []
    left = list(axes)
    while left:
        missing = {axis.key for axis in left}
        ready = [a for a in left if not any(c.key in missing for c in a.when)]
        if not ready:
            raise SweepError(
                f"Conditions in {PARAMS} go round in a circle: " + ", ".join(a.name for a in left)
            )
        done += ready
        left = [a for a in left if a not in ready]
    return done
