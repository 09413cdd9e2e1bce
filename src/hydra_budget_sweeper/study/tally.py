"""What the study's trials amount to: counted once each, whoever asks however often."""

from collections import Counter
from typing import Any

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from hydra_budget_sweeper.study.trials import NOTE, is_over_budget, kind_of, note_of, point


class Tally:
    """Running counts over one study; `refresh` reads only what was not finished before."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._seen = 0
        self.open: list[FrozenTrial] = []
        self.counts: Counter[str] = Counter()
        self.finished: list[FrozenTrial] = []
        self.trained_configs: dict[str, FrozenTrial] = {}
        self.errors_in_a_row: list[tuple[str, str]] = []
        self.runs_with_failures: set[str] = set()
        self.repeats_in_a_row = 0
        self.tried: set[tuple[Any, ...]] = set()
        self._last_started = -1
        self._over_budget: list[int] = []
        self._retries_done = 0

    def refresh(self) -> None:
        trials = self._study.get_trials(deepcopy=False)
        fresh = [trials[t.number] for t in self.open] + trials[self._seen :]
        self._seen = len(trials)
        self.open = []
        for trial in fresh:
            if trial.state.is_finished():
                self._absorb(trial)
            else:
                self.open.append(trial)
                if _is_started(trial):
                    self._last_started = max(self._last_started, trial.number)

    @property
    def proposed(self) -> int:
        return self._seen

    @property
    def trained(self) -> int:
        return self.counts["complete"] + self.counts["pruned"]

    @property
    def claimed(self) -> int:
        """Trials that count toward `n_trials` now: trained, or on the way to it."""
        return self.trained + sum(_is_started(t) for t in self.open)

    @property
    def retried(self) -> int:
        return self._retries_done + sum(note_of(t).retries for t in self.open)

    @property
    def infeasible_in_a_row(self) -> int:
        """Proposals over budget since the last one that fitted."""
        count = 0
        for number in reversed(self._over_budget):
            if number < self._last_started:
                break
            count += 1
        return count

    def running_with(self, config: str) -> FrozenTrial | None:
        """Return the trial that trains this very configuration just now."""
        for trial in self.open:
            if trial.system_attrs.get(NOTE, {}).get("started") == config:
                return trial
        return None

    def best(self) -> FrozenTrial | None:
        """Return the best complete trial within the limits, of a study with one objective."""
        complete = [
            t
            for t in self.finished
            if t.state is TrialState.COMPLETE and t.values and not is_over_budget(t)
        ]
        if not complete or len(self._study.directions) > 1:
            return None
        pick = max if self._study.direction.name == "MAXIMIZE" else min
        return pick(complete, key=lambda t: t.values[0])

    def _absorb(self, trial: FrozenTrial) -> None:
        kind = kind_of(trial)
        note = note_of(trial)
        self.counts[kind] += 1
        where = point(trial.params)
        self.repeats_in_a_row = self.repeats_in_a_row + 1 if where in self.tried else 0
        self.tried.add(where)
        self._retries_done += note.retries
        if kind == "over_budget":
            self._over_budget.append(trial.number)
            return
        self.finished.append(trial)
        if kind == "failed":
            self.errors_in_a_row.append((note.run, note.error or ""))
            self.runs_with_failures.add(note.run)
        elif kind != "duplicates":
            self.errors_in_a_row.clear()
            if note.started:
                self.trained_configs[note.started] = trial
        self._last_started = max(self._last_started, trial.number)


def _is_started(trial: FrozenTrial) -> bool:
    return bool(trial.system_attrs.get(NOTE, {}).get("started"))
