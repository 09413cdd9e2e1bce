"""The sweeper's settings as plain values, checked once."""

from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from hydra_budget_sweeper.errors import SweepError


@dataclass(frozen=True)
class Settings:
    """One field to each setting of `BudgetSweeperConf`; see there for the meaning."""

    sampler: Any
    pruner: Any
    directions: tuple[str, ...]
    storage: str | None
    study_name: str | None
    n_trials: int
    n_jobs: int
    max_failure_rate: float
    params: dict[str, Any]
    custom_search_space: str | None
    constraints: str | None
    max_infeasible: int
    feasibility_samples: int
    enqueue: tuple[Any, ...]
    timeout: float | None
    trial_timeout: float | None
    max_retries: int
    retry_overrides: tuple[str, ...]
    max_repeated_errors: int
    resume: str | None
    join: bool
    lease: float
    on_end: tuple[str, ...]
    free_settings: tuple[str, ...]

    def __post_init__(self) -> None:
        self._require(self.n_jobs >= 1, "n_jobs", "1 or more")
        self._require(self.n_trials >= 0, "n_trials", "0 or more")
        self._require(0.0 <= self.max_failure_rate <= 1.0, "max_failure_rate", "from 0 to 1")
        self._require(self.max_infeasible >= 1, "max_infeasible", "1 or more")
        self._require(self.max_retries >= 0, "max_retries", "0 or more")
        self._require(self.max_repeated_errors >= 1, "max_repeated_errors", "1 or more")
        self._require(self.lease > 0, "lease", "above 0 seconds")
        for name in ("timeout", "trial_timeout"):
            limit = getattr(self, name)
            self._require(limit is None or limit > 0, name, "above 0 seconds, or null")
        for direction in self.directions:
            if direction not in ("minimize", "maximize"):
                raise SweepError(
                    f"hydra.sweeper.direction must be minimize or maximize, but got {direction}."
                )

    def _require(self, holds: bool, name: str, allowed: str) -> None:
        if not holds:
            raise SweepError(
                f"hydra.sweeper.{name} must be {allowed}, but got {getattr(self, name)}."
            )


def settings_from(config: dict[str, Any]) -> Settings:
    """Read what Hydra hands to the sweeper's constructor."""
    plain: dict[str, Any] = {
        key: OmegaConf.to_object(v) if _is_data(v) else v for key, v in config.items()
    }
    direction = plain.pop("direction")
    many = direction if isinstance(direction, list | tuple) else [direction]
    plain["directions"] = tuple(getattr(d, "name", str(d)) for d in many)
    plain["params"] = plain["params"] or {}
    for name in ("enqueue", "retry_overrides", "on_end", "free_settings"):
        plain[name] = tuple(plain[name] or ())
    return Settings(**plain)


def _is_data(value: Any) -> bool:
    # Sampler and pruner are instantiated later, from the configuration node itself.
    return OmegaConf.is_config(value) and "_target_" not in value
