"""What follows from the records: sizes, the front, the reference, what pruning saved, time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from budgetsweep.config import CONF_DIR, Config
from budgetsweep.report.collect import Run, Sweep, Trial


def setting(config: dict[str, Any], key: str) -> Any:
    """A dotted key's value, None where it is missing."""
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def limit(sweep: Sweep) -> int | None:
    """The parameters allowed."""
    found = setting(sweep.config, "budget.max_parameters")
    return None if found is None else int(found)


def parameters(trial: Trial, allowed: int | None) -> int | None:
    """A candidate's size: as counted, else from the share by which it misses the limit."""
    if trial.run and "parameters" in trial.run.summary:
        return int(trial.run.summary["parameters"])
    share = trial.violations.get("parameters")
    return None if share is None or allowed is None else round(allowed * (1 + share))


@dataclass(frozen=True)
class Point:
    """A trained candidate in the picture of quality against size."""

    trial: Trial
    parameters: int
    score: float


@dataclass(frozen=True)
class Score:
    """What is drawn against size: validation accuracy, or the objective where there is none."""

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
    return Score("objective", sweep.directions[0] == "maximize")


def points(sweep: Sweep, *states: str) -> list[Point]:
    """Trials in these states whose size and score are known."""
    score, allowed = score_of(sweep), limit(sweep)
    sized = [(t, parameters(t, allowed), score.of(t)) for t in sweep.of(*states)]
    return [Point(t, p, s) for t, p, s in sized if p is not None and s is not None]


def front(candidates: Sequence[Point], higher_is_better: bool) -> list[Point]:
    """Those that no other beats in both size and score, by size."""
    sign = -1 if higher_is_better else 1
    best, chosen = math.inf, []
    for point in sorted(candidates, key=lambda p: (p.parameters, sign * p.score)):
        if sign * point.score < best:
            best = sign * point.score
            chosen.append(point)
    return chosen


def reference(sweep: Sweep) -> Trial | None:
    """The trial whose searched settings are all the shipped defaults."""
    trials = [t for t in sweep.of("complete", "pruned", "running") if t.run and t.params]
    if not trials:
        return None
    first = trials[0].run
    assert first is not None
    defaults = shipped_defaults(first)
    return next(
        (t for t in trials if all(_same(setting(defaults, k), v) for k, v in t.params.items())),
        None,
    )


def _same(default: Any, value: Any) -> bool:
    if isinstance(default, float | int) and isinstance(value, float | int):
        return math.isclose(default, value)
    return default is not None and str(default) == str(value)


def shipped_defaults(run: Run) -> dict[str, Any]:
    """The schema under the files of conf/ that the run chose, without its overrides."""
    from omegaconf import OmegaConf

    merged: Any = OmegaConf.create(OmegaConf.to_container(OmegaConf.structured(Config)))
    choices = _choices(run)
    # Experiments speak last, searches before them, as in conf/config.yaml.
    for group in sorted(choices, key=lambda g: (g == "experiment", g == "search")):
        path = CONF_DIR / group / f"{choices[group]}.yaml"
        if "/" not in group and path.is_file():
            body = OmegaConf.to_container(OmegaConf.load(path))
            assert isinstance(body, dict)
            own = {k: v for k, v in body.items() if k not in ("defaults", "hydra")}
            merged = OmegaConf.merge(merged, own)
    plain = OmegaConf.to_container(merged)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _choices(run: Run) -> dict[str, str]:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        hydra = OmegaConf.load(run.folder / ".hydra/hydra.yaml")
        found = OmegaConf.to_container(OmegaConf.select(hydra, "hydra.runtime.choices"))
    except (OSError, ValueError, OmegaConfBaseException):
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


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
        if trial.seconds is not None:
            busy += trial.seconds
            spent["other"] = max(0.0, trial.seconds - sum(spent.values()))
        for name, seconds in spent.items():
            total[name] = total.get(name, 0.0) + seconds
    wall = sweep.status.get("seconds", 0) * sweep.status.get("workers", 1)
    if wall > busy > 0:
        total["between trials"] = wall - busy
    order = ("training", "evaluating", "setting up", "other", "between trials")
    return {name: total[name] for name in order if total.get(name, 0) > 0}
