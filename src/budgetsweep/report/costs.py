"""What candidates cost, and what the budget allows."""

from __future__ import annotations

import dataclasses
from collections import Counter

from budgetsweep.config import BudgetConfig
from budgetsweep.errors import SettingError
from budgetsweep.network.limits import LIMITS, Measure, in_words
from budgetsweep.network.limits import limits as budget_limits
from budgetsweep.report.collect import Sweep, Trial, setting


def limits(sweep: Sweep) -> dict[str, int]:
    """What the budget limits, to what it allows."""
    told = setting(sweep.config, "budget")
    known = {f.name for f in dataclasses.fields(BudgetConfig)}
    given = {k: v for k, v in told.items() if k in known} if isinstance(told, dict) else {}
    try:
        return budget_limits(BudgetConfig(**given))
    except (SettingError, TypeError):
        return {}


def binding(sweep: Sweep) -> str:
    """The cost that candidates are compared by: the limit that is missed most often."""
    known = limits(sweep)
    missed = Counter(n for t in sweep.trials for n, x in t.told.violations.items() if x > 0)
    return max(known, key=lambda name: missed[name], default="parameters")


def cost(sweep: Sweep, trial: Trial, name: str) -> int | None:
    """A candidate's cost: from the share by which it misses or keeps the limit, else as counted."""
    share, allowed = trial.told.violations.get(name), limits(sweep).get(name)
    if share is not None and allowed is not None:
        least = LIMITS[name].startswith("min_")
        return round(allowed * (1 - share if least else 1 + share))
    counted = trial.run.summary.get(name) if trial.run else None
    return counted if isinstance(counted, int) else None


def misses(sweep: Sweep, trial: Trial) -> list[str]:
    """Over which limits a candidate is, and by how much."""
    told = []
    for name, share in trial.told.violations.items():
        if share > 0 and name == "shape":
            told.append("cannot be built: its feature map vanishes")
        elif share > 0:
            value, allowed = cost(sweep, trial, name), limits(sweep).get(name)
            missed = f"over {in_words(name)}"
            if value is not None and allowed is not None:
                missed = str(Measure(name, allowed, value, {}))
            told.append(f"{missed} ({100 * share:.0f} %)")
    return told
