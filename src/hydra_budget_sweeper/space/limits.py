"""The user's limits: what a composed candidate violates, and by how much."""

from collections.abc import Callable, Mapping

from omegaconf import DictConfig

Violations = dict[str, float]


class Limits:
    """The user's function from a composed configuration to named violations.

    A violation is `(value - limit) / limit`: above zero is over the limit.
    """

    def __init__(self, function: Callable[[DictConfig], Mapping[str, float]] | None) -> None:
        self._function = function

    def __bool__(self) -> bool:
        return self._function is not None

    def violations(self, config: DictConfig) -> Violations:
        if self._function is None:
            return {}
        return {name: float(value) for name, value in self._function(config).items()}


def excess(violations: Violations) -> float:
    """Return by how much a candidate is over its limits, all of them together; 0 where it fits."""
    return sum(value for value in violations.values() if value > 0)
