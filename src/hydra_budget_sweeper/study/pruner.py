"""The pruner of a sweep: one of Optuna's, to which candidates over the limits do not exist."""

from __future__ import annotations

import warnings
from typing import Any, cast

from hydra.utils import instantiate
from omegaconf import DictConfig
from optuna import Study
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner
from optuna.trial import FrozenTrial, TrialState

_ALLOWED = ("optuna.pruners.*",)


def build_pruner(config: DictConfig, n_objectives: int) -> BasePruner:
    """Instantiate the pruner; of several objectives none can prune."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pruner = instantiate(config, _execution_whitelist_=_ALLOWED)
    if n_objectives > 1:
        return NopPruner()
    # Optuna has to see a hyperband as such; it looks at trials that reported only, anyway.
    return pruner if isinstance(pruner, HyperbandPruner | NopPruner) else OfReporting(pruner)


class OfReporting(BasePruner):
    """A pruner that is shown no complete trial that reported nothing.

    Candidates over the limits are complete (see over_budget.py), but none of the
    `n_startup_trials` that are to finish before the first is pruned.
    """

    def __init__(self, pruner: BasePruner) -> None:
        self._pruner = pruner

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        return self._pruner.prune(cast(Study, _Reporting(study)), trial)


class _Reporting:
    def __init__(self, study: Study) -> None:
        self._study = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        trials = self._study.get_trials(*args, **kwargs)
        return [t for t in trials if t.intermediate_values or t.state is not TrialState.COMPLETE]
