"""What the folders hold, read into plain records; nothing is computed about them yet."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from budgetsweep.errors import UserError
from budgetsweep.folders import CONFIG, LEADERBOARD, METRICS, SUMMARY
from budgetsweep.report.journal import read_study
from hydra_budget_sweeper.results.leaderboard import rank
from hydra_budget_sweeper.study.place import JOURNAL
from hydra_budget_sweeper.study.tally import Tally
from hydra_budget_sweeper.study.trials import kind_of, note_of

SWEEP = "sweep.json"
# What became of a trial: our word → the leaderboard's.
STATES = {
    "complete": "COMPLETE",
    "pruned": "PRUNED",
    "failed": "FAIL",
    "duplicate": "DUPLICATE",
}


@dataclass(frozen=True)
class Run:
    """One run's folder."""

    folder: Path
    summary: dict[str, Any]  # empty until it is finished
    rows: list[dict[str, float]]  # of metrics.csv: epochs, and looks within them
    config: dict[str, Any]  # as composed
    overrides: list[str]

    @property
    def epochs(self) -> list[dict[str, float]]:
        """The rows of whole epochs. Looks of older releases lay in the same columns."""
        return [
            row
            for row in self.rows
            if "train_loss" in row or (row["epoch"].is_integer() and "look_loss" not in row)
        ]

    def last(self, key: str) -> float | None:
        """A figure of the summary, or of the last epoch."""
        value = self.summary.get(key, self.epochs[-1].get(key) if self.epochs else None)
        return value if value is None else float(value)


@dataclass(frozen=True)
class Trial:
    """One proposal of a sweep."""

    number: int
    state: str  # complete, pruned, over budget, failed, duplicate, running
    values: list[float]  # one an objective; of a pruned trial the last it reported
    params: dict[str, Any]
    violations: dict[str, float]
    rank: int | None = None
    seconds: float | None = None
    error: str | None = None
    duplicate_of: int | None = None
    run: Run | None = None

    @property
    def value(self) -> float | None:
        """The first objective; None where it is not a finite number."""
        return self.values[0] if self.values and math.isfinite(self.values[0]) else None

    @property
    def accuracy(self) -> float | None:
        """On the validation images, after the last epoch it trained."""
        return self.run.last("val_accuracy") if self.run else None


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder; `study` is None where it is kept elsewhere."""

    folder: Path
    status: dict[str, Any]  # sweep.json
    trials: list[Trial]
    directions: list[str]  # minimize or maximize
    study: optuna.Study | None = field(repr=False, default=None)

    @property
    def winner(self) -> Trial | None:
        """The best complete trial; with several objectives the first of the front."""
        return next((t for t in self.trials if t.rank == 1), None)

    def of(self, *states: str) -> list[Trial]:
        """The trials in these states."""
        return [t for t in self.trials if t.state in states]

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the winner, or of any trial that has one."""
        runs = [self.winner and self.winner.run, *(t.run for t in self.trials)]
        return next((run.config for run in runs if run and run.config), {})


@dataclass(frozen=True)
class Seeds:
    """A folder of runs that differ by seed."""

    folder: Path
    runs: list[Run]


def collect(folder: Path) -> Sweep | Run | Seeds:
    """Read whichever of the three `folder` is.

    Raises:
        UserError: it is none of them, or has nothing in it yet.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder.")
    if any((folder / name).exists() for name in (JOURNAL, LEADERBOARD, SWEEP)):
        return _sweep(folder)
    if (folder / SUMMARY).exists() or (folder / METRICS).exists():
        return read_run(folder)
    runs = [read_run(path.parent) for path in sorted(folder.glob(f"*/{SUMMARY}"))]
    if runs:
        return Seeds(folder, sorted(runs, key=lambda run: (run.summary.get("seed", 0), run.folder)))
    raise UserError(
        f"{folder}: nothing to report: no sweep ({LEADERBOARD}), no run ({SUMMARY}), no runs in "
        "its sub-folders. Name the folder that the training's last line names."
    )


def read_run(folder: Path) -> Run:
    """A run's folder; what is not there yet is empty."""
    return Run(
        folder,
        _json(folder / SUMMARY, {}),
        _rows(folder / METRICS),
        _yaml(folder / CONFIG, {}),
        [str(o) for o in _yaml(folder / ".hydra/overrides.yaml", [])],
    )


def _sweep(folder: Path) -> Sweep:
    status = _json(folder / SWEEP, {})
    study = read_study(folder / JOURNAL) if (folder / JOURNAL).exists() else None
    if study is None:
        trials = [_from_row(folder, row) for row in _json(folder / LEADERBOARD, [])]
        directions = ["minimize"]
    else:
        trials = _from_study(folder, study)
        directions = [d.name.lower() for d in study.directions]
    if not trials:
        raise UserError(f"{folder}: this sweep has proposed no trial yet; try again later.")
    return Sweep(folder, status, sorted(trials, key=lambda t: t.number), directions, study)


def _from_study(folder: Path, study: optuna.Study) -> list[Trial]:
    tally = Tally(study)
    tally.refresh()
    places = {trial.number: place for place, trial in rank(tally.finished, study)}
    started = [t for t in study.trials if t.state.is_finished() or note_of(t).started]
    return [_from_trial(folder, trial, places.get(trial.number)) for trial in started]


def _from_trial(folder: Path, trial: FrozenTrial, place: int | None) -> Trial:
    note = note_of(trial)
    words = {"duplicates": "duplicate", "over_budget": "over budget"}
    kind = kind_of(trial) if trial.state.is_finished() else "running"
    return Trial(
        number=trial.number,
        state=words.get(kind, kind),
        values=list(trial.values or []),
        params=trial.params,
        violations=dict(trial.constraints),
        rank=place,
        seconds=note.seconds,
        error=note.error,
        duplicate_of=note.duplicate_of,
        run=_run_in(folder, note.folder),
    )


def _from_row(folder: Path, row: dict[str, Any]) -> Trial:
    value = row.get("value")
    return Trial(
        number=row["trial"],
        state=next((s for s, word in STATES.items() if word == row["state"]), "failed"),
        values=value if isinstance(value, list) else [] if value is None else [value],
        params=row.get("params", {}),
        violations=row.get("violations", {}),
        rank=row.get("rank"),
        seconds=row.get("seconds"),
        error=row.get("error"),
        duplicate_of=row.get("duplicate_of"),
        run=_run_in(folder, row.get("folder")),
    )


def _run_in(sweep: Path, name: str | None) -> Run | None:
    return read_run(sweep / name) if name and (sweep / name).is_dir() else None


def _json(path: Path, default: Any) -> Any:
    """A file's content; the default where it is missing or being written by something else."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return default


def _yaml(path: Path, default: Any) -> Any:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # type: ignore[import-untyped]

    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (OSError, ValueError, YAMLError, OmegaConfBaseException):
        return default
    return content if isinstance(content, type(default)) else default


def _rows(path: Path) -> list[dict[str, float]]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError:
        return []
    numbers = [
        {key: float(value) for key, value in row.items() if key and _is_number(value)}
        for row in rows
    ]
    return [row for row in numbers if "epoch" in row]


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and math.isfinite(float(text))
    except ValueError:
        return False
