"""The study of a sweep folder: open it, go on with it, or refuse with the difference."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import optuna
from omegaconf import OmegaConf
from optuna.storages import BaseStorage

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.study.journal import journal_storage

IDENTITY = "budget_sweep:identity"
SEED = "budget_sweep:seed"
STOP = "budget_sweep:stop"
JOURNAL = "study.journal"
WORKERS = ".workers"


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
