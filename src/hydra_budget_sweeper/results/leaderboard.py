"""What a sweep folder tells: the leaderboard, the winner, the counts; rewritten as trials end."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from hydra_budget_sweeper.files import write_atomically
from hydra_budget_sweeper.space.space import Space
from hydra_budget_sweeper.study.tally import Tally
from hydra_budget_sweeper.study.trials import is_over_budget, kind_of, note_of

LEADERBOARD, TABLE = "leaderboard.json", "leaderboard.csv"
SUMMARY, STOCK_RESULTS = "sweep.json", "optimization_results.yaml"
HEADINGS = ["rank", "trial", "state", "value", "seconds", "folder", "retries", "duplicate_of"]


@dataclass
class Leaderboard:
    """Writes the tables of one sweep folder."""

    folder: Path
    study: Study
    space: Space

    def write(self, tally: Tally, summary: dict[str, Any]) -> None:
        """Rewrite every file from what the study holds now."""
        ranked = rank(tally.finished, self.study)
        rows = [self._row(place, trial) for place, trial in ranked]
        self._write_json(LEADERBOARD, rows)
        write_atomically(self.folder / TABLE, _csv(rows))
        self._write_json(SUMMARY, summary)
        write_atomically(self.folder / STOCK_RESULTS, self._stock(ranked))

    def _write_json(self, name: str, content: Any) -> None:
        write_atomically(self.folder / name, json.dumps(content, indent=1, default=str) + "\n")

    def _row(self, place: int | None, trial: FrozenTrial) -> dict[str, Any]:
        note = note_of(trial)
        values = trial.values or []
        row: dict[str, Any] = {
            "rank": place,
            "trial": trial.number,
            "state": "DUPLICATE" if note.duplicate_of is not None else trial.state.name,
            "value": values[0] if len(values) == 1 else (values or None),
            "seconds": None if note.seconds is None else round(note.seconds, 3),
            "folder": note.folder,
            "retries": note.retries,
            "duplicate_of": note.duplicate_of,
            "params": self.space.decode(trial.params),
            "violations": trial.constraints,
        }
        if trial.state is TrialState.PRUNED:
            row["last_step"] = trial.last_step
        if note.error:
            row["error"] = note.error
        return row

    def _stock(self, ranked: Sequence[tuple[int | None, FrozenTrial]]) -> str:
        best = [trial for place, trial in ranked if place == 1]
        results: dict[str, Any] = {"name": "optuna"}
        if len(self.study.directions) > 1:
            results["solutions"] = [
                {"params": self.space.decode(t.params), "values": t.values}
                for t in sorted(best, key=lambda t: t.number)
            ]
        else:
            results["best_params"] = self.space.decode(best[0].params) if best else {}
            results["best_value"] = best[0].values[0] if best else None
        return OmegaConf.to_yaml(OmegaConf.create(results))


def rank(trials: Sequence[FrozenTrial], study: Study) -> list[tuple[int | None, FrozenTrial]]:
    """Order trials, the best first; those without a final value come last, unranked.

    With several objectives rank 1 is the Pareto front, in the order of the first objective; the
    other finished trials follow in that order, unranked.
    """
    signs = [-1.0 if d.name == "MAXIMIZE" else 1.0 for d in study.directions]
    valued = [t for t in trials if _counts(t)]
    valued.sort(key=lambda t: ([s * v for s, v in zip(signs, t.values, strict=True)], t.number))
    ranked: list[tuple[int | None, FrozenTrial]] = list(enumerate(valued, start=1))
    if len(signs) > 1:
        front = {t.number for t in study.best_trials}
        ranked = [(1, t) for t in valued if t.number in front]
        ranked += [(None, t) for t in valued if t.number not in front]
    taken = {t.number for t in valued}
    rest = sorted((t for t in trials if t.number not in taken), key=lambda t: t.number)
    return ranked + [(None, t) for t in rest]


def _counts(trial: FrozenTrial) -> bool:
    """Whether a trial's value is its own and may win."""
    if trial.state is not TrialState.COMPLETE or not trial.values:
        return False
    return not is_over_budget(trial) and kind_of(trial) != "duplicates"


def _csv(rows: list[dict[str, Any]]) -> str:
    names = sorted({name for row in rows for name in row["params"]})
    limits = sorted({name for row in rows for name in row["violations"]})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*HEADINGS, *names, *(f"violation:{name}" for name in limits)])
    for row in rows:
        params, violations = row["params"], row["violations"]
        writer.writerow(
            [row[h] for h in HEADINGS]
            + [_cell(params, name) for name in names]
            + [_cell(violations, name) for name in limits]
        )
    return out.getvalue()


def _cell(row: dict[str, Any], name: str) -> Any:
    # An empty cell is a parameter the candidate has not; null is a value.
    if name not in row:
        return ""
    return "null" if row[name] is None else row[name]
