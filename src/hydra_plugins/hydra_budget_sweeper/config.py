"""Settings of the sweeper and its pruners, on top of the stock Optuna sweeper's."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra_plugins.hydra_optuna_sweeper.config import Direction, SamplerConfig
from omegaconf import MISSING


@dataclass
class PrunerConfig:
    """What every pruner has: the class it is."""

    _target_: str = MISSING


@dataclass
class NonePrunerConfig(PrunerConfig):
    """Every trial runs to its end."""

    _target_: str = "optuna.pruners.NopPruner"


@dataclass
class MedianPrunerConfig(PrunerConfig):
    """Give up a trial that is worse than the median of the earlier ones at the same step."""

    _target_: str = "optuna.pruners.MedianPruner"
    # trials that finish before the first is pruned
    n_startup_trials: int = 5
    # steps (of `report`) in each trial before it can be pruned
    n_warmup_steps: int = 0
    # steps between two checks
    interval_steps: int = 1
    # trials that must have reported the step
    n_min_trials: int = 1


@dataclass
class PercentilePrunerConfig(MedianPrunerConfig):
    """As the median pruner, with another share to keep."""

    _target_: str = "optuna.pruners.PercentilePruner"
    # share of trials to keep, percent (0-100)
    percentile: float = 25.0


@dataclass
class SuccessiveHalvingPrunerConfig(PrunerConfig):
    """Asynchronous successive halving: one in `reduction_factor` goes on at each rung."""

    _target_: str = "optuna.pruners.SuccessiveHalvingPruner"
    # steps before the first rung, or "auto"
    min_resource: Any = "auto"
    # one trial in this many passes a rung
    reduction_factor: int = 4
    # rungs skipped at the start
    min_early_stopping_rate: int = 0
    # trials at a rung before one can pass
    bootstrap_count: int = 0


@dataclass
class HyperbandPrunerConfig(PrunerConfig):
    """Several successive halvings with different first rungs."""

    _target_: str = "optuna.pruners.HyperbandPruner"
    # steps before the first rung
    min_resource: int = 1
    # steps of a whole trial, or "auto" (taken from the first finished one)
    max_resource: Any = "auto"
    # one trial in this many passes a rung
    reduction_factor: int = 3
    # trials at a rung before one can pass; only without "auto"
    bootstrap_count: int = 0


@dataclass
class WilcoxonPrunerConfig(PrunerConfig):
    """Signed-rank test against the best trial, for tasks that report one value a fold."""

    _target_: str = "optuna.pruners.WilcoxonPruner"
    # p-value under which a trial is given up
    p_threshold: float = 0.1
    # steps before the test is made
    n_startup_steps: int = 2


@dataclass
class FinalistsConf:
    """The best candidates are trained again under other seeds, and the best mean wins."""

    # candidates of the first round, the best complete trials; 0: none, a single run decides
    count: int = 0

    # seeds that each candidate has had after the first round, after the second, ...; the better half
    # of the candidates goes on from each to the next
    seeds: list[int] = field(default_factory=lambda: [2, 4])

    # the setting that holds the seed, a whole number; the search's own is not used again
    key: str = "seed"

    # overrides added to these runs, such as [epochs=20]
    overrides: list[str] = field(default_factory=list)

    # time that one of these runs takes, in trials of the search; > 0; so much of timeout is kept for them
    cost: float = 1.0


@dataclass
class BudgetSweeperConf:
    """The stock Optuna sweeper's settings, with the same defaults, then what is new.

    Search spaces are written as for the stock sweeper, in `params` or on the command line. Three
    forms are new. A choice may hold null or lists: `choice(null,0.1)`, `choice([8,16],[16,32])`
    (on the command line Hydra itself refuses null inside `choice(...)`: write `x=null,0.1`). An
    entry of `params` whose name is `key=value` (or `key=value,value`) holds parameters that exist
    only where `key` has that value, and may nest:

        params:
          optimizer: choice(sgd,adamw)
          optimizer=sgd:
            optimizer.momentum: interval(0.8,0.99)

    In `params` and `enqueue`, a `*` in a key stands for one part of the keys that there are, and
    `times(low,high,step)` for a range about the present value: `layers.*.width: times(0.5,2,0.25)`.
    """

    _target_: str = "hydra_plugins.hydra_budget_sweeper.budget_sweeper.BudgetSweeper"
    defaults: list[Any] = field(default_factory=lambda: [{"sampler": "tpe"}, {"pruner": "none"}])

    # sampling algorithm, one of the stock sweeper's group, or {_target_: package.Class, ...} of the
    # application's own; `seed` null draws one and keeps it
    sampler: SamplerConfig = MISSING

    # minimize or maximize, or a list of them for several objectives
    direction: Any = Direction.minimize

    # names of what the task returns, one an objective, for Optuna's tools and the report
    metric_names: list[str] = field(default_factory=list)

    # Optuna storage URL, or grpc://HOST:PORT of a storage proxy; null is the file study.journal in the
    # sweep folder
    storage: Any | None = None

    # name of the study in that storage; null: after the sweep's folder
    study_name: str | None = None

    # trials to train in the whole life of the study, pruned ones included; null: until the timeout,
    # or until a finite space has no more
    n_trials: int | None = 20

    # workers, each training one trial at a time (one with the basic launcher)
    n_jobs: int = 2

    # failed trials tolerated, as a share (0-1) of n_trials or of the finished ones if more; 1
    # tolerates all, until n_trials in a row have failed; where n_trials is null, 20 stand for it
    max_failure_rate: float = 0.0

    # parameter: values, in Hydra's sweep grammar
    params: dict[str, Any] | None = None

    # dotted name of f(cfg, trial) that suggests more parameters
    custom_search_space: str | None = None

    # when a trial that reports its progress is given up early
    pruner: PrunerConfig = MISSING

    # dotted name of f(cfg) -> {name: (value - limit) / limit}; above zero is over the limit
    constraints: str | None = None

    # proposals in a row that bring nothing to train (over the limits, or repeats of what was tried)
    # after which the sweep ends
    max_infeasible: int = 1000

    # random candidates checked before the first trial, to say which share fits
    feasibility_samples: int = 200

    # known points to try first: override lists, strings or mappings, such as ["x=1 y=2"]
    enqueue: list[Any] = field(default_factory=list)

    # seconds after which no new trial starts
    timeout: float | None = None

    # seconds one trial may take before it fails
    trial_timeout: float | None = None

    # times a trial is run again, in its own folder, after its worker died without progress
    max_retries: int = 2

    # the best candidates, trained again under other seeds after n_trials
    finalists: FinalistsConf = field(default_factory=FinalistsConf)

    # overrides added when an interrupted trial is run again, such as [resume=true]
    retry_overrides: list[str] = field(default_factory=list)

    # identical failures in a row, none trained between, after which the sweep ends; not where
    # max_failure_rate is 1
    max_repeated_errors: int = 3

    # sweep folder to go on with; the same as hydra.sweep.dir
    resume: str | None = None

    # work along with a sweep that is already running on the folder
    join: bool = False

    # go on with a study that holds pickles of CMA-ES, which could run commands when they are read;
    # counts on the command line only
    trust_study: bool = False

    # seconds of silence after which a worker on another machine counts as dead
    lease: float = 30.0

    # settings that change no result, so that a sweep may be resumed with others: keys or patterns
    # such as [trainer.progress, data.*]; a key stands for all below it, too
    free_settings: list[str] = field(default_factory=list)

    # what the terminal shows of a trial, heading to value: names that the task gives to `show`, or
    # step and value, in Python's format, such as {accuracy: "{accuracy:.1%}"}
    columns: dict[str, str] = field(default_factory=dict)

    # dotted names of f(config) called before the first trial, in the sweeper's own process; a
    # ValueError refuses the sweep in one line
    on_start: list[str] = field(default_factory=list)

    # dotted names of f(folder) called when a sweep that came to train ends, however it ends; what
    # they raise is logged, a ValueError in one line; a path that they return is named
    on_end: list[str] = field(default_factory=list)


def register() -> None:
    """Make the sweeper and its pruners known to Hydra."""
    store = ConfigStore.instance()
    # An application may shadow `budget` by a file of its own that begins with `budget_schema`.
    for name in ("budget", "budget_schema"):
        store.store(
            group="hydra/sweeper", name=name, node=BudgetSweeperConf, provider="budget_sweeper"
        )
    pruners = {
        "none": NonePrunerConfig,
        "hyperband": HyperbandPrunerConfig,
        "successive_halving": SuccessiveHalvingPrunerConfig,
        "median": MedianPrunerConfig,
        "percentile": PercentilePrunerConfig,
        "wilcoxon": WilcoxonPrunerConfig,
    }
    for name, node in pruners.items():
        store.store(group="hydra/sweeper/pruner", name=name, node=node, provider="budget_sweeper")


register()
