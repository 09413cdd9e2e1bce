"""The user's limits: what a composed candidate violates, and by how much."""

import math
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig

from hydra_budget_sweeper.compose import Candidate
from hydra_budget_sweeper.errors import FunctionError, faults_of

Violations = dict[str, float]


class Limits:
    """The user's function from a composed configuration to named violations.

    A violation is `(value - limit) / limit`: above zero is over the limit.

    Args:
        function: The user's, or None where nothing is limited.
        name: How `hydra.sweeper.constraints` names it.
    """

    def __init__(
        self, function: Callable[[DictConfig], Any] | None, name: str | None = None
    ) -> None:
        self._function = function
        self._name = f"hydra.sweeper.constraints={name}"

    def __bool__(self) -> bool:
        return self._function is not None

    def judge(self, candidate: Candidate) -> Violations:
        """Return the violations of a candidate, `${hydra:...}` being its own job's."""
        with candidate.as_current_job():
            return self.violations(candidate.task)

    def violations(self, config: DictConfig) -> Violations:
        """Return each violation by its name.

        Raises:
            FunctionError: The function raised, or returned no violations.
            SweepError: The function raised one, which ends the sweep.
        """
        if self._function is None:
            return {}
        with faults_of(self._name):
            returned = self._function(config)
        if not isinstance(returned, Mapping):
            raise self._error(
                f"it must return a mapping of names to numbers, but returned {reprlib.repr(returned)}"
            )
        return {str(name): self._number(name, value) for name, value in returned.items()}

    def _number(self, name: Any, value: Any) -> float:
        try:
            number = math.nan if isinstance(value, str | bytes) else float(value)
        except Exception:
            number = math.nan
        if math.isnan(number):
            raise self._error(f"{name} must be a number, but got {reprlib.repr(value)}")
        return number

    def _error(self, what: str) -> FunctionError:
        return FunctionError(f"{self._name}: {what}")


def excess(violations: Violations) -> float:
    """Return by how much a candidate is over its limits, all of them together; 0 where it fits."""
    return sum(value for value in violations.values() if value > 0)
