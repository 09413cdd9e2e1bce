"""Read what a sweep's folder holds: trials, counts, directions, status. Nothing is written."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.results.leaderboard import LEADERBOARD, SUMMARY, rank_with_finalists
from hydra_budget_sweeper.space.grammar import read_value
from hydra_budget_sweeper.storage_url import without_password
from hydra_budget_sweeper.study.finalists import Standing, finalists_of, runs_in
from hydra_budget_sweeper.study.journal import describe_broken_line, is_json
from hydra_budget_sweeper.study.place import JOURNAL, StudyPlace, mark_of
from hydra_budget_sweeper.study.store import StudyStore
from hydra_budget_sweeper.study.tally import Tally
from hydra_budget_sweeper.study.trials import WALKED, kind_of, note_of

_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "DUPLICATE": "duplicate", "FAIL": "failed"}
_STATUS: dict[str, type | tuple[type, ...]] = {
    "state": str,
    "reason": str,
    "n_trials": int,
    "workers": int,
    "seconds": (int, float),
    "directions": list,
    "finalists": dict,
}
_NUMBER = (int, float, type(None))
_SCALAR = (str, int, float, bool, list, dict, type(None))


@dataclass(frozen=True)
class FinalistRun:
    """One training of a finalist; `value` only where it is complete."""

    seed: int
    state: str
    value: float | None
    folder: Path | None


@dataclass(frozen=True)
class SweepFinalist:
    """What a trial came to when it was trained again under other seeds.

    `mean`, `sd` and `n` are of the last round that all in it have finished; `single_run_rank` is its
    place by the search's own run, from 1. `runs` are known where the study can be read.
    """

    mean: float | None
    sd: float | None
    n: int
    single_run_rank: int
    runs: tuple[FinalistRun, ...] = ()


@dataclass(frozen=True)
class SweepTrial:
    """One proposal of a sweep.

    `state` is complete, pruned, over_budget, failed, duplicate or running. `values` are of a
    pruned trial the last it reported. `reports` are objectives by the step they were reported at.
    `violations` are (value − limit) / limit, above 0 where a limit is missed. `enqueued` are the
    parameters that `hydra.sweeper.enqueue` gave it.
    """

    number: int
    state: str
    rank: int | None = None
    values: tuple[float, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    folder: Path | None = None
    started: datetime | None = None
    seconds: float | None = None
    violations: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    duplicate_of: int | None = None
    enqueued: tuple[str, ...] = ()
    reports: dict[int, float] = field(default_factory=dict)
    finalist: SweepFinalist | None = None


@dataclass(frozen=True)
class SweepResults:
    """What a sweep's folder tells; the trials stand in the leaderboard's order."""

    folder: Path
    trials: tuple[SweepTrial, ...]
    directions: tuple[str, ...]  # minimize or maximize
    status: dict[str, Any]  # of sweep.json: state, reason, n_trials, workers, seconds, finalists
    metric_names: tuple[str, ...] = ()  # of the objectives, where they have any
    unread: str = ""  # why the study itself was not read but leaderboard.json, which knows less

    @cached_property
    def counts(self) -> Counter[str]:
        """How many trials are in each state."""
        return Counter(trial.state for trial in self.trials)

    @property
    def winner(self) -> SweepTrial | None:
        """The best finalist, or complete trial; with several objectives the first of the front."""
        return next((t for t in self.trials if t.rank == 1), None)

    @property
    def finalists(self) -> tuple[SweepTrial, ...]:
        """The trials that were trained again under other seeds, the best first."""
        return tuple(t for t in self.trials if t.finalist is not None)


def read_sweep(folder: str | Path, storage: str | None = None) -> SweepResults:
    """Read the sweep in `folder`, finished or still running.

    The study is read where it is kept: in the folder's journal, or in the storage that the folder
    names. Where that cannot be reached, or its password is not known, `leaderboard.json` is read.

    Args:
        folder: The sweep's (`hydra.sweep.dir`).
        storage: The study's URL, where the folder's own note lacks the password.

    Raises:
        SweepError: There is no sweep, or what is there cannot be read. No password is shown.
    """
    folder = Path(folder)
    status = _status(folder / SUMMARY)
    unread = ""
    try:
        store = _open(folder, storage)
        if store is not None:
            return _read_study(folder, store, status)
    except _Unreachable as error:
        unread = str(error)
        if storage is not None or not (folder / LEADERBOARD).exists():
            raise SweepError(unread) from None
    trials = tuple(_from_leaderboard(folder)) if (folder / LEADERBOARD).exists() else ()
    if not trials and not any((folder / name).exists() for name in (JOURNAL, LEADERBOARD, SUMMARY)):
        raise SweepError(f"{folder}: no sweep there ({JOURNAL}, {LEADERBOARD}).")
    n_values = max((len(t.values) for t in trials), default=1)
    named = [d for d in status.get("directions", ()) if d in ("minimize", "maximize")]
    directions = tuple(named) if named else ("minimize",) * max(1, n_values)
    return SweepResults(folder, trials, directions, status, unread=unread)


def _read_study(folder: Path, store: StudyStore, status: dict[str, Any]) -> SweepResults:
    try:
        directions = tuple(d.name.lower() for d in store.directions)
        names = tuple(store.study().metric_names or ())
        trials = tuple(_from_study(folder, store))
    except Exception as error:  # a damaged database's, or values that no sweep writes
        told = " ".join(without_password(str(error) or repr(error)).split())[:300]
        raise _Unreachable(f"The study of {folder} cannot be read: {told}") from None
    return SweepResults(folder, trials, directions, status, names)


def open_sweep(folder: str | Path, storage: str | None = None) -> BaseStorage:
    """Open the storage that keeps the study of the sweep in `folder`, as it is at any moment.

    For Optuna's own tools, which may write to it.

    Args:
        folder: The sweep's (`hydra.sweep.dir`).
        storage: The study's URL, where the folder's own note lacks the password.

    Raises:
        SweepError: There is no sweep, or its storage cannot be reached. No password is shown.
    """
    folder, mark = Path(folder), mark_of(Path(folder))
    url, name = storage or mark.get("storage"), str(mark.get("study"))
    if url is None and not (folder / JOURNAL).exists():
        raise SweepError(f"{folder}: no sweep there ({JOURNAL}).")
    try:
        if url is not None:
            _open_database(url, name)
    except _Unreachable as error:
        raise SweepError(str(error)) from None
    return StudyPlace(folder, url, name).open_storage()


class _Unreachable(Exception):
    """The study is kept where it cannot be read just now."""


class _ReadOnlyJournal(BaseJournalBackend):
    """The whole lines of a journal as they are now; one that is being written is left alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = path.read_bytes().split(b"\n")[:-1]

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(self._lines[log_number_from:], start=log_number_from):
            try:
                log = json.loads(line)
            except ValueError:
                # What follows a broken line cannot be numbered: it may have begun a trial.
                if any(is_json(later) for later in self._lines[number + 1 :]):
                    raise _Unreachable(describe_broken_line(self._path)) from None
                return  # it ends the file, and so was never whole
            yield log

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise PermissionError("who reads a sweep never writes to its study")


