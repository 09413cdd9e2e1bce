"""The network that a sweep's winner is compared with: its first known point."""

from __future__ import annotations

import functools

from omegaconf import DictConfig, OmegaConf

from budgetsweep.config import to_config
from budgetsweep.data import resolve
from budgetsweep.errors import UserError
from budgetsweep.network.cost import Cost, cost_of
from budgetsweep.network.fit import fit
from budgetsweep.network.saved import load_run
from budgetsweep.report.collect import Sweep, Trial
from budgetsweep.runs.confirmation import is_at, reference_config


@functools.lru_cache(maxsize=1)
def reference(sweep: Sweep) -> Trial | None:
    """The trial whose searched settings are the reference's.

    Where these cannot be composed here, the first point that was enqueued.
    """
    if (config := _config(sweep)) is not None:
        for trial in sorted(sweep.trials, key=lambda t: not t.told.enqueued):
            if trial.state not in ("failed", "duplicate") and is_at(config, trial.told.params):
                return trial
    return next((t for t in sweep.trials if t.told.enqueued), None)


def reference_cost(sweep: Sweep) -> Cost | None:
    """The reference's cost, row by row, at the sweep's budget if that is fitted.

    None where it is the winner, or is not known here.
    """
    known = reference(sweep)
    if known is not None and known is sweep.winner:
        return None
    try:
        if (composed := _config(sweep)) is not None:
            parts = [str(key) for key in composed if key != "hydra"]
            config = to_config(OmegaConf.masked_copy(composed, parts))
            config.data = resolve(config.data)
            config.model = fit(config.model, config.data, config.budget)
        elif known is not None and known.run is not None:
            config = load_run(known.run.folder).config
        else:
            return None
        return cost_of(config.model, config.data)
    except (UserError, OSError):
        return None


@functools.lru_cache(maxsize=1)
def _config(sweep: Sweep) -> DictConfig | None:
    run = next((t.run for t in sweep.trials if t.run and t.run.overrides), None)
    return reference_config(sweep.results, run.overrides) if run else None
