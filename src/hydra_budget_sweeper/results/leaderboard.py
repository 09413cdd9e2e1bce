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

from hydra_budget_sweeper.files import write_text
from hydra_budget_sweeper.space.space import Space
from hydra_budget_sweeper.study.finalists import Standing, standing_of
from hydra_budget_sweeper.study.store import StudyStore
from hydra_budget_sweeper.study.tally import Tally
from hydra_budget_sweeper.study.trials import is_over_budget, kind_of, note_of

LEADERBOARD, TABLE = "leaderboard.json", "leaderboard.csv"
SUMMARY, STOCK_RESULTS = "sweep.json", "optimization_results.yaml"
HEADINGS = ["rank", "trial", "state", "value", "seconds", "folder", "retries", "duplicate_of"]
OVER_SEEDS = ["mean", "sd", "n", "single_run_rank"]  # of finalists, where there are any
_PARAM, _VIOLATION = "param:", "violation:"  # what a heading begins with that is not a name alone

Ranked = list[tuple[int | None, FrozenTrial]]


@dataclass(frozen=True)
class Winner:
    """The best trial, what it is run again with, and what it is in words."""

    trial: FrozenTrial
    overrides: tuple[str, ...]
    told: str = "its best"


@dataclass
class Leaderboard:
    """Writes the tables of one sweep folder.

    Args:
        finalists: Their study, if there are to be any.
    """

    folder: Path
    study: Study
    space: Space
    finalists: StudyStore | None = None

    def write(self, tally: Tally, summary: dict[str, Any]) -> Winner | None:
        """Rewrite every file from what the study holds now; return who is best."""
        ranked, standing = self._ranked(tally)
        rows = [self._row(place, trial) for place, trial in ranked]
        headings = HEADINGS
        if standing is not None:
            headings = [*HEADINGS, *OVER_SEEDS]
            known = {f.trial.number: f for f in standing.finalists}
            for row in rows:
                row |= {h: getattr(known.get(row["trial"]), h, None) for h in OVER_SEEDS}
        self._write_json(LEADERBOARD, rows)
        write_text(self.folder / TABLE, _csv(rows, headings))
        winner = _winner(ranked, standing)
        if standing is not None and winner is not None:
            summary |= {"best_trial": winner.trial.number, "best_value": winner.trial.value}
            summary["finalists"] = standing.told()
        self._write_json(SUMMARY, summary)
        write_text(self.folder / STOCK_RESULTS, self._stock(ranked, standing))
        return winner

    def winner(self, tally: Tally) -> Winner | None:
        """Return the best finalist, or the best single run; None while there is neither."""
        return _winner(*self._ranked(tally))

    def standing(self, tally: Tally) -> Standing | None:
        """Return how the finalists stand; None where none are asked for."""
        return self._ranked(tally)[1]

    def _ranked(self, tally: Tally) -> tuple[Ranked, Standing | None]:
        return rank_with_finalists(tally.finished, self.study, self.finalists)

    def _write_json(self, name: str, content: Any) -> None:
        write_text(self.folder / name, json.dumps(content, indent=1, default=str) + "\n")

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

    def _stock(self, ranked: Ranked, standing: Standing | None) -> str:
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
        if standing is not None and (first := standing.winner) is not None:
            results.update({f"best_{name}": getattr(first, name) for name in ("mean", "sd", "n")})
        return OmegaConf.to_yaml(OmegaConf.create(results))


def rank(trials: Sequence[FrozenTrial], study: Study) -> Ranked:
    """Order trials, the best first; those without a final value come last, unranked.

    With several objectives rank 1 is the Pareto front, in the order of the first objective; the
    other finished trials follow in that order, unranked.
    """
    signs = [-1.0 if d.name == "MAXIMIZE" else 1.0 for d in study.directions]
    valued = [t for t in trials if _counts(t)]
    valued.sort(key=lambda t: ([s * v for s, v in zip(signs, t.values, strict=True)], t.number))
    ranked: Ranked = list(enumerate(valued, start=1))
    if len(signs) > 1:
        front = {t.number for t in study.best_trials}
        ranked = [(1, t) for t in valued if t.number in front]
        ranked += [(None, t) for t in valued if t.number not in front]
    taken = {t.number for t in valued}
    rest = sorted((t for t in trials if t.number not in taken), key=lambda t: t.number)
    return ranked + [(None, t) for t in rest]


def rank_with_finalists(
    trials: Sequence[FrozenTrial], study: Study, finalists: StudyStore | None
) -> tuple[Ranked, Standing | None]:
    """Order trials as `rank` does, the finalists, who are the first of them, by their own runs.

    Args:
        finalists: Their study; None where there are none.
    """
    ranked = rank(trials, study)
    if finalists is None:
        return ranked, None
    standing = standing_of(finalists, [trial for place, trial in ranked if place is not None])
    places = list(enumerate((f.trial for f in standing.finalists), start=1))
    return [*places, *ranked[len(places) :]], standing


def _winner(ranked: Ranked, standing: Standing | None) -> Winner | None:
    first = next((trial for place, trial in ranked if place == 1), None)
    if first is None:
        return None
    overrides = tuple(note_of(first).overrides)
    if standing is None or (best := standing.winner) is None:
        return Winner(first, overrides)
    return Winner(first, (*overrides, *standing.rules.overrides), f"its best finalist: {best}")


def _counts(trial: FrozenTrial) -> bool:
    """Whether a trial's value is its own and may win."""
    if trial.state is not TrialState.COMPLETE or not trial.values:
        return False
    return not is_over_budget(trial) and kind_of(trial) != "duplicates"


def _csv(rows: list[dict[str, Any]], headings: list[str]) -> str:
    names = sorted({name for row in rows for name in row["params"]})
    limits = sorted({name for row in rows for name in row["violations"]})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*headings, *map(_heading, names), *(f"{_VIOLATION}{name}" for name in limits)])
    for row in rows:
        params, violations = row["params"], row["violations"]
        writer.writerow(
            [row[h] for h in headings]
            + [_cell(params, name) for name in names]
            + [_cell(violations, name) for name in limits]
        )
    return out.getvalue()


def _heading(name: str) -> str:
    """A parameter's heading: its name, unless that may be another column's."""
    taken = name in (*HEADINGS, *OVER_SEEDS) or name.startswith((_PARAM, _VIOLATION))
    return f"{_PARAM}{name}" if taken else name


def _cell(row: dict[str, Any], name: str) -> Any:
    # An empty cell is a parameter the candidate has not; null is a value.
    if name not in row:
        return ""
    return "null" if row[name] is None else row[name]