def _open(folder: Path, storage: str | None) -> StudyStore | None:
    """The folder's study, opened so that nothing is written; None where it has not begun."""
    mark = mark_of(folder)
    url, journal = storage or mark.get("storage"), folder / JOURNAL
    if url is not None:
        return _open_database(str(url), str(mark.get("study")))
    if not journal.exists():
        return None
    try:
        opened = JournalStorage(_ReadOnlyJournal(journal))
        names = [study.study_name for study in opened.get_all_studies()]
        # A folder without its mark has the sweep's study first, that of its finalists behind it.
        name = mark["study"] if mark.get("study") in names else next(iter(names), None)
        return None if name is None else StudyStore(opened, name)
    except (OSError, LookupError, TypeError, AttributeError, ValueError) as error:
        raise SweepError(f"{journal} cannot be read as a study: {error!r}") from None


def _open_database(url: str, name: str) -> StudyStore:
    shown = without_password(url)
    try:
        if "***" in url:
            raise ValueError("its password is not kept in the folder; give the storage's URL")
        from sqlalchemy.engine import make_url

        place = make_url(url)
        if place.get_backend_name() == "sqlite" and not Path(place.database or "").is_file():
            raise ValueError("there is no such file")  # sqlite would make one
        opened = RDBStorage(url, skip_table_creation=True)
        return StudyStore(opened, name)
    except Exception as error:  # whatever the database's driver raises
        told = " ".join(without_password(str(error), url).split())[:300]
        raise _Unreachable(f"Study {name} in {shown} cannot be read: {told}") from None


def _from_study(folder: Path, store: StudyStore) -> Iterator[SweepTrial]:
    study = store.study()
    tally = Tally(study)
    tally.refresh()
    every = study.get_trials(deepcopy=False)
    finalists = finalists_of(store)
    ranked, standing = rank_with_finalists(tally.finished, study, finalists)
    known = dict(_finalists(folder, finalists, standing)) if finalists and standing else {}
    for place, trial in ranked:
        yield replace(_from_trial(folder, trial, place), finalist=known.get(trial.number))
    told = {trial.number for _, trial in ranked}
    for trial in every:
        if trial.number not in told and (trial.state.is_finished() or note_of(trial).started):
            yield _from_trial(folder, trial, None)


def _finalists(
    folder: Path, store: StudyStore, standing: Standing
) -> Iterator[tuple[int, SweepFinalist]]:
    runs: dict[int, list[FinalistRun]] = defaultdict(list)
    for (number, seed), trial in sorted(runs_in(store.trials()).items()):
        told = _from_trial(folder, trial, None)
        value = told.values[0] if told.state == "complete" else None
        runs[number].append(FinalistRun(seed, told.state, value, told.folder))
    for f in standing.finalists:
        own = tuple(runs[f.trial.number])
        yield f.trial.number, SweepFinalist(f.mean, f.sd, f.n, f.single_run_rank, own)


