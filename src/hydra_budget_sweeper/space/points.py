"""Points that a person names: the entries of `enqueue`."""

from collections.abc import Mapping
from typing import Any

from hydra_budget_sweeper.space.grammar import override_value_text, parse_all, stored_value


def parse_point(entry: Any) -> dict[str, Any]:
    """Read one entry of `enqueue`: "a=1 b=2", ["a=1", "b=2"] or {a: 1, b: 2}."""
    if isinstance(entry, Mapping):
        lines = [f"{name}={override_value_text(value)}" for name, value in entry.items()]
    else:
        lines = entry.split() if isinstance(entry, str) else [str(line) for line in entry]
    return {o.get_key_element(): stored_value(o.value()) for o in parse_all(lines)}
