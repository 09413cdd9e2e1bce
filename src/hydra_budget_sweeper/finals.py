"""The last stage of a sweep: its finalists' runs, by the same workers."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.samplers import RandomSampler

from hydra_budget_sweeper.compose import flatten
from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.near import did_you_mean, near
from hydra_budget_sweeper.results.screen import VOICE as log
from hydra_budget_sweeper.settings import Settings
from hydra_budget_sweeper.space.grammar import key_of, parse_all, plain_key
from hydra_budget_sweeper.space.space import Space
from hydra_budget_sweeper.study.finalists import Rules, Run, Standing, runs_in, set_rules
from hydra_budget_sweeper.study.sampler import Recipe, SeededSampler
from hydra_budget_sweeper.study.store import StudyStore
from hydra_budget_sweeper.study.tally import Tally
from hydra_budget_sweeper.workers.launch import Workers
from hydra_budget_sweeper.workers.rounds import Rounds
from hydra_budget_sweeper.workers.session import Plan

_NAME = "hydra.sweeper.finalists"


def rules_of(settings: Settings, space: Space, base: DictConfig) -> Rules:
    """Read what is asked for, and hold it to the application's configuration.

    Args:
        base: What a candidate's task gets.

    Raises:
        SweepError: There is no such setting, it holds no seed, or it is searched.
    """
    asked = settings.finalists
    searched = {axis.key for axis in space.axes}
    overrides = parse_all(asked.overrides, f"{_NAME}.overrides")
    for key in (plain_key(asked.key), *map(key_of, overrides)):
        if key in searched:
            where = "key" if key == plain_key(asked.key) else "overrides"
            raise SweepError(
                f"{_NAME}.{where}: {key} is searched, so finalists cannot have it set. Take it out "
                "of one of the two."
            )
    if plain_key(asked.key) in map(key_of, overrides):
        raise SweepError(
            f"{_NAME}.overrides sets {asked.key}, which {_NAME}.key has: each run has a seed of its own. "
            "Take it out of the overrides."
        )
    if any(override.is_sweep_override() for override in overrides):
        raise SweepError(f"{_NAME}.overrides must have one value each, not {asked.overrides}.")
    return Rules(
        key=asked.key,
        first_seed=_seed_in(base, asked.key) + 1,
        overrides=tuple(asked.overrides),
        count=asked.count,
        seeds=tuple(asked.seeds),
        cost=asked.cost,
    )


def _seed_in(base: DictConfig, key: str) -> int:
    """Return the search's seed; 0 where it has none."""
    settings = flatten(base)
    if plain_key(key) not in settings:
        raise SweepError(
            f"{_NAME}.key={key}: this configuration has no such setting."
            f"{did_you_mean(near(key, settings))} Name the one that holds the seed, "
            f"or leave the finalists out ({_NAME}.count=0)."
        )
    try:
        seed = OmegaConf.select(base, key)
    except OmegaConfBaseException:  # decided when a job runs
        seed = None
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise SweepError(f"{_NAME}.key={key} must hold a whole number, but it holds {seed!r}.")
    return seed or 0


def fit_into_time(
    store: StudyStore, standing: Standing, left: float, seconds_for: Callable[[Rules, int], float]
) -> None:
    """Take so many finalists that their rounds are over in time: half a round ranks nobody.

    Args:
        store: Their study.
        left: Seconds until the sweep's time is over.
        seconds_for: Estimates how long runs by such rules take, of which so many are done.
    """

    def needed(count: int) -> float:
        return seconds_for(replace(standing.rules, count=count), len(begun))

    place = {f.trial.number: f.single_run_rank for f in standing.finalists}
    begun = [place[n] for n, _ in runs_in(store.trials()) if n in place]
    asked, fewest = len(place), max([2, *begun])
    count = next((n for n in range(asked, fewest, -1) if needed(n) <= left), min(asked, fewest))
    if count < asked:
        log.info("There is time for %d of %d finalists", count, asked)
        set_rules(store, replace(standing.rules, count=count))


class Finals:
    """Trains the finalists' runs, round after round.

    Args:
        plan: The search's.
        store: The finalists' study.
        workers: Who trains.
        standing: Tells how they stand now.
    """

    def __init__(
        self, plan: Plan, store: StudyStore, workers: Workers, standing: Callable[[], Standing]
    ) -> None:
        self._store, self._workers, self._standing = store, workers, standing
        now = standing()
        self.settings = replace(
            plan.settings,
            n_trials=sum(now.rules.n_runs(len(now.finalists))),
            pruner=OmegaConf.create({"_target_": "optuna.pruners.NopPruner"}),
        )
        self._plan = replace(
            plan,
            place=replace(plan.place, name=store.name),
            settings=self.settings,
            # It draws nothing; the search's own might keep books of trials that it has not drawn.
            sampler=SeededSampler(Recipe(RandomSampler, {}, {}), plan.seed, plan.space),
        )

    def run(self) -> None:
        """Come back when all is trained, or the sweep is to end.

        Raises:
            SweepError: It cannot go on.
        """
        while not self._is_stopped() and (missing := self._standing().missing):
            plan = replace(self._plan, runs=missing)
            rounds = Rounds(self._workers, plan, self._store, Tally(self._store.study()))
            rounds.go_on_until(lambda: self._is_stopped() or self._has_changed(missing))
        if (stop := self._store.stopped(self._plan.run)) is not None:
            log.info("%s", stop.reason)

    def _has_changed(self, missing: Sequence[Run]) -> bool:
        return [run.key for run in self._standing().missing] != [run.key for run in missing]

    def _is_stopped(self) -> bool:
        stop = self._store.stopped(self._plan.run)
        if stop is not None and stop.error:
            raise SweepError(stop.reason)
        return stop is not None
