"""The sweeper's settings as plain values, checked once."""

import math
from dataclasses import dataclass, field
from typing import Any

from omegaconf import OmegaConf

from hydra_budget_sweeper.errors import SweepError
from hydra_plugins.hydra_budget_sweeper.config import BudgetSweeperConf

_LEAST = {
    "n_jobs": 1,
    "n_trials": 0,
    "max_infeasible": 1,
    "max_retries": 0,
    "max_repeated_errors": 1,
}
_POSITIVE_SECONDS = ("lease", "timeout", "trial_timeout")


@dataclass
class Settings(BudgetSweeperConf):
    """The fields of `BudgetSweeperConf`; see there for their meaning."""

    sampler: Any = None
    pruner: Any = None
    params: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            self._require(value is None or value >= least, name, f"{least} or more")
        self._require(0.0 <= self.max_failure_rate <= 1.0, "max_failure_rate", "from 0 to 1")
        for name in _POSITIVE_SECONDS:
            seconds = getattr(self, name)
            self._require(seconds is None or seconds > 0, name, "above 0 seconds")
        self._check_finalists()
        for direction in self.directions:
            if direction not in ("minimize", "maximize"):
                raise SweepError(
                    f"hydra.sweeper.direction must be minimize or maximize, but got {direction}."
                )

        n = len(self.directions)
        allowed = f"as many names as there are objectives ({n})"
        self._require(len(self.metric_names) in (0, n), "metric_names", allowed)
        self._require(len(set(self.metric_names)) in (0, n), "metric_names", "different names")

    def left(self, n: int) -> int:
        """How many trials are wanted beside `n`; where time ends the sweep, one for each worker."""
        return self.n_jobs if self.n_trials is None else max(0, self.n_trials - n)

    def of_all(self, n: int) -> str:
        """Write how many of the wanted trials `n` are; where `n_trials` was lowered, there are more."""
        wanted = self.n_trials
        return f"{n}" if wanted is None or n > wanted else f"{n} of {wanted}"

    @property
    def directions(self) -> tuple[str, ...]:
        """One direction for each objective."""
        many = self.direction if isinstance(self.direction, list | tuple) else [self.direction]
        return tuple(getattr(d, "name", str(d)) for d in many)

    def _check_finalists(self) -> None:
        count, seeds = self.finalists.count, self.finalists.seeds
        name = "hydra.sweeper.finalists"
        if count < 0:
            raise SweepError(f"{name}.count must be 0 (none) or more, but got {count}.")
        if not 0 < self.finalists.cost < math.inf:
            raise SweepError(f"{name}.cost must be above 0, but got {self.finalists.cost}.")
        if not seeds or min(seeds) < 1 or sorted(set(seeds)) != seeds:
            raise SweepError(
                f"{name}.seeds must be how many seeds a candidate has had after each round, rising "
                f"from 1 or more, such as [2,4], but got {seeds}."
            )
        if count and len(self.directions) > 1:
            raise SweepError(
                f"{name}.count={count}: of several objectives no mean is the best. Search for one "
                f"(hydra.sweeper.direction), or leave the finalists out ({name}.count=0)."
            )

    def _require(self, holds: bool, name: str, allowed: str) -> None:
        if not holds:
            raise SweepError(
                f"hydra.sweeper.{name} must be {allowed}, but got {getattr(self, name)}."
            )


def settings_from(config: dict[str, Any]) -> Settings:
    """Read what Hydra hands to the sweeper's constructor.

    Raises:
        SweepError: A value is out of its range.
    """
    plain: dict[str, Any] = {
        key: OmegaConf.to_object(v) if _is_data(v) else v for key, v in config.items()
    }
    plain["params"] = plain.get("params") or {}
    for name in (
        "metric_names",
        "enqueue",
        "retry_overrides",
        "on_start",
        "on_end",
        "free_settings",
    ):
        plain[name] = plain.get(name) or []
    return Settings(**plain)


def _is_data(value: Any) -> bool:
    # Sampler and pruner are instantiated later, from the configuration node itself.
    return OmegaConf.is_config(value) and "_target_" not in value
