"""What a person sees while the sweep runs, and the files that follow along."""

import math
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table

from hydra_budget_sweeper.results.best import BestFile
from hydra_budget_sweeper.results.columns import Columns, TrialTable
from hydra_budget_sweeper.results.leaderboard import Leaderboard
from hydra_budget_sweeper.results.screen import VOICE as log
from hydra_budget_sweeper.results.screen import Screen, duration
from hydra_budget_sweeper.settings import Settings
from hydra_budget_sweeper.shown import shown
from hydra_budget_sweeper.study.finalists import Rules
from hydra_budget_sweeper.study.place import WORKERS
from hydra_budget_sweeper.study.store import Stop, StudyStore
from hydra_budget_sweeper.study.tally import N_LEADERS, Tally
from hydra_budget_sweeper.study.trials import describe_failure, kind_of, note_of, title_of

_POLL_SECONDS = 0.5
# Writing the files may take at most one part in this many of the time.
_WRITE_SHARE = 20


class Monitor:
    """Follows the study from a thread of the sweeper: screen, files, and the sweep's timeout.

    It reads through a storage of its own, so that it works with any launcher: the workers may be
    other processes or other machines.

    Args:
        finalists: By which rules there are to be some; time is kept for them.
        n_workers: How many trials run at a time, at most.
    """

    def __init__(
        self,
        store: StudyStore,
        run: str,
        settings: Settings,
        leaderboard: Leaderboard,
        best_file: BestFile,
        screen: Screen,
        finalists: Rules | None = None,
        n_workers: int = 1,
    ) -> None:
        self.tally = Tally(store.study())
        self.share_feasible: float | None = None
        self.state = "running"
        self.reason: str | None = None  # why it stopped before its end
        self._store = store
        self._run = run
        self._settings = settings
        self._leaderboard = leaderboard
        self._best_file = best_file
        self._screen = screen
        self._columns = Columns(settings.columns, len(settings.directions))
        self._finalists = finalists
        self._n_workers = n_workers
        self._start = time.monotonic()
        self._first_trial: float | None = None  # when it began, of this start
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._written = (-1, -1)  # trials proposed and finished when last written
        self._told = self._told_trained = 0  # finished trials of which no more is to be said
        self._next_write = 0.0
        self._complaints: set[str] = set()
        self._trained_before = 0
        self._by_time = settings.timeout is not None  # whether that comes before `n_trials`

    def start(self) -> None:
        self.tally.refresh()
        self._trained_before = self.tally.trained
        self._told, self._told_trained = len(self.tally.finished), self.tally.trained
        self._thread.start()

    def rest(self) -> None:
        """Follow no more; the files stay as they are."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        self.tally.refresh()
        self._tell()

    def end(self, state: str, reason: str | None = None) -> None:
        """Stop following and write everything once more."""
        self.rest()
        self._screen.phase("stopping" if state == "interrupted" else "ending")
        self.state, self.reason = state, reason
        self.write()
        log.info(self._counts())

    def write(self) -> None:
        """Rewrite the tables; one that cannot be written stays as it was."""
        try:
            winner = self._leaderboard.write(self.tally, self.summary())
            if winner is not None:
                self._best_file.write_command(winner)
        except OSError as error:
            self._complain(f"Cannot write the results just now: {error}")

    def summary(self) -> dict[str, Any]:
        tally = self.tally
        best = tally.best()
        return {
            "state": self.state,
            "reason": self.reason,
            "n_trials": self._settings.n_trials,
            "proposed": tally.proposed,
            "over_budget": tally.counts["over_budget"],
            "trained": tally.trained,
            "pruned": tally.counts["pruned"],
            "failed": tally.counts["failed"],
            "duplicates": tally.counts["duplicates"],
            "retried": tally.retried,
            "workers": self._settings.n_jobs,
            "seconds": round(time.monotonic() - self._start, 1),
            "share_feasible": self.share_feasible,
            "directions": [d.name.lower() for d in self._store.directions],
            "best_trial": best.number if best else None,
            "best_value": best.values[0] if best else None,
        }

    def table(
        self, trials: Sequence[FrozenTrial], running: Sequence[FrozenTrial] = ()
    ) -> TrialTable:
        """The best few trials, with several objectives of the front, and those that run."""
        hidden = self._leaderboard.folder / WORKERS
        best = [self._columns.cells(trial) for trial in trials[:N_LEADERS]]
        rows = [self._columns.cells(t, shown(hidden, note_of(t).worker)) for t in running]
        label = "best" if len(self._settings.directions) == 1 else "front"
        return TrialTable(self._columns.headings, [(label, best), ("running", rows)])

    def _counts(self) -> str:
        counts, over = self.tally.counts, self.tally.over
        names = [f"{name} {over[name]}" for name in sorted(over)] if len(over) > 1 else list(over)
        which = f" ({', '.join(names)})" if names else ""
        return (
            f"{self._of_all(self.tally.trained)} trained, {counts['pruned']} pruned, "
            f"{counts['failed']} failed, {counts['over_budget']} over budget{which}, "
            f"{self.tally.proposed} proposed"
        )

    def _board(self) -> RenderableType:
        """Counts, time left, the best, and last, since there may be many, the running trials."""
        running = [t for t in self.tally.open if t.state is TrialState.RUNNING]
        running = [t for t in running if note_of(t).started]
        share = self.tally.trained / max(1, self._settings.n_trials or 0)
        left = self._seconds_left()
        if left is not None and self._by_time:
            share = 1 - left / (self._settings.timeout or math.inf)
        progress = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=1, completed=share, width=40)
        progress.add_row(bar, "" if left is None else f"about {duration(left)} left")
        return Group(self._counts(), progress, *self._standing(running))

    def _standing(self, running: Sequence[FrozenTrial]) -> Iterator[RenderableType]:
        yield self.table(self.tally.leaders, running)

    def _seconds_left(self) -> float | None:
        """By the pace since the first trial began; one that is under way counts as half done."""
        if self._first_trial is None or self.tally.trained == self._trained_before:
            return None
        now = time.monotonic()
        done = (self.tally.trained + self.tally.claimed) / 2
        pace = (now - self._first_trial) / (done - self._trained_before)
        wanted = self._settings.n_trials
        left = math.inf if wanted is None else max(0.0, pace * (wanted - done))
        limit = max(0.0, self.seconds_to_timeout())
        self._by_time = limit < left
        shorter = min(left, limit)
        return shorter if math.isfinite(shorter) else None

    def _of_all(self, trained: int) -> str:
        wanted = self._settings.n_trials
        return str(trained) if self._by_time or wanted is None else f"{trained}/{wanted}"

    def _follow(self) -> None:
        while not self._over.wait(_POLL_SECONDS):
            try:
                self._look()
            except Exception as error:  # a full disk, a lost server: the next look may do better
                self._complain(f"Cannot follow the study just now: {error}")

    def _look(self) -> None:
        self.tally.refresh()
        if self._first_trial is None and self.tally.claimed > self._trained_before:
            self._first_trial = time.monotonic()
        self._check_timeout()
        self._tell()
        if self._screen.live:
            self._screen.show(self._board())
        now = time.monotonic()
        state = (self.tally.proposed, len(self.tally.finished))
        if state != self._written and now >= self._next_write:
            self.write()
            self._next_write = now + _WRITE_SHARE * (time.monotonic() - now)
            self._written = state

    def _complain(self, problem: str) -> None:
        if problem not in self._complaints:
            self._complaints.add(problem)
            log.warning("%s", problem)

    def seconds_for(self, rules: Rules, n_done: int = 0) -> float:
        """Estimate how long finalists' runs will take, of which `n_done` are done."""
        start = 0.0 if self._first_trial is None else self._first_trial - self._start
        return rules.seconds(self.tally.finished, self._n_workers, start, n_done)

    def seconds_to_timeout(self) -> float:
        limit = self._settings.timeout
        return math.inf if limit is None else self._start + limit - time.monotonic()

    def _seconds_kept(self) -> float:
        """How much of the timeout the search leaves to its finalists: at most half of it."""
        needed = self.seconds_for(self._finalists) if self._finalists else 0.0
        return min(needed, (self._settings.timeout or 0.0) / 2)

    def _check_timeout(self) -> None:
        left = self.seconds_to_timeout()
        if left < math.inf and left < (kept := self._seconds_kept()):
            reason = f"hydra.sweeper.timeout={self._settings.timeout:g} s is over"
            if left > 0:
                reason = f"{reason} but for the {kept:.0f} s that the finalists will take"
            self._store.stop(self._run, Stop(reason, error=False))

    def _tell(self) -> None:
        """Say what became of trials: on a terminal of those that failed, in a log of each."""
        new = self.tally.finished[self._told :]
        self._told = len(self.tally.finished)
        for trial in new:
            if trial.state is TrialState.FAIL and kind_of(trial) == "failed":
                log.error(describe_failure(trial, self._leaderboard.folder))
            elif not self._screen.live:
                log.info(self._describe(trial))

    def _describe(self, trial: FrozenTrial) -> str:
        note, kind = note_of(trial), kind_of(trial)
        if kind == "duplicates":
            return f"{title_of(trial)} repeats trial {note.duplicate_of}"
        self._told_trained += 1
        of_all = self._of_all(self._told_trained)
        ended = "pruned" if kind == "pruned" else "trained"
        told = f"{of_all} {title_of(trial)} {ended}: {self._columns.words(trial)}"
        left = self._seconds_left()
        return told if left is None else f"{told}; {duration(left)} left"
