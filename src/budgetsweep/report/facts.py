"""What follows from the records: sizes, the front, the reference, what pruning saved, time."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from budgetsweep.config import BudgetConfig
from budgetsweep.errors import SettingError
from budgetsweep.network.limits import LIMITS, Measure
from budgetsweep.network.limits import limits as budget_limits
from budgetsweep.report.collect import Run, Sweep, Trial
from budgetsweep.report.words import cost_name
from budgetsweep.runs.confirmation import is_at, reference_config


def setting(config: dict[str, Any], key: str) -> Any:
    """A dotted key's value, None where it is missing."""
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


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


@dataclass(frozen=True)
class Point:
    """A trained candidate in the picture of quality against cost."""

    trial: Trial
    x: float
    y: float


@dataclass(frozen=True)
class Score:
    """What is drawn against the cost: validation accuracy, or the objective without one."""

    name: str
    higher_is_better: bool

    def of(self, trial: Trial) -> float | None:
        """The trial's score, if it has one."""
        return trial.accuracy if self.name == "validation accuracy" else trial.value


def score_of(sweep: Sweep) -> Score:
    """Validation accuracy if every complete trial has it."""
    complete = sweep.of("complete")
    if complete and all(t.accuracy is not None for t in complete):
        return Score("validation accuracy", True)
    return Score(sweep.objectives[0], sweep.results.directions[0] == "maximize")


def points(sweep: Sweep, *states: str) -> list[Point]:
    """Trials in these states, score against cost; of several objectives the first two."""
    if len(sweep.results.directions) > 1:
        pairs = [(t, t.told.values) for t in sweep.of(*states) if len(t.told.values) > 1]
        return [Point(t, v[1], v[0]) for t, v in pairs if all(map(math.isfinite, v))]
    score, name = score_of(sweep), binding(sweep)
    placed = [(t, cost(sweep, t, name), score.of(t)) for t in sweep.of(*states)]
    return [Point(t, x, y) for t, x, y in placed if x is not None and y is not None]


def front(sweep: Sweep, candidates: Sequence[Point]) -> list[Point]:
    """The best, by cost: the leaderboard's front, or those that no other beats in cost and score."""
    if len(sweep.results.directions) > 1:
        return sorted((p for p in candidates if p.trial.told.rank == 1), key=lambda p: p.x)
    sign = -1 if score_of(sweep).higher_is_better else 1
    best, chosen = math.inf, []
    for point in sorted(candidates, key=lambda p: (p.x, sign * p.y)):
        if sign * point.y < best:
            best = sign * point.y
            chosen.append(point)
    return chosen


@functools.lru_cache(maxsize=1)
def reference(sweep: Sweep) -> Trial | None:
    """The trial whose searched settings are what the sweep would train without its search.

    Where that cannot be composed here, the first point that was enqueued.
    """
    tried = sweep.of("complete", "pruned", "running")
    run = next((t.run for t in tried if t.run and t.run.overrides), None)
    searched = {name for t in tried for name in t.told.params}
    config = reference_config(run.overrides, searched) if run else None
    if config is not None:
        if found := next((t for t in tried if is_at(config, t.told.params)), None):
            return found
    return next((t for t in tried if t.told.enqueued), None)


def comparable(sweep: Sweep) -> tuple[dict[int, float], str]:
    """Values that can be compared, by trial number, and what they are.

    A pruned trial's value is of another time than a complete one's: where some were pruned, all
    are taken at the last step that each of them reported.
    """
    name = sweep.objectives[0]
    complete = {t.told.number: t.value for t in sweep.of("complete") if t.value is not None}
    trained = [t for t in sweep.of("complete", "pruned") if t.told.reports]
    if sweep.of("pruned") and trained:
        common = set.intersection(*(set(t.told.reports) for t in trained))
        if common:
            step = max(common)
            at = {t.told.number: t.told.reports[step] for t in trained}
            return {n: v for n, v in at.items() if math.isfinite(v)}, f"{name} at step {step}"
    return complete, name


def misses(sweep: Sweep, trial: Trial) -> list[str]:
    """Over which limits a candidate is, and by how much."""
    told = []
    for name, share in trial.told.violations.items():
        if share > 0 and name == "shape":
            told.append("cannot be built: its feature map vanishes")
        elif share > 0:
            value, allowed = cost(sweep, trial, name), limits(sweep).get(name)
            missed = f"over {cost_name(name)}"
            if value is not None and allowed is not None:
                missed = str(Measure(name, allowed, value, {}))
            told.append(f"{missed} ({100 * share:.0f} %)")
    return told


def causes(sweep: Sweep) -> list[tuple[str, list[Trial]]]:
    """Why trials failed, the most frequent first; messages that differ in numbers are one cause."""
    groups: dict[str, list[Trial]] = {}
    for trial in sweep.of("failed"):
        said = trial.told.error or "no reason is known"
        groups.setdefault(re.sub(r"\d+(\.\d+)?(e[-+]?\d+)?", "…", said), []).append(trial)
    return sorted(groups.items(), key=lambda item: -len(item[1]))


def epochs_saved(sweep: Sweep) -> tuple[int, int] | None:
    """Epochs that pruned trials did not train, of those all trials would have taken."""
    full = setting(sweep.config, "trainer.epochs")
    trained = [t for t in sweep.of("complete", "pruned") if t.run and t.run.rows]
    if not full or not trained:
        return None
    done = round(sum(t.run.rows[-1]["epoch"] for t in trained if t.run))
    return len(trained) * int(full) - done, len(trained) * int(full)


def run_time(run: Run) -> dict[str, float]:
    """Seconds of one run by what they went to."""
    keys = {"training": "train", "evaluating": "evaluate", "setting up": "setup"}
    found = {name: run.summary.get(f"{key}_seconds") for name, key in keys.items()}
    if found["training"] is None and run.rows:
        found["training"] = run.rows[-1].get("seconds")
    return {name: float(seconds) for name, seconds in found.items() if seconds is not None}


def sweep_time(sweep: Sweep) -> dict[str, float]:
    """Seconds of all workers together by what they went to.

    What a pruned trial spent beside training is under `other`, as it leaves no summary. The time
    between trials is known for a sweep that was started once.
    """
    total: dict[str, float] = {}
    busy = 0.0
    for trial in sweep.trials:
        spent = run_time(trial.run) if trial.run and trial.state != "duplicate" else {}
        if trial.told.seconds is not None:
            busy += trial.told.seconds
            spent["other"] = max(0.0, trial.told.seconds - sum(spent.values()))
        for name, seconds in spent.items():
            total[name] = total.get(name, 0.0) + seconds
    status = sweep.results.status
    wall = status.get("seconds", 0) * status.get("workers", 1)
    if wall > busy > 0:
        total["between trials"] = wall - busy
    order = ("training", "evaluating", "setting up", "other", "between trials")
    return {name: total[name] for name in order if total.get(name, 0) > 0}
