"""From a proposal to a result: what a worker does with each trial it takes.

A trial is proposed and claimed under a lock that all workers of the folder share, so that exactly
`n_trials` are trained however many workers there are and whichever of them dies. A trial that is
interrupted goes back to the study as WAITING with its parameters, and whoever asks next gets it,
in its own folder.
"""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from optuna.trial import Trial, TrialState

from hydra_budget_sweeper.compose import fingerprint
from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.space.limits import excess
from hydra_budget_sweeper.study.sampler import reseed
from hydra_budget_sweeper.study.trials import Note, note_of, suggest
from hydra_budget_sweeper.workers.claim import propose
from hydra_budget_sweeper.workers.session import Session
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
        overrides = self._suggest(trial)
        note = note_of(self.store.trial(trial.number))
        if note.started is None:
            config = self._admit(trial, note, overrides)
        else:
            again = [*note.overrides, *self.session.settings.retry_overrides]
            config = self.session.composer.job_config(again, trial.number)
        if config is None:
            return False
        outcome = run_trial(self.session, trial, config)
        self._tell(trial, outcome)
        return outcome.state is not TrialState.FAIL

    def _suggest(self, trial: Trial) -> list[str]:
        """Draw the values still to be drawn; return the candidate's overrides."""
        space, sampler, seed = self.plan.space, self.session.sampler, self.plan.seed
        reseed(sampler, seed, trial.number)
        if not all(axis.name in trial.params for axis in space.axes):
            # Drawn at once, before any single value: a trial cut off half-way draws the rest alike.
            trial.relative_params  # noqa: B018
        params: dict[str, Any] = {}
        for axis in space.axes:
            if space.active(axis, params):
                reseed(sampler, seed, trial.number, axis.name)
                params[axis.name] = suggest(trial, axis)
        if self.plan.extend is None:
            return space.overrides(params)
        self.plan.extend(self.plan.master, trial)
        if overlap := trial.params.keys() & space.fixed.keys():
            raise SweepError(
                f"custom_search_space suggests {', '.join(sorted(overlap))}, which the command "
                "line sets. Take it away from one of them."
            )
        return space.overrides(trial.params)

    def _admit(self, trial: Trial, note: Note, overrides: list[str]) -> DictConfig | None:
        """Return the job of a new candidate that is to be trained; else tell the study why not."""
        candidate = self.session.composer.task_config(overrides)
        violations = self.plan.constraints.violations(candidate)
        for name, value in violations.items():
            trial.set_constraint(name, value)
        for name, text in self.plan.space.fixed.items():
            trial.set_user_attr(name, text)
        if excess(violations) > 0:
            self.store.tell(trial, TrialState.PRUNED)
            return None
        digest = fingerprint(candidate)
        job = self.session.composer.job_config(overrides, trial.number)
        folder = _folder_of(job)
        with self.session.lock():
            tally = self.session.tally
            tally.refresh()
            if self._is_duplicate(trial, note, digest):
                return None
            if tally.claimed >= self.session.settings.n_trials:
                self.store.put_back(trial.number, note)
                return None
            _set_aside(self.plan.place.folder / folder)
            started = replace(note, started=digest, overrides=overrides, folder=folder)
            self.store.write_note(trial.number, started)
        return job

    def _is_duplicate(self, trial: Trial, note: Note, digest: str) -> bool:
        tally = self.session.tally
        twin = tally.trained_configs.get(digest) or tally.running_with(digest)
        if twin is None or twin.number == trial.number:
            return False
        self.store.write_note(trial.number, replace(note, duplicate_of=twin.number))
        values = twin.values if twin.state is TrialState.COMPLETE else None
        # One that is still being trained has no value to give: FAIL is what samplers pass over.
        state = twin.state if twin.state.is_finished() else TrialState.FAIL
        self.store.tell(trial, state, values)
        return True

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        note = replace(
            note_of(self.store.trial(trial.number)),
            seconds=outcome.seconds,
            error=outcome.error,
            traceback=outcome.traceback,
        )
        self.store.write_note(trial.number, note)
        self.store.tell(trial, outcome.state, outcome.values)
        if outcome.state is TrialState.FAIL:
            self.session.log_as_worker()
            log.error(
                "Trial %d failed: %s\n  overrides: %s\n  folder: %s",
                trial.number,
                outcome.error,
                " ".join(note.overrides),
                self.plan.place.folder / (note.folder or ""),
            )

    def _abandon(self, trial: Trial, error: BaseException) -> None:
        """Leave no trial RUNNING behind: what was interrupted waits, what is broken fails."""
        frozen = self.store.trial(trial.number)
        if frozen.state is not TrialState.RUNNING:
            return
        if isinstance(error, Exception):
            told = f"{type(error).__name__}: {error}"
            self.store.fail(trial.number, told, traceback.format_exc())
            self.store.stop(self.plan.run, f"Trial {trial.number} cannot be set up: {error}")
        else:
            self.store.put_back(trial.number, note_of(frozen))


def _folder_of(job: DictConfig) -> str:
    """Return the job's folder below the sweep's."""
    subdir = OmegaConf.to_container(job.hydra.sweep, resolve=False)["subdir"]  # type: ignore[index,call-overload]
    if "${hydra:" not in str(subdir):
        return str(job.hydra.sweep.subdir)
    with _hydra_config(job):
        return str(job.hydra.sweep.subdir)


def _set_aside(folder: Path) -> None:
    """Move what an earlier, unrelated sweep left where a new trial is to write."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    number = 1
    while (aside := folder.with_name(f"{folder.name}.stale-{number}")).exists():
        number += 1
    folder.rename(aside)
    log.warning("%s was not empty; what was there is now in %s", folder, aside.name)


@contextmanager
def _hydra_config(config: DictConfig) -> Iterator[None]:
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)
    try:
        yield
    finally:
        HydraConfig.instance().cfg = before
