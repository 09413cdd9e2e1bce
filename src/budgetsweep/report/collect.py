"""What the folders hold, read into plain records; nothing is computed about them yet."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from budgetsweep.errors import UserError
from budgetsweep.folders import CONFIG, LEADERBOARD, METRICS, STUDY, SUMMARY, SWEEP
from budgetsweep.network.limits import in_words
from budgetsweep.runs.overrides import overrides_of
from hydra_budget_sweeper import SweepError, SweepResults, SweepTrial, read_sweep

# What became of a proposal, in words.
STATES = ("complete", "pruned", "over budget", "failed", "duplicate", "running")


@dataclass(frozen=True)
class Run:
    """One run's folder; a file is read when it is asked for, and empty while it is not there."""

    folder: Path

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Empty until the run is finished."""
        return _json(self.folder / SUMMARY, {})

    @cached_property
    def rows(self) -> list[dict[str, float]]:
        """Of metrics.csv: epochs, and looks within them."""
        return _rows(self.folder / METRICS)

    @cached_property
    def config(self) -> dict[str, Any]:
        """As composed."""
        return _yaml(self.folder / CONFIG, {})

    @cached_property
    def overrides(self) -> list[str]:
        """Of the command that started it; empty where they cannot be read."""
        try:
            return overrides_of(self.folder)
        except UserError:
            return []

    @cached_property
    def epochs(self) -> list[dict[str, float]]:
        """The rows of whole epochs."""
        return [row for row in self.rows if "train_loss" in row or "val_loss" in row]

    def last(self, key: str) -> float | None:
        """A figure of the summary, or of the last epoch."""
        value = self.summary.get(key, self.epochs[-1].get(key) if self.epochs else None)
        return value if value is None else float(value)


@dataclass(frozen=True)
class Trial:
    """One proposal of a sweep, with the run in its folder."""

    told: SweepTrial
    run: Run | None

    @property
    def state(self) -> str:
        """In words."""
        return self.told.state.replace("_", " ")

    @property
    def folder(self) -> Path | None:
        """Its run's, if there is one."""
        return self.run.folder if self.run else None

    @property
    def value(self) -> float | None:
        """The first objective; None where it is not a finite number."""
        values = self.told.values
        return values[0] if values and math.isfinite(values[0]) else None

    @property
    def accuracy(self) -> float | None:
        """On the validation images, after the last epoch it trained."""
        return self.run.last("val_accuracy") if self.run else None


@dataclass(frozen=True, eq=False)
class Sweep:
    """A sweep's folder; the trials stand by number."""

    results: SweepResults
    trials: list[Trial]

    @property
    def folder(self) -> Path:
        """The sweep's."""
        return self.results.folder

    @cached_property
    def winner(self) -> Trial | None:
        """The best complete trial; with several objectives the first of the front."""
        best = self.results.winner
        return next((t for t in self.trials if t.told is best), None) if best else None

    def of(self, *states: str) -> list[Trial]:
        """The trials in these states."""
        return [t for t in self.trials if t.state in states]

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration of the winner, or of any trial that has one."""
        runs = [self.winner and self.winner.run, *(t.run for t in self.trials)]
        return next((run.config for run in runs if run and run.config), {})

    @cached_property
    def objectives(self) -> list[str]:
        """The names of what the trials returned."""
        n = len(self.results.directions)
        known = self.results.metric_names or self.config.get("objectives")
        if not isinstance(known, list | tuple) or len(known) != n:
            return ["objective"] if n == 1 else [f"objective {i + 1}" for i in range(n)]
        words = {"val_loss": "validation loss", "val_accuracy": "validation accuracy"}
        return [words.get(str(name), in_words(str(name))) for name in known]


@dataclass(frozen=True)
class Runs:
    """A folder whose sub-folders are finished runs, by seed."""

    folder: Path
    runs: list[Run]


def setting(config: Any, key: str) -> Any:
    """A dotted key's value, None where it is missing."""
    for part in key.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config


def collect(folder: Path) -> Sweep | Run | Runs:
    """Read whichever of the three `folder` is.

    Raises:
        UserError: it is none of them, or has nothing in it yet.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder.")
    if any((folder / name).exists() for name in (STUDY, LEADERBOARD, SWEEP)):
        return _sweep(folder)
    if (folder / SUMMARY).exists() or (folder / METRICS).exists():
        return Run(folder)
    runs = [Run(path.parent) for path in sorted(folder.glob(f"*/{SUMMARY}"))]
    if runs:
        return Runs(folder, sorted(runs, key=lambda run: (run.summary.get("seed", 0), run.folder)))
    raise UserError(
        f"{folder}: nothing to report: no sweep ({LEADERBOARD}), no run ({SUMMARY}), no runs in "
        "its sub-folders. Name the folder that the training's last line names."
    )


def _sweep(folder: Path) -> Sweep:
    try:
        results = read_sweep(folder)
    except SweepError as error:
        raise UserError(str(error)) from None
    if not results.trials:
        raise UserError(f"{folder}: this sweep has proposed no trial yet; try again later.")
    by_number = sorted(results.trials, key=lambda t: t.number)
    return Sweep(results, [Trial(t, _run_of(t)) for t in by_number])


def _run_of(trial: SweepTrial) -> Run | None:
    return Run(trial.folder) if trial.folder and trial.folder.is_dir() else None


def _json(path: Path, default: Any) -> Any:
    """A file's content; the default where it is missing or being written by something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return default
    return content if isinstance(content, type(default)) else default


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
    except (OSError, ValueError, csv.Error):
        return []
    told = ({k: float(v) for k, v in row.items() if k and _is_number(v)} for row in rows)
    return [row for row in told if "epoch" in row]


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and math.isfinite(float(text))
    except (TypeError, ValueError):
        return False
