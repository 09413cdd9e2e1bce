"""Parameters by pattern and by proportion: `model.layers.*.width: times(0.5,2,0.25)`.

Both are read off the application's configuration, and become plain parameters of it before anything
else is done with them.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.near import did_you_mean, near

_TIMES = re.compile(r"times\(([^()]*)\)")
_REFUSED = re.compile(r"Could not override '([^']+)'")


def expand(params: Mapping[str, Any], settings: Mapping[str, str], place: str) -> dict[str, Any]:
    """Write out the patterns: `*` stands for one part of a key, a key without one comes before them.

    `times(low,high)` is the present value times anything between, whole for whole numbers;
    `times(low,high,step)` goes in steps of that share of it; `times(factor)` is one value.

    Args:
        params: Parameter to values, as in `hydra.sweeper.params`.
        settings: Every setting of the configuration to its value, as text.
        place: Where they are written, for messages.

    Raises:
        SweepError: A pattern matches nothing, or a proportion is not of a number.
    """
    patterns, plain = dict[str, Any](), dict[str, Any]()
    for key, value in params.items():
        if "=" in key and isinstance(value, Mapping):
            plain[key] = expand(value, settings, place)
        elif "*" in key:
            patterns.update(_matching(key, value, settings, place))
        else:
            plain[key] = _absolute(key, value, settings.get(key.lstrip("+")), place)
    return {**{k: v for k, v in patterns.items() if k not in plain}, **plain}


def _matching(
    key: str, value: Any, settings: Mapping[str, str], place: str
) -> Iterator[tuple[str, Any]]:
    pattern = re.compile(re.escape(key).replace(r"\*", r"[^.]+"))
    names = [name for name in settings if pattern.fullmatch(name)]
    if _is_relative(value):
        # What is not set has no proportion.
        names = [name for name in names if settings[name] != "null"]
    if not names:
        raise SweepError(f"{place}: no setting of this configuration matches {key}.")
    for name in names:
        yield name, _absolute(name, value, settings[name], place)


def _is_relative(value: Any) -> bool:
    return isinstance(value, str) and _TIMES.fullmatch(value.strip()) is not None


def _absolute(key: str, value: Any, present: str | None, place: str) -> Any:
    if not _is_relative(value):
        return value
    try:
        factors = [float(part) for part in value.strip()[len("times(") : -1].split(",")]
        return _times(float(present or "null"), *factors)
    except (TypeError, ValueError):
        raise SweepError(
            f"{place}: {key}={value} is times(low,high), times(low,high,step) or times(factor) of a "
            f"number, and {key} is {present or 'not set'}."
        ) from None


def _times(present: float, low: float, high: float | None = None, share: float = 0.0) -> Any:
    if high is None:
        return round(present * low) if present.is_integer() else present * low
    if not present.is_integer():
        return f"interval({present * low},{present * high})"
    step = max(1, round(present * share))
    first = present + math.ceil((present * low - present) / step) * step
    last = present + math.floor((present * high - present) / step) * step
    return f"range({first:.0f},{last + 1:.0f},{step})"


def missing_setting(
    error: str, settings: Mapping[str, str], searched: Collection[str] | None = None
) -> str | None:
    """Say which searched key the configuration lacks, where Hydra's error says to add it, and what it has.

    Args:
        error: Hydra's.
        settings: Every setting of the configuration to its value, as text.
        searched: The keys that are; by default whichever the error names.
    """
    found = _REFUSED.search(error)
    if found is None or (searched is not None and found.group(1) not in searched):
        return None
    key = found.group(1)
    if any(f"{name}.".startswith(f"{key}.") for name in settings):
        return None  # it is there: a value of it has what it lacks
    parts = key.split(".")
    for depth in range(len(parts) - 1, -1, -1):
        prefix = "".join(f"{part}." for part in parts[:depth])
        names = dict.fromkeys(
            k[len(prefix) :].split(".")[0]
            for k in settings
            if k.startswith(prefix) and not k.startswith("hydra/")
        )
        if names:
            break
    return (
        f"{key} is searched, but this configuration has no such setting; {prefix.rstrip('.') or 'it'} has "
        f"{', '.join(names)}.{did_you_mean(near(key, settings))} "
        f"A pattern such as {prefix}* searches whatever is there."
    )
