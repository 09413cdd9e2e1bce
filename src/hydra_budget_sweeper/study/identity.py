"""What must stay the same for results before and after a resume to be comparable."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any, Literal, cast

import optuna
from omegaconf import DictConfig, OmegaConf
from optuna.exceptions import DuplicatedStudyError
from optuna.trial import TrialState

from hydra_budget_sweeper.compose import flatten
from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.settings import Settings
from hydra_budget_sweeper.space.grammar import override_text
from hydra_budget_sweeper.space.space import Space
from hydra_budget_sweeper.study.application import application_of
from hydra_budget_sweeper.study.belonging import bind, check_folder
from hydra_budget_sweeper.study.finalists import name_of
from hydra_budget_sweeper.study.place import StudyPlace
from hydra_budget_sweeper.study.store import StudyStore
from hydra_budget_sweeper.study.trials import note_of

IDENTITY = "budget_sweep:identity"
SEED = "budget_sweep:seed"

_ABSENT = "(absent)"
_APPLICATION = "application"
_ADVICE = (
    "Go on with the old ones, or start in another folder (hydra.sweep.dir). Settings that change no "
    "result can be named in hydra.sweeper.free_settings."
)
_ADVICE_FAILED = (
    "All that it began failed: remove that folder, or start in another one (hydra.sweep.dir)."
)


def identity_of(settings: Settings, space: Space, base: DictConfig, task: Any) -> dict[str, Any]:
    """Describe a sweep, in parts.

    Args:
        settings: The sweeper's.
        space: The searched one.
        base: What a candidate's task gets; what is searched in it is left out.
        task: What is run; where it does not tell of which application it is, that part is left out.
    """
    searched = {axis.key.partition("@")[0] for axis in space.axes}
    application = application_of(task)
    return {
        **({} if application is None else {_APPLICATION: application}),
        "space": space.describe(),
        "direction": list(settings.directions),
        "constraints": settings.constraints,
        "custom_search_space": settings.custom_search_space,
        "fixed": {**space.fixed, **dict.fromkeys(space.deletions, "deleted")},
        "setting": {k: v for k, v in flatten(base).items() if k not in searched},
    }


def open_study(
    place: StudyPlace,
    directions: tuple[str, ...],
    identity: dict[str, Any],
    free: Sequence[str] = (),
    joining: bool = False,
) -> StudyStore:
    """Create the study, or load it if it is this folder's and has the same `identity`.

    Args:
        place: Where it is.
        directions: minimize or maximize, one an objective.
        identity: Parts (space, direction, setting, ...) to what they are, mostly by key.
        free: Patterns of the keys of settings that may differ.
        joining: Whether to help with a study that another folder began, where a server has it.

    Where no candidate came to be trained yet, another `identity` begins it anew.

    Raises:
        SweepError: The study is another sweep's or another program's, or was begun with another
            space, objective, limits or settings.
    """
    storage = place.open_storage()
    studies = optuna.get_all_study_names(storage)
    exists = place.name in studies
    check_folder(place, studies)
    if not exists:
        _create(storage, place.name, directions)
    store = StudyStore(storage, place.name)
    before = store.attribute(IDENTITY)
    bind(store, place, directions, ours=before is not None or not exists, joining=joining)
    if before is not None and before != identity and not joining and _began_nothing(store):
        store, before = _anew(store, storage, directions), None
        bind(store, place, directions, ours=True)
    if before is None:
        store.set_attribute(IDENTITY, identity)
    else:
        _go_on(store, place, before, identity, free)
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


def _create(storage: optuna.storages.BaseStorage, name: str, directions: tuple[str, ...]) -> None:
    known = cast(list[Literal["minimize", "maximize"]], list(directions))
    with suppress(DuplicatedStudyError):  # by a sweep that started at the same time
        optuna.create_study(storage=storage, study_name=name, directions=known)


def _began_nothing(store: StudyStore) -> bool:
    """Whether no candidate came to be trained: its settings may have been a mistake."""
    return not any(t.state is TrialState.RUNNING or note_of(t).started for t in store.trials())


def _anew(
    store: StudyStore, storage: optuna.storages.BaseStorage, directions: tuple[str, ...]
) -> StudyStore:
    """Put an empty study in the place of one; what waits there is of the old settings."""
    for name in {store.name, name_of(store.name)} & set(optuna.get_all_study_names(storage)):
        optuna.delete_study(study_name=name, storage=storage)
    _create(storage, store.name, directions)
    return StudyStore(storage, store.name)


def _go_on(
    store: StudyStore,
    place: StudyPlace,
    before: dict[str, Any],
    now: dict[str, Any],
    free: Sequence[str],
) -> None:
    lines = [f"  {line}" for line in differences(before, now, free)]
    if lines:
        told = "\n".join(lines)
        raise SweepError(
            f"The sweep in {place.folder} was started with other settings:\n{told}\n"
            f"{_ADVICE_FAILED if _only_failed(store) else _ADVICE}"
        )
    # What only this version knows is held to from now on.
    settings = {**now.get("setting", {}), **before.get("setting", {})}
    merged = {**now, **before, "setting": settings}
    if merged != before:
        store.set_attribute(IDENTITY, merged)


def _only_failed(store: StudyStore) -> bool:
    return all(t.state is TrialState.FAIL or not note_of(t).started for t in store.trials())


def differences(
    before: dict[str, Any], now: dict[str, Any], free: Sequence[str] = ()
) -> Iterator[str]:
    """Say what differs, a line each; what `before` could not know of is no difference."""
    same = {
        key
        for key, value in before.get("setting", {}).items()
        if now.get("setting", {}).get(key, _ABSENT) == value
    }
    told = set()
    # Once a key: of the space, else by its value, else as it was written on the command line.
    for part in sorted(before, key=lambda part: (part == "fixed", part == "setting", part)):
        old, new = before[part], now.get(part)
        if part == _APPLICATION:
            if new is not None and old != new and not _is_free(part, free):
                renamed = f"add {part} to hydra.sweeper.free_settings where its file was renamed"
                yield f"{part}: {old} → {new} ({renamed})"
            continue
        if not isinstance(old, dict) or not isinstance(new, dict):
            if old != new:
                yield f"{part}: {_said(old)} → {_said(new)}"
            continue
        for key in sorted(old.keys() | new.keys()):
            o, n = old.get(key, _ABSENT), new.get(key, _ABSENT)
            name = key.lstrip("+~").partition("@")[0].partition("=")[0]
            if o == n or (part in ("setting", "fixed") and _is_free(name, free)):
                continue
            if name in told or (part == "setting" and key not in old):
                continue
            if part == "fixed" and name in same:
                continue  # written on the command line now, or no more: the value is the same
            told.add(name)
            if part == "setting":  # the other parts have theirs as it was written
                o, n = _said(o), _said(n)
            yield f"{part} {key}: {o} → {n}"


def _said(value: Any) -> str:
    """A value as one would write it on a command line."""
    return _ABSENT if value == _ABSENT else override_text(value)


def _is_free(key: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(key, p) or key.startswith(f"{p}.") for p in patterns)
