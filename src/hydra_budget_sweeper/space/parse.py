"""`hydra.sweeper.params` and the command line to a search space."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, Override

# The one name of the stock plugin's inside: ranges and intervals mean what they mean there.
from hydra_plugins.hydra_optuna_sweeper._impl import create_optuna_distribution_from_override
from optuna.distributions import CategoricalDistribution

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.space.axes import Axis, Condition
from hydra_budget_sweeper.space.grammar import override_value_text, parse_all, stored_value
from hydra_budget_sweeper.space.space import Space


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
    for override in parse_all(list(arguments)):
        add(
            override,
            axes[n].when
            if (n := override.get_key_element()) in axes and override.is_sweep_override()
            else (),
        )
    # A value on the command line takes the parameter out of the search, as with the stock sweeper.
    searched = [axis for name, axis in axes.items() if name not in fixed]
    return _resolve_conditions(searched, fixed, tuple(deletions), settings)


def _flatten(
    params: Mapping[str, Any], when: tuple[Condition, ...]
) -> Iterator[tuple[Override, tuple[Condition, ...]]]:
    # Plain parameters first: what they decide is known before what depends on them.
    nested = {k: v for k, v in params.items() if isinstance(v, Mapping) and "=" in str(k)}
    plain = [f"{k}={_yaml_text(v)}" for k, v in params.items() if k not in nested]
    for override in parse_all(plain):
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
    choices = [stored_value(choice) for choice in value.list]
    if value.shuffle:
        # Another order at each start would make another space of it.
        choices.sort(key=repr)
    unique = list({repr(choice): choice for choice in choices}.values())
    literal = frozenset(stored_value(c) for c in value.list if isinstance(c, list | dict))
    return Axis(name, CategoricalDistribution(unique), literal, when)
