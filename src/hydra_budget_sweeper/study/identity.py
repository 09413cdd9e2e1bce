"""Which sweep a study belongs to: go on with it, or refuse with the difference."""

import uuid
from collections.abc import Iterator
from typing import Any, Literal, cast

import optuna
from omegaconf import OmegaConf

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.study.place import StudyPlace
from hydra_budget_sweeper.study.store import StudyStore

IDENTITY = "budget_sweep:identity"
SEED = "budget_sweep:seed"


def open_study(
    place: StudyPlace, directions: tuple[str, ...], identity: dict[str, Any]
) -> StudyStore:
    """Create the study, or load it if `identity` is the one it was created with.

    Raises:
        SweepError: The space, objective, limits or fixed settings are others than before.
    """
    storage = place.open_storage()
    optuna.create_study(
        storage=storage,
        study_name=place.name,
        directions=cast(list[Literal["minimize", "maximize"]], list(directions)),
        load_if_exists=True,
    )
    store = StudyStore(storage, place.name)
    before = store.attribute(IDENTITY)
    if before is None:
        store.set_attribute(IDENTITY, identity)
    elif before != identity:
        lines = "\n".join(f"  {line}" for line in _differences(before, identity))
        raise SweepError(
            f"The sweep in {place.folder} was started with other settings:\n{lines}\n"
            "Go on with the old ones, or start in another folder (hydra.sweep.dir)."
        )
    return store


def seed_of(store: StudyStore, sampler: Any) -> int:
    """Return the seed of every draw: the sampler's own, or one drawn once and kept."""
    given = OmegaConf.select(sampler, "seed") if OmegaConf.is_config(sampler) else None
    if given is not None:
        return int(given)
    kept = store.attribute(SEED)
    if kept is None:
        kept = uuid.uuid4().int % 2**31
        store.set_attribute(SEED, kept)
    return int(kept)


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
