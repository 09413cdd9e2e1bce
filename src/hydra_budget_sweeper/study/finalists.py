"""Finalists: the best candidates of a search, trained again under other seeds; the best mean wins.

The best of many single runs owes part of its lead to its seed. So the first `count` of the
leaderboard run again under seeds that the search did not use, the same ones for each; half of them
go on to more seeds, and so forth. Who is a finalist, what is still to be trained and who wins
follows from the two studies alone, the search's and the finalists' own: a sweep that was
interrupted goes on where it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.study.store import StudyStore
from hydra_budget_sweeper.study.trials import NOTE, Note, kind_of, note_of

RULES = "budget_sweep:finalists"  # attribute of their study: by which rules it was made
FINALISTS, FINALISTS_DEPTH = "finalists", 3  # where their runs lie: in finalists/trial-N/seed-N


@dataclass(frozen=True)
class Rules:
    """What is asked for.

    Args:
        key: The setting that holds the seed.
        first_seed: The lowest seed; the others follow it.
        overrides: Of all finalists' runs.
        count: How many candidates there are in the first round.
        seeds: How many seeds each has had after the first round, after the second, ...
        cost: Time of one run, in trials of the search.
    """

    key: str
    first_seed: int
    overrides: tuple[str, ...]
    count: int
    seeds: tuple[int, ...]
    cost: float = 1.0

    def applied(self, overrides: Iterable[str], seed: int) -> tuple[str, ...]:
        """Return the overrides of a finalist's run."""
        return (*overrides, *self.overrides, f"{self.key}={seed}")

    def sizes(self, n_candidates: int) -> Iterator[tuple[int, int]]:
        """Return candidates and seeds of each round, where `n_candidates` are there to begin with."""
        n = min(self.count, n_candidates)
        for place, n_seeds in enumerate(self.seeds):
            if not n or (place and n < 2):
                return
            yield n, n_seeds
            n = (n + 1) // 2

    def n_runs(self, n_candidates: int) -> list[int]:
        """Return how many runs each round makes, if none fails."""
        rounds = list(self.sizes(n_candidates))
        before = [0, *(n_seeds for _, n_seeds in rounds)]
        return [n * (n_seeds - b) for (n, n_seeds), b in zip(rounds, before, strict=False)]

    def seconds(
        self, trials: Iterable[FrozenTrial], n_workers: int, start: float, n_done: int = 0
    ) -> float:
        """Estimate how long the runs will take, by the mean time of the complete trials so far.

        Args:
            trials: The search's.
            n_workers: How many run at a time.
            start: Seconds until workers are ready, which they have to be for each round.
            n_done: How many runs there are already.
        """
        complete = [note_of(t).seconds or 0.0 for t in trials if kind_of(t) == "complete"]
        if not complete:
            return 0.0
        rounds = self.n_runs(len(complete))
        one_by_one = sum(math.ceil(n / n_workers) for n in rounds) - n_done // n_workers
        # One trial more, for those that the search has still to finish.
        return (one_by_one * self.cost + 1) * fmean(complete) + len(rounds) * start


@dataclass(frozen=True)
class Run:
    """One training of a candidate under one seed."""

    candidate: FrozenTrial
    seed: int
    rules: Rules

    @property
    def key(self) -> tuple[int, int]:
        return self.candidate.number, self.seed

    def begun_by(self, owner: str, run: str) -> FrozenTrial:
        """Return the trial to create, in the hands of `owner`."""
        number = self.candidate.number
        note = Note(
            worker=owner,
            run=run,
            overrides=list(self.rules.applied(note_of(self.candidate).overrides, self.seed)),
            finalist=list(self.key),
            folder=f"{FINALISTS}/trial-{number}/seed-{self.seed}",
        )
        return create_trial(
            state=TrialState.RUNNING,
            params=self.candidate.params,
            distributions=self.candidate.distributions,
            user_attrs={"finalist of trial": number, "under seed": self.seed},  # for dashboards
            system_attrs={NOTE: note.said()},
        )


@dataclass(frozen=True)
class Finalist:
    """A candidate and what its runs came to.

    `values` are those of the last round that all in it have finished, in the order of the seeds.
    """

    trial: FrozenTrial
    single_run_rank: int
    values: tuple[float, ...] = ()
    failed: bool = False

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float | None:
        return fmean(self.values) if self.values else None

    @property
    def sd(self) -> float | None:
        return stdev(self.values) if self.n > 1 else None

    def __str__(self) -> str:
        spread = "" if self.sd is None else f", sd {self.sd:.3g}"
        return f"mean {self.mean:.6g}{spread} over {self.n} seed{'s' * (self.n > 1)}"


