"""What a sweep folder of ours tells of its trials, while it runs and afterwards."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from hydra_budget_sweeper.study.trials import kind_of, note_of


@dataclass(frozen=True)
class Trained:
    """A trial that was trained, to its end or until it was pruned."""

    number: int
    ended: float  # seconds since 1970
    value: float | None  # None: pruned
    epochs: float
    folder: Path


class SweepFolder:
    """Reads the study again and again; each time only what is new."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._storage: JournalStorage | None = None

    def trained(self) -> list[Trained]:
        """In the order they ended."""
        rows = [
            Trained(
                t.number,
                t.datetime_complete.timestamp() if t.datetime_complete else 0.0,
                t.value if t.state.name == "COMPLETE" else None,
                epochs_trained(self._folder / (note_of(t).folder or str(t.number))),
                self._folder / (note_of(t).folder or str(t.number)),
            )
            for t in self._finished()
            if kind_of(t) in ("complete", "pruned")
        ]
        return sorted(rows, key=lambda row: row.ended)

    def over_budget(self, until: float) -> int:
        """Proposals over the limits up to that time."""
        over = [t for t in self._finished() if kind_of(t) == "over_budget"]
        return sum(t.datetime_complete.timestamp() <= until for t in over if t.datetime_complete)

    def _finished(self) -> list[optuna.trial.FrozenTrial]:
        journal = self._folder / "study.journal"
        if self._storage is None:
            if not journal.exists():
                return []
            self._storage = JournalStorage(JournalFileBackend(str(journal)))
        studies = self._storage.get_all_studies()
        trials = self._storage.get_all_trials(studies[0]._study_id) if studies else []
        return [t for t in trials if t.state.is_finished()]


def epochs_trained(folder: Path) -> float:
    """How far a trial's training got, by its own record."""
    with open(folder / "metrics.csv", newline="") as file:
        *_, last = csv.DictReader(file)
    return float(last["epoch"])
