"""What a person sees while the finalists run, and what they are told at the end."""

import logging
from collections.abc import Iterator

from hydra_budget_sweeper.results.progress import Monitor
from hydra_budget_sweeper.settings import Settings
from hydra_budget_sweeper.study.finalists import Standing
from hydra_budget_sweeper.study.store import StudyStore

log = logging.getLogger(__name__)


class FinalistsMonitor(Monitor):
    """Follows the finalists' runs as `Monitor` does the search, whose tables it writes anew."""

    def __init__(self, search: Monitor, store: StudyStore, settings: Settings) -> None:
        super().__init__(
            store,
            search._run,
            settings,
            search._leaderboard,
            search._best_file,
            search._live,
        )
        self._start = search._start
        self._search = search

    def rest(self) -> None:
        super().rest()
        self.tally.refresh()
        log.info(self.line())

    def write(self) -> None:
        self._search.write()

    @property
    def done(self) -> str:
        return f"{self.tally.trained} of {self._settings.n_trials}"

    def line(self) -> str:
        parts = [f"finalists: {self.done} runs trained", f"{self.tally.counts['failed']} failed"]
        return ", ".join([*parts, *self._left()])


def verdict(standing: Standing) -> Iterator[str]:
    """Say who wins, and how far single runs would have misled."""
    winner, finalists = standing.winner, standing.finalists
    if n := len(standing.missing):
        yield f"{n} runs of the finalists are still to be done; only rounds that are over count"
    if winner is None:
        yield "No finalist has been through a round: the best single run stays the winner"
        return
    yield f"Trial {winner.trial.number} is the best of {len(finalists)} finalists: {winner}"
    best_single = next(f for f in finalists if f.single_run_rank == 1)
    if best_single is not winner:
        told = f": {best_single}" if best_single.n else ""
        place = finalists.index(best_single) + 1
        yield f"Trial {best_single.trial.number}, the best single run, comes to place {place}{told}"
    told = f"By one seed alone another would have won in {standing.n_misled} of {winner.n} cases"
    if (rho := standing.rank_correlation) is not None:
        told += f"; rank correlation of the single runs with the final order: {rho:.2f}"
    yield told
