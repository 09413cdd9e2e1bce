"""What a sweep folder tells: the leaderboard, the winner, the counts; rewritten as trials end."""

import csv
import io
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from hydra_budget_sweeper.files import write_atomically
from hydra_budget_sweeper.space.space import Space, plain_value
from hydra_budget_sweeper.study.store import StudyStore
from hydra_budget_sweeper.study.tally import Tally
from hydra_budget_sweeper.study.trials import is_over_budget, kind_of, note_of

HEADINGS = ["rank", "trial", "state", "value", "seconds", "folder", "retries", "duplicate_of"]


@dataclass
class Results:
    """Writes the files of one sweep folder.

    Args:
        command: How the application is started, such as `python train.py`.
        groups: Config groups the application knows, for the winner's file.
    """

    folder: Path
    study: StudyStore
    space: Space
    command: str
    groups: frozenset[str]

    def write(self, tally: Tally, summary: dict[str, Any]) -> None:
        """Rewrite every file from what the study holds now."""
        ranked = rank(tally.finished, [d.name == "MAXIMIZE" for d in self.study.directions])
        rows = [self._row(place, trial) for place, trial in ranked]
        self._write_json("leaderboard.json", rows)
        write_atomically(self.folder / "leaderboard.csv", _csv(rows))
        self._write_json("sweep.json", summary)
        write_atomically(self.folder / "optimization_results.yaml", self._stock(ranked))
        if ranked and ranked[0][0] == 1:
            text = self._winner(ranked[0][1])
            write_atomically(self.folder / "best.yaml", text)
            (self.folder / "experiment").mkdir(exist_ok=True)
            write_atomically(self.folder / "experiment" / "best.yaml", text)

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

    def _winner(self, trial: FrozenTrial) -> str:
        overrides = note_of(trial).overrides or self.space.overrides(trial.params)
        return experiment_file(overrides, self.groups, self.command, self.folder)


def rank(
    trials: Sequence[FrozenTrial], maximize: Sequence[bool]
) -> list[tuple[int | None, FrozenTrial]]:
    """Order trials, the best first; those without a final value come last, unranked.

    With several objectives rank 1 is the Pareto front, and the rest are ordered by how many
    others dominate them.
    """
    signs = [-1.0 if up else 1.0 for up in maximize]
    valued = [
        t
        for t in trials
        if t.state is TrialState.COMPLETE
        and t.values
        and not is_over_budget(t)
        and kind_of(t) != "duplicates"
    ]
    losses = {t.number: [s * v for s, v in zip(signs, t.values, strict=True)] for t in valued}
    if len(signs) == 1:
        valued.sort(key=lambda t: (losses[t.number], t.number))
        ranked: list[tuple[int | None, FrozenTrial]] = list(enumerate(valued, start=1))
    else:
        places = {
            t.number: 1 + sum(_dominates(losses[o.number], losses[t.number]) for o in valued)
            for t in valued
        }
        ranked = [(places[t.number], t) for t in valued]
        ranked.sort(key=lambda pair: (pair[0] or 0, losses[pair[1].number]))
    taken = {t.number for t in valued}
    rest = sorted((t for t in trials if t.number not in taken), key=lambda t: t.number)
    return ranked + [(None, t) for t in rest]


def experiment_file(
    overrides: Sequence[str], groups: frozenset[str], command: str, folder: Path
) -> str:
    """Write overrides as an `experiment` config: group choices as defaults, the rest nested."""
    defaults: list[Any] = []
    body = OmegaConf.create({})
    only_on_command_line: list[str] = []
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group
        is_group = override.package is not None or key in groups or key.replace(".", "/") in groups
        if override.is_delete() and not is_group:
            only_on_command_line.append(override.input_line or key)
        elif is_group:
            package = f"@{override.package}" if override.package is not None else ""
            choice = None if override.is_delete() else override.value()
            word = "" if override.is_add() else "override "
            if key == "experiment":
                defaults.insert(0, choice)
            else:
                defaults.append({f"{word}/{key}{package}": choice})
        else:
            OmegaConf.update(body, key, plain_value(override.value()), force_add=True)
    add = "experiment=best" if "experiment" in groups else "+experiment=best"
    line = f"{command} --config-dir {shlex.quote(str(folder))} {add}"
    line = " ".join([line, *map(shlex.quote, only_on_command_line)])
    text = f"# @package _global_\n# Run it: {line}\n"
    if defaults:
        text += OmegaConf.to_yaml(OmegaConf.create({"defaults": [*defaults, "_self_"]})) + "\n"
    return text + (OmegaConf.to_yaml(body) if len(body) else "")


def _dominates(one: list[float], other: list[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


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
