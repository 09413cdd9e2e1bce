"""From a proposal to a result: what a worker does with each trial it takes.

A trial is proposed and claimed under a lock that all workers of the folder share, so that exactly
`n_trials` are trained however many workers there are and whichever of them dies. A trial that is
interrupted goes back to the study as WAITING with its parameters, and whoever asks next gets it,
in its own folder.
"""

import logging
import traceback
from dataclasses import replace

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from optuna.trial import Trial, TrialState

from hydra_budget_sweeper import hydra_errors
from hydra_budget_sweeper.compose import Candidate
from hydra_budget_sweeper.errors import SweepError, faults_of
from hydra_budget_sweeper.files import described
from hydra_budget_sweeper.limits import Violations, excess
from hydra_budget_sweeper.shown import Shown
from hydra_budget_sweeper.study.over_budget import told_over_budget
from hydra_budget_sweeper.study.store import Stop
from hydra_budget_sweeper.study.trials import Note, note_of, suggest
from hydra_budget_sweeper.workers.claim import propose, retry_or_fail
from hydra_budget_sweeper.workers.folders import make_folder
from hydra_budget_sweeper.workers.session import Session
from hydra_budget_sweeper.workers.signals import Requeue
from hydra_budget_sweeper.workers.trial import Outcome, run_trial

log = logging.getLogger(__name__)


