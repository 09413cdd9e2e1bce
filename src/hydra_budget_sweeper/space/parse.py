"""`hydra.sweeper.params` and the command line to a search space."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, RangeSweep
from hydra.errors import HydraException

# The one name of the stock plugin's inside: ranges and intervals mean what they mean there.
from hydra_plugins.hydra_optuna_sweeper._impl import create_optuna_distribution_from_override
from optuna.distributions import CategoricalDistribution

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.space.axes import Axis, Condition, choice_axis
from hydra_budget_sweeper.space.grammar import (
    fixed_text,
    override_text,
    parse_all,
    parsed_text,
    plain_value,
    read_value,
)
from hydra_budget_sweeper.space.space import Given, Space
from hydra_budget_sweeper.space.written import Written, add, key_of, written_as

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
    value = override.value()
    if override.is_sweep_override() and not isinstance(value, ChoiceSweep):
        raise SweepError(f"The condition '{text}' in {PARAMS} must name values, such as x=a,b.")
    parsed = value.list if isinstance(value, ChoiceSweep) else [value]
    return Condition(key_of(override), tuple(map(parsed_text, parsed)))


def _axis(written: Written) -> Axis:
    override = written.override
    try:
        listed = _listed(override)
        if listed is not None:
            return choice_axis(written.name, listed, written.when)
        distribution = create_optuna_distribution_from_override(override)
    except (AssertionError, NotImplementedError, ValueError, HydraException) as error:
        raise SweepError(f"Cannot search {override.input_line}: {error}") from None
    if isinstance(distribution, CategoricalDistribution):
        return choice_axis(written.name, distribution.choices, written.when)
    return Axis(written.name, distribution, when=written.when)


def _listed(override: Override) -> list[Any] | None:
    """Return the values of a sweep that lists them, in an order that is the same at each start."""
    value = override.value()
    listed: list[Any]
    if isinstance(value, Glob):
        listed = list(override.sweep_iterator()) if override.config_loader else []
        if not listed:
            raise ValueError(f"no option of a config group {override.key_or_group} matches")
    elif isinstance(value, ChoiceSweep):
        listed = list(value.list)
        if value.shuffle:
            listed.sort(key=_order)
    elif isinstance(value, RangeSweep) and (value.shuffle or value.transformers):
        listed = list(value)
        if not listed:
            raise ValueError("the range is empty")
    else:
        return None
    return listed


def _order(choice: Any) -> str:
    return repr(parsed_text(choice) if isinstance(choice, list | dict) else plain_value(choice))


def _space(written: Sequence[Written], settings: Mapping[str, str]) -> Space:
    """Settle the conditions on what is fixed; order the rest after what they depend on."""
    axes = {id(w): _axis(w) for w in written if w.searched}
    given = {id(w): _given(w) for w in written if not w.searched}
    fixed = {w.key: given[id(w)].text for w in written if id(w) in given}
    targets = {w.key: axes[id(w)].name for w in written if w.searched}
    known = {**settings, **{key: text for key, text in fixed.items() if text is not None}}
    kept = {
        number: replace(axis, when=open_conditions)
        for number, axis in axes.items()
        if (open_conditions := _open(axis.when, targets, known)) is not None
    }
    named = _named_apart(kept)
    items = [given[id(w)] if id(w) in given else named.get(id(w)) for w in written]
    order = [item.name if isinstance(item, Axis) else item for item in items if item is not None]
    return Space(tuple(_in_order(list(named.values()))), tuple(order))


def _given(written: Written) -> Given:
    override = written.override
    if override.is_delete():
        line = override.input_line or written.name
        return Given(written.name, None, line)
    text = fixed_text(override)
    return Given(written.name, text, f"{written.name}={text}")


def _open(
    when: tuple[Condition, ...], targets: Mapping[str, str], known: Mapping[str, str]
) -> tuple[Condition, ...] | None:
    """Return the conditions that candidates decide, or None if one never holds."""
    still_open = []
    for condition in when:
        if condition.name in targets:
            still_open.append(replace(condition, name=targets[condition.name]))
        elif condition.name not in known:
            raise SweepError(
                f"'{condition}' in {PARAMS}: {condition.name} is neither searched "
                "nor part of the configuration."
            )
        elif not condition.allows(read_value(known[condition.name])):
            return None
    return tuple(still_open)


def _named_apart(axes: Mapping[int, Axis]) -> dict[int, Axis]:
    """Give each of several axes of one key a name of its own, by its conditions."""
    for one, other in combinations(axes.values(), 2):
        if one.name == other.name and not any(c.excludes(d) for c in one.when for d in other.when):
            raise SweepError(
                f"{one.name} is searched twice in {PARAMS}, over {one} and over {other}, and both "
                "can hold at once. Put each under a condition that excludes the other."
            )
    counts = Counter(axis.name for axis in axes.values())
    return {
        number: replace(axis, name=f"{axis.name} if {_all_of(axis.when)}", key=axis.name)
        if counts[axis.name] > 1
        else axis
        for number, axis in axes.items()
    }


def _all_of(when: tuple[Condition, ...]) -> str:
    return " and ".join(map(str, when))


def _in_order(axes: list[Axis]) -> list[Axis]:
    done: list[Axis] = []
    left = list(axes)
    while left:
        missing = {axis.target for axis in left}
        ready = [a for a in left if not any(c.name in missing for c in a.when)]
        if not ready:
            raise SweepError(
                f"Conditions in {PARAMS} go round in a circle: " + ", ".join(a.name for a in left)
            )
        done += ready
        left = [a for a in left if a not in ready]
    return done
