"""The only module that speaks to Optuna's storage: a study's attributes, claims, results.

`optuna.Study` hands out trials and takes their values, but it cannot take up a certain trial that
waits, nor put one back, nor keep attributes for a program's own use. `BaseStorage` can, by methods
that are public. What has no public way in Optuna 5.0 stands here, with the reason:

- `Trial(study, trial_id)`: the constructor is public but "not recommended". Nothing else resumes a
  trial that an earlier process began; `ask` takes whichever waits first.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import optuna
from optuna import Study
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from hydra_budget_sweeper.study.trials import NOTE, Note, note_of

log = logging.getLogger(__name__)

STOP = "budget_sweep:stop"


@dataclass(frozen=True)
class Stop:
    """Why a run of the sweep ends before its `n_trials`."""

    reason: str
    error: bool


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

    def study(self) -> Study:
        """Return the study as Optuna has it; a new one knows nothing that may be out of date."""
        return optuna.load_study(
            study_name=self.name,
            storage=self._storage,
            sampler=self._sampler,
            pruner=self._pruner,
        )

    def attribute(self, key: str) -> Any:
        """Return what the sweep keeps with the study under `key`, or None."""
        return self._storage.get_study_system_attrs(self._id).get(key)

    def set_attribute(self, key: str, value: Any) -> None:
        self._storage.set_study_system_attr(self._id, key, value)

    def stop(self, run: str, reason: str, error: bool = True) -> None:
        """Ask all workers of `run` to take no more trials; the first reason stands."""
        if self.stopped(run) is None:
            self.set_attribute(STOP, {"run": run, **asdict(Stop(reason, error))})

    def stopped(self, run: str) -> Stop | None:
        """Return why the workers of `run` are to take no more trials, or None."""
        said = self.attribute(STOP)
        return Stop(said["reason"], said["error"]) if said and said["run"] == run else None

    def trials(self) -> list[FrozenTrial]:
        """Return all trials by number: the storage's own, to be read only."""
        return self._storage.get_all_trials(self._id, deepcopy=False)

    def trial(self, number: int) -> FrozenTrial:
        """Return what the study holds of a trial now."""
        return self._storage.get_trial(self._trial_id(number))

    def write_note(self, number: int, note: Note) -> None:
        self._storage.set_trial_system_attr(self._trial_id(number), NOTE, note.said())

    def ask(self, owner: str, run: str) -> Trial:
        """Create a trial that belongs to `owner`, a worker of `run`; with the claim lock held."""
        trial = self.study().ask()
        self._own(trial, owner, run)
        return trial

    def claim(self, number: int, owner: str, run: str) -> Trial:
        """Take up a trial that waits, for `owner`; with the claim lock held."""
        trial_id = self._trial_id(number)
        self._storage.set_trial_state_values(trial_id, state=TrialState.RUNNING)
        trial = Trial(self.study(), trial_id)
        self._own(trial, owner, run)
        return trial

    def put_back(self, number: int, note: Note) -> None:
        """Let a trial wait again, with its number and its parameters."""
        self.write_note(number, replace(note, worker="", run=""))
        self._storage.set_trial_state_values(self._trial_id(number), state=TrialState.WAITING)

    def tell(self, trial: Trial, state: TrialState, values: Sequence[float] | None = None) -> None:
        """End a trial."""
        try:
            trial.study.tell(trial, values=values, state=state)
        except RuntimeError as error:
            # The grid sampler stops the study after its last point; the claims see to that.
            if "Study.stop" not in str(error):
                raise

    def fail(self, number: int, error: str, traceback: str | None) -> None:
        """End a trial that no worker can bring to its end."""
        note = replace(note_of(self.trial(number)), error=error, traceback=traceback)
        self.write_note(number, note)
        self._storage.set_trial_state_values(self._trial_id(number), state=TrialState.FAIL)
        log.error("Trial %d failed: %s", number, error)

    def _own(self, trial: Trial, owner: str, run: str) -> None:
        note = note_of(self.trial(trial.number))
        self.write_note(trial.number, replace(note, worker=owner, run=run))

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
