"""The sampler of a sweep: Optuna's or a user's, with a seed for each draw."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

from hydra_plugins.hydra_optuna_sweeper.config import TPESamplerConfig
from omegaconf import DictConfig, OmegaConf
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GridSampler, QMCSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.functions import NamedFunctions
from hydra_budget_sweeper.space.space import Space

_ALLOWED = ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*")

# Their seed makes one sequence that all trials share: Sobol's points, the order of the grid.
_SEQUENCES = (GridSampler, QMCSampler)

# What is no news in a sweep with limits, and would be told at each trial.
_NO_NEWS = (
    "Clip non-finite values",  # of candidates over the limits, see over_budget.py
    "Constraints have been set, but",  # CMA-ES learns of them by the values
)


@dataclass(frozen=True)
class Recipe:
    """What a sampler is made of, so that it can be made again and again with another seed.

    `parts` are the arguments that are made anew as well, such as the sampler within a sampler.
    """

    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    parts: Mapping[str, Recipe]

    @cached_property
    def takes_seed(self) -> bool:
        return "seed" in self.arguments or "seed" in inspect.signature(self.function).parameters

    @property
    def is_seeded(self) -> bool:
        """Whether the seed changes what is made."""
        return self.takes_seed or any(part.is_seeded for part in self.parts.values())

    def setting(self, name: str) -> Any:
        """Return an argument, or its default; None where there is neither."""
        if name in self.arguments:
            return self.arguments[name]
        parameter = inspect.signature(self.function).parameters.get(name)
        return (
            None if parameter is None or parameter.default is parameter.empty else parameter.default
        )

    def functions(self) -> Iterator[Callable[..., Any]]:
        yield self.function
        for part in self.parts.values():
            yield from part.functions()

    def make(self, study_seed: int, seed: int, space: Space) -> Any:
        """Make the sampler: by `seed`, what belongs to the whole study by `study_seed`."""
        parts = {name: part.make(study_seed, seed, space) for name, part in self.parts.items()}
        arguments = {**self.arguments, **parts}
        if self.takes_seed:
            arguments["seed"] = study_seed if self.function in _SEQUENCES else seed
        if self.function is GridSampler:
            arguments.setdefault("search_space", _grid(space))
        if self.function is QMCSampler and arguments.get("independent_sampler") is None:
            arguments["independent_sampler"] = RandomSampler(seed)
        return self.function(**arguments)


def recipe_of(config: DictConfig, functions: NamedFunctions) -> Recipe:
    """Read `hydra.sweeper.sampler`, as far as Hydra's policy lets a configuration call it.

    Raises:
        SweepError: It may not be called, or there is no such class.
    """
    return _recipe(_settings_of(config), functions)


def _recipe(node: Mapping[str, Any], functions: NamedFunctions) -> Recipe:
    nested = {k: v for k, v in node.items() if isinstance(v, Mapping) and _is_made(v)}
    own = {k: v for k, v in node.items() if k not in nested}
    made = functions.partial(own, "sampler", _ALLOWED)
    parts = {name: _recipe(part, functions) for name, part in nested.items()}
    return Recipe(made.func, dict(made.keywords), parts)


def _is_made(node: Mapping[str, Any]) -> bool:
    return "_target_" in node and not node.get("_partial_")


def _settings_of(config: DictConfig) -> dict[str, Any]:
    """Return the node; one of a user's own class without what the default says of TPE.

    `sampler: {_target_: my.Sampler}` stands over the default, whose settings stay there.
    """
    node: Any = OmegaConf.to_container(config, resolve=True)
    default = vars(TPESamplerConfig())
    if node["_target_"] == default["_target_"] or not default.keys() <= node.keys():
        return dict(node)
    return {k: v for k, v in node.items() if k not in default or v != default[k]}


class SeededSampler(BaseSampler):
    """Draws each trial by a sampler of its own, and each single parameter by another.

    Their seeds come from the study's seed, the trial's number and the parameter's name. A draw
    then depends on the trial it is for and the study's results, not on the draws before it:
    workers never repeat each other, and a sweep that was interrupted goes on as if it had not
    been. A sampler that takes no seed is made once a worker.
    """

    def __init__(self, recipe: Recipe, seed: int, space: Space) -> None:
        self.recipe, self._seed, self._space = recipe, seed, space
        self._whole: tuple[int, BaseSampler] | None = None

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        # Begun anew here: a trial that was put back may be proposed twice by one worker.
        return self._begin(trial.number).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        with _without_no_news():
            return self._for_trial(trial.number).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        sampler = self._for_parameter(trial.number, param_name)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._begin(trial.number).before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        with _without_no_news():
            self._for_trial(trial.number).after_trial(study, trial, state, values)

    def _for_trial(self, number: int) -> BaseSampler:
        if self._whole is None or self._whole[0] != number:
            return self._begin(number)
        return self._whole[1]

    def _begin(self, number: int) -> BaseSampler:
        # The grid draws by chance only past its last point, and takes its time to be made.
        kept = self._is_grid and number < (self._space.size() or 0)
        self._whole = number, self._kept if kept else self._make(number)
        return self._whole[1]

    def _for_parameter(self, number: int, name: str) -> BaseSampler:
        return self._kept if self._is_grid else self._make(number, name)

    def _make(self, *draw: Any) -> BaseSampler:
        if not self.recipe.is_seeded:
            return self._kept
        digest = sha256(repr((self._seed, *draw)).encode()).digest()
        return self._make_by(int.from_bytes(digest[:4], "big"))

    @cached_property
    def _kept(self) -> BaseSampler:
        return self._make_by(self._seed)

    def _make_by(self, seed: int) -> BaseSampler:
        with warnings.catch_warnings():
            # Settings that Optuna is about to drop are part of the stock configuration groups.
            warnings.simplefilter("ignore")
            sampler = self.recipe.make(self._seed, seed, self._space)
        if not isinstance(sampler, BaseSampler):
            raise SweepError(
                f"hydra.sweeper.sampler: {self.recipe.function.__qualname__} must give a sampler "
                f"of Optuna (optuna.samplers.BaseSampler), but gave {type(sampler).__name__}."
            )
        return sampler

    @property
    def _is_grid(self) -> bool:
        return self.recipe.function is GridSampler


@contextmanager
def _without_no_news() -> Iterator[None]:
    with warnings.catch_warnings():
        for message in _NO_NEWS:
            warnings.filterwarnings("ignore", message)
        yield


def _grid(space: Space) -> dict[str, list[Any]]:
    grid = {}
    for axis in space.axes:
        if (values := axis.values()) is None:
            raise SweepError(f"The grid sampler needs a finite choice, but {axis.name} is a range.")
        grid[axis.name] = list(values)
    return grid
