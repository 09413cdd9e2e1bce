"""Sampler and pruner tried on the real space, in memory, before anything is trained."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import optuna
from omegaconf import DictConfig
from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.space.space import Space
from hydra_budget_sweeper.study.over_budget import told_over_budget
from hydra_budget_sweeper.study.pruner import build_pruner
from hydra_budget_sweeper.study.sampler import Recipe, SeededSampler
from hydra_budget_sweeper.study.trials import suggest, tell_quietly

log = logging.getLogger(__name__)

_MAX_TRIALS = 100

# Packages that come as an extra of this one.
_EXTRAS = ("cmaes",)


def rehearse(
    recipe: Recipe,
    space: Space,
    pruner: DictConfig,
    directions: Sequence[StudyDirection],
    *,
    limited: bool,
    choice: str,
) -> None:
    """Let the sampler propose until it is past its startup, so that what cannot work is known.

    Args:
        recipe: The sampler's.
        space: The real one.
        pruner: `hydra.sweeper.pruner`; it judges a few made-up reports.
        directions: One an objective.
        limited: Whether there are limits; some candidates are then over them.
        choice: The option of `hydra/sweeper/sampler`.

    Raises:
        SweepError: A package is missing, or sampler or pruner refuse this space or a setting.
    """
    with _silence():
        with _told(f"hydra/sweeper/sampler={choice}"):
            _propose(recipe, space, directions, limited)
        with _told(f"hydra.sweeper.pruner ({_shown(pruner)})"):
            _prune(build_pruner(pruner, len(directions)), directions)


def _propose(
    recipe: Recipe, space: Space, directions: Sequence[StudyDirection], limited: bool
) -> None:
    study = optuna.create_study(sampler=SeededSampler(recipe, 0, space), directions=directions)
    trained: list[FrozenTrial] = []
    for number in range(_n_startup(recipe) + 1):
        over = 0.5 if limited and number % 3 == 1 else -0.5
        trial = study.ask()
        space.draw(partial(suggest, trial))
        if limited:
            trial.set_constraint("limit", over)
        state: TrialState = TrialState.COMPLETE
        values: list[float] | None = [math.cos(number + i) for i in range(len(directions))]
        if over > 0:
            frozen = study.get_trials(deepcopy=False)[number]
            state, values = told_over_budget(recipe, directions, frozen, over, trained)
        if not tell_quietly(study, trial, values, state):
            break
        if over <= 0:
            trained.append(study.get_trials(deepcopy=False)[number])


def _n_startup(recipe: Recipe) -> int:
    names = ("n_startup_trials", "population_size")
    found = [n for name in names if isinstance(n := recipe.setting(name), int)]
    return max(0, min(max(found, default=10), _MAX_TRIALS))


def _prune(pruner: BasePruner, directions: Sequence[StudyDirection]) -> None:
    if len(directions) > 1:
        return
    study = optuna.create_study(
        sampler=optuna.samplers.RandomSampler(0), pruner=pruner, direction=directions[0]
    )
    for number in range(3):
        trial = study.ask()
        for step in range(3):
            trial.report(math.cos(number + step), step)
            trial.should_prune()
        study.tell(trial, float(number))


def _shown(pruner: DictConfig) -> str:
    return ", ".join(f"{k!s}={v}" for k, v in pruner.items() if not str(k).startswith("_"))


@contextmanager
def _told(setting: str) -> Iterator[None]:
    try:
        yield
    except SweepError:
        raise
    except Exception as error:
        if (package := _missing(error)) is None:
            log.debug("its traceback", exc_info=True)  # hydra.verbose=true shows it
            text = " ".join(str(error).split()) or type(error).__name__
            raise SweepError(f"{setting} cannot be used here: {text}") from None
        wanted = f"'hydra-budget-sweeper[{package}]'" if package in _EXTRAS else package
        raise SweepError(
            f"{setting} needs the package {package}, which is not installed: pip install {wanted}"
        ) from None


def _missing(error: BaseException | None) -> str | None:
    """Return the package that an exception, or what caused it, did not find."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name:
            return error.name.partition(".")[0]
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def _silence() -> Iterator[None]:
    """What a sampler warns of will be told when it really draws."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
