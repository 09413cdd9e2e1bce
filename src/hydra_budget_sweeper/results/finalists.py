"""What a person sees while the finalists run, and what they are told at the end."""

from collections.abc import Iterator, Sequence

from optuna.trial import FrozenTrial
from rich.console import RenderableType

from hydra_budget_sweeper.results.progress import Monitor
from hydra_budget_sweeper.results.screen import VOICE as log
from hydra_budget_sweeper.settings import Settings
from hydra_budget_sweeper.study.finalists import Standing
from hydra_budget_sweeper.study.store import StudyStore


class FinalistsMonitor(Monitor):
    """Follows the finalists' runs as `Monitor` does the search, whose tables it writes anew."""

    def __init__(self, search: Monitor, store: StudyStore, settings: Settings) -> None:
        super().__init__(
            store,
            search._run,
            settings,
            search._leaderboard,
            search._best_file,
            search._screen,
        )
        self._start = search._start
        self._search = search
        self._means: tuple[int, list[str]] = (-1, [])  # of how many runs, and what they came to

    def rest(self) -> None:
        super().rest()
        log.info(self._counts())

    def write(self) -> None:
        self._search.write()

    @property
    def done(self) -> str:
        return self._settings.of_all(self.tally.trained)

    def _counts(self) -> str:
        return f"finalists: {self.done} runs trained, {self.tally.counts['failed']} failed"

    def _standing(self, running: Sequence[FrozenTrial]) -> Iterator[RenderableType]:
        """Their means so far, which are more than the best single run."""
        if (n := len(self.tally.finished)) != self._means[0]:
            standing = self._leaderboard.standing(self._search.tally)
            finalists = [f for f in (standing.finalists if standing else ()) if f.n]
            self._means = n, [f"Trial {f.trial.number}: {f}" for f in finalists]
        yield from self._means[1]
        yield self.table((), running)


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
    if winner.n > 1:  # its one seed alone has chosen it
        yield f"By one seed alone another would have won in {standing.n_misled} of {winner.n} cases"
    if (rho := standing.rank_correlation) is not None:
        yield f"Rank correlation of the single runs with the final order: {rho:.2f}"
