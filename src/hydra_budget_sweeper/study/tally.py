"""What the study's trials amount to: counted once each, whoever asks however often."""

from bisect import insort
from collections import Counter
from datetime import datetime
from typing import Any, NamedTuple

from optuna import Study
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from hydra_budget_sweeper.space.space import Space
from hydra_budget_sweeper.study.trials import is_over_budget, kind_of, note_of

# Of one objective, how many of the best are kept in order.
N_LEADERS = 5

_Ranked = tuple[tuple[float, ...], int, FrozenTrial]  # values to be minimized, number, trial


class Failure(NamedTuple):
    """One failed trial, of the start `run` of the sweep."""

    run: str
    error: str
    trained: bool  # or it failed before, while it was composed or judged


class Tally:
    """Running counts over one study; `refresh` reads only what was not finished before.

    Args:
        study: The study.
        space: Tells which candidates were tried; without it `tried` stays empty.
    """

    def __init__(self, study: Study, space: Space | None = None) -> None:
        self._study = study
        self._space = space
        self._seen = 0
        self.open: list[FrozenTrial] = []
        self.counts: Counter[str] = Counter()
        self.over: Counter[str] = Counter()  # of those over budget, by each limit that is broken
        self.finished: list[FrozenTrial] = []
        self.trained_configs: dict[str, FrozenTrial] = {}
        self.failed_configs: dict[tuple[str, str], FrozenTrial] = {}  # by start of the sweep, too
        self.failures_in_a_row: list[Failure] = []
        self.runs_with_failures: set[str] = set()
        self.repeats_in_a_row = 0
        self.tried: set[tuple[Any, ...]] = set()
        self._ranked: list[_Ranked] = []
        self._last_started = -1
        self._fruitless: list[tuple[int, str]] = []
        self._retries_done = 0

    def refresh(self) -> None:
        trials = self._study.get_trials(deepcopy=False)
        fresh = [trials[t.number] for t in self.open] + trials[self._seen :]
        self._seen = len(trials)
        self.open = [trial for trial in fresh if not trial.state.is_finished()]
        for trial in self.open:
            if note_of(trial).started:
                self._start(trial.number)
        for trial in sorted((t for t in fresh if t.state.is_finished()), key=_end):
            self._absorb(trial)

    @property
    def proposed(self) -> int:
        return self._seen

    @property
    def trained(self) -> int:
        return self.counts["complete"] + self.counts["pruned"]

    @property
    def claimed(self) -> int:
        """Trials that count toward `n_trials` now: trained, or on the way to it."""
        return self.trained + sum(bool(note_of(t).started) for t in self.open)

    @property
    def retried(self) -> int:
        return self._retries_done + sum(note_of(t).retries for t in self.open)

    @property
    def fruitless_in_a_row(self) -> Counter[str]:
        """Proposals since the last one that was trained, by why they were not: their `kind_of`."""
        return Counter(kind for _, kind in self._fruitless)

    def running_with(self, config: str) -> FrozenTrial | None:
        """Return the trial that trains this very configuration just now."""
        return next((t for t in self.open if note_of(t).started == config), None)

    def best(self) -> FrozenTrial | None:
        """Return the best complete trial within the limits, of a study with one objective."""
        one = len(self._study.directions) == 1
        return self._ranked[0][-1] if one and self._ranked else None

    @property
    def leaders(self) -> list[FrozenTrial]:
        """The best few, the first of them first; of several objectives, of the front by the first."""
        return [trial for *_, trial in self._ranked[:N_LEADERS]]

    def _absorb(self, trial: FrozenTrial) -> None:
        kind = kind_of(trial)
        note = note_of(trial)
        self.counts[kind] += 1
        if self._space is not None:
            point = self._space.point(trial.params)
            self.repeats_in_a_row = self.repeats_in_a_row + 1 if point in self.tried else 0
            self.tried.add(point)
        self._retries_done += note.retries
        untrained = kind in ("over_budget", "duplicates") or not note.started
        if untrained and trial.number > self._last_started:
            self._fruitless.append((trial.number, kind))
        if kind == "over_budget":
            self.over.update(name for name, value in trial.constraints.items() if value > 0)
            return
        self.finished.append(trial)
        if kind == "failed":
            self.failures_in_a_row.append(Failure(note.run, note.error or "", bool(note.started)))
            self.runs_with_failures.add(note.run)
            if note.started:
                self.failed_configs[note.run, note.started] = trial
        elif kind != "duplicates":
            self.failures_in_a_row.clear()
            if note.started:
                self.trained_configs[note.started] = trial
        if kind == "complete":
            self._compare(trial)
        if note.started:
            self._start(trial.number)

    def _start(self, number: int) -> None:
        if number > self._last_started:
            self._last_started = number
            self._fruitless = [(n, kind) for n, kind in self._fruitless if n > number]

    def _compare(self, trial: FrozenTrial) -> None:
        if not trial.values or is_over_budget(trial):
            return
        signs = [-1.0 if d is StudyDirection.MAXIMIZE else 1.0 for d in self._study.directions]
        values = tuple(s * v for s, v in zip(signs, trial.values, strict=True))
        if len(values) > 1:
            if any(_dominates(other, values) for other, *_ in self._ranked):
                return
            self._ranked = [r for r in self._ranked if not _dominates(values, r[0])]
        insort(self._ranked, (values, trial.number, trial), key=lambda ranked: ranked[:2])
        if len(values) == 1:
            del self._ranked[N_LEADERS:]


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def _end(trial: FrozenTrial) -> tuple[datetime, int]:
    return trial.datetime_complete or datetime.max, trial.number