class TrialLoop:
    """One worker's trials, one after the other."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.store, self.plan = session.store, session.plan

    def work(self) -> int:
        """Take trials until there are no more; return how many were trained here."""
        trained = 0
        while (trial := self._next()) is not None:
            try:
                trained += self._attempt(trial)
            except BaseException as error:
                self._abandon(trial, error)
                raise
            self.session.interrupts.check()
        return trained

    def _next(self) -> Trial | None:
        with self.session.lock():
            return propose(self.session)

    def _attempt(self, trial: Trial) -> bool:
        """Bring one trial to its end; return whether it was trained."""
        candidate = self._candidate(trial)
        if candidate is None:
            return False
        with Shown(self.plan.hidden, self.session.name) as shown:
            outcome = run_trial(self.session, trial, candidate, shown)
            outcome.shown = shown.values
            self._tell(trial, outcome)
        return outcome.state is not TrialState.FAIL

    def _candidate(self, trial: Trial) -> Candidate | None:
        """Return what is to be trained; else tell the study why nothing is."""
        note = note_of(self.store.trial(trial.number))
        overrides: list[str] = []
        try:
            if note.started is not None:
                return self._again(trial, note)
            overrides = note.overrides or self._suggest(trial)
            candidate = self.session.composer.compose(overrides, trial.number)
            violations = self.plan.constraints.judge(candidate)
            digest = candidate.fingerprint
        except SweepError:
            raise
        except Exception as error:
            # The candidate's own fault, or that of a function for it: the others may do better.
            self.store.update_note(trial.number, overrides=overrides)
            of_hydra = isinstance(error, HydraException | OmegaConfBaseException)
            said = hydra_errors.described(error) if of_hydra else None
            self._tell(trial, Outcome.failure(error, said=said))
            return None
        return candidate if self._admit(trial, candidate, violations, digest) else None

    def _again(self, trial: Trial, note: Note) -> Candidate:
        overrides = [*note.overrides, *self.session.settings.retry_overrides]
        candidate = self.session.composer.compose(overrides, trial.number)
        candidate.place_in(note.folder or candidate.subdir)
        return candidate

    def _suggest(self, trial: Trial) -> list[str]:
        """Draw the values still to be drawn; return the candidate's overrides."""
        space = self.plan.space
        if not all(axis.name in trial.params for axis in space.axes):
            # Drawn at once, before any single value: a trial cut off half-way draws the rest alike.
            trial.relative_params  # noqa: B018
        params = space.draw(lambda axis: suggest(trial, axis))
        if self.plan.extend is None:
            return space.overrides(params)
        name = self.session.settings.custom_search_space
        with faults_of(f"hydra.sweeper.custom_search_space={name}"):
            self.plan.extend(self.plan.master, trial)
        if overlap := trial.params.keys() & space.fixed.keys():
            raise SweepError(
                f"custom_search_space suggests {', '.join(sorted(overlap))}, which the command "
                "line sets. Take it away from one of them."
            )
        return space.overrides(trial.params)

    def _admit(
        self, trial: Trial, candidate: Candidate, violations: Violations, digest: str
    ) -> bool:
        """Claim a new candidate for training; else tell the study why it is not trained."""
        judged = self.store.trial(trial.number).constraints  # by a worker that died just after
        for name in violations.keys() - judged.keys():
            trial.set_constraint(name, violations[name])
        for name, text in self.plan.space.fixed.items():
            trial.set_user_attr(name, text)
        with self.session.lock():
            self.session.tally.refresh()
            if (over := excess(violations)) > 0:
                # In Optuna's own tools such a trial looks complete.
                trial.set_user_attr("excess", over)
                trial.set_user_attr("over", _over(violations))
                self._tell_over_budget(trial, over)
                return False
            if self.plan.runs is None and self._is_superfluous(trial, digest):
                return False
            note = self.store.own_note(self.session.name, trial.number)
            if note is None:  # this process stood still until another took it for dead
                return False
            folder = self._make_folder(trial, candidate, note.folder or candidate.subdir)
            overrides = list(candidate.overrides)
            note = replace(note, started=digest, overrides=overrides, folder=folder)
            self.store.write_note(trial.number, note)
        trial.set_user_attr("folder", folder)
        return True

    def _tell_over_budget(self, trial: Trial, over: float) -> None:
        recipe, trained = self.plan.sampler.recipe, self.session.tally.finished
        frozen = self.store.trial(trial.number)
        state, values = told_over_budget(recipe, self.store.directions, frozen, over, trained)
        self.store.tell(self.session.name, trial.number, state, values)

    def _make_folder(self, trial: Trial, candidate: Candidate, wanted: str) -> str:
        tally = self.session.tally

        def is_taken(name: str) -> bool:
            return any(note_of(t).folder == name for t in (*tally.open, *tally.finished))

        folder = make_folder(self.plan.place.folder, wanted, trial.number, is_taken)
        if folder != wanted:
            told = wanted if len(wanted) < 100 else f"{wanted[:60]}… ({len(wanted)} characters)"
            log.warning("%s cannot be trial %d's folder: it is in %s", told, trial.number, folder)
        candidate.place_in(folder)
        return folder

    def _is_superfluous(self, trial: Trial, digest: str) -> bool:
        """Tell the study that a candidate was tried, or put back what others made one too many."""
        if self._is_duplicate(trial, digest):
            return True
        if not self.session.settings.left(self.session.tally.claimed):
            self.store.put_back(self.session.name, trial.number)
            return True
        return False

    def _is_duplicate(self, trial: Trial, digest: str) -> bool:
        tally = self.session.tally
        twin = tally.trained_configs.get(digest) or tally.running_with(digest)
        # What failed in this start would fail again; a start later, its cause may be gone.
        twin = twin or tally.failed_configs.get((self.plan.run, digest))
        if twin is None or twin.number == trial.number:
            return False
        values = twin.values if twin.state is TrialState.COMPLETE else None
        # One that is still being trained has no value to give: FAIL is what samplers pass over.
        state = twin.state if twin.state.is_finished() else TrialState.FAIL
        self.store.tell(self.session.name, trial.number, state, values, duplicate_of=twin.number)
        return True

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        with self.session.lock():
            told = self.store.tell(
                self.session.name,
                trial.number,
                outcome.state,
                outcome.values,
                outcome.shown,
                seconds=outcome.seconds,
                error=outcome.error,
                traceback=outcome.traceback,
            )
        if not told:
            log.warning("Trial %d has another worker by now; its end here is dropped", trial.number)

    def _abandon(self, trial: Trial, error: BaseException) -> None:
        """Leave no trial RUNNING behind: what was interrupted waits, what is broken fails."""
        owner, number = self.session.name, trial.number
        with self.session.lock():
            if self.store.own_note(owner, number) is None:
                return
            if isinstance(error, SweepError | OSError):  # no fault of the trial's
                self.store.put_back(owner, number)
                told = described(error) if isinstance(error, OSError) else str(error)
                self.store.stop(self.plan.run, Stop(told))
            elif isinstance(error, Exception):
                told = f"{type(error).__name__}: {error}"
                self.store.fail(owner, number, told, traceback.format_exc())
                self.store.stop(self.plan.run, Stop(f"Trial {number} cannot be set up: {error}"))
            elif isinstance(error, Requeue):
                # Else one that takes longer than a job may would begin for ever.
                now = self.store.trial(number)
                retry_or_fail(self.session, now, note_of(now), requeued=True)
            else:
                self.store.put_back(owner, number)


def _over(violations: Violations) -> str:
    """Name the limits that a candidate is over, and by how much: `cost by 12 %`."""
    return ", ".join(f"{name} by {100 * v:.3g} %" for name, v in violations.items() if v > 0)
