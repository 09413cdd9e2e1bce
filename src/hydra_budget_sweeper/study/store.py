"""The study of a sweep folder: open it, go on with it, or refuse with the difference."""

import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import optuna
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from optuna.samplers import BaseSampler
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.storages import BaseStorage

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.space.space import Space
from hydra_budget_sweeper.study.journal import journal_storage

IDENTITY = "budget_sweep:identity"
SEED = "budget_sweep:seed"
STOP = "budget_sweep:stop"
JOURNAL = "study.journal"
WORKERS = ".workers"

_WHITELIST = ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*", "optuna.pruners.*")


@dataclass(frozen=True)
class StudyPlace:
    """Where a study is kept; small enough to hand to a worker anywhere."""

    folder: Path
    storage: str | None
    name: str

    def open_storage(self) -> BaseStorage:
        if self.storage is None:
            return journal_storage(self.folder / JOURNAL)
        try:
            return optuna.storages.get_storage(self.storage)
        except Exception as error:
            raise SweepError(f"Cannot open hydra.sweeper.storage={self.storage}: {error}") from None


def place_of(folder: Path, storage: str | None, name: str | None) -> StudyPlace:
    """Name the study of a folder; a storage shared by many needs a name nobody else has."""
    if name is None and storage is not None:
        kept = folder / WORKERS / "study_name"
        if not kept.exists():
            kept.write_text(f"sweep-{uuid.uuid4().hex[:12]}", encoding="utf-8")
        name = kept.read_text(encoding="utf-8")
    return StudyPlace(folder, storage, name or "sweep")


def open_study(
    place: StudyPlace, directions: tuple[str, ...], identity: dict[str, Any]
) -> optuna.Study:
    """Create the study, or load it if `identity` is the one it was created with.

    Raises:
        SweepError: The space, objective, limits or fixed settings are others than before.
    """
    study = optuna.create_study(
        storage=place.open_storage(),
        study_name=place.name,
        directions=cast(list[Literal["minimize", "maximize"]], list(directions)),
        load_if_exists=True,
    )
    before = study._storage.get_study_system_attrs(study._study_id).get(IDENTITY)
    if before is None:
        study._storage.set_study_system_attr(study._study_id, IDENTITY, identity)
    elif before != identity:
        lines = "\n".join(f"  {line}" for line in _differences(before, identity))
        raise SweepError(
            f"The sweep in {place.folder} was started with other settings:\n{lines}\n"
            "Go on with the old ones, or start in another folder (hydra.sweep.dir)."
        )
    return study


def seed_of(study: optuna.Study, sampler: Any) -> int:
    """Return the seed of every draw: the sampler's own, or one drawn once and kept."""
    given = OmegaConf.select(sampler, "seed") if OmegaConf.is_config(sampler) else None
    if given is not None:
        return int(given)
    attrs = study._storage.get_study_system_attrs(study._study_id)
    if SEED not in attrs:
        drawn = uuid.uuid4().int % 2**31
        study._storage.set_study_system_attr(study._study_id, SEED, drawn)
        return drawn
    return int(attrs[SEED])


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


@dataclass(frozen=True)
class Stop:
    """Why a run of the sweep ends before its `n_trials`."""

    reason: str
    error: bool


def stop(study: optuna.Study, run: str, reason: str, error: bool = True) -> None:
    """Ask all workers of `run` to take no more trials; the first reason stands."""
    if stopped(study, run) is None:
        value: dict[str, Any] = {"run": run, "reason": reason, "error": error}
        study._storage.set_study_system_attr(study._study_id, STOP, value)


def stopped(study: optuna.Study, run: str) -> Stop | None:
    """Return why the workers of `run` are to take no more trials, or None."""
    said = study._storage.get_study_system_attrs(study._study_id).get(STOP)
    return Stop(said["reason"], said["error"]) if said and said["run"] == run else None


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


def _differences(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    for part in sorted(before.keys() | now.keys()):
        old, new = before.get(part), now.get(part)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            for key in sorted(old.keys() | new.keys()):
                if (o := old.get(key, "(absent)")) != (n := new.get(key, "(absent)")):
                    yield f"{part} {key}: {o} -> {n}"
        else:
            yield f"{part}: {old} -> {new}"
