"""The only module that speaks to Optuna's storage: a study's attributes, claims, results.

`optuna.Study` hands out trials and takes their values, but it cannot take up a certain trial that
waits, nor put one back, nor keep attributes for a program's own use. `BaseStorage` can, by methods
that are public. What has no public way in Optuna 5.0 stands here, with the reason:

- `Trial(study, trial_id)`: the constructor is public but "not recommended". Nothing else resumes a
  trial that an earlier process began; `ask` takes whichever waits first.

Whatever decides in whose hands a trial is (`ask`, `claim`, `put_back`, `tell`, `fail`) is called
with the claim lock held, for none of it is a single write.
"""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import optuna
from optuna import Study
from optuna.exceptions import (
    DuplicatedStudyError,
    ExperimentalWarning,
    UpdateFinishedTrialError,
)
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from hydra_budget_sweeper.study.trials import NOTE, Note, note_of, tell_quietly

STOP = "budget_sweep:stop"


@dataclass(frozen=True)
class Stop:
    """Why a run of the sweep ends before its `n_trials`, and whether it failed by that."""

    reason: str
    error: bool = True


class StudyStore:
    """One study, as the sweep reads and writes it.

    Args:
        storage: Where it is.
        name: The study's.
        sampler: Proposes the trials that are taken here; only workers have one.
        pruner: Judges them.
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        sampler: BaseSampler | None = None,
        pruner: BasePruner | None = None,
    ) -> None:
        self.name = name
        self._storage = storage
        self._id = storage.get_study_id_from_name(name)
        self._sampler, self._pruner = sampler, pruner
        self.directions: list[StudyDirection] = storage.get_study_directions(self._id)

    def sibling(self, name: str, create: bool = False) -> "StudyStore":
        """Return another study of the storage.

        Args:
            name: Its name.
            create: Whether to create it, with the same directions, if it is not there.

        Raises:
            KeyError: It is not there.
        """
        if create:
            with suppress(DuplicatedStudyError):
                self._storage.create_new_study(self.directions, name)
        return StudyStore(self._storage, name)

    def study(self) -> Study:
        """Return the study as Optuna has it; a new one knows nothing that may be out of date."""
        return optuna.load_study(
            study_name=self.name,
            storage=self._storage,
            sampler=self._sampler,
            pruner=self._pruner,
        )

    def name_metrics(self, names: Sequence[str]) -> None:
        """Name the objectives, for Optuna's own tools."""
        study = self.study()
        if list(names) != study.metric_names:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                study.set_metric_names(list(names))

    def attribute(self, key: str) -> Any:
        """Return what the sweep keeps with the study under `key`, or None."""
        return self._storage.get_study_system_attrs(self._id).get(key)

    def set_attribute(self, key: str, value: Any) -> None:
        self._storage.set_study_system_attr(self._id, key, value)

    def stop(self, run: str, stop: Stop) -> None:
        """Ask all workers of `run` to take no more trials; the first reason stands."""
        if self.stopped(run) is None:
            self.set_attribute(f"{STOP}:{run}", asdict(stop))

    def stopped(self, run: str) -> Stop | None:
        """Return why the workers of `run` are to take no more trials, or None."""
        said = self.attribute(f"{STOP}:{run}")
        return Stop(said["reason"], said["error"]) if said else None

    def trials(self) -> list[FrozenTrial]:
        """Return all trials by number: the storage's own, to be read only."""
        return self._storage.get_all_trials(self._id, deepcopy=False)

    def trial(self, number: int) -> FrozenTrial:
        """Return what the study holds of a trial now."""
        return self._storage.get_trial(self._trial_id(number))

    def update_note(self, number: int, **changes: Any) -> None:
        """Write fields of a trial's note anew."""
        self.write_note(number, replace(note_of(self.trial(number)), **changes))

    def write_note(self, number: int, note: Note) -> None:
        """Write a trial's note, in place of the one that it has."""
        self._storage.set_trial_system_attr(self._trial_id(number), NOTE, note.said())

    def ask(self, owner: str, run: str) -> Trial:
        """Create a trial that belongs to `owner`, a worker of `run`."""
        note = Note(worker=owner, run=run)
        return self.create(create_trial(state=TrialState.RUNNING, system_attrs={NOTE: note.said()}))

    def create(self, trial: FrozenTrial) -> Trial:
        """Create a trial as it is given, in one write."""
        return Trial(self.study(), self._storage.create_new_trial(self._id, trial))

    def claim(self, number: int, owner: str, run: str) -> Trial | None:
        """Take up a trial that waits, for `owner`; None if something else was faster."""
        trial_id = self._trial_id(number)
        try:
            if not self._storage.set_trial_state_values(trial_id, state=TrialState.RUNNING):
                return None
        except UpdateFinishedTrialError:
            return None
        self.update_note(number, worker=owner, run=run)
        return Trial(self.study(), trial_id)

    def own_note(self, owner: str, number: int) -> Note | None:
        """Return the note of a trial if it is in the hands of `owner` still."""
        trial = self.trial(number)
        note = note_of(trial)
        return note if trial.state is TrialState.RUNNING and note.worker == owner else None

    def put_back(self, owner: str, number: int, **changes: Any) -> bool:
        """Let a trial of `owner` wait again, with its number, parameters and note.

        What is no longer in its hands is left alone. Killed between its two writes, this leaves a
        RUNNING trial of nobody, which the next worker puts back.

        Args:
            changes: Fields of the note to write anew.
        """
        note = self.own_note(owner, number)
        if note is None:
            return False
        self.write_note(number, replace(note, **changes, worker="", run=""))
        self._storage.set_trial_state_values(self._trial_id(number), state=TrialState.WAITING)
        return True

    def tell(
        self,
        owner: str,
        number: int,
        state: TrialState,
        values: Sequence[float] | None = None,
        attributes: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> bool:
        """End a trial of `owner`; return False, and change nothing, if it is in other hands.

        Args:
            attributes: What a person may want to see beside its values: user attributes.
            changes: Fields of the note to write anew.
        """
        note = self.own_note(owner, number)
        if note is None:
            return False
        for name, value in (attributes or {}).items():
            self._storage.set_trial_user_attr(self._trial_id(number), name, value)
        if changes:
            self.write_note(number, replace(note, **changes))
        tell_quietly(self.study(), number, values, state)
        return True

    def fail(self, owner: str, number: int, error: str, traceback: str | None = None) -> None:
        """End a trial of `owner` that no worker can bring to its end."""
        self.tell(owner, number, TrialState.FAIL, error=error, traceback=traceback)

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
