"""Rounds of workers until a sweep is done, each of as many as there are trials to take."""

import time
from collections.abc import Callable
from dataclasses import replace

from optuna.trial import FrozenTrial, TrialState

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.results.screen import VOICE as log
from hydra_budget_sweeper.study.finalists import runs_in
from hydra_budget_sweeper.study.store import StudyStore
from hydra_budget_sweeper.study.tally import Tally
from hydra_budget_sweeper.study.trials import note_of
from hydra_budget_sweeper.workers.launch import Workers
from hydra_budget_sweeper.workers.liveness import Watch
from hydra_budget_sweeper.workers.session import Plan

_MAX_FRUITLESS_ROUNDS = 3
_PAUSE = 0.5  # seconds between two looks at what others do


class Rounds:
    """Launches workers while there is something for them; waits while others do the rest.

    Args:
        workers: Who is launched.
        plan: The sweep's.
        store: The study.
        tally: A view of it that nobody else uses.
    """

    def __init__(self, workers: Workers, plan: Plan, store: StudyStore, tally: Tally) -> None:
        self._workers, self._plan, self._tally = workers, plan, tally
        self._watch = Watch(plan.hidden, plan.settings.lease, store=store)
        self._found_nothing: tuple[int, ...] | None = None
        self._waiting = False

    def go_on_until(self, is_done: Callable[[], bool]) -> None:
        """Come back when `is_done` says so.

        Raises:
            SweepError: The workers cannot run here.
        """
        fruitless = 0
        while not is_done():
            n_workers = self.n_claimable()
            if not n_workers or self._stands_still():
                self._wait_for_others()
                continue
            self._waiting, before = False, self._moves()
            # A worker is not to wait for a lease that has passed here.
            plan = replace(self._plan, still=self._watch.still())
            problem = self._workers.launch(plan, n_workers)
            fruitless = fruitless + 1 if self._moves() == before else 0
            if problem is not None and fruitless >= _MAX_FRUITLESS_ROUNDS:
                raise SweepError(f"The workers cannot run: {type(problem).__name__}: {problem}")
            self._found_nothing = None
            if fruitless and problem is None:
                self._found_nothing = before
                time.sleep(_PAUSE)

    def n_claimable(self) -> int:
        """Count the trials that a worker could take: to propose, waiting, or left by the dead."""
        self._tally.refresh()
        if (runs := self._plan.runs) is not None:
            begun = runs_in((*self._tally.open, *self._tally.finished))
            return sum(
                (trial := begun.get(run.key)) is None
                or not (trial.state.is_finished() or self._is_held(trial))
                for run in runs
            )
        return self._plan.settings.left(self._tally.claimed) + self._n_left()

    def _n_left(self) -> int:
        return sum(bool(note_of(t).started) and not self._is_held(t) for t in self._tally.open)

    def _is_held(self, trial: FrozenTrial) -> bool:
        owner = note_of(trial).worker
        return trial.state is TrialState.RUNNING and bool(owner) and self._watch.is_alive(owner)

    def _stands_still(self) -> bool:
        """A round found nothing, as in a finite space whose last candidates others are training."""
        return self._found_nothing == self._moves() and all(map(self._is_held, self._tally.open))

    def _wait_for_others(self) -> None:
        if not self._waiting:
            log.info("What is left is in the hands of other workers; waiting for them")
            self._waiting = True
        time.sleep(_PAUSE)

    def _moves(self) -> tuple[int, ...]:
        """What changes whenever the sweep gets anywhere.

        Steps, too: where a trial takes longer than a cluster lets a job run, many rounds finish none.
        """
        self._tally.refresh()
        reported = sum(len(trial.intermediate_values) for trial in self._tally.open)
        return (self._tally.proposed, len(self._tally.finished), self._tally.retried, reported)