def _from_trial(folder: Path, trial: FrozenTrial, place: int | None) -> SweepTrial:
    note = note_of(trial)
    kind = kind_of(trial) if trial.state.is_finished() else "running"
    # What is told of a candidate over the limits only stands in for a value.
    values = trial.values if trial.values and kind != "over_budget" else ()
    if trial.state is TrialState.PRUNED and trial.intermediate_values:
        values = (trial.intermediate_values[max(trial.intermediate_values)],)
    return SweepTrial(
        number=trial.number,
        state="duplicate" if kind == "duplicates" else kind,
        rank=place,
        values=tuple(values),
        params={_key(name): _meaning(v) for name, v in trial.params.items()},
        overrides=tuple(note.overrides),
        folder=_inside(folder, note.folder),
        started=trial.datetime_start,
        seconds=note.seconds,
        violations=dict(trial.constraints),
        error=note.error,
        duplicate_of=note.duplicate_of,
        enqueued=_enqueued(trial),
        reports=dict(trial.intermediate_values),
    )


def _enqueued(trial: FrozenTrial) -> tuple[str, ...]:
    if WALKED in trial.user_attrs:
        return ()
    return tuple(_key(name) for name in trial.system_attrs.get("fixed_params", {}))


def _key(name: str) -> str:
    """A parameter with values of its own under a condition is stored as `key if condition`."""
    return name.partition(" if ")[0]


def _meaning(stored: Any) -> Any:
    """A value as the configuration holds it: the study keeps lists and mappings as their texts."""
    if not isinstance(stored, str) or stored[:1] not in ("[", "{"):
        return stored
    try:
        return read_value(stored)
    except Exception:  # a text that only looks like one
        return stored


def _inside(sweep: Path, name: Any) -> Path | None:
    """A trial's folder below its sweep's; what a file names elsewhere is none."""
    if not isinstance(name, str) or not name:
        return None
    folder = sweep / name
    return folder if folder.resolve().is_relative_to(sweep.resolve()) else None


def _status(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # missing, or being written by something else
        return {}
    known = told if isinstance(told, dict) else {}
    return {k: known[k] for k, kind in _STATUS.items() if isinstance(known.get(k), kind)}


def _from_leaderboard(folder: Path) -> Iterator[SweepTrial]:
    """Read a table that anything may have written: each field is held to its type."""
    path = folder / LEADERBOARD
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SweepError(f"{path} cannot be read: {error}") from None
    if not isinstance(rows, list):
        raise SweepError(f"{path} is no leaderboard: it must be a list of trials.")
    for place, row in enumerate(rows):
        try:
            yield _from_row(folder, row)
        except (TypeError, KeyError) as error:
            raise SweepError(f"{path}: entry {place} is no trial: {error}.") from None


def _from_row(folder: Path, row: Any) -> SweepTrial:
    if not isinstance(row, dict):
        raise TypeError(f"it must be a mapping, but got {row!r:.60}")
    value = row.get("value")
    values = value if isinstance(value, list) else [] if value is None else [value]
    state = _typed(row.get("state"), "state", str)
    return SweepTrial(
        number=_typed(row.get("trial"), "trial", int),
        state=_STATES.get(state, "failed"),
        rank=_typed(row.get("rank"), "rank", int, type(None)),
        values=tuple(float(_typed(v, "value", int, float)) for v in values),
        params=_mapping(row, "params", *_SCALAR),
        folder=_inside(folder, row.get("folder")),
        seconds=_typed(row.get("seconds"), "seconds", int, float, type(None)),
        violations=_mapping(row, "violations", int, float),
        error=_typed(row.get("error"), "error", str, type(None)),
        duplicate_of=_typed(row.get("duplicate_of"), "duplicate_of", int, type(None)),
        finalist=_finalist_in(row),
    )


def _finalist_in(row: dict[str, Any]) -> SweepFinalist | None:
    place = _typed(row.get("single_run_rank"), "single_run_rank", int, type(None))
    if place is None:
        return None
    mean, sd = (_typed(row.get(name), name, *_NUMBER) for name in ("mean", "sd"))
    return SweepFinalist(mean, sd, _typed(row.get("n"), "n", int), place)


def _typed(value: Any, name: str, *kinds: type) -> Any:
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        allowed = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
        raise TypeError(f"{name} must be {allowed}, but got {value!r:.60}")
    return value


def _mapping(row: dict[str, Any], name: str, *kinds: type) -> dict[str, Any]:
    content = _typed(row.get(name) or {}, name, dict)
    return {str(key): _typed(value, f"{name}.{key}", *kinds) for key, value in content.items()}
