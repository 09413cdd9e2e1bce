"""The sampler and the pruner of a worker, and the seed of every single draw."""

import warnings
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, cast

import numpy as np
import optuna
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from optuna.samplers import BaseSampler
from optuna.samplers._lazy_random_state import LazyRandomState

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.space.space import Space

_WHITELIST = ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*", "optuna.pruners.*")


def build_sampler(config: Any, seed: int, space: Space) -> BaseSampler:
    """Instantiate the sampler; every worker gets one of its own, seeded alike."""
    if OmegaConf.is_config(config) and "seed" in config:
        config = OmegaConf.merge(config, {"seed": seed})
    with warnings.catch_warnings():
        # Settings that Optuna is about to drop are part of the stock configuration groups.
        warnings.simplefilter("ignore")
        sampler = instantiate(config, _execution_whitelist_=_WHITELIST)
        if getattr(sampler, "func", None) is optuna.samplers.GridSampler:
            sampler = sampler(_grid(space))
    return cast(BaseSampler, sampler)


def build_pruner(config: DictConfig, n_objectives: int) -> optuna.pruners.BasePruner:
    """Instantiate the pruner; of several objectives none can prune."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pruner = instantiate(config, _execution_whitelist_=_WHITELIST)
    return pruner if n_objectives == 1 else optuna.pruners.NopPruner()


def reseed(sampler: BaseSampler, seed: int, *what: Any) -> None:
    """Put every random stream of `sampler` in the state that `seed` and `what` alone decide.

    A draw then depends on the trial it is for and the study's results, not on the draws before
    it: workers never repeat each other, and a resumed sweep goes on as if never interrupted.
    """
    digest = sha256(repr((seed, *what)).encode()).digest()
    for stream in _streams(sampler, set()):
        stream.seed(np.frombuffer(digest, dtype=np.uint32))


def _streams(thing: Any, seen: set[int]) -> Iterator[np.random.RandomState]:
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, LazyRandomState):
        yield thing.rng
    elif type(thing).__module__.startswith("optuna.samplers"):
        for value in getattr(thing, "__dict__", {}).values():
            yield from _streams(value, seen)


def _grid(space: Space) -> dict[str, list[Any]]:
    grid = {}
    for axis in space.axes:
        if (values := axis.values()) is None:
            raise SweepError(f"The grid sampler needs a finite choice, but {axis.name} is a range.")
        grid[axis.name] = values
    return grid
