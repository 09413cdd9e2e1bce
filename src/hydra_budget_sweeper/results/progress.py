"""What a person sees while the sweep runs, and the files that follow along."""

import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from optuna.trial import TrialState

from hydra_budget_sweeper.results.best import BestFile
from hydra_budget_sweeper.results.leaderboard import Leaderboard
from hydra_budget_sweeper.settings import Settings
from hydra_budget_sweeper.study.store import Stop, StudyStore
from hydra_budget_sweeper.study.tally import Tally
from hydra_budget_sweeper.study.trials import describe_failure

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.25
# Writing the files may take at most one part in this many of the time.
_WRITE_SHARE = 20
_LINE_SECONDS = 10.0


class Monitor:
    """Follows the study from a thread of the sweeper: line, files, and the sweep's timeout.

    It reads through a storage of its own, so that it works with any launcher: the workers may be
    other processes or other machines.

    Args:
        seconds_kept: Tells how many seconds of the timeout are for what comes after.
    """

    def __init__(
        self,
        store: StudyStore,
        run: str,
        settings: Settings,
        leaderboard: Leaderboard,
        best_file: BestFile,
        live: bool,
        seconds_kept: Callable[[], float] = lambda: 0.0,
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
        self._live = live
        self._seconds_kept = seconds_kept
        self._start = time.monotonic()
        self._first_trial: float | None = None  # when it began, of this start
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._shown = (-1, -1)  # trials proposed and finished when last shown
        self._next_line = self._next_write = 0.0
        self._complaints: set[str] = set()
        self._trained_before = 0

    def start(self) -> None:
        self.tally.refresh()
        self._trained_before = self.tally.trained
        self._thread.start()

    def rest(self) -> None:
        """Follow no more; the files stay as they are."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def end(self, state: str, reason: str | None = None) -> None:
        """Stop following and write everything once more."""
        self.rest()
        self.state, self.reason = state, reason
        self.tally.refresh()
        self.write()
        if self._live:
            sys.stderr.write("\x1b[2K")
        log.info(self.line())

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

    def line(self) -> str:
        counts = self.tally.counts
        parts = [
            f"{self.tally.trained}/{self._settings.n_trials} trained",
            f"{counts['pruned']} pruned",
            f"{counts['failed']} failed",
            f"{counts['over_budget']} over budget",
            f"{self.tally.proposed} proposed",
        ]
        if (best := self.tally.best()) is not None:
            parts.append(f"best {best.values[0]:.6g} (trial {best.number})")
        return ", ".join([*parts, *self._left()])

    def _left(self) -> Iterator[str]:
        if self.state == "running" and (left := self._seconds_left()) is not None:
            yield f"{_duration(left)} left"

    def _seconds_left(self) -> float | None:
        """By the pace since the first trial began; one that is under way counts as half done."""
        if self._first_trial is None or self.tally.trained == self._trained_before:
            return None
        now = time.monotonic()
        done = (self.tally.trained + self.tally.claimed) / 2
        pace = (now - self._first_trial) / (done - self._trained_before)
        left = max(0.0, pace * (self._settings.n_trials - done))
        limit = self._settings.timeout
        return left if limit is None else min(left, max(0.0, self._start + limit - now))

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
        self._show_failures()
        now = time.monotonic()
        state = (self.tally.proposed, len(self.tally.finished))
        if self._live:
            self._show_live()
        elif state[1] != self._shown[1] and now >= self._next_line:
            log.info(self.line())
            self._next_line = now + _LINE_SECONDS
        if state != self._shown and now >= self._next_write:
            self.write()
            self._next_write = now + _WRITE_SHARE * (time.monotonic() - now)
            self._shown = state

    def _complain(self, problem: str) -> None:
        if problem not in self._complaints:
            self._complaints.add(problem)
            log.warning("%s", problem)

    @property
    def seconds_to_first_trial(self) -> float:
        return 0.0 if self._first_trial is None else self._first_trial - self._start

    def seconds_to_timeout(self) -> float:
        limit = self._settings.timeout
        return math.inf if limit is None else self._start + limit - time.monotonic()

    def _check_timeout(self) -> None:
        left = self.seconds_to_timeout()
        if left < math.inf and left < (kept := self._seconds_kept()):
            reason = f"hydra.sweeper.timeout={self._settings.timeout:g} s is over"
            if left > 0:
                reason = f"{reason} but for the {kept:.0f} s that the finalists will take"
            self._store.stop(self._run, Stop(reason, error=False))

    def _show_live(self) -> None:
        # The cursor goes back to the line's start, so that whatever else is printed begins there.
        sys.stderr.write(f"\x1b[2K{self.line()[:200]}\r")
        sys.stderr.flush()

    def _show_failures(self) -> None:
        """Show failures that a worker whose output is set aside could not show itself."""
        if not self._live:
            return
        new = self.tally.finished[self._failures_seen :]
        self._failures_seen = len(self.tally.finished)
        for trial in new:
            if trial.state is TrialState.FAIL:
                sys.stderr.write(f"\x1b[2K{describe_failure(trial, self._leaderboard.folder)}\n")

    _failures_seen = 0


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
