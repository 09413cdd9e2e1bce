"""Points that a person names: the entries of `hydra.sweeper.enqueue`."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from hydra.core.override_parser.types import Override

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.near import did_you_mean, near
from hydra_budget_sweeper.space.axes import Axis
from hydra_budget_sweeper.space.grammar import key_of, override_text, parse_all, read_value
from hydra_budget_sweeper.space.space import Params, Space

_ENQUEUE = "hydra.sweeper.enqueue"
_OPENING, _CLOSING = "([{", ")]}"
# Where the next override begins: x=, +a.b=, group@package=, layers[0]=
_KEY = re.compile(r"['\"]?\+{0,2}[\w$][\w$./@\[\]:\\-]*=")


def read_point(entry: Any, space: Space) -> Params:
    """Return one entry of `enqueue` as Optuna stores it: "a=1 b=2", ["a=1", "b=2"] or {a: 1, b: 2}.

    Raises:
        SweepError: It cannot be read, or is no point of `space`.
    """
    point: Params = {}
    values = parse_point(entry)
    for key, value in values.items():
        axes = [axis for axis in space.axes if axis.key == key]
        if axes:
            point.update(_stored(key, value, axes, values))
        else:
            _check_fixed(key, value, space)
    return point


def parse_point(entry: Any) -> dict[str, Any]:
    """Read one entry of `enqueue` to keys and the values that the configuration is to hold."""
    if not isinstance(entry, Mapping | str | list | tuple):
        raise SweepError(
            f"{_ENQUEUE}: a point is written as 'a=1 b=2' or {{a: 1, b: 2}}, not {entry}."
        )
    if isinstance(entry, Mapping):
        lines = [f"{name}={override_text(value)}" for name, value in entry.items()]
    else:
        lines = split(entry) if isinstance(entry, str) else [str(line) for line in entry]
    overrides = parse_all(lines, f"'{entry}' in {_ENQUEUE}")
    return {key_of(override): _single(override) for override in overrides}


def split(text: str) -> list[str]:
    """Split "a=1 b='x y' c=[1, 2]" before each key, but not within quotes or brackets.

    A word that is quoted as a whole, as for a shell, loses its quotes.
    """
    ends = [i for i in _outer_spaces(text) if _KEY.match(text[i:].lstrip())]
    words = (text[a:b].strip() for a, b in zip([0, *ends], [*ends, len(text)], strict=True))
    return [w[1:-1] if w[0] in "'\"" and w[0] == w[-1] else w for w in words if w]


def _outer_spaces(text: str) -> Iterator[int]:
    quote, depth, escaped = "", 0, False
    for i, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char.isspace() and depth == 0:
            yield i
        depth += 0 if quote else (char in _OPENING) - (char in _CLOSING)


def _single(override: Override) -> Any:
    if override.is_delete() or override.is_sweep_override():
        raise SweepError(
            f"{_ENQUEUE}: a point has one value for each parameter, but got {override.input_line}."
        )
    return override.value()


def _stored(key: str, value: Any, axes: list[Axis], values: Mapping[str, Any]) -> Params:
    possible = [axis for axis in axes if _may_exist(axis, values)] or axes
    stored: Params = {}
    for axis in possible:
        with suppress(ValueError):
            stored[axis.name] = axis.stored(value)
    if not stored:
        allowed = " or ".join(map(str, possible))
        raise SweepError(
            f"{_ENQUEUE} sets {key}={override_text(value)}, which is outside {allowed}."
        )
    return stored


def _may_exist(axis: Axis, values: Mapping[str, Any]) -> bool:
    return all(c.allows(values[c.key]) for c in axis.when if c.key in values)


def _check_fixed(key: str, value: Any, space: Space) -> None:
    if (fixed := space.fixed_keys.get(key)) is not None:
        if override_text(read_value(fixed)) != override_text(value):
            raise SweepError(
                f"{_ENQUEUE} sets {key}={override_text(value)}, but every candidate has "
                f"{key}={fixed}."
            )
        return
    searched = list(dict.fromkeys(axis.key for axis in space.axes))
    raise SweepError(
        f"{_ENQUEUE} sets {key}, which is not searched.{did_you_mean(near(key, searched))} "
        f"Searched are: {', '.join(searched)}."
    )