@dataclass(frozen=True)
class Standing:
    """The finalists, the best first, and what the present round still lacks.

    `sign` is -1 where more is better.
    """

    rules: Rules
    sign: float
    finalists: tuple[Finalist, ...]
    missing: tuple[Run, ...] = ()

    @property
    def winner(self) -> Finalist | None:
        """The best mean; None before the first round is over, or if all runs failed."""
        first = next(iter(self.finalists), None)
        return first if first is not None and first.n else None

    def told(self) -> dict[str, Any]:
        """Return what a summary tells of them."""
        return {
            "count": len(self.finalists),
            "winner": self.winner and self.winner.trial.number,
            "n_missing": len(self.missing),  # runs, of the present round
            "n_misled": self.n_misled,
            "rank_correlation": self.rank_correlation,
        }

    @property
    def n_misled(self) -> int:
        """Count the winner's seeds under which another has the best run."""
        n = self.winner.n if self.winner else 0
        return sum(self._best_under(i) is not self.winner for i in range(n))

    def _best_under(self, i: int) -> Finalist:
        return min(
            (f for f in self.finalists if f.n > i),
            key=lambda f: (self.sign * f.values[i], f.single_run_rank),
        )

    @property
    def rank_correlation(self) -> float | None:
        """Spearman's, of the order by single runs with this one; None for fewer than two.

        Those with a run that failed have their place, too: behind the others of their round.
        """
        placed = [f.single_run_rank for f in self.finalists if f.n or f.failed]
        n, before = len(placed), sorted(placed)
        if n < 2:
            return None
        squares = sum((before.index(rank) - place) ** 2 for place, rank in enumerate(placed))
        return round(1 - 6 * squares / (n * (n**2 - 1)), 6)


def standing_of(store: StudyStore, ranked: Sequence[FrozenTrial]) -> Standing:
    """Read how the finalists stand.

    Args:
        store: The finalists' study.
        ranked: The search's candidates by their single runs, the best first.
    """
    rules = _rules_of(store)
    sign = -1.0 if store.directions[0] is StudyDirection.MAXIMIZE else 1.0
    ended = {k: t for k, t in runs_in(store.trials()).items() if t.state.is_finished()}
    left = [Finalist(t, place) for place, t in enumerate(ranked[: rules.count], start=1)]
    out: list[Finalist] = []
    for n, n_seeds in rules.sizes(len(left)):
        left, out = left[:n], left[n:] + out
        if out and len(left) < 2:
            break
        seeds = range(rules.first_seed, rules.first_seed + n_seeds)
        runs = [Run(f.trial, seed, rules) for f in left for seed in seeds]
        if missing := [run for run in runs if run.key not in ended]:
            return Standing(rules, sign, (*left, *out), tuple(missing))
        judged = [_after_round(f, [ended[f.trial.number, seed] for seed in seeds]) for f in left]
        left = sorted(
            (f for f in judged if not f.failed),
            key=lambda f: (sign * fmean(f.values), f.single_run_rank),
        )
        out = [f for f in judged if f.failed] + out
    return Standing(rules, sign, (*left, *out))


def _after_round(finalist: Finalist, runs: Sequence[FrozenTrial]) -> Finalist:
    values = [run.value for run in runs if kind_of(run) == "complete"]
    if len(values) < len(runs):
        return replace(finalist, failed=True)
    return replace(finalist, values=tuple(v for v in values if v is not None))


def runs_in(trials: Iterable[FrozenTrial]) -> dict[tuple[int, int], FrozenTrial]:
    """Return the finalists' runs in a study, by candidate and seed."""
    told = ((note_of(trial).finalist, trial) for trial in trials)
    return {(key[0], key[1]): trial for key, trial in told if key is not None}


def open_finalists(search: StudyStore, rules: Rules, joining: bool = False) -> StudyStore:
    """Create the finalists' study beside the search's, or load it if it was begun by like rules.

    More seeds and more candidates make it go on; what decides a run's result may not change.

    Args:
        joining: Whether to keep the rules of the sweep that is helped.

    Raises:
        SweepError: It was begun by other rules, or something else made it.
    """
    store = search.sibling(name_of(search.name), create=True)
    if (before := store.attribute(RULES)) is None and store.trials():
        raise SweepError(f"The study {store.name} has trials that are no finalists of this sweep.")
    for name in ("key", "first_seed", "overrides") if before else ():
        if (old := _plain(before[name])) != (new := getattr(rules, name)):
            raise SweepError(
                f"The finalists' runs were begun with {name}={_shown(old)}, not {_shown(new)}. Go on "
                "with the old one, or start in another folder (hydra.sweep.dir)."
            )
    if not (joining and before):
        set_rules(store, rules)
    return store


def set_rules(store: StudyStore, rules: Rules) -> None:
    """Write down by which rules the finalists stand, for all who read the study."""
    store.set_attribute(RULES, asdict(rules))


def finalists_of(search: StudyStore) -> StudyStore | None:
    """Return the study of a search's finalists, if it has any."""
    try:
        store = search.sibling(name_of(search.name))
    except KeyError:
        return None
    return store if store.attribute(RULES) else None


def name_of(search: str) -> str:
    """Name the study of the finalists of a search's."""
    return f"{search}-finalists"


def _rules_of(store: StudyStore) -> Rules:
    return Rules(**{name: _plain(value) for name, value in store.attribute(RULES).items()})


def _shown(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
